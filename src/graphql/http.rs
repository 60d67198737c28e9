//! GraphQL over HTTP.

use axum::extract::{FromRequest, Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};

use super::error::{Code, Refusal};
use super::upload;
use crate::auth::Client;
use crate::rest::Hub;
use crate::rest::admission::admit;
use crate::rest::error::HubError;

pub fn router(hub: Hub) -> Router<Hub> {
    Router::new().route("/graphql", post(answer)).layer(from_fn_with_state(hub, admit::<HubError>))
}

async fn answer(State(hub): State<Hub>, client: Client, request: Request) -> Response {
    let request = match upload::is_form(request.headers()) {
        true => uploaded(&hub, &client, request).await,
        false => match Json::from_request(request, &()).await {
            Ok(Json(request)) => Ok(request),
            Err(rejection) => return rejection.into_response(),
        },
    };
    match request {
        Ok(request) => Json(hub.graphql.answer(request, &client).await).into_response(),
        Err(refusal) => Json(refusal.into_response()).into_response(),
    }
}

async fn uploaded(hub: &Hub, client: &Client, request: Request) -> Result<async_graphql::Request, Refusal> {
    let form = upload::receive(request, client, &hub.imports).await?;
    let request = serde_json::from_slice(&form.operations)
        .map_err(|_| Refusal::new(Code::BadUserInput, "operations is one GraphQL request as JSON."))?;
    form.uploads.bind(request)
}
