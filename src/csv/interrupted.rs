//! What is left of imports whose program ended, and of plans that nobody decided on.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::job::standing;
use super::record::{JobRecord, lock_key};
use super::stage::Staging;
use crate::log::{Log, Tenant};
use crate::notice::data::Reason;

/// How the reason begins when the program ended in the middle.
pub(super) const INTERRUPTED: &str = "interrupted";

/// Whether no one holds the job any more; if so, this connection does until it lets go.
pub(super) async fn is_dead(conn: &mut PgConnection, job: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(lock_key(job)).fetch_one(conn).await
}

pub(super) async fn let_go(conn: &mut PgConnection, job: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_unlock($1)").bind(lock_key(job)).execute(conn).await.map(drop)
}

/// Closes the jobs of programs that ended in the middle: their events were never committed. Approved plans that were
/// not applied wait for a decision again.
pub async fn close_interrupted(log: &Log) -> Result<u64, sqlx::Error> {
    let mut closed = 0;
    for tenant in log.tenants().await? {
        let mut conn = log.db().acquire(&tenant).await?;
        let unfinished: Vec<Uuid> = sqlx::query_scalar(
            "select id from import_jobs where tenant = $1 and finished_at is null and state not in ('planned', 'held')",
        )
        .bind(tenant.as_str())
        .fetch_all(&mut *conn)
        .await?;
        for id in unfinished {
            if !is_dead(&mut conn, id).await? {
                continue;
            }
            closed += u64::from(close(&mut conn, &JobRecord { tenant: tenant.clone(), id }).await?);
            let_go(&mut conn, id).await?;
        }
        drop(conn);
        expire(log, &tenant).await?;
    }
    drop_left(log).await?;
    Ok(closed)
}

/// Closes a job that no one holds, if it has not ended. Says whether it failed by that.
pub(super) async fn close(conn: &mut PgConnection, record: &JobRecord) -> Result<bool, sqlx::Error> {
    let why = format!("{INTERRUPTED}: the program ended before the import was applied; nothing was changed");
    let mut tx = conn.begin().await?;
    let failed =
        !record.stand_again(&mut tx).await? && record.fail(&mut tx, Reason::Interrupted, Some(&why), None).await?;
    tx.commit().await?;
    if failed {
        Staging::of(record.id).drop(conn).await?;
    }
    Ok(failed)
}

/// A program may also end between the end of a job and that of its staging tables.
async fn drop_left(log: &Log) -> Result<(), sqlx::Error> {
    let tenants = log.tenants().await?;
    let mut conn = log.db().pool().acquire().await?;
    let left: Vec<String> = sqlx::query_scalar(
        "select distinct substring(tablename from '_([0-9a-f]{32})$') from pg_tables
          where schemaname = 'staging' and tablename ~ '_[0-9a-f]{32}$'",
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut dead = Vec::new();
    for id in left.iter().filter_map(|id| Uuid::try_parse(id).ok()) {
        if is_dead(&mut conn, id).await? {
            dead.push(id);
        }
    }
    // Asked now that no one can begin to hold them, and on this connection, which may be the only one.
    let mut kept = BTreeSet::new();
    for tenant in tenants.iter().filter(|_| !dead.is_empty()) {
        sqlx::query("select set_config('rosterhub.tenant', $1, false)")
            .bind(tenant.as_str())
            .execute(&mut *conn)
            .await?;
        kept.extend(standing(&mut conn, tenant, false).await?);
    }
    for id in dead {
        if !kept.contains(&id) {
            Staging::of(id).drop(&mut conn).await?;
        }
        let_go(&mut conn, id).await?;
    }
    Ok(())
}

/// Discards the plans whose time is over.
pub async fn expire(log: &Log, tenant: &Tenant) -> Result<(), sqlx::Error> {
    let over = standing(&mut *log.db().acquire(tenant).await?, tenant, true).await?;
    for id in over {
        let record = JobRecord { tenant: tenant.clone(), id };
        let why = "expired: nobody decided on the plan in time";
        let mut tx = log.db().begin(tenant).await?;
        let ended = record.give_up(&mut tx, Reason::Expired, None, why).await?;
        tx.commit().await?;
        if ended {
            Staging::of(id).drop(&mut *log.db().acquire(tenant).await?).await?;
        }
    }
    Ok(())
}
