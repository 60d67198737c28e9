//! The errors of an import as a file, for those who mend the set.

use encoding_rs::SHIFT_JIS;

use super::{ORGS, hand_in, in_set};
use crate::support::{Server, bulk, city, run};

/// An answer's content type, language and bytes.
async fn file(server: &Server, id: &str, query: &str, accepts: &str) -> (String, String, Vec<u8>) {
    let url = format!("{}/rosterhub/v1/imports/{id}/errors.csv{query}", server.base);
    let request = server.http.get(url).bearer_auth(&server.token).header("accept-language", accepts);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let (kind, language) = (text("content-type"), text("content-language"));
    assert_eq!(text("content-disposition"), format!("attachment; filename=\"errors-{id}.csv\""));
    (kind, language, response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn all_errors_come_as_a_file_in_the_set_s_encoding() {
    let server = Server::start().await;
    let mut text = format!("{ORGS}o,,,n,=髙橋,,\r\n");
    for n in 0..2_500 {
        text += &format!("o{n},,,n,nonsense,,\r\n");
    }
    let job = hand_in(&server, in_set("orgs", SHIFT_JIS.encode(&text).0.into_owned()), None, "").await;
    let id = job["id"].as_str().unwrap();
    let (kind, language, bytes) = file(&server, id, "", "fr, en;q=0.5, ja;q=0.8").await;
    assert_eq!((kind.as_str(), language.as_str()), ("text/csv; charset=Shift_JIS; header=present", "ja"));
    let (list, _, lossy) = SHIFT_JIS.decode(&bytes);
    assert!(!lossy);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2_502, "a header and all errors");
    assert_eq!(lines[0], "ファイル,行,列,コード,値,何が誤りか,直し方");
    assert!(lines[1].starts_with("orgs.csv,2,type,bad_enum,\"'=髙橋\",この列で"), "{}", lines[1]);
    assert!(lines[2_501].starts_with("orgs.csv,2502,type,bad_enum,nonsense,"), "{}", lines[2_501]);

    let (kind, language, bytes) = file(&server, id, "?lang=en&encoding=utf-8-bom", "ja").await;
    assert_eq!((kind.as_str(), language.as_str()), ("text/csv; charset=utf-8; header=present", "en"));
    let list = String::from_utf8(bytes).unwrap();
    assert!(list.starts_with("\u{feff}file,line,column,code,value,what is wrong,how to mend it\r\n"));
    assert_eq!(list.lines().count(), 2_502);

    // The same from the command line.
    let path = tempfile::NamedTempFile::new().unwrap();
    let target = path.path().to_str().unwrap();
    let named = ["import", "errors", id, "--tenant", "midori"];
    let (code, text) = run(&server.url, &[&named[..], &["--csv", target, "--ja"]].concat());
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("2501 errors") && text.contains("cp932"), "{text}");
    let (_, _, over_http) = file(&server, id, "?lang=ja", "en").await;
    assert_eq!(std::fs::read(path.path()).unwrap(), over_http);
    let (code, text) = run(&server.url, &named);
    assert_eq!((code, text.matches("bad_enum").count()), (0, 2_501));
    assert_eq!(run(&server.url, &[&named[..], &["--encoding", "cp932"]].concat()).0, 2, "without --csv");

    // A set with a mark gets one back; one without errors has the header alone.
    let marked = hand_in(&server, bulk(&rosterhub::sample::SampleOptions { bom: true, ..city() }), None, "").await;
    let (_, _, bytes) = file(&server, marked["id"].as_str().unwrap(), "", "").await;
    assert_eq!(String::from_utf8(bytes).unwrap().lines().count(), 1);
    let base = format!("{}/rosterhub/v1/imports", server.base);
    for (path, status) in [
        (format!("{id}/errors.csv?lang=fr"), 400),
        (format!("{id}/errors.csv?encoding=latin1"), 400),
        (format!("{id}/errors.csv?limit=1"), 400),
        ("00000000-0000-7000-8000-000000000000/errors.csv".to_owned(), 404),
    ] {
        assert_eq!(server.get(&format!("{base}/{path}")).await.status(), status, "{path}");
    }
}
