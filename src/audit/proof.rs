//! Proofs from the stored tree: that an event is in it, and that it only ever grew.

use sqlx::PgConnection;
use tlog_tiles::tlog::{Error, Hash};

use super::leaf::Leaf;
use super::tiles::Reader;
use super::tree::{leaves, tiles};
use super::{Audit, AuditError, base64};
use crate::log::Tenant;

impl Audit {
    /// Events that the tree holds.
    pub async fn size(&self, tenant: &Tenant) -> Result<i64, AuditError> {
        let size = sqlx::query_scalar("select size from audit_trees where tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(self.log.db().pool())
            .await?;
        Ok(size.unwrap_or(0))
    }

    /// Hashes that prove that the event at `position` is in the tree of `size` events (RFC 6962, section 2.1.1).
    pub async fn inclusion(&self, tenant: &Tenant, position: i64, size: i64) -> Result<Vec<Hash>, AuditError> {
        self.within(tenant, size, position).await?;
        self.prove(tenant, |reader| reader.inclusion(position as u64 - 1, size as u64)).await
    }

    /// Hashes that prove that the tree of `new` events begins with that of `old` (RFC 6962, section 2.1.2).
    pub async fn consistency(&self, tenant: &Tenant, old: i64, new: i64) -> Result<Vec<Hash>, AuditError> {
        self.within(tenant, new, old).await?;
        self.prove(tenant, |reader| reader.consistency(old as u64, new as u64)).await
    }

    /// The event at a position, with what its leaf is made of.
    pub async fn leaf(&self, tenant: &Tenant, position: i64) -> Result<Leaf, AuditError> {
        let mut conn = self.log.db().acquire(tenant).await?;
        let found = leaves(&mut conn, tenant, position - 1, 1).await?.pop();
        found.ok_or_else(|| AuditError::Damaged(format!("position {position}, which the log does not have")))
    }

    /// 1 <= inner <= size <= what there is.
    async fn within(&self, tenant: &Tenant, size: i64, inner: i64) -> Result<(), AuditError> {
        let there = self.size(tenant).await?;
        match inner.max(size) {
            position if position > there => Err(AuditError::NotYet { position, size: there }),
            _ if inner < 1 || inner > size => Err(AuditError::OutOfRange),
            _ => Ok(()),
        }
    }

    async fn prove(
        &self,
        tenant: &Tenant,
        attempt: impl Fn(&Reader) -> Result<Vec<Hash>, Error>,
    ) -> Result<Vec<Hash>, AuditError> {
        let mut conn = self.log.db().acquire(tenant).await?;
        prove(&mut conn, tenant, &mut Reader::default(), attempt).await
    }
}

/// Hashes as they are told: in base64.
pub fn texts(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| base64::encode(&hash.0)).collect()
}

/// Attempts a proof, reads the tiles that it turned out to need, and attempts it again.
pub async fn prove(
    conn: &mut PgConnection,
    tenant: &Tenant,
    reader: &mut Reader,
    attempt: impl Fn(&Reader) -> Result<Vec<Hash>, Error>,
) -> Result<Vec<Hash>, AuditError> {
    let damaged = |error: Error| AuditError::Damaged(error.to_string());
    loop {
        let outcome = attempt(reader);
        let wanted: Vec<_> = reader.wanted().into_iter().collect();
        if wanted.is_empty() {
            return outcome.map_err(damaged);
        }
        let found = tiles(conn, tenant, &wanted).await?;
        if found.len() < wanted.len() {
            return outcome.map_err(damaged);
        }
        reader.tiles.extend(found);
    }
}
