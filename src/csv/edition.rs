//! The editions of the CSV binding: which columns a file has, and which edition a set is.

use crate::roster::japan::extension_of_column;
use crate::roster::value::check_text;
use crate::roster::{Code, EntityType};

/// All data files of the binding, in the order of its manifest.
pub const FILES: [&str; 21] = [
    "academicSessions",
    "categories",
    "classes",
    "classResources",
    "courses",
    "courseResources",
    "demographics",
    "enrollments",
    "lineItemLearningObjectiveIds",
    "lineItems",
    "lineItemScoreScales",
    "orgs",
    "resources",
    "resultLearningObjectiveIds",
    "results",
    "resultScoreScales",
    "roles",
    "scoreScales",
    "userProfiles",
    "userResources",
    "users",
];

/// Columns that are read and dropped: (file, column, the column it follows, must it be there).
/// Passwords have no place in a log that is never changed.
const DROPPED: [(EntityType, &str, &str, bool); 3] = [
    (EntityType::User, "password", "grades", true),
    (EntityType::User, "resourceSourcedIds", "userMasterIdentifier", false), // OneRoster 1.2, gone in 1.2.1
    (EntityType::UserProfile, "password", "username", true),
];

/// The columns of a file in the binding's order; false: the column may be missing.
pub fn columns(kind: EntityType) -> Vec<(&'static str, bool)> {
    let mut columns = vec![("sourcedId", true), ("status", true), ("dateLastModified", true)];
    for field in kind.entity().fields {
        columns.push((field.csv, true));
        let dropped = DROPPED.iter().filter(|d| d.0 == kind && d.2 == field.csv);
        columns.extend(dropped.map(|(_, column, _, required)| (*column, *required)));
    }
    columns
}

/// What a column of a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    SourcedId,
    Status,
    DateLastModified,
    /// Index in the entity's fields.
    Field(usize),
    /// `metadata.…`
    Metadata,
    Dropped,
}

/// A file's header, understood.
#[derive(Debug)]
pub struct Header {
    pub names: Vec<String>,
    pub columns: Vec<Column>,
    /// (column, code, value), to be reported at line 1.
    pub errors: Vec<(String, Code, String)>,
    /// All columns of the binding are there, so that the rows can be read.
    pub complete: bool,
}

/// Reads a header row. Columns are then found by name, so that one misplaced column is one error.
pub fn header(kind: EntityType, names: Vec<String>) -> Header {
    let binding = columns(kind);
    let fields = kind.entity().fields;
    let mut header = Header { names, columns: Vec::new(), errors: Vec::new(), complete: true };
    let mut known = Vec::new();
    let mut extended = false;
    for (i, name) in header.names.iter().enumerate() {
        let error = |code| (String::new(), code, name.clone());
        if let Err(code) = check_text(name) {
            header.errors.push(error(code));
            header.columns.push(Column::Dropped);
            continue;
        }
        if name.is_empty() || header.names[..i].contains(name) {
            header.errors.push(error(Code::HeaderDuplicate));
            header.columns.push(Column::Dropped);
            continue;
        }
        let column = match name.as_str() {
            "sourcedId" => Column::SourcedId,
            "status" => Column::Status,
            "dateLastModified" => Column::DateLastModified,
            _ if name.starts_with("metadata.") && name.len() > "metadata.".len() => Column::Metadata,
            _ => match fields.iter().position(|f| f.csv == name) {
                Some(index) => Column::Field(index),
                None => Column::Dropped,
            },
        };
        if let Some(place) = binding.iter().position(|(column, _)| column == name) {
            if extended {
                header.errors.push(error(Code::HeaderOrder));
            }
            known.push((place, name));
        } else if column == Column::Metadata {
            extended = true;
        } else {
            header.errors.push(error(Code::ExtraColumn));
        }
        header.columns.push(column);
    }
    for (column, required) in &binding {
        if *required && !header.names.iter().any(|n| n == column) {
            header.errors.push(((*column).to_owned(), Code::HeaderMissing, (*column).to_owned()));
            header.complete = false;
        }
    }
    if let Some(at) = known.windows(2).position(|pair| pair[0].0 > pair[1].0) {
        let value = format!("{},{}", known[at].1, known[at + 1].1);
        header.errors.push((String::new(), Code::HeaderOrder, value));
    }
    header
}

/// Which edition a set follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// OneRoster 1.2 (June 2022).
    Base12,
    /// OneRoster 1.2.1 (January 2023).
    Base121,
    /// National provisional Japan profile, second edition (2022).
    Japan2,
    /// National provisional Japan profile 1.2.1 (2024).
    Japan121,
    /// 1EdTech Japan K-12/Schools profile 1.0 (2026).
    JapanK12,
}

impl Edition {
    pub const ALL: [Self; 5] = [Self::Base12, Self::Base121, Self::Japan2, Self::Japan121, Self::JapanK12];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|edition| edition.name() == name)
    }

    /// `oneroster.version` in its manifests.
    pub fn version(self) -> &'static str {
        if self == Self::JapanK12 { "1.2_JP" } else { "1.2" }
    }

    /// Whether files have the columns that 1.2.1 took away.
    pub fn is_first(self) -> bool {
        matches!(self, Self::Base12 | Self::Japan2)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Base12 => "1.2",
            Self::Base121 => "1.2.1",
            Self::Japan2 => "japan-2",
            Self::Japan121 => "japan-1.2.1",
            Self::JapanK12 => "1.2_JP",
        }
    }

    pub fn is_japan(self) -> bool {
        !matches!(self, Self::Base12 | Self::Base121)
    }

    /// From the manifest's `oneroster.version` and the headers of all files: the columns tell more than the
    /// version, which most editions write as 1.2.
    pub fn detect<'a>(version: &str, headers: impl Iterator<Item = (EntityType, &'a Header)>) -> Self {
        let (mut japan, mut older, mut resources) = (version == "1.2_JP", false, false);
        for (kind, header) in headers {
            for name in &header.names {
                let extension = extension_of_column(kind, name);
                japan |= extension.is_some();
                older |= extension.is_some_and(|e| e.older_column == Some(name));
                resources |= name == "resourceSourcedIds";
            }
        }
        match (japan, older, resources) {
            (true, _, true) => Self::Japan2,
            (true, true, false) => Self::Japan121,
            (true, false, false) => Self::JapanK12,
            (false, _, true) => Self::Base12,
            (false, _, false) => Self::Base121,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    const ORGS: &str = "sourcedId status dateLastModified name type identifier parentSourcedId";

    #[test]
    fn users_have_the_binding_s_columns() {
        let columns: Vec<_> = columns(EntityType::User).into_iter().filter(|c| c.1).map(|c| c.0).collect();
        assert_eq!(
            columns.join(" "),
            "sourcedId status dateLastModified enabledUser username userIds givenName familyName middleName identifier \
             email sms phone agentSourcedIds grades password userMasterIdentifier preferredGivenName \
             preferredMiddleName preferredFamilyName primaryOrgSourcedId pronouns"
        );
    }

    #[test]
    fn a_misplaced_or_unknown_or_missing_column_is_one_error() {
        let errors = |text: &str| {
            header(EntityType::Org, names(text)).errors.into_iter().map(|e| (e.1, e.2)).collect::<Vec<_>>()
        };
        assert_eq!(errors(ORGS), []);
        assert_eq!(
            errors("sourcedId status dateLastModified type name identifier parentSourcedId"),
            [(Code::HeaderOrder, "type,name".to_owned())]
        );
        assert_eq!(
            errors("sourcedId status dateLastModified name type nick identifier parentSourcedId"),
            [(Code::ExtraColumn, "nick".to_owned())]
        );
        assert_eq!(
            errors("sourcedId status dateLastModified name type identifier"),
            [(Code::HeaderMissing, "parentSourcedId".to_owned())]
        );
        assert_eq!(errors(&format!("{ORGS} metadata.x")), []);
        assert_eq!(errors(&format!("metadata.x {ORGS}")).len(), 7);
    }

    #[test]
    fn editions_are_told_by_their_columns() {
        let detect = |version: &str, kind: EntityType, text: &str| {
            Edition::detect(version, [(kind, &header(kind, names(text)))].into_iter())
        };
        assert_eq!(detect("1.2", EntityType::Org, ORGS), Edition::Base121);
        assert_eq!(detect("1.2", EntityType::User, "resourceSourcedIds"), Edition::Base12);
        assert_eq!(detect("1.2", EntityType::User, "resourceSourcedIds metadata.jp.homeClass"), Edition::Japan2);
        assert_eq!(detect("1.2.1", EntityType::Enrollment, "metadata.jp.ShussekiNo"), Edition::Japan121);
        assert_eq!(detect("1.2_JP", EntityType::Enrollment, "metadata.jp.shussekiNo"), Edition::JapanK12);
    }
}
