//! Endpoints and keys as answers show them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::notice::data::Disabled;
use crate::webhook::commands::Managed;
use crate::webhook::endpoint::{Imports, Order, Payload, State};
use crate::webhook::keys;

/// An endpoint as it stands.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Webhook", deny_unknown_fields)]
pub struct Shown {
    id: Uuid,
    /// It is told what this client may see,
    client: Uuid,
    /// as far as these scopes reach.
    scopes: Vec<&'static str>,
    url: String,
    description: String,
    types: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
    payload: Payload,
    order: Order,
    imports: Imports,
    /// Names of its own headers.
    headers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<i32>,
    state: State,
    /// Why it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Disabled>,
    /// All up to this log position was delivered, or is among the deliveries that wait.
    position: i64,
    /// Number of its last message.
    sequence: i64,
    /// First failure after the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// Messages by state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) deliveries: BTreeMap<String, i64>,
    /// The secret, or the public key of a key pair: shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
}

impl From<Managed> for Shown {
    fn from(Managed { endpoint, place, headers }: Managed) -> Self {
        Self {
            id: endpoint.id,
            client: endpoint.client,
            scopes: endpoint.scopes.names(),
            url: endpoint.url,
            description: endpoint.description,
            types: endpoint.types,
            filter: endpoint.filter,
            payload: endpoint.payload,
            order: endpoint.order,
            imports: endpoint.imports,
            headers,
            rate: endpoint.rate,
            state: endpoint.state,
            reason: endpoint.reason,
            position: place.map_or(0, |place| place.position),
            sequence: place.map_or(0, |place| place.sequence),
            failing_since: place.and_then(|place| place.failing_since),
            created_at: endpoint.created_at,
            updated_at: endpoint.updated_at,
            deliveries: BTreeMap::new(),
            secret: None,
        }
    }
}

/// The endpoints of a client.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Webhooks", deny_unknown_fields)]
pub struct List {
    pub(super) webhooks: Vec<Shown>,
}

/// A key that messages are signed with.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookSecret", deny_unknown_fields)]
pub struct ShownKey {
    id: Uuid,
    kind: String,
    created_at: DateTime<Utc>,
    /// Until when it signs, if a newer one has taken its place.
    expires_at: Option<DateTime<Utc>>,
}

/// Keys that sign at the moment, the newest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookSecrets", deny_unknown_fields)]
pub struct Keys {
    secrets: Vec<ShownKey>,
    /// The new one, or the public key of a new key pair: shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<keys::Listed> for ShownKey {
    fn from(key: keys::Listed) -> Self {
        Self { id: key.id, kind: key.kind, created_at: key.created_at, expires_at: key.expires_at }
    }
}

impl Keys {
    pub(super) fn new(listed: Vec<keys::Listed>, secret: Option<String>) -> Self {
        Self { secrets: listed.into_iter().map(ShownKey::from).collect(), secret }
    }
}
