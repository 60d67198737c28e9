//! Imports wait for their turn.

use futures::StreamExt;
use rosterhub::sample::SampleOptions;
use serde_json::Value;

use crate::support::{Server, bulk, city, database, open, run, tenant, until};

async fn server(settings: &[(&str, &str)]) -> Server {
    let url = database().await;
    assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
    Server::with(&url, settings)
}

fn of(seed: &str) -> Vec<u8> {
    bulk(&SampleOptions { seed: seed.into(), ..city() })
}

fn imports(server: &Server) -> reqwest::RequestBuilder {
    server.http.post(format!("{}/rosterhub/v1/imports?apply=always", server.base)).bearer_auth(&server.token)
}

/// Hands a set in and does not wait.
async fn hand_in(server: &Server, zip: Vec<u8>) -> Value {
    let response = imports(server).body(zip).send().await.unwrap();
    assert_eq!(response.status(), 202);
    response.json().await.unwrap()
}

async fn job(server: &Server, job: &Value) -> Value {
    let path = format!("{}/rosterhub/v1/imports/{}", server.base, job["id"].as_str().unwrap());
    server.get(&path).await.json().await.unwrap()
}

#[tokio::test]
async fn imports_beyond_the_limit_wait_alive_and_run_in_order() {
    let server = server(&[("ROSTERHUB_MAX_IMPORTS", "1"), ("ROSTERHUB_MAX_QUEUED_IMPORTS", "2")]).await;
    let log = open(&server.url).await;
    let lock = log.begin(&tenant("midori")).await.unwrap();
    let running = hand_in(&server, of("1")).await;
    until("it runs", async || job(&server, &running).await["state"] == "applying").await;
    let waiting = [hand_in(&server, of("2")).await, hand_in(&server, of("3")).await];
    let refused = imports(&server).body(of("4")).send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().unwrap()));
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "busy");

    // Whoever starts meanwhile closes what was interrupted. These are not, although they have no connection each.
    assert_eq!(run(&server.url, &["tenant", "list"]).0, 0);
    for waiting in &waiting {
        assert_eq!(job(&server, waiting).await["state"], "queued");
    }
    let holders: i64 = sqlx::query_scalar(
        "select count(distinct pid) from pg_locks
          where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
    )
    .fetch_one(log.db().pool())
    .await
    .unwrap();
    assert_eq!(holders, 2);

    drop(lock);
    let mut positions = Vec::new();
    for one in [&running, &waiting[0], &waiting[1]] {
        until("it ends", async || !job(&server, one).await["finishedAt"].is_null()).await;
        let ended = job(&server, one).await;
        assert_eq!(ended["state"], "completed", "{ended}");
        positions.push(ended["position"].as_i64().unwrap());
    }
    assert!(positions.is_sorted(), "{positions:?}");
    assert_eq!(server.import(of("3")).await["position"], positions[2], "the last one handed in stands");
}

#[tokio::test]
async fn jobs_that_waited_in_a_killed_server_are_closed() {
    let mut server = server(&[]).await;
    let log = open(&server.url).await;
    let lock = log.begin(&tenant("midori")).await.unwrap();
    for seed in ["1", "2", "3"] {
        hand_in(&server, of(seed)).await;
    }
    server.kill();
    drop(lock);
    assert_eq!(run(&server.url, &["tenant", "list"]).0, 0);
    let jobs = rosterhub::csv::job::list(&log, &tenant("midori"), 10, 0).await.unwrap();
    assert_eq!(jobs.len(), 3);
    assert!(jobs.iter().all(|j| j.failure.as_ref().is_some_and(|f| f.starts_with("interrupted"))), "{jobs:?}");
}

#[tokio::test]
async fn a_slow_upload_keeps_no_import_from_running() {
    let server = server(&[("ROSTERHUB_MAX_IMPORTS", "1"), ("ROSTERHUB_MAX_QUEUED_IMPORTS", "0")]).await;
    let (slow, begun) = tokio::sync::oneshot::channel();
    let (rest, finish) = tokio::sync::oneshot::channel();
    let parts = futures::stream::once(async move {
        slow.send(()).unwrap();
        Vec::new()
    })
    .chain(futures::stream::once(async { finish.await.unwrap() }))
    .map(Ok::<Vec<u8>, std::io::Error>);
    let request = imports(&server).header("prefer", "wait=60").body(reqwest::Body::wrap_stream(parts));
    let upload = tokio::spawn(request.send());
    begun.await.unwrap();
    let other = server.import(of("1")).await;
    assert_eq!(other["state"], "completed", "{other}");
    rest.send(of("2")).unwrap();
    let slow: Value = upload.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(slow["state"], "completed", "{slow}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_ends_what_runs() {
    let mut server = server(&[]).await;
    let log = open(&server.url).await;
    let lock = log.begin(&tenant("midori")).await.unwrap();
    let running = hand_in(&server, of("1")).await;
    until("it runs", async || job(&server, &running).await["state"] == "applying").await;
    // It has all it needs when it waits for the tenant's lock.
    let waits =
        "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())";
    until("it waits for the lock", async || sqlx::query_scalar(waits).fetch_one(log.db().pool()).await.unwrap()).await;
    hand_in(&server, of("2")).await;
    server.interrupt();
    until("it stops serving", async || server.http.get(&server.base).send().await.is_err()).await;
    drop(lock);
    server.wait();
    assert_eq!(run(&server.url, &["tenant", "list"]).0, 0);
    let jobs = rosterhub::csv::job::list(&log, &tenant("midori"), 10, 0).await.unwrap();
    assert_eq!(jobs.iter().map(|j| j.state.as_str()).collect::<Vec<_>>(), ["failed", "completed"]);
    assert!(jobs[0].failure.as_ref().unwrap().starts_with("interrupted"));
}

/// It is let through to its end although it asks for connections after the server has been told.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_stop_gives_what_runs_its_connections() {
    let mut server = server(&[("ROSTERHUB_MAX_IMPORTS", "1")]).await;
    let log = open(&server.url).await;
    let mut lock = log.db().pool().begin().await.unwrap();
    sqlx::query("lock table classes in access exclusive mode").execute(&mut *lock).await.unwrap();
    let running = hand_in(&server, of("1")).await;
    until("it is planned", async || job(&server, &running).await["state"] == "planning").await;
    hand_in(&server, of("2")).await;
    server.interrupt();
    until("it stops serving", async || server.http.get(&server.base).send().await.is_err()).await;
    lock.rollback().await.unwrap();
    server.wait();
    assert_eq!(run(&server.url, &["tenant", "list"]).0, 0);
    let jobs = rosterhub::csv::job::list(&log, &tenant("midori"), 10, 0).await.unwrap();
    assert_eq!(jobs.iter().map(|j| j.state.as_str()).collect::<Vec<_>>(), ["failed", "completed"], "{jobs:?}");
    assert!(jobs[0].failure.as_ref().unwrap().starts_with("interrupted"));
}
