//! GraphQL over HTTP.

use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::{sse, ws};
use crate::auth::Client;
use crate::rest::Hub;
use crate::rest::admission::admit;
use crate::rest::error::HubError;

pub fn router(hub: Hub) -> Router<Hub> {
    Router::new()
        .route("/graphql", post(answer))
        .layer(from_fn_with_state(hub.clone(), sse::divert))
        .layer(from_fn_with_state(hub.clone(), admit::<HubError>))
        .layer(from_fn_with_state(hub, ws::divert))
}

async fn answer(State(hub): State<Hub>, client: Client, Json(request): Json<async_graphql::Request>) -> Response {
    Json(hub.graphql.answer(request, &client).await).into_response()
}
