//! Fewer connections to the database than requests: each is answered or told to come back, and nothing is lost.

use futures::future::join_all;
use rosterhub::sample::SampleOptions;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::{Server, bulk, city, until};

const ONE: (&str, &str) = ("ROSTERHUB_DATABASE_CONNECTIONS", "1");
const TWO: (&str, &str) = ("ROSTERHUB_DATABASE_CONNECTIONS", "2");

/// A server with few connections, on a roster of 3,000 users: more bytes than are under way between two processes.
async fn crowded(settings: &[(&str, &str)]) -> Server {
    let server = Server::start().await;
    server.import(bulk(&SampleOptions { students_per_school: 1_500, subjects: 2, ..city() })).await;
    Server::with(&server.url, settings)
}

/// States of the connections of hubs to the database.
async fn connections(observer: &mut PgConnection) -> Vec<(String, Option<String>)> {
    sqlx::query_as(
        "select state, wait_event from pg_stat_activity
          where datname = current_database() and application_name like 'rosterhub %'",
    )
    .fetch_all(observer)
    .await
    .unwrap()
}

/// Begins a long list and takes nothing of its body; returns when the database waits for that, with `standing` lists
/// in all.
async fn stall(server: &Server, observer: &mut PgConnection, standing: usize) -> reqwest::Response {
    let begun = server.get(&server.oneroster("enrollments?limit=10000")).await;
    assert_eq!(begun.status(), 200);
    let observer = tokio::sync::Mutex::new(observer);
    until("the list stands still", async || {
        let connections = connections(*observer.lock().await).await;
        connections.iter().filter(|c| c.1.as_deref() == Some("ClientWrite")).count() == standing
    })
    .await;
    begun
}

/// One request of each kind, all at a time: status, whether it may come back, body.
async fn crowd(server: &Server, of_each: usize) -> Vec<(String, u16, bool, Value)> {
    let get = |path: &str| (path.to_owned(), server.http.get(format!("{}/{path}", server.base)));
    let put = |n: usize| {
        let path = format!("rosterhub/v1/roster/orgs/new-{n}");
        let request = server.http.put(format!("{}/{path}", server.base));
        (path, request.json(&json!({ "name": "新", "type": "school" })))
    };
    let requests = (0..of_each).flat_map(|n| {
        let rostering = "ims/oneroster/rostering/v1p2";
        [
            get(&format!("{rostering}/users?limit=10&offset={n}")),
            get(&format!("{rostering}/users?limit=2000&filter=sourcedId!='{n}'")),
            get(&format!("{rostering}/schools?asOf={n}")),
            get("rosterhub/v1/imports"),
            put(n),
        ]
    });
    join_all(requests.map(async |(path, request)| {
        let response = request.bearer_auth(&server.token).send().await.unwrap();
        let status = response.status().as_u16();
        let may_come_back = response.headers().contains_key("retry-after");
        let body = response.json().await.unwrap_or_else(|e| panic!("{path}: {status} {e}"));
        (path, status, may_come_back, body)
    }))
    .await
}

/// Answered, or refused in the shape of its API.
fn assert_answered_or_refused(answers: &[(String, u16, bool, Value)]) {
    for (path, status, may_come_back, body) in answers {
        match status {
            200 | 201 => {}
            503 if path.starts_with("ims") => assert_eq!(body["imsx_codeMajor"], "failure", "{path}: {body}"),
            503 => assert_eq!(body["error"]["code"], "unavailable", "{path}: {body}"),
            _ => panic!("{path}: {status} {body}"),
        }
        assert_eq!(*may_come_back, *status == 503, "{path}");
    }
}

#[tokio::test]
async fn one_connection_is_enough_for_any_request() {
    let server = crowded(&[ONE]).await;
    for (path, status, ..) in crowd(&server, 2).await {
        assert!([200, 201].contains(&status), "{path}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_read_slowly_hold_up_nobody_for_good() {
    let server = crowded(&[TWO]).await;
    let mut observer = PgConnection::connect(&server.url).await.unwrap();
    // One connection is left for the others.
    let slow = stall(&server, &mut observer, 1).await;
    let answers = crowd(&server, 8).await;
    assert_answered_or_refused(&answers);
    assert!(answers.iter().any(|answer| answer.1 == 200));
    // None is left.
    let slower = stall(&server, &mut observer, 2).await;
    let answers = crowd(&server, 4).await;
    assert_answered_or_refused(&answers);
    assert!(answers.iter().all(|answer| answer.1 == 503), "{answers:?}");
    // One goes on reading and gets all of it, one goes away; then there is room for everybody.
    let total: usize = slow.headers()["x-total-count"].to_str().unwrap().parse().unwrap();
    let body: Value = slow.json().await.unwrap();
    assert_eq!(body["enrollments"].as_array().unwrap().len(), total.min(10_000));
    drop(slower);
    recovered(&server, &mut observer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_a_list_is_cut_off() {
    let server = crowded(&[TWO, ("ROSTERHUB_STALLED_SECONDS", "1")]).await;
    let mut observer = PgConnection::connect(&server.url).await.unwrap();
    let stalled =
        [server.get(&server.oneroster("enrollments?limit=10000")).await, stall(&server, &mut observer, 2).await];
    recovered(&server, &mut observer).await;
    for list in stalled {
        assert!(list.bytes().await.is_err(), "it is not taken for whole");
    }
}

/// All requests are answered again, and no connection is left in a transaction.
async fn recovered(server: &Server, observer: &mut PgConnection) {
    until("it answers", async || server.get(&server.oneroster("users?limit=1")).await.status() == 200).await;
    for (path, status, ..) in crowd(server, 2).await {
        assert!([200, 201].contains(&status), "{path}: {status}");
    }
    let observer = tokio::sync::Mutex::new(observer);
    until("all connections are idle", async || {
        let connections = connections(*observer.lock().await).await;
        connections.len() <= 2 && connections.iter().all(|connection| connection.0 == "idle")
    })
    .await;
}
