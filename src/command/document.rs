//! A OneRoster JSON document read into a record by its description, with every fault and its place.
//!
//! What REST shows is what is read: base members, addresses in references and members that follow from other
//! records may stand there and are not taken over. See docs/writing.md.

mod reader;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;

use serde_json::Value;

use super::json::{Path, shown};
use crate::roster::{Code, EntityType, with_record};
use reader::Reader;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFault {
    /// Place of the operation in its batch, from 0.
    pub operation: usize,
    /// Place in the document (`roles[0].org.sourcedId`), or empty when all of it is meant.
    pub field: String,
    pub code: Code,
    /// Masked where the field is personal.
    pub value: String,
}

/// What a document says shall stand: a record and those nested in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub kind: EntityType,
    pub sourced_id: String,
    /// `status` is `tobedeleted`.
    pub withdrawn: bool,
    /// The record as the log keeps it: a typed record's JSON.
    pub record: Value,
    /// The `type` that references to it may put a condition on.
    pub tag: Option<String>,
    pub parts: Vec<Part>,
    /// Derived, so only compared.
    pub children: Option<BTreeSet<String>>,
    /// Whom it and its parts name, but for each other.
    pub references: Vec<Named>,
}

/// A record nested in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub kind: EntityType,
    /// Place in the document (`roles[0]`).
    pub place: String,
    /// Where the document shows it.
    pub sourced_id: Option<String>,
    pub record: Value,
}

/// A reference in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub field: String,
    pub target: EntityType,
    /// The target's `type` must be this one.
    pub tag: Option<&'static str>,
    pub sourced_id: String,
}

impl Draft {
    /// Reads a document about the record of this id. With faults, the draft is what could be read; without a draft
    /// it was no object.
    pub fn read(
        kind: EntityType,
        sourced_id: &str,
        document: &Value,
        duplicates: &[Path],
    ) -> (Option<Self>, Vec<DocumentFault>) {
        let mut reader = Reader::default();
        for path in duplicates {
            reader.fault(&shown(path), Code::DuplicateMember, "", false);
        }
        let draft = match document {
            Value::Object(members) => Some(with_record!(kind, R => reader.draft::<R>(sourced_id, members))),
            _ => {
                reader.fault("", Code::WrongType, "", false);
                None
            }
        };
        (draft, reader.faults)
    }

    /// Whether both say the same of the record and its parts, whatever their status. The order of parts says nothing.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let parts = |draft: &Self| {
            let mut parts: Vec<_> = draft.parts.iter().map(|p| (p.kind, &p.sourced_id, p.record.to_string())).collect();
            parts.sort();
            format!("{parts:?}")
        };
        self.record == other.record && parts(self) == parts(other)
    }

    /// The record above, for those that have `parent`.
    pub fn parent(&self) -> Option<&str> {
        let parent = self.kind.parent()?;
        self.record.get(parent.json)?.get("sourcedId")?.as_str()
    }
}
