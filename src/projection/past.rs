//! The read models as they stood at a position, made anew from the events alone, and compared with what the live ones
//! say of that position.

use futures::TryStreamExt;
use sqlx::{PgConnection, Row as _};

use super::shadow::Shadow;
use super::{Difference, Projections, ShadowError};
use crate::db::Db;
use crate::log::{Tenant, metadata_keys};

/// The read models of a tenant at a position, in a schema of their own. To be dropped by [`Past::drop`].
pub struct Past<'a>(Shadow<'a>);

impl Projections {
    /// Makes the read models from the events up to a position, which the log has reached and which ends a unit of work.
    /// `progress` hears events done and in all, summed over the read models.
    pub async fn past<'a>(
        &'a self,
        db: &'a Db,
        tenant: &'a Tenant,
        position: i64,
        progress: impl Fn(i64, i64) + Sync,
    ) -> Result<Past<'a>, ShadowError> {
        let mut past = Past(Shadow::create(self.all.iter().collect(), db, tenant).await?);
        match past.fill(position, progress).await {
            Ok(()) => Ok(past),
            Err(error) => {
                past.drop().await?;
                Err(error)
            }
        }
    }

    /// Compares what two connections have of a position, row by row, in every read model: versions that stand there and
    /// those that stood before. Gives the first difference, as of `live`.
    pub async fn compare(
        &self,
        tenant: &Tenant,
        position: i64,
        live: &mut PgConnection,
        made: &mut PgConnection,
    ) -> Result<Option<Difference>, sqlx::Error> {
        for projection in &self.all {
            let columns = projection.columns.trim_end_matches(", until");
            let [current, history] = projection.tables();
            let sql = format!(
                "select sourced_id, since, row({columns}, case when until <= $2 then until end)::text
                   from (select {columns}, until from {current} union all select {columns}, until from {history}) v
                  where tenant = $1 and since <= $2
                  order by sourced_id, since"
            );
            if let Some(found) = differ(&sql, tenant, position, live, made).await? {
                let (sourced_id, since, what) = found;
                let table = projection.name.to_owned();
                return Ok(Some(Difference { table, sourced_id, since, what: what.to_owned() }));
            }
        }
        Ok(None)
    }
}

type Found = (String, i64, &'static str);

/// Both sides come in one order, so that they are compared as they are read.
async fn differ(
    sql: &str,
    tenant: &Tenant,
    position: i64,
    live: &mut PgConnection,
    made: &mut PgConnection,
) -> Result<Option<Found>, sqlx::Error> {
    // Not kept: the same text means other tables where the search path is another.
    let read = || sqlx::query(sql).bind(tenant.as_str()).bind(position).persistent(false);
    let (mut live, mut made) = (read().fetch(live), read().fetch(made));
    loop {
        let (one, other) = (live.try_next().await?, made.try_next().await?);
        let key = |row: &sqlx::postgres::PgRow| Ok::<(String, i64), sqlx::Error>((row.try_get(0)?, row.try_get(1)?));
        let (key, what) = match (&one, &other) {
            (None, None) => return Ok(None),
            (Some(row), None) => (key(row)?, "unexpected"),
            (None, Some(row)) => (key(row)?, "missing"),
            (Some(left), Some(right)) => match (key(left)?, key(right)?) {
                (left, right) if left < right => (left, "unexpected"),
                (left, right) if left > right => (right, "missing"),
                (same, _) if left.try_get::<&str, _>(2)? != right.try_get::<&str, _>(2)? => (same, "different"),
                _ => continue,
            },
        };
        return Ok(Some((key.0, key.1, what)));
    }
}

impl Past<'_> {
    async fn fill(&mut self, position: i64, progress: impl Fn(i64, i64) + Sync) -> Result<(), ShadowError> {
        let Shadow { live_schema, schema, .. } = &self.0;
        let keys = format!("create unlogged table {schema}.metadata_keys (like {live_schema}.metadata_keys)");
        sqlx::query(&keys).execute(&mut *self.0.conn).await?;
        self.0.fill(position, &progress).await?;
        metadata_keys::catch_up(&mut self.0.conn, self.0.tenant, 0, position).await?;
        Ok(())
    }

    /// Makes the connection of a transaction see these read models instead of the live ones, until it ends.
    pub async fn show_to(&self, transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query("select set_config('search_path', $1, true)")
            .bind(format!("{}, {}", self.0.schema, self.0.live_schema))
            .execute(transaction)
            .await
            .map(drop)
    }

    pub async fn drop(self) -> Result<(), ShadowError> {
        self.0.drop().await
    }
}
