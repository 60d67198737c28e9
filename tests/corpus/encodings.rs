//! Files as they come out of Japanese systems and Excel, in every encoding.

use encoding_rs::{EUC_JP, SHIFT_JIS};
use serde_json::json;

use super::{ORGS, hand_in, in_set, refused};
use crate::support::Server;

fn cp932(text: &str) -> Vec<u8> {
    let (bytes, _, lossy) = SHIFT_JIS.encode(text);
    assert!(!lossy);
    bytes.into_owned()
}

fn euc_jp(text: &str) -> Vec<u8> {
    EUC_JP.encode(text).0.into_owned()
}

fn utf16(text: &str, mark: bool, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mark = if mark { "\u{feff}" } else { "" };
    mark.encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

fn orgs(names: &[&str]) -> String {
    names.iter().enumerate().fold(ORGS.to_owned(), |text, (n, name)| format!("{text}o{n},,,{name},school,,\r\n"))
}

const NAMES: [&str; 4] = ["①㈱髙﨑～", "みどり市立あおば小学校", "ｱｲｳ ﾄﾞｯﾄ", "能登—∥－"];

#[tokio::test]
async fn every_encoding_is_read_and_told() {
    let server = Server::start().await;
    let text = orgs(&NAMES);
    let marked = format!("\u{feff}{text}");
    for (bytes, encoding) in [
        (text.clone().into_bytes(), "utf-8"),
        (marked.into_bytes(), "utf-8-bom"),
        (cp932(&text.replace('—', "―")), "cp932"),
        (utf16(&text, true, u16::to_le_bytes), "utf-16le"),
        (utf16(&text, true, u16::to_be_bytes), "utf-16be"),
        (utf16(&text, false, u16::to_le_bytes), "utf-16le"),
        (utf16(&text, false, u16::to_be_bytes), "utf-16be"),
        (euc_jp(&orgs(&["神奈川県立図書館", "みどり市立あおば小学校", "ｱｲｳ"])), "euc-jp"),
    ] {
        let job = hand_in(&server, in_set("orgs", bytes), None, "?apply=always").await;
        assert_eq!(job["state"], "completed", "{job}");
        assert_eq!(job["encodings"], json!({ "manifest": "utf-8", "orgs": encoding }));
        let found = server.read("orgs/o1").await["org"]["name"].clone();
        assert_eq!(found, "みどり市立あおば小学校", "{encoding}");
        if encoding != "euc-jp" {
            assert_eq!(server.read("orgs/o0").await["org"]["name"], NAMES[0], "{encoding}");
            assert_eq!(server.read("orgs/o2").await["org"]["name"], NAMES[2], "{encoding}");
        }
    }
    // Wave dash and full-width tilde stay apart where the encoding has both.
    let tildes = orgs(&["\u{301c}", "\u{ff5e}"]);
    hand_in(&server, in_set("orgs", tildes.into_bytes()), None, "?apply=always").await;
    assert_eq!(server.read("orgs/o0").await["org"]["name"], "\u{301c}");
    assert_eq!(server.read("orgs/o1").await["org"]["name"], "\u{ff5e}");
}

#[tokio::test]
async fn damaged_characters_are_named_where_they_are() {
    let server = Server::start().await;
    let broken = |text: &str, at: &str, bytes: &[u8]| {
        let (before, after) = text.split_once(at).unwrap();
        (cp932(before), bytes.to_vec(), cp932(after))
    };
    let text = orgs(&["みどり市立あおば小学校", "X", "高橋学園"]);
    // Half a character at the end of a field, in CP932; cut off by a program that counts bytes.
    let (before, half, after) = broken(&text, "X", b"\x8d\x82\x8b");
    let cut = [before, half, after].concat();
    assert_eq!(refused(&server, in_set("orgs", cut.clone()), None, "").await, ["orgs.csv:3:name:bad_character"]);
    // One row of another encoding in a UTF-8 file, which stays UTF-8.
    let mixed = text.into_bytes();
    let at = mixed.iter().position(|b| *b == b'X').unwrap();
    let mixed = [&mixed[..at], b"\x8d\x82\x8b\xb4", &mixed[at + 1..]].concat();
    assert_eq!(refused(&server, in_set("orgs", mixed), None, "").await, ["orgs.csv:3:name:bad_character"]);
    // Characters that an earlier program lost.
    let lost = orgs(&["n", "高\u{fffd}"]);
    assert_eq!(refused(&server, in_set("orgs", lost.into_bytes()), None, "").await, ["orgs.csv:3:name:bad_character"]);
    // Half a surrogate.
    let mut units: Vec<u16> = orgs(&["X"]).encode_utf16().collect();
    units.iter_mut().filter(|unit| **unit == u16::from(b'X')).for_each(|unit| *unit = 0xd842);
    let bytes: Vec<u8> = [0xfeff].into_iter().chain(units).flat_map(u16::to_le_bytes).collect();
    assert_eq!(refused(&server, in_set("orgs", bytes), None, "").await, ["orgs.csv:2:name:bad_character"]);
    // What is said goes before what is told.
    let found = refused(&server, in_set("orgs", cut), None, "?encoding=utf-8").await;
    assert_eq!(
        found,
        ["orgs.csv:2:name:bad_character", "orgs.csv:3:name:bad_character", "orgs.csv:4:name:bad_character"]
    );
    let name = "ﾃｱ"; // also good UTF-8
    let job = hand_in(&server, in_set("orgs", cp932(&orgs(&[name]))), None, "?encoding=cp932").await;
    assert_eq!((&job["state"], &job["encodings"]["orgs"]), (&json!("completed"), &json!("cp932")), "{job}");
    assert_eq!(server.read("orgs/o0").await["org"]["name"], name);
}

#[tokio::test]
async fn each_file_of_a_set_may_have_its_own() {
    let server = Server::start().await;
    let sessions = "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\r\n\
                    y,,,2026年度,schoolYear,2026-04-01,2027-03-31,,2027\r\n";
    let files = [("academicSessions", euc_jp(sessions)), ("orgs", cp932(&orgs(&["高橋学園"])))];
    let job = hand_in(&server, super::set_of(&files, "bulk"), None, "").await;
    assert_eq!(
        job["encodings"],
        json!({ "academicSessions": "euc-jp", "manifest": "utf-8", "orgs": "cp932" }),
        "{job}"
    );
    assert_eq!(server.read("academicSessions/y").await["academicSession"]["title"], "2026年度");
    assert_eq!(server.read("orgs/o0").await["org"]["name"], "高橋学園");
}

#[tokio::test]
async fn a_large_file_is_read_in_bounded_memory() {
    let server = Server::start().await;
    hand_in(&server, in_set("orgs", orgs(&["n"]).into_bytes()), None, "").await;
    let before = server.memory();
    let mut text = ORGS.to_owned();
    for n in 0..200_000 {
        text += &format!("o{n},,,みどり市立あおば小学校,nonsense,,\r\n");
        if n == 1_000 {
            text += &format!("x,,,{},school,,\r\n", " ".repeat(2 << 20));
        }
    }
    let found = refused(&server, in_set("orgs", cp932(&text)), None, "").await;
    assert_eq!((found.len(), &found[0][..]), (10_000, "orgs.csv:10000:type:bad_enum"));
    if let (Some(before), Some(after)) = (before, server.memory()) {
        assert!(after - before < 80 << 20, "from {before} to {after} bytes");
    }
}
