//! Excel workbooks, built by hand, and what is said about their cells.

use serde_json::json;

use super::{found, hand_in, refused};
use crate::support::{Server, zip};

/// A cell of a sheet, as Excel writes it.
#[derive(Clone)]
pub enum Cell {
    Text(&'static str),
    Shared(usize),
    Number(&'static str),
    /// Days since the end of 1899.
    Date(&'static str),
    Flag(bool),
    Formula(&'static str),
    Error(&'static str),
    Blank,
}

use Cell::{Blank, Date, Error, Flag, Formula, Number, Shared, Text};

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A workbook with these sheets, rows and shared texts.
pub fn workbook(sheets: &[(&str, Vec<Vec<Cell>>)], shared: &[&str]) -> Vec<u8> {
    let package = "http://schemas.openxmlformats.org/package/2006";
    let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let main = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"";
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>";
    let relations =
        |inner: String| format!("{head}<Relationships xmlns=\"{package}/relationships\">{inner}</Relationships>");
    let relation = |id: String, kind: &str, target: String| {
        format!("<Relationship Id=\"{id}\" Type=\"{office}/{kind}\" Target=\"{target}\"/>")
    };
    let mut entries = vec![
        ("[Content_Types].xml".to_owned(), format!("{head}<Types xmlns=\"{package}/content-types\"/>")),
        ("_rels/.rels".to_owned(), relations(relation("r".into(), "officeDocument", "xl/workbook.xml".into()))),
    ];
    let (mut listed, mut related) = (String::new(), String::new());
    for (n, (name, rows)) in sheets.iter().enumerate() {
        listed += &format!("<sheet name=\"{name}\" sheetId=\"{}\" r:id=\"r{n}\"/>", n + 1);
        related += &relation(format!("r{n}"), "worksheet", format!("worksheets/sheet{n}.xml"));
        let mut data = String::new();
        for (y, row) in rows.iter().enumerate() {
            data += &format!("<row r=\"{}\">", y + 1);
            for (x, cell) in row.iter().enumerate() {
                let place = format!("{}{}", column(x), y + 1);
                data += &match cell {
                    Text(text) => format!("<c r=\"{place}\" t=\"inlineStr\"><is><t>{}</t></is></c>", escaped(text)),
                    Shared(n) => format!("<c r=\"{place}\" t=\"s\"><v>{n}</v></c>"),
                    Number(n) => format!("<c r=\"{place}\"><v>{n}</v></c>"),
                    Date(n) => format!("<c r=\"{place}\" s=\"1\"><v>{n}</v></c>"),
                    Flag(flag) => format!("<c r=\"{place}\" t=\"b\"><v>{}</v></c>", u8::from(*flag)),
                    Formula(text) => format!("<c r=\"{place}\" t=\"str\"><f>{text}</f><v>x</v></c>"),
                    Error(text) => format!("<c r=\"{place}\" t=\"e\"><v>{text}</v></c>"),
                    Blank => format!("<c r=\"{place}\"/>"),
                };
            }
            data += "</row>";
        }
        let sheet = format!("{head}<worksheet {main}><sheetData>{data}</sheetData></worksheet>");
        entries.push((format!("xl/worksheets/sheet{n}.xml"), sheet));
    }
    related += &relation("s".into(), "styles", "styles.xml".into());
    related += &relation("t".into(), "sharedStrings", "sharedStrings.xml".into());
    let shared: String = shared.iter().map(|text| format!("<si><t>{}</t></si>", escaped(text))).collect();
    let styles = "<cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"14\" applyNumberFormat=\"1\"/></cellXfs>";
    entries.extend([
        (
            "xl/workbook.xml".to_owned(),
            format!("{head}<workbook {main} xmlns:r=\"{office}\"><sheets>{listed}</sheets></workbook>"),
        ),
        ("xl/_rels/workbook.xml.rels".to_owned(), relations(related)),
        ("xl/styles.xml".to_owned(), format!("{head}<styleSheet {main}>{styles}</styleSheet>")),
        ("xl/sharedStrings.xml".to_owned(), format!("{head}<sst {main}>{shared}</sst>")),
    ]);
    let entries: Vec<_> = entries.into_iter().map(|(name, text)| (name, text.into_bytes())).collect();
    zip(&entries)
}

/// `A`, `B`, … `AA`.
fn column(mut n: usize) -> String {
    let mut name = String::new();
    loop {
        name.insert(0, (b'A' + (n % 26) as u8) as char);
        match n / 26 {
            0 => return name,
            rest => n = rest - 1,
        }
    }
}

fn header(text: &'static str) -> Vec<Cell> {
    text.trim().split(',').map(Text).collect()
}

const ORGS: &str = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId";
const SESSIONS: &str = "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear";

fn org(id: &'static str, name: Cell) -> Vec<Cell> {
    vec![Text(id), Blank, Blank, name, Text("school"), Blank, Blank]
}

#[tokio::test]
async fn a_workbook_is_taken_as_a_set_of_its_sheets() {
    let server = Server::start().await;
    let session =
        |id, begin, end, year| vec![Text(id), Blank, Blank, Shared(0), Text("schoolYear"), begin, end, Blank, year];
    let book = workbook(
        &[
            (
                "academicSessions",
                vec![
                    header(SESSIONS),
                    session("y1", Date("46113"), Date("46477"), Number("2027")),
                    vec![],
                    session("y2", Text("2027-04-01"), Text("2028-03-31"), Text("2028")),
                    vec![Blank, Blank],
                ],
            ),
            // Its header says what it is.
            ("学校", vec![header(ORGS), org("o1", Text("A & \"B\", 小学校"))]),
            ("Sheet3", vec![]),
        ],
        &["2026年度"],
    );
    let job = hand_in(&server, book.clone(), None, "").await;
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(job["rows"], json!({ "academicSessions": 2, "orgs": 1 }));
    assert_eq!(job["notWithdrawn"], json!(["academicSession", "org"]));
    let session = server.read("academicSessions/y1").await["academicSession"].clone();
    assert_eq!(
        (&session["title"], &session["startDate"], &session["endDate"], &session["schoolYear"]),
        (&json!("2026年度"), &json!("2026-04-01"), &json!("2027-03-31"), &json!("2027"))
    );
    assert_eq!(server.read("orgs/o1").await["org"]["name"], "A & \"B\", 小学校");
    // A manifest, whose versions Excel takes for numbers.
    let mut manifest = vec![
        header("propertyName,value"),
        vec![Text("manifest.version"), Number("1")],
        vec![Text("oneroster.version"), Number("1.2")],
    ];
    manifest.extend(rosterhub::csv::edition::FILES.map(|stem| {
        let name: &'static str = format!("file.{stem}").leak();
        vec![Text(name), Text(if stem == "orgs" { "bulk" } else { "absent" })]
    }));
    let sheets = [("manifest", manifest), ("orgs", vec![header(ORGS), org("o2", Text("n"))])];
    let job = hand_in(&server, workbook(&sheets, &[]), Some("x.xlsx"), "?apply=always").await;
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(job["changes"]["org"]["withdrawn"], 1, "the manifest says bulk");
    assert_eq!(
        refused(&server, workbook(&sheets, &[]), None, "?mode=delta").await,
        ["manifest.csv:0::mode_with_manifest"]
    );
}

#[tokio::test]
async fn cells_that_are_no_text_are_named() {
    let server = Server::start().await;
    let row = |id: Cell, name: Cell, code: Cell| vec![id, Blank, Blank, name, Text("school"), code, Blank];
    let orgs = vec![
        header(ORGS),
        row(Text("o1"), Formula("A1&amp;B1"), Blank),
        row(Number("7"), Text("n"), Number("13113")),
        row(Text("o3"), Error("#N/A"), Date("46113")),
        row(Text("o4"), Text("a\nb"), Flag(true)),
        row(Text("o5"), Text("n"), Number("1.2E+25")),
        [row(Text("o6"), Text("n"), Blank), vec![Text("more")]].concat(),
    ];
    let sessions = vec![
        header(SESSIONS),
        vec![
            Text("y"),
            Blank,
            Blank,
            Text("t"),
            Text("schoolYear"),
            Date("46113.5"),
            Number("46477"),
            Blank,
            Number("2026.5"),
        ],
    ];
    assert_eq!(
        refused(&server, workbook(&[("orgs", orgs), ("academicSessions", sessions)], &[]), None, "").await,
        [
            "academicSessions.csv:2:endDate:bad_date",
            "academicSessions.csv:2:schoolYear:bad_year",
            "academicSessions.csv:2:startDate:bad_date",
            "orgs.csv:2:name:formula_cell",
            "orgs.csv:3:identifier:typed_cell",
            "orgs.csv:3:sourcedId:typed_cell",
            "orgs.csv:4:identifier:typed_cell",
            "orgs.csv:4:name:error_cell",
            "orgs.csv:5:identifier:typed_cell",
            "orgs.csv:5:name:bad_text",
            "orgs.csv:6:identifier:typed_cell",
            "orgs.csv:7::short_row",
        ]
    );
    let unknown = workbook(&[("orgs", vec![header(ORGS), org("o", Text("n"))]), ("memo", vec![vec![Text("x")]])], &[]);
    assert_eq!(refused(&server, unknown, None, "").await, ["memo:0::unrecognized_file"]);
    let twice = [("orgs", vec![header(ORGS), org("o", Text("n"))]), ("学校", vec![header(ORGS), org("p", Text("n"))])];
    assert_eq!(refused(&server, workbook(&twice, &[]), None, "").await, ["orgs.csv:0::duplicate_file"]);
    assert_eq!(refused(&server, workbook(&[("Sheet1", vec![])], &[]), None, "").await, [":0::bad_workbook"]);
    assert_eq!(server.read("orgs").await, json!({ "orgs": [] }));
}

#[tokio::test]
async fn a_workbook_that_swells_takes_no_more_memory() {
    let server = Server::start().await;
    hand_in(&server, workbook(&[("orgs", vec![header(ORGS), org("o", Text("n"))])], &[]), None, "").await;
    let before = server.memory();
    // One text beyond measure, many shared ones, and one that very many cells share.
    let long: &'static str = "x".repeat(40 << 20).leak();
    let cells = || vec![header(ORGS), org("o", Text(long))];
    assert_eq!(refused(&server, workbook(&[("orgs", cells())], &[]), None, "").await, [":0::set_too_large"]);
    let shared = vec!["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; 1_000_000];
    assert_eq!(
        refused(&server, workbook(&[("orgs", vec![header(ORGS)])], &shared), None, "").await,
        [":0::set_too_large"]
    );
    let long: &'static str = &long[..1 << 19];
    let rows = std::iter::once(header(ORGS)).chain((0..20).map(|_| (0..1_000).map(|_| Shared(0)).collect())).collect();
    let found = found(&server, &hand_in(&server, workbook(&[("orgs", rows)], &[long]), None, "").await).await;
    assert!(found.iter().all(|error| error.ends_with("::too_long")) && found.len() == 20, "{found:?}");
    if let (Some(before), Some(after)) = (before, server.memory()) {
        assert!(after - before < 60 << 20, "from {before} to {after} bytes");
    }
}
