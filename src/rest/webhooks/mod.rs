//! Endpoints of webhooks over HTTP: register, verify, change, pause, delete.

pub mod answers;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::Hub;
use super::error::HubError;
use super::extract::{HubPath, Subscriber};
use crate::webhook::commands::{Trial, WebhookError};
use answers::{Keys, List, Shown};

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

/// What the body says. An empty one says nothing.
pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, HubError> {
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes)
        .map_err(|error| HubError::bad_request(format!("The body is not as it should be: {error}.")))
}

impl From<WebhookError> for HubError {
    fn from(error: WebhookError) -> Self {
        let code = error.code();
        let status = match error {
            WebhookError::Sql(error) => return error.into(),
            WebhookError::Secret(_) => {
                tracing::error!("{error}");
                return Self::internal();
            }
            WebhookError::Invalid(..) => StatusCode::BAD_REQUEST,
            WebhookError::Unknown(_) => StatusCode::NOT_FOUND,
            WebhookError::OfAnother | WebhookError::NothingToSee => StatusCode::FORBIDDEN,
            WebhookError::TooMany | WebhookError::Unverified => StatusCode::CONFLICT,
        };
        Self::new(status, code, error.to_string())
    }
}

async fn list(Subscriber(client): Subscriber, State(hub): State<Hub>) -> Result<Json<List>, HubError> {
    let webhooks = hub.webhooks.list(&client).await?.into_iter().map(Shown::from).collect();
    Ok(Json(List { webhooks }))
}

/// `POST /webhooks`: nothing is sent until the address has answered the challenge.
async fn create(Subscriber(client): Subscriber, State(hub): State<Hub>, bytes: Bytes) -> Result<Response, HubError> {
    let (made, secret) = hub.webhooks.register(&client, body(&bytes)?).await?;
    let mut shown = Shown::from(made);
    shown.secret = Some(secret);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

async fn single(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Shown>, HubError> {
    let mut shown = Shown::from(hub.webhooks.single(&client, id).await?);
    shown.deliveries = hub.webhooks.counts(&client, id).await?.into_iter().collect();
    Ok(Json(shown))
}

/// `PATCH /webhooks/{id}`: a new address has to be verified before anything is sent to it.
async fn change(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    bytes: Bytes,
) -> Result<Json<Shown>, HubError> {
    Ok(Json(hub.webhooks.change(&client, id, body(&bytes)?).await?.into()))
}

async fn delete(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<StatusCode, HubError> {
    hub.webhooks.remove(&client, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /webhooks/{id}/verify`: sends the challenge. An address that repeats it is delivered to from now on.
async fn verify(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Trial>, HubError> {
    Ok(Json(hub.webhooks.verify(&client, id).await?))
}

/// `POST /webhooks/{id}/test`: sends an `endpoint.test` at once, whatever state the endpoint is in.
async fn test(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Trial>, HubError> {
    Ok(Json(hub.webhooks.test(&client, id).await?))
}

async fn pause(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Shown>, HubError> {
    Ok(Json(hub.webhooks.pause(&client, id).await?.into()))
}

/// `POST /webhooks/{id}/resume`: goes on where it stopped, paused or disabled.
async fn resume(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Shown>, HubError> {
    Ok(Json(hub.webhooks.resume(&client, id).await?.into()))
}

async fn secrets(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Keys>, HubError> {
    Ok(Json(Keys::new(hub.webhooks.secrets(&client, id).await?, None)))
}

async fn rotate(
    Subscriber(client): Subscriber,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    bytes: Bytes,
) -> Result<Json<Keys>, HubError> {
    let (listed, secret) = hub.webhooks.rotate(&client, id, body(&bytes)?).await?;
    Ok(Json(Keys::new(listed, Some(secret))))
}
