//! axum's extractors for the hub's own paths: what they reject is answered as [`HubError`].

use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::admission::require;
use super::error::HubError;
use super::patience::is_stalled;
use crate::auth::{Client, Scope};

/// Scopes of [`Subscriber`]: one of them.
pub const SUBSCRIBER: &[Scope] = &[Scope::Webhooks, Scope::Admin];
/// Scopes of [`Noticed`]: those of all kinds of notices.
pub const NOTICED: &[Scope] = &[Scope::Import, Scope::Export, Scope::Webhooks, Scope::Admin, Scope::Audit];

/// An extractor for each kind of client: it has one of the scopes, or the request is refused.
macro_rules! clients {
    ($($(#[$doc:meta])* $name:ident: $scopes:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name(pub Client);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = HubError;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
                let client = Client::from_request_parts(parts, state).await.map_err(|_| HubError::internal())?;
                require::<HubError>(&client, $scopes)?;
                Ok(Self(client))
            }
        }
    )*};
}

clients! {
    /// A client that may hand sets in.
    Importer: &[Scope::Import];
    /// A client that may take sets out.
    Exporter: &[Scope::Export];
    /// A client that may be told of changes.
    Follower: &[Scope::Roster];
    /// A client that may have its changes sent.
    Subscriber: SUBSCRIBER;
    /// A client that may erase people.
    Eraser: &[Scope::Erase];
    /// A client that may look into history and be given proofs.
    Auditor: &[Scope::Audit];
    /// A client that may be told of something that happens to the hub.
    Noticed: NOTICED;
}

/// [`Path`], on the hub's own paths.
pub struct HubPath<T>(pub T);

/// [`Query`], on the hub's own paths.
pub struct HubQuery<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for HubPath<T> {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
        let Path(value) = Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for HubQuery<T> {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HubError> {
        let Query(value) = Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// A text that is shown to whoever sent the request is about that request; if not, it is ours and not shown.
fn rejected(status: StatusCode, text: String) -> HubError {
    if status.is_client_error() { HubError::bad_request(text) } else { HubError::internal() }
}

impl From<PathRejection> for HubError {
    fn from(rejection: PathRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for HubError {
    fn from(rejection: QueryRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<MultipartRejection> for HubError {
    fn from(rejection: MultipartRejection) -> Self {
        rejected(rejection.status(), rejection.body_text())
    }
}

impl From<MultipartError> for HubError {
    fn from(error: MultipartError) -> Self {
        if is_stalled(&error) {
            return Self::stalled();
        }
        rejected(error.status(), error.body_text())
    }
}
