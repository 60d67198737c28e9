//! Cursors that the hub keeps: the same page until it is acknowledged.

use reqwest::Method;
use serde_json::{Value, json};

use super::positions;
use crate::graphql::changes::moving_city;
use crate::support::{EVERYTHING, Server, put, run, token};

/// A client of the cursors.
struct Cursors<'a> {
    server: &'a Server,
    token: String,
}

impl<'a> Cursors<'a> {
    fn own(server: &'a Server) -> Self {
        Self { server, token: server.token.clone() }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/rosterhub/v1/changes/cursors{path}", self.server.base);
        let request = self.server.http.request(method, url).bearer_auth(&self.token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, Value::Null).await
    }

    async fn put(&self, name: &str, body: Value) -> (u16, Value) {
        self.send(Method::PUT, &format!("/{name}"), body).await
    }

    async fn page(&self, name: &str, query: &str) -> Value {
        let (status, page) = self.get(&format!("/{name}/changes?{query}")).await;
        assert_eq!(status, 200, "{page}");
        page
    }

    async fn acknowledge(&self, name: &str, body: Value) -> (u16, Value) {
        self.send(Method::POST, &format!("/{name}/acknowledge"), body).await
    }
}

fn org(name: &str) -> Value {
    json!({ "org": { "name": name, "type": "school" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_page_comes_until_it_is_acknowledged() {
    let (server, _) = moving_city().await;
    let cursors = Cursors::own(&server);
    let (status, made) = cursors.put("sync", json!({ "types": ["org", "role"], "position": 0, "values": true })).await;
    assert_eq!((status, &made["position"], made.get("acknowledgedAt")), (201, &json!(0), None), "{made}");
    assert_eq!((&made["types"], &made["values"]), (&json!(["org", "role"]), &json!(true)));
    let expected = super::walk(&server, &server.token, "types=org,role&values=true&limit=10000").await;
    let mut told = Vec::new();
    loop {
        let page = cursors.page("sync", "limit=50").await;
        assert_eq!(cursors.page("sync", "limit=50").await, page, "not acknowledged");
        told.extend(page["changes"].as_array().unwrap().iter().cloned());
        let (status, moved) = cursors.acknowledge("sync", json!({ "position": page["next"] })).await;
        assert_eq!((status, &moved["position"]), (200, &page["next"]));
        assert_eq!(moved["lag"].as_i64(), Some(page["position"].as_i64().unwrap() - page["next"].as_i64().unwrap()));
        assert!(moved["acknowledgedAt"].is_string());
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(told, expected);
    let (_, at_end) = cursors.get("/sync").await;
    assert_eq!(at_end["lag"], 0);
    // The same again changes nothing.
    assert_eq!(cursors.acknowledge("sync", json!({ "position": at_end["position"] })).await, (200, at_end.clone()));
    // It waits for what is to come.
    let (page, _) = tokio::join!(cursors.page("sync", "wait=60"), put(&server, "orgs/later", org("later")));
    assert_eq!(page["changes"][0]["sourcedId"], "later");
    assert_eq!(page["changes"][0]["previousPosition"], expected.last().unwrap()["position"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_moves_back_or_beyond_the_head_only_when_told_to() {
    let server = Server::start().await;
    for n in 0..4 {
        put(&server, &format!("orgs/o{n}"), org("o")).await;
    }
    let cursors = Cursors::own(&server);
    let (status, made) = cursors.put("c", json!({})).await;
    assert_eq!((status, &made["position"], &made["lag"]), (201, &json!(4), &json!(0)), "the head");
    let (status, refused) = cursors.acknowledge("c", json!({ "position": 2 })).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("cursor_ahead")));
    assert!(refused["error"]["message"].as_str().unwrap().contains("stands at 4"));
    let (status, moved) = cursors.acknowledge("c", json!({ "position": 2, "back": true })).await;
    assert_eq!((status, &moved["position"], &moved["lag"]), (200, &json!(2), &json!(2)));
    assert_eq!(positions(cursors.page("c", "").await["changes"].as_array().unwrap()), [3, 4]);
    for (body, code) in [
        (json!({ "position": 5 }), "beyond_head"),
        (json!({ "position": -1 }), "bad_request"),
        (json!({ "position": "1" }), "bad_request"),
        (json!({ "position": 3, "forward": true }), "bad_request"),
        (json!([]), "bad_request"),
    ] {
        let (status, refused) = cursors.acknowledge("c", body.clone()).await;
        assert_eq!((status, refused["error"]["code"].as_str()), (400, Some(code)), "{body}");
    }
    // Another filter keeps the place, unless one is named.
    let (status, other) = cursors.put("c", json!({ "sourcedId": "o3", "kinds": ["created"] })).await;
    assert_eq!((status, &other["position"], &other["sourcedId"]), (200, &json!(2), &json!("o3")));
    assert_eq!(positions(cursors.page("c", "").await["changes"].as_array().unwrap()), [4]);
    let second = super::page(&server, "").await["changes"][1]["recordedAt"].clone();
    for (position, at) in [(second, 2), (json!("now"), 4), (json!(1), 1)] {
        let body = json!({ "position": position, "school": "o2" });
        assert_eq!(cursors.put("c", body).await.1["position"], at, "{position}");
    }
    assert_eq!(positions(cursors.page("c", "").await["changes"].as_array().unwrap()), [3]);
    for body in [
        json!({ "types": ["users"] }),
        json!({ "types": "user" }),
        json!({ "kinds": ["made"] }),
        json!({ "school": "a b" }),
        json!({ "sourcedId": "" }),
        json!({ "position": 5 }),
        json!({ "position": -1 }),
        json!({ "position": "x" }),
        json!({ "colour": "red" }),
        json!(7),
    ] {
        assert_eq!(cursors.put("c", body.clone()).await.0, 400, "{body}");
        assert_eq!(cursors.put("new", body.clone()).await.0, 400, "{body}");
    }
    assert_eq!(cursors.put("a%20b", json!({})).await.0, 400);
    for query in ["after=1", "types=user", "limit=0", "wait=99"] {
        assert_eq!(cursors.get(&format!("/c/changes?{query}")).await.0, 400, "{query}");
    }
    for (method, path) in [
        (Method::GET, "/new"),
        (Method::GET, "/new/changes"),
        (Method::DELETE, "/new"),
        (Method::POST, "/new/acknowledge"),
    ] {
        assert_eq!(cursors.send(method, path, json!({ "position": 0 })).await.0, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_are_the_clients_own_and_so_many() {
    let server = Server::start().await;
    put(&server, "orgs/o", org("o")).await;
    let cursors = Cursors::own(&server);
    assert_eq!(cursors.put("mine", json!({ "position": 0 })).await.0, 201);
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let roster = "roster.readonly";
    for token in [token(&server.url, "midori", roster), token(&server.url, "aoba", EVERYTHING)] {
        let other = Cursors { server: &server, token };
        assert_eq!(other.get("").await, (200, json!({ "cursors": [] })));
        assert_eq!(other.get("/mine").await.0, 404);
        assert_eq!(other.get("/mine/changes").await.0, 404);
        assert_eq!(other.acknowledge("mine", json!({ "position": 0, "back": true })).await.0, 404);
        assert_eq!(other.send(Method::DELETE, "/mine", Value::Null).await.0, 404);
        assert_eq!(other.put("mine", json!({})).await.0, 201);
    }
    assert_eq!(cursors.get("/mine").await.1["position"], 0);
    let importer = Cursors { server: &server, token: token(&server.url, "midori", "import,export") };
    assert_eq!(importer.get("").await.0, 403);
    for n in 1..100 {
        assert_eq!(cursors.put(&format!("c{n}"), json!({})).await.0, 201);
    }
    let (status, refused) = cursors.put("one-more", json!({})).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("too_many_cursors")));
    assert_eq!(cursors.put("c7", json!({ "types": ["user"] })).await.0, 200, "one that is there");
    assert_eq!(cursors.get("").await.1["cursors"].as_array().unwrap().len(), 100);
    assert_eq!(cursors.send(Method::DELETE, "/c7", Value::Null).await.0, 204);
    assert_eq!(cursors.send(Method::DELETE, "/c7", Value::Null).await.0, 404);
    assert_eq!(cursors.put("one-more", json!({})).await.0, 201);
}

/// What a cursor is told of follows what its client may see now.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_shows_no_demographics_without_the_scope() {
    let (server, _) = moving_city().await;
    let roster = Cursors { server: &server, token: token(&server.url, "midori", "roster.readonly") };
    let body = json!({ "position": 0, "types": ["demographics", "org"] });
    roster.put("c", body.clone()).await;
    let own = Cursors::own(&server);
    own.put("c", body).await;
    let types = async |cursors: &Cursors<'_>| -> std::collections::BTreeSet<String> {
        let page = cursors.page("c", "limit=10000").await;
        page["changes"].as_array().unwrap().iter().map(|c| c["recordType"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(types(&roster).await, ["org".to_owned()].into());
    assert_eq!(types(&own).await, ["demographics".to_owned(), "org".to_owned()].into());
}
