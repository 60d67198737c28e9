//! The token endpoint (RFC 6749, client credentials) and the keys that its tokens are checked with.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;

use super::Hub;
use super::address::ClientAddress;
use super::error::HubError;
use crate::auth::AuthError;
use crate::auth::grant::{self, Refused};
use crate::db::is_unavailable;

/// Largest request in bytes.
const LARGEST: usize = 16 * 1024;

const FORM: &str = "application/x-www-form-urlencoded";

pub fn router() -> Router<Hub> {
    let tokens = Router::new()
        .route("/oauth/token", post(token))
        .method_not_allowed_fallback(async || OAuthError::wrong_verb())
        .layer(CatchPanicLayer::custom(|_| OAuthError::server_error().into_response()));
    let keys = Router::new()
        .route("/.well-known/jwks.json", get(jwks))
        .method_not_allowed_fallback(async || HubError::wrong_verb());
    tokens.merge(keys)
}

/// A token, as RFC 6749, section 5.1, has it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Token", deny_unknown_fields)]
pub struct TokenAnswer {
    access_token: String,
    #[schemars(extend("enum" = ["Bearer"]))]
    token_type: &'static str,
    /// Seconds that it lives.
    expires_in: i64,
    /// The scopes granted, blanks between.
    scope: String,
}

/// An error as RFC 6749, section 5.2, has it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenError", deny_unknown_fields)]
pub struct ErrorAnswer<'a> {
    error: &'a str,
    error_description: &'a str,
}

#[derive(Debug)]
struct OAuthError {
    status: StatusCode,
    code: &'static str,
    description: String,
    /// Seconds after which to ask again.
    wait: Option<u64>,
}

impl OAuthError {
    fn new(status: StatusCode, code: &'static str, description: impl Into<String>) -> Self {
        Self { status, code, description: description.into(), wait: None }
    }
    fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }
    fn invalid_client() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_client", "The client is unknown, or its secret is wrong.")
    }
    fn wrong_verb() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "Tokens are asked for with POST.")
    }
    fn server_error() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "The request could not be answered.")
    }
}

impl From<Refused> for OAuthError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Client => Self::invalid_client(),
            Refused::Scope => {
                Self::new(StatusCode::BAD_REQUEST, "invalid_scope", "The client has none of the scopes asked for.")
            }
            Refused::Address => {
                let description = "The client may not call from this address.";
                Self::new(StatusCode::FORBIDDEN, "unauthorized_client", description)
            }
            Refused::TooMany(wait) => {
                let description = "Too many attempts have failed; try again later.";
                let wait = Some(wait.as_secs() + 1);
                Self { wait, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable", description) }
            }
            Refused::Failed(AuthError::Sql(error)) if is_unavailable(&error) => {
                let description = "The database is away; try again soon.";
                let wait = Some(super::error::RETRY_AFTER);
                Self { wait, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", description) }
            }
            Refused::Failed(error) => {
                tracing::error!(%error, "a token could not be given");
                Self::server_error()
            }
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body = Json(ErrorAnswer { error: self.code, error_description: &self.description });
        let mut response = not_stored((self.status, body).into_response());
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"rosterhub\""));
        }
        if let Some(wait) = self.wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}

/// RFC 6749, section 5.1: of everything that may hold tokens.
fn not_stored(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// `POST /oauth/token`
async fn token(
    State(hub): State<Hub>,
    ClientAddress(address): ClientAddress,
    request: Request,
) -> Result<Response, OAuthError> {
    let (parts, body) = request.into_parts();
    let form = Form::read(&parts.headers, body).await?;
    let grant_type = form.get("grant_type").ok_or_else(|| OAuthError::invalid_request("grant_type is missing."))?;
    if grant_type != "client_credentials" {
        let description = "The grant type is client_credentials.";
        return Err(OAuthError::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", description));
    }
    let (client_id, secret) = credentials(&parts.headers, &form)?;
    let request = grant::Request { client_id: &client_id, secret: &secret, scope: form.get("scope"), address };
    let grant = hub.auth.grant(request).await?;
    let body = TokenAnswer {
        access_token: grant.token,
        token_type: "Bearer",
        expires_in: grant.expires_in,
        scope: grant.scopes.to_string(),
    };
    Ok(not_stored(Json(body).into_response()))
}

/// Parameters of the request. Those without a value count as left out (RFC 6749, section 3.2).
struct Form(Vec<(String, String)>);

impl Form {
    async fn read(headers: &HeaderMap, body: Body) -> Result<Self, OAuthError> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case(FORM) {
            return Err(OAuthError::invalid_request(format!("The request is of the type {FORM}.")));
        }
        let body = axum::body::to_bytes(body, LARGEST).await;
        let body = body.map_err(|_| OAuthError::invalid_request("The request is too large, or broke off."))?;
        let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
        if form.iter().enumerate().any(|(n, (name, _))| form[..n].iter().any(|(earlier, _)| earlier == name)) {
            return Err(OAuthError::invalid_request("A parameter is there twice."));
        }
        Ok(Self(form))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, value)| n == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// Client and secret, from Basic or from the form (RFC 6749, section 2.3.1).
fn credentials(headers: &HeaderMap, form: &Form) -> Result<(String, String), OAuthError> {
    let in_form = (form.get("client_id"), form.get("client_secret"));
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return match in_form {
            (Some(id), Some(secret)) => Ok((id.to_owned(), secret.to_owned())),
            _ => Err(OAuthError::invalid_client()),
        };
    };
    if in_form.1.is_some() || values.next().is_some() {
        return Err(OAuthError::invalid_request("A client proves itself in one way only."));
    }
    let (id, secret) = value.to_str().ok().and_then(basic).ok_or_else(OAuthError::invalid_client)?;
    match in_form.0 {
        Some(other) if other != id => Err(OAuthError::invalid_request("client_id names two clients.")),
        _ => Ok((id, secret)),
    }
}

/// Id and secret are form-encoded before they are joined and encoded again.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    let joined = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = joined.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (form_decoded(id), form_decoded(secret)))
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// `GET /.well-known/jwks.json`: the public keys of tokens that may still be valid.
async fn jwks(State(hub): State<Hub>) -> Result<Response, HubError> {
    let keys = hub.auth.keys.jwks().await?;
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=300")];
    Ok((headers, keys.to_string()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_decoded_twice() {
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let pair = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(basic(&header("a:b")), pair("a", "b"));
        assert_eq!(basic(&header("a%3Ab:c%25+d:e")), pair("a:b", "c% d:e"));
        assert_eq!(basic(&header("a:b").replace("Basic", "bAsIc")), pair("a", "b"));
        for bad in ["", "Basic", "Basic !", &header("ab"), &header("a:b").replace("Basic", "Bearer")] {
            assert_eq!(basic(bad), None, "{bad}");
        }
        assert_eq!(basic(&format!("Basic {}", STANDARD.encode([0xff, b':']))), None);
    }
}
