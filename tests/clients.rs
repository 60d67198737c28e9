//! What real OneRoster clients send and rely on.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Server, bulk, city, put};

async fn status(server: &Server, path: &str) -> StatusCode {
    server.get(&server.oneroster(path)).await.status()
}

async fn send(server: &Server, method: Method, path: &str) -> reqwest::Response {
    server.http.request(method, server.oneroster(path)).bearer_auth(&server.token).send().await.unwrap()
}

#[tokio::test]
async fn paths_and_verbs_are_taken_as_http_has_them() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let school = server.read("schools").await["orgs"][0].clone();
    let id = school["sourcedId"].as_str().unwrap();
    // A slash at the end changes nothing.
    for path in ["schools".to_owned(), format!("schools/{id}"), format!("schools/{id}/classes")] {
        let plain: Value = server.read(&path).await;
        let slashed: Value = server.read(&format!("{path}/")).await;
        assert_eq!(plain, slashed, "{path}");
        // HEAD answers as GET does, without the body.
        let head = send(&server, Method::HEAD, &path).await;
        let get = server.get(&server.oneroster(&path)).await;
        for header in ["etag", "rosterhub-position", "content-type"] {
            assert_eq!(head.headers()[header], get.headers()[header], "{path}");
        }
        assert_eq!((head.status().as_u16(), head.bytes().await.unwrap().len()), (200, 0), "{path}");
        for verb in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let refused = send(&server, verb.clone(), &path).await;
            assert_eq!(refused.status(), 405, "{verb} {path}");
            assert!(refused.headers()["allow"].to_str().unwrap().contains("GET"));
            let body: Value = refused.json().await.unwrap();
            assert_eq!(body["imsx_codeMajor"], "failure");
        }
    }
    // A body on a GET is ignored.
    let request = server.http.get(server.oneroster("schools")).bearer_auth(&server.token).body("{\"a\":");
    assert_eq!(request.send().await.unwrap().status(), 200);
    for path in ["", "nothing", "classes/x/enrollments", "users/x/y/z", "demographics/x/y", "users/%FF", "users/%00"] {
        assert_eq!(status(&server, path).await, 404, "{path}");
    }
}

#[tokio::test]
async fn paging_values_are_read_strictly_and_large_ones_clamped() {
    let server = Server::start().await;
    let job = server.import(bulk(&city())).await;
    let all = job["rows"]["users"].as_u64().unwrap() as usize;
    for limit in ["10000", "10001", "2147483647"] {
        let users = server.read(&format!("users?limit={limit}")).await;
        assert_eq!(users["users"].as_array().unwrap().len(), all, "{limit}");
    }
    for bad in [
        "limit=0",
        "limit=-1",
        "limit=1.5",
        "limit=1e2",
        "limit=",
        "limit=+5",
        "limit=%205",
        "limit=9999999999",
        "limit=99999999999999999999",
        "limit=0x10",
        "limit=５",
        "offset=-1",
        "offset=1.0",
        "offset=",
        "offset=99999999999",
        "limit=1&limit=2",
        "offset=1&offset=1",
        "orderBy=up",
        "orderBy=DESC",
        "sort=",
        "sort=nothing",
        "sort=roles",
        "fields=",
        "fields=,",
        "fields=sourcedId,,status",
        "fields=nothing",
        "filter=",
        "filter=x",
        "cursor=x",
        "filter=status='active'&filter=status='active'",
        "unknown=1",
        "Limit=1",
    ] {
        assert_eq!(status(&server, &format!("users?{bad}")).await, 400, "{bad}");
    }
    for bad in ["limit=1", "filter=status='active'", "sort=status"] {
        let id = server.read("users?limit=1").await["users"][0]["sourcedId"].as_str().unwrap().to_owned();
        assert_eq!(status(&server, &format!("users/{id}?{bad}")).await, 400, "{bad}");
    }
    let past = server.get(&server.oneroster("users?offset=2147483647")).await;
    assert_eq!(
        (past.status().as_u16(), past.headers()["x-total-count"].to_str().unwrap()),
        (200, all.to_string().as_str())
    );
    assert_eq!(past.json::<Value>().await.unwrap(), json!({ "users": [] }));
}

#[tokio::test]
async fn filters_arrive_in_many_spellings() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    put(
        &server,
        "orgs/quoted",
        json!({ "name": "O'Brien ＳＣＨＯＯＬ School", "type": "school", "identifier": "Ab1" }),
    )
    .await;
    let found = async |query: &str| -> usize {
        let page = server.read(&format!("orgs?{query}")).await;
        page["orgs"].as_array().unwrap().iter().filter(|o| o["sourcedId"] == "quoted").count()
    };
    for query in [
        "filter=name~'O''Brien'",
        "filter=name%7E%27O%27%27Brien%27",
        "filter=name~'school'", // text regardless of case
        "filter=name='o''brien%20ｓｃｈｏｏｌ%20SCHOOL'",
        "filter=identifier='Ab1'",
        "filter=name~'brien' AND type='school'",
        "filter=name~'brien'+AND+type='school'",
        "filter=name ~ 'brien'  and  type = 'school'",
        "filter=(type='district' OR name~'brien') AND status='active' AND type='school'",
        "filter=dateLastModified>'2015-01-01'",
        "filter=dateLastModified>='2015-01-01T00:00:00'",
        "filter=dateLastModified>'2015-01-01T09:00:00%2B09:00'",
        "filter=dateLastModified>'2015-01-01T09:00:00+09:00'",
        "filter=parent.sourcedId!='x'", // absent is not equal
        "filter=metadata.x!='y'",
    ] {
        assert_eq!(found(query).await, 1, "{query}");
    }
    for query in [
        "filter=identifier='ab1'", // codes to the letter
        "filter=parent.sourcedId='x'",
        "filter=parent.sourcedId<'zzz'",
        "filter=metadata.x='y'",
        "filter=type='nosuchtype'",
        "filter=dateLastModified<'2015-01-01'",
    ] {
        assert_eq!(found(query).await, 0, "{query}");
    }
    for (query, field) in [
        ("filter=nothing='x'", "nothing"),
        ("filter=parent='x'", "parent"),
        ("filter=Name='x'", "Name"),
        ("filter=dateLastModified>'soon'", "dateLastModified"),
        ("filter=name='x' AND parent.name='y'", "parent.name"),
    ] {
        let response = server.get(&server.oneroster(&format!("orgs?{query}"))).await;
        assert_eq!(response.status(), 400, "{query}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            body["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"],
            "invalid_filter_field"
        );
        assert!(body["imsx_description"].as_str().unwrap().contains(field), "{body}");
    }
    let wrong: Value = server.get(&server.oneroster("orgs?fields=name,nothing")).await.json().await.unwrap();
    assert_eq!(
        wrong["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"],
        "invalid_selection_field"
    );
}

/// Where servers differ, the settings let a hub be the other kind.
#[tokio::test]
async fn what_servers_differ_in_can_be_set() {
    let server = Server::start().await;
    let lenient = Server::with(
        &server.url,
        &[("ROSTERHUB_IGNORE_UNKNOWN_PARAMETERS", "true"), ("ROSTERHUB_IGNORE_UNKNOWN_FIELDS", "true")],
    );
    put(&server, "orgs/o", json!({ "name": "あ", "type": "school" })).await;
    for query in ["unknown=1", "fields=nothing", "fields=name,nothing"] {
        assert_eq!(status(&server, &format!("orgs?{query}")).await, 400);
        let page = lenient.read(&format!("orgs?{query}")).await;
        assert_eq!(page["orgs"][0]["sourcedId"], "o", "{query}");
    }
}
