//! What stands in the roster, read for a decision: one statement for all records of a type.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::PgConnection;

use super::CommandError;
use super::entry::Event;
use super::hub::{read_event, upcasters};
use crate::log::Tenant;
use crate::roster::nested::Nested;
use crate::roster::{EntityType, Record};

/// A record as it stands.
#[derive(Debug, sqlx::FromRow)]
pub struct Standing {
    pub sourced_id: String,
    /// Position of the unit of work that made the version.
    pub since: i64,
    /// Of the record's own last event.
    pub sequence: i64,
    pub withdrawn: bool,
    /// The document as clients see it, without addresses.
    pub doc: String,
    /// Type, version and payload of the last event, spaces between.
    pub last: String,
}

/// A record that is nested in another's document, as it stands.
#[derive(Debug, sqlx::FromRow)]
pub struct StandingPart {
    pub sourced_id: String,
    /// The record it is nested in.
    pub owner: String,
    pub sequence: i64,
    pub withdrawn: bool,
    pub last: String,
}

/// A record's last event, from its type, version and payload.
pub fn last<R: Record>(event: &str) -> Result<Event<R>, CommandError> {
    let mut words = event.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (event_type, version, payload) = (word(), word(), word());
    read_event(upcasters, event_type, version, payload).map_err(|e| unreadable("an event", &e))
}

/// The typed record of a draft.
pub fn record<R: Record>(drafted: &Value) -> Result<R, CommandError> {
    R::deserialize(drafted).map_err(|e| unreadable("a draft", &e))
}

/// Only the place: what is read may be personal.
pub fn unreadable(what: &str, error: &serde_json::Error) -> CommandError {
    CommandError::Internal(format!("{what} is not of its form, at line {}, column {}", error.line(), error.column()))
}

/// SQL: type, version and payload of the event that made row `c` of the type's read model.
fn last_event(kind: EntityType) -> String {
    format!(
        "lateral (select e.event_type || ' ' || e.event_version || ' ' || e.payload::text as last from events e
                   where e.aggregate_type = '{}' and e.aggregate_id = $1 || '/' || c.sourced_id
                     and e.sequence = c.sequence limit 1) e",
        kind.name()
    )
}

/// Those of these records that are there, and the head of the log at that moment.
pub async fn records(
    conn: &mut PgConnection,
    tenant: &Tenant,
    kind: EntityType,
    ids: &[&str],
) -> Result<(i64, HashMap<String, Standing>), sqlx::Error> {
    let sql = format!(
        "select t.head, s.sourced_id, s.since, s.sequence, s.withdrawn, s.doc, s.last
           from tenants t
                left join lateral (
                  select c.sourced_id, c.since, c.sequence, c.status = 'tobedeleted' as withdrawn, c.doc, e.last
                    from unnest($2::text[]) as asked(sourced_id),
                         lateral (select * from {} c
                                   where c.tenant = $1 and c.sourced_id = asked.sourced_id limit 1) c,
                         {}) s on true
          where t.tenant = $1",
        kind.entity().table,
        last_event(kind)
    );
    type Row = (i64, Option<String>, Option<i64>, Option<i64>, Option<bool>, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(&sql).bind(tenant.as_str()).bind(ids).fetch_all(conn).await?;
    let head = rows.first().map_or(0, |row| row.0);
    let records = rows.into_iter().filter_map(|(_, id, since, sequence, withdrawn, doc, last)| {
        let sourced_id = id?;
        let standing = Standing {
            sourced_id: sourced_id.clone(),
            since: since?,
            sequence: sequence?,
            withdrawn: withdrawn?,
            doc: doc?,
            last: last?,
        };
        Some((sourced_id, standing))
    });
    Ok((head, records.collect()))
}

/// The records nested in those of these owners, and those of these ids, whoever's they are; withdrawn ones too.
pub async fn parts(
    conn: &mut PgConnection,
    tenant: &Tenant,
    nested: &Nested,
    owners: &[&str],
    ids: &[&str],
) -> Result<Vec<StandingPart>, sqlx::Error> {
    let Some(owner) = nested.owner_reference().map(|field| field.column()) else { return Ok(Vec::new()) };
    let table = nested.kind.entity().table;
    sqlx::query_as(&format!(
        "select c.sourced_id, c.owner, c.sequence, c.withdrawn, e.last
           from (select c.sourced_id, c.{owner} as owner, c.sequence, c.status = 'tobedeleted' as withdrawn
                   from unnest($2::text[]) as asked(owner),
                        lateral (select * from {table} c where c.{owner} = asked.owner and c.tenant = $1 offset 0) c
                 union
                 select c.sourced_id, c.{owner}, c.sequence, c.status = 'tobedeleted'
                   from unnest($3::text[]) as asked(sourced_id),
                        lateral (select * from {table} c
                                  where c.tenant = $1 and c.sourced_id = asked.sourced_id limit 1) c) c,
                {}
          order by c.sourced_id",
        last_event(nested.kind)
    ))
    .bind(tenant.as_str())
    .bind(owners)
    .bind(ids)
    .fetch_all(conn)
    .await
}

/// Those of these records that are there, with their `type` when it is asked for.
pub async fn tags(
    conn: &mut PgConnection,
    tenant: &Tenant,
    kind: EntityType,
    ids: &[&str],
    with_tag: bool,
) -> Result<HashMap<String, Option<String>>, sqlx::Error> {
    let tag = if with_tag { "c.type" } else { "null::text" };
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(&format!(
        "select c.sourced_id, {tag}
           from unnest($2::text[]) as asked(sourced_id),
                lateral (select * from {} c where c.tenant = $1 and c.sourced_id = asked.sourced_id limit 1) c",
        kind.entity().table
    ))
    .bind(tenant.as_str())
    .bind(ids)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().collect())
}
