//! The clients as they are kept: created, listed, rotated, revoked, looked up.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use uuid::Uuid;

use super::secret::{Kind, NewSecret};
use super::{AuthError, Client, Rate, Scopes};
use crate::db::Db;
use crate::log::Tenant;
use crate::notice;
use crate::notice::data::ClientRevoked;

#[derive(Clone)]
pub struct Clients {
    db: Db,
}

/// A client to be.
pub struct NewClient {
    pub tenant: Tenant,
    /// Who it is, for people.
    pub name: String,
    pub scopes: Scopes,
    /// Where it may call from; empty: from anywhere.
    pub networks: Vec<IpNet>,
    pub rate: Option<Rate>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A client as it is listed.
#[derive(Debug, serde::Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    pub client_id: Uuid,
    pub tenant: String,
    pub name: String,
    /// `secret` or `api_key`
    pub kind: String,
    pub scopes: Vec<String>,
    pub networks: Option<Vec<String>>,
    pub rate: Option<i32>,
    pub burst: Option<i32>,
    /// Secrets or keys that are valid now: two during the overlap of a rotation.
    pub valid_secrets: i64,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// What a client is looked up by.
pub(super) enum By<'a> {
    /// Hash of an API key.
    ApiKey(&'a str),
    /// Client, and the public part of its secret.
    Secret(Uuid, &'a str),
}

/// A client with the credential that it was looked up by.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    tenant: String,
    name: String,
    scopes: Vec<String>,
    networks: Option<Vec<String>>,
    rate: Option<i32>,
    burst: Option<i32>,
    expires_at: Option<DateTime<Utc>>,
    pub hash: String,
    /// When it was used last is not known to the minute.
    stale: bool,
}

impl Clients {
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Makes a client; gives its id, and its secret or API key, which is never shown again.
    pub async fn create(&self, client: &NewClient, kind: Kind) -> Result<(Uuid, String), AuthError> {
        let (id, secret) = (Uuid::new_v4(), NewSecret::make(kind)?);
        let networks: Vec<String> = client.networks.iter().map(|n| n.trunc().to_string()).collect();
        let number = |n: Option<NonZeroU32>| n.map(|n| i32::try_from(n.get()).unwrap_or(i32::MAX));
        let mut tx = self.db.pool().begin().await?;
        sqlx::query(
            "insert into clients (id, tenant, name, scopes, networks, rate, burst, expires_at)
             values ($1, $2, $3, $4, nullif($5::cidr[], '{}'), $6, $7, $8)",
        )
        .bind(id)
        .bind(client.tenant.as_str())
        .bind(&client.name)
        .bind(client.scopes.names())
        .bind(networks)
        .bind(number(client.rate.map(|r| r.per_second)))
        .bind(number(client.rate.map(|r| r.burst)))
        .bind(client.expires_at)
        .execute(&mut *tx)
        .await?;
        insert(&mut tx, id, kind, &secret).await?;
        tx.commit().await?;
        Ok((id, secret.text))
    }

    /// Gives a client a new secret or API key of the kind it has. Older ones stay valid for the overlap. `None`: there
    /// is no such client, or it has been revoked.
    pub async fn rotate(&self, id: Uuid, overlap: Duration) -> Result<Option<(Kind, String)>, AuthError> {
        let mut tx = self.db.pool().begin().await?;
        let kind: Option<String> = sqlx::query_scalar(
            "select (select kind from credentials where client = c.id order by created_at desc limit 1)
               from clients c where id = $1 and revoked_at is null for update",
        )
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(kind) = kind else { return Ok(None) };
        let kind = if kind == Kind::ApiKey.name() { Kind::ApiKey } else { Kind::Secret };
        // least() passes over nulls.
        sqlx::query(
            "update credentials set expires_at = least(expires_at, now() + make_interval(secs => $2)) where client = $1",
        )
        .bind(id)
        .bind(overlap.as_secs_f64())
        .execute(&mut *tx)
        .await?;
        let secret = NewSecret::make(kind)?;
        insert(&mut tx, id, kind, &secret).await?;
        tx.commit().await?;
        Ok(Some((kind, secret.text)))
    }

    /// Ends a client, and tells of it. False when there is no such client, or it has been revoked already.
    pub async fn revoke(&self, id: Uuid) -> Result<bool, AuthError> {
        let tenant: Option<String> = sqlx::query_scalar("select tenant from clients where id = $1")
            .bind(id)
            .fetch_optional(self.db.pool())
            .await?;
        let Some(tenant) = tenant.and_then(|tenant| tenant.parse::<Tenant>().ok()) else { return Ok(false) };
        let mut tx = self.db.begin(&tenant).await?;
        let revoked = sqlx::query_scalar(
            "update clients set revoked_at = now() where id = $1 and revoked_at is null returning name",
        );
        let Some(name) = revoked.bind(id).fetch_optional(&mut *tx).await? else { return Ok(false) };
        notice::tell(&mut tx, &tenant, notice::Kind::ClientRevoked, &ClientRevoked { client: id, name }).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The clients of one tenant or of all, in the order they were made.
    pub async fn list(&self, tenant: Option<&Tenant>) -> Result<Vec<Listed>, AuthError> {
        let listed = sqlx::query_as(
            "select c.id as client_id, c.tenant, c.name, coalesce(k.kind, '') as kind, c.scopes,
                    c.networks::text[] as networks, c.rate, c.burst, k.valid as valid_secrets,
                    c.created_at, c.last_used_at, c.expires_at, c.revoked_at
               from clients c cross join lateral (
                    select (array_agg(kind order by created_at desc))[1] as kind,
                           count(*) filter (where expires_at is null or expires_at > now()) as valid
                      from credentials where client = c.id) k
              where $1::text is null or c.tenant = $1
              order by c.tenant, c.created_at, c.id",
        );
        Ok(listed.bind(tenant.map(Tenant::as_str)).fetch_all(self.db.pool()).await?)
    }

    /// The client as it stands, unless it or the credential is unknown or has ended. Notes that it was used.
    pub(super) async fn find(&self, by: By<'_>) -> Result<Option<Row>, sqlx::Error> {
        let (condition, kind) = match by {
            By::ApiKey(_) => ("k.hash = $2", Kind::ApiKey),
            By::Secret(..) => ("k.id = $2 and c.id = $3", Kind::Secret),
        };
        let sql = format!(
            "select c.id, c.tenant, c.name, c.scopes, c.networks::text[] as networks, c.rate, c.burst,
                    least(c.expires_at, k.expires_at) as expires_at, k.hash,
                    c.last_used_at is null or c.last_used_at < now() - interval '1 minute' as stale
               from credentials k join clients c on c.id = k.client
              where k.kind = $1 and {condition} and c.revoked_at is null
                and coalesce(least(c.expires_at, k.expires_at) > now(), true)"
        );
        let query = sqlx::query_as(&sql).bind(kind.name());
        let query = match by {
            By::ApiKey(hash) => query.bind(hash),
            By::Secret(client, secret) => query.bind(secret).bind(client),
        };
        query.fetch_optional(self.db.pool()).await
    }

    /// Writes down that a client was used, once a minute. Without waiting: a request does not fail by it.
    pub(super) fn used(&self, row: &Row) {
        if row.stale {
            let (db, id) = (self.db.clone(), row.id);
            tokio::spawn(async move {
                let note = sqlx::query("update clients set last_used_at = now() where id = $1").bind(id);
                if let Err(error) = note.execute(db.pool()).await {
                    tracing::debug!(%error, "the use of a client could not be written down");
                }
            });
        }
    }
}

async fn insert(
    conn: &mut sqlx::PgConnection,
    client: Uuid,
    kind: Kind,
    secret: &NewSecret,
) -> Result<(), sqlx::Error> {
    // Not now(), by which the new one would be as old as what it follows in the same transaction.
    sqlx::query(
        "insert into credentials (client, id, kind, hash, created_at) values ($1, $2, $3, $4, clock_timestamp())",
    )
    .bind(client)
    .bind(&secret.id)
    .bind(kind.name())
    .bind(&secret.hash)
    .execute(conn)
    .await
    .map(drop)
}

impl Row {
    /// The client, with those of its scopes that are also `granted`.
    pub fn client(self, granted: Scopes) -> Result<Client, sqlx::Error> {
        let decode = |what: &str| sqlx::Error::Decode(format!("a client's {what}").into());
        let networks: Option<Vec<IpNet>> = match self.networks {
            Some(networks) => {
                let networks: Result<_, _> = networks.iter().map(|n| n.parse()).collect();
                Some(networks.map_err(|_| decode("networks"))?)
            }
            None => None,
        };
        let number = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok()).and_then(NonZeroU32::new);
        let scopes = Scopes::from_names(&self.scopes);
        Ok(Client {
            id: self.id,
            tenant: self.tenant.parse().map_err(|_| decode("tenant"))?,
            name: self.name.into(),
            scopes: scopes.and(granted),
            rate: number(self.rate).zip(number(self.burst)).map(|(per_second, burst)| Rate { per_second, burst }),
            networks: networks.map(Arc::from),
            expires_at: self.expires_at,
        })
    }
}
