//! The keys that sign access tokens: made, followed by others, kept sealed.
//!
//! Instances share them by the database. A new key stands there before it signs, for longer than an instance
//! remembers the keys it has read; so each knows a key before it meets a token signed with it. A key that has been
//! followed verifies until the last token it signed has expired.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::secret::random;
use super::token::LIFETIME;
use super::vault::Vault;
use super::{AuthError, REMEMBERED};
use crate::db::Db;

/// Age at which a key is followed by a new one.
const LONGEST_SERVICE: &str = "90 days";

/// How long before it signs a key stands in the database. By age, long enough for those who read the JWKS as well;
/// by hand, longer than [`REMEMBERED`].
const LEAD_BY_AGE: Duration = Duration::from_secs(3_600);
const LEAD_BY_HAND: Duration = Duration::from_secs(2 * REMEMBERED.as_secs());

/// Seconds after its tokens' lifetime that a followed key is kept: for requests and transactions under way.
const MARGIN: i64 = 60;

/// A key as it stands in the database.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SigningKey {
    pub id: String,
    public_key: Vec<u8>,
    sealed: Vec<u8>,
    pub signs_from: DateTime<Utc>,
    /// Its time has come.
    begun: bool,
    /// It has served long enough.
    old: bool,
}

#[derive(Clone)]
pub struct Keys {
    db: Db,
    vault: Arc<Vault>,
    /// Public keys by id.
    known: moka::future::Cache<(), Arc<HashMap<String, DecodingKey>>>,
}

impl Keys {
    pub fn new(db: Db, vault: Arc<Vault>) -> Self {
        Self { db, vault, known: moka::future::Cache::builder().time_to_live(REMEMBERED).build() }
    }

    /// Makes the first key if there is none, and makes sure that this program can sign.
    pub async fn prepare(&self) -> Result<(), AuthError> {
        if self.live().await?.is_empty() {
            self.follow(Duration::ZERO, |keys| keys.is_empty()).await?;
        }
        self.signer().await.map(drop)
    }

    /// The key to sign with now, and its id. One that is getting old is given a follower.
    pub async fn signer(&self) -> Result<(String, EncodingKey), AuthError> {
        let keys = self.live().await?;
        if keys.first().is_some_and(|newest| newest.old) {
            let made = self.follow(LEAD_BY_AGE, |keys| keys.first().is_some_and(|newest| newest.old)).await?;
            if let Some(made) = made {
                tracing::info!(key = made.id, from = %made.signs_from, "a new key is going to sign tokens");
            }
        }
        // None has begun only if the database's clock went back: then the next.
        let key = keys.iter().find(|key| key.begun).or(keys.last()).ok_or(AuthError::BadKey)?;
        let private = self
            .vault
            .unseal(&key.sealed, &context(&key.id))
            .map_err(|error| AuthError::Sealed { what: format!("the key {} that signs tokens", key.id), error })?;
        Ok((key.id.clone(), EncodingKey::from_ed_der(&private)))
    }

    /// The public key of this id. Read anew after [`REMEMBERED`].
    pub async fn verifier(&self, id: &str) -> Result<Option<DecodingKey>, sqlx::Error> {
        if let Some(known) = self.known.get(&()).await {
            return Ok(known.get(id).cloned());
        }
        let keys = self.live().await?.into_iter().map(|key| (key.id, DecodingKey::from_ed_der(&key.public_key)));
        let keys = Arc::new(keys.collect::<HashMap<_, _>>());
        self.known.insert((), keys.clone()).await;
        Ok(keys.get(id).cloned())
    }

    /// All keys that verify, as a JWK set (RFC 7517, RFC 8037).
    pub async fn jwks(&self) -> Result<Value, sqlx::Error> {
        let keys = self.live().await?;
        let jwk = |key: &SigningKey| {
            json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key.id,
                "x": URL_SAFE_NO_PAD.encode(&key.public_key),
            })
        };
        Ok(json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }))
    }

    /// Makes a key that signs in a few seconds. `revoke`: it signs at once, and the others verify no more.
    pub async fn rotate(&self, revoke: bool) -> Result<SigningKey, AuthError> {
        if revoke {
            let mut tx = self.db.pool().begin().await?;
            lock(&mut tx).await?;
            sqlx::query("delete from signing_keys").execute(&mut *tx).await?;
            let made = self.make(&mut tx, Duration::ZERO).await?;
            tx.commit().await?;
            return Ok(made);
        }
        // A key sealed with another secret key than the others would stop every instance from signing.
        self.prepare().await?;
        self.follow(LEAD_BY_HAND, |_| true).await?.ok_or(AuthError::BadKey)
    }

    /// Keys that sign or verify, the newest first.
    pub async fn live(&self) -> Result<Vec<SigningKey>, sqlx::Error> {
        let mut conn = self.db.pool().acquire().await?;
        live(&mut conn).await
    }

    /// Makes a key after the others, if it is `due` once they are locked, and drops those whose tokens have expired.
    async fn follow(
        &self,
        lead: Duration,
        due: impl FnOnce(&[SigningKey]) -> bool,
    ) -> Result<Option<SigningKey>, AuthError> {
        let mut tx = self.db.pool().begin().await?;
        lock(&mut tx).await?;
        let keys = live(&mut tx).await?;
        if !due(&keys) {
            return Ok(None);
        }
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        sqlx::query("delete from signing_keys where id <> all($1)").bind(&ids).execute(&mut *tx).await?;
        let made = self.make(&mut tx, lead).await?;
        tx.commit().await?;
        Ok(Some(made))
    }

    async fn make(&self, conn: &mut PgConnection, lead: Duration) -> Result<SigningKey, AuthError> {
        let id = random::<8>()?;
        let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| AuthError::NoRandom)?;
        let pair = Ed25519KeyPair::from_pkcs8(private.as_ref()).map_err(|_| AuthError::BadKey)?;
        let sealed = self.vault.seal(private.as_ref(), &context(&id))?;
        let made = sqlx::query_as(
            "insert into signing_keys (id, public_key, sealed, signs_from)
             values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
             returning *, signs_from <= clock_timestamp() as begun, false as old",
        )
        .bind(id)
        .bind(pair.public_key().as_ref())
        .bind(sealed)
        .bind(lead.as_secs_f64());
        Ok(made.fetch_one(conn).await?)
    }
}

async fn live(conn: &mut PgConnection) -> Result<Vec<SigningKey>, sqlx::Error> {
    // A key whose follower began longer ago than a token lives has no tokens left.
    sqlx::query_as(&format!(
        "select *, signs_from <= clock_timestamp() as begun,
                signs_from < clock_timestamp() - interval '{LONGEST_SERVICE}' as old
           from signing_keys k
          where not exists (select from signing_keys n
                             where n.signs_from > k.signs_from
                               and n.signs_from <= clock_timestamp() - make_interval(secs => $1))
          order by signs_from desc"
    ))
    .bind((LIFETIME + MARGIN) as f64)
    .fetch_all(conn)
    .await
}

/// Of several instances one makes a key; the others then see it.
async fn lock(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("lock table signing_keys in share row exclusive mode").execute(conn).await.map(drop)
}

fn context(id: &str) -> String {
    format!("signing_keys/{id}")
}
