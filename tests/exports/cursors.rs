//! Named cursors: "my last export".

use reqwest::Method;
use serde_json::{Value, json};

use super::{As, another, export, get, import};
use crate::support::{Server, bulk, city, delta, token};

async fn send(server: &Server, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/rosterhub/v1/exports/cursors{path}", server.base);
    let response = server.http.request(method, url).bearer_auth(&server.token).json(&body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or_default())
}

async fn acknowledge(server: &Server, name: &str, body: Value) -> (u16, Value) {
    send(server, Method::PUT, &format!("/{name}"), body).await
}

#[tokio::test]
async fn a_cursor_moves_when_it_is_told_to() {
    let mut server = Server::start().await;
    import(&server, bulk(&city())).await;
    let first = export(&server, "cursor=nightly").await;
    assert_eq!(first.since(), None, "everything at first");
    // Not acknowledged: everything again.
    assert_eq!(export(&server, "cursor=nightly").await.zip, first.zip);
    let (status, made) = acknowledge(&server, "nightly", json!({ "position": first.position() })).await;
    assert_eq!((status, &made["position"]), (200, &json!(first.position())));
    assert_eq!(acknowledge(&server, "nightly", json!({ "position": first.position() })).await, (200, made.clone()));

    import(&server, delta(&city(), 10.0)).await;
    let second = export(&server, "cursor=nightly").await;
    assert_eq!((second.since(), second.text("manifest").contains("file.users,delta")), (Some(first.position()), true));
    assert_eq!(export(&server, "cursor=nightly").await.zip, second.zip);
    let (_, moved) = acknowledge(&server, "nightly", json!({ "position": second.position() })).await;
    assert_eq!(moved["position"], second.position());
    assert_eq!(export(&server, "cursor=nightly").await.names, ["manifest.csv"]);

    // Back only when asked to.
    let (status, body) = acknowledge(&server, "nightly", json!({ "position": first.position() })).await;
    assert_eq!((status, &body["error"]["code"]), (409, &json!("cursor_ahead")));
    let back = json!({ "position": first.position(), "back": true });
    assert_eq!(acknowledge(&server, "nightly", back).await.1["position"], first.position());
    assert_eq!(export(&server, "cursor=nightly").await.zip, second.zip);

    for (body, status, code) in [
        (json!({ "position": second.position() + 1 }), 400, "beyond_head"),
        (json!({ "position": -1 }), 400, "bad_request"),
        (json!({ "position": "1" }), 400, "bad_request"),
        (json!({ "position": 1, "more": 1 }), 400, "bad_request"),
        (json!([]), 400, "bad_request"),
    ] {
        let (answered, error) = acknowledge(&server, "nightly", body.clone()).await;
        assert_eq!((answered, error["error"]["code"].as_str()), (status, Some(code)), "{body}");
    }
    assert_eq!(acknowledge(&server, "a%20b", json!({ "position": 1 })).await.0, 400);

    // They are the client's own.
    assert_eq!(acknowledge(&server, "weekly", json!({ "position": 0 })).await.0, 200);
    let list = send(&server, Method::GET, "", Value::Null).await.1;
    let names: Vec<_> = list["cursors"].as_array().unwrap().iter().map(|cursor| cursor["name"].clone()).collect();
    assert_eq!(names, ["nightly", "weekly"]);
    let colleague = token(&server.url, "midori", "export");
    let stranger = another(&server, "aoba");
    for other in [colleague, stranger] {
        let other = As::new(&mut server, &other);
        assert_eq!(send(&other, Method::GET, "", Value::Null).await.1, json!({ "cursors": [] }));
        assert_eq!(send(&other, Method::GET, "/nightly", Value::Null).await.0, 404);
        assert_eq!(send(&other, Method::DELETE, "/nightly", Value::Null).await.0, 404);
        assert_eq!(export(&other, "cursor=nightly").await.since(), None);
    }
    assert_eq!(send(&server, Method::GET, "/nightly", Value::Null).await.1["position"], first.position());
    assert_eq!(send(&server, Method::DELETE, "/nightly", Value::Null).await.0, 204);
    assert_eq!(send(&server, Method::DELETE, "/nightly", Value::Null).await.0, 404);
    assert_eq!(export(&server, "cursor=nightly").await.since(), None);
    // A position of zero is a position.
    assert_eq!(export(&server, "cursor=weekly").await.since(), Some(0));
    let past = get(&server, "oneroster.zip?cursor=weekly&since=3").await;
    assert_eq!(past.status(), 400);
}
