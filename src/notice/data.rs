//! What each kind of notice holds. No personal data: ids, counts, codes, names of clients.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::audit::verify::Finding;
use crate::roster::EntityType;

/// Schools that one notice lists at most; more are counted.
pub const MOST_SCHOOLS: usize = 5_000;

/// By record type, as references name it (`user`).
pub type ByType<T> = BTreeMap<&'static str, T>;

/// An import, or the taking back of one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ImportJob {
    pub id: Uuid,
    #[schemars(extend("enum" = ["import", "revert"]))]
    pub kind: String,
    /// Of a revert: the import that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reverts: Option<Uuid>,
    /// Name of the client that handed it in; `cli` is the command line, `inbox` the watched folder.
    pub client: String,
    /// The edition of the CSV binding by which it was read, once it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    /// Record types of its files: `bulk`, all records of the type, or `delta`, changes. Empty before it was planned.
    #[schemars(with = "BTreeMap<String, String>")]
    pub modes: ByType<&'static str>,
}

/// What becomes of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "NoticeCounts", deny_unknown_fields)]
pub struct Counts {
    pub created: i64,
    pub changed: i64,
    pub deleted: i64,
    pub restored: i64,
    pub unchanged: i64,
}

/// What an import did to the records of a school or other org, of all types together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "NoticeSchool", deny_unknown_fields)]
pub struct School {
    /// sourcedId of the org.
    pub school: String,
    pub created: i64,
    pub changed: i64,
    pub deleted: i64,
    pub restored: i64,
    /// Record types that these are of.
    #[schemars(with = "Vec<String>")]
    pub types: Vec<&'static str>,
}

/// A threshold that a plan passes.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "NoticeThreshold", deny_unknown_fields)]
pub struct Threshold {
    #[schemars(extend("enum" = EntityType::ALL.map(EntityType::name)))]
    pub record_type: &'static str,
    /// sourcedId of the org that is meant; the whole board without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub school: Option<String>,
    #[schemars(extend("enum" = ["deleted", "changed"]))]
    pub kind: &'static str,
    /// Records that would be.
    pub records: i64,
    /// Active records, out of which they are.
    pub active: i64,
    /// Percent that may be without a question.
    pub limit: f64,
}

/// Why a plan waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Waits {
    /// It was asked for, to be looked at.
    Asked,
    /// It passes thresholds.
    Thresholds,
    /// Of a revert: records changed after the import that it takes back.
    Conflicts,
    /// It was approved, and the roster has moved so that it is another plan now.
    Moved,
    /// It was approved, and could not be applied: the program or the database went away.
    Interrupted,
}

/// `import.planned` and `import.held`: a plan waits for a decision.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ImportWaits {
    pub import: ImportJob,
    /// Names the plan; an approval repeats it.
    pub plan: Uuid,
    /// Log position of the roster that it was made on.
    pub planned_at: i64,
    /// When it is discarded, if nobody decides.
    #[serde(serialize_with = "milliseconds")]
    pub expires_at: DateTime<Utc>,
    pub reasons: Vec<Waits>,
    /// Thresholds that it passes, the whole board's first.
    pub thresholds: Vec<Threshold>,
    /// Of a revert: records that changed after the import that it takes back.
    pub conflicts: i64,
    /// What it would do, by record type.
    #[schemars(with = "BTreeMap<String, Counts>")]
    pub counts: ByType<Counts>,
    /// Errors found; their rows are left out.
    pub errors: i64,
}

/// First and last log position of what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Positions {
    pub first: i64,
    pub last: i64,
}

/// `import.applied`: for those who follow imports as a whole, in place of a message for each record.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ImportApplied {
    pub import: ImportJob,
    /// Name of the client that approved its plan, if it waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Its changes in the log; not there when it changed nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positions: Option<Positions>,
    /// When its changes were recorded: `recordedAt` of all of them. Not there when it changed nothing.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "milliseconds_if_any")]
    pub time: Option<DateTime<Utc>>,
    /// What it did, by record type.
    #[schemars(with = "BTreeMap<String, Counts>")]
    pub counts: ByType<Counts>,
    /// What it did to each org, in the order of their sourcedIds; orgs without a change are not listed, nor are records
    /// that belong to none, such as academic sessions. At most 5,000.
    #[schemars(extend("maxItems" = MOST_SCHOOLS))]
    pub schools: Vec<School>,
    /// Orgs with changes that are not listed, since there are more. The import's plan has them all.
    pub schools_omitted: u64,
    /// Errors found; their rows were left out.
    pub errors: i64,
}

/// Why an import ended without a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Reason {
    /// The set has errors.
    Errors,
    /// The hub failed; the import says why.
    Failure,
    /// The program ended in the middle.
    Interrupted,
    /// Somebody discarded its plan.
    Discarded,
    /// Nobody decided on its plan in time.
    Expired,
    /// Somebody cancelled it.
    Cancelled,
}

/// `import.failed`: it ended and changed nothing.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ImportFailed {
    pub import: ImportJob,
    #[schemars(extend("enum" = ["failed", "discarded", "cancelled"]))]
    pub state: String,
    pub reason: Reason,
    /// Name of the client that discarded or cancelled it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Errors found.
    pub errors: i64,
    /// How often each code is among those that are listed.
    pub errors_by_code: BTreeMap<String, i64>,
}

/// `import.reverted`: an import is taken back. What that did stands in the `import.applied` of the revert.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ImportReverted {
    /// The import that was taken back.
    pub reverted: Uuid,
    /// The revert.
    pub import: ImportJob,
    /// Its changes in the log; not there when it changed nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positions: Option<Positions>,
}

/// `export.ready`: a set was written to its end.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ExportReady {
    /// Name of the client that takes it; `cli` is the command line.
    pub client: String,
    /// Log position of the roster that it shows.
    pub position: i64,
    /// Log position that a delta begins after; none for a bulk set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    pub edition: String,
    /// sourcedIds of the orgs that it was asked for; empty: the whole board.
    pub schools: Vec<String>,
    /// Rows by file (`users`), without those that are absent.
    pub rows: BTreeMap<String, u64>,
    /// Values that it does not say as the roster has them.
    pub losses: u64,
}

/// `endpoint.failing`: messages to an endpoint fail, and are tried again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EndpointFailing {
    pub endpoint: Uuid,
    /// Nothing has been delivered since.
    #[serde(serialize_with = "milliseconds")]
    pub failing_since: DateTime<Utc>,
    /// HTTP status of the last answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// Code of what went wrong last, if there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it is disabled, if nothing is delivered until then.
    #[serde(serialize_with = "milliseconds")]
    pub disables_at: DateTime<Utc>,
}

/// Why an endpoint was disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Disabled {
    /// It answered 410 Gone.
    Gone,
    /// It failed for too long.
    Failures,
    /// Its client was revoked or has expired.
    ClientEnded,
}

/// `endpoint.disabled`: an endpoint gets no messages until it is enabled again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EndpointDisabled {
    pub endpoint: Uuid,
    pub reason: Disabled,
    /// Nothing has been delivered since; not there when it was not failing.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "milliseconds_if_any")]
    pub failing_since: Option<DateTime<Utc>>,
    /// HTTP status of the last answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_status: Option<u16>,
    /// Code of what went wrong last, if there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// `client.revoked`: a client and its tokens are refused from now on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ClientRevoked {
    pub client: Uuid,
    pub name: String,
}

/// A time as all answers have it: in UTC, with milliseconds.
pub fn milliseconds<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

/// The same, of a time that may be absent.
pub fn option_milliseconds<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn milliseconds_if_any<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
/// The daily checks found differences.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct AuditFailed {
    /// Log position of the read models that were checked.
    pub position: i64,
    /// How many places the log differs in from its tree or its checkpoints.
    pub findings: i64,
    /// The first of them.
    pub history: Vec<Finding>,
    /// The first row of a read model that is not what the log says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_models: Option<AuditDifference>,
}

/// A row of a read model that is not what the log says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct AuditDifference {
    pub table: String,
    pub sourced_id: String,
    /// The version's first position.
    pub since: i64,
    /// `unexpected`: stands in the read model only; `missing`: only in what the log says.
    pub what: String,
}
