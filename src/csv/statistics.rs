//! What became of a tenant's imports in a span of time, in figures.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::plan::Changes;
use crate::log::{Log, Tenant};

/// Figures of the imports that were handed in from one time on and before another.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ImportStatistics", deny_unknown_fields)]
pub struct Statistics {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// How many are in which state.
    pub jobs: BTreeMap<String, i64>,
    /// Rows read, by file.
    pub rows: BTreeMap<String, i64>,
    /// What the completed ones did, by type of record.
    pub changes: BTreeMap<String, Changes>,
    /// How long phases took.
    pub phases: BTreeMap<String, PhaseTimes>,
    /// How often each code is among the errors listed.
    pub errors: BTreeMap<String, i64>,
}

/// Seconds that a phase took.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PhaseTimes {
    /// Imports that went through it.
    pub count: i64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 95 % of them took no longer.
    pub p95: f64,
}

/// SQL: the imports that count.
const SPAN: &str = "import_jobs j where j.tenant = $1 and j.created_at >= $2 and j.created_at < $3";

/// Figures of the imports handed in from `from` on and before `to`, all of one moment.
pub async fn statistics(
    log: &Log,
    tenant: &Tenant,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Statistics, sqlx::Error> {
    let mut tx = log.db().snapshot(tenant).await?;
    let sums = |member: &str| {
        format!(
            "select m.key, sum((m.value #>> '{{}}')::bigint)::bigint
               from (select j.{member} as counts from {SPAN}) j cross join lateral json_each(j.counts) m
              where json_typeof(m.value) = 'number' group by 1"
        )
    };
    let changes = format!(
        "select e.key, k.key, sum((k.value #>> '{{}}')::bigint)::bigint
           from (select j.changes from {SPAN} and j.state = 'completed') j
                cross join lateral json_each(j.changes) e cross join lateral json_each(e.value) k
          group by 1, 2"
    );
    let phases = format!(
        "select p.key, count(*), percentile_cont(0.5) within group (order by (p.value #>> '{{}}')::float8),
                percentile_cont(0.95) within group (order by (p.value #>> '{{}}')::float8)
           from (select j.phases from {SPAN}) j cross join lateral json_each(j.phases) p group by 1"
    );
    let counted = [format!("select j.state, count(*) from {SPAN} group by 1"), sums("rows"), sums("errors_by_code")];
    let mut found: Vec<BTreeMap<String, i64>> = Vec::new();
    for sql in &counted {
        let rows: Vec<(String, i64)> =
            sqlx::query_as(sql).bind(tenant.as_str()).bind(from).bind(to).fetch_all(&mut *tx).await?;
        found.push(rows.into_iter().collect());
    }
    let changed: Vec<(String, String, i64)> =
        sqlx::query_as(&changes).bind(tenant.as_str()).bind(from).bind(to).fetch_all(&mut *tx).await?;
    let times: Vec<(String, i64, f64, f64)> =
        sqlx::query_as(&phases).bind(tenant.as_str()).bind(from).bind(to).fetch_all(&mut *tx).await?;
    let mut changes: BTreeMap<String, Changes> = BTreeMap::new();
    for (kind, what, count) in changed {
        *changes.entry(kind).or_default().of(&what) += count;
    }
    let phases = times.into_iter().map(|(phase, count, p50, p95)| (phase, PhaseTimes { count, p50, p95 })).collect();
    let [jobs, rows, errors] = found.try_into().unwrap_or_default();
    Ok(Statistics { from, to, jobs, rows, changes, phases, errors })
}
