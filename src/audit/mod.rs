//! Proof of history: a Merkle tree per tenant over its events, signed checkpoints, and what rests on them.
//! See docs/decisions/0024-tamper-evidence.md.

pub mod base64;
pub mod bundle;
pub mod checkpoint;
pub mod keeper;
pub mod keys;
pub mod leaf;
pub mod nightly;
pub mod note;
pub mod proof;
pub mod subject;
pub mod tiles;
pub mod tree;
pub mod verify;

use std::sync::Arc;

use crate::auth::vault::{Vault, VaultError};
use crate::config::Config;
use crate::log::{Log, Tenant};

/// The trees and checkpoints of all tenants.
#[derive(Clone)]
pub struct Audit {
    log: Log,
    vault: Arc<Vault>,
    /// What the names of logs begin with.
    origin: Arc<str>,
    checkpoint_seconds: f64,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the tree holds {size} events as yet; position {position} comes soon")]
    NotYet { position: i64, size: i64 },
    #[error("positions and sizes count from 1, and the inner one is not beyond the outer")]
    OutOfRange,
    #[error("the stored tree is damaged at {0}; `rosterhub audit verify` tells more")]
    Damaged(String),
    #[error("there is no checkpoint yet")]
    NoCheckpoint,
    #[error("the key that signs checkpoints: {0}")]
    Key(#[from] VaultError),
    #[error("the key that signs checkpoints cannot be used")]
    BadKey,
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl Audit {
    pub fn open(log: Log, config: &Config) -> Result<Self, AuditError> {
        Ok(Self {
            log,
            vault: Arc::new(Vault::open(config)?),
            origin: config.audit.origin(config.public_url.as_deref()).into(),
            checkpoint_seconds: config.audit.checkpoint_seconds,
        })
    }

    /// The name of a tenant's log, as checkpoints have it.
    pub fn origin(&self, tenant: &Tenant) -> String {
        format!("{}/{tenant}", self.origin)
    }

    pub fn log(&self) -> &Log {
        &self.log
    }
}
