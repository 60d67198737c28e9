//! Reading the access log.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::log::Tenant;
use crate::notice::data::milliseconds;

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// sourcedId of a user: entries that list the person, and wide ones.
    pub person: Option<String>,
    /// Id of a client, or `cli`.
    pub client: Option<String>,
    pub via: Option<&'static str>,
    pub since: Option<DateTime<Utc>>,
    /// Up to, and without.
    pub until: Option<DateTime<Utc>>,
    /// Entries after this one.
    pub after: Option<Uuid>,
}

/// Whether an entry tells that the person's data was given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Receipt {
    /// The person's data was in the answer.
    Listed,
    /// The answer was of too many people to list, or it is not known what was in it: the person's data may have been
    /// in it, as the query and the position tell.
    Possible,
}

/// A read of personal data.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AccessEntry", deny_unknown_fields)]
pub struct Found {
    /// UUID of version 7: entries are in the order of their ids, which is that of time.
    pub id: Uuid,
    #[serde(serialize_with = "milliseconds")]
    pub at: DateTime<Utc>,
    /// Id of the client, or `cli`.
    pub client: String,
    /// Its name at that time.
    pub client_name: String,
    /// The way that data took; `lost`: entries were lost, as `query` tells.
    #[schemars(extend("enum" = super::Via::NAMES))]
    pub via: String,
    pub operation: String,
    /// Template of the route.
    pub endpoint: String,
    /// What was asked, at most 1,000 characters of it.
    pub query: String,
    /// Log position of the roster that was read.
    pub position: i64,
    /// Of the person that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// sourcedIds of the users whose data was in the answer; none of them in a wide read.
    pub people: Vec<String>,
    /// The answer was of too many people to list.
    pub wide: bool,
    /// How many people, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persons: Option<i64>,
    /// How many records. Of an export none until it has been sent whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
    /// Of the answer, before compression, where they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    client: String,
    client_name: String,
    via: String,
    operation: String,
    endpoint: String,
    query: String,
    position: i64,
    people: Vec<String>,
    wide: bool,
    persons: Option<i64>,
    records: Option<i64>,
    bytes: Option<i64>,
}

/// The least id of this time.
pub(super) fn first_id(time: DateTime<Utc>) -> Uuid {
    let milliseconds = u128::try_from(time.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128(milliseconds << 80)
}

/// When an entry was made.
pub(super) fn time(id: Uuid) -> DateTime<Utc> {
    let milliseconds = i64::try_from(id.as_u128() >> 80).ok();
    milliseconds.and_then(DateTime::from_timestamp_millis).unwrap_or_default()
}

/// The ways in which a person is in an entry: each has an index of its own.
const OF_PERSON: [&str; 3] = [
    "e.person = {person}",
    "e.list = any (array (select p.list from access_people p where p.tenant = {tenant} and p.person = {person}))",
    "e.wide",
];

/// Entries in the order of their ids, at most `limit`.
pub async fn search(
    conn: &mut PgConnection,
    tenant: &Tenant,
    wanted: &Wanted,
    limit: i64,
) -> Result<Vec<Found>, sqlx::Error> {
    let arms: &[&str] = if wanted.person.is_some() { &OF_PERSON } else { &["true"] };
    let mut sql = QueryBuilder::<Postgres>::new(
        "select e.id, e.client, e.client_name, e.via, e.operation, e.endpoint, e.query, e.position, e.wide, e.persons,
                e.records, e.bytes,
                case when e.person is not null then array[e.person]
                     else array(select p.person from access_people p where p.tenant = ",
    );
    sql.push_bind(tenant.as_str()).push(" and p.list = e.list order by p.person) end as people from (");
    for (n, arm) in arms.iter().enumerate() {
        sql.push(if n > 0 { " union all (" } else { "(" });
        sql.push("select e.*, r.client, r.client_name, r.via, r.operation, r.endpoint, r.query from access_log e join access_requests r on r.tenant = ");
        sql.push_bind(tenant.as_str()).push(" and r.id = e.request where e.tenant = ").push_bind(tenant.as_str());
        sql.push(" and ");
        crate::feed::read::bind(&mut sql, arm, |sql, name| {
            sql.push_bind(match name {
                "tenant" => tenant.as_str(),
                _ => wanted.person.as_deref().unwrap_or_default(),
            });
        });
        if let Some(after) = wanted.after {
            sql.push(" and e.id > ").push_bind(after);
        }
        if let Some(since) = wanted.since {
            sql.push(" and e.id >= ").push_bind(first_id(since));
        }
        if let Some(until) = wanted.until {
            sql.push(" and e.id < ").push_bind(first_id(until));
        }
        if let Some(client) = &wanted.client {
            sql.push(" and r.client = ").push_bind(client);
        }
        if let Some(via) = wanted.via {
            sql.push(" and r.via = ").push_bind(via);
        }
        sql.push(" order by e.id limit ").push_bind(limit).push(")");
    }
    sql.push(") e order by e.id limit ").push_bind(limit);
    let rows: Vec<Row> = sql.build_query_as().fetch_all(conn).await?;
    let asked = wanted.person.is_some();
    let found = |row: Row| Found {
        id: row.id,
        at: time(row.id),
        client: row.client,
        client_name: row.client_name,
        via: row.via,
        operation: row.operation,
        endpoint: row.endpoint,
        query: row.query,
        position: row.position,
        receipt: asked.then_some(if row.wide { Receipt::Possible } else { Receipt::Listed }),
        people: row.people,
        wide: row.wide,
        persons: row.persons,
        records: row.records,
        bytes: row.bytes,
    };
    Ok(rows.into_iter().map(found).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_order_of_time() {
        let before = Utc::now();
        let id = Uuid::now_v7();
        assert!(first_id(before) <= id && id < first_id(before + chrono::TimeDelta::seconds(10)));
        assert_eq!(first_id(time(id)).as_u128() >> 80, id.as_u128() >> 80);
    }
}
