//! The REST gateway: OneRoster's Rostering service, and the hub's own paths under `/rosterhub/v1`.

pub mod error;
pub mod extract;
pub mod imports;
pub mod oneroster;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::auth::{Client, Tokens};
use crate::config::Config;
use crate::csv::queue::Queue;
use crate::log::Log;
use error::{HubError, ImsxError};

/// Names the log position that an answer stands at.
pub const POSITION: HeaderName = HeaderName::from_static("rosterhub-position");

/// Where the Rostering service is.
pub const ROSTERING: &str = "/ims/oneroster/rostering/v1p2";

/// What handlers work with.
#[derive(Clone)]
pub struct Hub {
    pub log: Log,
    pub config: Arc<Config>,
    tokens: Tokens,
    imports: Arc<Queue>,
    running: Arc<imports::Running>,
}

impl Hub {
    pub fn new(log: Log, config: Config) -> Self {
        Self {
            tokens: Tokens::new(log.db().clone()),
            imports: Queue::new(config.max_imports, config.max_queued_imports),
            running: Arc::default(),
            config: Arc::new(config),
            log,
        }
    }

    /// The address the client used, or the one configured.
    fn public_url(&self, headers: &HeaderMap) -> String {
        match &self.config.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
                format!("http://{}", host.unwrap_or("localhost"))
            }
        }
    }

    /// The client of a request, by its bearer token.
    async fn client(&self, headers: &HeaderMap) -> Result<Option<Client>, sqlx::Error> {
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match token {
            Some(token) => self.tokens.client(token).await,
            None => Ok(None),
        }
    }
}

/// Every route of the server.
pub fn router(hub: Hub) -> Router {
    let oneroster = oneroster::router()
        .fallback(async || ImsxError::unknown_path())
        .method_not_allowed_fallback(async || ImsxError::wrong_verb())
        .layer(CatchPanicLayer::custom(|_| ImsxError::internal().into_response()));
    let own = imports::router()
        .fallback(async || HubError::unknown_path())
        .method_not_allowed_fallback(async || HubError::wrong_verb())
        .layer(CatchPanicLayer::custom(|_| HubError::internal().into_response()));
    Router::new()
        .nest(ROSTERING, oneroster)
        .nest("/rosterhub/v1", own)
        .route("/health/live", get(async || "ok\n"))
        .route("/health/ready", get(ready))
        .fallback(async || HubError::unknown_path())
        .with_state(hub)
}

async fn ready(State(hub): State<Hub>) -> Response {
    match sqlx::query("select 1").execute(hub.log.db().pool()).await {
        Ok(_) => "ok\n".into_response(),
        Err(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], "the database is away\n").into_response()
        }
    }
}

/// A client that may import, for the hub's own paths.
pub struct Importer(pub Client);

impl FromRequestParts<Hub> for Importer {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self, HubError> {
        let client = hub.client(&parts.headers).await?.ok_or_else(HubError::unauthorised)?;
        if client.may("import") { Ok(Self(client)) } else { Err(HubError::forbidden("import")) }
    }
}
