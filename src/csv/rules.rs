//! Rules on which editions and importers disagree, and how strictly each is held. docs/rules.md shows the table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edition::Edition;
use crate::roster::{Code, EntityType};

/// How strictly a set is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Strictness {
    /// Takes what can be understood; what was repaired or passed over is counted in the job's `conversions`.
    Lenient,
    /// What the binding and all editions agree on.
    #[default]
    Standard,
    /// Also what national editions and certified importers demand.
    Strict,
}

pub const STRICTNESSES: [&str; 3] = ["lenient", "standard", "strict"];

/// What becomes of a row that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nobody looks.
    Off,
    /// It is taken, and counted.
    Accepted,
    Refused,
}

/// A rule whose severity is not the same everywhere.
pub struct Rule {
    pub code: Code,
    /// Lenient, standard, strict.
    pub severities: [Severity; 3],
    /// It holds for Japanese editions only.
    pub japan: bool,
}

use Severity::{Accepted, Off, Refused};

const fn relaxed(code: Code, japan: bool) -> Rule {
    Rule { code, severities: [Accepted, Refused, Refused], japan }
}

const fn strict(code: Code, japan: bool) -> Rule {
    Rule { code, severities: [Off, Off, Refused], japan }
}

/// All other codes are refused at every level.
pub static RULES: [Rule; 26] = [
    relaxed(Code::ManifestProperty, false),
    relaxed(Code::HeaderMissing, false),
    relaxed(Code::HeaderOrder, false),
    relaxed(Code::ExtraColumn, false),
    relaxed(Code::BulkWithStatus, false),
    relaxed(Code::DeltaWithoutStatus, false),
    relaxed(Code::BadDateTime, false),
    relaxed(Code::SubjectCodes, false),
    relaxed(Code::PrimaryNotTeacher, false),
    relaxed(Code::BadGrade, true),
    relaxed(Code::HalfWidthKatakana, true),
    relaxed(Code::NotKatakana, true),
    relaxed(Code::CourseCodeNotBlank, true),
    strict(Code::MinimumSet, false),
    strict(Code::SecondaryWithoutPrimary, false),
    strict(Code::SecondPrimaryTeacher, false),
    strict(Code::OutsideSession, false),
    strict(Code::FileName, true),
    strict(Code::NotUuid, true),
    strict(Code::RequiredByProfile, true),
    strict(Code::NotInProfile, true),
    strict(Code::TitleForm, true),
    strict(Code::SchoolYearDates, true),
    strict(Code::BadSchoolCode, true),
    strict(Code::ParentByType, true),
    strict(Code::DuplicateMasterIdentifier, true),
];

/// How a set is looked at: how strictly, and as which edition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    pub strictness: Strictness,
    pub edition: Option<Edition>,
}

impl Level {
    pub fn severity(self, code: Code) -> Severity {
        let rule = RULES.iter().find(|rule| rule.code == code);
        rule.map_or(Refused, |rule| rule.severities[self.strictness as usize])
    }

    pub fn is_lenient(self) -> bool {
        self.strictness == Strictness::Lenient
    }

    pub fn is_strict(self) -> bool {
        self.strictness == Strictness::Strict
    }

    pub fn is_japan(self) -> bool {
        self.edition.is_some_and(Edition::is_japan)
    }

    /// The file in which records of a type stand: OneRoster 1.1 tells roles in users.csv.
    pub fn file(self, kind: EntityType) -> String {
        let kind = match kind {
            EntityType::Role if self.edition == Some(Edition::V11) => EntityType::User,
            kind => kind,
        };
        format!("{}.csv", kind.entity().collection)
    }

    /// The column in which a field of such records stands.
    pub fn column(self, kind: EntityType, column: &'static str) -> &'static str {
        match (self.edition, kind, column) {
            (Some(Edition::V11), EntityType::Role, "orgSourcedId") => "orgSourcedIds",
            (Some(Edition::V11), EntityType::Role, "userSourcedId") => "sourcedId",
            (Some(Edition::V11), EntityType::Role, "roleType") => "role",
            _ => column,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csv::options::named;
    use crate::roster::Language;

    #[test]
    fn strictnesses_are_found_by_their_names() {
        assert!(STRICTNESSES.iter().all(|name| named::<Strictness>(name).is_some()));
    }

    #[test]
    fn the_documents_show_the_table() {
        let documents = [
            (Language::English, include_str!("../../docs/rules.md")),
            (Language::Japanese, include_str!("../../docs/rules.ja.md")),
        ];
        for (language, document) in documents {
            for rule in &RULES {
                let severities = rule.severities.map(|severity| match severity {
                    Off => language.choose("–", "–"),
                    Accepted => language.choose("counted", "数える"),
                    Refused => language.choose("error", "エラー"),
                });
                let editions =
                    if rule.japan { language.choose("Japan", "日本") } else { language.choose("all", "すべて") };
                let row = format!(
                    "| `{}` | {} | {} | {} |",
                    rule.code.as_str(),
                    rule.code.message(language),
                    editions,
                    severities.join(" | ")
                );
                assert!(document.contains(&row), "lacks: {row}");
            }
        }
    }
}
