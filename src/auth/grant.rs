//! OAuth 2.0 client credentials (RFC 6749, section 4.4): a client proves itself and is given an access token.

use std::net::IpAddr;
use std::time::Duration;

use chrono::Utc;
use uuid::Uuid;

use super::clients::{By, Row};
use super::secret::{secret_id, verify};
use super::token::{Claims, LIFETIME};
use super::{Auth, AuthError, Scopes};

/// What a client asks with.
pub struct Request<'a> {
    pub client_id: &'a str,
    pub secret: &'a str,
    /// Scopes, blanks between. `None`: all the client has.
    pub scope: Option<&'a str>,
    pub address: Option<IpAddr>,
}

/// A token given.
pub struct Grant {
    pub token: String,
    /// Seconds that it lives.
    pub expires_in: i64,
    pub scopes: Scopes,
}

/// Why none was given.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("the client is unknown, or its secret is wrong")]
    Client,
    #[error("the client has none of the scopes asked for")]
    Scope,
    #[error("the client may not call from this address")]
    Address,
    #[error("too many attempts have failed")]
    TooMany(Duration),
    #[error(transparent)]
    Failed(#[from] AuthError),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Auth {
    /// Gives an access token to a client that proves itself. Each way to fail takes one hash and one query, so that
    /// an unknown client and a wrong secret look alike.
    pub async fn grant(&self, request: Request<'_>) -> Result<Grant, Refused> {
        let row = self.prove(&request).await?;
        self.clients.used(&row);
        let client = row.client(Scopes::all())?;
        if !client.may_call_from(request.address) {
            return Err(Refused::Address);
        }
        let asked = request.scope.map_or(Scopes::all(), Scopes::parse);
        let scopes = client.scopes.and(asked);
        if scopes.is_empty() {
            return Err(Refused::Scope);
        }
        let now = Utc::now().timestamp();
        let claims = Claims {
            iss: self.issuer.name().to_owned(),
            aud: self.issuer.name().to_owned(),
            sub: client.id,
            client_id: client.id,
            iat: now,
            exp: now + LIFETIME,
            jti: Uuid::new_v4(),
            scope: scopes.to_string(),
            tenant: client.tenant.as_str().to_owned(),
            credential: secret_id(request.secret).unwrap_or_default().to_owned(),
        };
        let (key_id, key) = self.keys.signer().await?;
        let token = self.issuer.sign(&claims, &key_id, &key)?;
        Ok(Grant { token, expires_in: LIFETIME, scopes })
    }

    /// The client, if the secret is its own.
    async fn prove(&self, request: &Request<'_>) -> Result<Row, Refused> {
        let (id, address) = (Uuid::try_parse(request.client_id).ok(), request.address);
        self.attempts.check(id, address).map_err(Refused::TooMany)?;
        let by = By::Secret(id.unwrap_or_default(), secret_id(request.secret).unwrap_or_default());
        let row = self.clients.find(by).await?;
        // As many at a time as there are processors: a hash takes one, and 19 MiB.
        let turn = self.hashing.clone().acquire_owned().await.map_err(|_| AuthError::Hash)?;
        // Others may have failed while this one waited.
        self.attempts.check(id, address).map_err(Refused::TooMany)?;
        let (secret, hash) = (request.secret.to_owned(), row.as_ref().map(|row| row.hash.clone()));
        let attempts = self.attempts.clone();
        // Goes on to its end, and counts, also when the client does not wait for the answer.
        let right = tokio::task::spawn_blocking(move || {
            let right = verify(&secret, hash.as_deref());
            if !right {
                attempts.failed(id, address);
            }
            drop(turn);
            right
        });
        let right = right.await.map_err(|_| AuthError::Hash)?;
        row.filter(|_| right).ok_or(Refused::Client)
    }
}
