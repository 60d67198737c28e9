//! Webhooks, to a real receiver on loopback.

mod delivery;
mod guard;
mod lifecycle;
mod selection;
mod statistics;

use serde_json::{Value, json};

use crate::support::receiver::Receiver;
use crate::support::{self, Server, city, put, token, until};

pub const SETTINGS: [(&str, &str); 4] = [
    ("ROSTERHUB_WEBHOOKS_ALLOW_HTTP", "true"),
    ("ROSTERHUB_WEBHOOKS_NETWORKS", "127.0.0.0/8"),
    ("ROSTERHUB_WEBHOOKS_RETRY_SECONDS", "0.01,0.01,0.01,0.01"),
    ("ROSTERHUB_WEBHOOKS_LEASE_SECONDS", "1"),
];

pub async fn server() -> Server {
    server_with(&[]).await
}

/// With other settings than those of all.
async fn server_with(settings: &[(&str, &str)]) -> Server {
    let url = support::database().await;
    assert_eq!(support::run(&url, &["tenant", "create", "midori"]).0, 0);
    let token = token(&url, "midori", &format!("{},webhooks", support::EVERYTHING));
    another(&url, &token, settings)
}

/// A server on a database that has the tenant and the client.
fn another(url: &str, token: &str, settings: &[(&str, &str)]) -> Server {
    let mut server = Server::with(url, &[&SETTINGS, settings].concat());
    token.clone_into(&mut server.token);
    server
}

async fn ask(server: &Server, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/rosterhub/v1/webhooks{path}", server.base);
    let answer = server.http.post(url).bearer_auth(&server.token).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// Registers an endpoint and verifies it.
pub async fn register(server: &Server, body: Value) -> Value {
    let (status, made) = ask(server, "", body).await;
    assert_eq!((status, &made["state"]), (201, &json!("unverified")), "{made}");
    let (_, trial) = ask(server, &format!("/{}/verify", made["id"].as_str().unwrap()), json!({})).await;
    assert_eq!((&trial["ok"], &trial["state"]), (&json!(true), &json!("active")), "{trial}");
    made
}

/// A resource below the webhooks, read.
async fn read(server: &Server, path: &str) -> Value {
    let answer = server.get(&format!("{}/rosterhub/v1/webhooks{path}", server.base)).await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

/// Its delivery log, the youngest first.
async fn deliveries(server: &Server, endpoint: &Value) -> Vec<Value> {
    let log = read(server, &format!("/{}/deliveries?limit=1000", endpoint["id"].as_str().unwrap())).await;
    log["deliveries"].as_array().unwrap().clone()
}

/// All attempts of a message.
async fn attempts(server: &Server, endpoint: &Value, message: &str) -> Vec<Value> {
    let delivery = read(server, &format!("/{}/deliveries/{message}", endpoint["id"].as_str().unwrap())).await;
    delivery["attempts"].as_array().unwrap().clone()
}

async fn write_org(server: &Server, id: &str) {
    put(server, &format!("orgs/{id}"), json!({ "org": { "name": id, "type": "school" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_signed_and_without_a_gap() {
    let (receiver, url) = Receiver::start(&[503, 200, 500]).await;
    let server = server().await;
    let made = register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
    for id in ["a", "b", "c"] {
        write_org(&server, id).await;
    }
    until("all are told", async || receiver.messages().len() >= 5).await;
    let messages = receiver.messages();
    let told: Vec<(&str, i64, i64)> = messages
        .iter()
        .map(|m| {
            let id = m["data"]["sourcedId"].as_str().unwrap();
            (id, m["sequence"].as_i64().unwrap(), m["previousPosition"].as_i64().unwrap())
        })
        .collect();
    assert_eq!(told, [("a", 1, 0), ("a", 1, 0), ("b", 2, 1), ("b", 2, 1), ("c", 3, 2)]);
    assert_eq!(messages[0]["id"], messages[1]["id"], "the id is the same in each attempt");
    assert_eq!(messages[0]["data"].get("after"), None, "thin");
    let webhook = standardwebhooks::Webhook::new(made["secret"].as_str().unwrap()).unwrap();
    for call in receiver.calls() {
        webhook.verify(&call.body, &call.headers).unwrap();
    }
    let id = made["id"].as_str().unwrap();
    let path = format!("{}/rosterhub/v1/webhooks/{id}/deliveries", server.base);
    until("the log has them", async || {
        let log: Value = server.get(&path).await.json().await.unwrap();
        let states: Vec<&Value> = log["deliveries"].as_array().unwrap().iter().map(|d| &d["state"]).collect();
        states == ["delivered"; 3]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_one_message() {
    let (receiver, url) = Receiver::start(&[]).await;
    let server = server().await;
    register(&server, json!({ "url": url, "types": ["*"] })).await;
    server.import(support::bulk(&city())).await;
    write_org(&server, "after").await;
    until("both are told", async || receiver.messages().len() >= 2).await;
    let mut types: Vec<String> = receiver.messages().iter().map(|m| m["type"].as_str().unwrap().to_owned()).collect();
    types.sort();
    assert_eq!(types, ["import.applied", "org.created"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_told_is_told_after_a_kill() {
    let (receiver, url) = Receiver::start(&[500, 500]).await;
    let mut server = server().await;
    register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
    write_org(&server, "a").await;
    server.kill();
    let token = server.token.clone();
    let mut server = Server::with(&server.url, &SETTINGS);
    server.token = token;
    write_org(&server, "b").await;
    until("both are told", async || {
        let told = receiver.messages();
        ["a", "b"].iter().all(|id| told.iter().any(|m| m["data"]["sourcedId"] == **id))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_endpoints_are_refused() {
    let server = server().await;
    let good = "http://127.0.0.1:9/hook";
    for (body, says) in [
        (json!({ "url": "ftp://x/", "types": ["*"] }), ""),
        (json!({ "url": "http://10.0.0.1/", "types": ["*"] }), ""),
        (json!({ "url": good, "types": [] }), "types"),
        (json!({ "url": good, "types": ["users.changed"] }), "users.changed"),
        (json!({ "url": good, "types": ["*"], "filter": "x='y'" }), "filter"),
        (json!({ "url": good, "types": ["*"], "secret": "x" }), "whsec_"),
        (json!({ "url": good, "types": ["*"], "headers": { "host": "x" } }), "host"),
        (json!({ "url": good, "types": ["*"], "after": 99 }), "after"),
        (json!({ "url": good, "types": ["*"], "colour": "red" }), "colour"),
    ] {
        let (status, answer) = ask(&server, "", body.clone()).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains(says), "{body}: {status} {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_loses_nothing_and_a_replay_tells_again() {
    let (receiver, url) = Receiver::start(&[]).await;
    let server = server().await;
    let made =
        register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo", "filter": "sourcedId!='b'" })).await;
    let id = made["id"].as_str().unwrap();
    write_org(&server, "a").await;
    until("the first is told", async || receiver.messages().len() == 1).await;
    assert_eq!(ask(&server, &format!("/{id}/pause"), json!({})).await.1["state"], "paused");
    for id in ["b", "c"] {
        write_org(&server, id).await;
    }
    assert_eq!(ask(&server, &format!("/{id}/resume"), json!({})).await.1["state"], "active");
    until("the one that passes is told", async || receiver.messages().len() == 2).await;
    assert_eq!(ask(&server, &format!("/{id}/replay"), json!({ "after": 0 })).await.0, 202);
    until("both are told again", async || receiver.messages().len() == 4).await;
    let messages = receiver.messages();
    let told: Vec<(&str, i64, i64)> = messages
        .iter()
        .map(|m| {
            let number = |name: &str| m[name].as_i64().unwrap();
            (m["data"]["sourcedId"].as_str().unwrap(), number("sequence"), number("previousPosition"))
        })
        .collect();
    assert_eq!(told, [("a", 1, 0), ("c", 2, 1), ("a", 3, 3), ("c", 4, 1)]);
    assert_ne!(messages[0]["id"], messages[2]["id"], "a replay has ids of its own");
    // One message once more, under its own id.
    let first = messages[0]["id"].as_str().unwrap();
    let again = ask(&server, &format!("/{id}/deliveries/{first}/resend"), json!({})).await;
    assert_eq!(again, (202, json!({ "messages": 1 })));
    until("it is told once more", async || receiver.messages().len() == 5).await;
    assert_eq!(receiver.messages()[4]["id"], first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_belongs_to_its_client() {
    let (receiver, url) = Receiver::start(&[]).await;
    let mut server = server().await;
    let made = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    let id = made["id"].as_str().unwrap().to_owned();
    let address = format!("{}/rosterhub/v1/webhooks/{id}", server.base);
    assert_eq!(support::run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    for (tenant, scopes, seen, changed) in [
        ("midori", "webhooks,roster.readonly", 404, 404),
        ("aoba", "webhooks,admin", 404, 404),
        ("midori", "admin", 200, 403),
    ] {
        server.token = token(&server.url, tenant, scopes);
        assert_eq!(server.get(&address).await.status(), seen, "{tenant} {scopes}");
        let patch = server.http.patch(&address).bearer_auth(&server.token).json(&json!({ "rate": 1 }));
        assert_eq!(patch.send().await.unwrap().status(), changed, "{tenant} {scopes}");
        assert_eq!(ask(&server, &format!("/{id}/secrets"), json!({})).await.0, changed, "{tenant} {scopes}");
    }
    assert_eq!(server.http.delete(&address).bearer_auth(&server.token).send().await.unwrap().status(), 204);
    assert_eq!(server.get(&address).await.status(), 404);
    assert!(receiver.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled_and_others_are_told() {
    let (_gone, url) = Receiver::start(&[410]).await;
    let (watcher, watched) = Receiver::start(&[]).await;
    let server = server().await;
    let made = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    register(&server, json!({ "url": watched, "types": ["endpoint.*"] })).await;
    write_org(&server, "a").await;
    until("its end is told", async || watcher.messages().iter().any(|m| m["type"] == "endpoint.disabled")).await;
    let message = watcher.messages().remove(0);
    assert_eq!((&message["data"]["endpoint"], &message["data"]["reason"]), (&made["id"], &json!("gone")));
    let address = format!("{}/rosterhub/v1/webhooks/{}", server.base, made["id"].as_str().unwrap());
    let shown: Value = server.get(&address).await.json().await.unwrap();
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("disabled"), &json!("gone")));
}
