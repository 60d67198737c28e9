//! Each verb on each collection.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use rosterhub::sample::SampleOptions;
use serde_json::{Value, json};

use super::{answer, delete, documents, patch, put, reference, request, role, seed, send};
use crate::support::{Server, assert_verified, bulk, delta, open, tenant};

/// A member of each collection's documents, and another value for it.
fn change(collection: &str) -> Value {
    match collection {
        "academicSessions" | "courses" | "classes" => json!({ "title": "改" }),
        "orgs" => json!({ "name": "改" }),
        "users" => json!({ "familyName": "改" }),
        "demographics" => json!({ "sex": "male" }),
        _ => json!({ "endDate": "2027-03-31" }),
    }
}

#[tokio::test]
async fn every_collection_takes_every_verb() {
    let server = Server::start().await;
    let mut last = 0;
    for (collection, id, mut document) in documents() {
        let path = format!("{collection}/{id}");
        document["sourcedId"] = json!(id);
        assert_eq!(delete(&server, &path).await.status, 404);
        assert_eq!(patch(&server, &path, json!({})).await.status, 404);

        // It is created, and its address shows it at once.
        let created = send(&server, Method::POST, &format!("roster/{collection}"), document.clone()).await.expect(201);
        assert!(created.position() > last, "{path}");
        let location = created.location.clone().unwrap();
        assert_eq!(location, server.oneroster(&path));
        let read = server.get(&location).await;
        assert_eq!(read.headers()["rosterhub-position"], created.position().to_string());
        assert_eq!(read.json::<Value>().await.unwrap(), created.body);
        for (member, value) in document.as_object().unwrap() {
            // References have gained addresses.
            if !value.to_string().contains("\"type\":\"") {
                assert_eq!(&created.record()[member], value, "{path} {member}");
            }
        }
        let again = send(&server, Method::POST, &format!("roster/{collection}"), document.clone()).await.expect(409);
        assert_eq!(again.body["error"]["code"], "already_exists");

        // What is read and put back, or patched with nothing, changes nothing.
        for unchanged in [
            put(&server, &path, created.body.clone()).await,
            put(&server, &path, created.record().clone()).await,
            put(&server, &path, document.clone()).await,
            patch(&server, &path, json!({})).await,
            patch(&server, &path, created.body.clone()).await,
        ] {
            let unchanged = unchanged.expect(200);
            assert_eq!((&unchanged.body, unchanged.position()), (&created.body, created.position()), "{path}");
            assert_eq!(unchanged.etag, created.etag);
        }

        // A change shows, and the version's tag with it.
        let changed = patch(&server, &path, change(collection)).await.expect(200);
        let (member, value) =
            change(collection).as_object().unwrap().iter().next().map(|(m, v)| (m.clone(), v.clone())).unwrap();
        assert_eq!(changed.record()[&member], value);
        assert_ne!(changed.etag, created.etag);
        assert_eq!(changed.position(), created.position() + 1);
        let put_back = put(&server, &path, created.body.clone()).await.expect(200);
        assert_eq!(put_back.record()[&member], created.record()[&member], "{path}");

        // It is marked, once; it stays readable; and it comes back, in each of the ways there are.
        let deleted = delete(&server, &path).await.expect(200);
        assert_eq!(deleted.record()["status"], "tobedeleted");
        assert_eq!(server.read(&path).await, deleted.body);
        let still = delete(&server, &path).await.expect(200);
        assert_eq!((still.position(), &still.body, &still.etag), (deleted.position(), &deleted.body, &deleted.etag));
        assert_eq!(put(&server, &path, deleted.body.clone()).await.expect(200).position(), deleted.position());
        let back = patch(&server, &path, json!({ "status": "active" })).await.expect(200);
        assert_eq!(back.record()["status"], "active");
        let withdrawn = put(&server, &path, json!({ "status": "tobedeleted" })).await.expect(422);
        assert!(withdrawn.faults().iter().any(|f| f.1 == "withdrawn_and_changed" || f.1 == "missing_required"));
        let mut document_tobedeleted = back.record().clone();
        document_tobedeleted["status"] = json!("tobedeleted");
        assert_eq!(
            put(&server, &path, document_tobedeleted.clone()).await.expect(200).record()["status"],
            "tobedeleted"
        );
        document_tobedeleted[&member] = value;
        let both = put(&server, &path, document_tobedeleted).await.expect(422);
        assert_eq!(both.faults(), [("status", "withdrawn_and_changed")]);
        let recreated =
            send(&server, Method::POST, &format!("roster/{collection}"), document.clone()).await.expect(200);
        assert_eq!(recreated.record()["status"], "active");
        assert_eq!(server.read(&path).await, recreated.body);
        last = recreated.position();
    }
    assert_verified(&server.url);
}

#[tokio::test]
async fn the_hub_makes_an_id_where_none_is_given() {
    let server = Server::start().await;
    let org = json!({ "name": "みどり市", "type": "district" });
    let made = send(&server, Method::POST, "roster/orgs", json!({ "org": org })).await.expect(201);
    let id = made.record()["sourcedId"].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(id).unwrap().get_version_num(), 7);
    assert_eq!(made.record()["identifier"], "", "required in JSON");
    let other = send(&server, Method::POST, "roster/orgs", org).await.expect(201);
    assert_ne!(other.record()["sourcedId"], made.record()["sourcedId"]);

    // Demographics stand under their user's id.
    let none = send(&server, Method::POST, "roster/demographics", json!({ "sex": "female" })).await.expect(422);
    assert_eq!(none.faults(), [("sourcedId", "missing_required")]);
    let nobody = put(&server, "demographics/nobody", json!({ "sex": "female" })).await.expect(422);
    assert_eq!(nobody.faults(), [("sourcedId", "dangling_reference")]);

    // An id with a slash is one segment of the path.
    let made = put(&server, "orgs/a%2Fb@c", json!({ "name": "x", "type": "school" })).await.expect(201);
    assert_eq!(made.record()["sourcedId"], "a/b@c");
    assert_eq!(made.location.unwrap(), server.oneroster("orgs/a%2Fb@c"));
    assert_eq!(put(&server, "orgs/a%20b", json!({ "name": "x", "type": "school" })).await.status, 422);
    assert_eq!(delete(&server, "orgs/a%00b").await.status, 404);
    assert_verified(&server.url);
}

#[tokio::test]
async fn a_patch_is_a_merge_patch() {
    let server = Server::start().await;
    seed(&server).await;
    let merge = [("content-type", "application/merge-patch+json; charset=utf-8")];
    let patch = json!({ "location": "2階", "classCode": null, "grades": ["P1", "P2"], "metadata": { "x": 1, "jp.specialNeeds": null } });
    let sent = request(&server, Method::PATCH, "roster/classes/k", &merge).body(patch.to_string());
    let class = answer(sent).await.expect(200);
    let class = class.record();
    assert_eq!((&class["location"], &class["grades"]), (&json!("2階"), &json!(["P1", "P2"])));
    assert_eq!(class["metadata"], json!({ "x": "1" }));
    assert_eq!(class["title"], "1年1組");

    // A reference is an object: its id alone can be patched, though a read shows an address as well.
    put(&server, "orgs/s2", json!({ "name": "あおば小学校", "type": "school" })).await.expect(201);
    let moved = super::patch(&server, "classes/k", json!({ "school": { "sourcedId": "s2" } })).await.expect(200);
    assert_eq!(moved.record()["school"]["href"], server.oneroster("orgs/s2"));

    // What is required cannot be patched away.
    let bare = super::patch(&server, "classes/k", json!({ "title": null, "terms": null })).await.expect(422);
    assert_eq!(bare.faults(), [("title", "missing_required"), ("terms", "missing_required")]);
    let list = super::patch(&server, "classes/k", json!([1])).await.expect(422);
    assert_eq!(list.faults(), [("", "wrong_type")]);
    assert_verified(&server.url);
}

#[tokio::test]
async fn children_follow_from_parents() {
    let server = Server::start().await;
    seed(&server).await;
    let board = server.read("orgs/b").await["org"].clone();
    assert_eq!(board["children"][0]["sourcedId"], "s");
    // They may be sent back, not changed.
    let position = patch(&server, "orgs/b", json!({})).await.position();
    assert_eq!(put(&server, "orgs/b", board.clone()).await.expect(200).position(), position);
    let mut claimed = board.clone();
    claimed["children"] = json!([]);
    assert_eq!(put(&server, "orgs/b", claimed).await.expect(422).faults(), [("children", "derived_member")]);
    let new = json!({ "name": "x", "type": "district", "children": [reference("org", "s")] });
    assert_eq!(put(&server, "orgs/new", new).await.expect(422).faults(), [("children", "derived_member")]);

    // A child comes: its parent is another version.
    let before = patch(&server, "orgs/b", json!({})).await;
    let child = json!({ "name": "あおば小学校", "type": "school", "parent": reference("org", "b") });
    put(&server, "orgs/s2", child).await.expect(201);
    let after = patch(&server, "orgs/b", json!({})).await;
    assert_ne!(after.etag, before.etag);
    assert_eq!(after.record()["children"].as_array().unwrap().len(), 2);

    // In one batch, the children may already be told as they will be.
    let mut parent = after.record().clone();
    parent["children"] = json!([reference("org", "s")]);
    parent["name"] = json!("改");
    let operations = json!({ "operations": [
        { "op": "put", "collection": "orgs", "sourcedId": "b", "document": parent },
        { "op": "patch", "collection": "orgs", "sourcedId": "s2", "document": { "parent": null } },
    ]});
    let written = send(&server, Method::POST, "batch", operations).await.expect(200);
    let shown = patch(&server, "orgs/b", json!({})).await;
    assert_eq!(shown.record()["children"].as_array().unwrap().len(), 1);
    assert_eq!(written.body["operations"][0]["etag"], json!(shown.etag));
    assert_verified(&server.url);
}

/// What a write leaves in the log.
#[tokio::test]
async fn events_name_who_wrote() {
    let server = Server::start().await;
    let org = json!({ "name": "みどり市", "type": "district" });
    super::send_with(&server, Method::PUT, "roster/orgs/b", &[("rosterhub-actor", "tanaka@midori")], &org)
        .await
        .expect(201);
    patch(&server, "orgs/b", json!({ "name": "改" })).await.expect(200);
    let log = open(&server.url).await;
    let events = log.read(&tenant("midori"), 0, 10).await.unwrap();
    let metadata: Vec<Value> = events.iter().map(|e| serde_json::from_str(e.metadata.get()).unwrap()).collect();
    assert_eq!(
        metadata,
        [
            json!({ "client": metadata[0]["client"], "cause": "api", "actor": "tanaka@midori" }),
            json!({ "client": metadata[0]["client"], "cause": "api" })
        ]
    );
    let listed = crate::support::json(&server.url, &["client", "list"]).to_string();
    assert!(listed.contains(metadata[0]["client"].as_str().unwrap()), "the client's id");
    let payload: Value = serde_json::from_str(events[1].payload.get()).unwrap();
    assert_eq!(payload["changed"], json!(["name"]));
    for bad in ["", "a b", &"x".repeat(256)] {
        let refused = super::send_with(&server, Method::PUT, "roster/orgs/b", &[("rosterhub-actor", bad)], &org).await;
        assert_eq!(refused.status, 400, "{bad}");
    }
}

/// How a client may send back what it read.
#[derive(Clone, Copy, Debug)]
struct Habits {
    envelope: bool,
    addresses: bool,
    base_members: bool,
    booleans: bool,
    reversed: bool,
}

fn habits() -> impl Strategy<Value = Habits> {
    any::<[bool; 5]>().prop_map(|[envelope, addresses, base_members, booleans, reversed]| Habits {
        envelope,
        addresses,
        base_members,
        booleans,
        reversed,
    })
}

fn by_habit(value: &Value, habits: Habits) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, _)| habits.addresses || *name != "href");
            let mut members: Vec<_> = kept.map(|(name, value)| (name.clone(), by_habit(value, habits))).collect();
            if habits.reversed {
                members.reverse();
            }
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => items.iter().map(|item| by_habit(item, habits)).collect(),
        Value::String(text) if habits.booleans && ["true", "false"].contains(&text.as_str()) => (text == "true").into(),
        other => other.clone(),
    }
}

/// Every record of a sample city, read and put back in whatever form, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_and_put_back_changes_nothing() {
    let server = Server::start().await;
    let options =
        SampleOptions { schools: 2, students_per_school: 20, subjects: 2, profiles: true, ..SampleOptions::default() };
    server.import(bulk(&options)).await;
    server.import(delta(&options, 60.0)).await;
    let mut records: Vec<(&str, &str, Value)> = Vec::new();
    for (collection, single) in [
        ("academicSessions", "academicSession"),
        ("orgs", "org"),
        ("courses", "course"),
        ("classes", "class"),
        ("users", "user"),
        ("enrollments", "enrollment"),
        ("demographics", "demographics"),
    ] {
        let page = server.read(&format!("{collection}?limit=10000")).await;
        records.extend(page[collection].as_array().unwrap().iter().map(|r| (collection, single, r.clone())));
    }
    let head = open(&server.url).await.head(&tenant("midori")).await.unwrap().unwrap();
    assert!(records.iter().any(|(_, _, r)| r["status"] == "tobedeleted"), "the delta withdrew some");

    let sent = |(_, single, record): &(&str, &str, Value), habits: Habits| {
        let mut document = by_habit(record, habits);
        if !habits.base_members {
            let members = document.as_object_mut().unwrap();
            members.shift_remove("sourcedId");
            members.shift_remove("dateLastModified");
            if members["status"] == "active" {
                members.shift_remove("status");
            }
        }
        if habits.envelope { json!({ *single: document }) } else { document }
    };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let mut runner = TestRunner::new(Config { cases: 12, ..Config::default() });
        let cases = (habits(), proptest::collection::vec(0..records.len(), 10));
        let outcome = runner.run(&cases, |(habits, singles)| {
            runtime.block_on(async {
                for i in singles {
                    let (collection, _, record) = &records[i];
                    let path = format!("{collection}/{}", record["sourcedId"].as_str().unwrap());
                    let answer = put(&server, &path, sent(&records[i], habits)).await;
                    prop_assert_eq!((answer.status, answer.position), (200, Some(head)), "{:?}", answer);
                    prop_assert_eq!(answer.record(), record);
                }
                // All of them.
                for chunk in records.chunks(1_000) {
                    let operations: Vec<Value> = chunk
                        .iter()
                        .map(|record| {
                            json!({ "op": "put", "collection": record.0, "sourcedId": record.2["sourcedId"],
                                    "document": sent(record, habits) })
                        })
                        .collect();
                    let answer = send(&server, Method::POST, "batch", json!({ "operations": operations })).await;
                    prop_assert_eq!((answer.status, answer.position), (200, Some(head)), "{:?}", answer.body["error"]);
                    let done = answer.body["operations"].as_array().unwrap();
                    prop_assert!(done.iter().all(|o| o["outcome"] == "unchanged"));
                }
                Ok(())
            })
        });
        outcome.unwrap();
    });
    assert_verified(&server.url);
}

#[tokio::test]
async fn withdrawing_does_not_spread() {
    let server = Server::start().await;
    seed(&server).await;
    for path in ["users/t", "classes/k", "orgs/s"] {
        delete(&server, path).await.expect(200);
    }
    let enrollment = server.read("enrollments/e").await;
    assert_eq!(enrollment["enrollment"]["status"], "active");
    // What is to be deleted can still be referred to.
    let late = json!({
        "class": reference("class", "k"), "school": reference("org", "s"), "user": reference("user", "t"), "role": "proctor"
    });
    put(&server, "enrollments/late", late).await.expect(201);
    // and a user keeps its roles, which the standard wants.
    let user = server.read("users/t").await["user"].clone();
    assert_eq!(user["roles"].as_array().unwrap().len(), 1);
    assert_eq!(user["userProfiles"].as_array().unwrap().len(), 1);
    let users = put(
        &server,
        "users/x",
        json!({ "enabledUser": "true", "givenName": "a", "familyName": "b", "roles": [role("primary", "aide", "s")] }),
    )
    .await;
    users.expect(201);
    assert_verified(&server.url);
}
