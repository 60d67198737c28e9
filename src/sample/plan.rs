//! Where to break what: the rules of each kind of fault and the rows that are drawn for them.

use std::collections::BTreeMap;

use super::city::City;
use super::faults::FaultKind;
use super::file::File;
use super::key::Of;

/// One way to break a row.
pub(super) struct Rule {
    pub(super) kind: FaultKind,
    pub(super) file: File,
    pub(super) column: &'static str,
    /// Where the column stands.
    pub(super) at: usize,
    pub(super) change: Change,
    pub(super) text: &'static str,
}

pub(super) enum Change {
    Value(String),
    /// Refer to something that is nowhere.
    Ghost,
    /// Leave the last field out.
    Short,
    /// Write the row twice.
    Twice,
}

impl Rule {
    /// Only the enrollment of a student breaks the rule that it is never primary.
    pub(super) fn wants_student(&self) -> bool {
        self.kind == FaultKind::JapanRule && self.file == File::Enrollments
    }
}

pub(super) struct Plan {
    pub(super) rules: Vec<Rule>,
    /// The rule that breaks a row, by the number of the row in its file. A row takes one fault at
    /// most, so that no fault hides another.
    pub(super) at: BTreeMap<(File, u64), usize>,
}

impl Plan {
    pub(super) fn new(city: &City, kinds: &[FaultKind], per_kind: u32) -> Self {
        let rules = rules(city);
        let mut at = BTreeMap::new();
        let mut draws = 0;
        for kind in kinds {
            let of_kind = rules.iter().enumerate().filter(|(_, r)| r.kind == *kind);
            let choice: Vec<(usize, File)> = of_kind.map(|(i, rule)| (i, rule.file)).collect();
            let mut failed = 0;
            for (rule, file) in choice.iter().cycle().take(per_kind as usize) {
                let rows = rows_at_least(city, *file);
                let mut drawn = (0..200).map(|_| {
                    draws += 1;
                    (*file, city.keys.num(Of::Fault, &[draws]) % rows)
                });
                // Without a free row the set is too small for one more.
                match drawn.find(|row| !at.contains_key(row)) {
                    Some(row) => {
                        at.insert(row, *rule);
                        failed = 0;
                    }
                    None => failed += 1,
                }
                if failed == choice.len() {
                    break;
                }
            }
        }
        Self { rules, at }
    }
}

/// A number of rows that the file has for certain, without counting them.
fn rows_at_least(city: &City, file: File) -> u64 {
    let schools = u64::from(city.options.schools);
    match file {
        // Every school has three grades at least.
        File::Classes | File::Courses => schools * 3,
        _ => schools * u64::from(city.options.students_per_school),
    }
}

fn rules(city: &City) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut add = |kind, file: File, column, change, text| {
        let columns = file.columns(city.options.dialect);
        let found = columns.iter().position(|name| *name == column);
        // A kind may speak of a file or a column that this set does not have.
        if let Some(at) = found
            && city.files().any(|there| there == file)
        {
            rules.push(Rule { kind, file, column, at, change, text });
        }
    };
    let year = city.options.year;
    let value = |text: &str| Change::Value(text.to_owned());

    use FaultKind::*;
    use File::*;

    let text = "required value is blank";
    add(MissingRequired, Users, "familyName", value(""), text);
    add(MissingRequired, Classes, "title", value(""), text);
    add(MissingRequired, Enrollments, "role", value(""), text);
    add(MissingRequired, Roles, "roleType", value(""), text);

    let kind = DanglingReference;
    let ghosts = [
        (Enrollments, "userSourcedId", "no such user"),
        (Classes, "courseSourcedId", "no such course"),
        (Roles, "orgSourcedId", "no such org"),
        (Enrollments, "classSourcedId", "no such class"),
    ];
    for (file, column, text) in ghosts {
        add(kind, file, column, Change::Ghost, text);
    }

    let tokens = [
        (Enrollments, "role", "pupil", "not a role"),
        (Classes, "classType", "lesson", "not a classType"),
        (Demographics, "sex", "男", "not a sex token"),
        (Roles, "roleType", "main", "not a roleType"),
    ];
    for (file, column, token, text) in tokens {
        add(BadEnum, file, column, value(token), text);
    }

    let dates = [
        (Enrollments, "beginDate", format!("{year}/04/06"), "not yyyy-mm-dd"),
        (Demographics, "birthDate", format!("{}-02-30", year - 9), "no such day"),
        (Roles, "endDate", "令和9年3月31日".to_owned(), "not yyyy-mm-dd"),
    ];
    for (file, column, date, text) in dates {
        add(BadDate, file, column, Change::Value(date), text);
    }

    let text = "not true or false";
    add(BadBoolean, Users, "enabledUser", value("yes"), text);
    add(BadBoolean, Enrollments, "primary", value("1"), text);

    let text = "the last field is not there";
    add(ShortRow, Roles, "userProfileSourcedId", Change::Short, text);
    let last = "publicSchoolResidenceStatus";
    add(ShortRow, Demographics, last, Change::Short, text);

    let kind = BulkWithStatus;
    let text = "status must be blank in bulk";
    add(kind, Users, "status", value("active"), text);
    let text = "dateLastModified must be blank in bulk";
    let moment = Change::Value(format!("{year}-04-01T00:00:00.000Z"));
    add(kind, Enrollments, "dateLastModified", moment, text);

    if city.japanese {
        let text = "not a grade code of the Japanese profile";
        add(BadGrade, Users, "grades", value("G3"), text);
        let rules = [
            (Users, "metadata.jp.kanaGivenName", "ﾊﾅｺ", "half-width katakana"),
            (Courses, "courseCode", "C-1", "courseCode must be blank"),
            (Enrollments, "primary", "true", "a student's enrollment is never primary"),
        ];
        for (file, column, wrong, text) in rules {
            add(JapanRule, file, column, value(wrong), text);
        }
    }

    let text = "the same sourcedId as the line above";
    add(DuplicateSourcedId, Users, "sourcedId", Change::Twice, text);
    add(DuplicateSourcedId, Enrollments, "sourcedId", Change::Twice, text);
    rules
}
