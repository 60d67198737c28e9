//! How many rows a list has: exact, and counted once for each log position.

use super::list::Query;
use crate::db::Db;
use crate::log::Tenant;

/// Counts by tenant, position and what was counted. Since a past position never changes, neither does a count.
#[derive(Clone)]
pub struct Counts {
    db: Db,
    known: moka::future::Cache<(Tenant, i64, String), i64>,
}

const REMEMBERED: u64 = 100_000;

impl Counts {
    pub fn new(db: Db) -> Self {
        Self { db, known: moka::future::Cache::new(REMEMBERED) }
    }

    /// Rows of the query at `position`. `mark`: tells queries apart. `current`: the position was the head just now.
    pub async fn count(
        &self,
        query: &Query,
        mark: &str,
        tenant: &Tenant,
        position: i64,
        current: bool,
    ) -> Result<i64, std::sync::Arc<sqlx::Error>> {
        let count = async {
            let mut conn = self.db.acquire(tenant).await?;
            if current {
                let (head, count) = query.count(&mut conn, tenant, None).await?;
                if head == position {
                    return Ok(count);
                }
            }
            Ok(query.count(&mut conn, tenant, Some(position)).await?.1)
        };
        // Asked for by many at a time, it is counted once.
        self.known.try_get_with((tenant.clone(), position, mark.to_owned()), count).await
    }

    /// The same on a connection whose snapshot the position was read in; `as_of` is none when it is the head there.
    /// Waits for no other connection: whoever holds one and waits for another stands in the way of all others.
    pub async fn count_on(
        &self,
        conn: &mut sqlx::PgConnection,
        query: &Query,
        mark: &str,
        tenant: &Tenant,
        position: i64,
        as_of: Option<i64>,
    ) -> Result<i64, sqlx::Error> {
        let key = (tenant.clone(), position, mark.to_owned());
        if let Some(known) = self.known.get(&key).await {
            return Ok(known);
        }
        let count = query.count(conn, tenant, as_of).await?.1;
        self.known.insert(key, count).await;
        Ok(count)
    }
}
