//! Positions and times.

use chrono::{DateTime, Utc};

use super::{Log, Tenant};

impl Log {
    /// Position of the last event recorded at or before a time; 0 when there is none. Since time never goes backwards
    /// along positions, it is found by halving.
    pub async fn position_at(&self, tenant: &Tenant, time: DateTime<Utc>) -> Result<i64, sqlx::Error> {
        let mut conn = self.db.acquire(tenant).await?;
        sqlx::query_scalar(
            "with recursive halves (low, high) as (
               select 0::bigint, head from tenants where tenant = $1
               union all
               select case when e.recorded_at <= $2 then e.position else h.low end,
                      case when e.recorded_at <= $2 then h.high else e.position - 1 end
                 from halves h, events e
                where h.low < h.high and e.tenant = $1 and e.position = (h.low + h.high + 1) / 2)
             select coalesce(min(low), 0) from halves where low = high",
        )
        .bind(tenant.as_str())
        .bind(time)
        .fetch_one(&mut *conn)
        .await
    }
}
