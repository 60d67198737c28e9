//! Pages, past positions and conditional requests: the roster as it stood, whatever is written meanwhile.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::{Server, bulk, city, delta, patch, put};

async fn page(server: &Server, url: &str) -> (HeaderMap, Vec<Value>) {
    let response = server.get(url).await;
    let headers = response.headers().clone();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{url}: {body}");
    (headers, body.as_object().unwrap().values().next().unwrap().as_array().unwrap().clone())
}

fn links(headers: &HeaderMap) -> BTreeMap<String, String> {
    let Some(links) = headers.get("link") else { return BTreeMap::new() };
    links
        .to_str()
        .unwrap()
        .split(", ")
        .map(|link| {
            let (url, relation) = link.split_once("; rel=").unwrap();
            (relation.trim_matches('"').to_owned(), url.trim_matches(['<', '>']).to_owned())
        })
        .collect()
}

fn position(headers: &HeaderMap) -> i64 {
    headers["rosterhub-position"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn following_links_walks_one_state_while_it_changes() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    for query in [
        "",
        "&sort=familyName",
        "&sort=dateLastModified&orderBy=desc",
        "&filter=status%3D'active'&sort=givenName",
        "&sort=grades",
    ] {
        let all = format!("users?limit=10000{query}");
        let (headers, expected) = page(&server, &server.oneroster(&all)).await;
        let (at, total) = (position(&headers), headers["x-total-count"].clone());
        let mut url = Some(server.oneroster(&format!("users?limit=17{query}")));
        let (mut seen, mut last_links, mut pages) = (Vec::new(), BTreeMap::new(), 0);
        while let Some(next) = url {
            let (headers, rows) = page(&server, &next).await;
            assert_eq!((position(&headers), &headers["x-total-count"]), (at, &total), "{next}");
            last_links = links(&headers);
            url = last_links.get("next").cloned();
            assert!(rows.len() == 17 || url.is_none(), "only the last page is short");
            seen.extend(rows);
            pages += 1;
            // Behind and before the walker, records come, go and change their place.
            let person = json!({ "enabledUser": "true", "username": "x", "givenName": "あ", "familyName": "阿",
                "roles": [{ "roleType": "primary", "role": "student", "org": expected[0]["roles"][0]["org"] }] });
            put(&server, &format!("users/{pages:08}-new-{}", query.len()), person).await;
            let moved = expected[(pages * 31) % expected.len()]["sourcedId"].as_str().unwrap();
            patch(
                &server,
                &format!("users/{moved}"),
                json!({ "familyName": format!("佐々木{pages}"), "grades": ["P1"] }),
            )
            .await;
        }
        assert_eq!(seen, expected, "{query}");
        // And back again from the end.
        let (mut back, mut url) = (Vec::new(), Some(last_links["last"].clone()));
        while let Some(previous) = url {
            let (headers, rows) = page(&server, &previous).await;
            url = links(&headers).get("prev").cloned();
            back.splice(0..0, rows);
        }
        assert_eq!(back, expected, "{query}");
        let (headers, _) = page(&server, &last_links["first"]).await;
        assert!(position(&headers) > at, "the first page begins anew");
    }
}

#[tokio::test]
async fn cursors_belong_to_their_request() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let (headers, _) = page(&server, &server.oneroster("users?limit=5&sort=familyName")).await;
    let next = links(&headers)["next"].clone();
    let cursor = next.split("cursor=").nth(1).unwrap();
    for path in [
        format!("users?limit=5&cursor={cursor}"),
        format!("classes?limit=5&sort=title&cursor={cursor}"),
        format!("users?limit=5&sort=familyName&offset=5&cursor={cursor}"),
        format!("users?limit=5&sort=familyName&cursor={}", &cursor[..cursor.len() - 4]),
        "users?cursor=".to_owned(),
        "users?cursor=%00".to_owned(),
        "users?asOf=999999999".to_owned(),
        "users?asOf=-1".to_owned(),
        "users?asOf=tomorrow".to_owned(),
        "users?asOf=2999-01-01".to_owned(),
    ] {
        assert_eq!(server.get(&server.oneroster(&path)).await.status(), 400, "{path}");
    }
    // Another board's client walks its own roster with it, which is empty.
    assert_eq!(crate::support::run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = crate::support::token(&server.url, "aoba", crate::support::EVERYTHING);
    let response = server.http.get(&next).bearer_auth(other).send().await.unwrap();
    assert!([200, 400].contains(&response.status().as_u16()));
    assert!(!response.text().await.unwrap().contains("familyName"));
}

#[tokio::test]
async fn any_past_state_is_read_as_it_stood() {
    let server = Server::start().await;
    let collections = [
        "academicSessions",
        "orgs",
        "schools",
        "courses",
        "classes",
        "users",
        "students",
        "enrollments",
        "demographics",
    ];
    let mut states = Vec::new();
    for step in 0..4 {
        match step {
            0 => drop(server.import(bulk(&city())).await),
            1 => drop(server.import(delta(&city(), 30.0)).await),
            2 => {
                let users = server.read("users?limit=3").await;
                for user in users["users"].as_array().unwrap() {
                    patch(
                        &server,
                        &format!("users/{}", user["sourcedId"].as_str().unwrap()),
                        json!({ "givenName": "改" }),
                    )
                    .await;
                }
            }
            _ => drop(server.import(bulk(&city())).await),
        }
        let mut dumps = Vec::new();
        for collection in collections {
            let (headers, rows) = page(&server, &server.oneroster(&format!("{collection}?limit=10000"))).await;
            dumps.push((collection, headers["x-total-count"].clone(), rows));
            states.push((position(&headers), dumps.last().unwrap().clone()));
        }
    }
    for (at, (collection, total, rows)) in &states {
        let (headers, then) = page(&server, &server.oneroster(&format!("{collection}?limit=10000&asOf={at}"))).await;
        assert_eq!((&then, position(&headers), &headers["x-total-count"]), (rows, *at, total), "{collection} at {at}");
        if let Some(record) = rows.last() {
            let path = format!("{collection}/{}?asOf={at}", record["sourcedId"].as_str().unwrap());
            assert_eq!(server.read(&path).await.as_object().unwrap().values().next(), Some(record));
        }
    }
    // A time means the last position at or before it; before the first event nothing was there.
    let users: Vec<_> = states.iter().filter(|s| s.1.0 == "users").collect();
    for (at, (_, _, rows)) in &users {
        let newest = rows.iter().map(|r| r["dateLastModified"].as_str().unwrap()).max().unwrap();
        let (headers, _) = page(&server, &server.oneroster(&format!("users?limit=1&asOf={newest}"))).await;
        assert!(position(&headers) <= *at);
        let stood = page(&server, &server.oneroster(&format!("users?limit=10000&asOf={}", position(&headers)))).await.1;
        assert_eq!(&stood, rows);
    }
    let (headers, rows) = page(&server, &server.oneroster("users?asOf=2020-04-07T09:00:00%2B09:00")).await;
    assert_eq!((position(&headers), rows.len()), (0, 0));
    let nested = &users[0].1.2[0]["roles"][0]["org"]["sourcedId"].as_str().unwrap();
    let students = |at: i64| server.oneroster(&format!("schools/{nested}/students?limit=10000&asOf={at}"));
    let then = page(&server, &students(users[0].0)).await.1;
    assert!(then.iter().all(|u| users[0].1.2.contains(u)) && !then.is_empty());
}

#[tokio::test]
async fn an_entity_tag_changes_exactly_when_the_answer_does() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let ask = async |path: &str, tag: Option<&str>, coding: Option<&str>| {
        let mut request = server.http.get(server.oneroster(path)).bearer_auth(&server.token);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        if let Some(coding) = coding {
            request = request.header("accept-encoding", coding);
        }
        let response = request.send().await.unwrap();
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        let status = response.status().as_u16();
        (status, tag, response.bytes().await.unwrap())
    };
    let first = server.read("users?limit=1").await["users"][0]["sourcedId"].as_str().unwrap().to_owned();
    let other = server.read("users?limit=1&offset=50").await["users"][0]["sourcedId"].as_str().unwrap().to_owned();
    let (list, one) = ("users?limit=20", format!("users/{first}"));
    for path in [list, &one, "users?limit=5000", "users?limit=20&fields=sourcedId"] {
        let (status, tag, body) = ask(path, None, None).await;
        assert_eq!(status, 200);
        let (status, again, empty) = ask(path, Some(&format!("\"x\", W/{tag}")), None).await;
        assert_eq!((status, &again, empty.len()), (304, &tag, 0), "{path}");
        // Compressed it is another representation, and as good for asking again.
        for coding in ["gzip", "br", "zstd"] {
            let (status, coded, bytes) = ask(path, None, Some(coding)).await;
            assert!(status == 200 && coded != tag && bytes != body, "{path} {coding}");
            assert_eq!(ask(path, Some(&coded), Some(coding)).await.0, 304, "{path} {coding}");
        }
    }
    let (list_tag, one_tag) = (ask(list, None, None).await.1, ask(&one, None, None).await.1);
    // Something else changes: the log grows, these answers stay.
    patch(&server, &format!("users/{other}"), json!({ "givenName": "他" })).await;
    assert_eq!((ask(list, Some(&list_tag), None).await.0, ask(&one, Some(&one_tag), None).await.0), (304, 304));
    // What they show changes.
    patch(&server, &format!("users/{first}"), json!({ "givenName": "自" })).await;
    let (status, new_list, _) = ask(list, Some(&list_tag), None).await;
    assert!(status == 200 && new_list != list_tag);
    let (status, new_one, _) = ask(&one, Some(&one_tag), None).await;
    assert!(status == 200 && new_one != one_tag);
    // The tag of a read is good for a write.
    let response = server
        .http
        .patch(format!("{}/rosterhub/v1/roster/users/{first}", server.base))
        .bearer_auth(&server.token)
        .header("if-match", one_tag)
        .json(&json!({ "givenName": "x" }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 412);
}

#[tokio::test]
async fn a_read_can_ask_for_a_position() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let second = Server::on(&server.url);
    let at_least = async |server: &Server, position: &str| {
        let request = server.http.get(server.oneroster("orgs")).bearer_auth(&server.token);
        request.header("rosterhub-at-least", position).send().await.unwrap()
    };
    let (headers, _) = page(&server, &server.oneroster("orgs")).await;
    let head = position(&headers);
    assert_eq!(at_least(&server, &head.to_string()).await.status(), 200);
    for bad in ["x", "-1", "1.5", ""] {
        assert_eq!(at_least(&server, bad).await.status(), 400, "{bad}");
    }
    // What another instance writes while the request waits.
    let next = (head + 1).to_string();
    let (waited, _) =
        tokio::join!(at_least(&second, &next), put(&server, "orgs/new", json!({ "name": "新", "type": "school" })));
    assert_eq!((waited.status().as_u16(), position(waited.headers())), (200, head + 1));
    // What nobody writes.
    let missed = at_least(&server, &(head + 2).to_string()).await;
    assert_eq!((missed.status().as_u16(), missed.headers().contains_key("retry-after")), (503, true));
}

/// A page of many rows is sent as it is read, and is the same as the pages it is made of.
#[tokio::test]
async fn a_large_page_is_whole() {
    let server = Server::start().await;
    let options = rosterhub::sample::SampleOptions { students_per_school: 700, ..city() };
    server.import(bulk(&options)).await;
    let (headers, large) = page(&server, &server.oneroster("users?limit=10000")).await;
    assert!(large.len() > 1_000);
    let (mut small, mut url) = (Vec::new(), Some(server.oneroster("users?limit=900")));
    while let Some(next) = url {
        let (headers, rows) = page(&server, &next).await;
        small.extend(rows);
        url = links(&headers).get("next").cloned();
    }
    assert_eq!(small, large);
    let last = links(&headers)["last"].clone();
    assert_eq!(page(&server, &last).await.1, large);
    let (_, cut) = page(&server, &server.oneroster("users?limit=10000&fields=familyName&sort=familyName")).await;
    assert!(cut.len() == large.len() && cut.iter().all(|u| u.as_object().unwrap().len() == 1));
}

#[tokio::test]
async fn totals_keep_up_with_writes() {
    let server = Server::start().await;
    let options = city();
    server.import(bulk(&options)).await;
    let check = async |what: &str| {
        for collection in ["orgs", "users", "enrollments"] {
            let (headers, rows) = page(&server, &server.oneroster(&format!("{collection}?limit=10000"))).await;
            assert_eq!(headers["x-total-count"], rows.len().to_string(), "{collection} after {what}");
        }
    };
    check("an import").await;
    let org = |name: &str| json!({ "name": name, "type": "school", "identifier": name });
    put(&server, "orgs/new", org("new")).await;
    check("a new org").await;
    put(&server, "orgs/new", org("changed")).await;
    check("a change").await;
    patch(&server, "orgs/new", json!({ "status": "tobedeleted" })).await;
    check("a withdrawal").await;
    server.import(delta(&options, 20.0)).await;
    check("a delta").await;
    put(&server, "orgs/new", org("back")).await;
    put(&server, "orgs/newer", org("newer")).await;
    check("a return and a new one").await;
}
