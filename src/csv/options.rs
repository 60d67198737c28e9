//! How an import is to be carried out.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::edition::Edition;
use super::encoding::Wish;
use super::rules::Strictness;

/// When a plan is applied without being approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Apply {
    /// Never: it is to be looked at.
    Never,
    /// When it passes no threshold.
    #[default]
    Safe,
    Always,
}

/// What becomes of a set that has errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum OnErrors {
    /// Nothing of it is applied.
    #[default]
    Reject,
    /// Rows without errors are applied. While rows of a type are left out, none of it is withdrawn as absent.
    ApplyGoodRows,
}

/// What becomes, in a revert, of records that changed after the import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum OnConflicts {
    /// Somebody decides.
    #[default]
    Hold,
    /// They stay as they are.
    Keep,
    /// They are taken back as well.
    Restore,
}

/// What the rows of a file that has no manifest tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum FileMode {
    /// Changes, if their status is filled; else records that stand so, while others stay as they are.
    #[default]
    Auto,
    /// All records that there are: others are withdrawn.
    Bulk,
    /// Changes.
    Delta,
}

/// How an import is to be carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(inline, deny_unknown_fields)]
pub struct Options {
    pub apply: Apply,
    pub on_errors: OnErrors,
    pub on_conflicts: OnConflicts,
    /// In which the files are.
    pub encoding: Wish,
    /// Of a CSV file or workbook without manifest.
    pub mode: FileMode,
    /// The edition that the set follows, when it shall not be told by its manifest and columns.
    #[schemars(with = "Edition")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<Edition>,
    /// How strictly it is looked at; the setting of the server where it is not said.
    #[schemars(with = "Strictness")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Strictness>,
}

/// An option by its name; for requests of all kinds.
pub fn named<T: DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(name.into()).ok()
}

/// Names of the options, for descriptions of the interfaces.
pub const APPLY: [&str; 3] = ["never", "safe", "always"];
pub const ON_ERRORS: [&str; 2] = ["reject", "applyGoodRows"];
pub const ON_CONFLICTS: [&str; 3] = ["hold", "keep", "restore"];
pub const MODES: [&str; 3] = ["auto", "bulk", "delta"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_by_their_names() {
        assert!(APPLY.iter().all(|name| named::<Apply>(name).is_some()));
        assert!(ON_ERRORS.iter().all(|name| named::<OnErrors>(name).is_some()));
        assert!(ON_CONFLICTS.iter().all(|name| named::<OnConflicts>(name).is_some()));
        assert!(MODES.iter().all(|name| named::<FileMode>(name).is_some()));
        assert_eq!(named::<Apply>("sometimes"), None);
    }
}
