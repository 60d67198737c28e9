//! The kinds of faults that a broken set can hold, and the errors to expect from a reader.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::SampleError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    HeaderOrder,
    MissingRequired,
    DanglingReference,
    BadEnum,
    BadDate,
    BadBoolean,
    BadGrade,
    DuplicateSourcedId,
    ExtraColumn,
    ShortRow,
    BulkWithStatus,
    JapanRule,
    ManifestMissingFile,
    ManifestUndeclaredFile,
    ManifestVersion,
    ManifestBadMode,
    ManifestAbsent,
}

impl FaultKind {
    /// After these a reader can go on, and find the others too.
    pub const QUIET: &[Self] = &[
        Self::HeaderOrder,
        Self::MissingRequired,
        Self::DanglingReference,
        Self::BadEnum,
        Self::BadDate,
        Self::BadBoolean,
        Self::BadGrade,
        Self::DuplicateSourcedId,
        Self::ExtraColumn,
        Self::ShortRow,
        Self::BulkWithStatus,
        Self::JapanRule,
        Self::ManifestMissingFile,
        Self::ManifestUndeclaredFile,
    ];

    /// At these a reader may stop at once.
    pub const LOUD: &[Self] = &[Self::ManifestVersion, Self::ManifestBadMode, Self::ManifestAbsent];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::HeaderOrder => "header_order",
            Self::MissingRequired => "missing_required",
            Self::DanglingReference => "dangling_reference",
            Self::BadEnum => "bad_enum",
            Self::BadDate => "bad_date",
            Self::BadBoolean => "bad_boolean",
            Self::BadGrade => "bad_grade",
            Self::DuplicateSourcedId => "duplicate_sourced_id",
            Self::ExtraColumn => "extra_column",
            Self::ShortRow => "short_row",
            Self::BulkWithStatus => "bulk_with_status",
            Self::JapanRule => "japan_rule",
            Self::ManifestMissingFile => "manifest_missing_file",
            Self::ManifestUndeclaredFile => "manifest_undeclared_file",
            Self::ManifestVersion => "manifest_version",
            Self::ManifestBadMode => "manifest_bad_mode",
            Self::ManifestAbsent => "manifest_absent",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FaultKind {
    type Err = SampleError;

    fn from_str(name: &str) -> Result<Self, SampleError> {
        let mut kinds = Self::QUIET.iter().chain(Self::LOUD);
        let found = kinds.find(|kind| kind.as_str() == name);
        found.copied().ok_or_else(|| SampleError::UnknownFaultKind(name.to_owned()))
    }
}

/// One fault that stands in a broken set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExpectedError {
    pub kind: FaultKind,
    /// The name of the file, with `.csv`.
    pub file: &'static str,
    /// Line in the file; the header is line 1, and 0 stands for a file that is not there.
    pub line: u64,
    /// The `sourcedId` that stands in the row; blank for headers and the manifest.
    #[serde(rename = "sourcedId")]
    pub source_id: String,
    /// The column, or the property of the manifest.
    pub column: &'static str,
    /// What stands there instead of the right value.
    pub value: String,
    pub text: &'static str,
}
