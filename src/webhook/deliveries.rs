//! The delivery log: what was sent, what waits, and sending it again.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use super::message::{Cursor, Message};
use crate::feed::item::milliseconds;
use crate::log::Tenant;

/// States that a delivery may be in.
pub const STATES: [&str; 4] = ["pending", "delivered", "failed", "discarded"];

#[derive(sqlx::FromRow)]
struct Pending {
    sequence: i64,
    message: String,
    r#type: String,
    position: i64,
    previous_position: i64,
    notice: Option<i64>,
    generation: i32,
    record: Option<String>,
    attempts: i32,
    first_attempt_at: Option<DateTime<Utc>>,
    next_attempt_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

/// What waits for an endpoint, in the order of its chain.
pub async fn pending(conn: &mut PgConnection, tenant: &Tenant, endpoint: Uuid) -> Result<Vec<Message>, sqlx::Error> {
    let rows: Vec<Pending> = sqlx::query_as(
        "select sequence, message, type, position, previous_position, notice, generation, record, attempts,
                first_attempt_at, next_attempt_at, created_at
           from webhook_deliveries where tenant = $1 and endpoint = $2 and state = 'pending' order by sequence",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .fetch_all(conn)
    .await?;
    let message = |row: Pending| Message {
        sequence: row.sequence,
        id: row.message,
        kind: row.r#type,
        position: row.position,
        previous_position: row.previous_position,
        notice: row.notice,
        generation: row.generation,
        record: row.record,
        created_at: row.created_at,
        attempts: row.attempts,
        first_attempt_at: row.first_attempt_at,
        next_attempt_at: row.next_attempt_at,
        content: None,
        before: Cursor::default(),
        recorded: true,
    };
    Ok(rows.into_iter().map(message).collect())
}

/// Ids of what is recorded beyond a sequence.
pub async fn beyond(
    conn: &mut PgConnection,
    tenant: &Tenant,
    endpoint: Uuid,
    sequence: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select message from webhook_deliveries where tenant = $1 and endpoint = $2 and sequence > $3")
        .bind(tenant.as_str())
        .bind(endpoint)
        .bind(sequence)
        .fetch_all(conn)
        .await
}

/// A message as the log has it.
#[derive(Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookDelivery", deny_unknown_fields)]
pub struct Listed {
    /// Its `webhook-id`.
    pub message: String,
    /// Event type.
    pub r#type: String,
    /// Its number in the endpoint's chain.
    pub sequence: i64,
    /// Log position that it stands at.
    pub position: i64,
    /// That the message before it stands at.
    pub previous_position: i64,
    #[schemars(extend("enum" = STATES))]
    pub state: String,
    pub attempts: i32,
    #[serde(serialize_with = "milliseconds")]
    pub created_at: DateTime<Utc>,
    /// When it is sent again, if it is.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was done with.
    pub finished_at: Option<DateTime<Utc>>,
}

/// An attempt to deliver.
#[derive(Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookAttempt", deny_unknown_fields)]
pub struct Attempt {
    /// 1, 2, 3, …
    pub attempt: i32,
    pub at: DateTime<Utc>,
    /// Of the answer, if there was one.
    pub status: Option<i16>,
    /// Why it failed.
    pub failure: Option<String>,
    pub latency_ms: f32,
    /// The beginning of the answer.
    pub excerpt: String,
}

/// Which deliveries are listed.
#[derive(Debug, Default)]
pub struct Selection {
    pub state: Option<String>,
    pub r#type: Option<String>,
    /// Those with a sequence less than this.
    pub before: Option<i64>,
    pub limit: i64,
}

/// The youngest first.
pub async fn list(
    conn: &mut PgConnection,
    tenant: &Tenant,
    endpoint: Uuid,
    selection: &Selection,
) -> Result<Vec<Listed>, sqlx::Error> {
    sqlx::query_as(
        "select message, type, sequence, position, previous_position, state, attempts, created_at, next_attempt_at,
                finished_at
           from webhook_deliveries
          where tenant = $1 and endpoint = $2 and ($3::text is null or state = $3) and ($4::text is null or type = $4)
            and ($5::bigint is null or sequence < $5)
          order by sequence desc limit $6",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(&selection.state)
    .bind(&selection.r#type)
    .bind(selection.before)
    .bind(selection.limit)
    .fetch_all(conn)
    .await
}

pub async fn find(
    conn: &mut PgConnection,
    tenant: &Tenant,
    endpoint: Uuid,
    message: &str,
) -> Result<Option<(Listed, Vec<Attempt>)>, sqlx::Error> {
    let found: Option<Listed> = sqlx::query_as(
        "select message, type, sequence, position, previous_position, state, attempts, created_at, next_attempt_at,
                finished_at
           from webhook_deliveries where tenant = $1 and endpoint = $2 and message = $3 order by sequence limit 1",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(message)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let attempts = attempts(conn, tenant, endpoint, &[found.sequence]).await?;
    Ok(Some((found, attempts.into_iter().map(|(_, attempt)| attempt).collect())))
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    sequence: i64,
    #[sqlx(flatten)]
    attempt: Attempt,
}

/// Attempts to deliver the messages of these sequences, each with its sequence, in their order.
pub async fn attempts(
    conn: &mut PgConnection,
    tenant: &Tenant,
    endpoint: Uuid,
    sequences: &[i64],
) -> Result<Vec<(i64, Attempt)>, sqlx::Error> {
    let rows: Vec<AttemptRow> = sqlx::query_as(
        "select sequence, attempt, at, status, failure, latency_ms, excerpt from webhook_attempts
          where tenant = $1 and endpoint = $2 and sequence = any($3) order by sequence, attempt",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(sequences)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.sequence, row.attempt)).collect())
}

/// What is sent again: one message whatever became of it, or all that failed since a position.
pub enum Again<'a> {
    Message(&'a str),
    FailedSince(i64),
}

/// Puts messages back among those that wait, due at once; how many.
pub async fn again(
    conn: &mut PgConnection,
    tenant: &Tenant,
    endpoint: Uuid,
    again: Again<'_>,
) -> Result<u64, sqlx::Error> {
    let (message, since) = match again {
        Again::Message(message) => (Some(message), None),
        Again::FailedSince(position) => (None, Some(position)),
    };
    let done = sqlx::query(
        "update webhook_deliveries set state = 'pending', next_attempt_at = now(), finished_at = null
          where tenant = $1 and endpoint = $2
            and case when $3::text is null then state = 'failed' and position > $4 else message = $3 end",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(message)
    .bind(since)
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Messages of an endpoint by state.
pub async fn counts(
    conn: &mut PgConnection,
    tenant: &Tenant,
    endpoint: Uuid,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select state, count(*) from webhook_deliveries where tenant = $1 and endpoint = $2 group by state order by state",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .fetch_all(conn)
    .await
}

/// Removes what became of an endpoint's messages, all of it.
pub async fn delete(conn: &mut PgConnection, tenant: &Tenant, endpoint: Uuid) -> Result<(), sqlx::Error> {
    for table in ["webhook_attempts", "webhook_deliveries"] {
        sqlx::query(&format!("delete from {table} where tenant = $1 and endpoint = $2"))
            .bind(tenant.as_str())
            .bind(endpoint)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Removes what was done with so many days ago, some of it; whether there was any.
pub async fn forget(conn: &mut PgConnection, tenant: &Tenant, days: u32) -> Result<bool, sqlx::Error> {
    let gone: i64 = sqlx::query_scalar(
        "with old as (
           select endpoint, sequence from webhook_deliveries
            where tenant = $1 and finished_at < now() - make_interval(days => $2) limit 10000),
         attempts as (
           delete from webhook_attempts a using old
            where a.tenant = $1 and a.endpoint = old.endpoint and a.sequence = old.sequence),
         deliveries as (
           delete from webhook_deliveries d using old
            where d.tenant = $1 and d.endpoint = old.endpoint and d.sequence = old.sequence returning 1)
         select count(*) from deliveries",
    )
    .bind(tenant.as_str())
    .bind(i32::try_from(days).unwrap_or(i32::MAX))
    .fetch_one(conn)
    .await?;
    Ok(gone > 0)
}
