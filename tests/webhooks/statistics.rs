//! Figures of an endpoint's deliveries.

use serde_json::{Value, json};

use super::{Receiver, ask, register, server, write_org};
use crate::support::{Server, token, until};

async fn figures(server: &Server, id: &str, query: &str) -> (u16, Value) {
    let path = format!("{}/rosterhub/v1/webhooks/{id}/statistics{query}", server.base);
    let answer = server.get(&path).await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_and_messages_are_counted() {
    let (receiver, url) = Receiver::start(&[503, 429, 204]).await;
    let mut server = server().await;
    let made = register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
    let id = made["id"].as_str().unwrap();
    let (_, none) = figures(&server, id, "").await;
    assert_eq!((&none["attempts"], &none["behind"]), (&json!(0), &json!(0)));
    for absent in ["successRate", "latencyMs", "oldestPending"] {
        assert_eq!(none.get(absent), None, "{none}");
    }

    write_org(&server, "a").await;
    write_org(&server, "b").await;
    until("both are counted", async || figures(&server, id, "").await.1["messages"] == json!({ "delivered": 2 })).await;
    let (_, counted) = figures(&server, id, "?since=2026-01-01").await;
    let outcomes = json!({ "5xx": 1, "4xx": 1, "delivered": 2 });
    assert_eq!((&counted["attempts"], &counted["outcomes"]), (&json!(4), &outcomes));
    assert_eq!((&counted["successRate"], &counted["behind"]), (&json!(0.5), &json!(0)));
    let hours = counted["hours"].as_array().unwrap();
    let by_hour: i64 =
        hours.iter().flat_map(|hour| hour["outcomes"].as_object().unwrap().values()).map(|n| n.as_i64().unwrap()).sum();
    assert_eq!(by_hour, 4);
    let latency = |name: &str| counted["latencyMs"][name].as_f64().unwrap();
    assert!(0.0 < latency("p50") && latency("p50") <= latency("p95") && latency("p95") <= latency("p99"));
    // As the delivery log has them.
    let mut logged = Vec::new();
    for message in receiver.messages() {
        let path = format!("{}/rosterhub/v1/webhooks/{id}/deliveries/{}", server.base, message["id"].as_str().unwrap());
        let delivery: Value = server.get(&path).await.json().await.unwrap();
        logged.extend(delivery["attempts"].as_array().unwrap().iter().map(|a| a["latencyMs"].as_f64().unwrap()));
    }
    let (least, most) = logged.iter().fold((f64::MAX, 0.0_f64), |(least, most), ms| (least.min(*ms), most.max(*ms)));
    assert!(least <= latency("p50") && latency("p99") <= most, "{logged:?} {counted}");

    // Paused, it falls behind; what happened before `since` does not count.
    ask(&server, &format!("/{id}/pause"), json!({})).await;
    write_org(&server, "c").await;
    let until_then = counted["until"].as_str().unwrap();
    let (_, later) = figures(&server, id, &format!("?since={until_then}")).await;
    assert_eq!((&later["attempts"], &later["messages"], &later["behind"]), (&json!(0), &json!({}), &json!(1)));

    for (query, status) in [("?since=x", 400), ("?from=2026-01-01", 400)] {
        assert_eq!(figures(&server, id, query).await.0, status, "{query}");
    }
    server.token = token(&server.url, "midori", "webhooks");
    assert_eq!(figures(&server, id, "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_delivered_shows() {
    let server = server().await;
    // Verified, and then nothing listens there any more.
    let there = tokio::runtime::Runtime::new().unwrap();
    let (_, url) = there.spawn(Receiver::start(&[])).await.unwrap();
    let made = register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
    there.shutdown_background();
    for id in ["a", "b"] {
        write_org(&server, id).await;
    }
    until("the first waits", async || {
        let (_, shown) = figures(&server, made["id"].as_str().unwrap(), "").await;
        let oldest = &shown["oldestPending"];
        let refused = shown["outcomes"]["connect"].as_i64() > Some(1);
        refused && oldest["position"] == 1 && oldest["createdAt"].is_string() && shown["successRate"] == 0.0
    })
    .await;
}
