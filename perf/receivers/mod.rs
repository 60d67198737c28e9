//! What the load programs of webhooks share: receivers that keep what comes, and the hub's API as they need it.

#![allow(dead_code)] // each program uses a part

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Records that are written to, over and over.
const RECORDS: u64 = 1_000;

/// How a receiver answers, once it has answered the challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Accepts,
    /// Never answers.
    Hangs,
    /// Answers 500.
    Refuses,
    /// One of four deliveries meets a 500, a 429 or a late answer.
    Fails,
}

/// A message that came.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Whose receiver it came to, counted from 0.
    #[serde(skip)]
    pub endpoint: usize,
    #[serde(skip)]
    pub received_at: DateTime<Utc>,
    /// The receiver says 2xx.
    #[serde(skip)]
    pub accepted: bool,
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub timestamp: DateTime<Utc>,
    pub sequence: i64,
    pub position: i64,
    pub previous_position: i64,
    pub data: Data,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    #[serde(default)]
    pub challenge: Option<String>,
    #[serde(default)]
    pub sourced_id: Option<String>,
}

struct Receivers {
    manners: Vec<Manner>,
    told: mpsc::UnboundedSender<Message>,
}

/// Serves receivers of these manners on loopback. Gives their address, to which `/<number>` is to be added, and what
/// comes.
pub async fn receive(manners: Vec<Manner>) -> Result<(String, mpsc::UnboundedReceiver<Message>), Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let (told, hears) = mpsc::unbounded_channel();
    let receivers = Arc::new(Receivers { manners, told });
    let router =
        Router::new().route("/{endpoint}", post(received)).layer(DefaultBodyLimit::disable()).with_state(receivers);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((address, hears))
}

async fn received(State(receivers): State<Arc<Receivers>>, Path(endpoint): Path<usize>, body: Bytes) -> Response {
    let received_at = Utc::now();
    let Ok(message) = serde_json::from_slice::<Message>(&body) else {
        eprintln!("no message: {}", String::from_utf8_lossy(&body));
        return StatusCode::BAD_REQUEST.into_response();
    };
    if let Some(challenge) = message.data.challenge {
        return axum::Json(json!({ "challenge": challenge })).into_response();
    }
    let tell = |accepted| {
        let _ = receivers.told.send(Message { endpoint, received_at, accepted, ..message.clone() });
    };
    let late = match receivers.manners.get(endpoint) {
        Some(Manner::Accepts) => Duration::ZERO,
        Some(Manner::Hangs) => return std::future::pending().await,
        Some(Manner::Fails) => match random() % 16 {
            0 | 1 => Duration::from_millis(random() % 300),
            2 => {
                tell(false);
                return StatusCode::TOO_MANY_REQUESTS.into_response();
            }
            3 => {
                tell(false);
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            _ => Duration::ZERO,
        },
        _ => {
            tell(false);
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    if !late.is_zero() {
        tokio::time::sleep(late).await;
    }
    tell(true);
    StatusCode::NO_CONTENT.into_response()
}

pub fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// A hub, as a client of one tenant with the scopes `webhooks`, `write` and `roster.readonly`.
#[derive(Clone)]
pub struct Hub {
    pub base: String,
    token: String,
    http: reqwest::Client,
    written: Arc<AtomicU64>,
}

impl Hub {
    pub fn new(base: &str, token: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default(); // reqwest looks for it
        let written = Arc::new(AtomicU64::new(0));
        Self { base: base.to_owned(), token: token.to_owned(), http: reqwest::Client::new(), written }
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let mut request = self.http.request(method, format!("{}/rosterhub/v1/{path}", self.base));
        request = request.bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        match status.is_success() {
            true => Ok(serde_json::from_str(&text).unwrap_or_default()),
            false => Err(format!("{path}: {status}: {text}").into()),
        }
    }

    /// Registers an endpoint for changes of orgs, and has it verified. Its id.
    pub async fn register(&self, url: &str, order: &str) -> Result<String, Failure> {
        let endpoint = json!({ "url": url, "types": ["org.*"], "payload": "thin", "order": order });
        let made = self.call(reqwest::Method::POST, "webhooks", Some(endpoint)).await?;
        let id = made["id"].as_str().ok_or("an endpoint without id")?.to_owned();
        self.act(&id, "verify").await?;
        Ok(id)
    }

    /// `verify`, `pause`, `resume`.
    pub async fn act(&self, id: &str, action: &str) -> Result<(), Failure> {
        self.call(reqwest::Method::POST, &format!("webhooks/{id}/{action}"), None).await.map(drop)
    }

    pub async fn remove(&self, id: &str) -> Result<(), Failure> {
        self.call(reqwest::Method::DELETE, &format!("webhooks/{id}"), None).await.map(drop)
    }

    /// A batch that writes so many events, up to 1,000.
    pub fn batch(&self, events: u64) -> Value {
        let first = self.written.fetch_add(events, Ordering::Relaxed);
        let operations: Vec<Value> = (first..first + events)
            .map(|n| {
                let name = format!("{} {n}", std::process::id());
                json!({ "op": "put", "collection": "orgs", "sourcedId": format!("perf-{}", n % RECORDS),
                        "document": { "name": name, "type": "school" } })
            })
            .collect();
        json!({ "operations": operations })
    }

    /// Writes a batch. The same batch and `key` again write nothing more.
    pub async fn write(&self, batch: &Value, key: &str) -> Result<(), Failure> {
        let request = self.http.post(format!("{}/rosterhub/v1/batch", self.base)).bearer_auth(&self.token);
        let answer = request.header("idempotency-key", key).json(batch).send().await?;
        let status = answer.status();
        match status.is_success() {
            true => Ok(()),
            false => Err(format!("batch: {status}: {}", answer.text().await?).into()),
        }
    }
}
