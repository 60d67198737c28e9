//! A receiver of webhooks on loopback: keeps what comes, in its order, and answers as it is told.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::PATIENCE;

/// What a receiver answers to a message.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// With a header besides.
    Header(u16, &'static str, String),
    Body(u16, String),
    /// When the receiver is told to release what it holds.
    Held,
    /// Never.
    Hangs,
}

/// A message as it came.
#[derive(Clone)]
pub struct Call {
    pub headers: HeaderMap,
    pub body: Bytes,
    pub message: Value,
    /// What it was answered, if it was.
    pub status: Option<u16>,
    /// Messages under way to the receiver when it came, with itself.
    pub at_a_time: usize,
}

impl Call {
    pub fn accepted(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }

    pub fn id(&self) -> &str {
        self.message["id"].as_str().unwrap()
    }

    pub fn number(&self, member: &str) -> i64 {
        self.message[member].as_i64().unwrap()
    }

    pub fn sequence(&self) -> i64 {
        self.number("sequence")
    }

    pub fn sourced_id(&self) -> &str {
        self.message["data"]["sourcedId"].as_str().unwrap_or_default()
    }
}

type Script = Box<dyn FnMut(&Value) -> Answer + Send>;

/// Repeats challenges, and answers messages by a script.
#[derive(Clone)]
pub struct Receiver {
    calls: watch::Sender<Vec<Call>>,
    script: Arc<Mutex<Script>>,
    under_way: Arc<AtomicUsize>,
    /// What is held is answered with this status.
    released: watch::Sender<u16>,
}

impl Receiver {
    /// Answers with these statuses, one after the other, then 204.
    pub async fn start(statuses: &[u16]) -> (Self, String) {
        let mut statuses = VecDeque::from(statuses.to_vec());
        Self::with(move |_| Answer::Status(statuses.pop_front().unwrap_or(204))).await
    }

    /// Answers each message as the script says.
    pub async fn with(script: impl FnMut(&Value) -> Answer + Send + 'static) -> (Self, String) {
        let script: Script = Box::new(script);
        let receiver = Self {
            calls: watch::Sender::default(),
            script: Arc::new(Mutex::new(script)),
            under_way: Arc::default(),
            released: watch::Sender::new(204),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/hook", listener.local_addr().unwrap());
        let app = Router::new().route("/hook", post(receive)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (receiver, address)
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, script: impl FnMut(&Value) -> Answer + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    pub fn accept(&self) {
        self.answer(|_| Answer::Status(204));
    }

    /// Answers all that is held.
    pub fn release(&self, status: u16) {
        self.released.send_replace(status);
    }

    /// All that came.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    pub fn messages(&self) -> Vec<Value> {
        self.calls.borrow().iter().map(|call| call.message.clone()).collect()
    }

    /// What was accepted, each message once, in the order in which that was.
    pub fn accepted(&self) -> Vec<Call> {
        first(self.calls.borrow().iter().filter(|call| call.accepted()))
    }

    /// Waits until it holds of all that came; panics when patience ends.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&[Call]) -> bool) {
        let mut calls = self.calls.subscribe();
        let came = tokio::time::timeout(PATIENCE, calls.wait_for(|calls| holds(calls))).await;
        let came = came.map(|waited| waited.is_ok());
        assert_eq!(came, Ok(true), "{what}: {:?}", self.summary());
    }

    /// Waits until so many messages were accepted.
    pub async fn until_accepted(&self, number: usize) {
        let what = format!("{number} messages are accepted");
        self.until(&what, |calls| first(calls.iter().filter(|call| call.accepted())).len() >= number).await;
    }

    fn summary(&self) -> Vec<(i64, Option<u16>)> {
        self.calls.borrow().iter().map(|call| (call.sequence(), call.status)).collect()
    }
}

/// Each message once, in this order.
pub fn first<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Vec<Call> {
    let mut known = HashSet::new();
    calls.into_iter().filter(|call| known.insert(call.id().to_owned())).cloned().collect()
}

/// Sequences of calls.
pub fn sequences(calls: &[Call]) -> Vec<i64> {
    calls.iter().map(Call::sequence).collect()
}

/// Whatever order they came in, the messages are 1, 2, 3, … of their endpoint, each names the position of the one
/// before, and a message is the same each time.
pub fn assert_chain(calls: &[Call]) {
    let mut messages = first(calls);
    for call in calls {
        let first = messages.iter().find(|message| message.id() == call.id()).unwrap();
        assert_eq!(first.message, call.message, "a message is the same in each attempt");
    }
    messages.sort_by_key(Call::sequence);
    let mut before = 0;
    for (n, message) in messages.iter().enumerate() {
        let link = (message.sequence(), message.number("previousPosition"));
        assert_eq!(link, (n as i64 + 1, before), "{}", message.message);
        before = message.number("position");
    }
}

/// Of `one_in` messages one fails, by a generator of this seed (SplitMix64), with 500, 429 or 503.
pub fn fails_at_random(seed: u64, one_in: u64) -> impl FnMut(&Value) -> Answer + Send + 'static {
    let mut state = seed;
    move |_| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut random = state;
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        random ^= random >> 31;
        Answer::Status(if random.is_multiple_of(one_in) { [500, 429, 503][(random >> 32) as usize % 3] } else { 204 })
    }
}

/// A request under way.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap();
    if message["type"] == "endpoint.verification" {
        return axum::Json(json!({ "challenge": message["data"]["challenge"] })).into_response();
    }
    let at_a_time = receiver.under_way.fetch_add(1, Ordering::Relaxed) + 1;
    let _under_way = UnderWay(receiver.under_way.clone());
    let mut released = receiver.released.subscribe();
    let answer = (receiver.script.lock().unwrap())(&message);
    let (status, response) = match &answer {
        Answer::Status(status) => (Some(*status), ().into_response()),
        Answer::Header(status, name, value) => (Some(*status), [(*name, value.as_str())].into_response()),
        Answer::Body(status, body) => (Some(*status), body.clone().into_response()),
        Answer::Held | Answer::Hangs => (None, ().into_response()),
    };
    let mut n = 0;
    receiver.calls.send_modify(|calls| {
        n = calls.len();
        calls.push(Call { headers, body, message, status, at_a_time });
    });
    let status = match (status, answer) {
        (Some(status), _) => status,
        (None, Answer::Held) => {
            released.changed().await.unwrap();
            let status = *released.borrow();
            receiver.calls.send_modify(|calls| calls[n].status = Some(status));
            status
        }
        (None, _) => std::future::pending().await,
    };
    (StatusCode::from_u16(status).unwrap(), response).into_response()
}
