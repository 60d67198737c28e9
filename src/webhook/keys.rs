//! The keys that messages of an endpoint are signed with: several while one takes the place of another.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::secret::{self, SecretError};
use super::signature::SigningKey;
use crate::auth::Vault;
use crate::log::Tenant;

/// A key as people see it.
#[derive(Debug, sqlx::FromRow)]
pub struct Listed {
    pub id: Uuid,
    pub kind: String,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key that signs.
pub struct Current {
    pub key: SigningKey,
    /// Until then, if a newer one has taken its place.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Current {
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|expires| at < expires)
    }
}

/// Adds a key. Those before it hold for so many seconds more; what has expired is removed.
pub async fn add(
    conn: &mut PgConnection,
    tenant: &Tenant,
    vault: &Vault,
    endpoint: Uuid,
    key: &SigningKey,
    overlap: f64,
) -> Result<Uuid, KeysError> {
    let id = Uuid::new_v4();
    sqlx::query(
        "update webhook_secrets set expires_at = least(expires_at, now() + make_interval(secs => $3))
          where tenant = $1 and endpoint = $2",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(overlap)
    .execute(&mut *conn)
    .await?;
    sqlx::query("delete from webhook_secrets where tenant = $1 and endpoint = $2 and expires_at <= now()")
        .bind(tenant.as_str())
        .bind(endpoint)
        .execute(&mut *conn)
        .await?;
    sqlx::query("insert into webhook_secrets (tenant, id, endpoint, kind, sealed) values ($1, $2, $3, $4, $5)")
        .bind(tenant.as_str())
        .bind(id)
        .bind(endpoint)
        .bind(key.kind().name())
        .bind(secret::seal(vault, endpoint, id, key).map_err(SecretError::from)?)
        .execute(conn)
        .await?;
    Ok(id)
}

/// Those that hold, the newest first.
pub async fn current(
    conn: &mut PgConnection,
    tenant: &Tenant,
    vault: &Vault,
    endpoint: Uuid,
) -> Result<Vec<Current>, KeysError> {
    let sealed: Vec<(Uuid, Vec<u8>, Option<DateTime<Utc>>)> = sqlx::query_as(
        "select id, sealed, expires_at from webhook_secrets
          where tenant = $1 and endpoint = $2 and coalesce(expires_at > now(), true) order by created_at desc, id",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .fetch_all(conn)
    .await?;
    let opened = sealed.iter().map(|(id, sealed, expires_at)| {
        let key = secret::open(vault, endpoint, *id, sealed)?;
        Ok(Current { key, expires_at: *expires_at })
    });
    Ok(opened.collect::<Result<_, SecretError>>()?)
}

/// Those that hold, without what they are, the newest first.
pub async fn list(conn: &mut PgConnection, tenant: &Tenant, endpoint: Uuid) -> Result<Vec<Listed>, sqlx::Error> {
    sqlx::query_as(
        "select id, kind, created_at, expires_at from webhook_secrets
          where tenant = $1 and endpoint = $2 and coalesce(expires_at > now(), true) order by created_at desc, id",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .fetch_all(conn)
    .await
}

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Secret(#[from] SecretError),
}
