//! The examples of the documentation work as they stand there.

use serde_json::{Value, json};

use super::code;
use crate::support::{EVERYTHING, Server, put, token};

const PAGES: [&str; 3] = [
    include_str!("../../docs/graphql.md"),
    include_str!("../../docs/graphql-writing.md"),
    include_str!("../../docs/changes.md"),
];

#[tokio::test(flavor = "multi_thread")]
async fn examples_of_the_documentation_are_answered() {
    let mut server = Server::start().await;
    server.token = token(&server.url, "midori", &format!("{EVERYTHING},webhooks"));
    put(&server, "orgs/aoba", json!({ "org": { "name": "あおば小学校", "type": "school" } })).await;
    let org = server.graphql("{ org(sourcedId: \"aoba\") { version } }", json!({})).await;
    let variables = json!({ "school": "aoba", "version": org["data"]["org"]["version"], "after": 0 });
    let mut answered = 0;
    for example in PAGES.iter().flat_map(|page| page.split("```graphql\n").skip(1)) {
        let document = example.split("```").next().unwrap();
        let used = variables.as_object().unwrap().iter().filter(|(name, _)| document.contains(&format!("${name}")));
        let used: serde_json::Map<String, Value> = used.map(|(name, value)| (name.clone(), value.clone())).collect();
        answered += 1;
        if document.starts_with("subscription") {
            told(&server, json!({ "query": document, "variables": used })).await;
            continue;
        }
        let answer = server.graphql(document, used.into()).await;
        assert_eq!(answer["errors"], Value::Null, "{document}: {answer}");
        let refused = answer["data"].as_object().unwrap().values().find_map(|field| field["userErrors"].get(0));
        assert_eq!(refused, None, "{document}");
    }
    assert!(answered >= 6, "{answered}");
}

/// Waits for the first event of a subscription, which by plain HTTP is refused.
async fn told(server: &Server, body: Value) {
    let request = || server.http.post(format!("{}/graphql", server.base)).bearer_auth(&server.token).json(&body);
    assert_eq!(code(&request().send().await.unwrap().json().await.unwrap()), "BAD_REQUEST");
    let mut events = request().header("accept", "text/event-stream").send().await.unwrap();
    let mut text = String::new();
    while !text.contains("\n\n") || !text.contains("event: next") {
        text += std::str::from_utf8(&events.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert!(text.contains("\"recordType\":\"user\""), "{text}");
}
