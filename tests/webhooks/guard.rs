//! Where deliveries may go, and how much of an answer is read. What a name that changes its address leads to is tested
//! with a resolver, in `src/webhook/sender/tests.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{SETTINGS, ask, register, server, write_org};
use crate::support::receiver::{Answer, Receiver};
use crate::support::{self, PATIENCE, Server, token, until};

const ALLOW_HTTP: (&str, &str) = SETTINGS[0];

/// A server that may not call this machine, unless the settings say so.
async fn closed(settings: &[(&str, &str)]) -> Server {
    let url = support::database().await;
    assert_eq!(support::run(&url, &["tenant", "create", "midori"]).0, 0);
    let mut server = Server::with(&url, settings);
    server.token = token(&url, "midori", &format!("{},webhooks", support::EVERYTHING));
    server
}

/// The same server with other settings.
fn again(server: &mut Server, settings: &[(&str, &str)]) {
    server.kill();
    let token = server.token.clone();
    *server = Server::with(&server.url.clone(), settings);
    server.token = token;
}

/// Counts connections, and answers each with this. Gives its port.
async fn counting(answer: &'static str) -> (Arc<AtomicUsize>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let _ = stream.read_buf(&mut Vec::with_capacity(65_536)).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (count, port)
}

async fn attempts(server: &Server, endpoint: &str) -> Vec<Value> {
    let path = format!("{}/rosterhub/v1/webhooks/{endpoint}/deliveries", server.base);
    let log: Value = server.get(&path).await.json().await.unwrap();
    let Some(message) = log["deliveries"][0]["message"].as_str() else { return Vec::new() };
    let delivery: Value = server.get(&format!("{path}/{message}")).await.json().await.unwrap();
    delivery["attempts"].as_array().unwrap_or_else(|| panic!("{delivery}")).clone()
}

fn id(endpoint: &Value) -> &str {
    endpoint["id"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let (inside, port) = counting("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    let target = format!("http://127.0.0.1:{port}/hook");
    let statuses = [301, 302, 303, 307, 308];
    let mut answers = statuses.into_iter();
    let (receiver, url) = Receiver::with(move |_| match answers.next() {
        Some(status) => Answer::Header(status, "location", target.clone()),
        None => Answer::Status(204),
    })
    .await;
    let server = server().await;
    let made = register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
    write_org(&server, "a").await;
    receiver.until_accepted(1).await;
    until("all is written down", async || attempts(&server, id(&made)).await.len() == 6).await;
    let told: Vec<(Value, Value)> =
        attempts(&server, id(&made)).await.iter().map(|a| (a["status"].clone(), a["failure"].clone())).collect();
    let redirects = statuses.map(|status| (json!(status), json!("redirect")));
    assert_eq!(told[..5], redirects);
    assert_eq!(told[5], (json!(204), Value::Null));

    // Nor is that of a challenge.
    let location: &str = Box::leak(format!("HTTP/1.1 302 x\r\nlocation: http://127.0.0.1:{port}/\r\n\r\n").into());
    let (asked, from) = counting(location).await;
    let (_, made) = ask(&server, "", json!({ "url": format!("http://127.0.0.1:{from}/"), "types": ["*"] })).await;
    let (_, trial) = ask(&server, &format!("/{}/verify", id(&made)), json!({})).await;
    assert_eq!((&trial["ok"], &trial["status"], &trial["state"]), (&json!(false), &json!(302), &json!("unverified")));
    assert!(trial["failure"].as_str().unwrap().contains("redirect"), "{trial}");
    assert_eq!((asked.load(Ordering::SeqCst), inside.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_may_not_be_called_are_refused_when_they_are_saved() {
    let metadata = ("ROSTERHUB_WEBHOOKS_NETWORKS", "10.20.0.0/16,169.254.0.0/16");
    let server = closed(&[ALLOW_HTTP, metadata]).await;
    let (_, made) = ask(&server, "", json!({ "url": "https://receiver.example/hook", "types": ["*"] })).await;
    let address = format!("{}/rosterhub/v1/webhooks/{}", server.base, id(&made));
    for (host, says) in [
        ("127.0.0.1", "loopback"),
        ("127.255.0.9:8080", "loopback"),
        ("[::1]", "loopback"),
        ("[::ffff:127.0.0.1]", "loopback"),
        ("[::ffff:7f00:1]", "loopback"),
        ("[64:ff9b::127.0.0.1]", "loopback"),
        ("2130706433", "loopback"),
        ("0x7f000001", "loopback"),
        ("0x7f.1", "loopback"),
        ("0177.0.0.1", "loopback"),
        ("127.1", "loopback"),
        ("１２７.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("3232235521", "private"),
        ("[fd00::1]", "private"),
        ("[fe80::1]", "link-local"),
        ("100.64.0.1", "provider"),
        ("0.0.0.0", "unspecified"),
        ("[::]", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("169.254.169.254", "metadata"),
        ("2852039166", "metadata"),
        ("[::ffff:169.254.169.254]", "metadata"),
        ("[fd00:ec2::254]", "metadata"),
        ("user:secret@receiver.example", "user or a password"),
        ("user@receiver.example", "user or a password"),
        ("receiver.example@127.0.0.1", "user or a password"),
        ("receiver.example/#part", "fragment"),
    ] {
        for scheme in ["https", "http"] {
            let body = json!({ "url": format!("{scheme}://{host}/"), "types": ["*"] });
            let changed = server.http.patch(&address).bearer_auth(&server.token).json(&body).send().await.unwrap();
            let changed = (changed.status().as_u16(), changed.json().await.unwrap());
            for (status, answer) in [ask(&server, "", body.clone()).await, changed] {
                let message = answer["error"]["message"].as_str().unwrap();
                assert!(status == 400 && message.contains(says), "{body}: {status} {message}");
                assert!(!message.contains("secret"), "{message}");
            }
        }
    }
    // What is allowed is saved, a name whatever it leads to: that is looked at when it is called.
    for url in ["http://10.20.3.4/", "https://[::ffff:10.20.3.4]/", "http://169.254.1.1/", "https://localhost/"] {
        assert_eq!(ask(&server, "", json!({ "url": url, "types": ["*"] })).await.0, 201, "{url}");
    }
    // http needs the setting.
    let server = closed(&[]).await;
    for url in ["http://receiver.example/", "HTTP://receiver.example/", "ftp://receiver.example/"] {
        let (status, answer) = ask(&server, "", json!({ "url": url, "types": ["*"] })).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains("must begin with https://"), "{url}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_to_this_machine_is_not_called() {
    let server = closed(&[ALLOW_HTTP]).await;
    let (count, port) = counting("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    for name in ["localhost", "LOCALHOST"] {
        let url = format!("http://{name}:{port}/");
        let (status, made) = ask(&server, "", json!({ "url": url, "types": ["*"] })).await;
        assert_eq!(status, 201, "{made}");
        for what in ["verify", "test"] {
            let (status, trial) = ask(&server, &format!("/{}/{what}", id(&made)), json!({})).await;
            let expected = "it may not be called: it leads to a loopback address";
            assert_eq!((status, &trial["ok"], &trial["failure"]), (200, &json!(false), &json!(expected)), "{trial}");
            assert_eq!((trial.get("status"), &trial["state"]), (None, &json!("unverified")));
        }
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_once_is_looked_at_for_each_delivery() {
    let mut server = closed(&SETTINGS).await;
    let mut endpoints = Vec::new();
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let (receiver, url) = Receiver::start(&[]).await;
        let url = url.replace("127.0.0.1", host);
        let made = register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
        endpoints.push((host, receiver, id(&made).to_owned()));
    }
    let fast = [SETTINGS[2], SETTINGS[3]];
    for (n, settings) in [[ALLOW_HTTP].as_slice(), &[SETTINGS[1]]].into_iter().enumerate() {
        let without_http = n == 1;
        again(&mut server, &[settings, &fast[..]].concat());
        write_org(&server, &format!("org-{n}")).await;
        for (host, receiver, id) in &endpoints {
            let (status, answer) = ask(&server, &format!("/{id}/verify"), json!({})).await;
            // A name is told to be wrong when it is called, what stands in the URL before.
            let by_name = *host == "localhost" && !without_http;
            assert_eq!(status, if by_name { 200 } else { 400 }, "{host}: {answer}");
            assert!(!by_name || answer["failure"].as_str().unwrap().contains("loopback"), "{answer}");
            // The first message of this round, or of the one before, in whose stead the second waits.
            until("it is tried", async || {
                let last = attempts(&server, id).await;
                last.last().is_some_and(|last| last["failure"] == "forbidden" && last["status"].is_null())
            })
            .await;
            assert!(receiver.messages().is_empty(), "{host}");
        }
    }
    // Allowed again, all of them get what they have missed.
    again(&mut server, &SETTINGS);
    for (host, receiver, _) in &endpoints {
        receiver.until_accepted(2).await;
        let ids: Vec<String> = receiver.accepted().iter().map(|call| call.sourced_id().to_owned()).collect();
        assert_eq!(ids, ["org-0", "org-1"], "{host}");
    }
}

/// Says so when it is dropped.
struct Ends(watch::Sender<usize>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}

/// A receiver whose answers have no end, but for that to its challenge if `verifies`. Gives how many of them have come
/// to an end all the same, and how many bytes were taken of all.
async fn endless(verifies: bool) -> (watch::Receiver<usize>, Arc<AtomicUsize>, String) {
    const PART: Bytes = Bytes::from_static(&[b'a'; 65_536]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (ended, ends) = watch::channel(0);
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let answer = move |body: Bytes| {
        let (ends, taken) = (Ends(ended.clone()), counted.clone());
        async move {
            let message: Value = serde_json::from_slice(&body).unwrap();
            if verifies && message["type"] == "endpoint.verification" {
                return axum::Json(json!({ "challenge": message["data"]["challenge"] })).into_response();
            }
            let parts = futures::stream::repeat_with(move || {
                let _held = &ends;
                taken.fetch_add(PART.len(), Ordering::SeqCst);
                Ok::<_, std::convert::Infallible>(PART)
            });
            Response::new(Body::from_stream(parts))
        }
    };
    let app = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (ends, taken, url)
}

async fn until_ended(ends: &mut watch::Receiver<usize>, number: usize) {
    tokio::time::timeout(PATIENCE, ends.wait_for(|ended| *ended >= number)).await.expect("the answer ends").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_without_end_little_is_read() {
    // Longer than anything is waited for here: it is not the time that ends it.
    let patient = ("ROSTERHUB_WEBHOOKS_TIMEOUT_SECONDS", "600");
    let server = closed(&[&SETTINGS[..], &[patient]].concat()).await;
    let (mut ends, taken, url) = endless(true).await;
    let made = register(&server, json!({ "url": url, "types": ["org.*"], "order": "fifo" })).await;
    ends.mark_unchanged();
    let before = *ends.borrow();
    write_org(&server, "a").await;
    until_ended(&mut ends, before + 1).await;
    until("it is written down", async || !attempts(&server, id(&made)).await.is_empty()).await;
    let told = attempts(&server, id(&made)).await;
    assert_eq!((told.len(), &told[0]["status"], &told[0]["failure"]), (1, &json!(200), &Value::Null), "{told:?}");
    assert_eq!(told[0]["excerpt"], "a".repeat(500));

    // Nor is a challenge looked for in it.
    let (mut ends, more, url) = endless(false).await;
    let (_, made) = ask(&server, "", json!({ "url": url, "types": ["org.*"] })).await;
    let (_, trial) = ask(&server, &format!("/{}/verify", id(&made)), json!({})).await;
    assert_eq!((&trial["ok"], &trial["status"], &trial["state"]), (&json!(false), &json!(200), &json!("unverified")));
    assert_eq!(trial["excerpt"], "a".repeat(500));
    until_ended(&mut ends, 1).await;
    // The rest is what buffers of the system hold.
    let taken = [taken, more].map(|taken| taken.load(Ordering::SeqCst) >> 20);
    assert!(taken.iter().all(|mib| *mib < 64), "{taken:?} MiB");
}
