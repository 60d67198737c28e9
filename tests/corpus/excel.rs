//! CSV files as Excel and people leave them, in sets and by themselves.

use serde_json::json;

use super::{ORGS, hand_in, in_set, refused};
use crate::imports::SESSIONS;
use crate::support::Server;

#[tokio::test]
async fn a_file_of_another_form_is_one_error() {
    let server = Server::start().await;
    let rows = "o1,,,n,school,,\r\n".repeat(300);
    for (text, error) in [
        (format!("{ORGS}{rows}").replace(',', ";"), "orgs.csv:1::wrong_separator"),
        (format!("{ORGS}{rows}").replace(',', "\t"), "orgs.csv:1::wrong_separator"),
        (format!("{ORGS}{rows}").replace("\r\n", "\r"), "orgs.csv:1::line_ends"),
        (format!("sep=,\r\n{ORGS}{rows}"), "orgs.csv:1::separator_line"),
        (format!("\u{feff}sep=;\r\n{ORGS}{rows}").replace(',', ";"), "orgs.csv:1::separator_line"),
    ] {
        assert_eq!(refused(&server, in_set("orgs", text.into_bytes()), None, "").await, [error]);
    }
    let text = ORGS.replace(',', ";");
    assert_eq!(refused(&server, text.into_bytes(), Some("a.csv"), "").await, ["a.csv:0::wrong_separator"]);
}

#[tokio::test]
async fn what_spreadsheets_do_to_values_is_named() {
    let server = Server::start().await;
    let orgs = format!(
        "{ORGS}o1,,,'n,school,,\r\n\
         ,,,,,,\r\n\
         1.2E+25,,,n,school,1.2E+25,\r\n\
         'o4,,,n,school,,\r\n\
         \u{a0}o5,,,n,school,,\r\n\
         o6,,,\"a \"\"b\"\", c\",school,,\u{3000}\r\n\
         o7,,,n, school,,\r\n\
         o8,,,n,school,,,,,\r\n\
         ,,,,,,\r\n"
    );
    let sessions = format!(
        "{SESSIONS}y1,,,t,schoolYear,2026/4/1,2027-03-31,,2027\r\n\
         y2,,,t,schoolYear,2026-04-01,2027年3月31日,,2027\r\n\
         y3,,,t,schoolYear,46113,2027-02-29,,R8\r\n"
    );
    let files = [("academicSessions", sessions.into_bytes()), ("orgs", orgs.into_bytes())];
    assert_eq!(
        refused(&server, super::set_of(&files, "bulk"), None, "").await,
        [
            "academicSessions.csv:2:startDate:bad_date",
            "academicSessions.csv:3:endDate:bad_date",
            "academicSessions.csv:4:endDate:bad_date",
            "academicSessions.csv:4:schoolYear:bad_year",
            "academicSessions.csv:4:startDate:bad_date",
            "orgs.csv:4:sourcedId:bad_sourced_id",
            "orgs.csv:5:sourcedId:bad_sourced_id",
            "orgs.csv:6:sourcedId:bad_sourced_id",
            "orgs.csv:7:parentSourcedId:bad_sourced_id",
            "orgs.csv:8:type:bad_enum",
            "orgs.csv:9::short_row",
        ]
    );
    // Columns that nobody named.
    let wide = format!("{},,\r\no1,,,n,school,,,,\r\n", ORGS.trim_end());
    assert_eq!(
        refused(&server, in_set("orgs", wide.into_bytes()), None, "").await,
        ["orgs.csv:1::header_duplicate", "orgs.csv:1::header_duplicate"]
    );
    assert_eq!(server.read("orgs").await, json!({ "orgs": [] }));
}

#[tokio::test]
async fn a_single_file_is_told_by_its_name_or_its_header() {
    let server = Server::start().await;
    let text = |id: &str| format!("{ORGS}{id},,,n,school,,\r\n").into_bytes();
    for (n, name) in [Some("orgs.csv"), Some("orgs (1).csv"), Some("学校一覧.csv"), None].into_iter().enumerate() {
        let job = hand_in(&server, text(&format!("o{n}")), name, "").await;
        assert_eq!((&job["state"], &job["rows"]), (&json!("completed"), &json!({ "orgs": 1 })), "{job}");
        assert_eq!(job["changes"]["org"]["withdrawn"], 0);
        assert_eq!(job["notWithdrawn"], json!(["org"]));
    }
    let all = server.read("orgs").await["orgs"].as_array().unwrap().len();
    assert_eq!(all, 4, "nobody said that a file tells all");

    // A status makes a delta of it.
    let delta = format!("{ORGS}o0,tobedeleted,2026-04-01T00:00:00.000Z,n,school,,\r\n");
    let job = hand_in(&server, delta.into_bytes(), None, "").await;
    assert_eq!((&job["changes"]["org"]["withdrawn"], &job["notWithdrawn"]), (&json!(1), &json!([])), "{job}");
    let mixed = format!("{ORGS}o1,,,n,school,,\r\no2,active,,n,school,,\r\n");
    assert_eq!(refused(&server, mixed.clone().into_bytes(), None, "").await, ["orgs.csv:3:status:bulk_with_status"]);
    assert_eq!(
        refused(&server, mixed.into_bytes(), None, "?mode=delta").await,
        [
            "orgs.csv:2:dateLastModified:delta_without_status",
            "orgs.csv:2:status:delta_without_status",
            "orgs.csv:3:dateLastModified:delta_without_status"
        ]
    );
    // All records there are, when somebody says so.
    let job = hand_in(&server, text("o1"), Some("orgs.csv"), "?mode=bulk&apply=always").await;
    assert_eq!((&job["changes"]["org"]["withdrawn"], &job["notWithdrawn"]), (&json!(2), &json!([])), "{job}");

    for (text, name, error) in [
        (format!("{ORGS}o1,,,n,school,,\r\n"), "users.csv", "users.csv:1:username:header_missing"),
        ("sourcedId,status,dateLastModified,a,b,c\r\n1,,,,,\r\n".into(), "a.csv", "a.csv:0::unrecognized_file"),
        ("sourcedId,status,dateLastModified,title\r\n1,,,\r\n".into(), "b.csv", "b.csv:0::unrecognized_file"),
        ("name,school\r\n1,2\r\n".into(), "c.csv", ":0::not_a_zip"),
    ] {
        let found = refused(&server, text.into_bytes(), Some(name), "").await;
        assert!(found.contains(&error.to_owned()), "{name}: {found:?}");
    }
    let url = format!("{}/rosterhub/v1/imports", server.base);
    for wrong in ["mode=all", "encoding=latin1"] {
        let response = server.http.post(format!("{url}?{wrong}")).bearer_auth(&server.token).send().await.unwrap();
        assert_eq!(response.status(), 400, "{wrong}");
    }
}
