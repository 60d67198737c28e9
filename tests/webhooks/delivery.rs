//! Order, completeness and instances: whatever fails or is killed, everything comes, and in the promised order.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{another, attempts, deliveries, register, server, server_with, write_org};
use crate::support::receiver::{Answer, Call, Receiver, assert_chain, fails_at_random, first, sequences};
use crate::support::{Server, put, until};

/// So many attempts that no message is given up, soon one after the other.
fn patient() -> String {
    ["0.005"; 1_000].join(",")
}

/// Writes orgs `<prefix>0`, `<prefix>1`, …, each an event.
async fn write_orgs(server: &Server, prefix: &str, number: usize) {
    for n in 0..number {
        write_org(server, &format!("{prefix}{n}")).await;
    }
}

/// A person of the school `s`; each other `name` is a change.
async fn write_user(server: &Server, id: &str, name: &str) {
    let role = json!({ "roleType": "primary", "role": "student", "org": { "sourcedId": "s", "type": "org" } });
    let user = json!({ "enabledUser": "true", "givenName": name, "familyName": "佐藤", "roles": [role] });
    put(server, &format!("users/{id}"), json!({ "user": user })).await;
}

/// Endpoints for changes of orgs, each with a receiver of its own.
async fn endpoints(server: &Server, number: usize, order: &str) -> Vec<(Value, Receiver)> {
    let mut made = Vec::new();
    for _ in 0..number {
        let (receiver, url) = Receiver::start(&[]).await;
        let endpoint = register(server, json!({ "url": url, "types": ["org.*"], "order": order })).await;
        made.push((endpoint, receiver));
    }
    made
}

/// Waits until so many instances have all endpoints between them.
async fn until_shared(server: &Server, instances: i64) {
    let database = tokio::sync::Mutex::new(PgConnection::connect(&server.url).await.unwrap());
    until("the endpoints are shared out", async || {
        let (owners, free): (i64, i64) = sqlx::query_as(
            "select count(distinct owner), count(*) filter (where owner is null or lease_until < now()) from webhook_lanes",
        )
        .fetch_one(&mut *database.lock().await)
        .await
        .unwrap();
        (owners, free) == (instances, 0)
    })
    .await;
}

/// What came first of each record, in the order in which it came, ascends.
fn assert_order_by_record(calls: &[Call]) {
    let mut records: HashMap<String, Vec<i64>> = HashMap::new();
    for call in first(calls) {
        records.entry(call.sourced_id().to_owned()).or_default().push(call.sequence());
    }
    assert!(records.values().all(|sequences| sequences.is_sorted()), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_send_each_message_once() {
    // A lease that does not end because the machine is busy: what is sent twice then is not meant here.
    let settings = [("ROSTERHUB_WEBHOOKS_LEASE_SECONDS", "60")];
    let mut one = server_with(&settings).await;
    let endpoints = endpoints(&one, 6, "parallel").await;
    until_shared(&one, 1).await;
    write_orgs(&one, "a", 5).await;
    let mut two = another(&one.url, &one.token, &settings);
    // Amid the handing over.
    write_orgs(&two, "b", 10).await;
    until_shared(&one, 2).await;
    write_orgs(&one, "c", 10).await;
    for (endpoint, receiver) in &endpoints {
        receiver.until_accepted(25).await;
        until("the log has all", async || {
            let log = deliveries(&two, endpoint).await;
            log.len() == 25 && log.iter().all(|message| message["state"] == "delivered")
        })
        .await;
    }
    for server in [&mut one, &mut two] {
        server.interrupt();
        server.wait();
    }
    for (_, receiver) in &endpoints {
        assert_eq!(receiver.calls().len(), 25, "each once");
        assert_chain(&receiver.calls());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_dies_is_replaced() {
    let mut one = server().await;
    let endpoints = endpoints(&one, 4, "fifo").await;
    let mut two = another(&one.url, &one.token, &[]);
    until_shared(&one, 2).await;
    write_orgs(&one, "a", 5).await;
    one.kill();
    write_orgs(&two, "b", 5).await;
    for (_, receiver) in &endpoints {
        receiver.until_accepted(10).await;
    }
    write_orgs(&two, "c", 5).await;
    two.kill();
    let three = another(&two.url, &two.token, &[]);
    write_orgs(&three, "d", 5).await;
    for (_, receiver) in &endpoints {
        receiver.until_accepted(20).await;
        assert_chain(&receiver.calls());
        assert_eq!(sequences(&first(&receiver.calls())), (1..=20).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_record_one_that_fails_holds_up_nobody_else() {
    let fails = |message: &Value| Answer::Status(if message["data"]["sourcedId"] == "a" { 500 } else { 204 });
    let (receiver, url) = Receiver::with(fails).await;
    let server = server_with(&[("ROSTERHUB_WEBHOOKS_RETRY_SECONDS", &patient())]).await;
    write_org(&server, "s").await;
    let body = json!({ "url": url, "types": ["user.*"], "order": "record" });
    let endpoint = register(&server, body).await;
    for name in ["1", "2", "3"] {
        for id in ["a", "b", "c"] {
            write_user(&server, id, name).await;
        }
    }
    receiver.until_accepted(6).await;
    // It fails alone, for so long that the endpoint seems to take nothing.
    let failures = |calls: &[Call]| calls.iter().rev().take_while(|call| !call.accepted()).count();
    receiver.until("the breaker is open", |calls| failures(calls) > 10).await;
    for name in ["1", "2"] {
        write_user(&server, "d", name).await;
    }
    receiver.until_accepted(8).await;
    let of_a = |calls: &[Call]| first(calls.iter().filter(|call| call.sourced_id() == "a"));
    assert_eq!(sequences(&of_a(&receiver.calls())), [1], "the others of this person wait");
    until("they are in the log", async || {
        deliveries(&server, &endpoint).await.iter().filter(|message| message["state"] == "pending").count() == 3
    })
    .await;
    receiver.accept();
    receiver.until_accepted(11).await;
    assert_chain(&receiver.calls());
    assert_order_by_record(&receiver.calls());
}

/// The same without an order: one message that is never taken, in a quiet time.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_always_fails_holds_up_no_other() {
    let fails = |message: &Value| Answer::Status(if message["data"]["sourcedId"] == "bad" { 500 } else { 204 });
    let (receiver, url) = Receiver::with(fails).await;
    let server = server().await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    write_org(&server, "bad").await;
    receiver.until("the breaker is open", |calls| calls.len() > 10).await;
    write_orgs(&server, "a", 3).await;
    receiver.until_accepted(3).await;
    // Others get through: it is given up.
    until("it has failed", async || {
        let states: Vec<Value> =
            deliveries(&server, &endpoint).await.iter().map(|message| message["state"].clone()).collect();
        states == ["delivered", "delivered", "delivered", "failed"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifo_holds_while_messages_fail_at_random() {
    let server = server().await;
    let mut receivers = Vec::new();
    for seed in 1..=4 {
        let (receiver, url) = Receiver::with(fails_at_random(seed, 3)).await;
        register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
        receivers.push(receiver);
    }
    write_orgs(&server, "a", 40).await;
    for receiver in receivers {
        receiver.until_accepted(40).await;
        let calls = receiver.calls();
        assert!(calls.len() > 40, "some failed");
        assert_chain(&calls);
        let all: Vec<i64> = (1..=40).collect();
        assert_eq!((sequences(&receiver.accepted()), sequences(&first(&calls))), (all.clone(), all));
        let ids: Vec<String> = receiver.accepted().iter().map(|call| call.sourced_id().to_owned()).collect();
        assert_eq!(ids, (0..40).map(|n| format!("a{n}")).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_nothing_is_tried_with_one_message_at_a_time() {
    let (receiver, url) = Receiver::with(|_| Answer::Held).await;
    let settings = [
        ("ROSTERHUB_WEBHOOKS_CONCURRENCY", "8"),
        ("ROSTERHUB_WEBHOOKS_TIMEOUT_SECONDS", "60"),
        ("ROSTERHUB_WEBHOOKS_RETRY_SECONDS", "0.2"),
    ];
    let server = server_with(&settings).await;
    let (other, others_url) = Receiver::start(&[]).await;
    let other_endpoint = register(&server, json!({ "url": others_url, "types": ["org.*"] })).await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    write_orgs(&server, "a", 30).await;
    receiver.until("as many come as may", |calls| calls.len() == 8).await;
    assert_eq!(receiver.calls()[7].at_a_time, 8);
    receiver.release(500);
    for probe in 1..=4 {
        receiver.until("one is tried", |calls| calls.len() == 8 + probe).await;
        // Time enough for another: other endpoints are told, and that is written down.
        write_org(&server, &format!("b{probe}")).await;
        until("others go on", async || {
            let log = deliveries(&server, &other_endpoint).await;
            log.iter().filter(|message| message["state"] == "delivered").count() == 30 + probe
        })
        .await;
        let calls = receiver.calls();
        assert_eq!((calls.len(), calls[7 + probe].at_a_time), (8 + probe, 1), "it is alone");
        if probe == 4 {
            receiver.accept();
        }
        receiver.release(if probe == 4 { 204 } else { 500 });
    }
    receiver.until_accepted(34).await;
    other.until_accepted(34).await;
    assert_chain(&receiver.calls());
    // From the end of an attempt to the next: two tenths of a second, less a fifth.
    let mut tried = Vec::new();
    for message in first(&receiver.calls()[..12]) {
        for attempt in attempts(&server, &endpoint, message.id()).await {
            let begin: DateTime<Utc> = attempt["at"].as_str().unwrap().parse().unwrap();
            tried.push((begin, begin + TimeDelta::milliseconds(attempt["latencyMs"].as_f64().unwrap() as i64)));
        }
    }
    tried.sort();
    let waited: Vec<i64> = tried[7..12].windows(2).map(|pair| (pair[1].0 - pair[0].1).num_milliseconds()).collect();
    assert!(waited.iter().all(|waited| *waited >= 150), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_leaves_comes_after_it() {
    let retry = patient();
    // The shortest lease there is.
    let settings = [("ROSTERHUB_WEBHOOKS_LEASE_SECONDS", "0.5"), ("ROSTERHUB_WEBHOOKS_RETRY_SECONDS", retry.as_str())];
    let mut server = server_with(&settings).await;
    let mut receivers = Vec::new();
    for (order, one_in) in [("fifo", 3), ("fifo", u64::MAX), ("record", 3), ("parallel", 4)] {
        let (receiver, url) = Receiver::with(fails_at_random(one_in, one_in)).await;
        register(&server, json!({ "url": url, "types": ["org.*"], "order": order })).await;
        receivers.push((order, receiver));
    }
    let mut written = 0;
    for round in 0..8 {
        let before = receivers[0].1.calls().len();
        for n in 0..8 {
            // The same records over and over.
            put(
                &server,
                &format!("orgs/o{}", n % 4),
                json!({ "org": { "name": format!("{round} {n}"), "type": "school" } }),
            )
            .await;
            written += 1;
        }
        // Amid the deliveries, at another message each time.
        receivers[0].1.until("some came", |calls| calls.len() > before + round % 8).await;
        server.kill();
        server = another(&server.url, &server.token, &settings);
    }
    for (order, receiver) in &receivers {
        receiver.until_accepted(written).await;
        let calls = receiver.calls();
        assert_chain(&calls);
        assert_eq!(receiver.accepted().len(), written, "{order}");
        match *order {
            "fifo" => {
                let all: Vec<i64> = (1..=written as i64).collect();
                assert_eq!((sequences(&receiver.accepted()), sequences(&first(&calls))), (all.clone(), all));
            }
            "record" => assert_order_by_record(&calls),
            _ => {}
        }
    }
}
