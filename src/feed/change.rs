//! One change: an event as readers of the feed see it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::types::Json;

use crate::command::hub::{Upcasters, present_payload};
use crate::roster::EntityType;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Created,
    Changed,
    Deleted,
    Restored,
    Erased,
}

impl Kind {
    /// Names, and what they say.
    pub const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Created, "CREATED", "It appeared."),
        (Self::Changed, "CHANGED", "It changed in the members that `changed` names."),
        (Self::Deleted, "DELETED", "It is `tobedeleted` now; its members are the last known."),
        (Self::Restored, "RESTORED", "It is `active` again; `changed` names what else is new."),
        (
            Self::Erased,
            "ERASED",
            "A person was erased: the hub and its log hold no personal data of this person any more. Whoever keeps a copy is to delete it.",
        ),
    ];

    /// As GraphQL has it.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// By its [`word`](Self::word).
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().map(|(kind, ..)| kind).find(|kind| kind.word() == word)
    }

    /// As REST and webhooks have it.
    pub fn word(self) -> &'static str {
        ["created", "changed", "deleted", "restored", "erased"][self as usize]
    }
}

/// Who or what led to an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The client: its id for a write, its name for an import.
    pub client: Option<String>,
    /// On whose behalf, where the client said so.
    pub actor: Option<String>,
    /// Import job.
    pub import: Option<String>,
    /// Row of the import's set: file and line, from 1.
    pub file: Option<String>,
    pub line: Option<i32>,
    /// The edition of the binding by which the row was read.
    pub mapping: Option<String>,
    /// Who approved the import's plan.
    pub approver: Option<String>,
    /// Of a revert: the import that it takes back.
    pub reverts: Option<String>,
    /// A bulk file did not name the record any more.
    pub absent: bool,
}

/// An event of the log.
#[derive(Clone, Debug)]
pub struct Change {
    pub position: i64,
    /// First position of its unit of work.
    pub unit: i64,
    /// Position of the record's event before; not with [`Detail::Plain`](super::Detail).
    pub record_previous: Option<i64>,
    pub recorded_at: DateTime<Utc>,
    pub entity: EntityType,
    pub sourced_id: String,
    /// The user whose part or data it is: of roles, profiles, enrollments and demographics.
    pub user: Option<String>,
    pub kind: Kind,
    /// JSON names of members.
    pub changed: Vec<String>,
    /// The record before; not with [`Detail::Plain`](super::Detail).
    pub before: Option<Box<RawValue>>,
    pub after: Box<RawValue>,
    pub cause: Cause,
    /// Orgs that it belongs to; only with [`Detail::Full`](super::Detail).
    pub schools: Vec<String>,
    /// Whether the record before was active; as `before`.
    pub was_active: Option<bool>,
    /// Its content was destroyed, as its person was erased.
    pub emptied: bool,
}

impl Change {
    /// Whether it is of a record of this person, as it is or as it was before.
    pub fn is_about(&self, person: &str) -> bool {
        let named = || {
            let before = self.before.as_ref().and_then(|before| serde_json::from_str::<Named>(before.get()).ok());
            before.and_then(|before| before.user).is_some_and(|user| user.sourced_id == person)
        };
        match self.entity {
            EntityType::User | EntityType::Demographics => self.sourced_id == person,
            _ => self.user.as_deref() == Some(person) || (self.user.is_some() && named()),
        }
    }
}

impl Change {
    /// The person that it is of.
    pub fn person(&self) -> Option<&str> {
        match self.entity {
            EntityType::User => Some(&self.sourced_id),
            _ => self.user.as_deref(),
        }
    }
}

/// A row of [`read::statement`](super::read).
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    position: i64,
    unit: i64,
    aggregate_type: String,
    aggregate_id: String,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: Json<Box<RawValue>>,
    metadata: Json<HashMap<String, String>>,
    recorded_at: DateTime<Utc>,
    before_position: Option<i64>,
    before: Option<Json<Box<RawValue>>>,
    before_type: Option<String>,
    before_version: Option<String>,
    schools: Option<Vec<String>>,
    emptied: bool,
}

/// What the feed reads of a payload.
#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    changed: Vec<String>,
    record: Box<RawValue>,
}

#[derive(Deserialize)]
struct Named {
    user: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "sourcedId")]
    sourced_id: String,
}

impl Row {
    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |before| before.get().len());
        200 + self.payload.get().len() + before
    }

    pub fn change(self, upcasters: Upcasters) -> Result<Change, sqlx::Error> {
        let entity = EntityType::from_name(&self.aggregate_type)
            .ok_or_else(|| sqlx::Error::Decode(format!("{} is no record type", self.aggregate_type).into()))?;
        let payload = |kind: &str, version: &str, text: &RawValue| -> Result<Payload, sqlx::Error> {
            let text = present_payload(upcasters, entity, kind, version, text.get());
            serde_json::from_str(&text.map_err(decode)?).map_err(decode)
        };
        let now = payload(&self.event_type, &self.event_version, &self.payload)?;
        let before = match (&self.before_type, &self.before_version, &self.before) {
            (Some(kind), Some(version), Some(text)) => Some(payload(kind, version, text)?.record),
            _ => None,
        };
        let sourced_id = self.aggregate_id.split_once('/').map_or("", |(_, id)| id).to_owned();
        let kind = match self.event_type.as_str() {
            "Withdrawn" => Kind::Deleted,
            "Restored" => Kind::Restored,
            "Erased" => Kind::Erased,
            _ if self.sequence == 1 => Kind::Created,
            _ => Kind::Changed,
        };
        let user = match entity {
            EntityType::Demographics => Some(sourced_id.clone()),
            EntityType::Role | EntityType::UserProfile | EntityType::Enrollment => {
                serde_json::from_str::<Named>(now.record.get()).map_err(decode)?.user.map(|user| user.sourced_id)
            }
            _ => None,
        };
        let mut metadata = self.metadata.0;
        let cause = Cause {
            client: metadata.remove("client"),
            actor: metadata.remove("actor"),
            import: metadata.remove("import"),
            file: metadata.remove("file"),
            line: metadata.remove("line").and_then(|line| line.parse().ok()),
            mapping: metadata.remove("mapping"),
            approver: metadata.remove("approver"),
            reverts: metadata.remove("reverts"),
            absent: metadata.remove("reason").is_some_and(|reason| reason == "absent"),
        };
        Ok(Change {
            position: self.position,
            unit: self.unit,
            record_previous: self.before_position,
            recorded_at: self.recorded_at,
            entity,
            sourced_id,
            user,
            kind,
            changed: now.changed,
            before,
            after: now.record,
            cause,
            schools: self.schools.unwrap_or_default(),
            was_active: self.before_type.map(|kind| !["Withdrawn", "Erased"].contains(&kind.as_str())),
            emptied: self.emptied,
        })
    }
}

fn decode(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_in_the_order_of_the_variants() {
        for (n, (kind, name, _)) in Kind::ALL.into_iter().enumerate() {
            assert_eq!((kind as usize, kind.name()), (n, name));
            assert_eq!(kind.word().to_ascii_uppercase(), name);
        }
    }
}
