//! The database goes away under the server, and comes back.

use serde_json::Value;
use sqlx::{Connection, Executor};

use crate::support::{Server, bulk, city, own_postgres, run, until};

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
