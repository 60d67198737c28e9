//! Text that is hard to write, and what a set cannot say.

use serde_json::{Value, json};

use super::{As, Set, another, assert_alike, export, get, import, report};
use crate::support::{Server, bulk, city, put};

const HARD: [&str; 8] = ["a,b", "say \"x\"", "\"", "𠮷野家 ｱ", "=1+2", "'", " ends ", "ﾊ,\"\"\u{feff}"];

fn org(name: &str) -> Value {
    json!({ "name": name, "type": "school", "identifier": name, "metadata": { "note, \"x\"": name, "jp.x": "y" } })
}

/// Few keys are looked for one by one, many at once.
#[tokio::test]
async fn each_key_of_metadata_in_use_has_a_column() {
    let server = Server::start().await;
    for many in [2, 30] {
        let metadata = |keys: std::ops::Range<u32>| -> Value {
            keys.map(|n| (format!("k{n:02}"), Value::from("v"))).collect::<serde_json::Map<_, _>>().into()
        };
        let org = |metadata| json!({ "name": "n", "type": "school", "identifier": "", "metadata": metadata });
        let columns = async |server: &Server| export(server, "").await.rows("orgs")[0][7..].to_vec();
        let named = |keys: std::ops::Range<u32>| keys.map(|n| format!("metadata.k{n:02}")).collect::<Vec<_>>();
        put(&server, "orgs/a", org(metadata(0..many))).await;
        assert_eq!(columns(&server).await, named(0..many));
        put(&server, "orgs/a", org(metadata(1..many))).await;
        assert_eq!(columns(&server).await, named(1..many), "no column for a key that is not in use any more");
    }
}

#[tokio::test]
async fn hard_text_survives() {
    let mut server = Server::start().await;
    for (n, text) in HARD.iter().enumerate() {
        put(&server, &format!("orgs/o{n}"), org(text)).await;
    }
    put(&server, "orgs/plain", json!({ "name": "x", "type": "school", "identifier": "" })).await;
    put(
        &server,
        "orgs/empty",
        json!({ "name": "x", "type": "school", "identifier": "", "metadata": { "only": "", "jp.x": "z" } }),
    )
    .await;
    let set = export(&server, "").await;
    let header = set.rows("orgs")[0].clone();
    assert_eq!(header[7..], ["metadata.jp.x", "metadata.note, \"x\""], "no column for what is empty everywhere");
    let records = set.records("orgs");
    for (n, text) in HARD.iter().enumerate() {
        let record = &records[&format!("o{n}")];
        assert_eq!((record["name"].as_str(), record["metadata.note, \"x\""].as_str()), (*text, *text));
    }
    let other = another(&server, "aoba");
    let other = As::new(&mut server, &other);
    import(&other, set.zip.clone()).await;
    assert_alike(&export(&other, "").await, &set, "handed in");
    let read = other.read("orgs?limit=20").await;
    let of = |id: &str| read["orgs"].as_array().unwrap().iter().find(|org| org["sourcedId"] == id).unwrap().clone();
    for (n, text) in HARD.iter().enumerate() {
        assert_eq!(of(&format!("o{n}"))["name"], *text);
    }
    drop(other);

    let guarded = export(&server, "formulaGuard=true").await;
    assert_eq!(guarded.records("orgs")["o4"]["name"], "'=1+2");
    assert_eq!(guarded.records("orgs")["o0"]["name"], "a,b");
}

#[tokio::test]
async fn cp932_is_written_or_refused() {
    let server = Server::start().await;
    put(&server, "orgs/a", org("髙橋①中学校")).await;
    let set = export(&server, "encoding=cp932&files=orgs").await;
    let (text, _, bad) = encoding_rs::SHIFT_JIS.decode(&set.files["orgs"]);
    assert!(!bad && text.contains("髙橋①中学校"));
    put(&server, "orgs/b", org("𠮷野中学校")).await;
    let refused = get(&server, "oneroster.zip?encoding=cp932").await;
    assert_eq!(refused.status(), 422);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "unmappable");
}

fn loss<'a>(report: &'a Value, column: &str, reason: &str) -> Option<&'a Value> {
    let losses = report["losses"].as_array().unwrap();
    losses.iter().find(|loss| loss["column"] == column && loss["reason"] == reason)
}

#[tokio::test]
async fn what_a_set_cannot_say_is_counted() {
    let server = Server::start().await;
    import(&server, bulk(&city())).await;
    let course = server.read("courses?limit=1").await["courses"][0].clone();
    let id = course["sourcedId"].as_str().unwrap().to_owned();
    let mut changed = course.clone();
    changed["subjects"] = json!(["国語, 書写", "算数"]);
    changed["subjectCodes"] = json!(["P010", "P020"]);
    changed["courseCode"] = "K1".into();
    changed["grades"] = json!(["07"]);
    changed["metadata"] = json!({ "vendor.colour": "red" });
    put(&server, &format!("courses/{id}"), changed).await;
    let user = server.read("users?limit=1").await["users"][0].clone();
    let user_id = user["sourcedId"].as_str().unwrap().to_owned();
    let mut changed = user.clone();
    changed["userIds"] = json!([{ "type": "a:b", "identifier": "1" }, { "type": "ldap", "identifier": "x" }]);
    put(&server, &format!("users/{user_id}"), changed).await;

    let base = report(&server, "").await;
    assert_eq!(loss(&base, "subjects", "not_in_lists").unwrap()["values"], 1);
    assert_eq!(loss(&base, "userIds", "not_in_lists").unwrap()["values"], 1);
    assert!(loss(&base, "metadata.vendor.colour", "no_column").is_none());
    let set = export(&server, "").await;
    assert_eq!(set.records("courses")[&id]["subjects"], "国語 書写,算数");
    assert_eq!(set.records("courses")[&id]["metadata.vendor.colour"], "red");
    assert_eq!(set.records("users")[&user_id]["userIds"], "{ldap:x}");

    let japan = report(&server, "edition=japan-2").await;
    assert_eq!(japan["edition"], "japan-2");
    assert_eq!(loss(&japan, "metadata.vendor.colour", "no_column").unwrap()["file"], "courses.csv");
    assert_eq!(loss(&japan, "courseCode", "course_code_not_blank").unwrap()["values"], 1);
    assert_eq!(loss(&japan, "grades", "bad_grade").unwrap()["values"], 1);
    let kana = loss(&japan, "metadata.jp.kanaPreferredGivenName", "no_column");
    let set = export(&server, "edition=japan-2").await;
    assert_eq!(set.records("courses")[&id]["courseCode"], "");
    assert!(!set.text("users").contains("kanaPreferred"));
    assert_eq!(kana.is_some(), export(&server, "").await.text("users").contains("kanaPreferredGivenName"));
    let rows: u64 = japan["rows"].as_object().unwrap().values().map(|rows| rows.as_u64().unwrap()).sum();
    let stems = set.files.keys().filter(|stem| *stem != "manifest");
    assert_eq!(rows, stems.map(|stem| set.records(stem).len() as u64).sum::<u64>());
}

#[tokio::test]
async fn what_names_a_deleted_record_does_not_stand_in_a_set() {
    let mut server = Server::start().await;
    import(&server, bulk(&city())).await;
    let whole: Set = export(&server, "").await;
    let enrollment = whole.records("enrollments").into_values().next().unwrap();
    let class = enrollment["classSourcedId"].clone();
    let url = format!("{}/rosterhub/v1/roster/classes/{class}", server.base);
    assert!(server.http.delete(url).bearer_auth(&server.token).send().await.unwrap().status().is_success());
    let set = export(&server, "").await;
    let gone = whole.records("enrollments").values().filter(|e| e["classSourcedId"] == class).count();
    assert_eq!(set.ids("enrollments").len() + gone, whole.ids("enrollments").len());
    let report = report(&server, "").await;
    assert_eq!(loss(&report, "classSourcedId", "row_left_out").unwrap()["values"], gone);
    // Pupils of a homeroom lose its name.
    let lost = whole.records("users").values().filter(|user| user["metadata.jp.homeClass"] == class).count();
    assert_eq!(
        loss(&report, "metadata.jp.homeClass", "not_in_set").map_or(0, |loss| loss["values"].as_u64().unwrap()),
        lost as u64
    );
    // So that it can be handed in.
    let other = another(&server, "aoba");
    let other = As::new(&mut server, &other);
    import(&other, whole.zip.clone()).await;
    import(&other, set.zip.clone()).await;
    assert_alike(&export(&other, "").await, &set, "handed in");
}
