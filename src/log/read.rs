//! Reading events by position.

use super::{Log, RecordedEvent, Tenant};

impl Log {
    /// Events after `position`, in order, at most `limit`. A short answer means that the head was reached.
    pub async fn read(&self, tenant: &Tenant, after: i64, limit: i64) -> Result<Vec<RecordedEvent>, sqlx::Error> {
        let mut conn = self.db.acquire(tenant).await?;
        read(&mut conn, tenant, after, limit).await
    }
}

pub(super) async fn read(
    conn: &mut sqlx::PgConnection,
    tenant: &Tenant,
    after: i64,
    limit: i64,
) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    sqlx::query_as(
        "select position, unit, aggregate_type, aggregate_id, sequence, event_type, event_version,
                payload, metadata, recorded_at
           from events
          where tenant = $1 and position > $2 and position <= $2 + $3
          order by position",
    )
    .bind(tenant.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
}
