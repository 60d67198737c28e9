//! Webhooks: endpoints are told of changes and notices, from the log, in an order of their own and without a gap.

pub mod catalogue;
pub mod commands;
pub mod deliveries;
pub mod document;
pub mod endpoint;
mod example;
pub mod filter;
pub mod guard;
pub mod headers;
pub mod keys;
pub mod lane;
pub mod lanes;
pub mod message;
pub mod pace;
pub mod queue;
pub mod recorder;
pub mod runner;
pub mod secret;
pub mod selection;
pub mod sender;
pub mod signature;
pub mod source;
pub mod statistics;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::access::Access;
use crate::auth::Vault;
use crate::auth::vault::VaultError;
use crate::config::Config;
use crate::feed::Feed;
use crate::log::Log;
use runner::Runner;
use sender::{Sender, SenderError};

/// What the gateways manage webhooks with: see [`commands`]. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    log: Log,
    sender: Sender,
    vault: Arc<Vault>,
    kicked: Arc<Notify>,
    /// Endpoints that a tenant may have.
    most: i64,
}

/// Why webhooks cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Sender(#[from] SenderError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Webhooks {
    pub fn open(log: Log, config: &Config) -> Result<Self, OpenError> {
        Ok(Self {
            log,
            sender: Sender::new(&config.webhooks)?,
            vault: Arc::new(Vault::open(config)?),
            kicked: Arc::default(),
            most: config.webhooks.per_tenant,
        })
    }

    /// An endpoint was changed: the part that delivers looks at once, if it is in this process.
    fn kick(&self) {
        self.kicked.notify_one();
    }

    /// The part that delivers.
    pub fn runner(&self, feed: Feed, access: Access, config: &Config) -> Runner {
        Runner {
            feed,
            sender: self.sender.clone(),
            vault: self.vault.clone(),
            settings: Arc::new(config.webhooks.clone()),
            kicked: self.kicked.clone(),
            access,
        }
    }
}
