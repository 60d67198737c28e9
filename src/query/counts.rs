//! How many rows a list has: exact, and counted once for each log position.

use sqlx::PgConnection;

use super::list::Query;
use crate::db::Db;
use crate::log::Tenant;
use crate::roster::EntityType;

/// Counts by tenant, position and what was counted. Since a past position never changes, neither does a count.
#[derive(Clone)]
pub struct Counts {
    db: Db,
    known: moka::future::Cache<(Tenant, i64, String), i64>,
    /// Of whole read models: the position they stood at when they were counted last, and the count.
    whole: moka::sync::Cache<(Tenant, EntityType), (i64, i64)>,
}

const REMEMBERED: u64 = 100_000;
/// A count further back than so many events is not carried on: reading them costs as much as counting anew.
const NEAR: i64 = 10_000;

impl Counts {
    pub fn new(db: Db) -> Self {
        Self { db, known: moka::future::Cache::new(REMEMBERED), whole: moka::sync::Cache::new(REMEMBERED) }
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
                let (head, count) = match query.is_whole() {
                    true => self.count_whole(&mut conn, tenant, query.kind(), position).await?,
                    false => query.count(&mut conn, tenant, None).await?,
                };
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
        let count = match as_of.is_none() && query.is_whole() {
            true => self.count_whole(conn, tenant, query.kind(), position).await?.1,
            false => query.count(conn, tenant, as_of).await?.1,
        };
        self.known.insert(key, count).await;
        Ok(count)
    }

    /// Head of the log, and rows of a whole read model. No row ever leaves one, and the first event of a record brings
    /// it: so what came since the last count is found in the log.
    async fn count_whole(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        kind: EntityType,
        near: i64,
    ) -> Result<(i64, i64), sqlx::Error> {
        let key = (tenant.clone(), kind);
        let last = self.whole.get(&key).filter(|(at, _)| near - at <= NEAR);
        let (head, at, more): (i64, i64, i64) = match last {
            Some((at, _)) => {
                let sql = "select t.head, t.projected, (select count(*) from events e
                             where e.tenant = $1 and e.position > $2 and e.position <= t.projected
                               and e.aggregate_type = $3 and e.sequence = 1)
                             from tenants t where t.tenant = $1";
                sqlx::query_as(sql).bind(tenant.as_str()).bind(at).bind(kind.name()).fetch_one(conn).await?
            }
            None => {
                let table = kind.entity().table;
                let sql = format!(
                    "select t.head, t.projected, (select count(*) from {table} r where r.tenant = $1)
                       from tenants t where t.tenant = $1"
                );
                sqlx::query_as(&sql).bind(tenant.as_str()).fetch_one(conn).await?
            }
        };
        let count = last.map_or(0, |(_, count)| count) + more;
        self.whole.insert(key, (at, count));
        Ok((head, count))
    }
}
