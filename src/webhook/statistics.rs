//! How deliveries to an endpoint have gone, in figures.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::log::{Log, Tenant};

/// Hours that are told one by one, at most.
pub const MOST_HOURS: i64 = 168;

/// Attempts by what came of them.
type Outcomes = BTreeMap<String, i64>;

/// What came of those that went well.
const DELIVERED: &str = "delivered";

/// Figures of the attempts that began from one time on and before another.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookStatistics", deny_unknown_fields)]
pub struct Statistics {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub attempts: i64,
    /// Attempts by what came of them: `delivered`; `3xx`, `4xx`, `5xx` by the status of the answer; without one, why it
    /// failed, as `timeout`, `connect`, `tls`, `dns`, `forbidden` or `broken`.
    pub outcomes: Outcomes,
    /// Part of the attempts that delivered, from 0 to 1; not there when there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_rate: Option<f64>,
    /// Not there when there were no attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<Latency>,
    /// Messages by state: those that wait now, and those that were done with in this time.
    pub messages: BTreeMap<String, i64>,
    /// Of the messages that wait, the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending: Option<Oldest>,
    /// Log positions that the endpoint has not got to: while it is paused or disabled, or busy.
    pub behind: i64,
    /// The hours in which there were attempts, the last 168 at most.
    pub hours: Vec<Hour>,
}

/// Milliseconds from the beginning of an attempt until the answer was read, or until it failed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline, deny_unknown_fields)]
pub struct Latency {
    /// Half of the attempts took no longer.
    pub p50: f64,
    /// 95 % of them took no longer.
    pub p95: f64,
    /// 99 % of them took no longer.
    pub p99: f64,
}

/// A message that waits to be delivered.
#[derive(Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(inline, deny_unknown_fields)]
pub struct Oldest {
    /// Its `webhook-id`.
    pub message: String,
    /// Log position that it stands at.
    pub position: i64,
    pub created_at: DateTime<Utc>,
}

/// Attempts of an hour.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline, deny_unknown_fields)]
pub struct Hour {
    /// Its beginning.
    pub hour: DateTime<Utc>,
    /// As those of the whole time.
    pub outcomes: Outcomes,
}

/// Figures from `since` on and before `until`, all of one moment. The indexes that the delivery log has anyway serve:
/// 5,000 attempts of a day take some 40 ms, 150,000 of a month under a second.
pub async fn statistics(
    log: &Log,
    tenant: &Tenant,
    endpoint: Uuid,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Statistics, sqlx::Error> {
    let mut tx = log.db().snapshot(tenant).await?;
    let counted: Vec<(DateTime<Utc>, String, i64)> = sqlx::query_as(
        "select date_trunc('hour', at, 'UTC'),
                case when failure is null then $5 when status is null then failure else status / 100 || 'xx' end, count(*)
           from webhook_attempts where tenant = $1 and endpoint = $2 and at >= $3 and at < $4 group by 1, 2 order by 1",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(since)
    .bind(until)
    .bind(DELIVERED)
    .fetch_all(&mut *tx)
    .await?;
    let latency: Option<Vec<f64>> = sqlx::query_scalar(
        "select percentile_cont(array[0.5, 0.95, 0.99]) within group (order by latency_ms)
           from webhook_attempts where tenant = $1 and endpoint = $2 and at >= $3 and at < $4",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(since)
    .bind(until)
    .fetch_one(&mut *tx)
    .await?;
    let messages: Vec<(String, i64)> = sqlx::query_as(
        "select state, count(*) from webhook_deliveries
          where tenant = $1 and endpoint = $2 and (state = 'pending' or finished_at >= $3 and finished_at < $4)
          group by 1",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(since)
    .bind(until)
    .fetch_all(&mut *tx)
    .await?;
    let oldest_pending: Option<Oldest> = sqlx::query_as(
        "select message, position, created_at from webhook_deliveries
          where tenant = $1 and endpoint = $2 and state = 'pending' order by sequence limit 1",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .fetch_optional(&mut *tx)
    .await?;
    let behind: Option<i64> = sqlx::query_scalar(
        "select greatest(t.head - l.position, 0) from webhook_lanes l join tenants t on t.tenant = l.tenant
          where l.endpoint = $1",
    )
    .bind(endpoint)
    .fetch_optional(&mut *tx)
    .await?;

    let mut outcomes = Outcomes::new();
    let mut hours: Vec<Hour> = Vec::new();
    let first = until - TimeDelta::hours(MOST_HOURS);
    for (hour, outcome, count) in counted {
        *outcomes.entry(outcome.clone()).or_default() += count;
        if hour <= first {
            continue;
        }
        match hours.last_mut().filter(|last| last.hour == hour) {
            Some(last) => _ = last.outcomes.insert(outcome, count),
            None => hours.push(Hour { hour, outcomes: Outcomes::from([(outcome, count)]) }),
        }
    }
    let attempts: i64 = outcomes.values().sum();
    let delivered = outcomes.get(DELIVERED).copied().unwrap_or_default();
    Ok(Statistics {
        since,
        until,
        attempts,
        success_rate: (attempts > 0).then(|| delivered as f64 / attempts as f64),
        outcomes,
        latency_ms: latency.and_then(|found| match found[..] {
            [p50, p95, p99] => Some(Latency { p50, p95, p99 }),
            _ => None,
        }),
        messages: messages.into_iter().collect(),
        oldest_pending,
        behind: behind.unwrap_or_default(),
        hours,
    })
}
