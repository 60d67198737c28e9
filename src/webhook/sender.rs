//! One attempt to deliver: a POST, and what came of it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};

use super::guard::{BadUrl, Forbidden, Guard, Resolver, Unresolved};
use crate::config::WebhooksConfig;

/// Longest that a connection may take, TLS and all.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an idle connection is kept: less than the 5 seconds after which common servers close it, since a request
/// that meets the closing is lost.
const IDLE: Duration = Duration::from_secs(4);

/// Idle connections kept to one host. Many endpoints may be there: with fewer, connections are made anew all the time.
const IDLE_PER_HOST: usize = 256;

/// Characters kept of an answer.
const EXCERPT: usize = 500;

/// Longest wait that an endpoint can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Sends deliveries. Clones share their connections.
///
/// Certificates are checked against those that the system trusts; in a closed network `SSL_CERT_FILE` or
/// `SSL_CERT_DIR` names others instead. No proxy is used, whatever the environment says: it would resolve names by
/// itself. Redirects are not followed.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    guard: Guard,
    timeout: Duration,
    most: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    #[error("webhooks.timeout_seconds must be more than 0")]
    Timeout,
    #[error("TLS for webhooks: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the client for webhooks: {0}")]
    Client(#[from] reqwest::Error),
}

/// What is sent.
pub struct Request<'a> {
    pub url: &'a Url,
    /// The header `webhook-id`.
    pub id: &'a str,
    /// Of the attempt, in seconds since 1970.
    pub timestamp: i64,
    /// As [`sign`](super::signature::sign) makes it, of the same id, timestamp and body.
    pub signature: String,
    /// The endpoint's own, checked.
    pub headers: &'a [(HeaderName, HeaderValue)],
    pub body: Bytes,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it was not delivered.
    pub failure: Option<Failure>,
    /// What more is known of a failure without an answer. No addresses.
    pub detail: Option<String>,
    /// How long to wait before the next attempt, as the endpoint has it; at most a day.
    pub retry_after: Option<Duration>,
    /// From the beginning until the answer was read, or the failure.
    pub latency: Duration,
    /// The answer's beginning, up to 500 characters, without control characters.
    pub excerpt: String,
    /// The answer's body, up to `max_response_bytes`. It may be cut off by the timeout as well: a delivery counts by
    /// its status.
    pub body: Option<Bytes>,
}

/// Why a delivery failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The answer's status is not 2xx.
    Refused,
    /// The answer is a redirect, which is not followed.
    Redirect,
    /// No answer in time.
    Timeout,
    /// The endpoint may not be called.
    Forbidden(Forbidden),
    /// Its name cannot be resolved.
    Dns,
    /// It cannot be connected to.
    Connect,
    /// No TLS connection with it, for example since its certificate is not trusted.
    Tls,
    /// The connection broke, or the answer is not HTTP.
    Broken,
}

impl Failure {
    /// As delivery logs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Redirect => "redirect",
            Self::Timeout => "timeout",
            Self::Forbidden(_) => "forbidden",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the answer is not 2xx",
            Self::Redirect => "the answer is a redirect, which is not followed",
            Self::Timeout => "no answer in time",
            Self::Forbidden(why) => return write!(f, "it may not be called: {why}"),
            Self::Dns => "its name cannot be resolved",
            Self::Connect => "it cannot be connected to",
            Self::Tls => "no TLS connection with it",
            Self::Broken => "the connection broke, or the answer is not HTTP",
        })
    }
}

impl Outcome {
    /// 2xx.
    pub fn delivered(&self) -> bool {
        self.failure.is_none()
    }

    /// The endpoint says that it is gone for good.
    pub fn gone(&self) -> bool {
        self.status == Some(StatusCode::GONE.as_u16())
    }

    /// The endpoint says that it is given too much.
    pub fn slow_down(&self) -> bool {
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].iter().any(|s| self.status == Some(s.as_u16()))
    }

    fn failed(failure: Failure, detail: Option<String>) -> Self {
        Self {
            status: None,
            failure: Some(failure),
            detail,
            retry_after: None,
            latency: Duration::ZERO,
            excerpt: String::new(),
            body: None,
        }
    }
}

impl Sender {
    pub fn new(settings: &WebhooksConfig) -> Result<Self, SenderError> {
        let guard = Guard::new(settings);
        let resolver = Resolver::new(guard.clone());
        Self::with(settings, guard, resolver, trusted())
    }

    fn with(
        settings: &WebhooksConfig,
        guard: Guard,
        resolver: Resolver,
        roots: RootCertStore,
    ) -> Result<Self, SenderError> {
        let timeout = Duration::try_from_secs_f64(settings.timeout_seconds).unwrap_or_default();
        if timeout.is_zero() {
            return Err(SenderError::Timeout);
        }
        // The provider is named: no other part of the program has to install one.
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(resolver)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .https_only(!settings.allow_http)
            .connect_timeout(CONNECT.min(timeout))
            .pool_max_idle_per_host(settings.concurrency.max(IDLE_PER_HOST))
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("RosterHub/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, guard, timeout, most: settings.max_response_bytes })
    }

    /// An address of an endpoint, as it may be saved.
    pub fn check_url(&self, url: &str) -> Result<Url, BadUrl> {
        self.guard.check_url(url)
    }

    /// Sends, and waits for the answer within `timeout_seconds` in all. Whatever goes wrong is part of the outcome.
    pub async fn send(&self, request: Request<'_>) -> Outcome {
        let begin = Instant::now();
        let mut outcome = self.attempt(request, begin + self.timeout).await;
        outcome.latency = begin.elapsed();
        outcome
    }

    async fn attempt(&self, request: Request<'_>, deadline: Instant) -> Outcome {
        if let Err(why) = self.guard.check(request.url) {
            return Outcome::failed(Failure::Forbidden(why), None);
        }
        let Ok(headers) = headers(&request) else {
            return Outcome::failed(Failure::Broken, Some("its headers cannot be sent".to_owned()));
        };
        let sent = self.client.post(request.url.clone()).headers(headers).body(request.body).send();
        let answer = match timeout_at(deadline, sent).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                let (failure, detail) = failure(&error);
                return Outcome::failed(failure, detail);
            }
            Err(_) => return Outcome::failed(Failure::Timeout, None),
        };
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| wait(value, SystemTime::now()));
        let body = self.read(answer, deadline).await;
        Outcome {
            status: Some(status.as_u16()),
            failure: match status {
                _ if status.is_success() => None,
                _ if status.is_redirection() => Some(Failure::Redirect),
                _ => Some(Failure::Refused),
            },
            retry_after,
            excerpt: excerpt(&body),
            body: Some(body),
            ..Outcome::failed(Failure::Refused, None)
        }
    }

    /// The answer's body as far as it is wanted and comes. One that is read to its end leaves its connection to the
    /// next.
    async fn read(&self, mut answer: Response, deadline: Instant) -> Bytes {
        let mut body = Vec::new();
        while let Ok(Ok(Some(part))) = timeout_at(deadline, answer.chunk()).await {
            let room = self.most - body.len();
            body.extend_from_slice(&part[..part.len().min(room)]);
            if part.len() > room {
                break;
            }
        }
        body.into()
    }
}

/// The certificates that the system trusts. Without any the hub starts all the same: endpoints may all be http.
fn trusted() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "certificates for webhooks");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!("no certificates are trusted: webhooks to https:// will fail; see SSL_CERT_FILE");
    }
    roots
}

fn headers(request: &Request<'_>) -> Result<HeaderMap, reqwest::header::InvalidHeaderValue> {
    let mut headers: HeaderMap = request.headers.iter().cloned().collect();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ID, request.id.parse()?);
    headers.insert(TIMESTAMP, request.timestamp.into());
    headers.insert(SIGNATURE, request.signature.parse()?);
    Ok(headers)
}

/// What the error was caused by, with what may be told of it.
fn failure(error: &reqwest::Error) -> (Failure, Option<String>) {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return (Failure::Tls, Some(clean(&error.to_string())));
        }
        match error.downcast_ref::<Unresolved>() {
            Some(Unresolved::Forbidden(why)) => return (Failure::Forbidden(*why), None),
            Some(_) => return (Failure::Dns, None),
            None => {}
        }
        // The source of an io::Error is that of what it holds, which would be passed over.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    match error {
        _ if error.is_connect() => (Failure::Connect, None),
        _ if error.is_timeout() => (Failure::Timeout, None),
        _ => (Failure::Broken, None),
    }
}

/// `Retry-After`: seconds, or a date of HTTP.
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = match !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // What is too large for a number is too long in any case.
        true => value.parse().map_or(LONGEST_WAIT, Duration::from_secs),
        false => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

fn excerpt(body: &[u8]) -> String {
    // As many bytes as so many characters can have.
    clean(&String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)]))
}

/// One line of at most 500 characters, none of which steers a terminal or a page.
fn clean(text: &str) -> String {
    let steers = |c: &char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let line = text.chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c });
    line.filter(|c| !c.is_control() && !steers(c)).take(EXCERPT).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests;
