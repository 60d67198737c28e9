//! The database goes away under the server, and comes back.

use rosterhub::db::embedded::{EmbeddedPostgres, Settings};
use serde_json::Value;
use sqlx::{Connection, Executor};

use crate::support::{Server, bulk, city, open, own_postgres, rosterhub, run, tenant, until};

#[tokio::test(flavor = "multi_thread")]
async fn imports_that_run_fail_and_those_that_wait_go_on_when_the_database_is_back() {
    let mut postgres = own_postgres("outage-imports");
    let mut admin = sqlx::PgConnection::connect(&postgres.admin_url("postgres")).await.unwrap();
    admin.execute("create database hub owner rosterhub").await.unwrap();
    admin.close().await.unwrap();
    let url = postgres.url("hub");
    assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
    let server = Server::on(&url);
    let log = open(&url).await;
    let lock = log.begin(&tenant("midori")).await.unwrap();
    let imports = format!("{}/rosterhub/v1/imports", server.base);
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let response = server.http.post(&imports).bearer_auth(&server.token).body(bulk(&city())).send().await.unwrap();
        let job: Value = response.json().await.unwrap();
        jobs.push(format!("{imports}/{}", job["id"].as_str().unwrap()));
    }
    let job = async |n: usize| server.get(&jobs[n]).await.json::<Value>().await.unwrap();
    until("one runs", async || job(0).await["state"] == "applying").await;
    tokio::task::block_in_place(|| postgres.kill()).unwrap();
    drop(lock);
    tokio::task::block_in_place(|| postgres.restart()).unwrap();
    until("both end", async || !job(0).await["finishedAt"].is_null() && !job(1).await["finishedAt"].is_null()).await;
    let (first, second) = (job(0).await, job(1).await);
    assert!(first["failure"].as_str().unwrap().starts_with("the database is away"), "{first}");
    assert_eq!(second["state"], "completed", "{second}");
    drop(server);
    tokio::task::block_in_place(|| postgres.stop()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_answer_503_while_the_database_is_away_and_then_go_on() {
    let mut postgres = own_postgres("outage");
    let mut admin = sqlx::PgConnection::connect(&postgres.admin_url("postgres")).await.unwrap();
    admin.execute("create database hub owner rosterhub").await.unwrap();
    admin.close().await.unwrap();
    let url = postgres.url("hub");
    assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
    let server = Server::on(&url);
    let job = server.import(bulk(&city())).await;
    let users = server.oneroster("users?limit=1");
    assert_eq!(server.get(&users).await.status(), 200);

    tokio::task::block_in_place(|| postgres.kill()).unwrap();
    for path in
        [users.clone(), format!("{}/rosterhub/v1/imports", server.base), format!("{}/health/ready", server.base)]
    {
        let response = server.get(&path).await;
        assert_eq!(
            (response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()),
            (503, "5"),
            "{path}"
        );
    }
    let body: Value = server.get(&users).await.json().await.unwrap();
    assert_eq!(body["imsx_codeMajor"], "failure");
    assert_eq!(server.get(&format!("{}/health/live", server.base)).await.status(), 200);

    tokio::task::block_in_place(|| postgres.restart()).unwrap();
    until("the server recovers", async || server.get(&users).await.status() == 200).await;
    assert_eq!(server.import(bulk(&city())).await["position"], job["position"]);
    drop(server);
    tokio::task::block_in_place(|| postgres.stop()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_postgres_that_cannot_be_used_is_not_left_running() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        data_dir: folder.path().join("hub"),
        durable: false,
        stop_with_process: true,
        remove_on_stop: false,
        parameters: vec![],
    };
    let start = || tokio::task::block_in_place(|| EmbeddedPostgres::start(&settings)).unwrap();
    let postgres = start();
    let mut admin = sqlx::PgConnection::connect(&postgres.admin_url("postgres")).await.unwrap();
    admin.execute("alter role rosterhub bypassrls").await.unwrap();
    admin.close().await.unwrap();
    tokio::task::block_in_place(|| postgres.stop()).unwrap();
    let mut command = rosterhub("", &["tenant", "list"]);
    let output = command.env_remove("DATABASE_URL").env("ROSTERHUB_DATA_DIR", &settings.data_dir).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("bypasses row-level security"), "{output:?}");
    let postgres = start();
    assert!(!postgres.adopted());
    tokio::task::block_in_place(|| postgres.stop()).unwrap();
}
