//! What is refused, and how it is told.

use reqwest::Method;
use serde_json::{Value, json};

use super::{answer, patch, put, reference, request, role, seed, send, send_with};
use crate::support::{Server, assert_verified, open, run, tenant, token};

#[tokio::test]
async fn all_faults_of_a_document_are_told_at_once() {
    let server = Server::start().await;
    let head = seed(&server).await;
    let document = json!({
        "enabledUser": 1, "givenName": "花\u{7}子", "email": ["x"], "colour": "red", "agents": [reference("user", "nobody")],
        "primaryOrg": reference("org", "b"), "grades": "P1",
        "roles": [
            role("primary", "pupil", "s"), role("primary", "student", "nowhere"), role("primary", "student", "s"),
        ],
        "metadata": { "jp.homeClass": "none" }
    });
    let refused = put(&server, "users/new", document).await.expect(422);
    assert_eq!(refused.body["error"]["code"], "rejected");
    assert_eq!(
        refused.faults(),
        [
            ("roles[0].role", "bad_enum"),
            ("enabledUser", "wrong_type"),
            ("email", "wrong_type"),
            ("colour", "unknown_member"),
            ("grades", "wrong_type"),
            ("givenName", "bad_text"),
            ("familyName", "missing_required"),
            ("roles[1].org.sourcedId", "dangling_reference"),
            ("agents[0].sourcedId", "dangling_reference"),
            ("metadata.jp.homeClass", "dangling_reference"),
        ]
    );
    let faults = refused.body["error"]["faults"].as_array().unwrap();
    assert_eq!(faults[0]["value"], "pupil");
    assert_eq!(faults[5]["value"], "***", "personal");
    assert!(faults.iter().all(|f| ["message", "messageJa", "mend", "mendJa"].iter().all(|text| f[text].is_string())));
    assert!(!refused.body.to_string().contains("花"));
    assert_eq!(open(&server.url).await.head(&tenant("midori")).await.unwrap(), Some(head));
    assert_eq!(server.get(&server.oneroster("users/new")).await.status(), 404);
    assert_verified(&server.url);
}

#[tokio::test]
async fn each_rule_has_its_code() {
    let server = Server::start().await;
    let head = seed(&server).await;
    let faults = async |path: &str, document: Value| {
        let refused = patch(&server, path, document).await.expect(422);
        refused.faults().into_iter().map(|(field, code)| format!("{field} {code}")).collect::<Vec<_>>().join(", ")
    };
    for (path, change, expected) in [
        ("academicSessions/y", json!({ "endDate": "2026-03-31" }), "endDate dates_reversed"),
        ("academicSessions/y", json!({ "startDate": "2026-02-30" }), "startDate bad_date"),
        ("academicSessions/y", json!({ "schoolYear": "令和8" }), "schoolYear bad_year"),
        ("academicSessions/y", json!({ "type": "week" }), "type bad_enum"),
        ("academicSessions/y", json!({ "parent": reference("academicSession", "y") }), "parent own_parent"),
        ("orgs/s", json!({ "parent": reference("org", "s") }), "parent own_parent"),
        ("orgs/s", json!({ "name": "" }), "name missing_required"),
        ("orgs/s", json!({ "name": "x".repeat(4001) }), "name too_long"),
        ("orgs/s", json!({ "sourcedId": "other" }), "sourcedId sourced_id_mismatch"),
        ("orgs/s", json!({ "parent": { "type": "academicSession" } }), "parent.type reference_type"),
        ("orgs/s", json!({ "parent": reference("org", "gone") }), "parent.sourcedId dangling_reference"),
        ("courses/c", json!({ "subjectCodes": ["1", "2"] }), "subjectCodes subject_codes"),
        ("courses/c", json!({ "schoolYear": reference("org", "s") }), "schoolYear.type reference_type"),
        ("classes/k", json!({ "school": reference("org", "b") }), "school.sourcedId reference_type"),
        ("classes/k", json!({ "terms": [] }), "terms missing_required"),
        (
            "classes/k",
            json!({ "terms": [reference("academicSession", "gone")] }),
            "terms[0].sourcedId dangling_reference",
        ),
        ("classes/k", json!({ "resources": [reference("resource", "r")] }), "resources unknown_member"),
        ("classes/k", json!({ "metadata": { "jp.specialNeeds": "no" } }), "metadata.jp.specialNeeds bad_boolean"),
        ("enrollments/e", json!({ "primary": "yes" }), "primary bad_boolean"),
        ("enrollments/e", json!({ "role": "student" }), "primary primary_not_teacher"),
        ("enrollments/e", json!({ "metadata": { "jp.shussekiNo": "five" } }), "metadata.jp.shussekiNo bad_integer"),
        ("demographics/u", json!({ "birthDate": "2019/05/01" }), "birthDate bad_date"),
        ("demographics/u", json!({ "asian": "maybe" }), "asian bad_boolean"),
        ("users/t", json!({ "roles": [] }), "roles user_without_role"),
        (
            "users/t",
            json!({ "roles": [{ "roleType": "primary", "role": "teacher", "org": reference("org", "s"), "userProfile": "none" }] }),
            "roles[0].userProfile dangling_reference",
        ),
        (
            "users/t",
            json!({ "roles": [role("primary", "teacher", "s"), role("primary", "aide", "s")] }),
            "roles[1].roleType second_primary_role",
        ),
        ("users/t", json!({ "primaryOrg": reference("org", "b") }), "primaryOrg.sourcedId primary_org_without_role"),
        (
            "users/u",
            json!({ "userProfiles": [{ "profileId": "p", "profileType": "t", "vendorId": "v",
                                               "credentials": [{ "type": "a", "username": "b" }] }] }),
            "userProfiles[0].profileId foreign_profile",
        ),
        (
            "users/u",
            json!({ "roles": [{ "roleType": "primary", "role": "student", "org": reference("org", "s"), "userProfile": "p" }] }),
            "roles[0].userProfile foreign_profile",
        ),
    ] {
        assert_eq!(faults(path, change.clone()).await, expected, "{path} {change}");
    }
    // Twice the same member, anywhere.
    let text = r#"{"org":{"name":"a","type":"school","parent":{"sourcedId":"b","sourcedId":"b"},"name":"b"}}"#;
    let json_type = [("content-type", "application/json")];
    let refused = answer(request(&server, Method::PUT, "roster/orgs/n", &json_type).body(text)).await.expect(422);
    assert_eq!(refused.faults(), [("parent.sourcedId", "duplicate_member"), ("name", "duplicate_member")]);
    // Nothing of all that has been done.
    assert_eq!(open(&server.url).await.head(&tenant("midori")).await.unwrap(), Some(head));
    // A reference of an extended type passes, as the standard has it.
    put(&server, "orgs/juku", json!({ "name": "塾", "type": "ext:juku" })).await.expect(201);
    patch(&server, "classes/k", json!({ "school": reference("org", "juku") })).await.expect(200);
    assert_verified(&server.url);
}

#[tokio::test]
async fn what_is_no_document_is_told_as_such() {
    let server = Server::start().await;
    let path = "roster/orgs/o";
    let raw = async |method: Method, kind: &str, body: &'static str| {
        answer(request(&server, method, path, &[("content-type", kind)]).body(body)).await
    };
    let malformed = raw(Method::PUT, "application/json", "{\n \"name\": \"x\",,}").await.expect(400);
    let error = &malformed.body["error"];
    assert_eq!((&error["code"], &error["line"], &error["column"]), (&json!("malformed_json"), &json!(2), &json!(14)));
    assert_eq!(raw(Method::PUT, "application/json", "").await.status, 400);

    let good = r#"{"name":"x","type":"school"}"#;
    for (method, kind, status) in [
        (Method::PUT, "text/plain", 415),
        (Method::PUT, "application/merge-patch+json", 415),
        (Method::PUT, "application/x-www-form-urlencoded", 415),
        (Method::PUT, "Application/JSON; charset=utf-8", 201),
        (Method::PATCH, "application/json-patch+json", 415),
        (Method::PATCH, "application/merge-patch+json", 200),
    ] {
        assert_eq!(raw(method.clone(), kind, good).await.status, status, "{method} {kind}");
    }
    assert_eq!(answer(request(&server, Method::PUT, path, &[]).body(good)).await.status, 415);
    let zipped = [("content-type", "application/json"), ("content-encoding", "gzip")];
    assert_eq!(answer(request(&server, Method::PUT, path, &zipped).body(good)).await.status, 415);

    let long = json!({ "name": "x", "type": "school", "metadata": { "x": "y".repeat(1 << 20) } });
    let large = put(&server, "orgs/o", long).await.expect(413);
    assert_eq!(large.body["error"]["code"], "too_large");

    for (method, path, allow) in [
        (Method::GET, "roster/orgs/o", "PUT,PATCH,DELETE"),
        (Method::POST, "roster/orgs/o", "PUT,PATCH,DELETE"),
        (Method::PUT, "roster/orgs", "POST"),
        (Method::GET, "batch", "POST"),
    ] {
        let response = request(&server, method.clone(), path, &[]).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.headers()["allow"].to_str().unwrap()),
            (405, allow),
            "{method} {path}"
        );
    }
    for path in ["roster/roles", "roster/userProfiles/p", "roster/schools", "roster/nothing"] {
        assert_eq!(send(&server, Method::POST, path, json!({})).await.status, 404, "{path}");
    }
    assert_verified(&server.url);
}

#[tokio::test]
async fn writing_needs_its_scope() {
    let server = Server::start().await;
    seed(&server).await;
    let status = async |scopes: &str, path: &str, body: Value| {
        let token = token(&server.url, "midori", scopes);
        let request = server.http.patch(format!("{}/rosterhub/v1/{path}", server.base)).bearer_auth(token);
        answer(request.json(&body)).await.status
    };
    assert_eq!(status("roster.readonly,roster-demographics.readonly,import", "roster/orgs/s", json!({})).await, 403);
    assert_eq!(status("write", "roster/orgs/s", json!({})).await, 200);
    assert_eq!(status("write", "roster/demographics/u", json!({})).await, 403);
    assert_eq!(status("write,roster-demographics.readonly", "roster/demographics/u", json!({})).await, 200);
    let anyone = server.http.patch(format!("{}/rosterhub/v1/roster/orgs/s", server.base)).json(&json!({}));
    assert_eq!(answer(anyone).await.status, 401);

    // In a batch as well.
    let token_of_writer = token(&server.url, "midori", "write");
    let operations = json!({ "operations": [{ "op": "delete", "collection": "demographics", "sourcedId": "u" }] });
    let batch = server.http.post(format!("{}/rosterhub/v1/batch", server.base)).bearer_auth(token_of_writer);
    assert_eq!(answer(batch.json(&operations)).await.status, 403);

    // Another board's records are not there.
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = token(&server.url, "aoba", "write");
    let theirs = server.http.patch(format!("{}/rosterhub/v1/roster/orgs/s", server.base)).bearer_auth(&other);
    assert_eq!(answer(theirs.json(&json!({}))).await.status, 404);
    let parent = json!({ "name": "x", "type": "school", "parent": reference("org", "b") });
    let theirs = server.http.put(format!("{}/rosterhub/v1/roster/orgs/s", server.base)).bearer_auth(&other);
    assert_eq!(answer(theirs.json(&parent)).await.expect(422).faults(), [("parent.sourcedId", "dangling_reference")]);
    let quiet = send_with(&server, Method::PATCH, "roster/orgs/s", &[], &json!({})).await;
    assert_eq!(quiet.status, 200);
    assert_verified(&server.url);
}
