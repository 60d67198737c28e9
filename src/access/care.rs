//! Removes entries that have had their time, some at a time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;

use super::Access;
use super::search::first_id;
use crate::csv::care::pause;
use crate::log::Tenant;

/// Rows removed by one statement.
const AT_ONCE: i64 = 5_000;
/// A request or a list is used for a day after it was made, and an entry may wait a while to be written.
const MARGIN: TimeDelta = TimeDelta::days(2);

/// Tables by their keys, and whether entries name their rows.
const TABLES: [(&str, &str, bool); 3] =
    [("access_log", "id", false), ("access_people", "list", true), ("access_requests", "id", true)];

impl Access {
    /// Looks again and again, until told to stop.
    pub async fn care(self, mut stop: watch::Receiver<bool>) {
        let period = Duration::from_secs_f64(self.settings.care_seconds.clamp(0.01, 86_400.0));
        while self.settings.keep_days > 0 && pause(period, &mut stop).await {
            let before = Utc::now() - TimeDelta::days(self.settings.keep_days.into());
            let forgotten = async {
                for tenant in self.log.tenants().await? {
                    self.forget(&tenant, before).await?;
                }
                Ok::<_, sqlx::Error>(())
            };
            if let Err(error) = forgotten.await {
                tracing::warn!(%error, "old entries of the access log could not be removed");
            }
        }
    }

    async fn forget(&self, tenant: &Tenant, before: DateTime<Utc>) -> Result<(), sqlx::Error> {
        let mut conn = self.log.db().acquire(tenant).await?;
        for (table, key, named) in TABLES {
            let before = first_id(if named { before - MARGIN } else { before });
            let sql = format!(
                "delete from {table} where tenant = $1 and {key} in
                   (select {key} from {table} where tenant = $1 and {key} < $2 order by {key} limit $3)"
            );
            loop {
                let done =
                    sqlx::query(&sql).bind(tenant.as_str()).bind(before).bind(AT_ONCE).execute(&mut *conn).await?;
                if done.rows_affected() < AT_ONCE.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(())
    }
}
