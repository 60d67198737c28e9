//! History for auditors: timelines field by field, by whom and by which line of which file; past rosters made anew.

#[path = "history/replay.rs"]
mod replay;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::graphql::changes::{Naive, moving_city, naive};
use crate::imports::ORGS;
use crate::support::{self, EVERYTHING, Server, database, patch, put, run, set, token};

/// The server, seen by a client that may audit as well.
fn auditing(mut server: Server) -> Server {
    server.token = token(&server.url, "midori", &format!("{EVERYTHING},audit"));
    server
}

fn url(server: &Server, query: &str) -> String {
    format!("{}/rosterhub/v1/audit/history?{query}", server.base)
}

async fn ask(server: &Server, token: &str, query: &str) -> (u16, Value) {
    let answer = server.http.get(url(server, query)).bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// All events, by the links from page to page.
async fn walk(server: &Server, query: &str) -> Vec<Value> {
    let (mut address, mut all) = (url(server, query), Vec::new());
    loop {
        let answer = server.get(&address).await;
        let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        assert_eq!(answer.status(), 200, "{address}");
        let position = answer.headers()["rosterhub-position"].to_str().unwrap().to_owned();
        let page: Value = answer.json().await.unwrap();
        assert_eq!(page["position"].to_string(), position);
        assert_eq!(page["more"], link.is_some(), "{address}");
        all.extend(page["events"].as_array().unwrap().iter().cloned());
        let Some(link) = link else { return all };
        address = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
}

/// A file of the timeline: its type and text.
async fn file(server: &Server, query: &str) -> (String, String) {
    let answer = server.get(&url(server, query)).await;
    assert_eq!(answer.status(), 200, "{query}");
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, answer.text().await.unwrap())
}

async fn lines(server: &Server, query: &str) -> Vec<Value> {
    let (kind, text) = file(server, &format!("{query}&format=jsonl")).await;
    assert_eq!(kind, "application/x-ndjson");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn positions(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["position"].as_i64().unwrap_or_else(|| panic!("{event}"))).collect()
}

/// `[field, before, after]` of each field.
fn fields(event: &Value) -> Value {
    let fields = event["fields"].as_array().unwrap_or_else(|| panic!("{event}"));
    fields.iter().map(|f| json!([f["field"], f["before"], f["after"]])).collect()
}

/// Sends a write on behalf of an actor.
async fn act(server: &Server, actor: &str, method: Method, path: &str, body: Value) {
    let address = format!("{}/rosterhub/v1/roster/{path}", server.base);
    let request = server.http.request(method, address).bearer_auth(&server.token).header("rosterhub-actor", actor);
    let answer = request.json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {:?}", answer.text().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_records_life_is_told_field_by_field() {
    let server = auditing(Server::start().await);
    let org = |name: &str| json!({ "org": { "name": name, "type": "school" } });
    act(&server, "sato", Method::PUT, "orgs/o1", org("緑小")).await;
    put(&server, "orgs/other", org("x")).await;
    patch(&server, "orgs/o1", json!({ "identifier": "B113", "metadata": { "note": "=1+1" } })).await;
    let text = format!(
        "{ORGS}other,active,2026-04-01T00:00:00.000Z,x,school,,\r\no1,active,2026-04-01T00:00:00.000Z,緑学園,school,,other\r\n"
    );
    let job = server.import(set(&[("orgs", "delta", &text)])).await;
    let gone = server.http.delete(format!("{}/rosterhub/v1/roster/orgs/o1", server.base)).bearer_auth(&server.token);
    assert!(gone.send().await.unwrap().status().is_success());
    act(&server, "suzuki", Method::PUT, "orgs/o1", org("緑学園")).await;

    let events = walk(&server, "record=org/o1").await;
    let told: Vec<Value> = events.iter().map(|e| json!([e["position"], e["kind"], fields(e)])).collect();
    let parent = json!({ "sourcedId": "other", "type": "org" });
    assert_eq!(
        told,
        [
            // A text that JSON must have is there, and empty.
            json!([
                1,
                "created",
                [
                    ["status", null, "active"],
                    ["name", null, "緑小"],
                    ["type", null, "school"],
                    ["identifier", null, ""]
                ]
            ]),
            json!([3, "changed", [["identifier", "", "B113"], ["metadata.note", null, "=1+1"]]]),
            json!([
                4,
                "changed",
                [
                    ["name", "緑小", "緑学園"],
                    ["identifier", "B113", ""],
                    ["parent", null, parent],
                    ["metadata.note", "=1+1", null]
                ]
            ]),
            json!([5, "deleted", [["status", "active", "tobedeleted"]]]),
            json!([6, "restored", [["status", "tobedeleted", "active"], ["parent", parent, null]]]),
        ]
    );
    let cause = |n: usize, name: &str| events[n]["cause"][name].clone();
    assert_eq!(
        (cause(0, "actor"), cause(4, "actor"), cause(1, "actor")),
        (json!("sato"), json!("suzuki"), json!(null))
    );
    assert_eq!(
        ["import", "file", "line", "mapping", "client"].map(|name| cause(2, name)),
        [job["id"].clone(), json!("orgs.csv"), json!(3), job["edition"].clone(), json!("test")]
    );
    assert!(cause(3, "file").is_null() && cause(3, "client").is_string());
    let changes = server.get(&format!("{}/rosterhub/v1/changes?sourcedId=o1", server.base)).await;
    let changes: Value = changes.json().await.unwrap();
    for (event, change) in events.iter().zip(changes["changes"].as_array().unwrap()) {
        for name in ["position", "unit", "recordedAt", "recordType", "sourcedId", "cause"] {
            assert_eq!(event[name], change[name], "{name}");
        }
    }

    // Spreadsheets: one row for each field, and nothing that they take for a formula.
    let (kind, text) = file(&server, "record=org/o1&format=csv").await;
    assert_eq!(kind, "text/csv; charset=utf-8; header=present");
    let text = text.strip_prefix('\u{feff}').unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    assert_eq!(reader.headers().unwrap().len(), 18);
    let rows: Vec<Vec<String>> = reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
    let cells: Vec<[&str; 4]> = rows.iter().map(|r| [&*r[0], &*r[6], &*r[7], &*r[8]]).collect();
    assert_eq!(
        cells[4..10],
        [
            ["3", "identifier", "", "B113"],
            ["3", "metadata.note", "", "'=1+1"],
            ["4", "name", "緑小", "緑学園"],
            ["4", "identifier", "B113", ""],
            ["4", "parent", "", "other"],
            ["4", "metadata.note", "'=1+1", ""],
        ]
    );
    assert_eq!((rows.len(), &*rows[6][12], &*rows[6][13], &*rows[0][10]), (13, "orgs.csv", "3", "sato"));

    // The command line says the same.
    let args = ["history", "--tenant", "midori", "--record", "org/o1"];
    let (code, text) = run(&server.url, &args);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("org/o1  changed\n    by client \"test\", import ") && text.contains("line 3"), "{text}");
    assert!(
        text.contains("    name: \"緑小\" → \"緑学園\"\n    identifier: \"B113\" → \"\"\n    parent: – → \"other\"\n"),
        "{text}"
    );
    let output = support::rosterhub(&server.url, &[&args[..], &["--format", "jsonl"]].concat()).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, file(&server, "record=org/o1&format=jsonl").await.1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("o1.csv");
    let out = ["--format", "csv", "--out", path.to_str().unwrap()];
    let (code, told) = run(&server.url, &[&args[..], &out].concat());
    assert_eq!((code, told.lines().next()), (0, Some("5 events")), "{told}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), file(&server, "record=org/o1&format=csv").await.1);
}

/// A person's records as they ever were: an enrollment that went from one to another is in the lives of both.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_of_with_all_that_ever_was_the_persons() {
    let (server, log) = moving_city().await;
    let server = auditing(server);
    let enrollments = server.read("enrollments?limit=1&offset=20&filter=role%3D'student'").await;
    let enrollment = &enrollments["enrollments"][0];
    let (id, from) = (enrollment["sourcedId"].as_str().unwrap(), enrollment["user"]["sourcedId"].as_str().unwrap());
    let school = enrollment["school"]["sourcedId"].as_str().unwrap();
    let students = server.read(&format!("schools/{school}/students?limit=100")).await["users"].clone();
    let students = students.as_array().unwrap().iter().map(|user| user["sourcedId"].as_str().unwrap());
    let to = students.into_iter().find(|id| *id != from).unwrap().to_owned();
    let path = format!("enrollments/{id}");
    patch(&server, &path, json!({ "user": { "sourcedId": to, "type": "user" } })).await;
    patch(&server, &path, json!({ "endDate": "2027-01-31" })).await;
    let events = naive(&log).await;
    let head = events.len() as i64;
    for (person, last) in [(from, head - 1), (&*to, head)] {
        let names = |record: &Value| record["user"]["sourcedId"] == person;
        let about = |event: &Naive| match event.kind.as_str() {
            "user" | "demographics" => event.sourced_id == person,
            _ => names(&event.record) || event.before.as_ref().is_some_and(names),
        };
        let expected: Vec<i64> = events.iter().filter(|event| about(event)).map(|event| event.position).collect();
        assert_eq!(expected.last(), Some(&last));
        let told = walk(&server, &format!("person={person}&limit=3")).await;
        assert_eq!(positions(&told), expected);
        let kinds: BTreeSet<&str> = told.iter().map(|event| event["recordType"].as_str().unwrap()).collect();
        assert!(
            ["user", "role", "userProfile", "enrollment", "demographics"].iter().all(|k| kinds.contains(k)),
            "{kinds:?}"
        );
        let of_enrollments = lines(&server, &format!("person={person}&types=enrollment&order=desc")).await;
        let mut expected: Vec<i64> =
            events.iter().filter(|e| about(e) && e.kind == "enrollment").map(|e| e.position).collect();
        expected.reverse();
        assert_eq!(positions(&of_enrollments), expected);
    }
    assert_eq!(
        fields(walk(&server, &format!("record=enrollment/{id}&since={}", head - 2)).await.first().unwrap())[0][0],
        "user"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_pages_and_files_tell_what_the_events_say() {
    let (server, log) = moving_city().await;
    let server = auditing(server);
    let org = |name: &str| json!({ "org": { "name": name, "type": "school" } });
    for n in 0..6 {
        act(&server, ["sato", "suzuki"][n % 2], Method::PUT, "orgs/acted", org(&format!("n{n}"))).await;
    }
    let create = ["client", "create", "--tenant", "midori", "--name", "named", "--scopes", "write", "--api-key"];
    let named = support::json(&server.url, &create);
    let address = format!("{}/rosterhub/v1/roster/orgs/by-name", server.base);
    let key = named["apiKey"].as_str().unwrap();
    let written = server.http.put(address).bearer_auth(key).json(&org("n")).send().await.unwrap();
    assert!(written.status().is_success());

    let events = naive(&log).await;
    let head = events.len() as i64;
    let metadata = |event: &Naive, name: &str| {
        let metadata: Value = serde_json::from_str(event.event.metadata.get()).unwrap();
        metadata[name].as_str().map(str::to_owned)
    };
    let imports: Vec<String> = events.iter().filter_map(|event| metadata(event, "import")).collect();
    let second = imports.last().unwrap().clone();
    let of_second = |event: &&Naive| event.kind == "enrollment" && metadata(event, "import").as_ref() == Some(&second);
    let school = events.iter().find(of_second).unwrap().schools.first().unwrap().clone();
    let time = |event: &Naive| event.event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let (from, to) = (&events[head as usize - 12], &events[head as usize - 4]);
    let id = named["clientId"].as_str().unwrap().to_owned();
    type Passes<'a> = Box<dyn Fn(&Naive) -> bool + 'a>;
    let cases: Vec<(String, Passes)> = vec![
        (format!("import={second}"), Box::new(|e| metadata(e, "import").as_ref() == Some(&second))),
        ("actor=suzuki".to_owned(), Box::new(|e| metadata(e, "actor").as_deref() == Some("suzuki"))),
        ("client=named".to_owned(), Box::new(|e| metadata(e, "client").as_ref() == Some(&id))),
        (format!("client={id}"), Box::new(|e| metadata(e, "client").as_ref() == Some(&id))),
        (
            format!("import={second}&school={school}&types=user,enrollment"),
            Box::new(|e| {
                metadata(e, "import").as_ref() == Some(&second)
                    && ["user", "enrollment"].contains(&&*e.kind)
                    && e.schools.contains(&school)
            }),
        ),
        ("kinds=deleted".to_owned(), Box::new(|e| e.event.event_type == "Withdrawn")),
        (
            format!("since={}&until={}", time(from), time(to)),
            Box::new(|e| e.position > from.position && e.position <= to.position),
        ),
        (
            format!("since={}&until={}", head - 9, head - 2),
            Box::new(move |e| e.position > head - 9 && e.position <= head - 2),
        ),
    ];
    for (query, passes) in &cases {
        let expected: Vec<i64> = events.iter().filter(|event| passes(event)).map(|event| event.position).collect();
        assert!(!expected.is_empty() && expected.len() < events.len(), "{query}");
        let oldest = walk(&server, &format!("{query}&limit=3")).await;
        assert_eq!(positions(&oldest), expected, "{query}");
        let mut latest = walk(&server, &format!("{query}&limit=4&order=desc")).await;
        assert_eq!(lines(&server, &format!("{query}&order=desc")).await, latest, "{query}");
        latest.reverse();
        assert_eq!(latest, oldest, "{query}");
        assert_eq!(lines(&server, query).await, oldest, "{query}");
        assert_eq!(lines(&server, &format!("{query}&limit=2&order=desc")).await.len(), expected.len().min(2));
        let middle = expected[expected.len() / 2];
        let after = expected.iter().copied().filter(|position| *position > middle).collect::<Vec<_>>();
        assert_eq!(positions(&lines(&server, &format!("{query}&after={middle}")).await), after, "{query}");
        let (_, text) = file(&server, &format!("{query}&format=csv")).await;
        let rows: usize = oldest.iter().map(|event| event["fields"].as_array().unwrap().len().max(1)).sum();
        assert_eq!(csv::Reader::from_reader(text.as_bytes()).records().count(), rows, "{query}");
    }
    // Everything, in both orders, and each event with what changed in it.
    let all = lines(&server, "").await;
    assert_eq!(positions(&all), (1..=head).collect::<Vec<_>>());
    let mut latest = lines(&server, "order=desc").await;
    latest.reverse();
    assert_eq!(latest, all);
    assert!(all.iter().all(|event| fields(event) != json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_audit_is_refused_and_tenants_stay_apart() {
    let server = auditing(Server::start().await);
    put(&server, "orgs/o1", json!({ "org": { "name": "x", "type": "school" } })).await;
    let job = server.import(set(&[("orgs", "bulk", &format!("{ORGS}o2,,,y,school,,\r\n"))])).await;
    let import = job["id"].as_str().unwrap();
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = token(&server.url, "aoba", &format!("{EVERYTHING},audit"));
    for query in ["", "record=org/o1", "kinds=created", "client=test"] {
        let (status, page) = ask(&server, &other, query).await;
        assert_eq!((status, &page["events"], &page["position"]), (200, &json!([]), &json!(0)), "{query}");
    }
    assert_eq!(ask(&server, &other, &format!("import={import}")).await.0, 404);
    assert_eq!(ask(&server, &server.token, &format!("import={import}")).await.1["events"].as_array().unwrap().len(), 2);
    let absent = &ask(&server, &server.token, "record=org/o1&kinds=deleted").await.1["events"][0];
    assert_eq!((&absent["cause"]["absent"], &absent["cause"]["import"]), (&json!(true), &job["id"]));
    let (status, body) = ask(&server, &token(&server.url, "midori", EVERYTHING), "").await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("insufficient_scope")));
    assert_eq!(ask(&server, "nonsense", "").await.0, 401);
    for (query, code) in [
        ("record=o1", "bad_parameter"),
        ("record=org/o1&person=u", "bad_parameter"),
        ("order=up", "bad_parameter"),
        ("import=1", "bad_parameter"),
        ("limit=0", "bad_parameter"),
        ("since=soon", "bad_parameter"),
        ("since=2&until=1", "bad_parameter"),
        ("until=4", "beyond_head"),
        ("since=2999-01-01T00:00:00Z", "in_future"),
        ("colour=red", "unknown_parameter"),
        ("limit=1&limit=2", "repeated_parameter"),
    ] {
        let (status, body) = ask(&server, &server.token, query).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!(code)), "{query}");
    }
    let (code, text) = run(&server.url, &["history", "--tenant", "nobody"]);
    assert_eq!((code, text.contains("there is no tenant nobody")), (1, true), "{text}");
    let (code, text) = run(&server.url, &["history", "--tenant", "midori", "--record", "o1"]);
    assert_eq!((code, text.contains("record is a record type and a sourcedId")), (1, true), "{text}");
    let empty = database().await;
    assert_eq!(run(&empty, &["history", "--tenant", "midori"]).0, 1);
}
