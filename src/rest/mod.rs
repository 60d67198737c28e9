//! The REST gateway: OneRoster's Rostering service, and the hub's own paths under `/rosterhub/v1`.

pub mod access;
pub mod address;
pub mod admission;
pub mod answer;
pub mod audit;
pub mod batch;
pub mod changes;
pub mod compression;
pub mod deliveries;
pub mod erasures;
pub mod error;
pub mod event_types;
pub mod events;
pub mod exports;
pub mod extract;
pub mod follow;
pub mod history;
pub mod imports;
pub mod notices;
pub mod oauth;
pub mod oneroster;
pub mod openapi;
pub mod parameters;
pub mod patience;
pub mod pieces;
pub mod plans;
pub mod refused;
pub mod uploads;
pub mod wait;
pub mod webhooks;
pub mod writes;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};
use tower_layer::Layer as _;

use crate::access::Access;
use crate::audit::{Audit, AuditError};
use crate::auth::{Auth, AuthError};
use crate::config::Config;
use crate::csv::intake::Intake;
use crate::csv::uploads::Uploads;
use crate::erasure::Erasures;
use crate::feed::Feed;
use crate::graphql::sessions::Sessions;
use crate::graphql::{Gateway, http};
use crate::log::Log;
use crate::query::counts::Counts;
use crate::webhook::Webhooks;
use address::{BadPublicUrl, Proxies};
use admission::admit;
use error::{HubError, ImsxError};

/// Names the log position that an answer stands at.
pub const POSITION: HeaderName = HeaderName::from_static("rosterhub-position");

/// Where the Rostering service is.
pub const ROSTERING: &str = "/ims/oneroster/rostering/v1p2";

/// Where the hub's own paths are.
pub const HUB: &str = "/rosterhub/v1";

/// What handlers work with.
#[derive(Clone)]
pub struct Hub {
    pub log: Log,
    pub config: Arc<Config>,
    pub auth: Arc<Auth>,
    pub feed: Feed,
    pub graphql: Gateway,
    pub sessions: Arc<Sessions>,
    proxies: Arc<Proxies>,
    pub imports: Intake,
    pub uploads: Uploads,
    pub webhooks: Webhooks,
    pub audit: Audit,
    pub erasures: Erasures,
    pub access: Access,
    /// How many exports may still begin.
    exports: Arc<Semaphore>,
    counts: Counts,
    /// Of answers sent lately, by tenant and request: entity tag and position.
    validators: moka::sync::Cache<String, (String, i64)>,
}

const VALIDATORS: u64 = 100_000;

/// Why the gateway cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    PublicUrl(#[from] BadPublicUrl),
    #[error(transparent)]
    Graphql(#[from] crate::graphql::OpenError),
    #[error(transparent)]
    Webhooks(#[from] crate::webhook::OpenError),
}

impl Hub {
    pub async fn open(log: Log, config: Config) -> Result<Self, OpenError> {
        let imports = Intake::new(&log, &config);
        let feed = Feed::new(log.clone());
        let auth = Arc::new(Auth::open(log.db(), &config).await?);
        let access = Access::new(log.clone(), &config.access);
        let webhooks = Webhooks::open(log.clone(), &config)?;
        Ok(Self {
            proxies: Arc::new(Proxies::new(&config)?),
            sessions: Sessions::start(auth.clone()),
            auth,
            graphql: Gateway::new(
                log.clone(),
                feed.clone(),
                imports.clone(),
                access.clone(),
                webhooks.clone(),
                &config.graphql,
            )?,
            feed,
            uploads: Uploads::new(&imports, &config),
            webhooks,
            audit: Audit::open(log.clone(), &config)?,
            erasures: Erasures::new(log.clone()),
            access,
            imports,
            exports: Arc::new(Semaphore::new(config.max_exports.max(1))),
            counts: Counts::new(log.db().clone()),
            validators: moka::sync::Cache::new(VALIDATORS),
            config: Arc::new(config),
            log,
        })
    }
}

/// Every route of the server. A slash at the end of a path changes nothing.
pub fn service(hub: Hub) -> NormalizePath<Router> {
    NormalizePathLayer::trim_trailing_slash().layer(router(hub))
}

fn router(hub: Hub) -> Router {
    let oneroster = oneroster::router()
        .fallback(async || ImsxError::unknown_path())
        .method_not_allowed_fallback(async || ImsxError::wrong_verb())
        .layer(from_fn_with_state(hub.clone(), admit::<ImsxError>))
        .layer(CatchPanicLayer::custom(|_| ImsxError::internal().into_response()));
    let own = imports::router()
        .merge(exports::router())
        .merge(plans::router())
        .merge(uploads::router())
        .merge(follow::router())
        .merge(changes::router())
        .merge(writes::router())
        .merge(webhooks::router())
        .merge(deliveries::router())
        .merge(notices::router())
        .merge(audit::router())
        .merge(history::router())
        .merge(access::router())
        .merge(erasures::router())
        .merge(event_types::router())
        .fallback(async || HubError::unknown_path())
        .method_not_allowed_fallback(async || HubError::wrong_verb())
        .layer(from_fn_with_state(hub.clone(), admit::<HubError>))
        .layer(CatchPanicLayer::custom(|_| HubError::internal().into_response()));
    let compressible = DefaultPredicate::new().and(NotForContentType::const_new(exports::ZIP));
    Router::new()
        .nest(ROSTERING, oneroster)
        .nest(HUB, own)
        .merge(oauth::router())
        .merge(openapi::router())
        .merge(http::router(hub.clone()))
        .route("/health/live", get(async || "ok\n"))
        .route("/health/ready", get(ready))
        .fallback(async || HubError::unknown_path())
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(compressible))
        .layer(from_fn(compression::tags))
        .layer(from_fn_with_state(hub.clone(), patience::bounded))
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
