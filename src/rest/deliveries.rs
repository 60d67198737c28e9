//! What was sent to endpoints of webhooks over HTTP: the delivery log, and sending again.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Hub;
use super::error::HubError;
use super::extract::{HubPath, HubQuery, Subscriber};
use super::imports::number;
use super::plans::known;
use super::webhooks::{body, find};
use crate::auth::Client;
use crate::webhook::deliveries::{self, Again, STATES};
use crate::webhook::lanes;

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/webhooks/{id}/replay", post(replay))
        .route("/webhooks/{id}/recover", post(recover))
        .route("/webhooks/{id}/deliveries", get(log))
        .route("/webhooks/{id}/deliveries/{message}", get(delivery))
        .route("/webhooks/{id}/deliveries/{message}/resend", post(resend))
}

/// Where to begin again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WebhookSince")]
pub struct Since {
    /// A log position.
    after: Option<i64>,
    /// Or a time.
    since: Option<DateTime<Utc>>,
}

async fn begin(hub: &Hub, client: &Client, bytes: &Bytes) -> Result<i64, HubError> {
    let head = hub.log.head(&client.tenant).await?.unwrap_or_default();
    let since: Since = body(bytes)?;
    match (since.after, since.since) {
        (Some(after), None) if (0..=head).contains(&after) => Ok(after),
        (None, Some(time)) => Ok(hub.log.position_at(&client.tenant, time).await?),
        _ => Err(HubError::bad_request("The body has after, a log position that has been reached, or since, a time.")),
    }
}

/// How many messages are sent again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookAgain", deny_unknown_fields)]
pub struct Messages {
    messages: u64,
}

/// `POST /webhooks/{id}/replay`: tells all after a position again, under new ids.
async fn replay(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    bytes: Bytes,
) -> Result<StatusCode, HubError> {
    find(&hub, &client, id).await?;
    let after = begin(&hub, &client, &bytes).await?;
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    lanes::replay(&mut conn, id, after).await?;
    drop(conn);
    hub.webhooks.kick();
    Ok(StatusCode::ACCEPTED)
}

/// `POST /webhooks/{id}/recover`: sends what failed since a position again.
async fn recover(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    bytes: Bytes,
) -> Result<Response, HubError> {
    find(&hub, &client, id).await?;
    let after = begin(&hub, &client, &bytes).await?;
    send_again(&hub, &client, id, Again::FailedSince(after)).await
}

async fn send_again(hub: &Hub, client: &Client, id: Uuid, again: Again<'_>) -> Result<Response, HubError> {
    let mut tx = hub.log.db().begin(&client.tenant).await?;
    let messages = deliveries::again(&mut tx, &client.tenant, id, again).await?;
    lanes::touched(&mut tx, id).await?;
    tx.commit().await?;
    hub.webhooks.kick();
    Ok((StatusCode::ACCEPTED, Json(Messages { messages })).into_response())
}

/// Messages, the youngest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookDeliveries", deny_unknown_fields)]
pub struct Deliveries {
    deliveries: Vec<deliveries::Listed>,
}

/// `GET /webhooks/{id}/deliveries?state=&type=&before=&limit=`
async fn log(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<Deliveries>, HubError> {
    known(&query, &["state", "type", "before", "limit"])?;
    find(&hub, &client, id).await?;
    let state = query.get("state").cloned();
    if state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
        return Err(HubError::bad_request(format!("state is one of {}.", STATES.join(", "))));
    }
    let limit = number(&query, "limit", 100)?.clamp(1, i64::from(hub.config.max_page));
    let before = query.get("before").map(|_| number(&query, "before", 0)).transpose()?;
    let selection = deliveries::Selection { state, r#type: query.get("type").cloned(), before, limit };
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let deliveries = deliveries::list(&mut conn, &client.tenant, id, &selection).await?;
    Ok(Json(Deliveries { deliveries }))
}

/// A message and its attempts.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WebhookDeliveryWithAttempts", deny_unknown_fields)]
pub struct Attempted {
    delivery: deliveries::Listed,
    attempts: Vec<deliveries::Attempt>,
}

async fn delivery(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath((id, message)): HubPath<(Uuid, String)>,
) -> Result<Json<Attempted>, HubError> {
    find(&hub, &client, id).await?;
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let found = deliveries::find(&mut conn, &client.tenant, id, &message).await?;
    let (delivery, attempts) = found.ok_or_else(|| HubError::not_found("message"))?;
    Ok(Json(Attempted { delivery, attempts }))
}

/// `POST /webhooks/{id}/deliveries/{message}/resend`: whatever became of it.
async fn resend(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath((id, message)): HubPath<(Uuid, String)>,
) -> Result<Response, HubError> {
    find(&hub, &client, id).await?;
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let found = deliveries::find(&mut conn, &client.tenant, id, &message).await?;
    drop(conn);
    found.ok_or_else(|| HubError::not_found("message"))?;
    send_again(&hub, &client, id, Again::Message(&message)).await
}
