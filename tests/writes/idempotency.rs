//! A request sent again.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, answer, delete, patch, seed, send, send_with};
use crate::support::{Server, assert_verified, client, open, tenant};

async fn send_keyed(server: &Server, method: Method, path: &str, key: &str, body: &Value) -> Answer {
    send_with(server, method, path, &[("idempotency-key", key)], body).await
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer() {
    let server = Server::start().await;
    seed(&server).await;
    let org = json!({ "name": "みどり市", "type": "district" });
    let first = send_keyed(&server, Method::POST, "roster/orgs", "k1", &org).await.expect(201);
    let id = first.record()["sourcedId"].as_str().unwrap().to_owned();
    assert_eq!(send_keyed(&server, Method::POST, "roster/orgs", "k1", &org).await, first);

    // Also when the record has changed since, and is gone.
    let path = format!("orgs/{id}");
    let renamed = send_keyed(&server, Method::PATCH, &format!("roster/{path}"), "k2", &json!({ "name": "改" })).await;
    let deleted = send_keyed(&server, Method::DELETE, &format!("roster/{path}"), "k3", &Value::Null).await.expect(200);
    let unchanged =
        send_keyed(&server, Method::DELETE, &format!("roster/{path}"), "k4", &Value::Null).await.expect(200);
    assert_eq!(unchanged.position(), deleted.position());
    patch(&server, &path, json!({ "status": "active", "name": "再" })).await.expect(200);
    let head = open(&server.url).await.head(&tenant("midori")).await.unwrap();
    assert_eq!(send_keyed(&server, Method::POST, "roster/orgs", "k1", &org).await, first);
    let again = send_keyed(&server, Method::PATCH, &format!("roster/{path}"), "k2", &json!({ "name": "改" })).await;
    assert_eq!(again, renamed);
    assert_eq!(send_keyed(&server, Method::DELETE, &format!("roster/{path}"), "k3", &Value::Null).await, deleted);
    assert_eq!(send_keyed(&server, Method::DELETE, &format!("roster/{path}"), "k4", &Value::Null).await, unchanged);
    assert_eq!(open(&server.url).await.head(&tenant("midori")).await.unwrap(), head);

    // The key for something else is a mistake, whatever differs.
    for (method, path, headers, body) in [
        (Method::POST, "roster/orgs", vec![], json!({ "name": "another", "type": "district" })),
        (Method::PUT, "roster/orgs/b", vec![], org.clone()),
        (Method::POST, "roster/orgs", vec![("if-none-match", "*")], org.clone()),
    ] {
        let headers = [vec![("idempotency-key", "k1")], headers].concat();
        let refused = send_with(&server, method, path, &headers, &body).await.expect(422);
        assert_eq!(refused.body["error"]["code"], "idempotency_mismatch", "{path}");
    }
    // What was refused was not done, and its key is free.
    send_keyed(&server, Method::POST, "roster/orgs", "k5", &json!({ "name": "x" })).await.expect(422);
    send_keyed(&server, Method::POST, "roster/orgs", "k5", &org).await.expect(201);
    for bad in ["", "a b", &"x".repeat(256)] {
        assert_eq!(send_keyed(&server, Method::POST, "roster/orgs", bad, &org).await.status, 400, "{bad}");
    }
    send_keyed(&server, Method::POST, "roster/orgs", &"x".repeat(255), &org).await.expect(201);
    assert_verified(&server.url);
}

#[tokio::test]
async fn keys_are_a_client_s_own_and_are_forgotten_in_the_end() {
    let server = Server::start().await;
    let put = async |token: &str, path: &str, key: &str| {
        let request = server.http.put(format!("{}/rosterhub/v1/roster/{path}", server.base)).bearer_auth(token);
        answer(request.header("idempotency-key", key).json(&json!({ "name": "x", "type": "school" }))).await
    };
    let other = client(&server.url, "midori", &["--api-key", "--scopes", "write"]);
    let (other, other_id) =
        (other["apiKey"].as_str().unwrap().to_owned(), other["clientId"].as_str().unwrap().to_owned());
    put(&server.token, "orgs/a", "k").await.expect(201);
    put(&other, "orgs/b", "k").await.expect(201);
    assert_eq!(put(&server.token, "orgs/b", "k").await.body["error"]["code"], "idempotency_mismatch");

    // After a day a key still counts; after some days it is dropped as others are used.
    let mut conn = open(&server.url).await.db().acquire(&tenant("midori")).await.unwrap();
    let age = async |conn: &mut sqlx::PgConnection, hours: i32| {
        let sql = "update idempotency_keys set created_at = now() - make_interval(hours => $1) where client <> $2";
        sqlx::query(sql).bind(hours).bind(&other_id).execute(conn).await.unwrap();
    };
    age(&mut conn, 25).await;
    put(&other, "orgs/c", "k2").await.expect(201);
    assert_eq!(put(&server.token, "orgs/b", "k").await.body["error"]["code"], "idempotency_mismatch");
    age(&mut conn, 49).await;
    put(&other, "orgs/d", "k3").await.expect(201);
    put(&server.token, "orgs/b", "k").await.expect(200);
    assert_verified(&server.url);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_many_times_at_once_is_carried_out_once() {
    let server = Arc::new(Server::start().await);
    let mut position = seed(&server).await;
    let user = json!({ "enabledUser": "true", "givenName": "a", "familyName": "b", "roles": [super::role("primary", "aide", "s")] });
    let batch = json!({ "operations": [
        { "op": "patch", "collection": "orgs", "sourcedId": "b", "document": { "name": "改" } },
        { "op": "create", "collection": "orgs", "sourcedId": "new", "document": { "name": "x", "type": "school" } },
    ]});
    for (method, path, body, events) in [
        (Method::POST, "roster/users", &user, 2),
        (Method::PATCH, "roster/classes/k", &json!({ "title": "改" }), 1),
        (Method::POST, "batch", &batch, 2),
        (Method::DELETE, "roster/enrollments/e", &Value::Null, 1),
    ] {
        let key = format!("key of {path}").replace(' ', "-");
        let senders = (0..16).map(|_| {
            let (server, method, key, body) = (server.clone(), method.clone(), key.clone(), body.clone());
            tokio::spawn(async move { send_keyed(&server, method, path, &key, &body).await })
        });
        let answers: Vec<Answer> = futures::future::join_all(senders).await.into_iter().map(Result::unwrap).collect();
        assert!([200, 201].contains(&answers[0].status), "{:?}", answers[0]);
        assert!(answers.iter().all(|a| *a == answers[0]), "{path}: {answers:?}");
        position += events;
        assert_eq!(open(&server.url).await.head(&tenant("midori")).await.unwrap(), Some(position), "{path}");
    }
    delete(&server, "classes/k").await.expect(200);
    send(&server, Method::POST, "batch", json!({ "operations": [] })).await.expect(200);
    assert_verified(&server.url);
}
