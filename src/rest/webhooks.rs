//! Endpoints of webhooks over HTTP: register, verify, change, pause, delete.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::Hub;
use super::error::HubError;
use super::extract::{HubPath, Subscriber};
use crate::auth::{Client, Scope};
use crate::notice;
use crate::notice::data::Disabled;
use crate::webhook::deliveries;
use crate::webhook::endpoint::{self, Endpoint, Imports, Order, Payload, State as EndpointState};
use crate::webhook::filter::RecordFilter;
use crate::webhook::headers::{Headers, check_headers};
use crate::webhook::lanes::{self, Place};
use crate::webhook::selection::Selection;
use crate::webhook::sender::{Outcome, Request};
use crate::webhook::signature::{KeyKind, SigningKey, sign};
use crate::webhook::{keys, message, secret};

/// Hours for which an old key goes on to sign beside a new one, when nobody says.
const OVERLAP_HOURS: f64 = 24.0;
/// Most characters of a description and of a filter.
const LONGEST_TEXT: usize = 2_000;
/// Most patterns of event types.
const MOST_TYPES: usize = 100;

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/webhooks", get(list).post(create))
        .route("/webhooks/{id}", get(single).patch(change).delete(delete))
        .route("/webhooks/{id}/verify", post(verify))
        .route("/webhooks/{id}/test", post(test))
        .route("/webhooks/{id}/pause", post(pause))
        .route("/webhooks/{id}/resume", post(resume))
        .route("/webhooks/{id}/secrets", get(secrets).post(rotate))
}

/// A new endpoint.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWebhook {
    /// Where messages are posted to.
    url: String,
    /// Event types: names, `user.*`, `*.deleted` or `*`.
    types: Vec<String>,
    /// Condition on changes of records, in the grammar of OneRoster's filters.
    filter: Option<String>,
    #[serde(default)]
    payload: Payload,
    #[serde(default)]
    order: Order,
    #[serde(default)]
    imports: Imports,
    /// Headers that messages are to have besides; their values are never shown again.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Requests a second, at most.
    rate: Option<i32>,
    #[serde(default)]
    description: String,
    /// Log position after which changes are told. Without it, those to come.
    after: Option<i64>,
    /// A secret of the receiver's own; without it, one is made.
    secret: Option<String>,
    /// Kind of the key that is made.
    key: Option<KeyName>,
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

/// What is to be changed of an endpoint. What is not named stays as it is; null removes.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookPatch {
    url: Option<String>,
    types: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    filter: Option<Option<String>>,
    payload: Option<Payload>,
    order: Option<Order>,
    imports: Option<Imports>,
    headers: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "given")]
    rate: Option<Option<i32>>,
    description: Option<String>,
}

/// Tells null from nothing.
fn given<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

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
    state: EndpointState,
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
    deliveries: BTreeMap<String, i64>,
    /// The secret, or the public key of a key pair: shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// What became of a challenge or a test.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookTrial", deny_unknown_fields)]
pub struct Trial {
    /// It was answered as it should be.
    ok: bool,
    /// Of the answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    latency_ms: f64,
    /// The beginning of the answer.
    excerpt: String,
    state: EndpointState,
}

impl Trial {
    fn new(outcome: &Outcome, ok: bool, wrong: Option<&str>, state: EndpointState) -> Self {
        let failure = outcome.failure.map(|failure| match &outcome.detail {
            Some(detail) => format!("{failure}: {detail}"),
            None => failure.to_string(),
        });
        Self {
            ok,
            status: outcome.status,
            failure: failure.or_else(|| wrong.map(str::to_owned)),
            latency_ms: outcome.latency.as_secs_f64() * 1_000.0,
            excerpt: outcome.excerpt.clone(),
            state,
        }
    }
}

pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, HubError> {
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| HubError::bad_request(format!("The body is not as it should be: {error}.")))
}

/// Clients see their own endpoints; those with the scope `admin`, all of the board's.
fn of(client: &Client) -> endpoint::Of {
    (!client.may_any(&[Scope::Admin])).then_some(client.id)
}

fn unknown() -> HubError {
    HubError::not_found("webhook")
}

pub(super) async fn find(hub: &Hub, client: &Client, id: Uuid) -> Result<Endpoint, HubError> {
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    endpoint::find(&mut conn, &client.tenant, of(client), id).await?.ok_or_else(unknown)
}

/// An endpoint to be changed: by its own client alone. It is told what that client may see, so nobody else may send it
/// elsewhere.
async fn own(hub: &Hub, client: &Client, id: Uuid) -> Result<Endpoint, HubError> {
    let endpoint = find(hub, client, id).await?;
    if endpoint.client == client.id {
        return Ok(endpoint);
    }
    let message =
        "Only the client that registered it may change a webhook; others may look at it, pause and delete it.";
    Err(HubError::new(StatusCode::FORBIDDEN, "forbidden", message))
}

fn check(hub: &Hub, endpoint: &Endpoint) -> Result<(), HubError> {
    hub.webhooks.sender.check_url(&endpoint.url).map_err(|bad| HubError::bad_request(bad.to_string()))?;
    if endpoint.types.is_empty() || endpoint.types.len() > MOST_TYPES {
        return Err(HubError::bad_request(format!("types names 1 to {MOST_TYPES} event types.")));
    }
    let selection = Selection::parse(&endpoint.types).map_err(|bad| HubError::bad_request(format!("{bad}.")))?;
    if selection.seen_with(endpoint.scopes).is_empty() {
        return Err(HubError::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            "No scope of the token is for any of these event types; the list of event types names what each needs.",
        ));
    }
    if let Some(filter) = &endpoint.filter {
        filter.parse::<RecordFilter>().map_err(|bad| HubError::bad_request(format!("filter: {bad}.")))?;
    }
    let long = |text: &str| text.chars().count() > LONGEST_TEXT;
    if long(&endpoint.description) || endpoint.filter.as_deref().is_some_and(long) {
        return Err(HubError::bad_request(format!("A text has at most {LONGEST_TEXT} characters.")));
    }
    match endpoint.rate {
        Some(rate) if rate < 1 => Err(HubError::bad_request("rate is a whole number from 1.")),
        _ => Ok(()),
    }
}

fn sealed(hub: &Hub, id: Uuid, headers: &BTreeMap<String, String>) -> Result<Option<Vec<u8>>, HubError> {
    let texts = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let checked = check_headers(texts).map_err(|bad| HubError::bad_request(bad.to_string()))?;
    if checked.is_empty() {
        return Ok(None);
    }
    secret::seal_headers(&hub.webhooks.vault, id, &checked).map(Some).map_err(|error| failed(&error))
}

fn opened(hub: &Hub, endpoint: &Endpoint) -> Result<Headers, HubError> {
    let sealed = endpoint.headers.as_deref();
    let opened = sealed.map(|sealed| secret::open_headers(&hub.webhooks.vault, endpoint.id, sealed)).transpose();
    opened.map(Option::unwrap_or_default).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> HubError {
    tracing::error!(%error, "secrets of a webhook cannot be worked with");
    HubError::internal()
}

fn shown(hub: &Hub, endpoint: Endpoint, place: Option<Place>) -> Result<Shown, HubError> {
    let headers = opened(hub, &endpoint)?.iter().map(|(name, _)| name.to_string()).collect();
    Ok(Shown {
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
    })
}

/// The endpoints of a client.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Webhooks", deny_unknown_fields)]
pub struct List {
    webhooks: Vec<Shown>,
}

async fn list(Subscriber(client): Subscriber, State(hub): State<Hub>) -> Result<Json<List>, HubError> {
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let mut webhooks = Vec::new();
    for endpoint in endpoint::list(&mut conn, &client.tenant, of(&client)).await? {
        let place = lanes::place(&mut conn, endpoint.id).await?;
        webhooks.push(shown(&hub, endpoint, place)?);
    }
    Ok(Json(List { webhooks }))
}

/// `POST /webhooks`: nothing is sent until the address has answered the challenge.
async fn create(Subscriber(client): Subscriber, State(hub): State<Hub>, bytes: Bytes) -> Result<Response, HubError> {
    let new: NewWebhook = body(&bytes)?;
    let id = Uuid::new_v4();
    let endpoint = Endpoint {
        id,
        client: client.id,
        scopes: client.scopes,
        url: new.url,
        description: new.description,
        types: new.types,
        filter: new.filter,
        payload: new.payload,
        order: new.order,
        imports: new.imports,
        headers: sealed(&hub, id, &new.headers)?,
        rate: new.rate,
        state: EndpointState::Unverified,
        reason: None,
        challenge: Uuid::new_v4().simple().to_string(),
        verified_at: None,
        created_at: Utc::now(),
        updated_at: Utc::now(),
    };
    check(&hub, &endpoint)?;
    let (key, text) = match &new.secret {
        Some(_) if matches!(new.key, Some(KeyName::Ed25519)) => {
            return Err(HubError::bad_request("A secret can only be brought for hmac."));
        }
        Some(secret) => {
            let key = SigningKey::parse(secret).map_err(|bad| HubError::bad_request(bad.to_string()))?;
            (key, secret.clone())
        }
        None => made(new.key)?,
    };
    let tenant = &client.tenant;
    let head = hub.log.head(tenant).await?.unwrap_or_default();
    let mut tx = hub.log.db().begin(tenant).await?;
    let notices = notice::head(&mut tx, tenant).await?;
    let after = new.after.unwrap_or(head);
    if !(0..=head).contains(&after) {
        return Err(HubError::bad_request("after is a log position that has been reached."));
    }
    if endpoint::list(&mut tx, tenant, None).await?.len() as i64 >= hub.config.webhooks.per_tenant {
        let message = "As many webhooks as allowed are registered; delete one first.";
        return Err(HubError::new(StatusCode::CONFLICT, "too_many", message));
    }
    endpoint::save(&mut tx, tenant, &endpoint).await?;
    lanes::insert(&mut tx, tenant, (id, client.id), (after, notices)).await?;
    keys::add(&mut tx, tenant, &hub.webhooks.vault, id, &key, 0.0).await.map_err(|error| failed(&error))?;
    let place = lanes::place(&mut tx, id).await?;
    tx.commit().await?;
    let shown = Shown { secret: Some(text), ..shown(&hub, endpoint, place)? };
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

fn made(kind: Option<KeyName>) -> Result<(SigningKey, String), HubError> {
    let kind = match kind {
        Some(KeyName::Ed25519) => KeyKind::Ed25519,
        _ => KeyKind::Hmac,
    };
    SigningKey::make(kind).map_err(|error| failed(&error))
}

async fn single(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Shown>, HubError> {
    let endpoint = find(&hub, &client, id).await?;
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let place = lanes::place(&mut conn, id).await?;
    let deliveries = deliveries::counts(&mut conn, &client.tenant, id).await?.into_iter().collect();
    Ok(Json(Shown { deliveries, ..shown(&hub, endpoint, place)? }))
}

/// Saves an endpoint and tells the instance that delivers to it.
async fn save(hub: &Hub, client: &Client, endpoint: Endpoint) -> Result<Json<Shown>, HubError> {
    let mut tx = hub.log.db().begin(&client.tenant).await?;
    endpoint::save(&mut tx, &client.tenant, &endpoint).await?;
    lanes::changed(&mut tx, endpoint.id, endpoint.state == EndpointState::Active).await?;
    let place = lanes::place(&mut tx, endpoint.id).await?;
    tx.commit().await?;
    hub.webhooks.kick();
    Ok(Json(shown(hub, endpoint, place)?))
}

/// `PATCH /webhooks/{id}`: a new address has to be verified before anything is sent to it.
async fn change(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    bytes: Bytes,
) -> Result<Json<Shown>, HubError> {
    let patch: WebhookPatch = body(&bytes)?;
    let mut endpoint = own(&hub, &client, id).await?;
    if let Some(url) = patch.url.filter(|url| *url != endpoint.url) {
        endpoint.url = url;
        endpoint.state = EndpointState::Unverified;
        endpoint.reason = None;
        endpoint.verified_at = None;
        endpoint.challenge = Uuid::new_v4().simple().to_string();
    }
    if let Some(headers) = &patch.headers {
        endpoint.headers = sealed(&hub, id, headers)?;
    }
    // It may go elsewhere now, or say more: no more than this token may see.
    endpoint.scopes = endpoint.scopes.and(client.scopes);
    endpoint.types = patch.types.unwrap_or(endpoint.types);
    endpoint.filter = patch.filter.unwrap_or(endpoint.filter);
    endpoint.payload = patch.payload.unwrap_or(endpoint.payload);
    endpoint.order = patch.order.unwrap_or(endpoint.order);
    endpoint.imports = patch.imports.unwrap_or(endpoint.imports);
    endpoint.rate = patch.rate.unwrap_or(endpoint.rate);
    endpoint.description = patch.description.unwrap_or(endpoint.description);
    check(&hub, &endpoint)?;
    save(&hub, &client, endpoint).await
}

async fn delete(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<StatusCode, HubError> {
    find(&hub, &client, id).await?;
    let mut tx = hub.log.db().begin(&client.tenant).await?;
    lanes::delete(&mut tx, id).await?; // first: no more deliveries are written down
    deliveries::delete(&mut tx, &client.tenant, id).await?;
    endpoint::delete(&mut tx, &client.tenant, id).await?;
    tx.commit().await?;
    hub.webhooks.kick();
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a message that is not part of the chain.
async fn aside(
    hub: &Hub,
    client: &Client,
    endpoint: &Endpoint,
    kind: &str,
    data: &serde_json::Value,
) -> Result<Outcome, HubError> {
    let url = hub.webhooks.sender.check_url(&endpoint.url).map_err(|bad| HubError::bad_request(bad.to_string()))?;
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let keys = keys::current(&mut conn, &client.tenant, &hub.webhooks.vault, endpoint.id).await;
    let keys = keys.map_err(|error| failed(&error))?;
    drop(conn);
    let headers = opened(hub, endpoint)?;
    let head = hub.log.head(&client.tenant).await?.unwrap_or_default();
    let (id, body) = message::aside(&client.tenant, kind, head, data);
    let timestamp = Utc::now().timestamp();
    let signature = sign(&keys, &id, timestamp, &body);
    let request = Request { url: &url, id: &id, timestamp, signature, headers: &headers, body: body.into() };
    Ok(hub.webhooks.sender.send(request).await)
}

/// Whether an answer repeats the challenge: as JSON, `{"challenge": "…"}`, or as it is.
fn repeats(outcome: &Outcome, challenge: &str) -> bool {
    #[derive(Deserialize)]
    struct Echo {
        challenge: String,
    }
    let Some(body) = outcome.body.as_ref().filter(|_| outcome.delivered()) else { return false };
    match serde_json::from_slice::<Echo>(body) {
        Ok(echo) => echo.challenge == challenge,
        Err(_) => std::str::from_utf8(body).is_ok_and(|text| text.trim().trim_matches('"') == challenge),
    }
}

/// `POST /webhooks/{id}/verify`: sends the challenge. An address that repeats it is delivered to from now on.
async fn verify(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Trial>, HubError> {
    let endpoint = find(&hub, &client, id).await?;
    let data = json!({ "endpoint": id, "challenge": endpoint.challenge });
    let outcome = aside(&hub, &client, &endpoint, "endpoint.verification", &data).await?;
    if !repeats(&outcome, &endpoint.challenge) {
        let wrong = "the answer does not repeat the challenge";
        return Ok(Json(Trial::new(&outcome, false, Some(wrong), endpoint.state)));
    }
    let mut tx = hub.log.db().begin(&client.tenant).await?;
    let state = endpoint::verified(&mut tx, &client.tenant, id, &endpoint.challenge).await?.ok_or_else(unknown)?;
    lanes::changed(&mut tx, id, state == EndpointState::Active).await?;
    tx.commit().await?;
    hub.webhooks.kick();
    Ok(Json(Trial::new(&outcome, true, None, state)))
}

/// `POST /webhooks/{id}/test`: sends an `endpoint.test` at once, whatever state the endpoint is in.
async fn test(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Trial>, HubError> {
    let endpoint = find(&hub, &client, id).await?;
    let outcome = aside(&hub, &client, &endpoint, "endpoint.test", &json!({ "endpoint": id })).await?;
    Ok(Json(Trial::new(&outcome, outcome.delivered(), None, endpoint.state)))
}

async fn pause(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Shown>, HubError> {
    let mut endpoint = find(&hub, &client, id).await?;
    if endpoint.state == EndpointState::Active {
        endpoint.state = EndpointState::Paused;
    }
    save(&hub, &client, endpoint).await
}

/// `POST /webhooks/{id}/resume`: goes on where it stopped, paused or disabled.
async fn resume(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Shown>, HubError> {
    let mut endpoint = find(&hub, &client, id).await?;
    if endpoint.verified_at.is_none() {
        let message = "The address has not answered the challenge yet: verify it.";
        return Err(HubError::new(StatusCode::CONFLICT, "unverified", message));
    }
    (endpoint.state, endpoint.reason) = (EndpointState::Active, None);
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    lanes::forgive(&mut conn, id).await?;
    drop(conn);
    save(&hub, &client, endpoint).await
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

/// A new key is to take the place of those there are.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "WebhookRotation")]
pub struct Rotation {
    /// For which the old ones go on to sign beside it; 24 when it is left out.
    overlap_hours: Option<f64>,
    secret: Option<String>,
    key: Option<KeyName>,
}

async fn keys_of(hub: &Hub, client: &Client, id: Uuid, secret: Option<String>) -> Result<Json<Keys>, HubError> {
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let listed = keys::list(&mut conn, &client.tenant, id).await?.into_iter().map(|key| ShownKey {
        id: key.id,
        kind: key.kind,
        created_at: key.created_at,
        expires_at: key.expires_at,
    });
    Ok(Json(Keys { secrets: listed.collect(), secret }))
}

async fn secrets(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Keys>, HubError> {
    find(&hub, &client, id).await?;
    keys_of(&hub, &client, id, None).await
}

async fn rotate(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    bytes: Bytes,
) -> Result<Json<Keys>, HubError> {
    let rotation: Rotation = body(&bytes)?;
    own(&hub, &client, id).await?;
    let overlap = rotation.overlap_hours.unwrap_or(OVERLAP_HOURS);
    if !(0.0..=8_760.0).contains(&overlap) {
        return Err(HubError::bad_request("overlapHours is a number from 0 to 8760."));
    }
    let (key, text) = match &rotation.secret {
        Some(secret) => {
            let key = SigningKey::parse(secret).map_err(|bad| HubError::bad_request(bad.to_string()))?;
            (key, secret.clone())
        }
        None => made(rotation.key)?,
    };
    let mut tx = hub.log.db().begin(&client.tenant).await?;
    let added = keys::add(&mut tx, &client.tenant, &hub.webhooks.vault, id, &key, overlap * 3_600.0).await;
    added.map_err(|error| failed(&error))?;
    lanes::touched(&mut tx, id).await?;
    tx.commit().await?;
    hub.webhooks.kick();
    keys_of(&hub, &client, id, Some(text)).await
}
