//! The care of imports in a program that serves: what has had its time goes, and what waits goes on.

use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::intake::Intake;
use super::interrupted::expire;
use super::uploads::Uploads;
use crate::config::ImportsConfig;
use crate::log::{Log, Tenant};

/// Errors removed by one statement.
const AT_ONCE: i64 = 10_000;
/// Uploads are looked at at least so often: whole ones may wait for a place.
const UPLOADS: Duration = Duration::from_secs(10);

/// Waits, and says whether to go on: not when told to stop.
pub async fn pause(period: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(period) => true,
        _ = stop.wait_for(|stop| *stop) => false,
    }
}

/// Looks at plans and errors again and again, until told to stop.
pub async fn jobs(intake: Intake, mut stop: watch::Receiver<bool>) {
    let (log, settings) = (intake.log(), &intake.settings);
    loop {
        if let Err(error) = look(log, settings).await {
            tracing::warn!(%error, "imports could not be looked after");
        }
        if !pause(period(settings), &mut stop).await {
            return;
        }
    }
}

/// The same for uploads.
pub async fn uploads(uploads: Uploads, settings: ImportsConfig, mut stop: watch::Receiver<bool>) {
    loop {
        if let Err(error) = uploads.sweep().await {
            tracing::warn!(%error, "uploads could not be looked after");
        }
        if !pause(period(&settings).min(UPLOADS), &mut stop).await {
            return;
        }
    }
}

fn period(settings: &ImportsConfig) -> Duration {
    Duration::from_secs(settings.care_seconds.max(1))
}

async fn look(log: &Log, settings: &ImportsConfig) -> Result<(), sqlx::Error> {
    for tenant in log.tenants().await? {
        expire(log, &tenant).await?;
        forget_errors(log, &tenant, settings.keep_days).await?;
    }
    Ok(())
}

/// Removes the errors of imports that ended so many days ago. The jobs and their counts stay.
async fn forget_errors(log: &Log, tenant: &Tenant, days: u32) -> Result<(), sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    let jobs: Vec<Uuid> = sqlx::query_scalar(
        "select id from import_jobs
          where tenant = $1 and finished_at < now() - make_interval(days => $2) and errors > 0
            and errors_kept is distinct from 0",
    )
    .bind(tenant.as_str())
    .bind(i32::try_from(days).unwrap_or(i32::MAX))
    .fetch_all(&mut *conn)
    .await?;
    for job in jobs {
        loop {
            let removed = sqlx::query(
                "delete from import_errors where tenant = $1 and job = $2 and number in
                   (select number from import_errors where tenant = $1 and job = $2 order by number limit $3)",
            )
            .bind(tenant.as_str())
            .bind(job)
            .bind(AT_ONCE)
            .execute(&mut *conn)
            .await?;
            if removed.rows_affected() < AT_ONCE.unsigned_abs() {
                break;
            }
        }
        sqlx::query("update import_jobs set errors_kept = 0 where tenant = $1 and id = $2")
            .bind(tenant.as_str())
            .bind(job)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
