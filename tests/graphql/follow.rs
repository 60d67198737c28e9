//! Clients of subscriptions, as others would write them: over WebSocket and over server-sent events.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{PATIENCE, Server};

/// A connection that speaks `graphql-transport-ws`.
pub struct Ws(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Ws {
    /// Connects without saying anything. `header`: of the upgrade.
    pub async fn connect(server: &Server, header: Option<&str>) -> Self {
        let mut request = format!("{}/graphql", server.base.replace("http", "ws")).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        if let Some(token) = header {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Self(connect_async(request).await.unwrap().0)
    }

    /// Connects and is acknowledged, by the token in `connection_init`.
    pub async fn open(server: &Server, token: &str) -> Self {
        let mut ws = Self::connect(server, None).await;
        ws.say(json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } })).await;
        assert_eq!(ws.hear().await.unwrap(), json!({ "type": "connection_ack" }));
        ws
    }

    pub async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.say(json!({ "type": "subscribe", "id": id, "payload": payload })).await;
    }

    /// The next message, or the code with which the connection was closed; 0 when it broke off.
    pub async fn hear(&mut self) -> Result<Value, u16> {
        // The server's pings are no messages.
        tokio::time::timeout(PATIENCE, self.said()).await.expect("a message")
    }

    async fn said(&mut self) -> Result<Value, u16> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(0),
            }
        }
    }
}

/// One operation over server-sent events.
pub struct Sse {
    response: reqwest::Response,
    text: String,
    /// The `id` seen last.
    pub id: Option<String>,
}

/// What an event stream says.
#[derive(Debug, PartialEq)]
pub enum Event {
    Next(Value),
    Complete,
    /// Cut off without an end.
    Broken,
}

impl Sse {
    pub async fn open(server: &Server, token: &str, body: Value, last: Option<&str>) -> Self {
        let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(token).json(&body);
        let mut request = request.header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Self::over(request.send().await.unwrap())
    }

    pub fn over(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), id: None }
    }

    pub async fn next(&mut self) -> Event {
        // Heartbeats are no events.
        tokio::time::timeout(PATIENCE, self.told()).await.expect("an event")
    }

    async fn told(&mut self) -> Event {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
                };
                self.id = field("id:").or(self.id.take());
                match field("event:").as_deref() {
                    Some("next" | "change") => {
                        return Event::Next(serde_json::from_str(&field("data:").unwrap()).unwrap());
                    }
                    Some("complete") => return Event::Complete,
                    _ => {} // a heartbeat
                }
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.text += std::str::from_utf8(&chunk).expect("whole characters"),
                Ok(None) | Err(_) => return Event::Broken,
            }
        }
    }
}
