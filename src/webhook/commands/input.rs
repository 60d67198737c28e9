//! What clients say about their endpoints. The members that JSON has, as REST and GraphQL read them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::webhook::endpoint::{Imports, Order, Payload};

/// A new endpoint.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWebhook {
    /// Where messages are posted to.
    pub url: String,
    /// Event types: names, `user.*`, `*.deleted` or `*`.
    pub types: Vec<String>,
    /// Condition on changes of records, in the grammar of OneRoster's filters.
    pub filter: Option<String>,
    #[serde(default)]
    pub payload: Payload,
    #[serde(default)]
    pub order: Order,
    #[serde(default)]
    pub imports: Imports,
    /// Headers that messages are to have besides; their values are never shown again.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Requests a second, at most.
    pub rate: Option<i32>,
    #[serde(default)]
    pub description: String,
    /// Log position after which changes are told. Without it, those to come.
    pub after: Option<i64>,
    /// A secret of the receiver's own; without it, one is made.
    pub secret: Option<String>,
    /// Kind of the key that is made.
    pub key: Option<KeyName>,
}

/// Kind of a key to sign with.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum KeyName {
    /// A shared secret: signatures `v1`.
    Hmac,
    /// A key pair, of which the receiver has the public key: signatures `v1a`.
    Ed25519,
}

/// What is to be changed of an endpoint. What is not named stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookPatch {
    pub url: Option<String>,
    pub types: Option<Vec<String>>,
    /// As of a new one; null removes it.
    #[serde(default, deserialize_with = "given")]
    pub filter: Option<Option<String>>,
    pub payload: Option<Payload>,
    pub order: Option<Order>,
    pub imports: Option<Imports>,
    /// In place of all there were.
    pub headers: Option<BTreeMap<String, String>>,
    /// As of a new one; null removes it.
    #[serde(default, deserialize_with = "given")]
    pub rate: Option<Option<i32>>,
    pub description: Option<String>,
}

/// Tells null from nothing.
fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// A new key is to take the place of those there are.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "WebhookRotation")]
pub struct Rotation {
    /// Hours for which the old ones go on to sign beside it; 24 when it is left out.
    pub overlap_hours: Option<f64>,
    /// A secret of the receiver's own; without it, one is made.
    pub secret: Option<String>,
    /// Kind of the key that is made.
    pub key: Option<KeyName>,
}

/// Where to begin again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WebhookSince")]
pub struct Since {
    /// A log position.
    pub after: Option<i64>,
    /// Or a time.
    pub since: Option<DateTime<Utc>>,
}
