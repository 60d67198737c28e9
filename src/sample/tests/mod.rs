use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use super::*;

mod broken_sets;
mod sets;

/// A set as it was read back: header and rows by file name.
type Set = BTreeMap<String, Vec<Vec<String>>>;

fn read(bytes: Vec<u8>) -> Set {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).expect("a zip");
    let mut set = Set::new();
    for at in 0..zip.len() {
        let mut member = zip.by_index(at).expect("a member");
        let mut text = String::new();
        member.read_to_string(&mut text).expect("UTF-8");
        let mut csv = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let rows = csv.records().map(|row| row.expect("a row"));
        let rows = rows.map(|row| row.iter().map(str::to_owned).collect());
        set.insert(member.name().expect("a name").into_owned(), rows.collect());
    }
    set
}

fn bulk(options: &SampleOptions) -> (SetReport, Vec<u8>) {
    let mut out = Cursor::new(Vec::new());
    let report = write_bulk(options, &mut out).expect("a bulk set");
    (report, out.into_inner())
}

fn delta(options: &SampleOptions, percent: f64) -> (SetReport, Vec<u8>) {
    let mut out = Cursor::new(Vec::new());
    let report = write_delta(options, percent, &mut out).expect("a delta set");
    (report, out.into_inner())
}

fn broken(options: &SampleOptions, kinds: &[FaultKind], per_kind: u32) -> (Vec<ExpectedError>, Vec<u8>) {
    let mut out = Cursor::new(Vec::new());
    let expected = write_broken(options, kinds, per_kind, &mut out).expect("a broken set");
    (expected, out.into_inner())
}

fn column(set: &Set, file: &str, name: &str) -> Vec<String> {
    let rows = &set[file];
    let at = rows[0].iter().position(|column| column == name);
    let at = at.expect("the column");
    rows[1..].iter().map(|row| row[at].clone()).collect()
}

fn large() -> SampleOptions {
    SampleOptions { schools: 10, students_per_school: 240, ..SampleOptions::default() }
}
