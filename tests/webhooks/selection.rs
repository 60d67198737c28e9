//! What endpoints are told: by their types and filters, and by the scopes that their client and its token have.

use serde_json::{Value, json};

use super::{ask, register, server, write_org};
use crate::auth::Tool;
use crate::support::receiver::{Receiver, assert_chain};
use crate::support::{self, Server, city, client, open, patch, put, tenant, token, until};

fn reference(kind: &str, id: &str) -> Value {
    json!({ "sourcedId": id, "type": kind })
}

/// A person with one role.
fn person(name: &str, role: &str, org: &str) -> Value {
    json!({ "user": {
        "enabledUser": "true", "username": name, "givenName": "太郎", "familyName": name,
        "roles": [{ "roleType": "primary", "role": role, "org": reference("org", org) }]
    } })
}

async fn write_demographics(server: &Server, user: &str, birth_date: &str) {
    put(server, &format!("demographics/{user}"), json!({ "demographics": { "birthDate": birth_date } })).await;
}

/// Two schools: in `s` a teacher who teaches for a while, and a student who gets another name; in `z` a student.
async fn story(server: &Server) {
    for id in ["s", "z"] {
        write_org(server, id).await;
    }
    let year = json!({
        "title": "2026", "type": "schoolYear", "startDate": "2026-04-01", "endDate": "2027-03-31", "schoolYear": "2026"
    });
    put(server, "academicSessions/y", json!({ "academicSession": year })).await;
    put(server, "courses/c", json!({ "course": { "title": "国語", "courseCode": "", "org": reference("org", "s") } }))
        .await;
    let class = json!({
        "title": "1-1", "classType": "homeroom", "course": reference("course", "c"), "school": reference("org", "s"),
        "terms": [reference("academicSession", "y")]
    });
    put(server, "classes/k", json!({ "class": class })).await;
    for (id, role, org) in [("t", "teacher", "s"), ("u", "student", "s"), ("v", "student", "z")] {
        put(server, &format!("users/{id}"), person(id, role, org)).await;
    }
    write_demographics(server, "u", "2019-05-01").await;
    let enrollment = json!({
        "class": reference("class", "k"), "school": reference("org", "s"), "user": reference("user", "t"),
        "role": "teacher"
    });
    put(server, "enrollments/e", json!({ "enrollment": enrollment })).await;
    patch(server, "users/u", json!({ "user": { "familyName": "中村" } })).await;
    let enrollment = format!("{}/rosterhub/v1/roster/enrollments/e", server.base);
    assert_eq!(server.http.delete(enrollment).bearer_auth(&server.token).send().await.unwrap().status(), 200);
}

/// What was told, as type and sourcedId.
fn told(receiver: &Receiver) -> Vec<String> {
    let name =
        |m: &Value| format!("{} {}", m["type"].as_str().unwrap(), m["data"]["sourcedId"].as_str().unwrap_or("-"));
    receiver.messages().iter().map(name).collect()
}

/// Waits for the org `end`, which an endpoint in the order `fifo` is told last; what it was told before.
async fn told_until(receiver: &Receiver, end: &str) -> Vec<String> {
    receiver.until(end, |calls| calls.iter().any(|call| call.sourced_id() == end)).await;
    let mut told = told(receiver);
    let end = format!("org.created {end}");
    told.truncate(told.iter().position(|name| *name == end).unwrap());
    told
}

async fn shown(server: &Server, endpoint: &Value) -> Value {
    let id = endpoint["id"].as_str().unwrap();
    server.get(&format!("{}/rosterhub/v1/webhooks/{id}", server.base)).await.json().await.unwrap()
}

async fn change(server: &Server, endpoint: &Value, body: Value) -> (u16, Value) {
    let url = format!("{}/rosterhub/v1/webhooks/{}", server.base, endpoint["id"].as_str().unwrap());
    let answer = server.http.patch(url).bearer_auth(&server.token).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn types_and_filters_choose() {
    let mut server = server().await;
    story(&server).await;
    // Another client, at last.
    let other = client(&server.url, "midori", &["--scopes", "write,roster.readonly", "--api-key"]);
    let own = std::mem::replace(&mut server.token, other["apiKey"].as_str().unwrap().to_owned());
    write_org(&server, "other").await;
    server.token = own;
    write_org(&server, "end").await;
    let other = other["clientId"].as_str().unwrap();
    let users = ["user.created t", "user.created u", "user.created v", "user.changed u"];
    for (types, filter, expected) in [
        (&["user.*"][..], None, &users[..]),
        (&["user.changed", "enrollment.deleted"], None, &["user.changed u", "enrollment.deleted e"]),
        (&["*.deleted"], None, &["enrollment.deleted e"]),
        (&["*"], Some("recordType='demographics'"), &["demographics.created u"]),
        (&["*"], Some("recordType='demographics' AND kind='changed'"), &[]),
        (&["*"], Some("kind='deleted'"), &["enrollment.deleted e"]),
        (&["user.*", "class.*"], Some("kind!='changed' AND recordType!='org' AND recordType!='class'"), &users[..3]),
        (&["user.*", "org.*", "course.*"], Some("school='z'"), &["org.created z", "user.created v"]),
        (
            &["user.*", "org.*", "demographics.*", "enrollment.*"],
            Some("school='s' AND kind='created'"),
            &["org.created s", "user.created t", "user.created u", "demographics.created u", "enrollment.created e"],
        ),
        (&["user.*"], Some("role='student' AND school!='z'"), &["user.created u", "user.changed u"]),
        (
            &["user.*", "enrollment.*"],
            Some("role='teacher'"),
            &["user.created t", "enrollment.created e", "enrollment.deleted e"],
        ),
        (&["*"], Some("changed='familyName'"), &["user.changed u"]),
        (&["*"], Some("changed='givenName'"), &[]),
        (
            &["user.*", "demographics.*"],
            Some("user='u'"),
            &["user.created u", "demographics.created u", "user.changed u"],
        ),
        (&["enrollment.*"], Some("user='t' AND kind='deleted'"), &["enrollment.deleted e"]),
        (&["*"], Some(&*format!("client='{other}'")), &["org.created other"]),
        (&["org.*"], Some(&*format!("client!='{other}' AND sourcedId~'S'")), &["org.created s"]),
        (&["*"], Some("import~''"), &[]),
    ] {
        let (receiver, url) = Receiver::start(&[]).await;
        // Each is told the end as well, after all else.
        let types: Vec<&str> = types.iter().copied().chain(["org.created"]).collect();
        let ends = "sourcedId='end'";
        let all = filter.map_or("recordType!='org' OR sourcedId='end'".into(), |text| format!("({text}) OR {ends}"));
        let endpoint = json!({ "url": url, "types": types, "filter": all, "order": "fifo", "after": 0 });
        register(&server, endpoint).await;
        assert_eq!(told_until(&receiver, "end").await, expected, "{types:?} {filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_filter_is_refused_when_it_is_saved() {
    let server = server().await;
    let endpoint = |filter: &str| json!({ "url": "http://127.0.0.1:9/", "types": ["*"], "filter": filter });
    let (_, made) = ask(&server, "", endpoint("school='s'")).await;
    let long = format!("sourcedId='{}'", "a".repeat(2_000));
    for (filter, says) in [
        (
            "roles='student'",
            "has no fact \"roles\"; there are recordType, kind, sourcedId, user, school, role, changed",
        ),
        ("recordType='users'", "recordType is never \"users\"; it is academicSession, org"),
        ("kind='updated'", "kind is never \"updated\"; it is created, changed, deleted"),
        ("school>'a'", "school is compared by =, != or ~"),
        ("school='s' AND", "filter: "),
        ("school=s", "filter: "),
        ("(school='s'", "filter: "),
        ("", "filter: "),
        (&long, "at most 2000 characters"),
    ] {
        let refused = [ask(&server, "", endpoint(filter)).await, change(&server, &made, endpoint(filter)).await];
        for (status, answer) in refused {
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(status == 400 && message.contains(says), "{filter}: {status} {message}");
        }
    }
    assert_eq!(shown(&server, &made).await["filter"], "school='s'");
    assert_eq!(change(&server, &made, json!({ "filter": null })).await.1.get("filter"), None, "null removes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_say_what_is_told_and_the_payload_how_much() {
    let mut server = server().await;
    let writer = token(&server.url, "midori", support::EVERYTHING);
    let mut receivers = Vec::new();
    for (scopes, payload) in [
        ("webhooks,roster.readonly", "thin"),
        ("webhooks,roster.readonly,audit", "full"),
        ("webhooks,roster.readonly,roster-demographics.readonly", "full"),
        ("webhooks,roster-demographics.readonly", "thin"),
    ] {
        server.token = token(&server.url, "midori", scopes);
        let (receiver, url) = Receiver::start(&[]).await;
        register(&server, json!({ "url": url, "types": ["*"], "order": "fifo", "payload": payload })).await;
        receivers.push(receiver);
        let only = json!({ "url": "http://127.0.0.1:9/", "types": ["demographics.*"] });
        let sees = scopes.contains("demographics");
        let (status, answer) = ask(&server, "", only).await;
        assert_eq!(status, if sees { 201 } else { 403 }, "{answer}");
        assert!(sees || answer["error"]["code"] == "insufficient_scope", "{answer}");
    }
    server.token = writer;
    story(&server).await;
    write_org(&server, "end").await;
    write_demographics(&server, "v", "2018-11-30").await;
    let [thin, audit, full, only_demographics] = &receivers[..] else { panic!() };
    for receiver in [thin, audit, full] {
        let told = told_until(receiver, "end").await;
        let count = told.iter().filter(|name| name.starts_with("demographics.")).count();
        let expected = usize::from(std::ptr::eq(receiver, full));
        assert_eq!((count, told.contains(&"user.changed u".to_owned())), (expected, true), "{told:?}");
    }
    only_demographics.until_accepted(2).await;
    assert_eq!(told(only_demographics), ["demographics.created u", "demographics.created v"]);

    // Thin: nothing of what records hold.
    for receiver in [thin, only_demographics] {
        for call in receiver.calls() {
            let text = std::str::from_utf8(&call.body).unwrap();
            assert!(!["太郎", "中村", "2019-05-01", "birthDate\":"].iter().any(|value| text.contains(value)), "{text}");
            assert!(call.message["data"].get("before").is_none() && call.message["data"].get("after").is_none());
        }
    }
    let find = |receiver: &Receiver, kind: &str| {
        receiver.messages().into_iter().find(|m| m["type"] == kind).map(|m| m["data"].clone()).unwrap()
    };
    assert_eq!(find(thin, "user.changed")["changed"], json!(["familyName"]));
    // Full: the record before and after, whole.
    let changed = find(full, "user.changed");
    assert_eq!((&changed["before"]["familyName"], &changed["after"]["familyName"]), (&json!("u"), &json!("中村")));
    assert_eq!((&changed["before"]["givenName"], &changed["after"]["givenName"]), (&json!("太郎"), &json!("太郎")));
    let created = find(full, "demographics.created");
    assert_eq!((created.get("before"), &created["after"]["birthDate"]), (None, &json!("2019-05-01")));
    assert_eq!(find(full, "enrollment.deleted")["before"]["role"], "teacher");
    // On whose behalf needs a scope of its own.
    let (put, org) = (reqwest::Method::PUT, json!({ "org": { "name": "後", "type": "school" } }));
    let url = format!("{}/rosterhub/v1/roster/orgs/later", server.base);
    let written = server.http.request(put, url).bearer_auth(&server.token).header("rosterhub-actor", "clerk-7");
    assert!(written.json(&org).send().await.unwrap().status().is_success());
    for (receiver, actor) in [(audit, Some("clerk-7")), (full, None), (thin, None)] {
        receiver.until("it is told", |calls| calls.iter().any(|call| call.sourced_id() == "later")).await;
        assert_eq!(receiver.messages().last().unwrap()["data"]["cause"]["actor"].as_str(), actor);
    }
}

/// The log's entry of a type.
async fn delivery(server: &Server, endpoint: &Value, kind: &str) -> Value {
    let path = format!("webhooks/{}/deliveries?type={kind}", endpoint["id"].as_str().unwrap());
    let log: Value = server.get(&format!("{}/rosterhub/v1/{path}", server.base)).await.json().await.unwrap();
    log["deliveries"][0].clone()
}

const ROSTER: &str = "https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly";

/// A client that may do all of it, with a token for all and one for less.
async fn tool(server: &Server) -> (Tool, String, String) {
    let tool = Tool::new(&server.url, &["--scopes", &format!("{},webhooks", support::EVERYTHING)]);
    let few = tool.grant(server, &format!("webhooks {ROSTER}")).await;
    let all = tool.token(server).await;
    (tool, all, few["access_token"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_keeps_the_scopes_of_its_token() {
    let mut server = server().await;
    story(&server).await;
    let (_, all, few) = tool(&server).await;
    let body = |url: &str| json!({ "url": url, "types": ["demographics.*", "org.created"], "order": "fifo" });
    let narrow_scopes = json!([ROSTER, "webhooks"]);
    server.token = few.clone();
    let (narrow, url) = Receiver::start(&[]).await;
    let of_few = register(&server, body(&url)).await;
    assert_eq!(of_few["scopes"], narrow_scopes);
    server.token = all.clone();
    let (wide, url) = Receiver::start(&[]).await;
    let of_all = register(&server, body(&url)).await;
    assert_eq!(of_all["scopes"].as_array().unwrap().len(), 6);

    // A token for more gives it no more.
    let (status, changed) = change(&server, &of_few, json!({ "description": "x", "payload": "full" })).await;
    assert_eq!((status, &changed["scopes"]), (200, &narrow_scopes));
    let (status, answer) = change(&server, &of_few, json!({ "types": ["demographics.*"] })).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("insufficient_scope")));
    write_demographics(&server, "u", "2019-05-02").await;
    write_org(&server, "one").await;
    assert_eq!(told_until(&narrow, "one").await, [""; 0]);
    assert_eq!(told_until(&wide, "one").await, ["demographics.changed u"]);

    // A token for less leaves what it has itself, for good: it might have sent it elsewhere.
    server.token = few;
    assert_eq!(change(&server, &of_all, json!({ "description": "x" })).await.1["scopes"], narrow_scopes);
    server.token = all;
    assert_eq!(change(&server, &of_all, json!({ "description": "y" })).await.1["scopes"], narrow_scopes);
    assert_eq!(shown(&server, &of_all).await["scopes"], narrow_scopes);
    write_demographics(&server, "u", "2019-05-03").await;
    write_org(&server, "two").await;
    assert_eq!(told_until(&wide, "two").await, ["demographics.changed u", "org.created one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_may_not_see_any_more_is_not_sent_again() {
    let mut server = server().await;
    story(&server).await;
    let (tool, all, _) = tool(&server).await;
    let writer = std::mem::replace(&mut server.token, all.clone());
    let (receiver, url) = Receiver::start(&[]).await;
    let types = ["demographics.*", "org.created"];
    let made = register(&server, json!({ "url": url, "types": types, "order": "fifo", "payload": "full" })).await;
    server.token = writer.clone();
    write_demographics(&server, "u", "2019-05-02").await;
    write_org(&server, "one").await;
    assert_eq!(told_until(&receiver, "one").await, ["demographics.changed u"]);
    server.token = all.clone();
    let state = async || delivery(&server, &made, "demographics.changed").await["state"].clone();
    until("it is written down", async || state().await == "delivered").await;

    let log = open(&server.url).await;
    let less = "update clients set scopes = array_remove(scopes, $2) where id = $1::uuid";
    let scope = ROSTER.replace("roster.readonly", "roster-demographics.readonly");
    sqlx::query(less).bind(&tool.id).bind(scope).execute(log.db().pool()).await.unwrap();
    let message = receiver.messages()[0]["id"].as_str().unwrap().to_owned();
    let resend = format!("/{}/deliveries/{message}/resend", made["id"].as_str().unwrap());
    assert_eq!(ask(&server, &resend, json!({})).await.0, 202);
    until("it is not sent", async || state().await == "discarded").await;
    server.token = writer;
    write_demographics(&server, "u", "2019-05-03").await;
    write_org(&server, "two").await;
    assert_eq!(told_until(&receiver, "two").await, ["demographics.changed u", "org.created one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_record_by_record_beside_its_summary() {
    let server = server().await;
    let mut receivers = Vec::new();
    for imports in ["records", "summary"] {
        let (receiver, url) = Receiver::start(&[]).await;
        let types = ["org.*", "import.applied"];
        register(&server, json!({ "url": url, "types": types, "order": "fifo", "imports": imports })).await;
        receivers.push(receiver);
    }
    let job = server.import(support::bulk(&city())).await;
    let orgs = server.read("orgs").await["orgs"].as_array().unwrap().len();
    write_org(&server, "end").await;
    let records = told_until(&receivers[0], "end").await;
    let (last, created) = records.split_last().unwrap();
    assert_eq!((last.as_str(), created.len()), ("import.applied -", orgs));
    assert!(orgs > 2 && created.iter().all(|name| name.starts_with("org.created ")));
    assert_chain(&receivers[0].calls());
    let summary = receivers[0].messages().remove(orgs);
    assert_eq!(summary["data"]["import"]["id"], job["id"]);
    assert!(receivers[0].messages()[..orgs].iter().all(|m| m["data"]["cause"]["import"] == job["id"]));
    assert_eq!(told_until(&receivers[1], "end").await, ["import.applied -"]);

    // One import's records, and no other's. Notices of before are not told.
    for (import, expected) in [(job["id"].as_str().unwrap(), created), ("0", &[])] {
        let (receiver, url) = Receiver::start(&[]).await;
        let filter = format!("import='{import}' OR sourcedId='end'");
        let body = json!({
            "url": url, "types": ["org.*"], "order": "fifo", "imports": "records", "filter": filter, "after": 0
        });
        register(&server, body).await;
        assert_eq!(told_until(&receiver, "end").await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_sent_and_never_shown() {
    let server = server().await;
    let (receiver, url) = Receiver::start(&[]).await;
    let headers = json!({ "Authorization": "Bearer geheim-1", "X-Zone": "geheim-2" });
    let made = register(&server, json!({ "url": url, "types": ["org.*"], "headers": headers })).await;
    assert_eq!(made["headers"], json!(["authorization", "x-zone"]));
    write_org(&server, "a").await;
    receiver.until_accepted(1).await;
    let sent = receiver.calls().remove(0).headers;
    assert_eq!(
        (&sent["authorization"], &sent["x-zone"]),
        (&"Bearer geheim-1".parse().unwrap(), &"geheim-2".parse().unwrap())
    );
    until("it is written down", async || delivery(&server, &made, "org.created").await["state"] == "delivered").await;

    let id = made["id"].as_str().unwrap();
    let message = receiver.messages()[0]["id"].as_str().unwrap().to_owned();
    let mut said = vec![made.to_string(), change(&server, &made, json!({ "rate": 9 })).await.1.to_string()];
    for path in ["".to_owned(), format!("/{id}"), format!("/{id}/deliveries"), format!("/{id}/deliveries/{message}")] {
        let answer = server.get(&format!("{}/rosterhub/v1/webhooks{path}", server.base)).await;
        assert_eq!(answer.status(), 200, "{path}");
        said.push(answer.text().await.unwrap());
    }
    for path in ["pause", "resume", "test", "verify"] {
        said.push(ask(&server, &format!("/{id}/{path}"), json!({})).await.1.to_string());
    }
    assert!(said.iter().all(|text| !text.contains("geheim")), "{said:?}");
    // Nor does the database hold them as they are.
    let mut conn = open(&server.url).await.db().acquire(&tenant("midori")).await.unwrap();
    let all = "select string_agg(encode(headers, 'escape'), ' ') from webhook_endpoints";
    let sealed: String = sqlx::query_scalar(all).fetch_one(&mut *conn).await.unwrap();
    assert!(sealed.len() > 40 && !sealed.contains("geheim"));

    assert_eq!(change(&server, &made, json!({ "headers": {} })).await.1["headers"], json!([]));
    write_org(&server, "b").await;
    receiver.until("the next", |calls| calls.iter().any(|call| call.sourced_id() == "b")).await;
    assert!(!receiver.calls().last().unwrap().headers.contains_key("authorization"));
}
