//! Subscriptions: nothing lost and nothing twice, whatever breaks; who may; how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rosterhub::log::Log;
use serde_json::{Value, json};

use super::follow::{Event, Sse, Ws};
use crate::support::{EVERYTHING, Server, bulk, city, client, delta, open, put, run, tenant, token};

const FOLLOW: &str =
    "subscription F($after: Position) { changes(after: $after) { position previousPosition sourcedId } }";

fn position(next: &Value) -> i64 {
    let position = next["data"]["changes"]["position"].as_i64().unwrap_or_else(|| panic!("{next}"));
    assert_eq!(next["extensions"]["position"], position);
    position
}

fn org(name: &str) -> Value {
    json!({ "org": { "name": name, "type": "school" } })
}

pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// The record that is written last of all.
const LAST: &str = "last";

/// What a follower has been told: positions, each with the one before.
#[derive(Default)]
struct Followed {
    told: Vec<(i64, i64)>,
    /// Whether it has been told of [`LAST`].
    ended: bool,
}

impl Followed {
    fn last(&self) -> i64 {
        self.told.last().map_or(0, |told| told.0)
    }

    fn take(&mut self, next: &Value) {
        let change = &next["data"]["changes"];
        self.told.push((position(next), change["previousPosition"].as_i64().unwrap()));
        self.ended = change["sourcedId"] == LAST;
    }

    /// Takes up to `count` messages over one of both transports after the position told last, then drops the connection.
    async fn some(&mut self, server: &Server, over_ws: bool, count: u64) {
        let after = self.last();
        if over_ws {
            let mut ws = Ws::open(server, &server.token).await;
            ws.subscribe("a", FOLLOW, json!({ "after": after })).await;
            for _ in 0..count {
                self.take(&ws.hear().await.unwrap()["payload"]);
                if self.ended {
                    return;
                }
            }
        } else {
            // The document begins at 0: what was told last stands in the header alone.
            let body = json!({ "query": FOLLOW, "variables": { "after": 0 } });
            let mut sse = Sse::open(server, &server.token, body, Some(&after.to_string())).await;
            for _ in 0..count {
                let Event::Next(next) = sse.next().await else { panic!("the stream ended") };
                assert_eq!(sse.id.as_deref(), Some(position(&next).to_string().as_str()));
                self.take(&next);
                if self.ended {
                    return;
                }
            }
        }
    }
}

/// Writers write and an import runs, on two servers; followers lose their connections at random and go on at either
/// server, over either transport. What they were told, put together, is the log, once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_breaks_off_is_resumed_without_loss_or_repetition() {
    let one = Arc::new(Server::start().await);
    let two = Arc::new(Server::on(&one.url));
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for n in 0..3 {
        let (server, done) = (if n % 2 == 0 { one.clone() } else { two.clone() }, done.clone());
        writers.push(tokio::spawn(async move {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                put(&server, &format!("orgs/w{n}-{}", round % 7), org(&format!("{round}"))).await;
                round += 1;
            }
        }));
    }
    let import = {
        let two = two.clone();
        tokio::spawn(async move {
            let small = rosterhub::sample::SampleOptions { schools: 1, students_per_school: 15, ..city() };
            two.import(bulk(&small)).await["position"].as_i64().unwrap()
        })
    };
    let mut followers = Vec::new();
    for seed in 0..6 {
        let (one, two) = (one.clone(), two.clone());
        followers.push(tokio::spawn(async move {
            let (mut random, mut followed) = (Random(seed), Followed::default());
            while !followed.ended {
                let server = if random.below(2) == 0 { &one } else { &two };
                let count = 1 + random.below(if seed % 2 == 0 { 40 } else { 400 });
                followed.some(server, random.below(2) == 0, count).await;
            }
            followed.told
        }));
    }
    let imported = import.await.unwrap();
    assert!(imported > 200, "{imported}");
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    // Those that wait at the end of the log are told of this one and end.
    put(&one, &format!("orgs/{LAST}"), org(LAST)).await;
    let head = open(&one.url).await.head(&tenant("midori")).await.unwrap().unwrap();
    for follower in followers {
        let told = follower.await.unwrap();
        let expected: Vec<(i64, i64)> = (1..=head).map(|position| (position, position - 1)).collect();
        assert!(told == expected, "{} of {head}", told.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_position_it_begins_with_what_is_to_come_and_ends_when_the_client_says_so() {
    let server = Server::start().await;
    put(&server, "orgs/before", org("before")).await;
    let mut ws = Ws::open(&server, &server.token).await;
    ws.subscribe("a", "subscription { changes { sourcedId kind changed before after cause { client } } }", json!({}))
        .await;
    ws.subscribe("b", "subscription { changes(types: [user]) { sourcedId } }", json!({})).await;
    // The answer to a query after it shows that the subscriptions have begun: one connection is read in order.
    ws.subscribe("q", "{ orgs { totalCount } }", json!({})).await;
    let query = ws.hear().await.unwrap();
    assert_eq!((&query["id"], &query["payload"]["data"]["orgs"]["totalCount"]), (&json!("q"), &json!(1)));
    assert_eq!(ws.hear().await.unwrap(), json!({ "type": "complete", "id": "q" }));
    put(&server, "orgs/after", org("みどり")).await;
    put(&server, "orgs/after", org("あおば")).await;
    let first = ws.hear().await.unwrap();
    let change = &first["payload"]["data"]["changes"];
    assert_eq!(
        (&first["id"], &change["sourcedId"], &change["kind"], &change["before"], &change["after"]["name"]),
        (&json!("a"), &json!("after"), &json!("CREATED"), &Value::Null, &json!("みどり"))
    );
    assert_eq!(change["cause"]["client"].as_str().map(str::len), Some(36));
    let change = ws.hear().await.unwrap()["payload"]["data"]["changes"].clone();
    assert_eq!((&change["kind"], &change["changed"]), (&json!("CHANGED"), &json!(["name"])));
    assert_eq!((&change["before"]["name"], &change["after"]["name"]), (&json!("みどり"), &json!("あおば")));
    ws.say(json!({ "type": "complete", "id": "a" })).await;
    ws.say(json!({ "type": "ping", "payload": { "n": 1 } })).await;
    assert_eq!(ws.hear().await.unwrap(), json!({ "type": "pong", "payload": { "n": 1 } }));
    put(&server, "orgs/after", org("ひばり")).await;
    // Nothing more of `a`; its id is free again.
    ws.subscribe("a", FOLLOW, json!({ "after": 3 })).await;
    assert_eq!(position(&ws.hear().await.unwrap()["payload"]), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_keeps_to_the_protocol() {
    let server = Server::start().await;
    let say = async |first: Value, second: Option<Value>| {
        let mut ws = Ws::connect(&server, Some(&server.token)).await;
        ws.say(first).await;
        if let Some(second) = second {
            assert_eq!(ws.hear().await.unwrap()["type"], "connection_ack");
            ws.say(second).await;
        }
        loop {
            match ws.hear().await {
                Ok(message) => assert_eq!(message["type"], "next"),
                Err(code) => return code,
            }
        }
    };
    let init = json!({ "type": "connection_init" });
    let subscribe = json!({ "type": "subscribe", "id": "a", "payload": { "query": FOLLOW } });
    assert_eq!(say(subscribe.clone(), None).await, 4401);
    assert_eq!(say(json!({ "type": "connection_init", "payload": { "Authorization": "Bearer x" } }), None).await, 4401);
    assert_eq!(say(init.clone(), Some(init.clone())).await, 4429);
    assert_eq!(say(init.clone(), Some(json!({ "type": "nonsense" }))).await, 4400);
    assert_eq!(say(init.clone(), Some(json!("x"))).await, 4400);
    let mut ws = Ws::open(&server, &server.token).await;
    ws.say(subscribe.clone()).await;
    ws.say(subscribe).await;
    assert_eq!(ws.hear().await, Err(4409));
    // What is refused is an error of the operation, and the connection goes on.
    let mut ws = Ws::open(&server, &server.token).await;
    for (query, code) in [
        ("subscription {", "PARSE_FAILED"),
        ("subscription { nothing }", "VALIDATION_FAILED"),
        ("subscription { a: changes { position } b: changes { position } }", "VALIDATION_FAILED"),
        ("subscription { changes(after: 99) { position } }", "BAD_USER_INPUT"),
        ("subscription { changes { cause { actor } } }", "FORBIDDEN"),
    ] {
        ws.subscribe("x", query, json!({})).await;
        let error = ws.hear().await.unwrap();
        assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("x")), "{query}: {error}");
        assert_eq!(error["payload"][0]["extensions"]["code"], code, "{query}: {error}");
    }
    for n in 0..100 {
        ws.subscribe(&format!("{n}"), FOLLOW, json!({})).await;
    }
    ws.subscribe("one too many", FOLLOW, json!({})).await;
    assert_eq!(ws.hear().await.unwrap()["payload"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_refused_and_end_as_the_protocol_says() {
    let server = Server::start().await;
    let mut sse = Sse::open(&server, &server.token, json!({ "query": "{ orgs { totalCount } }" }), None).await;
    assert_eq!(sse.next().await, {
        let Event::Next(mut next) = Event::Next(json!({ "data": { "orgs": { "totalCount": 0 } } })) else { panic!() };
        let Event::Next(answer) =
            Sse::open(&server, &server.token, json!({ "query": "{ orgs { totalCount } }" }), None).await.next().await
        else {
            panic!()
        };
        next["extensions"] = answer["extensions"].clone();
        Event::Next(next)
    });
    assert_eq!(sse.next().await, Event::Complete);
    let mut sse = Sse::open(&server, &server.token, json!({ "query": "subscription { nothing }" }), None).await;
    let Event::Next(next) = sse.next().await else { panic!() };
    assert_eq!(next["errors"][0]["extensions"]["code"], "VALIDATION_FAILED");
    assert_eq!(sse.next().await, Event::Complete);
    let get = async |query: &str, token: &str, last: &str| {
        let url = format!("{}/graphql", server.base);
        let request = server.http.get(url).query(&[("query", query)]).bearer_auth(token);
        let request = request.header("accept", "text/event-stream").header("last-event-id", last);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(get("subscription { changes { position } }", &server.token, "").await, 200);
    assert_eq!(get("subscription { changes { position } }", "x", "").await, 401);
    assert_eq!(get("subscription { changes { position } }", &server.token, "x").await, 400);
    assert_eq!(get("mutation { x }", &server.token, "").await, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_what_it_has_begun() {
    let server = Server::start().await;
    let made = client(&server.url, "midori", &["--scopes", EVERYTHING, "--api-key"]);
    let (key, id) = (made["apiKey"].as_str().unwrap(), made["clientId"].as_str().unwrap());
    let mut ws = Ws::open(&server, key).await;
    ws.subscribe("a", FOLLOW, json!({})).await;
    let mut sse = Sse::open(&server, key, json!({ "query": FOLLOW }), None).await;
    let mut other = Ws::open(&server, &server.token).await;
    other.subscribe("a", FOLLOW, json!({})).await;
    let (code, text) = run(&server.url, &["client", "revoke", id]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(ws.hear().await, Err(4401));
    assert_eq!(sse.next().await, Event::Broken);
    put(&server, "orgs/o", org("o")).await;
    assert_eq!(position(&other.hear().await.unwrap()["payload"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_follow_only_with_the_scope_and_from_its_network() {
    let server = Server::start().await;
    let core = token(&server.url, "midori", "roster-core.readonly");
    let mut ws = Ws::open(&server, &core).await;
    ws.subscribe("a", FOLLOW, json!({})).await;
    assert_eq!(ws.hear().await.unwrap()["payload"][0]["extensions"]["code"], "FORBIDDEN");
    let far = client(&server.url, "midori", &["--scopes", EVERYTHING, "--api-key", "--allow", "192.0.2.0/24"]);
    let mut ws = Ws::connect(&server, None).await;
    let payload = json!({ "Authorization": format!("Bearer {}", far["apiKey"].as_str().unwrap()) });
    ws.say(json!({ "type": "connection_init", "payload": payload })).await;
    assert_eq!(ws.hear().await, Err(4403));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_goodbye_and_ends() {
    let mut server = Server::start().await;
    let mut ws = Ws::open(&server, &server.token).await;
    ws.subscribe("a", FOLLOW, json!({})).await;
    let mut silent = Ws::connect(&server, None).await;
    let mut sse = Sse::open(&server, &server.token, json!({ "query": FOLLOW }), None).await;
    server.interrupt();
    assert_eq!(ws.hear().await, Err(1001));
    assert_eq!(silent.hear().await, Err(1001));
    assert_eq!(sse.next().await, Event::Broken);
    server.wait();
}

/// Through states and rows, on the server that runs the import and on another one, to its end.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_followed_to_its_end() {
    const PROGRESS: &str = "subscription P($id: ID!) { importProgress(id: $id) { id state done total position } }";
    let one = Server::start().await;
    let two = Server::on(&one.url);
    let started = one.http.post(format!("{}/rosterhub/v1/imports", one.base)).bearer_auth(&one.token);
    let job: Value = started.body(bulk(&city())).send().await.unwrap().json().await.unwrap();
    let order = ["QUEUED", "READING", "PLANNING", "APPLYING", "COMPLETED"];
    for server in [&one, &two] {
        let mut ws = Ws::open(server, &server.token).await;
        ws.subscribe("p", PROGRESS, json!({ "id": job["id"] })).await;
        let mut seen = 0;
        loop {
            let message = ws.hear().await.unwrap();
            let standing = &message["payload"]["data"]["importProgress"];
            let at = order.iter().position(|state| standing["state"] == *state).unwrap_or_else(|| panic!("{message}"));
            assert!(at >= seen, "{message}");
            seen = at;
            if seen == 4 {
                assert!(standing["position"].as_i64().unwrap() > 300);
                break;
            }
        }
        assert_eq!(ws.hear().await.unwrap(), json!({ "type": "complete", "id": "p" }));
        ws.subscribe("p", PROGRESS, json!({ "id": "00000000-0000-7000-8000-000000000000" })).await;
        assert_eq!(ws.hear().await.unwrap()["payload"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }
}

/// A subscriber with a filter is told what a naive evaluation of the events passes.
#[tokio::test(flavor = "multi_thread")]
async fn filters_pass_what_a_naive_evaluation_passes() {
    let (server, log) = super::changes::moving_city().await;
    let events = super::changes::naive(&log).await;
    let school = super::changes::schools(&server).await;
    for (arguments, passes) in super::changes::filters(&school) {
        let expected: Vec<i64> = events.iter().filter(|event| passes(event)).map(|event| event.position).collect();
        assert!(!expected.is_empty(), "{arguments}");
        let query = format!("subscription {{ changes(after: 0, {arguments}) {{ position previousPosition }} }}");
        let mut ws = Ws::open(&server, &server.token).await;
        ws.subscribe("a", &query, json!({})).await;
        let mut previous = 0;
        for expected in &expected {
            let next = ws.hear().await.unwrap();
            assert_eq!(position(&next["payload"]), *expected, "{arguments}");
            assert_eq!(next["payload"]["data"]["changes"]["previousPosition"], previous, "{arguments}");
            previous = *expected;
        }
        assert_nothing_more(&mut ws, &log, &server).await;
    }
    // Without the scope demographics are left out, and the chain of positions does without them.
    let without = token(&server.url, "midori", "roster.readonly");
    let mut ws = Ws::open(&server, &without).await;
    ws.subscribe("a", "subscription { changes(after: 0) { position previousPosition recordType } }", json!({})).await;
    let mut previous = 0;
    for event in events.iter().filter(|event| event.kind != "demographics") {
        let next = ws.hear().await.unwrap();
        assert_eq!(position(&next["payload"]), event.position);
        assert_eq!(next["payload"]["data"]["changes"]["previousPosition"], previous);
        previous = event.position;
    }
}

/// Nothing is told between the last change and the answer to a query that was sent afterwards.
async fn assert_nothing_more(ws: &mut Ws, log: &Log, server: &Server) {
    let head = log.head(&tenant("midori")).await.unwrap();
    ws.subscribe("q", "{ orgs { totalCount } }", json!({})).await;
    assert_eq!(ws.hear().await.unwrap()["id"], "q", "{head:?} {}", server.base);
    assert_eq!(ws.hear().await.unwrap()["type"], "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_follow_each_other_are_told_in_order() {
    let server = Server::start().await;
    let mut ws = Ws::open(&server, &server.token).await;
    ws.subscribe(
        "a",
        "subscription { changes(after: 0, types: [user, enrollment]) { position kind unit cause { import absent } } }",
        json!({}),
    )
    .await;
    let first = server.import(bulk(&city())).await;
    let second = server.import(delta(&city(), 20.0)).await;
    let mut last = 0;
    let mut of = |job: &Value, next: &Value| {
        let at = position(&next["payload"]);
        assert!(at > last);
        last = at;
        next["payload"]["data"]["changes"]["cause"]["import"] == job["id"]
    };
    let count = |job: &Value| {
        let sum = |kind: &str| {
            ["created", "changed", "withdrawn", "restored"]
                .iter()
                .map(|what| job["changes"][kind][*what].as_u64().unwrap_or(0))
                .sum::<u64>()
        };
        sum("user") + sum("enrollment")
    };
    assert!(count(&first) > 0 && count(&second) > 0, "{second}");
    for job in [&first, &second] {
        for _ in 0..count(job) {
            assert!(of(job, &ws.hear().await.unwrap()));
        }
    }
}
