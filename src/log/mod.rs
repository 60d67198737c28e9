//! The event log: one per tenant, one gapless position.

pub mod append;
pub mod heads;
pub mod idempotency;
pub mod metadata_keys;
pub mod position;
pub mod queue;
pub mod read;
pub mod subscription;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::db::Db;
use crate::projection::Projections;

pub use append::{AppendError, Appended, Guard, IdempotencyKey, NewEvent, Unit};

/// A board of education. Name: lower-case letters, digits and hyphens, at most 63.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

/// The name does not fit; the text says what does.
#[derive(Debug, thiserror::Error)]
#[error("a tenant's name is 1 to 63 lower-case letters, digits and hyphens, and begins with a letter or digit")]
pub struct BadTenant;

impl Tenant {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of an aggregate in the log: `<tenant>/<sourcedId>`.
    pub fn aggregate_id(&self, sourced_id: &str) -> String {
        format!("{}/{}", self.0, sourced_id)
    }
}

impl std::str::FromStr for Tenant {
    type Err = BadTenant;
    fn from_str(name: &str) -> Result<Self, BadTenant> {
        let fits = (1..=63).contains(&name.len())
            && !name.starts_with('-')
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(name.into())).ok_or(BadTenant)
    }
}

impl serde::Serialize for Tenant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Tenant {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event as it stands in the log.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RecordedEvent {
    pub position: i64,
    /// First position of the unit of work it belongs to.
    pub unit: i64,
    pub aggregate_type: String,
    /// `<tenant>/<sourcedId>`
    pub aggregate_id: String,
    pub sequence: i64,
    pub event_type: String,
    pub event_version: String,
    pub payload: sqlx::types::Json<Box<serde_json::value::RawValue>>,
    pub metadata: sqlx::types::Json<Box<serde_json::value::RawValue>>,
    pub recorded_at: DateTime<Utc>,
}

/// The log of all tenants: append, read, wait, subscribe.
#[derive(Clone)]
pub struct Log {
    db: Db,
    projections: Arc<Projections>,
    queues: Arc<queue::Queues>,
    heads: Arc<heads::Heads>,
    metadata_keys: metadata_keys::Known,
}

impl Log {
    /// Loads the projections and starts watching heads that other instances move.
    pub async fn open(db: Db) -> Result<Self, sqlx::Error> {
        let projections = Arc::new(Projections::load(&db).await?);
        let heads = heads::Heads::start(db.clone());
        Ok(Self { db, projections, queues: Arc::default(), heads, metadata_keys: metadata_keys::Known::default() })
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    pub fn projections(&self) -> &Projections {
        &self.projections
    }

    /// Creates a tenant with an empty log. False when it was there already.
    pub async fn create_tenant(&self, tenant: &Tenant, name: &str) -> Result<bool, sqlx::Error> {
        sqlx::query("insert into tenants (tenant, name, read_models) values ($1, $2, $3) on conflict do nothing")
            .bind(tenant.as_str())
            .bind(name)
            .bind(self.projections.fingerprint())
            .execute(self.db.pool())
            .await
            .map(|done| done.rows_affected() == 1)
    }

    /// Name of every tenant, in order.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, sqlx::Error> {
        let names: Vec<String> =
            sqlx::query_scalar("select tenant from tenants order by tenant").fetch_all(self.db.pool()).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Position of the last event; `None` when there is no such tenant.
    pub async fn head(&self, tenant: &Tenant) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar("select head from tenants where tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.db.pool())
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_names() {
        for good in ["a", "midori-city", "13", "x0"] {
            assert!(good.parse::<Tenant>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "みどり", "a_b", &"x".repeat(64)] {
            assert!(bad.parse::<Tenant>().is_err(), "{bad}");
        }
    }
}
