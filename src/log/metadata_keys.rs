//! The keys of `metadata` that records of a tenant have ever had, by type. An export in a base edition has a column for
//! each one in use; without the list it would have to go through all documents to find them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;
use serde::de::IgnoredAny;
use sqlx::PgConnection;

use super::{NewEvent, Tenant};

/// Aggregate type and key.
pub type TypedKey = (&'static str, String);

/// Keys of one tenant that are remembered; of more it is asked again each time.
const REMEMBERED: usize = 10_000;

/// Those that are known to stand in the list: they are never taken off it.
#[derive(Clone, Default)]
pub struct Known(Arc<RwLock<HashMap<Tenant, HashSet<TypedKey>>>>);

impl Known {
    /// The keys of these events that are not known to stand in the list, nor in `noted`.
    pub fn unknown(&self, tenant: &Tenant, noted: &BTreeSet<TypedKey>, events: &[&NewEvent]) -> BTreeSet<TypedKey> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(tenant);
        let mut unknown = BTreeSet::new();
        for event in events {
            let keys = keys(&event.payload).into_iter().map(|key| (event.aggregate_type, key));
            unknown.extend(keys.filter(|key| !noted.contains(key) && !known.is_some_and(|known| known.contains(key))));
        }
        unknown
    }

    /// After the transaction that wrote them has committed.
    pub fn note(&self, tenant: &Tenant, keys: BTreeSet<TypedKey>) {
        if keys.is_empty() {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(tenant.clone()).or_default();
        known.extend(keys.into_iter().take(REMEMBERED.saturating_sub(known.len())));
    }
}

#[derive(Deserialize)]
struct Payload {
    record: Record,
}

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    metadata: HashMap<String, IgnoredAny>,
}

/// Of the record in a payload.
fn keys(payload: &str) -> Vec<String> {
    match payload.contains("\"metadata\":{") {
        true => serde_json::from_str(payload)
            .map(|payload: Payload| payload.record.metadata.into_keys().collect())
            .unwrap_or_default(),
        false => Vec::new(),
    }
}

/// Adds keys to the list.
pub async fn add(conn: &mut PgConnection, tenant: &Tenant, keys: &BTreeSet<TypedKey>) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into metadata_keys (tenant, aggregate_type, key)
         select $1, * from unnest($2::text[], $3::text[]) on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.1.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map(drop)
}

/// Adds the keys of events in `(from, to]` that were not appended by this program.
pub async fn catch_up(conn: &mut PgConnection, tenant: &Tenant, from: i64, to: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into metadata_keys (tenant, aggregate_type, key)
         select distinct $1, e.aggregate_type, m.key
           from events e, lateral json_object_keys(e.payload -> 'record' -> 'metadata') m (key)
          where e.tenant = $1 and e.position > $2 and e.position <= $3
         on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(from)
    .bind(to)
    .execute(conn)
    .await
    .map(drop)
}

/// The keys of a type, in order.
pub async fn of(conn: &mut PgConnection, tenant: &Tenant, aggregate_type: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select key from metadata_keys where tenant = $1 and aggregate_type = $2 order by key")
        .bind(tenant.as_str())
        .bind(aggregate_type)
        .fetch_all(conn)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_record_itself() {
        let of = |record: &str| keys(&format!(r#"{{"type":"Recorded","changed":["metadata"],"record":{record}}}"#));
        assert_eq!(of(r#"{"title":"\"metadata\":{\"x\":1}"}"#), Vec::<String>::new());
        assert_eq!(of(r#"{"title":"t","metadata":{"a\"b":"1"}}"#), ["a\"b"]);
        let mut two = of(r#"{"metadata":{"jp.homeClass":"","x":"y"}}"#);
        two.sort();
        assert_eq!(two, ["jp.homeClass", "x"]);
    }
}
