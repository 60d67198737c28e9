//! An endpoint: where messages go, which, and how.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::auth::Scopes;
use crate::log::Tenant;
use crate::notice::data::Disabled;

/// What a message about a record holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Payload {
    /// Which record changed, and in which members. Nothing of its contents: they are read from the hub.
    #[default]
    Thin,
    /// Besides, the record before and after.
    Full,
}

/// What waits for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Order {
    /// Nothing: several requests are under way at a time, and one that failed is passed by others.
    #[default]
    Parallel,
    /// Messages of one person, or of one other record, wait for each other.
    Record,
    /// Each waits for the one before.
    Fifo,
}

/// How imports are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Imports {
    /// By one `import.applied` or `import.reverted`, with a summary for each school.
    #[default]
    Summary,
    /// Record by record, besides.
    Records,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum State {
    /// Nothing is sent until the address has answered the challenge.
    Unverified,
    Active,
    /// By somebody; nothing is sent, and nothing is lost.
    Paused,
    /// By the hub, for a reason; likewise.
    Disabled,
}

/// The name of a value, as JSON and the database have it.
pub fn word<T: Serialize>(value: T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read<T: DeserializeOwned>(word: &str) -> Result<T, sqlx::Error> {
    serde_json::from_value(word.into()).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// An endpoint as it stands.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub id: Uuid,
    /// It is told what this client may see,
    pub client: Uuid,
    /// as far as these reach: those of the token that registered it.
    pub scopes: Scopes,
    pub url: String,
    pub description: String,
    /// Patterns of event types.
    pub types: Vec<String>,
    pub filter: Option<String>,
    pub payload: Payload,
    pub order: Order,
    pub imports: Imports,
    /// Sealed.
    pub headers: Option<Vec<u8>>,
    /// Requests a second, at most.
    pub rate: Option<i32>,
    pub state: State,
    pub reason: Option<Disabled>,
    pub challenge: String,
    pub verified_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    client: Uuid,
    scopes: Vec<String>,
    url: String,
    description: String,
    types: Vec<String>,
    filter: Option<String>,
    payload: String,
    ordering: String,
    imports: String,
    headers: Option<Vec<u8>>,
    rate: Option<i32>,
    state: String,
    reason: Option<String>,
    challenge: String,
    verified_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Endpoint {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            client: row.client,
            scopes: Scopes::from_names(&row.scopes),
            url: row.url,
            description: row.description,
            types: row.types,
            filter: row.filter,
            payload: read(&row.payload)?,
            order: read(&row.ordering)?,
            imports: read(&row.imports)?,
            headers: row.headers,
            rate: row.rate,
            state: read(&row.state)?,
            reason: row.reason.as_deref().map(read).transpose()?,
            challenge: row.challenge,
            verified_at: row.verified_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Which endpoints: those of one client, or of all.
pub type Of = Option<Uuid>;

/// The endpoints of a tenant, in the order they were made.
pub async fn list(conn: &mut PgConnection, tenant: &Tenant, of: Of) -> Result<Vec<Endpoint>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from webhook_endpoints where tenant = $1 and ($2::uuid is null or client = $2) order by created_at, id",
    )
    .bind(tenant.as_str())
    .bind(of)
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Endpoint::try_from).collect()
}

pub async fn find(conn: &mut PgConnection, tenant: &Tenant, of: Of, id: Uuid) -> Result<Option<Endpoint>, sqlx::Error> {
    let row: Option<Row> = sqlx::query_as(
        "select * from webhook_endpoints where tenant = $1 and id = $2 and ($3::uuid is null or client = $3)",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(of)
    .fetch_optional(conn)
    .await?;
    row.map(Endpoint::try_from).transpose()
}

/// Writes an endpoint down, new or changed; its lane follows in [`lane`](super::lanes).
pub async fn save(conn: &mut PgConnection, tenant: &Tenant, endpoint: &Endpoint) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into webhook_endpoints (tenant, id, client, scopes, url, description, types, filter, payload, ordering,
                                        imports, headers, rate, state, reason, challenge, verified_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         on conflict (tenant, id) do update
            set scopes = excluded.scopes, url = excluded.url, description = excluded.description, types = excluded.types, filter = excluded.filter,
                payload = excluded.payload, ordering = excluded.ordering, imports = excluded.imports,
                headers = excluded.headers, rate = excluded.rate, state = excluded.state, reason = excluded.reason,
                challenge = excluded.challenge, verified_at = excluded.verified_at, updated_at = now()",
    )
    .bind(tenant.as_str())
    .bind(endpoint.id)
    .bind(endpoint.client)
    .bind(endpoint.scopes.names())
    .bind(&endpoint.url)
    .bind(&endpoint.description)
    .bind(&endpoint.types)
    .bind(&endpoint.filter)
    .bind(word(endpoint.payload))
    .bind(word(endpoint.order))
    .bind(word(endpoint.imports))
    .bind(&endpoint.headers)
    .bind(endpoint.rate)
    .bind(word(endpoint.state))
    .bind(endpoint.reason.map(word))
    .bind(&endpoint.challenge)
    .bind(endpoint.verified_at)
    .execute(conn)
    .await
    .map(drop)
}

/// The address of an endpoint has answered this challenge. Its state now; none when it is gone or has another address
/// by now. One that was not verified before is active.
pub async fn verified(
    conn: &mut PgConnection,
    tenant: &Tenant,
    id: Uuid,
    challenge: &str,
) -> Result<Option<State>, sqlx::Error> {
    let state: Option<String> = sqlx::query_scalar(
        "update webhook_endpoints
            set verified_at = now(), state = case state when 'unverified' then 'active' else state end
          where tenant = $1 and id = $2 and challenge = $3
         returning state",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(challenge)
    .fetch_optional(conn)
    .await?;
    state.as_deref().map(read).transpose()
}

/// Removes an endpoint and its keys.
pub async fn delete(conn: &mut PgConnection, tenant: &Tenant, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from webhook_endpoints where tenant = $1 and id = $2")
        .bind(tenant.as_str())
        .bind(id)
        .execute(conn)
        .await
        .map(drop)
}
