//! What is handed in may be anything: it is answered with errors, and costs no more memory than a good set.

use std::io::Cursor;

use serde_json::json;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::imports::{ORGS, codes};
use crate::support::{Server, database, run, set, zip};

#[tokio::test]
async fn an_unclosed_quote_is_one_error_and_those_before_it_are_listed() {
    let server = Server::start().await;
    let mut orgs =
        format!("{ORGS}o1,,,n,nonsense,,\r\no2,,,n,school,,o9\r\no3,,,n,school,,o1\r\no4,,,\"n,school,,\r\n");
    for n in 5..10 {
        orgs += &format!("o{n},,,n,nonsense,,\r\n");
    }
    let sessions = "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\r\n\
                    y,,,2026,nonsense,2026-04-01,2027-03-31,,2026\r\n";
    // o9 was swallowed, and is not missed: one fault is one error.
    assert_eq!(
        codes(&server, set(&[("orgs", "bulk", &orgs), ("academicSessions", "bulk", sessions)])).await,
        ["academicSessions.csv:2:type:bad_enum", "orgs.csv:2:type:bad_enum", "orgs.csv:5::unclosed_quote"]
    );
    let header = format!("\"{ORGS}o1,,,n,school,,\r\n");
    assert_eq!(codes(&server, set(&[("orgs", "bulk", &header)])).await, ["orgs.csv:1::unclosed_quote"]);
    // However much follows.
    orgs += &"o,,,n,nonsense,,\r\n".repeat(4 << 20 >> 4);
    assert_eq!(
        codes(&server, set(&[("orgs", "bulk", &orgs)])).await,
        ["orgs.csv:2:type:bad_enum", "orgs.csv:5::unclosed_quote"]
    );
    assert_eq!(server.read("orgs").await, json!({ "orgs": [] }));
}

#[tokio::test]
async fn a_row_beyond_all_bounds_is_an_error_and_the_next_are_read() {
    let server = Server::start().await;
    let long = "x".repeat(1 << 20);
    let wide = ",".repeat(1_000);
    let orgs =
        format!("{ORGS}o1,,,\"{long}\",school,,\r\no2{wide}\r\no3,,,{},school,,\r\no4,,,n,,,\r\n", &long[..4_001]);
    assert_eq!(
        codes(&server, set(&[("orgs", "bulk", &orgs)])).await,
        [
            "orgs.csv:2::too_long",
            "orgs.csv:3::too_long",
            "orgs.csv:4:name:too_long",
            "orgs.csv:5:type:missing_required"
        ]
    );
    // Extensions are no way around it.
    let orgs = format!("{},metadata.a\0b,metadata.c\r\no1,,,n,school,,,,{}\r\n", ORGS.trim_end(), &long[..4_001]);
    assert_eq!(
        codes(&server, set(&[("orgs", "bulk", &orgs)])).await,
        ["orgs.csv:1::bad_text", "orgs.csv:2:metadata.c:too_long"]
    );
}

/// A server whose settings are these, with the tenant `midori`.
async fn server_with(settings: &[(&str, &str)]) -> Server {
    let url = database().await;
    assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
    Server::with(&url, settings)
}

fn replaced(mut bytes: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for at in 0..=bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[tokio::test]
async fn a_set_is_unpacked_up_to_a_bound_whatever_it_claims() {
    let server = server_with(&[("ROSTERHUB_MAX_UNPACKED_BYTES", "3000000")]).await;
    let mut orgs = format!("{ORGS}o1,,,n,nonsense,,\r\n");
    let sessions = "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\r\n\
                    y,,,2026,schoolYear,2026-04-01,2027-03-31,,2026\r\n";
    for n in 0..400_000 {
        orgs += &format!("p{n},,,n,school,,\r\n");
    }
    let bomb = set(&[("academicSessions", "bulk", sessions), ("orgs", "bulk", &orgs)]);
    let found = codes(&server, bomb.clone()).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], "orgs.csv:2:type:bad_enum");
    assert!(found[1].starts_with("orgs.csv:") && found[1].ends_with("::set_too_large"), "{found:?}");
    // The size that the headers claim is of no account.
    let size = (orgs.len() as u32).to_le_bytes();
    let found = codes(&server, replaced(bomb, &size, &100_u32.to_le_bytes())).await;
    assert!(["set_too_large", "bad_entry"].iter().any(|code| found[found.len() - 1].ends_with(code)), "{found:?}");
    assert_eq!(server.read("orgs").await, json!({ "orgs": [] }));
    assert_eq!(server.read("academicSessions").await, json!({ "academicSessions": [] }));
}

#[tokio::test]
async fn what_swells_as_it_is_unpacked_takes_no_more_memory() {
    let server = Server::start().await;
    let small = format!("{ORGS}o1,,,n,school,,\r\n");
    server.import(set(&[("orgs", "bulk", &small)])).await;
    let before = server.memory();
    let blank = " ".repeat(64 << 20);
    for (text, code) in
        [(blank.clone(), "orgs.csv:2::too_long"), (["\"", &blank].concat(), "orgs.csv:2::unclosed_quote")]
    {
        let orgs = [ORGS, &text].concat();
        assert_eq!(codes(&server, set(&[("orgs", "bulk", &orgs)])).await, [code]);
    }
    // Rows just short of the bound, which are all held for a moment.
    let mut orgs =
        format!("{}{}\r\n", ORGS.trim_end(), (0..250).map(|n| format!(",metadata.x{n}")).collect::<String>());
    for n in 0..20 {
        orgs += &format!("o{n},,,n,school,,{}\r\n", format!(",{}", &blank[..4_000]).repeat(250));
    }
    let job = server.import(set(&[("orgs", "bulk", &orgs)])).await;
    assert_eq!(job["state"], "completed", "{job}");
    if let (Some(before), Some(after)) = (before, server.memory()) {
        assert!(after - before < 60 << 20, "from {before} to {after} bytes");
    }
}

#[tokio::test]
async fn entries_that_lead_elsewhere_are_named_and_touch_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_with(&[("ROSTERHUB_DATA_DIR", folder.path().to_str().unwrap())]).await;
    // A good set and one more entry.
    let with = |name: &str, target: Option<&str>| {
        let good = set(&[("orgs", "bulk", &format!("{ORGS}o1,,,n,school,,\r\n"))]);
        let mut writer = ZipWriter::new_append(Cursor::new(good)).unwrap();
        match target {
            Some(target) => writer.add_symlink(name, target, SimpleFileOptions::default()).unwrap(),
            None => writer.start_file(name, SimpleFileOptions::default()).unwrap(),
        }
        writer.finish().unwrap().into_inner()
    };
    for name in ["../users.csv", "/etc/users.csv", "a/users.csv", "..\\users.csv", "C:\\users.csv", "users.csv/"] {
        assert_eq!(codes(&server, with(name, None)).await, [format!("{name}:0::bad_entry")]);
    }
    assert_eq!(codes(&server, with("users.csv", Some("/etc/passwd"))).await, ["users.csv:0::bad_entry"]);
    // CP932, a name that ends early for some, and one that is there twice.
    let other = replaced(with("XXXX.csv", None), b"XXXX.csv", b"\x96\xbc\x95\xeb.csv");
    assert_eq!(codes(&server, other).await, ["\u{fffd}\u{fffd}\u{fffd}\u{fffd}.csv:0::bad_entry"]);
    let cut = replaced(with("users.csvX", None), b"users.csvX", b"users.csv\0");
    assert_eq!(codes(&server, cut).await, ["users.csv:0::unknown_file"]);
    let twice = replaced(with("orgX.csv", None), b"orgX.csv", b"orgs.csv");
    assert_eq!(codes(&server, twice).await[0], "orgs.csv:0::duplicate_file");

    assert_eq!(server.read("orgs").await, json!({ "orgs": [] }));
    assert_eq!(walk(folder.path()), ["secret.key", "uploads"]);
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            names.extend(walk(&entry.path()));
        }
    }
    names
}

#[tokio::test]
async fn a_zip_of_too_many_entries_is_not_looked_at() {
    let server = Server::start().await;
    let many: Vec<_> = (0..101).map(|n| (format!("f{n}.csv"), vec![])).collect();
    assert_eq!(codes(&server, zip(&many)).await, [":0::too_many_files"]);
    let found = codes(&server, zip(&many[..100])).await;
    assert_eq!(found.len(), 101, "each one is unknown, and there is no manifest");
    // Few, but with names beyond measure.
    let long: Vec<_> = (0..50).map(|n| (format!("{n}{}", "x".repeat(30_000)), vec![])).collect();
    assert_eq!(codes(&server, zip(&long)).await, [":0::too_many_files"]);
    // A zip64 end record that claims a great many.
    let mut claim = zip(&many[..1]);
    let end = claim.split_off(claim.len() - 22);
    let (size, start) = (u32::from_le_bytes(end[12..16].try_into().unwrap()), &end[16..20]);
    let record = claim.len() as u64;
    claim.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0");
    claim.extend([1_u64 << 40, 1 << 40, size.into()].map(u64::to_le_bytes).concat());
    claim.extend([start, &[0; 4]].concat());
    claim.extend([&b"PK\x06\x07\0\0\0\0"[..], &record.to_le_bytes(), &1_u32.to_le_bytes()].concat());
    claim.extend([&end[..8], &[0xff; 12], &[0; 2]].concat());
    assert_eq!(codes(&server, claim).await, [":0::too_many_files"]);
}

#[tokio::test]
async fn an_upload_has_a_largest_size() {
    let server = server_with(&[("ROSTERHUB_MAX_UPLOAD_BYTES", "1000")]).await;
    let part = reqwest::multipart::Part::bytes(vec![0; 1001]).file_name("a.zip");
    let url = format!("{}/rosterhub/v1/imports", server.base);
    for request in [
        server.http.post(&url).body(vec![0; 1001]),
        server.http.post(&url).multipart(reqwest::multipart::Form::new().part("file", part)),
    ] {
        let response = request.bearer_auth(&server.token).send().await.unwrap();
        assert_eq!(response.status(), 413);
        assert_eq!(response.json::<serde_json::Value>().await.unwrap()["error"]["code"], "too_large");
    }
    assert_eq!(codes(&server, vec![0; 1000]).await, [":0::not_a_zip"]);
}
