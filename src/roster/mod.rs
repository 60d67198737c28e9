//! OneRoster's vocabulary, stated once: entities, fields, vocabularies, references, Japan's extensions.
//!
//! The tables in [`entities`] describe each record type as data. From them follow JSON shapes, CSV headers and
//! parsing, validation, references and the read models' columns; nothing else in the program spells these facts.

pub mod entities;
pub mod erase;
pub mod error_list;
pub mod fault;
pub mod field;
pub mod japan;
pub mod nested;
pub mod record;
pub mod rules;
pub mod shape;
pub mod strict;
pub mod value;
pub mod vocabulary;

use serde::{Deserialize, Serialize};

pub use entities::{AcademicSession, Class, Course, Demographics, Enrollment, Org, Role, User, UserProfile};
pub use fault::{Code, Fault, Language};
pub use field::{Field, Kind};
pub use record::Record;

/// The kinds of record a roster is made of. Each is an aggregate of its own in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EntityType {
    AcademicSession,
    Org,
    Course,
    Class,
    Role,
    UserProfile,
    User,
    Demographics,
    Enrollment,
}

/// What generic code needs to know of a record type.
pub struct Entity {
    pub kind: EntityType,
    /// Aggregate type in the log and `type` of a GUIDRef (`class`).
    pub name: &'static str,
    /// Member name of the list in REST answers and stem of the CSV file (`classes`).
    pub collection: &'static str,
    /// Read model that holds it (`classes`).
    pub table: &'static str,
    pub fields: &'static [Field],
    pub doc: &'static str,
    /// The record's own `sourcedId` names a record of this type (demographics: the user's; CSV binding §4).
    pub identified_by: Option<EntityType>,
}

impl EntityType {
    /// In the order in which an import records them: what is referred to comes first, save that roles and
    /// profiles come before their user, which is then complete from its first version on.
    pub const ALL: [Self; 9] = [
        Self::AcademicSession,
        Self::Org,
        Self::Course,
        Self::Class,
        Self::Role,
        Self::UserProfile,
        Self::User,
        Self::Demographics,
        Self::Enrollment,
    ];

    /// The description of this record type.
    pub fn entity(self) -> &'static Entity {
        with_record!(self, R => R::ENTITY)
    }

    pub fn name(self) -> &'static str {
        self.entity().name
    }

    /// By aggregate type (`class`).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    /// By the stem of its CSV file (`classes`).
    pub fn from_file(stem: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.entity().collection == stem)
    }
}

/// Runs generic code for the record type that `$kind` names: `with_record!(kind, R => f::<R>())`.
macro_rules! with_record {
    ($kind:expr, $r:ident => $body:expr) => {
        match $kind {
            $crate::roster::EntityType::AcademicSession => {
                type $r = $crate::roster::AcademicSession;
                $body
            }
            $crate::roster::EntityType::Org => {
                type $r = $crate::roster::Org;
                $body
            }
            $crate::roster::EntityType::Course => {
                type $r = $crate::roster::Course;
                $body
            }
            $crate::roster::EntityType::Class => {
                type $r = $crate::roster::Class;
                $body
            }
            $crate::roster::EntityType::Role => {
                type $r = $crate::roster::Role;
                $body
            }
            $crate::roster::EntityType::UserProfile => {
                type $r = $crate::roster::UserProfile;
                $body
            }
            $crate::roster::EntityType::User => {
                type $r = $crate::roster::User;
                $body
            }
            $crate::roster::EntityType::Demographics => {
                type $r = $crate::roster::Demographics;
                $body
            }
            $crate::roster::EntityType::Enrollment => {
                type $r = $crate::roster::Enrollment;
                $body
            }
        }
    };
}
pub(crate) use with_record;

/// What [`is_sourced_id`] takes, as a regular expression.
pub const SOURCED_ID: &str = r"^[0-9A-Za-z.\-_/@]{1,255}$";

/// Whether a string may be a `sourcedId` (CSV binding §4, GUID): 1–255 of `0-9 A-Z a-z . - _ / @`.
pub fn is_sourced_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_/@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_found_by_each_of_their_names() {
        for kind in EntityType::ALL {
            let entity = kind.entity();
            assert_eq!(entity.kind, kind);
            assert_eq!(EntityType::from_name(entity.name), Some(kind));
            assert_eq!(EntityType::from_file(entity.collection), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), serde_json::json!(entity.name));
        }
    }

    #[test]
    fn sourced_ids() {
        assert!(is_sourced_id("a/b@c.d_e-F0"));
        assert!(!is_sourced_id(""));
        assert!(!is_sourced_id("a b"));
        assert!(!is_sourced_id("あ"));
        assert!(is_sourced_id(&"x".repeat(255)));
        assert!(!is_sourced_id(&"x".repeat(256)));
    }
}
