//! The keys that sign checkpoints: made once for the installation, kept sealed.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::note::Verifier;
use super::{Audit, AuditError};
use crate::log::Tenant;

/// What a sealed key is bound to.
const CONTEXT: &str = "audit_keys";

impl Audit {
    /// The key that signs; the first call of all makes it.
    pub async fn signer(&self) -> Result<Ed25519KeyPair, AuditError> {
        let mut tx = self.log.db().pool().begin().await?;
        sqlx::query("lock table audit_keys in share row exclusive mode").execute(&mut *tx).await?;
        let sealed: Option<Vec<u8>> =
            sqlx::query_scalar("select sealed from audit_keys order by created_at desc limit 1")
                .fetch_optional(&mut *tx)
                .await?;
        let private = match sealed {
            Some(sealed) => self.vault.unseal(&sealed, CONTEXT)?,
            None => {
                let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| AuditError::BadKey)?;
                let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).map_err(|_| AuditError::BadKey)?;
                sqlx::query("insert into audit_keys (public_key, sealed) values ($1, $2)")
                    .bind(pair.public_key().as_ref())
                    .bind(self.vault.seal(made.as_ref(), CONTEXT)?)
                    .execute(&mut *tx)
                    .await?;
                made.as_ref().to_vec()
            }
        };
        tx.commit().await?;
        Ed25519KeyPair::from_pkcs8(&private).map_err(|_| AuditError::BadKey)
    }

    /// The keys that verify the tenant's checkpoints, the newest first.
    pub async fn verifiers(&self, tenant: &Tenant) -> Result<Vec<Verifier>, AuditError> {
        let keys: Vec<Vec<u8>> = sqlx::query_scalar("select public_key from audit_keys order by created_at desc")
            .fetch_all(self.log.db().pool())
            .await?;
        Ok(keys.into_iter().map(|public_key| Verifier { name: self.origin(tenant), public_key }).collect())
    }
}
