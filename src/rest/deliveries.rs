//! What was sent to endpoints of webhooks over HTTP: the delivery log, and sending again.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Hub;
use super::error::HubError;
use super::extract::{HubPath, HubQuery, Subscriber};
use super::follow::time;
use super::imports::number;
use super::plans::known;
use super::webhooks::body;
use crate::webhook::deliveries::{self, STATES};
use crate::webhook::statistics::Statistics;

/// Hours that figures are of, when nobody says since when.
pub const HOURS: i64 = 24;

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/webhooks/{id}/replay", post(replay))
        .route("/webhooks/{id}/recover", post(recover))
        .route("/webhooks/{id}/statistics", get(statistics))
        .route("/webhooks/{id}/deliveries", get(log))
        .route("/webhooks/{id}/deliveries/{message}", get(delivery))
        .route("/webhooks/{id}/deliveries/{message}/resend", post(resend))
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
    hub.webhooks.replay(&client, id, body(&bytes)?).await?;
    Ok(StatusCode::ACCEPTED)
}

/// `POST /webhooks/{id}/recover`: sends what failed since a position again.
async fn recover(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    bytes: Bytes,
) -> Result<Response, HubError> {
    Ok(accepted(hub.webhooks.recover(&client, id, body(&bytes)?).await?))
}

fn accepted(messages: u64) -> Response {
    (StatusCode::ACCEPTED, Json(Messages { messages })).into_response()
}

/// `GET /webhooks/{id}/statistics?since=`
async fn statistics(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<Statistics>, HubError> {
    known(&query, &["since"])?;
    let since = time(&query, "since")?.unwrap_or_else(|| Utc::now() - TimeDelta::hours(HOURS));
    Ok(Json(hub.webhooks.statistics(&client, id, since).await?))
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
    let state = query.get("state").cloned();
    if state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
        return Err(HubError::bad_request(format!("state is one of {}.", STATES.join(", "))));
    }
    let limit = number(&query, "limit", 100)?.clamp(1, i64::from(hub.config.max_page));
    let before = query.get("before").map(|_| number(&query, "before", 0)).transpose()?;
    let selection = deliveries::Selection { state, r#type: query.get("type").cloned(), before, limit };
    let deliveries = hub.webhooks.deliveries(&client, id, &selection).await?;
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
    let (delivery, attempts) = hub.webhooks.delivery(&client, id, &message).await?;
    Ok(Json(Attempted { delivery, attempts }))
}

/// `POST /webhooks/{id}/deliveries/{message}/resend`: whatever became of it.
async fn resend(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath((id, message)): HubPath<(Uuid, String)>,
) -> Result<Response, HubError> {
    Ok(accepted(hub.webhooks.resend(&client, id, &message).await?))
}
