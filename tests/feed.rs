//! The change feed over REST: what it tells is what the events say, whatever the filter, the form and the moment.

mod cursors;
mod faults;
mod streams;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::graphql::changes::{Naive, moving_city, naive, schools};
use crate::graphql::subscriptions::Random;
use crate::support::{Server, bulk, city, open, put, tenant, token};

/// The answer to `GET /changes` with these parameters.
async fn ask(server: &Server, token: &str, query: &str) -> (u16, HeaderMap, Value) {
    let url = format!("{}/rosterhub/v1/changes?{query}", server.base);
    let response = server.http.get(url).bearer_auth(token).send().await.unwrap();
    (response.status().as_u16(), response.headers().clone(), response.json().await.unwrap())
}

/// A page.
async fn page(server: &Server, query: &str) -> Value {
    let (status, headers, page) = ask(server, &server.token, query).await;
    assert_eq!(status, 200, "{query}: {page}");
    assert_eq!(headers["rosterhub-position"], page["position"].to_string());
    assert_eq!(headers.contains_key("link"), page["more"] == true, "{query}");
    page
}

/// All changes, by the links from page to page.
async fn walk(server: &Server, token: &str, query: &str) -> Vec<Value> {
    let mut url = format!("{}/rosterhub/v1/changes?{query}", server.base);
    let mut all = Vec::new();
    loop {
        let response = server.http.get(&url).bearer_auth(token).send().await.unwrap();
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().await.unwrap();
        all.extend(page["changes"].as_array().unwrap_or_else(|| panic!("{url}: {page}")).iter().cloned());
        match link {
            Some(link) => {
                assert!(link.ends_with("; rel=\"next\""), "{link}");
                url = link.split(['<', '>']).nth(1).unwrap().to_owned();
            }
            None => return all,
        }
    }
}

/// All changes as JSON Lines, and the last line.
async fn lines(server: &Server, token: &str, query: &str) -> (Vec<Value>, Value) {
    let url = format!("{}/rosterhub/v1/changes?{query}", server.base);
    let response = server.http.get(url).bearer_auth(token).header("accept", "application/x-ndjson").send().await;
    let response = response.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/x-ndjson".parse().unwrap())
    );
    let text = response.text().await.unwrap();
    let mut all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = all.pop().unwrap();
    (all, last)
}

fn position(change: &Value) -> i64 {
    change["position"].as_i64().unwrap_or_else(|| panic!("{change}"))
}

fn positions(changes: &[Value]) -> Vec<i64> {
    changes.iter().map(position).collect()
}

fn kind(event: &Naive) -> &'static str {
    match event.event.event_type.as_str() {
        "Withdrawn" => "deleted",
        "Restored" => "restored",
        _ if event.before.is_none() => "created",
        _ => "changed",
    }
}

/// A random filter: parameters, and what passes by them.
/// Whether an event passes.
type Passes = Box<dyn Fn(&Naive) -> bool>;

fn filter(random: &mut Random, events: &[Naive], schools: &[String]) -> (String, Passes) {
    let mut pick = |all: &[&str]| -> Vec<String> {
        all.iter().filter(|_| random.below(3) == 0).map(|one| (*one).to_owned()).collect()
    };
    let all: BTreeSet<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let types = pick(&all.into_iter().collect::<Vec<_>>());
    let kinds = pick(&["created", "changed", "deleted"]);
    let school = (random.below(2) == 0).then(|| schools[random.below(schools.len() as u64) as usize].clone());
    let id = (random.below(6) == 0).then(|| events[random.below(events.len() as u64) as usize].sourced_id.clone());
    let mut query = String::new();
    for (name, list) in [("types", &types), ("kinds", &kinds)] {
        if !list.is_empty() {
            query += &format!("&{name}={}", list.join(","));
        }
    }
    for (name, id) in [("school", &school), ("sourcedId", &id)] {
        if let Some(id) = id {
            query += &format!("&{name}={id}");
        }
    }
    let passes = move |event: &Naive| {
        (types.is_empty() || types.contains(&event.kind))
            && (kinds.is_empty() || kinds.iter().any(|word| word == kind(event)))
            && school.as_ref().is_none_or(|id| event.kind == "academicSession" || event.schools.contains(id))
            && id.as_ref().is_none_or(|id| event.sourced_id == *id)
    };
    (query, Box::new(passes))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_filter_pages_and_lines_are_what_the_events_say() {
    let (server, log) = moving_city().await;
    let events = naive(&log).await;
    let schools = schools(&server).await;
    let head = events.len() as i64;
    let mut random = Random(7);
    let (mut told, mut moved) = (0, 0);
    for n in 0..60 {
        let (query, passes) = filter(&mut random, &events, &schools);
        let limit = 1 + random.below(if n % 3 == 0 { 2_000 } else { 200 });
        let after = if n % 2 == 0 { 0 } else { random.below(events.len() as u64) as i64 };
        let until = if n % 4 == 3 { after + random.below((head - after + 1) as u64) as i64 } else { head };
        let query = format!(
            "after={after}{}{query}&values=true",
            if n % 4 == 3 { format!("&until={until}") } else { String::new() }
        );
        let found = walk(&server, &server.token, &format!("{query}&limit={limit}")).await;
        let expected: Vec<&Naive> = events.iter().filter(|event| passes(event)).collect();
        let mut previous = expected.iter().rfind(|event| event.position <= after).map_or(0, |event| event.position);
        let expected: Vec<_> = expected.into_iter().filter(|e| e.position > after && e.position <= until).collect();
        assert_eq!(positions(&found), expected.iter().map(|event| event.position).collect::<Vec<_>>(), "{query}");
        for (change, event) in found.iter().zip(&expected) {
            assert_eq!(change["previousPosition"], previous, "{query}: {change}");
            previous = event.position;
            assert_eq!((&change["recordType"], &change["sourcedId"]), (&json!(event.kind), &json!(event.sourced_id)));
            assert_eq!((&change["kind"], &change["unit"]), (&json!(kind(event)), &json!(event.event.unit)));
            assert_eq!((&change["after"], change.get("before")), (&event.record, event.before.as_ref()));
            moved += usize::from(event.kind == "user" && event.schools.len() > 1 && query.contains("school="));
        }
        told += found.len();
        assert_eq!(
            lines(&server, &server.token, &query).await,
            (found, json!({ "position": until, "end": true })),
            "{query}"
        );
    }
    assert!(told > 2_000, "{told}");
    assert!(moved > 0, "a pupil who moved from one school to another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_school_is_told_of_who_comes_and_who_leaves() {
    let (server, _) = moving_city().await;
    let schools = schools(&server).await;
    let user = server.read("students?limit=1").await["users"][0].clone();
    let at = user["roles"][0]["org"]["sourcedId"].as_str().unwrap();
    let other = schools.iter().find(|school| *school != at).unwrap();
    let head = page(&server, "after=now").await["next"].as_i64().unwrap();
    let mut roles = user["roles"].clone();
    for role in roles.as_array_mut().unwrap() {
        role["org"] = json!({ "sourcedId": other, "type": "org" });
    }
    let id = user["sourcedId"].as_str().unwrap();
    let moved = json!({ "roles": roles, "primaryOrg": { "sourcedId": other, "type": "org" } });
    crate::support::patch(&server, &format!("users/{id}"), moved).await;
    let everything = page(&server, &format!("after={head}")).await["changes"].clone();
    assert!(everything.as_array().unwrap().iter().any(|change| change["recordType"] == "user"), "{everything}");
    for school in [at, other] {
        let told = page(&server, &format!("after={head}&school={school}&types=user,role")).await["changes"].clone();
        let about: BTreeSet<&str> =
            told.as_array().unwrap().iter().map(|c| c["recordType"].as_str().unwrap()).collect();
        assert_eq!(about, BTreeSet::from(["role", "user"]), "{school}: {told}");
    }
    // Another school's user is none of theirs.
    put(&server, "orgs/third", json!({ "org": { "name": "third", "type": "school" } })).await;
    assert_eq!(page(&server, "school=third&types=user,role").await["changes"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_may_not_see_is_left_out() {
    let (server, log) = moving_city().await;
    let events = naive(&log).await;
    let roster = token(&server.url, "midori", "roster.readonly");
    let shown: Vec<&Naive> = events.iter().filter(|event| event.kind != "demographics").collect();
    assert!(shown.len() < events.len());
    let found = walk(&server, &roster, "limit=500").await;
    assert_eq!(positions(&found), shown.iter().map(|event| event.position).collect::<Vec<_>>());
    let mut previous = 0;
    for (change, event) in found.iter().zip(shown) {
        assert_eq!(change["previousPosition"], previous);
        previous = event.position;
        let cause = &change["cause"];
        let metadata: Value = serde_json::from_str(event.event.metadata.get()).unwrap();
        assert_eq!((&cause["import"], &cause["client"]), (&metadata["import"], &metadata["client"]));
        for member in ["actor", "approvedBy", "file", "line"] {
            assert_eq!(cause.get(member), None, "{change}");
        }
        assert!(change.get("before").is_none() && change.get("after").is_none(), "{change}");
        let recorded = event.event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        assert_eq!(change["recordedAt"], recorded);
    }
    assert_eq!(lines(&server, &roster, "").await.0, found);
    let none = ask(&server, &roster, "types=demographics").await.2;
    assert_eq!((&none["changes"], &none["more"], &none["next"]), (&json!([]), &json!(false), &json!(events.len())));
    let audit = token(&server.url, "midori", "roster.readonly,audit");
    let first = ask(&server, &audit, "types=user&limit=1").await.2["changes"][0]["cause"].clone();
    assert_eq!(first["file"], "users.csv");
    assert!(first["line"].as_i64().unwrap() > 1);
    for scopes in ["roster-core.readonly", "roster-demographics.readonly", "import,export,write"] {
        let (status, headers, body) = ask(&server, &token(&server.url, "midori", scopes), "").await;
        assert_eq!((status, &body["error"]["code"]), (403, &json!("insufficient_scope")), "{scopes}");
        assert!(headers["www-authenticate"].to_str().unwrap().contains("roster.readonly"));
    }
    assert_eq!(ask(&server, "nonsense", "").await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_and_positions_mean_the_same_places() {
    let server = Server::start().await;
    for n in 0..6 {
        put(&server, &format!("orgs/o{n}"), json!({ "org": { "name": "o", "type": "school" } })).await;
    }
    let all = page(&server, "").await["changes"].clone();
    let third = all[2]["recordedAt"].as_str().unwrap();
    let fifth = all[4]["recordedAt"].as_str().unwrap();
    let between = page(&server, &format!("after={third}&until={fifth}")).await;
    assert_eq!(positions(between["changes"].as_array().unwrap()), [4, 5]);
    assert_eq!((&between["next"], &between["position"], &between["more"]), (&json!(5), &json!(6), &json!(false)));
    assert_eq!(page(&server, "after=2000-01-01T00:00:00Z").await["changes"], all);
    let now = page(&server, "after=now").await;
    assert_eq!((&now["changes"], &now["next"], &now["more"]), (&json!([]), &json!(6), &json!(false)));
    // No more than the server's largest page.
    let narrow = Server::with(&server.url, &[("ROSTERHUB_MAX_PAGE", "4")]);
    let cut = page(&narrow, "limit=1000").await;
    assert_eq!((cut["changes"].as_array().unwrap().len(), &cut["next"], &cut["more"]), (4, &json!(4), &json!(true)));
    assert_eq!(positions(&walk(&narrow, &narrow.token, "limit=1000").await), [1, 2, 3, 4, 5, 6]);
}

/// Writers write at two servers while readers page at either: no reader misses a change or sees one twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_under_writes_have_no_gap() {
    let one = Arc::new(Server::start().await);
    let two = Arc::new(Server::on(&one.url));
    let done = Arc::new(AtomicBool::new(false));
    let org = |name: &str| json!({ "org": { "name": name, "type": "school" } });
    let mut writers = Vec::new();
    for n in 0..3 {
        let (server, done) = (if n == 0 { one.clone() } else { two.clone() }, done.clone());
        writers.push(tokio::spawn(async move {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                let record = json!({ "org": { "name": format!("{round}"), "type": "school" } });
                put(&server, &format!("orgs/w{n}-{}", round % 5), record).await;
                round += 1;
            }
        }));
    }
    let mut readers = Vec::new();
    for seed in 0..4 {
        let (one, two) = (one.clone(), two.clone());
        readers.push(tokio::spawn(async move {
            let (mut random, mut told, mut after) = (Random(seed), Vec::new(), 0);
            loop {
                let server = if random.below(2) == 0 { &one } else { &two };
                let limit = 1 + random.below(60);
                let page = page(server, &format!("after={after}&limit={limit}&wait={}", random.below(2) * 60)).await;
                for change in page["changes"].as_array().unwrap() {
                    told.push((position(change), change["previousPosition"].as_i64().unwrap()));
                    if change["sourcedId"] == "last" {
                        return told;
                    }
                }
                after = page["next"].as_i64().unwrap();
            }
        }));
    }
    let small = rosterhub::sample::SampleOptions { schools: 1, students_per_school: 15, ..city() };
    two.import(bulk(&small)).await;
    done.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    put(&one, "orgs/last", org("last")).await;
    let head = open(&one.url).await.head(&tenant("midori")).await.unwrap().unwrap();
    for reader in readers {
        let told = reader.await.unwrap();
        assert!(told == (1..=head).map(|at| (at, at - 1)).collect::<Vec<_>>(), "{} of {head}", told.len());
    }
}
