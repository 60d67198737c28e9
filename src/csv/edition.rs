//! The editions of the CSV binding: which columns a file has, and which edition a set is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Columns of users.csv in OneRoster 1.1, by the headers of
/// github.com/SupremeLordCommander/OneRoster-CSV-Templates. All other files of rostering have the columns of 1.2.
pub const USERS_1_1: [&str; 18] = [
    "sourcedId",
    "status",
    "dateLastModified",
    "enabledUser",
    "orgSourcedIds",
    "role",
    "username",
    "userIds",
    "givenName",
    "familyName",
    "middleName",
    "identifier",
    "email",
    "sms",
    "phone",
    "agentSourcedIds",
    "grades",
    "password",
];

/// Files that came with 1.2: a manifest of 1.1 says nothing of them.
const NEW_IN_1_2: [&str; 8] = [
    "lineItemLearningObjectiveIds",
    "lineItemScoreScales",
    "resultLearningObjectiveIds",
    "resultScoreScales",
    "roles",
    "scoreScales",
    "userProfiles",
    "userResources",
];

/// The columns of a file in an edition.
fn columns_in(edition: Edition, kind: EntityType) -> Vec<(&'static str, bool)> {
    match (edition, kind) {
        (Edition::V11, EntityType::User) => USERS_1_1.map(|column| (column, true)).to_vec(),
        _ => columns(kind),
    }
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
    /// OneRoster 1.1: the orgs at which a user has its role.
    Orgs,
    /// OneRoster 1.1: the role that a user has at all of them.
    Role,
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
pub fn header(edition: Edition, kind: EntityType, names: Vec<String>) -> Header {
    let binding = columns_in(edition, kind);
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
            "orgSourcedIds" if edition == Edition::V11 && kind == EntityType::User => Column::Orgs,
            "role" if edition == Edition::V11 && kind == EntityType::User => Column::Role,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Edition {
    /// OneRoster 1.1 (2017); read only.
    #[serde(rename = "1.1")]
    V11,
    /// OneRoster 1.2 (June 2022).
    #[serde(rename = "1.2")]
    Base12,
    /// OneRoster 1.2.1 (January 2023).
    #[serde(rename = "1.2.1")]
    Base121,
    /// National provisional Japan profile, second edition (2022).
    #[serde(rename = "japan-2")]
    Japan2,
    /// National provisional Japan profile 1.2.1 (2024).
    #[serde(rename = "japan-1.2.1")]
    Japan121,
    /// 1EdTech Japan K-12/Schools profile 1.0 (2026).
    #[serde(rename = "1.2_JP")]
    JapanK12,
}

/// What tells an edition from the others. Both reading and writing follow from it.
pub struct Profile {
    pub edition: Edition,
    pub name: &'static str,
    /// `oneroster.version` in its manifests: the first is written.
    pub versions: &'static [&'static str],
    pub is_japan: bool,
    /// Files have the columns that 1.2.1 took away (`users.resourceSourcedIds`).
    pub is_first: bool,
    /// Extension columns in the spelling of the national editions (`ShussekiNo`).
    pub older_spelling: bool,
    /// Extension columns that came with 1.2.1 of the national editions (readings of preferred names).
    pub later_extensions: bool,
}

const fn profile(edition: Edition, name: &'static str, versions: &'static [&'static str]) -> Profile {
    Profile {
        edition,
        name,
        versions,
        is_japan: false,
        is_first: false,
        older_spelling: false,
        later_extensions: false,
    }
}

/// The editions, in the order of their coming.
pub static PROFILES: [Profile; 6] = [
    profile(Edition::V11, "1.1", &["1.1"]),
    Profile { is_first: true, ..profile(Edition::Base12, "1.2", &["1.2"]) },
    profile(Edition::Base121, "1.2.1", &["1.2", "1.2.1"]),
    Profile { is_japan: true, is_first: true, older_spelling: true, ..profile(Edition::Japan2, "japan-2", &["1.2"]) },
    Profile {
        is_japan: true,
        older_spelling: true,
        later_extensions: true,
        ..profile(Edition::Japan121, "japan-1.2.1", &["1.2", "1.2.1"])
    },
    Profile { is_japan: true, later_extensions: true, ..profile(Edition::JapanK12, "1.2_JP", &["1.2_JP"]) },
];

/// Names of all editions, and of those that are written.
pub const NAMES: [&str; 6] = ["1.1", "1.2", "1.2.1", "japan-2", "japan-1.2.1", "1.2_JP"];

impl Edition {
    pub const ALL: [Self; 6] = [Self::V11, Self::Base12, Self::Base121, Self::Japan2, Self::Japan121, Self::JapanK12];

    /// Those that are written.
    pub const WRITTEN: [Self; 5] = [Self::Base12, Self::Base121, Self::Japan2, Self::Japan121, Self::JapanK12];

    pub fn profile(self) -> &'static Profile {
        &PROFILES[self as usize]
    }

    /// One that is written.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::WRITTEN.into_iter().find(|edition| edition.name() == name)
    }

    /// `oneroster.version` in its manifests.
    pub fn version(self) -> &'static str {
        self.profile().versions[0]
    }

    /// Whether files have the columns that 1.2.1 took away.
    pub fn is_first(self) -> bool {
        self.profile().is_first
    }

    pub fn name(self) -> &'static str {
        self.profile().name
    }

    pub fn is_japan(self) -> bool {
        self.profile().is_japan
    }

    /// Whether a manifest of this `oneroster.version` has a property of this file.
    pub fn lists(version: &str, stem: &str) -> bool {
        version != "1.1" || !NEW_IN_1_2.contains(&stem)
    }

    /// From the manifest's `oneroster.version` and the headers of all files: the columns tell more than the
    /// version, which most editions write as 1.2.
    pub fn detect<'a>(version: &str, headers: impl Iterator<Item = (EntityType, &'a [String])>) -> Self {
        let (mut japan, mut older, mut resources) = (version == "1.2_JP", false, false);
        if version == "1.1" {
            return Self::V11;
        }
        for (kind, names) in headers {
            for name in names {
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

    /// The columns that another edition has and this one cannot have.
    pub fn contradictions(self, kind: EntityType, names: &[String]) -> Vec<&str> {
        let profile = self.profile();
        let newer = |name: &str| columns(kind).iter().any(|c| c.0 == name) && !USERS_1_1.contains(&name);
        let foreign = |name: &str| match (self, kind, extension_of_column(kind, name)) {
            (Self::V11, EntityType::User, _) => newer(name),
            (Self::V11, EntityType::Role | EntityType::UserProfile, _) => true,
            (_, EntityType::User, _) if ["orgSourcedIds", "role"].contains(&name) => true,
            (_, EntityType::User, _) if name == "resourceSourcedIds" => !profile.is_first,
            (_, _, Some(extension)) if profile.is_japan => {
                let other = extension.older_column.is_some_and(|older| (older == name) != profile.older_spelling);
                other || (extension.later && !profile.later_extensions)
            }
            _ => false,
        };
        names.iter().map(String::as_str).filter(|name| foreign(name)).collect()
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
            header(Edition::Base121, EntityType::Org, names(text))
                .errors
                .into_iter()
                .map(|e| (e.1, e.2))
                .collect::<Vec<_>>()
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
    fn each_edition_has_its_profile() {
        for (profile, name) in PROFILES.iter().zip(NAMES) {
            assert_eq!((profile.edition.name(), profile.name), (name, name));
            assert_eq!(serde_json::to_value(profile.edition).unwrap(), name);
        }
    }

    #[test]
    fn an_edition_does_not_have_the_columns_of_another() {
        let of = |edition: Edition, kind, text: &str| edition.contradictions(kind, &names(text)).len();
        assert_eq!(of(Edition::V11, EntityType::User, &USERS_1_1.join(" ")), 0);
        assert_eq!(of(Edition::Base121, EntityType::User, &USERS_1_1.join(" ")), 2);
        assert_eq!(of(Edition::V11, EntityType::User, "sourcedId userMasterIdentifier"), 1);
        assert_eq!(of(Edition::Base121, EntityType::User, "resourceSourcedIds"), 1);
        assert_eq!(of(Edition::Japan121, EntityType::Enrollment, "metadata.jp.ShussekiNo"), 0);
        assert_eq!(of(Edition::JapanK12, EntityType::Enrollment, "metadata.jp.ShussekiNo"), 1);
        assert_eq!(of(Edition::Japan2, EntityType::User, "metadata.jp.kanaPreferredGivenName"), 1);
    }

    #[test]
    fn editions_are_told_by_their_columns() {
        let detect = |version: &str, kind: EntityType, text: &str| {
            Edition::detect(version, [(kind, &names(text)[..])].into_iter())
        };
        assert_eq!(detect("1.2", EntityType::Org, ORGS), Edition::Base121);
        assert_eq!(detect("1.2", EntityType::User, "resourceSourcedIds"), Edition::Base12);
        assert_eq!(detect("1.2", EntityType::User, "resourceSourcedIds metadata.jp.homeClass"), Edition::Japan2);
        assert_eq!(detect("1.2.1", EntityType::Enrollment, "metadata.jp.ShussekiNo"), Edition::Japan121);
        assert_eq!(detect("1.2_JP", EntityType::Enrollment, "metadata.jp.shussekiNo"), Edition::JapanK12);
    }
}
