//! Answers about webhooks, held against their descriptions.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::document::Document;
use crate::support::receiver::Receiver;
use crate::support::{EVERYTHING, Server, put, token, until};

const ALL: &str = "/rosterhub/v1/webhooks";
const ONE: &str = "/rosterhub/v1/webhooks/{id}";
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Asks for all there is of webhooks, on a server that may send to loopback.
pub async fn hold_all(server: &Server, document: &Document) {
    let (_receiver, url) = Receiver::start(&[]).await;
    let subscriber = token(&server.url, "midori", &format!("{EVERYTHING},webhooks"));
    let hold = async |request: RequestBuilder, verb: &str, path: &str, status: u16| {
        let operation = &document.value["paths"][path][verb];
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{}", response.url());
        document.hold(operation, response, false).await
    };
    let ask_as = |token: Option<&str>, verb: &str, path: &str, body: Option<&Value>| {
        let method: Method = verb.to_uppercase().parse().unwrap();
        let mut request = server.http.request(method, format!("{}{path}", server.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body { request.json(body) } else { request }
    };
    let ask = |verb: &str, path: &str, body: Option<&Value>| ask_as(Some(&subscriber), verb, path, body);

    let new =
        json!({ "url": url, "types": ["org.*"], "headers": { "x-zone": "1" }, "filter": "sourcedId!='x'", "rate": 90 });
    let made = hold(ask("post", ALL, Some(&new)), "post", ALL, 201).await;
    let id = made["id"].as_str().unwrap();
    let own = format!("{ALL}/{id}");
    let of = |step: &str| (format!("{own}/{step}"), format!("{ONE}/{step}"));
    // One that nothing listens at, and one key pair.
    let silent = json!({ "url": "http://127.0.0.1:9/", "types": ["*"], "key": "ed25519" });
    let silent = hold(ask("post", ALL, Some(&silent)), "post", ALL, 201).await;
    let silent = format!("{ALL}/{}", silent["id"].as_str().unwrap());
    let unheard = hold(ask("post", &format!("{silent}/verify"), None), "post", &of("verify").1, 200).await;
    assert_eq!(unheard["ok"], false);
    hold(ask("post", &format!("{silent}/resume"), None), "post", &of("resume").1, 409).await;

    for step in ["verify", "test", "pause", "resume"] {
        let (path, described) = of(step);
        hold(ask("post", &path, None), "post", &described, 200).await;
    }
    put(server, "orgs/told", json!({ "org": { "name": "told", "type": "school" } })).await;
    let (log, described) = of("deliveries");
    until("it is delivered", async || {
        let log: Value = ask("get", &log, None).send().await.unwrap().json().await.unwrap();
        log["deliveries"][0]["state"] == "delivered"
    })
    .await;
    let log =
        hold(ask("get", &format!("{log}?state=delivered&type=org.created&limit=5"), None), "get", &described, 200);
    let message = log.await["deliveries"][0]["message"].as_str().unwrap().to_owned();
    let of_message = |step: &str| {
        let (path, described) = of(&format!("deliveries/{{message}}{step}"));
        (path.replace("{message}", &message), described)
    };
    let (path, described) = of_message("");
    let delivery = hold(ask("get", &path, None), "get", &described, 200).await;
    assert_eq!(delivery["attempts"][0]["status"], 204);
    let (path, described) = of_message("/resend");
    hold(ask("post", &path, None), "post", &described, 202).await;
    for step in ["recover", "replay"] {
        let (path, described) = of(step);
        hold(ask("post", &path, Some(&json!({ "after": 0 }))), "post", &described, 202).await;
        hold(ask("post", &path, Some(&json!({}))), "post", &described, 400).await;
    }
    let (figures, described) = of("statistics");
    let shown = hold(ask("get", &figures, None), "get", &described, 200).await;
    assert!(shown["latencyMs"]["p99"].is_f64(), "{shown}");
    hold(ask("get", &format!("{silent}/statistics?since=2026-04-01"), None), "get", &described, 200).await;
    hold(ask("get", &format!("{figures}?since=x"), None), "get", &described, 400).await;
    let (secrets, described) = of("secrets");
    hold(ask("get", &secrets, None), "get", &described, 200).await;
    hold(ask("post", &secrets, Some(&json!({ "overlapHours": 1, "key": "ed25519" }))), "post", &described, 200).await;
    for bad in
        [json!({ "overlapHours": -1 }), json!({ "secret": "whsec_x" }), json!({ "secret": "", "key": "ed25519" })]
    {
        hold(ask("post", &secrets, Some(&bad)), "post", &described, 400).await;
    }
    hold(ask("get", ALL, None), "get", ALL, 200).await;
    hold(ask("get", &own, None), "get", ONE, 200).await;
    let patch = json!({ "rate": null, "filter": null, "payload": "full", "headers": {} });
    let patched = hold(ask("patch", &own, Some(&patch)), "patch", ONE, 200).await;
    assert_eq!((patched.get("rate"), patched.get("filter")), (None, None));

    let with = |member: &str, value: Value| {
        let mut body = new.clone();
        body[member] = value;
        body
    };
    for (member, value) in [("colour", json!("red")), ("types", json!([])), ("url", json!("ftp://x/"))] {
        hold(ask("post", ALL, Some(&with(member, value.clone()))), "post", ALL, 400).await;
        hold(ask("patch", &own, Some(&json!({ member: value }))), "patch", ONE, 400).await;
    }
    let reader = token(&server.url, "midori", "roster.readonly");
    let stranger = token(&server.url, "midori", "webhooks");
    for (verb, path, operation) in document.operations() {
        if !path.starts_with(ALL) || path.contains("event-types") {
            continue;
        }
        let body = operation.get("requestBody").map(|_| match (verb, path) {
            ("post", ALL) => new.clone(),
            (_, path) if path.ends_with("recover") || path.ends_with("replay") => json!({ "after": 0 }),
            _ => json!({}),
        });
        let ask_for = |token: Option<&str>, id: &str| {
            let real = path.replace("{id}", id).replace("{message}", &message);
            ask_as(token, verb, &real, body.as_ref())
        };
        hold(ask_for(None, id), verb, path, 401).await;
        hold(ask_for(Some(&reader), id), verb, path, 403).await;
        if path == ALL {
            continue;
        }
        // Of another client, of nobody, and no id at all.
        hold(ask_for(Some(&stranger), id), verb, path, 404).await;
        hold(ask_for(Some(&subscriber), NOBODY), verb, path, 404).await;
        hold(ask_for(Some(&subscriber), "nonsense"), verb, path, 400).await;
    }
    // A client without the scope of what it asks for; and nobody but the endpoint's own may change where it is.
    hold(ask_as(Some(&stranger), "post", ALL, Some(&new)), "post", ALL, 403).await;
    let board = token(&server.url, "midori", "admin");
    hold(ask_as(Some(&board), "patch", &own, Some(&json!({}))), "patch", ONE, 403).await;
    hold(ask("delete", &own, None), "delete", ONE, 204).await;
    hold(ask("delete", &own, None), "delete", ONE, 404).await;
}
