//! Breaks a set while it is written, and keeps the list of what a reader has to find.

use ::csv::StringRecord;

use super::city::City;
use super::faults::{ExpectedError, FaultKind};
use super::file::File;
use super::key::Of;
use super::plan::{Change, Plan, Rule};

/// Where the unknown column is put into orgs.
const EXTRA_AT: usize = 5;

/// The two columns of courses that change places.
const SWAPPED: [&str; 2] = ["title", "courseCode"];

pub(super) struct Faults<'a> {
    city: &'a City<'a>,
    kinds: Vec<FaultKind>,
    plan: Plan,
    /// Rules whose row was not of a student; they take the next one.
    waiting: Vec<usize>,
    expected: Vec<ExpectedError>,
}

/// A row that is not written as it came.
pub(super) struct Edited {
    pub(super) fields: Vec<String>,
    pub(super) twice: bool,
}

/// A line of the manifest.
pub(super) struct Property {
    pub(super) name: String,
    pub(super) value: &'static str,
}

impl<'a> Faults<'a> {
    pub(super) fn new(city: &'a City<'a>, kinds: &[FaultKind], per_kind: u32) -> Self {
        Self {
            city,
            kinds: kinds.to_vec(),
            plan: Plan::new(city, kinds, per_kind),
            waiting: Vec::new(),
            expected: Vec::new(),
        }
    }

    /// Whether the set is to have a fault outside of rows.
    pub(super) fn has(&self, kind: FaultKind) -> bool {
        self.kinds.contains(&kind)
    }

    fn swaps(&self, file: File) -> Option<[usize; 2]> {
        if file != File::Courses || !self.has(FaultKind::HeaderOrder) {
            return None;
        }
        let columns = file.columns(self.city.options.dialect);
        let at = |name| columns.iter().position(|column| *column == name);
        Some([at(SWAPPED[0])?, at(SWAPPED[1])?])
    }

    fn inserts(&self, file: File) -> bool {
        file == File::Orgs && self.has(FaultKind::ExtraColumn)
    }

    pub(super) fn header(&mut self, file: File, columns: &mut Vec<&'static str>) {
        if let Some([a, b]) = self.swaps(file) {
            columns.swap(a, b);
            self.expect_in_header(
                FaultKind::HeaderOrder,
                file,
                "title,courseCode",
                "two columns stand in each other's place (values moved with them)",
            );
        }
        if self.inserts(file) {
            columns.insert(EXTRA_AT, "schoolNickname");
            self.expect_in_header(
                FaultKind::ExtraColumn,
                file,
                "schoolNickname",
                "a column that the binding does not know, not under metadata, in the middle",
            );
        }
    }

    fn expect_in_header(&mut self, kind: FaultKind, file: File, column: &'static str, text: &'static str) {
        self.expected.push(ExpectedError {
            kind,
            file: file.csv_name(),
            line: 1,
            source_id: String::new(),
            column,
            value: String::new(),
            text,
        });
    }

    /// Breaks a row, if it is planned; `row` counts from 0 without the rows written twice, `line`
    /// is where it will stand.
    pub(super) fn row(&mut self, file: File, row: u64, line: u64, record: &StringRecord) -> Option<Edited> {
        let rule = self.due(file, row, record);
        let swaps = self.swaps(file);
        let inserts = self.inserts(file);
        if rule.is_none() && swaps.is_none() && !inserts {
            return None;
        }
        let mut edited = Edited { fields: record.iter().map(str::to_owned).collect(), twice: false };
        if let Some(rule) = rule {
            let ghost = self.city.keys.num(Of::Ghost, &[file as u64, row]);
            let rule = &self.plan.rules[rule];
            let expected = apply(rule, line, ghost, &mut edited);
            self.expected.push(expected);
        }
        if let Some([a, b]) = swaps {
            edited.fields.swap(a, b);
        }
        if inserts {
            edited.fields.insert(EXTRA_AT, String::new());
        }
        Some(edited)
    }

    /// The rule for this row: its own or, if it has none, one that waits for a student's
    /// enrollment.
    fn due(&mut self, file: File, row: u64, record: &StringRecord) -> Option<usize> {
        let own = self.plan.at.get(&(file, row)).copied();
        let waiting = || (file == File::Enrollments).then(|| self.waiting.pop())?;
        let rule = own.or_else(waiting)?;
        if self.plan.rules[rule].wants_student() && !record.iter().any(|field| field == "student") {
            self.waiting.push(rule);
            return None;
        }
        Some(rule)
    }

    /// Breaks the manifest; its lines follow a header.
    pub(super) fn manifest(&mut self, lines: &mut [Property]) {
        let faults = [
            (FaultKind::ManifestMissingFile, "file.resources", "bulk", "declared, but resources.csv is not in the set"),
            (
                FaultKind::ManifestUndeclaredFile,
                "file.categories",
                "absent",
                "declared absent, but categories.csv is in the set",
            ),
            (FaultKind::ManifestBadMode, "file.users", "full", "not absent, bulk or delta"),
            (FaultKind::ManifestVersion, "oneroster.version", "9.9", "no such version"),
        ];
        for (kind, column, value, text) in faults {
            let found = lines.iter().position(|line| line.name == column);
            if let Some(at) = found.filter(|_| self.has(kind)) {
                lines[at].value = value;
                self.expect_in_manifest(kind, at as u64 + 2, column, value, text);
            }
        }
    }

    pub(super) fn no_manifest(&mut self) {
        self.expect_in_manifest(FaultKind::ManifestAbsent, 0, "", "", "no manifest.csv");
    }

    fn expect_in_manifest(
        &mut self,
        kind: FaultKind,
        line: u64,
        column: &'static str,
        value: &str,
        text: &'static str,
    ) {
        self.expected.push(ExpectedError {
            kind,
            file: "manifest.csv",
            line,
            source_id: String::new(),
            column,
            value: value.to_owned(),
            text,
        });
    }

    /// The errors to expect, by file, line and kind.
    pub(super) fn into_expected(self) -> Vec<ExpectedError> {
        let mut expected = self.expected;
        expected.sort_by_key(|error| (error.file, error.line, error.kind.as_str()));
        expected
    }
}

fn apply(rule: &Rule, mut line: u64, ghost: u64, edited: &mut Edited) -> ExpectedError {
    let value = match &rule.change {
        Change::Value(value) => value.clone(),
        Change::Ghost => format!("00000000-0000-5000-8000-{:012x}", ghost >> 16),
        Change::Short => {
            edited.fields.pop();
            String::new()
        }
        Change::Twice => {
            edited.twice = true;
            line += 1;
            edited.fields[rule.at].clone()
        }
    };
    if matches!(rule.change, Change::Value(_) | Change::Ghost) {
        edited.fields[rule.at].clone_from(&value);
    }
    ExpectedError {
        kind: rule.kind,
        file: rule.file.csv_name(),
        line,
        source_id: edited.fields[0].clone(),
        column: rule.column,
        value,
        text: rule.text,
    }
}
