//! What is refused, and why; and what is another board's.

use serde_json::{Value, json};

use super::{ask, lines, page};
use crate::support::{EVERYTHING, Server, put, run, token};

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_its_reason() {
    let server = Server::start().await;
    put(&server, "orgs/a", json!({ "org": { "name": "a", "type": "school" } })).await;
    for (query, code, says) in [
        ("after=2", "beyond_head", "has not reached position 2; its head is 1"),
        ("until=2", "beyond_head", "until: the log has not reached position 2"),
        ("after=-1", "bad_request", "after is a log position"),
        ("after=", "bad_request", "after is a log position"),
        ("after=tomorrow", "bad_request", "after is a log position"),
        ("after=9999-01-01T00:00:00Z", "bad_request", "after lies in the future"),
        ("after=1&until=0", "bad_request", "until does not stand before after"),
        ("types=users", "bad_request", "types are academicSession"),
        ("types=", "bad_request", "types are"),
        ("types=user,", "bad_request", "types are"),
        ("kinds=CREATED", "bad_request", "kinds are created"),
        ("school=a%20b", "bad_request", "school is a sourcedId"),
        ("sourcedId=", "bad_request", "sourcedId is a sourcedId"),
        ("sourcedId=%00", "bad_request", "null character"),
        ("values=yes", "bad_request", "values is true or false"),
        ("limit=0", "bad_request", "limit is a whole number from 1"),
        ("limit=x", "bad_request", "limit is a whole number"),
        ("wait=61", "bad_request", "wait is at most 60"),
        ("wait=-1", "bad_request", "wait is a whole number"),
        ("type=user", "bad_request", "Parameters of this path are after, until, types"),
        ("after=0&after=1", "bad_request", "more than once"),
    ] {
        let (status, _, body) = ask(&server, &server.token, query).await;
        let error = &body["error"];
        assert_eq!((status, error["code"].as_str()), (400, Some(code)), "{query}: {body}");
        assert!(error["message"].as_str().unwrap().contains(says), "{query}: {body}");
    }
    // What is for pages is not for streams.
    let url = format!("{}/rosterhub/v1/changes", server.base);
    for (accept, query) in [
        ("text/event-stream", "limit=1"),
        ("text/event-stream", "wait=1"),
        ("text/event-stream", "until=1"),
        ("application/x-ndjson", "limit=1"),
        ("application/jsonl", "wait=1"),
    ] {
        let request = server.http.get(format!("{url}?{query}")).bearer_auth(&server.token).header("accept", accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400, "{accept} {query}");
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "bad_request");
    }
    assert_eq!(server.http.post(&url).bearer_auth(&server.token).send().await.unwrap().status(), 405);
    let lenient = Server::with(&server.url, &[("ROSTERHUB_IGNORE_UNKNOWN_PARAMETERS", "true")]);
    assert_eq!(page(&lenient, "type=user").await["changes"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_in_the_form_that_it_likes_best() {
    let server = Server::start().await;
    put(&server, "orgs/a", json!({ "org": { "name": "a", "type": "school" } })).await;
    let url = format!("{}/rosterhub/v1/changes", server.base);
    for (accept, sent) in [
        ("*/*", "application/json"),
        ("application/json, text/event-stream;q=0.5", "application/json"),
        ("application/json;q=0.5, application/x-ndjson", "application/x-ndjson"),
        ("application/ndjson", "application/x-ndjson"),
        ("text/html, text/event-stream;q=0.1", "text/event-stream"),
        ("text/html", "application/json"),
    ] {
        let request = server.http.get(&url).bearer_auth(&server.token).header("accept", accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], sent, "{accept}");
        assert!(response.headers().get_all("vary").iter().any(|vary| vary == "accept"), "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_boards_changes_are_not_told() {
    let server = Server::start().await;
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let stranger = token(&server.url, "aoba", EVERYTHING);
    for n in 0..3 {
        put(&server, &format!("orgs/o{n}"), json!({ "org": { "name": "only midori", "type": "school" } })).await;
    }
    let (status, _, none) = ask(&server, &stranger, "values=true&sourcedId=o1").await;
    assert_eq!((status, none), (200, json!({ "changes": [], "position": 0, "next": 0, "more": false })));
    assert_eq!(lines(&server, &stranger, "school=o1").await, (vec![], json!({ "position": 0, "end": true })));
    assert_eq!(ask(&server, &stranger, "after=1").await.2["error"]["code"], "beyond_head");
}
