//! Which subscribers have taken note of an erasure.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::Erasures;
use crate::log::Tenant;
use crate::notice::data::option_milliseconds;

/// A subscriber, and whether it has been told.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Acknowledgement {
    /// `webhook`, `feed` (a cursor of the feed) or `export` (a cursor of exports).
    pub kind: String,
    /// Client that it belongs to.
    pub client: String,
    /// Id of the endpoint, or name of the cursor.
    pub name: String,
    /// It has answered the message, or acknowledged a position at or after that of the erasure.
    pub acknowledged: bool,
    /// When, where that is known.
    #[serde(serialize_with = "option_milliseconds", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub acknowledged_at: Option<DateTime<Utc>>,
}

impl Erasures {
    /// All subscribers of the tenant, as they stand to a log position. Webhooks that have not asked for the event are
    /// not among them.
    pub async fn acknowledged(&self, tenant: &Tenant, position: i64) -> Result<Vec<Acknowledgement>, sqlx::Error> {
        let mut conn = self.log.db().acquire(tenant).await?;
        sqlx::query_as(
            "select 'webhook' as kind, e.client::text as client, e.id::text as name, d.state = 'delivered' as acknowledged,
                    case when d.state = 'delivered' then d.finished_at end as acknowledged_at
               from webhook_endpoints e
                    join webhook_deliveries d on d.tenant = $1 and d.endpoint = e.id and d.position = $2
                                             and d.notice is null
              where e.tenant = $1
             union all
             select 'feed', client, name, position >= $2, case when position >= $2 then acknowledged_at end
               from feed_cursors where tenant = $1
             union all
             select 'export', client, name, position >= $2, case when position >= $2 then updated_at end
               from export_cursors where tenant = $1
             order by 1, 2, 3",
        )
        .bind(tenant.as_str())
        .bind(position)
        .fetch_all(&mut *conn)
        .await
    }
}
