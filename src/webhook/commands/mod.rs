//! What clients do with their endpoints, whichever gateway they come by: methods of [`Webhooks`].

mod again;
mod endpoints;
mod input;
mod trials;

use std::fmt::Display;

use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use input::{KeyName, NewWebhook, Rotation, Since, WebhookPatch};
pub use trials::Trial;

use super::endpoint::{self, Endpoint};
use super::headers::Headers;
use super::lanes::{self, Place};
use super::{Webhooks, secret};
use crate::auth::{Client, Scope};

/// Why a client's wish concerning its endpoints is not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// A member of what was said is wrong; the text says how. No member: all of it is.
    #[error("{1}")]
    Invalid(&'static str, String),
    #[error("There is no {0} of this id.")]
    Unknown(&'static str),
    #[error("Only the client that registered it may change a webhook; others may look at it, pause and delete it.")]
    OfAnother,
    #[error("No scope of the token is for any of these event types; the list of event types names what each needs.")]
    NothingToSee,
    #[error("As many webhooks as allowed are registered; delete one first.")]
    TooMany,
    #[error("The address has not answered the challenge yet: verify it.")]
    Unverified,
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// Keys or headers cannot be sealed or opened.
    #[error("secrets of a webhook cannot be worked with: {0}")]
    Secret(Box<dyn std::error::Error + Send + Sync>),
}

impl WebhookError {
    /// Stable name, as the gateways tell it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(..) => "bad_request",
            Self::Unknown(_) => "not_found",
            Self::OfAnother => "forbidden",
            Self::NothingToSee => "insufficient_scope",
            Self::TooMany => "too_many",
            Self::Unverified => "unverified",
            Self::Sql(_) | Self::Secret(_) => "internal",
        }
    }
}

fn invalid(member: &'static str, text: impl Display) -> WebhookError {
    WebhookError::Invalid(member, text.to_string())
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> WebhookError {
    WebhookError::Secret(Box::new(error))
}

/// No endpoint has this id, or the client does not see it.
pub const UNKNOWN: WebhookError = WebhookError::Unknown("webhook");

/// An endpoint with where it stands.
#[derive(Debug)]
pub struct Managed {
    pub endpoint: Endpoint,
    pub place: Option<Place>,
    /// Names of its own headers.
    pub headers: Vec<String>,
}

/// Clients see their own endpoints; those with the scope `admin`, all of the board's.
fn of(client: &Client) -> endpoint::Of {
    (!client.may_any(&[Scope::Admin])).then_some(client.id)
}

impl Webhooks {
    /// The endpoints that the client sees, in the order they were made.
    pub async fn list(&self, client: &Client) -> Result<Vec<Managed>, WebhookError> {
        Ok(self.page(client, None, usize::MAX).await?.0)
    }

    /// The same, after the one that was made then and has this id, and so many at most; and how many there are in all.
    pub async fn page(
        &self,
        client: &Client,
        after: Option<(DateTime<Utc>, Uuid)>,
        most: usize,
    ) -> Result<(Vec<Managed>, usize), WebhookError> {
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        let all = endpoint::list(&mut conn, &client.tenant, of(client)).await?;
        let total = all.len();
        let mut page = Vec::new();
        for endpoint in
            all.into_iter().filter(|found| after.is_none_or(|at| (found.created_at, found.id) > at)).take(most)
        {
            let place = lanes::place(&mut conn, endpoint.id).await?;
            page.push(self.managed(endpoint, place)?);
        }
        Ok((page, total))
    }

    /// One endpoint.
    pub async fn single(&self, client: &Client, id: Uuid) -> Result<Managed, WebhookError> {
        let endpoint = self.find(client, id).await?;
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        let place = lanes::place(&mut conn, id).await?;
        self.managed(endpoint, place)
    }

    /// An endpoint that the client sees.
    pub(super) async fn find(&self, client: &Client, id: Uuid) -> Result<Endpoint, WebhookError> {
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        endpoint::find(&mut conn, &client.tenant, of(client), id).await?.ok_or(UNKNOWN)
    }

    /// An endpoint to be changed: by its own client alone. It is told what that client may see, so nobody else may send
    /// it elsewhere.
    async fn own(&self, client: &Client, id: Uuid) -> Result<Endpoint, WebhookError> {
        let endpoint = self.find(client, id).await?;
        if endpoint.client == client.id { Ok(endpoint) } else { Err(WebhookError::OfAnother) }
    }

    fn managed(&self, endpoint: Endpoint, place: Option<Place>) -> Result<Managed, WebhookError> {
        let headers = self.opened(&endpoint)?.iter().map(|(name, _)| name.to_string()).collect();
        Ok(Managed { endpoint, place, headers })
    }

    fn opened(&self, endpoint: &Endpoint) -> Result<Headers, WebhookError> {
        let sealed = endpoint.headers.as_deref();
        let opened = sealed.map(|sealed| secret::open_headers(&self.vault, endpoint.id, sealed)).transpose();
        opened.map(Option::unwrap_or_default).map_err(unusable)
    }
}
