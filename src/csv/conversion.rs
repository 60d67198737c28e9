//! What of a set is not kept as it stands in the files, counted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something is not kept as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum ConversionKind {
    /// The file belongs to a service that the hub does not have.
    FileNotRead,
    /// Values of this column have no place in the hub.
    Dropped,
    /// The column is kept under the name of a newer edition.
    Renamed,
    /// The word NULL was read as blank.
    NullWord,
    /// A value stands for another one in OneRoster 1.2.
    Mapped,
    /// The value was brought into the binding's form.
    Repaired,
    /// A rule was broken and passed over.
    Accepted,
    /// The row is about a person who was erased, and was left out.
    Erased,
}

pub const CONVERSIONS: [&str; 8] =
    ["fileNotRead", "dropped", "renamed", "nullWord", "mapped", "repaired", "accepted", "erased"];

/// One thing that is not kept as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Conversion {
    pub file: String,
    /// Empty when the whole file is meant.
    pub column: String,
    pub kind: ConversionKind,
    /// Rows that it is about; null when nobody counted.
    pub rows: Option<u64>,
}

/// Counts by column and kind.
#[derive(Debug, Default)]
pub struct Counted(BTreeMap<(String, ConversionKind), u64>);

impl Counted {
    pub fn add(&mut self, column: &str, kind: ConversionKind) {
        *self.0.entry((column.to_owned(), kind)).or_default() += 1;
    }

    /// As conversions of a file.
    pub fn of(self, file: &str) -> impl Iterator<Item = Conversion> {
        let rows = self.0.into_iter();
        rows.map(move |((column, kind), rows)| Conversion { file: file.to_owned(), column, kind, rows: Some(rows) })
    }
}
