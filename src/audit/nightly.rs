//! Checks that run by themselves: once a day, the log against its tree and the read models against the log.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use tokio::sync::watch;

use super::{Audit, AuditError};
use crate::csv::care::pause;
use crate::log::Tenant;
use crate::notice::{self, Kind, data};
use crate::projection::ShadowError;

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(20);

/// A day's checks of a board.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditCheck", deny_unknown_fields)]
pub struct Check {
    /// In UTC.
    #[schemars(with = "String")]
    pub day: NaiveDate,
    #[serde(serialize_with = "data::milliseconds")]
    pub started_at: DateTime<Utc>,
    /// Without it, the checks have not ended, or the instance that ran them has.
    #[serde(serialize_with = "data::option_milliseconds", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub finished_at: Option<DateTime<Utc>>,
    /// Log position of the read models that were checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub position: Option<i64>,
    /// What the log has that its tree or its checkpoints have not: kind, first and last position. Empty: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<super::verify::Finding>")]
    pub history: Option<Json<Box<RawValue>>>,
    /// The first row of a read model that is not what the log says. Absent: there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "data::AuditDifference")]
    pub read_models: Option<Json<Box<RawValue>>>,
}

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl Audit {
    /// Runs the checks of each day after `time` (UTC), until told to stop. Of several instances, the first one runs
    /// those of a tenant.
    pub async fn nightly(self, time: NaiveTime, mut stop: watch::Receiver<bool>) {
        loop {
            let now = Utc::now();
            if now.time() >= time {
                for tenant in self.log.tenants().await.unwrap_or_default() {
                    if *stop.borrow() {
                        return;
                    }
                    if let Err(error) = self.check(&tenant, now.date_naive()).await {
                        tracing::error!(%tenant, %error, "the nightly checks could not run");
                    }
                }
            }
            if !pause(LOOK, &mut stop).await {
                return;
            }
        }
    }

    /// The day's checks, unless they have begun already.
    async fn check(&self, tenant: &Tenant, day: NaiveDate) -> Result<(), CheckError> {
        let mut conn = self.log.db().acquire(tenant).await?;
        let begun = sqlx::query("insert into audit_checks (tenant, day) values ($1, $2) on conflict do nothing")
            .bind(tenant.as_str())
            .bind(day)
            .execute(&mut *conn)
            .await?;
        drop(conn);
        if begun.rows_affected() == 0 {
            return Ok(());
        }
        let report = self.verify(tenant, &[], &[], |_, _| {}).await?;
        let (position, difference) = self.log.projections().verify(self.log.db(), tenant, |_, _| {}).await?;
        let difference = difference.map(|d| data::AuditDifference {
            table: d.table,
            sourced_id: d.sourced_id,
            since: d.since,
            what: d.what,
        });
        let mut tx = self.log.db().begin(tenant).await?;
        sqlx::query(
            "update audit_checks set finished_at = now(), position = $3, history = $4, read_models = $5
              where tenant = $1 and day = $2",
        )
        .bind(tenant.as_str())
        .bind(day)
        .bind(position)
        .bind(Json(&report.findings))
        .bind(difference.as_ref().map(Json))
        .execute(&mut *tx)
        .await?;
        match report.found == 0 && difference.is_none() {
            true => tracing::info!(%tenant, position, events = report.events, "the nightly checks found nothing"),
            false => {
                let failed = data::AuditFailed {
                    position,
                    findings: report.found as i64,
                    history: report.findings.into_iter().take(20).collect(),
                    read_models: difference,
                };
                tracing::error!(%tenant, position, findings = failed.findings, "the nightly checks found differences");
                notice::tell(&mut tx, tenant, Kind::AuditFailed, &failed).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Checks of the last days, the latest first.
    pub async fn checks(&self, tenant: &Tenant, limit: i64) -> Result<Vec<Check>, AuditError> {
        let mut conn = self.log.db().acquire(tenant).await?;
        Ok(sqlx::query_as(
            "select day, started_at, finished_at, position, history, read_models from audit_checks
              where tenant = $1 order by day desc limit $2",
        )
        .bind(tenant.as_str())
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?)
    }
}
