//! A message to one endpoint: what it is made of, its place in the endpoint's chain, its body.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::catalogue;
use super::filter::person;
use crate::feed::{Change, Item, Shown};
use crate::log::Tenant;
use crate::notice::Notice;

/// How far the messages of an endpoint are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Log position looked at.
    pub position: i64,
    /// Notice looked at.
    pub notice: i64,
    /// Of the last message.
    pub sequence: i64,
    /// That the last message stood at.
    pub last_position: i64,
}

/// What a message tells.
#[derive(Clone, Debug)]
pub enum Content {
    Change(Arc<Change>),
    Notice(Arc<Notice>),
}

/// A message that waits or is under way.
#[derive(Clone, Debug)]
pub struct Message {
    pub sequence: i64,
    /// `webhook-id`: the same in each attempt, also when it is made again from the log after a crash.
    pub id: String,
    /// Event type.
    pub kind: String,
    pub position: i64,
    pub previous_position: i64,
    /// The notice that it tells; none: the change at its position.
    pub notice: Option<i64>,
    pub generation: i32,
    /// Whose it is: `<type>/<sourcedId>` of the person or record.
    pub record: Option<String>,
    pub created_at: DateTime<Utc>,
    pub attempts: i32,
    pub first_attempt_at: Option<DateTime<Utc>>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What it tells; none: it has to be read again.
    pub content: Option<Content>,
    /// Where its endpoint stood before it.
    pub before: Cursor,
    /// It is in the delivery log.
    pub recorded: bool,
}

impl Content {
    /// The event type.
    pub fn kind(&self) -> String {
        match self {
            Self::Change(change) => format!("{}.{}", change.entity.name(), change.kind.word()),
            Self::Notice(notice) => notice.kind.name().to_owned(),
        }
    }

    pub fn position(&self) -> i64 {
        match self {
            Self::Change(change) => change.position,
            Self::Notice(notice) => notice.position,
        }
    }

    /// What messages wait for each other in the order by record.
    fn record(&self) -> Option<String> {
        match self {
            Self::Notice(_) => None,
            Self::Change(change) => Some(match person(change) {
                Some(person) => format!("user/{person}"),
                None => format!("{}/{}", change.entity.name(), change.sourced_id),
            }),
        }
    }
}

impl Message {
    /// The next message of an endpoint, which moves the cursor.
    pub fn next(endpoint: Uuid, generation: i32, cursor: &mut Cursor, content: Content) -> Self {
        let before = *cursor;
        let notice = match &content {
            Content::Change(change) => {
                cursor.position = change.position;
                None
            }
            Content::Notice(notice) => {
                cursor.notice = notice.number;
                Some(notice.number)
            }
        };
        cursor.sequence += 1;
        cursor.last_position = content.position();
        Self {
            sequence: cursor.sequence,
            id: id(endpoint, generation, content.position(), notice),
            kind: content.kind(),
            position: content.position(),
            previous_position: before.last_position,
            notice,
            generation,
            record: content.record(),
            created_at: Utc::now(),
            attempts: 0,
            first_attempt_at: None,
            next_attempt_at: None,
            content: Some(content),
            before,
            recorded: false,
        }
    }

    /// The body, given what it tells.
    pub fn body(&self, tenant: &Tenant, content: &Content, shown: Shown) -> Vec<u8> {
        let envelope = |timestamp, data| catalogue::Message {
            id: &self.id,
            event_type: &self.kind,
            timestamp,
            tenant: tenant.as_str(),
            sequence: self.sequence,
            position: self.position,
            previous_position: self.previous_position,
            data,
        };
        let envelope = match content {
            Content::Change(change) => {
                envelope(change.recorded_at, Data::Change(Box::new(Item::new(change, None, shown))))
            }
            Content::Notice(notice) => envelope(notice.recorded_at, Data::Other(&notice.data)),
        };
        serde_json::to_vec(&envelope).unwrap_or_default()
    }
}

/// An id that follows from what is told to whom. `generation`: a replay tells the same again under new ids.
fn id(endpoint: Uuid, generation: i32, position: i64, notice: Option<i64>) -> String {
    let what = match notice {
        None => format!("{endpoint}/{generation}/position/{position}"),
        Some(number) => format!("{endpoint}/{generation}/notice/{number}"),
    };
    let hash = Sha256::digest(what.as_bytes());
    format!("msg_{}", hash[..16].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Change(Box<Item<'a>>),
    Other(&'a RawValue),
}

/// The body of a message outside of the chain: a challenge or a test. `position`: the head of the log.
pub fn aside(tenant: &Tenant, kind: &str, position: i64, data: &impl Serialize) -> (String, Vec<u8>) {
    let id = format!("msg_{}", Uuid::new_v4().simple());
    let data = serde_json::value::to_raw_value(data).unwrap_or_default();
    let envelope = catalogue::Message {
        id: &id,
        event_type: kind,
        timestamp: Utc::now(),
        tenant: tenant.as_str(),
        sequence: 0,
        position,
        previous_position: position,
        data: Data::Other(&data),
    };
    let body = serde_json::to_vec(&envelope).unwrap_or_default();
    (id, body)
}
