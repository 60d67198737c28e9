//! Who may: clients, each of one tenant, what they prove themselves with, and the tokens they are given.

pub mod attempts;
pub mod bearer;
pub mod clients;
pub mod grant;
pub mod keys;
pub mod limit;
pub mod scope;
pub mod secret;
pub mod token;
pub mod vault;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::config::Config;
use crate::db::Db;
use crate::log::Tenant;

pub use clients::{Clients, NewClient};
pub use limit::Rate;
pub use scope::{Scope, Scopes};
pub use secret::Kind;
pub use vault::Vault;

/// How long an instance remembers what it has read: what was revoked is refused at the latest then.
pub const REMEMBERED: Duration = Duration::from_secs(5);

/// Who asks, with the rights of the request. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: Uuid,
    pub tenant: Tenant,
    pub name: Arc<str>,
    /// What the client may do; of an access token, as far as the token has it too.
    pub scopes: Scopes,
    pub rate: Option<Rate>,
    /// Where it may call from. `None`: from anywhere.
    networks: Option<Arc<[IpNet]>>,
    expires_at: Option<DateTime<Utc>>,
}

impl Client {
    /// Whether it has one of the scopes.
    pub fn may_any(&self, scopes: &[Scope]) -> bool {
        self.scopes.has_any(scopes)
    }

    /// Whether it may call from this address. An unknown one is in no network.
    pub fn may_call_from(&self, address: Option<IpAddr>) -> bool {
        let Some(networks) = &self.networks else { return true };
        // An IPv4 address that came over an IPv6 socket is meant as IPv4.
        address.is_some_and(|address| networks.iter().any(|n| n.contains(&address.to_canonical())))
    }

    fn is_current(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// Why credentials or keys could not be worked with.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
    #[error(
        "{what} cannot be opened: {error}. Set ROSTERHUB_SECRET_KEY as it was; if it is lost, `rosterhub key rotate --revoke`"
    )]
    Sealed { what: String, error: vault::VaultError },
    #[error("the system gives no random bytes")]
    NoRandom,
    #[error("a secret could not be hashed")]
    Hash,
    #[error("there is no key to sign with, or it is none")]
    BadKey,
}

/// All of it, for the gateway.
pub struct Auth {
    pub keys: keys::Keys,
    clients: Clients,
    issuer: token::Issuer,
    known: bearer::Known,
    limits: limit::Limits,
    attempts: attempts::Attempts,
    hashing: Arc<Semaphore>,
}

/// What tokens name as issuer and audience when no public address is configured.
const ISSUER: &str = "rosterhub";

impl Auth {
    /// Opens the vault and makes sure that tokens can be signed.
    pub async fn open(db: &Db, config: &Config) -> Result<Self, AuthError> {
        let keys = keys::Keys::new(db.clone(), Arc::new(Vault::open(config)?));
        keys.prepare().await?;
        let issuer = config.public_url.as_deref().map_or(ISSUER, |url| url.trim_end_matches('/'));
        Ok(Self {
            keys,
            clients: Clients::new(db.clone()),
            issuer: token::Issuer::new(issuer),
            known: bearer::known(),
            limits: limit::Limits::default(),
            attempts: attempts::Attempts::default(),
            hashing: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from))),
        })
    }

    /// Counts a request against the client's limit. `None`: it has none.
    pub fn limit(&self, client: &Client) -> Option<limit::Standing> {
        self.limits.count(client)
    }
}
