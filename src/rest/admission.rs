//! What every request to an API passes first: who is it, may it call from there, does it ask too often. Which scope
//! it needs, each endpoint says for itself.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Hub;
use super::address::ClientAddress;
use crate::auth::limit::Standing;
use crate::auth::{Client, Scope};

/// How an API words what is refused before its handlers are reached.
pub trait Refusal: IntoResponse + From<sqlx::Error> + Send {
    /// 401. `given`: a token was sent.
    fn unauthorised(given: bool) -> Self;
    /// 403: the token has none of these scopes.
    fn insufficient_scope(any_of: &[Scope]) -> Self;
    /// 403: not from this address.
    fn wrong_address() -> Self;
    /// 429. `wait`: seconds after which to ask again.
    fn too_many_requests(wait: u64) -> Self;
}

/// Lets a request in, with its [`Client`], or answers it in the API's own shape.
pub async fn admit<R: Refusal>(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    match identify::<R>(&hub, request).await {
        Ok((request, standing)) => {
            let mut response = next.run(request).await;
            standing.iter().for_each(|standing| tell(standing, &mut response));
            response
        }
        Err((refusal, standing)) => {
            let mut response = refusal.into_response();
            standing.iter().for_each(|standing| tell(standing, &mut response));
            response
        }
    }
}

async fn identify<R: Refusal>(
    hub: &Hub,
    request: Request,
) -> Result<(Request, Option<Standing>), (R, Option<Standing>)> {
    let (mut parts, body) = request.into_parts();
    let token = bearer(&parts.headers).map_err(|()| (R::unauthorised(true), None))?;
    let token = token.ok_or_else(|| (R::unauthorised(false), None))?.to_owned();
    let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(&mut parts, hub).await;
    let admitted = admit_token(hub, &token, address).await;
    let (client, standing) = admitted.map_err(|(denied, standing)| (denied.refusal(), standing))?;
    parts.extensions.insert(client);
    Ok((Request::from_parts(parts, body), standing))
}

/// Why a token is not let in.
pub enum Denied {
    Unknown,
    WrongAddress,
    /// Seconds after which to ask again.
    TooMany(u64),
    Sql(sqlx::Error),
}

impl Denied {
    /// In the words of an API.
    pub fn refusal<R: Refusal>(self) -> R {
        match self {
            Self::Unknown => R::unauthorised(true),
            Self::WrongAddress => R::wrong_address(),
            Self::TooMany(wait) => R::too_many_requests(wait),
            Self::Sql(error) => R::from(error),
        }
    }
}

/// The client of a token, with where it stands in its limit, of which this takes one request.
pub async fn admit_token(
    hub: &Hub,
    token: &str,
    address: Option<IpAddr>,
) -> Result<(Client, Option<Standing>), (Denied, Option<Standing>)> {
    let client = hub.auth.bearer(token).await.map_err(|e| (Denied::Sql(e), None))?;
    let client = client.ok_or((Denied::Unknown, None))?;
    if !client.may_call_from(address) {
        return Err((Denied::WrongAddress, None));
    }
    let standing = hub.auth.limit(&client);
    match standing.and_then(|s| s.wait) {
        Some(wait) => Err((Denied::TooMany(wait), standing)),
        None => Ok((client, standing)),
    }
}

/// The bearer token of a request; `None` when it has none. An error when it cannot be read, or there are two.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let value = value.to_str().map_err(drop)?;
    match (values.next(), value.split_once(' ')) {
        (Some(_), _) => Err(()),
        (None, Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Ok(None),
    }
}

/// The three headers of draft-ietf-httpapi-ratelimit-headers-06, the last draft that has them as three; clients know
/// these.
fn tell(standing: &Standing, response: &mut Response) {
    for (name, value) in [
        ("ratelimit-limit", u64::from(standing.limit)),
        ("ratelimit-remaining", u64::from(standing.remaining)),
        ("ratelimit-reset", standing.reset),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

/// The client that [`admit`] has let in.
impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        // Missing only where a route has been left outside of `admit`.
        parts.extensions.get::<Self>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Refuses a client that has none of the scopes.
pub fn require<R: Refusal>(client: &Client, any_of: &[Scope]) -> Result<(), R> {
    if client.may_any(any_of) { Ok(()) } else { Err(R::insufficient_scope(any_of)) }
}
