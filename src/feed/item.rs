//! A change as JSON: the same in the REST feed, in webhooks and in what is streamed in bulk.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Cause, Change, Kind};
use crate::roster::EntityType;

/// What a reader may see and wants to see of a change, beyond what everybody does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// The record before and after. `before` is there unless it was read with [`Detail::Plain`](super::Detail).
    pub values: bool,
    /// Who did it, and by which line of which file: needs the scope `audit`.
    pub audit: bool,
}

/// A change of a record: one event of the log.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Change", deny_unknown_fields)]
pub struct Item<'a> {
    /// Its place in the log.
    position: i64,
    /// The place of the change before it in the same filter; 0 when it is the first. Who has that one has missed none.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_position: Option<i64>,
    /// First position of the unit of work that it belongs to: what was written together became visible together.
    unit: i64,
    /// When it was recorded; in UTC, with milliseconds.
    #[serde(serialize_with = "milliseconds")]
    recorded_at: DateTime<Utc>,
    #[schemars(extend("enum" = EntityType::ALL.map(EntityType::name)))]
    record_type: &'static str,
    sourced_id: &'a str,
    /// The user whose role, profile, enrollment or demographics it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    /// What became of it.
    #[schemars(extend("enum" = Kind::ALL.map(|(kind, ..)| kind.word())))]
    kind: &'static str,
    /// Members that changed; none when it was created or deleted.
    changed: &'a [String],
    /// The record as it was, as the log holds it: without sourcedId, status and time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    before: Option<&'a RawValue>,
    /// The record as it is since then, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    after: Option<&'a RawValue>,
    cause: CauseItem<'a>,
}

/// Who or what led to a change.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Cause", deny_unknown_fields)]
pub struct CauseItem<'a> {
    /// The client: its id for a write, its name for an import.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    /// The import job.
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<&'a str>,
    /// The import that the job takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    reverts: Option<&'a str>,
    /// The edition of the binding by which the set was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapping: Option<&'a str>,
    /// A bulk file did not name the record any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    absent: bool,
    /// On whose behalf the client wrote. With the scope `audit`, as all that follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    /// Who approved the import.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<&'a str>,
    /// File of the set.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// Line of the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<i32>,
}

impl<'a> Item<'a> {
    pub fn new(change: &'a Change, previous_position: Option<i64>, shown: Shown) -> Self {
        Self {
            position: change.position,
            previous_position,
            unit: change.unit,
            recorded_at: change.recorded_at,
            record_type: change.entity.name(),
            sourced_id: &change.sourced_id,
            user: change.user.as_deref(),
            kind: change.kind.word(),
            changed: &change.changed,
            before: change.before.as_deref().filter(|_| shown.values),
            after: Some(&*change.after).filter(|_| shown.values),
            cause: CauseItem::new(&change.cause, shown.audit),
        }
    }
}

impl<'a> CauseItem<'a> {
    /// `audit`: with what needs the scope `audit`.
    pub fn new(cause: &'a Cause, audit: bool) -> Self {
        Self {
            client: cause.client.as_deref(),
            import: cause.import.as_deref(),
            reverts: cause.reverts.as_deref(),
            mapping: cause.mapping.as_deref(),
            absent: cause.absent,
            actor: cause.actor.as_deref().filter(|_| audit),
            approved_by: cause.approver.as_deref().filter(|_| audit),
            file: cause.file.as_deref().filter(|_| audit),
            line: cause.line.filter(|_| audit),
        }
    }
}

/// A time as all answers have it.
pub fn milliseconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
}
