//! Who may: bearer tokens, each of one tenant.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::db::Db;
use crate::log::Tenant;

/// A token's holder.
#[derive(Clone, Debug)]
pub struct Client {
    pub tenant: Tenant,
    pub name: String,
    pub scopes: Vec<String>,
}

/// What a token may be allowed. OneRoster's own scopes come with OAuth.
pub const SCOPES: [&str; 4] = ["roster", "demographics", "import", "write"];

impl Client {
    pub fn may(&self, scope: &str) -> bool {
        self.scopes.iter().any(|s| s == scope)
    }
}

/// Looks tokens up, and remembers them for a few seconds: a revoked one is refused at the latest then.
#[derive(Clone)]
pub struct Tokens {
    db: Db,
    known: moka::future::Cache<[u8; 32], Option<Client>>,
}

const REMEMBERED: Duration = Duration::from_secs(5);

impl Tokens {
    pub fn new(db: Db) -> Self {
        let known = moka::future::Cache::builder().max_capacity(10_000).time_to_live(REMEMBERED).build();
        Self { db, known }
    }

    /// The holder of a token, unless it is unknown, expired or revoked.
    pub async fn client(&self, token: &str) -> Result<Option<Client>, sqlx::Error> {
        // 256 random bits need no slow hash: there is nothing to guess.
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.known.get(&hash).await {
            return Ok(known);
        }
        let row: Option<(String, String, Vec<String>)> = sqlx::query_as(
            "select tenant, name, scopes from tokens
              where token_hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())",
        )
        .bind(hash.as_slice())
        .fetch_optional(self.db.pool())
        .await?;
        let client = row.and_then(|(tenant, name, scopes)| Some(Client { tenant: tenant.parse().ok()?, name, scopes }));
        self.known.insert(hash, client.clone()).await;
        Ok(client)
    }
}

/// Makes a token. It is shown now and never again.
pub async fn create_token(
    db: &Db,
    tenant: &Tenant,
    name: &str,
    scopes: &[String],
    expires_at: Option<DateTime<Utc>>,
) -> Result<String, sqlx::Error> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random).map_err(|e| sqlx::Error::Io(std::io::Error::other(e.to_string())))?;
    let token = format!("rh_{}", random.iter().map(|b| format!("{b:02x}")).collect::<String>());
    sqlx::query(
        "insert into tokens (token_hash, id, tenant, name, scopes, expires_at) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(Sha256::digest(&token).as_slice())
    .bind(Uuid::now_v7())
    .bind(tenant.as_str())
    .bind(name)
    .bind(scopes)
    .bind(expires_at)
    .execute(db.pool())
    .await?;
    Ok(token)
}
