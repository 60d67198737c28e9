//! GraphQL over WebSocket: the protocol `graphql-transport-ws`
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>).

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use async_graphql::{Response as Answer, Value};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::stream::{AbortHandle, BoxStream, SelectAll, abortable};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::error::{Code, Refusal};
use super::http::answer::Refused;
use super::http::{request, sizes};
use super::sessions::{Over, Session};
use crate::auth::Client;
use crate::rest::Hub;
use crate::rest::address::ClientAddress;
use crate::rest::admission::{Denied, Refusal as _, admit_token, bearer};

const PROTOCOL: &str = "graphql-transport-ws";

/// How long a client may take to send `connection_init`.
const INIT: Duration = Duration::from_secs(10);
/// How often an open connection is asked whether it is there; one that has been silent since the last time is given up.
const PING: Duration = Duration::from_secs(25);
/// How long a message may take to leave: a client that does not read is given up.
const SEND: Duration = Duration::from_secs(30);
/// Operations at a time on one connection.
const OPERATIONS: usize = 100;
/// Bytes of each connection's buffers. The library's own default is 128 KiB.
const BUFFER: usize = 4 << 10;

/// What a client sends.
#[derive(Deserialize)]
struct Said {
    #[serde(rename = "type")]
    kind: Kind,
    id: Option<String>,
    payload: Option<Box<RawValue>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    ConnectionInit,
    Subscribe,
    Complete,
    Ping,
    Pong,
}

/// What it is sent, `ping` and `pong` aside.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Say<'a> {
    Next { id: &'a str, payload: &'a Answer },
    Error { id: &'a str, payload: &'a [async_graphql::ServerError] },
    Complete { id: &'a str },
}

/// How a connection is closed: code and reason.
type Close = (u16, &'static str);

const UNAUTHORIZED: Close = (4401, "Unauthorized");
const FORBIDDEN: Close = (4403, "Forbidden");
const RATE_LIMITED: Close = (4429, "Too many requests");
const UNAVAILABLE: Close = (1013, "The database is away");
const INVALID: Close = (4400, "Invalid message");
const SILENT: Close = (4408, "No answer to pings");
const SLOW: Close = (1013, "Messages are not read");

impl Over {
    fn close(self) -> Close {
        match self {
            Self::Unauthenticated => UNAUTHORIZED,
            Self::Forbidden => FORBIDDEN,
            Self::Stopping => (1001, "The server stops"),
        }
    }
}

/// Takes WebSocket upgrades out of the requests to a path; all others go on. The token stands in the header, or in
/// `connection_init`.
pub async fn divert(State(hub): State<Hub>, request: Request, next: Next) -> Response {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return next.run(request).await;
    }
    let (mut parts, _) = request.into_parts();
    let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(&mut parts, &hub).await;
    let session = match bearer(&parts.headers) {
        Err(()) => return Refused::unauthorised(true).into_response(),
        Ok(None) => None,
        Ok(Some(token)) => match admit_token(&hub, token, address).await {
            Ok((client, _)) => Some(hub.sessions.enter(token, &client, address)),
            Err((denied, _)) => return denied.refusal::<Refused>().into_response(),
        },
    };
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &hub).await {
        Ok(upgrade) => upgrade,
        Err(refused) => return refused.into_response(),
    };
    let largest = sizes(&hub).request();
    upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_message_size(largest)
        .max_frame_size(largest)
        .on_upgrade(move |socket| async move {
            let mut socket = socket;
            let served = async {
                let session = begin(&hub, &mut socket, session, address).await?;
                Connection::new(hub, session).run(&mut socket).await
            };
            let Err((code, reason)) = served.await;
            let close = CloseFrame { code, reason: reason.into() };
            let _ = tokio::time::timeout(SEND, socket.send(Message::Close(Some(close)))).await;
        })
}

/// Waits for `connection_init` and answers it; gives the session.
async fn begin(
    hub: &Hub,
    socket: &mut WebSocket,
    session: Option<Session>,
    address: Option<IpAddr>,
) -> Result<Session, Close> {
    if socket.protocol().is_none() {
        return Err((4406, "Subprotocol not acceptable"));
    }
    let mut stopping = hub.sessions.stopping();
    let payload = loop {
        let message = tokio::select! {
            message = tokio::time::timeout(INIT, socket.recv()) => message,
            _ = stopping.wait_for(|stopping| *stopping) => return Err(Over::Stopping.close()),
        };
        match message.map_err(|_| (4408, "Connection initialisation timeout"))? {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                let said = said(&message)?;
                match said.kind {
                    Kind::ConnectionInit => break said.payload,
                    Kind::Ping => send(socket, pong(said.payload)).await?,
                    Kind::Pong => {}
                    Kind::Subscribe | Kind::Complete => return Err(UNAUTHORIZED),
                }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            _ => return Err((1000, "")),
        }
    };
    let payload: Json = match payload.map(|payload| serde_json::from_str(payload.get())) {
        Some(Ok(payload)) => payload,
        _ => Json::Null,
    };
    let given = ["Authorization", "authorization"].iter().find_map(|name| payload.get(name)?.as_str());
    let session = match (given.and_then(|text| text.split_once(' ')), session) {
        (Some((scheme, token)), _) if scheme.eq_ignore_ascii_case("bearer") => {
            let token = token.trim();
            let admitted = admit_token(hub, token, address).await;
            let (client, _) = admitted.map_err(|(reason, _)| denied(reason))?;
            hub.sessions.enter(token, &client, address)
        }
        (None, Some(session)) if given.is_none() => session,
        _ => return Err(UNAUTHORIZED),
    };
    send(socket, json!({ "type": "connection_ack" }).to_string()).await?;
    Ok(session)
}

fn denied(denied: Denied) -> Close {
    match denied {
        Denied::Unknown => UNAUTHORIZED,
        Denied::WrongAddress => FORBIDDEN,
        Denied::TooMany(_) => RATE_LIMITED,
        Denied::Sql(_) => UNAVAILABLE,
    }
}

/// An operation's message, or its end.
type Event = (String, Option<Answer>);

struct Connection {
    hub: Hub,
    session: Session,
    client: Client,
    operations: SelectAll<BoxStream<'static, Event>>,
    running: HashMap<String, AbortHandle>,
}

impl Connection {
    fn new(hub: Hub, session: Session) -> Self {
        let client = session.client().clone();
        Self { hub, session, client, operations: SelectAll::new(), running: HashMap::new() }
    }

    /// Serves until either side ends; gives how to close.
    async fn run(mut self, socket: &mut WebSocket) -> Result<Infallible, Close> {
        let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
        let mut silent = false;
        loop {
            tokio::select! {
                over = self.session.over() => return Err(over.close()),
                message = socket.recv() => {
                    silent = false;
                    match message {
                        Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                            self.hear(socket, said(&message)?).await?;
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        _ => return Err((1000, "")),
                    }
                }
                Some((id, answer)) = self.operations.next(), if !self.operations.is_empty() => {
                    self.tell(socket, id, answer).await?;
                }
                _ = ping.tick() => {
                    if silent {
                        return Err(SILENT);
                    }
                    silent = true;
                    put(socket, Message::Ping(Default::default())).await?;
                }
            }
        }
    }

    async fn hear(&mut self, socket: &mut WebSocket, said: Said) -> Result<(), Close> {
        match (said.kind, said.id, said.payload) {
            (Kind::ConnectionInit, ..) => Err((4429, "Too many initialisation requests")),
            (Kind::Ping, _, payload) => send(socket, pong(payload)).await,
            (Kind::Pong, ..) => Ok(()),
            (Kind::Complete, Some(id), _) => {
                self.end(&id);
                Ok(())
            }
            (Kind::Subscribe, Some(id), Some(_)) if self.running.contains_key(&id) => {
                Err((4409, "Subscriber already exists"))
            }
            (Kind::Subscribe, Some(id), Some(payload)) => match self.begin(&payload) {
                Ok(answers) => {
                    let (tag, end) = (id.clone(), id.clone());
                    let events = answers.map(move |answer| (tag.clone(), Some(answer)));
                    let (events, handle) = abortable(events.chain(stream::once(async move { (end, None) })));
                    self.running.insert(id, handle);
                    self.operations.push(events.boxed());
                    Ok(())
                }
                Err(refusal) => {
                    let errors = refusal.into_response().errors;
                    send(socket, text(&Say::Error { id: &id, payload: &errors })).await
                }
            },
            (Kind::Complete | Kind::Subscribe, ..) => Err(INVALID),
        }
    }

    fn end(&mut self, id: &str) {
        if let Some(handle) = self.running.remove(id) {
            handle.abort();
        }
    }

    fn begin(&self, payload: &RawValue) -> Result<BoxStream<'static, Answer>, Refusal> {
        if self.running.len() >= OPERATIONS {
            return Err(Refusal::limit(format!("A connection has at most {OPERATIONS} operations at a time.")));
        }
        if let Some(wait) = self.hub.auth.limit(&self.client).and_then(|standing| standing.wait) {
            return Err(Refusal::new(Code::RateLimited, format!("Ask again after {wait} seconds.")));
        }
        let asked = request::read(payload.get().as_bytes(), sizes(&self.hub))?;
        let operation = self.hub.graphql.request(asked)?;
        Ok(self.hub.graphql.answers(operation, &self.client, None)?.responses)
    }

    async fn tell(&mut self, socket: &mut WebSocket, id: String, answer: Option<Answer>) -> Result<(), Close> {
        match answer {
            // Not begun, or broken off: by the protocol an `error`, after which nothing follows.
            Some(answer) if answer.data == Value::Null && !answer.errors.is_empty() => {
                self.end(&id);
                send(socket, text(&Say::Error { id: &id, payload: &answer.errors })).await
            }
            Some(answer) => send(socket, text(&Say::Next { id: &id, payload: &answer })).await,
            None => {
                self.running.remove(&id);
                send(socket, text(&Say::Complete { id: &id })).await
            }
        }
    }
}

fn said(message: &Message) -> Result<Said, Close> {
    let bytes = match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => &[],
    };
    serde_json::from_slice(bytes).map_err(|_| INVALID)
}

fn text(say: &Say) -> String {
    serde_json::to_string(say).unwrap_or_default()
}

fn pong(payload: Option<Box<RawValue>>) -> String {
    match payload {
        Some(payload) => json!({ "type": "pong", "payload": payload }).to_string(),
        None => json!({ "type": "pong" }).to_string(),
    }
}

async fn send(socket: &mut WebSocket, text: String) -> Result<(), Close> {
    put(socket, Message::Text(text.into())).await
}

async fn put(socket: &mut WebSocket, message: Message) -> Result<(), Close> {
    match tokio::time::timeout(SEND, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err((1000, "")),
        Err(_) => Err(SLOW),
    }
}
