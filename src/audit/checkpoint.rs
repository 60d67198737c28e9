//! Checkpoints: signed statements of what a tree was at a size.

use chrono::{DateTime, Utc};

use super::note::Head;
use super::{Audit, AuditError};
use crate::log::Tenant;

/// A checkpoint as it was published.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Checkpoint {
    /// Events that it covers: those at positions 1 to this.
    pub size: i64,
    /// C2SP signed note.
    pub note: String,
    pub created_at: DateTime<Utc>,
}

impl Audit {
    /// Signs what the tree holds, if it has grown since the last checkpoint. `spaced`: and only when that was long
    /// enough ago.
    pub async fn sign(&self, tenant: &Tenant, spaced: bool) -> Result<Option<Checkpoint>, AuditError> {
        let mut conn = self.log.db().acquire(tenant).await?;
        let due: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "select t.size, t.root from audit_trees t
              where t.tenant = $1 and t.size > 0
                and t.size > t.signed
                and not ($2 and exists (select from audit_checkpoints c
                                         where c.tenant = $1 and c.size = t.signed
                                           and c.created_at > now() - make_interval(secs => $3)))",
        )
        .bind(tenant.as_str())
        .bind(spaced)
        .bind(self.checkpoint_seconds)
        .fetch_optional(&mut *conn)
        .await?;
        let Some((size, root)) = due else { return Ok(None) };
        let root = root.try_into().map_err(|_| AuditError::Damaged(format!("the root at {size}")))?;
        let head = Head { size: size as u64, root };
        let note = head.sign(&self.origin(tenant), &self.signer().await?).map_err(|_| AuditError::BadKey)?;
        let made = sqlx::query_as(
            "with signed as (update audit_trees set signed = greatest(signed, $2) where tenant = $1)
             insert into audit_checkpoints (tenant, size, note) values ($1, $2, $3) on conflict do nothing
             returning size, note, created_at",
        )
        .bind(tenant.as_str())
        .bind(size)
        .bind(note)
        .fetch_optional(&mut *conn)
        .await?;
        Ok(made)
    }

    /// The latest checkpoint.
    pub async fn checkpoint(&self, tenant: &Tenant) -> Result<Checkpoint, AuditError> {
        self.checkpoints(tenant, i64::MAX, 1).await?.pop().ok_or(AuditError::NoCheckpoint)
    }

    /// Checkpoints of at most this size, the largest first.
    pub async fn checkpoints(&self, tenant: &Tenant, size: i64, limit: i64) -> Result<Vec<Checkpoint>, AuditError> {
        let mut conn = self.log.db().acquire(tenant).await?;
        Ok(sqlx::query_as(
            "select size, note, created_at from audit_checkpoints
              where tenant = $1 and size <= $2 order by size desc limit $3",
        )
        .bind(tenant.as_str())
        .bind(size)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?)
    }
}
