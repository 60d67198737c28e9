//! What makes an import wait: it withdraws or changes too large a part of what stands.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::manifest::Mode;
use super::plan::{Changes, Counts};
use super::stage::school_of;
use crate::config::ImportsConfig;
use crate::log::Tenant;
use crate::roster::EntityType;

/// Of a board with very many schools not every one is listed.
const MOST_LISTED: usize = 500;

/// A threshold that a plan passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PassedThreshold", deny_unknown_fields)]
pub struct Passed {
    /// Type of the records, as references name it.
    #[schemars(with = "String")]
    pub entity: EntityType,
    /// Org that is meant; the whole board without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub school: Option<String>,
    /// `withdrawn` or `changed`.
    pub kind: String,
    /// Records that would be.
    pub records: i64,
    /// Active records, out of which they are.
    pub active: i64,
    /// Percent that may be without a question.
    pub limit: f64,
}

/// The thresholds that the plan passes, the whole board's first. A first import passes none: nothing stands yet.
pub async fn passed(
    conn: &mut PgConnection,
    tenant: &Tenant,
    settings: &ImportsConfig,
    counts: &Counts,
    modes: &[(EntityType, Mode)],
) -> Result<Vec<Passed>, sqlx::Error> {
    let mut found = Vec::new();
    let limits = |changes: &Changes| {
        let all = [
            ("withdrawn", changes.withdrawn, settings.max_withdrawn_percent),
            ("changed", changes.changed, settings.max_changed_percent),
        ];
        all.into_iter().filter(|(_, records, _)| *records >= settings.min_records)
    };
    for (kind, mode) in modes {
        let Some(all) = counts.all.get(kind).filter(|all| limits(all).next().is_some()) else { continue };
        let schools = counts.schools.iter().filter_map(|(school, counts)| Some((school, counts.get(kind)?)));
        let schools: Vec<_> = schools.filter(|(_, changes)| limits(changes).next().is_some()).collect();
        // A bulk file names all that stands, so that it need not be counted. Else no more than would matter is.
        let standing = match mode {
            Mode::Bulk => None,
            Mode::Delta => {
                let enough = limits(all).map(|(_, records, limit)| (records as f64 * 100.0 / limit) as i64).max();
                let total = active(conn, tenant, *kind, enough.unwrap_or_default().saturating_add(1)).await?;
                let ids: Vec<&String> = schools.iter().map(|(school, _)| *school).collect();
                Some((total, active_at(conn, tenant, *kind, &ids).await?))
            }
        };
        let mut measure = |school: Option<&String>, changes: &Changes| {
            let active = match (&standing, school) {
                (None, _) => changes.changed + changes.withdrawn + changes.unchanged,
                (Some((total, _)), None) => *total,
                (Some((_, schools)), Some(school)) => schools.get(school).copied().unwrap_or_default(),
            };
            for (what, records, limit) in limits(changes) {
                if records as f64 > active as f64 * limit / 100.0 {
                    let school = school.cloned();
                    found.push(Passed { entity: *kind, school, kind: what.to_owned(), records, active, limit });
                }
            }
        };
        measure(None, all);
        for (school, changes) in schools {
            measure(Some(school), changes);
        }
    }
    found.sort_by_key(|passed| passed.school.is_some());
    found.truncate(MOST_LISTED);
    Ok(found)
}

/// Active records, counted as far as `enough`.
async fn active(conn: &mut PgConnection, tenant: &Tenant, kind: EntityType, enough: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(&format!(
        "select count(*) from (select from {} c where c.tenant = $1 and c.status = 'active' limit $2) c",
        kind.entity().table
    ))
    .bind(tenant.as_str())
    .bind(enough)
    .fetch_one(conn)
    .await
}

/// Active records of these orgs.
async fn active_at(
    conn: &mut PgConnection,
    tenant: &Tenant,
    kind: EntityType,
    schools: &[&String],
) -> Result<BTreeMap<String, i64>, sqlx::Error> {
    if schools.is_empty() {
        return Ok(BTreeMap::new());
    }
    let school = school_of(kind);
    let sql = format!(
        "select {school}, count(*) from {} c where c.tenant = $1 and c.status = 'active' and {school} = any($2) group by 1",
        kind.entity().table
    );
    let found: Vec<(String, i64)> = sqlx::query_as(&sql).bind(tenant.as_str()).bind(schools).fetch_all(conn).await?;
    Ok(found.into_iter().collect())
}
