//! What is handed in may be anything: it is answered with errors, and costs no more memory than a good set.

use serde_json::json;

use crate::imports::{ORGS, codes};
use crate::support::{Server, set};

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
