//! What is held open: long polls, events, bulk.

use serde_json::{Value, json};

use super::{lines, page, position, positions, walk};
use crate::graphql::follow::{Event, Sse};
use crate::support::{EVERYTHING, Server, bulk, city, client, put, run};

fn org(name: &str) -> Value {
    json!({ "org": { "name": name, "type": "school" } })
}

async fn events(server: &Server, token: &str, query: &str, last: Option<&str>) -> reqwest::Response {
    let url = format!("{}/rosterhub/v1/changes?{query}", server.base);
    let mut request = server.http.get(url).bearer_auth(token).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    request.send().await.unwrap()
}

async fn follow(server: &Server, query: &str, last: Option<&str>) -> Sse {
    Sse::over(events(server, &server.token, query, last).await)
}

async fn next(sse: &mut Sse) -> Value {
    match sse.next().await {
        Event::Next(change) => {
            assert_eq!(sse.id, Some(position(&change).to_string()));
            change
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_held_until_something_passes() {
    let server = Server::start().await;
    let other = Server::on(&server.url);
    put(&server, "orgs/s", org("s")).await;
    for writer in [&server, &other] {
        let head = page(&server, "after=now").await["next"].as_i64().unwrap();
        let query = format!("after={head}&types=course&wait=60");
        let held = page(&server, &query);
        let course = json!({ "course": { "title": "c", "org": { "sourcedId": "s", "type": "org" } } });
        let written = async {
            put(writer, "orgs/s", org(&format!("{head}"))).await; // does not pass
            put(writer, &format!("courses/c{head}"), course).await;
        };
        let (page, ()) = tokio::join!(held, written);
        assert_eq!(positions(page["changes"].as_array().unwrap()), [head + 2]);
        assert_eq!((&page["next"], &page["position"]), (&json!(head + 2), &json!(head + 2)));
    }
    // What is there already is told at once, and what ends at a position waits for nothing.
    assert_eq!(page(&server, "after=0&limit=1&wait=60").await["changes"][0]["position"], 1);
    assert_eq!(page(&server, "until=1&types=course&wait=60").await["next"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_time_is_over_the_page_is_empty_and_has_moved_on() {
    let server = Server::start().await;
    put(&server, "orgs/a", org("a")).await;
    put(&server, "orgs/b", org("b")).await;
    let page = page(&server, "types=user&wait=1").await;
    assert_eq!(page, json!({ "changes": [], "position": 2, "next": 2, "more": false }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_holds_nothing() {
    let mut server = Server::start().await;
    put(&server, "orgs/a", org("a")).await;
    let mut sse = follow(&server, "", None).await;
    assert_eq!(position(&next(&mut sse).await), 1);
    let url = format!("{}/rosterhub/v1/changes?after=1&wait=60", server.base);
    let held = tokio::spawn(server.http.get(url).bearer_auth(&server.token).send());
    // The stream is told of the write, and so has the page been, or will be.
    server.interrupt();
    assert_eq!(sse.next().await, Event::Broken);
    // Held, and let go with an empty page; or too late to be let in.
    if let Ok(response) = held.await.unwrap() {
        assert_eq!(response.json::<Value>().await.unwrap()["changes"], json!([]));
    }
    server.wait();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_on_where_they_broke_off() {
    let mut one = Server::start().await;
    let two = Server::on(&one.url);
    for name in ["a", "b", "c"] {
        put(&one, &format!("orgs/{name}"), org(name)).await;
    }
    let response = events(&one, &one.token, "values=true", None).await;
    assert_eq!(response.headers()["rosterhub-position"], "3");
    let mut sse = Sse::over(response);
    let first = next(&mut sse).await;
    assert_eq!((&first["previousPosition"], &first["after"]["name"]), (&json!(0), &json!("a")));
    assert_eq!(next(&mut sse).await["sourcedId"], "b");
    let last = sse.id.clone();
    one.kill();
    put(&two, "orgs/d", org("d")).await;
    // The rest of what was sent may still arrive; then it is over.
    while let Event::Next(change) = sse.next().await {
        assert_eq!(position(&change), 3);
    }
    // The same request again; the header stands above `after`.
    let mut sse = follow(&two, "after=0&types=org", last.as_deref()).await;
    for (at, id) in [(3, "c"), (4, "d")] {
        let change = next(&mut sse).await;
        assert_eq!((position(&change), &change["sourcedId"]), (at, &json!(id)));
        assert_eq!(change["previousPosition"], at - 1);
        assert_eq!(change.get("after"), None);
    }
    put(&two, "orgs/e", org("e")).await;
    assert_eq!(position(&next(&mut sse).await), 5);
    // What is to come.
    let mut now = follow(&two, "after=now", None).await;
    put(&two, "orgs/f", org("f")).await;
    assert_eq!(position(&next(&mut now).await), 6);
    for last in ["x", "-1", "7"] {
        assert_eq!(events(&two, &two.token, "", Some(last)).await.status(), 400, "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_events_and_pages_that_are_held() {
    let server = Server::start().await;
    let made = client(&server.url, "midori", &["--scopes", EVERYTHING, "--api-key"]);
    let key = made["apiKey"].as_str().unwrap();
    let mut sse = Sse::over(events(&server, key, "after=now", None).await);
    let url = format!("{}/rosterhub/v1/changes?after=now&wait=60", server.base);
    let held = server.http.get(url).bearer_auth(key).send();
    let revoked = async {
        let (code, text) = run(&server.url, &["client", "revoke", made["clientId"].as_str().unwrap()]);
        assert_eq!(code, 0, "{text}");
        assert_eq!(sse.next().await, Event::Broken);
    };
    let (held, ()) = tokio::join!(held, revoked);
    let held = held.unwrap();
    // Let in before it was revoked, or not.
    assert!([200, 401].contains(&held.status().as_u16()));
    assert_eq!(events(&server, key, "", None).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_is_whole_or_has_no_end() {
    let mut server = Server::start().await;
    let large = rosterhub::sample::SampleOptions { schools: 6, students_per_school: 400, ..city() };
    let head = server.import(bulk(&large)).await["position"].as_i64().unwrap();
    assert!(head > 10_000, "{head}");
    let (all, end) = lines(&server, &server.token, "").await;
    assert_eq!(end, json!({ "position": head, "end": true }));
    assert_eq!(positions(&all), (1..=head).collect::<Vec<_>>());
    assert_eq!(walk(&server, &server.token, "limit=10000").await, all);
    let url = format!("{}/rosterhub/v1/changes?values=true", server.base);
    let get = || server.http.get(&url).bearer_auth(&server.token);
    let jsonl = get().header("accept", "application/jsonl").query(&[("until", "2")]).send().await.unwrap();
    assert_eq!(jsonl.headers()["content-type"], "application/jsonl");
    assert_eq!(jsonl.text().await.unwrap().lines().count(), 3);
    let mut cut = get().header("accept", "application/x-ndjson").send().await.unwrap();
    let mut text = cut.chunk().await.unwrap().unwrap().to_vec();
    server.kill();
    let broken = loop {
        match cut.chunk().await {
            Ok(Some(chunk)) => text.extend_from_slice(&chunk),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "the connection breaks off");
    assert!(!String::from_utf8_lossy(&text).contains("\"end\":true"));
}
