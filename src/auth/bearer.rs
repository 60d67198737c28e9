//! From a bearer token to its client: API keys and access tokens.

use chrono::Utc;
use sha2::{Digest, Sha256};

use super::clients::By;
use super::secret::api_key_hash;
use super::token::Issuer;
use super::{Auth, Client, REMEMBERED, Scopes};

/// Bearer tokens looked up lately, by their SHA-256.
pub(super) type Known = moka::future::Cache<[u8; 32], Option<Client>>;

pub(super) fn known() -> Known {
    moka::future::Cache::builder().max_capacity(10_000).time_to_live(REMEMBERED).build()
}

/// No token of ours has more bytes.
const LONGEST: usize = 4_096;

impl Auth {
    /// The client of a bearer token, unless the token is none of ours, has ended or been revoked. Remembered for
    /// [`REMEMBERED`]: no query on the way of a client that goes on asking.
    pub async fn bearer(&self, token: &str) -> Result<Option<Client>, sqlx::Error> {
        if token.len() > LONGEST {
            return Ok(None);
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let client = match self.known.get(&hash).await {
            Some(known) => known,
            None => {
                let client = self.look_up(token).await?;
                self.known.insert(hash, client.clone()).await;
                client
            }
        };
        Ok(client.filter(|client| client.is_current(Utc::now())))
    }

    async fn look_up(&self, token: &str) -> Result<Option<Client>, sqlx::Error> {
        match api_key_hash(token) {
            Some(hash) => {
                let Some(row) = self.clients.find(By::ApiKey(&hash)).await? else { return Ok(None) };
                self.clients.used(&row);
                row.client(Scopes::all()).map(Some)
            }
            None => self.look_up_access_token(token).await,
        }
    }

    /// The signature is checked before anything is asked of the database.
    async fn look_up_access_token(&self, token: &str) -> Result<Option<Client>, sqlx::Error> {
        let Some(id) = Issuer::key_id(token) else { return Ok(None) };
        let Some(key) = self.keys.verifier(&id).await? else { return Ok(None) };
        let Some(claims) = self.issuer.verify(token, &key, Utc::now()) else { return Ok(None) };
        let by = By::Secret(claims.sub, &claims.credential);
        let Some(row) = self.clients.find(by).await? else { return Ok(None) };
        self.clients.used(&row);
        let mut client = row.client(Scopes::parse(&claims.scope))?;
        let Some(end) = claims.expires_at().filter(|_| client.tenant.as_str() == claims.tenant) else {
            return Ok(None);
        };
        client.expires_at = Some(client.expires_at.map_or(end, |earlier| earlier.min(end)));
        Ok(Some(client))
    }
}
