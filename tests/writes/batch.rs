//! Many operations as one unit of work.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, documents, patch, reference, role, seed, send, send_with};
use crate::support::{Server, assert_verified, open, tenant};

async fn batch(server: &Server, operations: Value) -> Answer {
    send(server, Method::POST, "batch", json!({ "operations": operations })).await
}

fn outcomes(answer: &Answer) -> Vec<&str> {
    answer.body["operations"].as_array().unwrap().iter().map(|o| o["outcome"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_batch_is_one_unit_of_work_in_any_order() {
    let server = Server::start().await;
    // What refers comes before what is referred to.
    let operations: Vec<Value> = documents()
        .into_iter()
        .rev()
        .map(|(collection, id, document)| {
            json!({ "op": "put", "collection": collection, "sourcedId": id, "document": document })
        })
        .collect();
    let written = batch(&server, json!(operations)).await.expect(200);
    assert_eq!(outcomes(&written), vec!["created"; operations.len()]);
    assert_eq!(written.body["position"], written.position());
    let log = open(&server.url).await;
    let events = log.read(&tenant("midori"), 0, 100).await.unwrap();
    // The records, two roles and a profile.
    assert_eq!(events.len(), operations.len() + 3);
    assert!(events.iter().all(|e| e.unit == 1 && e.recorded_at == events[0].recorded_at));
    let order: Vec<&str> = events.iter().map(|e| e.aggregate_type.as_str()).collect();
    assert_eq!((order[0], order[order.len() - 1]), ("academicSession", "enrollment"));
    for (collection, id, _) in documents() {
        let response = server.get(&server.oneroster(&format!("{collection}/{id}"))).await;
        assert_eq!(response.headers()["rosterhub-position"], written.position().to_string());
    }

    // Each outcome there is, and the tag with which to go on.
    let created = batch(
        &server,
        json!([{ "op": "create", "collection": "orgs", "document": { "name": "x", "type": "school" } }]),
    )
    .await;
    let made = created.expect(200).body["operations"][0]["sourcedId"].clone();
    super::delete(&server, "courses/c").await.expect(200);
    let tag = patch(&server, "orgs/s", json!({})).await.etag().to_owned();
    let course = documents()[3].2.clone();
    let written = batch(
        &server,
        json!([
            { "op": "patch", "collection": "orgs", "sourcedId": "s", "ifMatch": tag, "document": { "org": { "name": "改" } } },
            { "op": "create", "collection": "courses", "sourcedId": "c", "document": { "course": course } },
            { "op": "put", "collection": "courses", "document": { "sourcedId": "c2", "title": "算数", "org": reference("org", "new") } },
            { "op": "put", "collection": "orgs", "sourcedId": "new", "ifNoneMatch": "*", "document": { "name": "x", "type": "local" } },
            { "op": "delete", "collection": "orgs", "sourcedId": made },
            { "op": "delete", "collection": "enrollments", "sourcedId": "e", "document": null },
            { "op": "patch", "collection": "classes", "sourcedId": "k", "document": {} },
        ]),
    )
    .await
    .expect(200);
    assert_eq!(
        outcomes(&written),
        ["changed", "restored", "created", "created", "withdrawn", "withdrawn", "unchanged"]
    );
    for operation in written.body["operations"].as_array().unwrap() {
        let path =
            format!("{}/{}", operation["collection"].as_str().unwrap(), operation["sourcedId"].as_str().unwrap());
        assert_eq!(json!(patch(&server, &path, json!({})).await.etag), operation["etag"], "{path}");
    }
    assert_verified(&server.url);
}

#[tokio::test]
async fn a_batch_with_a_fault_does_nothing_and_names_them_all() {
    let server = Server::start().await;
    let head = seed(&server).await;
    let refused = batch(
        &server,
        json!([
            { "op": "put", "collection": "orgs", "sourcedId": "fine", "document": { "name": "x", "type": "school" } },
            { "op": "put", "collection": "orgs", "sourcedId": "o", "document": { "name": 1, "type": "castle" } },
            { "op": "remove", "collection": "rooms", "sourcedId": 5, "ifMatch": "x", "extra": 1 },
            { "op": "patch", "collection": "orgs", "sourcedId": "nobody", "document": {} },
            { "op": "create", "collection": "orgs", "sourcedId": "s", "document": { "name": "x", "type": "school" } },
            { "op": "patch", "collection": "orgs", "sourcedId": "b", "ifMatch": "\"stale\"", "document": {} },
            { "op": "delete", "collection": "orgs", "sourcedId": "fine" },
            { "op": "put", "collection": "orgs", "document": { "name": "x", "type": "school" } },
            { "op": "put", "collection": "orgs", "sourcedId": "o2" },
            { "op": "delete", "collection": "orgs", "sourcedId": "s3", "document": {} },
            7,
            { "op": "put", "collection": "classes", "sourcedId": "k2", "document": {
                "title": "x", "course": reference("course", "c"), "school": reference("org", "o"),
                "terms": [reference("academicSession", "gone")] } },
            { "op": "patch", "collection": "classes", "sourcedId": "k", "document": { "school": reference("org", "b") } },
            { "op": "put", "collection": "demographics", "sourcedId": "new", "document": {} },
            { "op": "put", "collection": "users", "sourcedId": "v", "document": {
                "enabledUser": "true", "givenName": "a", "familyName": "b", "roles": [role("primary", "aide", "fine")],
                "userProfiles": [{ "profileId": "p", "profileType": "t", "vendorId": "v",
                                   "credentials": [{ "type": "a", "username": "b" }] }] } },
        ]),
    )
    .await
    .expect(422);
    let faults: Vec<(u64, &str, &str)> = refused.body["error"]["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["operation"].as_u64().unwrap(), f["field"].as_str().unwrap(), f["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        faults,
        [
            (1, "name", "wrong_type"),
            (1, "type", "bad_enum"),
            (2, "op", "bad_enum"),
            (2, "collection", "bad_enum"),
            (2, "sourcedId", "wrong_type"),
            (2, "ifMatch", "bad_entity_tag"),
            (2, "extra", "unknown_member"),
            (3, "sourcedId", "unknown_record"),
            (4, "sourcedId", "already_exists"),
            (5, "sourcedId", "precondition_failed"),
            (6, "sourcedId", "duplicate_operation"),
            (7, "sourcedId", "missing_required"),
            (8, "document", "missing_required"),
            (9, "document", "unknown_member"),
            (10, "", "wrong_type"),
            // Its school is refused itself, which is told once.
            (11, "terms[0].sourcedId", "dangling_reference"),
            (12, "school.sourcedId", "reference_type"),
            (13, "sourcedId", "dangling_reference"),
            (14, "userProfiles[0].profileId", "foreign_profile"),
        ]
    );
    assert_eq!(open(&server.url).await.head(&tenant("midori")).await.unwrap(), Some(head));
    assert_eq!(server.get(&server.oneroster("orgs/fine")).await.status(), 404);

    for body in [json!([]), json!({}), json!({ "operations": {} }), json!({ "operations": [], "more": 1 })] {
        assert_eq!(send(&server, Method::POST, "batch", body.clone()).await.status, 400, "{body}");
    }
    let many = vec![json!({}); 1_001];
    assert_eq!(batch(&server, json!(many)).await.status, 413);
    assert_verified(&server.url);
}

/// As many as there may be, with users and their roles: one unit, and the same again nothing.
#[tokio::test]
async fn a_full_batch_is_written_and_written_again() {
    let server = Server::start().await;
    let before = seed(&server).await;
    let operations: Vec<Value> = (0..1_000)
        .map(|n| match n % 2 {
            0 => json!({ "op": "put", "collection": "users", "sourcedId": format!("u{n}"), "document": {
                "enabledUser": "true", "givenName": format!("{n}"), "familyName": "f",
                "roles": [role("primary", "student", "s")], "agents": [reference("user", "t")] } }),
            _ => json!({ "op": "put", "collection": "enrollments", "sourcedId": format!("e{n}"), "document": {
                "class": reference("class", "k"), "school": reference("org", "s"),
                "user": reference("user", &format!("u{}", n - 1)), "role": "student" } }),
        })
        .collect();
    let written = batch(&server, json!(operations)).await.expect(200);
    assert_eq!(written.position(), before + 1_500);
    let keyed = [("idempotency-key", "again")];
    let body = json!({ "operations": operations });
    let again = send_with(&server, Method::POST, "batch", &keyed, &body).await.expect(200);
    assert_eq!((again.position(), outcomes(&again)), (before + 1_500, vec!["unchanged"; 1_000]));
    assert_eq!(send_with(&server, Method::POST, "batch", &keyed, &body).await, again);
    assert_verified(&server.url);
}
