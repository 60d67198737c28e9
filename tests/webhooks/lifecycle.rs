//! What endpoints ask for and what becomes of them: waiting, limits, keys, sending again, being disabled.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{another, ask, attempts, deliveries, read, register, server, server_with, write_org};
use crate::support::receiver::{Answer, Call, Receiver, assert_chain};
use crate::support::{Server, until};

fn id(endpoint: &Value) -> &str {
    endpoint["id"].as_str().unwrap()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

/// A message of an endpoint, once the delivery log has so many attempts of it.
async fn attempted(server: &Server, endpoint: &Value, message: &str, number: usize) -> Vec<Value> {
    until("the log has the attempts", async || {
        deliveries(server, endpoint).await.iter().any(|one| one["message"] == message)
            && attempts(server, endpoint, message).await.len() >= number
    })
    .await;
    attempts(server, endpoint, message).await
}

/// Restarts a server after hours of failures, as the stored time has it.
async fn hours_later(mut server: Server, hours: f64) -> Server {
    server.kill();
    let mut database = PgConnection::connect(&server.url).await.unwrap();
    let done = sqlx::query(
        "update webhook_lanes set failing_since = failing_since - make_interval(secs => $1 * 3600)
          where failing_since is not null",
    )
    .bind(hours)
    .execute(&mut database)
    .await
    .unwrap();
    assert_eq!(done.rows_affected(), 1);
    another(&server.url, &server.token, &[])
}

/// Waits until the hub knows that the endpoint fails.
async fn until_failing(server: &Server, endpoint: &Value) {
    let path = format!("/{}", id(endpoint));
    until("it fails", async || read(server, &path).await.get("failingSince").is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_of_failures_disable_after_warnings() {
    let (receiver, url) = Receiver::with(|_| Answer::Status(500)).await;
    let (watcher, watched) = Receiver::start(&[]).await;
    let mut server = server().await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    register(&server, json!({ "url": watched, "types": ["endpoint.*"], "order": "fifo" })).await;
    write_org(&server, "a").await;
    until_failing(&server, &endpoint).await;
    // Of 120 hours: 25, 105, 121.
    let mut told = Vec::new();
    for (hours, kind) in [(25.0, "endpoint.failing"), (80.0, "endpoint.failing"), (16.0, "endpoint.disabled")] {
        server = hours_later(server, hours).await;
        watcher.until_accepted(told.len() + 1).await;
        told.push(kind);
        let message = watcher.accepted().pop().unwrap().message;
        assert_eq!((&message["type"], &message["data"]["endpoint"]), (&json!(kind), &endpoint["id"]), "{message}");
        assert_eq!(message["data"]["lastStatus"], 500, "{message}");
    }
    let data: Vec<Value> = watcher.accepted().iter().map(|call| call.message["data"].clone()).collect();
    let [first, second, last] = &data[..] else { panic!("{data:?}") };
    assert_eq!(time(&first["disablesAt"]) - time(&first["failingSince"]), TimeDelta::hours(120));
    assert!(time(&second["failingSince"]) < time(&first["failingSince"]));
    assert_eq!(last["reason"], "failures");
    let path = format!("/{}", id(&endpoint));
    let shown = read(&server, &path).await;
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("disabled"), &json!("failures")));
    let notices = format!("{}/rosterhub/v1/notices", server.base);
    let notices: Value = server.get(&notices).await.json().await.unwrap();
    let notices = notices["notices"].as_array().unwrap();
    assert_eq!(notices.iter().map(|notice| notice["type"].as_str().unwrap()).collect::<Vec<_>>(), told);
    assert_eq!(notices.iter().map(|notice| notice["data"].clone()).collect::<Vec<_>>(), data);
    // Nothing is lost.
    receiver.accept();
    write_org(&server, "b").await;
    assert_eq!(ask(&server, &format!("{path}/resume"), json!({})).await.1["state"], "active");
    receiver.until_accepted(2).await;
    until("it is well", async || {
        let shown = read(&server, &path).await;
        shown.get("failingSince").is_none() && shown["deliveries"] == json!({ "delivered": 2 })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_in_which_the_hub_was_off_disables_nobody() {
    let (receiver, url) = Receiver::with(|_| Answer::Status(500)).await;
    let mut server = server().await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    write_org(&server, "a").await;
    until_failing(&server, &endpoint).await;
    server.kill();
    receiver.accept();
    let server = hours_later(server, 200.0).await;
    write_org(&server, "b").await;
    receiver.until_accepted(2).await;
    assert_eq!(read(&server, &format!("/{}", id(&endpoint))).await["state"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_recovered_since_a_position_or_a_time() {
    let bad = |message: &Value| message["data"]["sourcedId"].as_str().unwrap().starts_with("bad");
    let (receiver, url) = Receiver::with(move |message| Answer::Status(if bad(message) { 500 } else { 204 })).await;
    let server = server().await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    let mut failed = Vec::new();
    let mut between = Utc::now();
    for name in ["bad1", "bad2"] {
        between = Utc::now();
        write_org(&server, name).await;
        let number = std::sync::atomic::AtomicUsize::new(0);
        until("it is given up, since others get through", async || {
            let n = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            write_org(&server, &format!("{name}-good{n}").replacen("bad", "", 1)).await;
            deliveries(&server, &endpoint).await.iter().filter(|one| one["state"] == "failed").count() > failed.len()
        })
        .await;
        let call = receiver.calls().into_iter().find(|call| call.sourced_id() == name).unwrap();
        failed.push(call);
    }
    receiver.accept();
    let path = format!("/{}/recover", id(&endpoint));
    let position = |call: &Call| call.number("position");
    for (body, number) in [
        (json!({ "after": position(&failed[1]) }), 0),
        (json!({ "since": Utc::now() }), 0),
        (json!({ "since": between }), 1),
        (json!({ "after": position(&failed[0]) }), 0),
        (json!({ "after": position(&failed[0]) - 1 }), 1),
        (json!({ "after": 0 }), 0),
    ] {
        assert_eq!(ask(&server, &path, body.clone()).await, (202, json!({ "messages": number })), "{body}");
        let states = async || {
            let log = deliveries(&server, &endpoint).await;
            log.iter().filter(|one| one["state"] == "pending").count()
        };
        until("it is sent", async || states().await == 0).await;
    }
    for call in &failed {
        let accepted = receiver.accepted();
        assert!(accepted.iter().any(|one| one.message == call.message), "the same message again");
        let log = deliveries(&server, &endpoint).await;
        let delivery = log.iter().find(|one| one["message"] == call.id()).unwrap();
        assert_eq!(delivery["state"], "delivered");
    }
    assert_eq!(ask(&server, &path, json!({})).await.0, 400);
    assert_eq!(ask(&server, &path, json!({ "after": 1_000_000 })).await.0, 400);
}

/// Whatever it is asked to begin after.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_skips_nothing_that_was_not_told() {
    let (receiver, url) = Receiver::start(&[]).await;
    let server = server().await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
    let path = format!("/{}", id(&endpoint));
    write_org(&server, "a").await;
    receiver.until_accepted(1).await;
    assert_eq!(ask(&server, &format!("{path}/pause"), json!({})).await.1["state"], "paused");
    for name in ["b", "c", "d"] {
        write_org(&server, name).await;
    }
    assert_eq!(ask(&server, &format!("{path}/replay"), json!({ "after": 3 })).await.0, 202);
    assert_eq!(ask(&server, &format!("{path}/resume"), json!({})).await.1["state"], "active");
    receiver.until_accepted(4).await;
    let told: Vec<String> = receiver.accepted().iter().map(|call| call.sourced_id().to_owned()).collect();
    assert_eq!(told, ["a", "b", "c", "d"]);
    assert_chain(&receiver.calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_secret_signs_until_its_overlap_ends() {
    let (receiver, url) = Receiver::start(&[]).await;
    let server = server().await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    let secrets_path = format!("/{}/secrets", id(&endpoint));
    let mut secrets = vec![endpoint["secret"].as_str().unwrap().to_owned()];
    let rotate = async |overlap: f64| {
        let (status, made) = ask(&server, &secrets_path, json!({ "overlapHours": overlap })).await;
        assert_eq!(status, 200, "{made}");
        made["secret"].as_str().unwrap().to_owned()
    };
    // Which of the secrets verify a message that is written now.
    let mut written = 0;
    let mut verify = async |secrets: &[String]| {
        write_org(&server, &format!("o{written}")).await;
        written += 1;
        receiver.until_accepted(written).await;
        let call = receiver.accepted().pop().unwrap();
        let signatures = call.headers["webhook-signature"].to_str().unwrap().split(' ').count();
        let by =
            |secret: &String| standardwebhooks::Webhook::new(secret).unwrap().verify(&call.body, &call.headers).is_ok();
        (signatures, secrets.iter().map(by).collect::<Vec<_>>())
    };
    assert_eq!(verify(&secrets).await, (1, vec![true]));
    secrets.push(rotate(1.0).await);
    assert_eq!(verify(&secrets).await, (2, vec![true, true]));
    secrets.push(rotate(0.0).await);
    assert_eq!(verify(&secrets).await, (1, vec![false, false, true]), "without an overlap the old ones end at once");
    secrets.push(rotate(0.000_4).await);
    until("the overlap ends", async || read(&server, &secrets_path).await["secrets"].as_array().unwrap().len() == 1)
        .await;
    assert_eq!(verify(&secrets).await, (1, vec![false, false, false, true]), "nothing else has changed the endpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept() {
    let (receiver, url) = Receiver::start(&[500]).await;
    let server = server().await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"], "rate": 10 })).await;
    for n in 0..6 {
        write_org(&server, &format!("o{n}")).await;
    }
    receiver.until_accepted(6).await;
    assert_eq!(receiver.calls().len(), 7, "an attempt that fails counts");
    let mut times = Vec::new();
    for call in receiver.accepted() {
        let number = receiver.calls().iter().filter(|one| one.id() == call.id()).count();
        let attempts = attempted(&server, &endpoint, call.id(), number).await;
        times.extend(attempts.iter().map(|attempt| time(&attempt["at"])));
    }
    times.sort();
    // A tenth of a second each; one of them for what is late.
    let taken = times[6] - times[0];
    assert!(times.len() == 7 && taken >= TimeDelta::milliseconds(500), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retry_after_asks_for_is_kept() {
    let date = Utc::now() + TimeDelta::hours(2);
    let date = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let server = server().await;
    let mut asked = Vec::new();
    for (status, value, seconds) in [
        (429, "3600", 3_600),
        (503, "1800", 1_800),
        (500, "1200", 1_200),
        (429, date.as_str(), 7_000),
        (503, "999999999999999999999", 86_400),
        (429, "soon", 0),
    ] {
        let mut answers = vec![Answer::Header(status, "retry-after", value.to_owned())].into_iter();
        let (receiver, url) = Receiver::with(move |_| answers.next().unwrap_or(Answer::Status(204))).await;
        let endpoint = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
        asked.push((status, value, seconds, receiver, endpoint));
    }
    write_org(&server, "a").await;
    for (.., receiver, _) in &asked {
        receiver.until("the first is refused", |calls| !calls.is_empty()).await;
    }
    for (status, value, seconds, receiver, endpoint) in &asked {
        let message = receiver.calls()[0].clone();
        let first = attempted(&server, endpoint, message.id(), 1).await.remove(0);
        assert_eq!(first["status"], *status);
        if *seconds == 0 {
            receiver.until_accepted(1).await;
            continue;
        }
        let delivery = deliveries(&server, endpoint).await.remove(0);
        assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("pending"), &json!(1)), "{value}");
        let wait = time(&delivery["nextAttemptAt"]) - time(&first["at"]);
        assert!((*seconds..=86_500).contains(&wait.num_seconds()), "{value}: {wait}");
    }
    // Who is given too much is left alone, with other messages too; who has a fault of its own is not.
    write_org(&server, "b").await;
    for (status, value, seconds, receiver, endpoint) in &asked {
        if *status == 500 || *seconds == 0 {
            receiver.until("the second is told", |calls| calls.iter().any(|call| call.sequence() == 2)).await;
        } else {
            assert_eq!((receiver.calls().len(), deliveries(&server, endpoint).await.len()), (1, 1), "{value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_has_failed_in_time() {
    let mut answers = vec![Answer::Hangs, Answer::Hangs].into_iter();
    let (receiver, url) = Receiver::with(move |_| answers.next().unwrap_or(Answer::Status(204))).await;
    let server = server_with(&[("ROSTERHUB_WEBHOOKS_TIMEOUT_SECONDS", "0.2")]).await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
    write_org(&server, "a").await;
    receiver.until_accepted(1).await;
    let attempts = attempted(&server, &endpoint, receiver.calls()[0].id(), 3).await;
    let what = |attempt: &Value| (attempt["attempt"].clone(), attempt["status"].clone(), attempt["failure"].clone());
    assert_eq!(
        attempts.iter().map(what).collect::<Vec<_>>(),
        [
            (json!(1), Value::Null, json!("timeout")),
            (json!(2), Value::Null, json!("timeout")),
            (json!(3), json!(204), Value::Null)
        ]
    );
    assert!(attempts[0]["latencyMs"].as_f64().unwrap() >= 200.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_in_part_and_redirects_are_not_followed() {
    let (elsewhere, other) = Receiver::start(&[]).await;
    let long = format!("\u{1b}[31m学校\r\n{}", "長".repeat(100_000));
    let mut answers =
        [Answer::Body(500, long), Answer::Header(307, "location", other), Answer::Body(200, "ok".to_owned())]
            .into_iter();
    let (receiver, url) = Receiver::with(move |_| answers.next().unwrap()).await;
    let server = server().await;
    let endpoint = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    write_org(&server, "a").await;
    receiver.until_accepted(1).await;
    let attempts = attempted(&server, &endpoint, receiver.calls()[0].id(), 3).await;
    let kept = |n: usize| (attempts[n]["failure"].as_str(), attempts[n]["excerpt"].as_str().unwrap());
    let excerpt = format!("[31m学校  {}", "長".repeat(500 - 8));
    assert_eq!([kept(0), kept(1), kept(2)], [(Some("refused"), &*excerpt), (Some("redirect"), ""), (None, "ok")]);
    assert!(elsewhere.calls().is_empty());
}
