//! Changes, histories and differences against a naive replay of the events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rosterhub::log::{Log, RecordedEvent};
use serde_json::{Value, json};

use super::{code, id};
use crate::support::{Server, bulk, city, delta, open, put, tenant, token};

/// An event as the test understands it.
pub struct Naive {
    pub position: i64,
    pub kind: String,
    pub sourced_id: String,
    pub record: Value,
    pub before: Option<Value>,
    /// Orgs that it belongs to.
    pub schools: BTreeSet<String>,
    pub event: RecordedEvent,
}

/// A city that has moved: an import, a delta, a user who has changed school, a class too, and something deleted.
pub async fn moving_city() -> (Server, Log) {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    server.import(delta(&city(), 10.0)).await;
    let schools = schools(&server).await;
    let users = server.read("students?limit=5").await["users"].clone();
    for (n, user) in users.as_array().unwrap().iter().enumerate() {
        let mut roles = user["roles"].clone();
        for role in roles.as_array_mut().unwrap() {
            role["org"] = json!({ "sourcedId": schools[n % 2], "type": "org" });
        }
        crate::support::patch(
            &server,
            &format!("users/{}", id(user)),
            json!({ "roles": roles, "primaryOrg": { "sourcedId": schools[n % 2], "type": "org" } }),
        )
        .await;
    }
    let url = format!("{}/rosterhub/v1/roster/enrollments", server.base);
    let enrollments = server.read("enrollments?limit=3").await["enrollments"].clone();
    for enrollment in enrollments.as_array().unwrap() {
        let gone = server.http.delete(format!("{url}/{}", id(enrollment))).bearer_auth(&server.token);
        assert!(gone.send().await.unwrap().status().is_success());
    }
    // From one class to another.
    let moved = &server.read("enrollments?limit=1&offset=10").await["enrollments"][0];
    let same_school = format!("schools/{}/classes", moved["school"]["sourcedId"].as_str().unwrap());
    let classes = super::ids(&server.read(&same_school).await["classes"]);
    let other = classes.iter().find(|class| moved["class"]["sourcedId"] != **class).unwrap();
    let class = json!({ "class": { "sourcedId": other, "type": "class" } });
    crate::support::patch(&server, &format!("enrollments/{}", id(moved)), class).await;
    put(&server, "orgs/new", json!({ "org": { "name": "new", "type": "school" } })).await;
    let log = open(&server.url).await;
    (server, log)
}

pub async fn schools(server: &Server) -> Vec<String> {
    super::ids(&server.read("schools").await["orgs"])
}

/// Replays the whole log.
pub async fn naive(log: &Log) -> Vec<Naive> {
    let events = log.read(&tenant("midori"), 0, 1_000_000).await.unwrap();
    let mut records: HashMap<(String, String), Value> = HashMap::new();
    // By role: user, org, whether it is active.
    let mut roles: BTreeMap<String, (String, String, bool)> = BTreeMap::new();
    let mut all = Vec::new();
    for unit in events.chunk_by(|a, b| a.unit == b.unit) {
        let before_roles = roles.clone();
        let mut of_unit = Vec::new();
        for event in unit {
            let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
            let (record, sourced_id) = (payload["record"].clone(), event.aggregate_id["midori/".len()..].to_owned());
            let key = (event.aggregate_type.clone(), sourced_id.clone());
            let before = records.insert(key, record.clone());
            if event.aggregate_type == "role" {
                let named = |member: &str| record[member]["sourcedId"].as_str().unwrap().to_owned();
                roles.insert(sourced_id.clone(), (named("user"), named("org"), event.event_type != "Withdrawn"));
            }
            of_unit.push((event, sourced_id, record, before));
        }
        for (event, sourced_id, record, before) in of_unit {
            let versions = || [Some(&record), before.as_ref()].into_iter().flatten();
            let named = |member: &str| {
                versions().filter_map(|r| Some(r[member]["sourcedId"].as_str()?.to_owned())).collect::<BTreeSet<_>>()
            };
            let of_users = |users: BTreeSet<String>| {
                let active = before_roles.values().chain(roles.values()).filter(|role| role.2);
                active.filter(|role| users.contains(&role.0)).map(|role| role.1.clone()).collect::<BTreeSet<_>>()
            };
            let schools = match event.aggregate_type.as_str() {
                "org" => BTreeSet::from([sourced_id.clone()]),
                "class" | "enrollment" => named("school"),
                "course" | "role" => named("org"),
                "user" | "demographics" => of_users(BTreeSet::from([sourced_id.clone()])),
                "userProfile" => of_users(named("user")),
                _ => BTreeSet::new(),
            };
            let kind = event.aggregate_type.clone();
            let event = event.clone();
            all.push(Naive { position: event.position, kind, sourced_id, record, before, schools, event });
        }
    }
    all
}

pub type Passes = Box<dyn Fn(&Naive) -> bool + Send>;

/// Arguments, and what passes by them.
pub fn filters(schools: &[String]) -> Vec<(String, Passes)> {
    let mut filters: Vec<(String, Passes)> = vec![
        ("types: [org, demographics]".into(), Box::new(|e| ["org", "demographics"].contains(&e.kind.as_str()))),
        ("types: [role]".into(), Box::new(|e| e.kind == "role")),
        ("sourcedId: \"new\"".into(), Box::new(|e| e.sourced_id == "new")),
    ];
    for school in schools.iter().take(2) {
        let (school, also) = (school.clone(), school.clone());
        let of = move |e: &Naive, school: &str| e.kind == "academicSession" || e.schools.contains(school);
        filters.push((format!("school: \"{school}\""), Box::new(move |e| of(e, &school))));
        let arguments = format!("school: \"{also}\", types: [user, userProfile, enrollment]");
        let types = ["user", "userProfile", "enrollment"];
        filters.push((arguments, Box::new(move |e| types.contains(&e.kind.as_str()) && of(e, &also))));
    }
    filters
}

const CHANGE: &str =
    "position previousPosition unit recordType sourcedId user kind changed before after cause { client import absent }";

/// All changes of a query, page by page.
async fn walk(server: &Server, arguments: &str, first: usize) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let query = format!(
            "query W($after: String) {{ changes(first: {first}, after: $after{arguments}) {{
               edges {{ cursor node {{ {CHANGE} }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let answer = server.graphql(&query, json!({ "after": after })).await;
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        let page = &answer["data"]["changes"];
        all.extend(page["edges"].as_array().unwrap().iter().map(|edge| edge["node"].clone()));
        if page["pageInfo"]["hasNextPage"] != true {
            return all;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_what_the_events_say() {
    let (server, log) = moving_city().await;
    let events = naive(&log).await;
    let schools = schools(&server).await;
    let everything: (String, Passes) = (String::new(), Box::new(|_| true));
    for (arguments, passes) in filters(&schools).into_iter().chain([everything]) {
        let comma = if arguments.is_empty() { "" } else { ", " };
        let found = walk(&server, &format!("{comma}{arguments}"), 97).await;
        let expected: Vec<&Naive> = events.iter().filter(|event| passes(event)).collect();
        let positions = |changes: &[Value]| changes.iter().map(|c| c["position"].as_i64().unwrap()).collect::<Vec<_>>();
        assert_eq!(positions(&found), expected.iter().map(|e| e.position).collect::<Vec<_>>(), "{arguments}");
        let mut previous = 0;
        for (change, event) in found.iter().zip(expected) {
            assert_eq!(change["previousPosition"], previous, "{arguments}: {change}");
            previous = event.position;
            assert_eq!(change["unit"], event.event.unit);
            assert_eq!((&change["recordType"], &change["sourcedId"]), (&json!(event.kind), &json!(event.sourced_id)));
            assert_eq!(change["after"], event.record);
            assert_eq!(change["before"], event.before.clone().unwrap_or_default());
            let kind = match event.event.event_type.as_str() {
                "Withdrawn" => "DELETED",
                "Restored" => "RESTORED",
                _ if event.before.is_none() => "CREATED",
                _ => "CHANGED",
            };
            assert_eq!(change["kind"], kind);
            let metadata: Value = serde_json::from_str(event.event.metadata.get()).unwrap();
            assert_eq!(change["cause"]["import"], metadata["import"]);
            assert_eq!(change["cause"]["client"], metadata["client"]);
            let user = match event.kind.as_str() {
                "role" | "userProfile" | "enrollment" => event.record["user"]["sourcedId"].clone(),
                "demographics" => json!(event.sourced_id),
                _ => Value::Null,
            };
            assert_eq!(change["user"], user);
        }
    }
    // Between positions, and the time of a position.
    let part = walk(&server, ", since: 10, until: 200", 1000).await;
    assert_eq!((part.len(), &part[0]["position"], &part[0]["previousPosition"]), (190, &json!(11), &json!(10)));
    let at = events[299].event.recorded_at;
    let last = events.iter().filter(|event| event.event.recorded_at <= at).count() as i64;
    let since = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let rest = walk(&server, &format!(", since: \"{since}\""), 1000).await;
    assert_eq!(rest.first().map(|change| change["position"].as_i64().unwrap()), Some(last + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_is_told_so() {
    let (server, log) = moving_city().await;
    let events = naive(&log).await;
    let ask = async |token: &str, query: &str| -> Value {
        let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(token);
        request.json(&json!({ "query": query })).send().await.unwrap().json().await.unwrap()
    };
    let core = token(&server.url, "midori", "roster-core.readonly");
    assert_eq!(code(&ask(&core, "{ changes { nodes { position } } }").await), "FORBIDDEN");
    let roster = token(&server.url, "midori", "roster.readonly");
    let answer = ask(&roster, "{ changes(first: 1000) { nodes { position previousPosition recordType } } }").await;
    let mut previous = 0;
    let shown: Vec<&Naive> = events.iter().filter(|e| e.kind != "demographics").take(1000).collect();
    let nodes = answer["data"]["changes"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), shown.len());
    for (node, event) in nodes.iter().zip(shown) {
        assert_eq!((&node["position"], &node["previousPosition"]), (&json!(event.position), &json!(previous)));
        previous = event.position;
    }
    let demographics = events.iter().find(|e| e.kind == "demographics").unwrap();
    let history = format!(
        "{{ history(recordType: demographics, sourcedId: \"{}\") {{ nodes {{ kind }} }} }}",
        demographics.sourced_id
    );
    assert_eq!(code(&ask(&roster, &history).await), "FORBIDDEN");
    assert_eq!(ask(&server.token, &history).await["data"]["history"]["nodes"][0]["kind"], "CREATED");
    // Where in a file something stands is for those who audit.
    let lines = "{ changes(types: [user], first: 1) { nodes { cause { file line actor } } } }";
    assert_eq!(code(&ask(&roster, lines).await), "FORBIDDEN");
    let audit = token(&server.url, "midori", "roster.readonly,audit");
    let cause = ask(&audit, lines).await["data"]["changes"]["nodes"][0]["cause"].clone();
    assert_eq!(cause["file"], "users.csv");
    assert!(cause["line"].as_i64().unwrap() > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_the_events_of_its_record() {
    let (server, log) = moving_city().await;
    let events = naive(&log).await;
    let mut by_record: BTreeMap<(&str, &str), Vec<&Naive>> = BTreeMap::new();
    for event in &events {
        by_record.entry((&event.kind, &event.sourced_id)).or_default().push(event);
    }
    let long = by_record.iter().filter(|(_, events)| events.len() > 1).take(40);
    let mut seen = 0;
    for ((kind, sourced_id), events) in long {
        let query = format!(
            "{{ history(recordType: {kind}, sourcedId: \"{sourced_id}\") {{ nodes {{ {CHANGE} }} pageInfo {{ hasNextPage }} }}
                page: history(recordType: {kind}, sourcedId: \"{sourced_id}\", first: 1) {{
                  nodes {{ position }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let data = server.query(&query).await;
        let mut previous = 0;
        let nodes = data["history"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), events.len());
        for (node, event) in nodes.iter().zip(events) {
            assert_eq!((&node["position"], &node["previousPosition"]), (&json!(event.position), &json!(previous)));
            assert_eq!((&node["after"], &node["before"]), (&event.record, &event.before.clone().unwrap_or_default()));
            previous = event.position;
        }
        assert_eq!(data["history"]["pageInfo"]["hasNextPage"], false);
        assert_eq!(data["page"]["nodes"][0]["position"], events[0].position);
        assert_eq!(data["page"]["pageInfo"]["hasNextPage"], true);
        seen += 1;
    }
    assert!(seen >= 3, "the enrollments that were deleted: {seen}");
    let none = server.query("{ history(recordType: org, sourcedId: \"nobody\") { nodes { kind } } }").await;
    assert_eq!(none["history"]["nodes"], json!([]));
}

/// The documents of all records at a position, without what no comparison looks at.
async fn stood(server: &Server, at: i64) -> BTreeMap<(&'static str, String), Value> {
    let mut all = BTreeMap::new();
    for (kind, collection) in [
        ("academicSession", "academicSessions"),
        ("org", "orgs"),
        ("course", "courses"),
        ("class", "classes"),
        ("user", "users"),
        ("demographics", "demographics"),
        ("enrollment", "enrollments"),
    ] {
        let list = server.read(&format!("{collection}?limit=10000&asOf={at}")).await;
        for record in list[collection].as_array().unwrap() {
            let mut record = record.clone();
            record.as_object_mut().unwrap().remove("dateLastModified");
            strip(&mut record);
            all.insert((kind, id(&record).to_owned()), record);
        }
    }
    all
}

/// Addresses are REST's.
fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("href");
            members.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_is_what_two_readings_differ_in() {
    let (server, log) = moving_city().await;
    let head = log.head(&tenant("midori")).await.unwrap().unwrap();
    let units: BTreeSet<i64> = naive(&log).await.iter().map(|event| event.event.unit).collect();
    let first_import = *units.iter().nth(1).unwrap() - 1;
    let schools = schools(&server).await;
    let mut left = false;
    for (from, to) in [(0, first_import), (first_import, head), (head - 5, head), (head, head)] {
        let (before, after) =
            (if from == 0 { BTreeMap::new() } else { stood(&server, from).await }, stood(&server, to).await);
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
        let differs: BTreeSet<_> = keys.into_iter().filter(|key| before.get(key) != after.get(key)).collect();
        let user = differs.iter().rev().find(|key| key.0 == "user").map(|key| key.1.clone());
        let class_of = |record: &Value| Some(record["class"]["sourcedId"].as_str()?.to_owned());
        let mut classes = BTreeSet::from([after.values().find_map(class_of).unwrap()]);
        // One that was left for another.
        classes.extend(differs.iter().find_map(|key| {
            let (was, is) = (class_of(before.get(key)?)?, class_of(after.get(key)?)?);
            (was != is).then_some(was)
        }));
        left |= classes.len() > 1;
        let mut scopes =
            vec![(String::new(), Box::new(|_: &str, _: &Value| true) as Box<dyn Fn(&str, &Value) -> bool>)];
        for school in &schools[..2] {
            let school = school.clone();
            // Users by their active roles, which are those that the document shows.
            let at = |users: &BTreeMap<(&'static str, String), Value>, id: &str, school: &str| {
                let roles = users.get(&("user", id.to_owned())).map(|user| user["roles"].clone()).unwrap_or_default();
                roles.as_array().into_iter().flatten().any(|role| role["org"]["sourcedId"] == school)
            };
            let (b, a) = (before.clone(), after.clone());
            scopes.push((
                format!(", school: \"{school}\""),
                Box::new(move |kind, record| match kind {
                    "academicSession" => true,
                    "org" => record["sourcedId"] == school,
                    "class" | "enrollment" => record["school"]["sourcedId"] == school,
                    "course" => record["org"]["sourcedId"] == school,
                    _ => at(&b, id(record), &school) || at(&a, id(record), &school),
                }),
            ));
        }
        for class in classes {
            let members: BTreeSet<String> = before
                .iter()
                .chain(&after)
                .filter(|(key, record)| key.0 == "enrollment" && record["class"]["sourcedId"] == class)
                .map(|(_, record)| record["user"]["sourcedId"].as_str().unwrap().to_owned())
                .collect();
            scopes.push((
                format!(", class: \"{class}\""),
                Box::new(move |kind, record| match kind {
                    "class" => record["sourcedId"] == class,
                    "enrollment" => record["class"]["sourcedId"] == class,
                    "user" => members.contains(id(record)),
                    _ => false,
                }),
            ));
        }
        if let Some(user) = user {
            scopes.push((
                format!(", user: \"{user}\""),
                Box::new(move |kind, record| match kind {
                    "user" | "demographics" => record["sourcedId"] == user,
                    "enrollment" => record["user"]["sourcedId"] == user,
                    _ => false,
                }),
            ));
        }
        for (arguments, belongs) in scopes {
            let expected: Vec<(String, String)> = rosterhub::roster::EntityType::ALL
                .iter()
                .flat_map(|kind| differs.iter().filter(move |key| key.0 == kind.name()))
                .filter(|key| [before.get(key), after.get(key)].into_iter().flatten().any(|r| belongs(key.0, r)))
                .map(|key| (key.0.to_owned(), key.1.clone()))
                .collect();
            let found = differences(&server, from, to, &arguments).await;
            let named: Vec<(String, String)> =
                found.iter().map(|d| (d["recordType"].as_str().unwrap().to_owned(), id(d).to_owned())).collect();
            assert_eq!(named, expected, "{from} {to}{arguments}");
            for difference in found {
                let of = |side: &str| {
                    let mut record = difference[side].clone();
                    record.as_object_mut().map(|members| members.remove("dateLastModified"));
                    record
                };
                let key =
                    differs.iter().find(|key| key.0 == difference["recordType"] && key.1 == id(&difference)).unwrap();
                let (was, is) = (before.get(key).cloned().unwrap_or_default(), after[key].clone());
                assert_eq!((of("before"), of("after")), (was.clone(), is.clone()));
                let changed: BTreeSet<&str> =
                    difference["changed"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
                let members = is.as_object().unwrap().keys().chain(was.as_object().into_iter().flat_map(|o| o.keys()));
                let really: BTreeSet<&str> = members
                    .map(String::as_str)
                    .filter(|name| !was.is_null() && was.get(*name) != is.get(*name))
                    .collect();
                assert_eq!(changed, really);
            }
        }
    }
    assert!(left, "a class was left");
    let refused = server.graphql("{ diff(from: 5, to: 4) { nodes { kind } } }", json!({})).await;
    assert_eq!(code(&refused), "BAD_USER_INPUT");
}

async fn differences(server: &Server, from: i64, to: i64, arguments: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let query = format!(
            "query D($after: String) {{ diff(from: {from}, to: {to}, first: 250, after: $after{arguments}) {{
               nodes {{ recordType sourcedId kind changed before after }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let answer = server.graphql(&query, json!({ "after": after })).await;
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        let page = &answer["data"]["diff"];
        all.extend(page["nodes"].as_array().unwrap().iter().cloned());
        if page["pageInfo"]["hasNextPage"] != true {
            return all;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}
