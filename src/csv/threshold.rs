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
    for (kind, mode) in modes {
        let all = counts.all.get(kind).copied().unwrap_or_default();
        if all.withdrawn.max(all.changed) < settings.min_records {
            continue;
        }
        // A bulk file names all that stands, so that it need not be counted.
        let active = match mode {
            Mode::Bulk => None,
            Mode::Delta => Some(active(conn, tenant, *kind).await?),
        };
        let standing = |school: Option<&String>, changes: &Changes| match &active {
            None => changes.changed + changes.withdrawn + changes.unchanged,
            Some(active) => match school {
                None => active.values().sum(),
                Some(school) => active.get(&Some(school.clone())).copied().unwrap_or_default(),
            },
        };
        let mut measure = |school: Option<&String>, changes: &Changes| {
            for (what, records, limit) in [
                ("withdrawn", changes.withdrawn, settings.max_withdrawn_percent),
                ("changed", changes.changed, settings.max_changed_percent),
            ] {
                let active = standing(school, changes);
                if records >= settings.min_records && records as f64 > active as f64 * limit / 100.0 {
                    let school = school.cloned();
                    found.push(Passed { entity: *kind, school, kind: what.to_owned(), records, active, limit });
                }
            }
        };
        measure(None, &all);
        for (school, counts) in &counts.schools {
            if let Some(changes) = counts.get(kind) {
                measure(Some(school), changes);
            }
        }
    }
    found.sort_by_key(|passed| passed.school.is_some());
    found.truncate(MOST_LISTED);
    Ok(found)
}

/// Active records by org.
async fn active(
    conn: &mut PgConnection,
    tenant: &Tenant,
    kind: EntityType,
) -> Result<BTreeMap<Option<String>, i64>, sqlx::Error> {
    let sql = format!(
        "select {}, count(*) from {} c where c.tenant = $1 and c.status = 'active' group by 1",
        school_of(kind),
        kind.entity().table
    );
    let found: Vec<(Option<String>, i64)> = sqlx::query_as(&sql).bind(tenant.as_str()).fetch_all(conn).await?;
    Ok(found.into_iter().collect())
}
