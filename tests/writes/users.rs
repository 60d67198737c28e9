//! A user is written together with its roles and profiles.

use rosterhub::log::RecordedEvent;
use serde_json::{Value, json};

use super::{delete, patch, put, reference, role, seed};
use crate::support::{Server, assert_verified, open, set, tenant};

/// `type/sourcedId event changed` of the events after a position.
async fn events(server: &Server, after: i64) -> Vec<(String, String, Vec<String>)> {
    let events: Vec<RecordedEvent> = open(&server.url).await.read(&tenant("midori"), after, 100).await.unwrap();
    assert!(events.windows(2).all(|e| e[0].unit == e[1].unit), "one unit of work");
    events
        .into_iter()
        .map(|e| {
            let payload: Value = serde_json::from_str(e.payload.get()).unwrap();
            let changed = payload["changed"].as_array().into_iter().flatten();
            let changed = changed.map(|c| c.as_str().unwrap().to_owned()).collect();
            (e.aggregate_type, e.event_type, changed)
        })
        .collect()
}

fn event(kind: &str, event: &str, changed: &[&str]) -> (String, String, Vec<String>) {
    (kind.to_owned(), event.to_owned(), changed.iter().map(|c| (*c).to_owned()).collect())
}

#[tokio::test]
async fn what_changes_of_a_user_is_what_is_recorded() {
    let server = Server::start().await;
    let mut at = seed(&server).await;
    put(&server, "orgs/s2", json!({ "name": "あおば小学校", "type": "school" })).await.expect(201);
    at += 1;
    let teacher = server.read("users/t").await["user"].clone();

    // The user alone.
    let written = patch(&server, "users/t", json!({ "familyName": "鈴木" })).await.expect(200);
    assert_eq!(events(&server, at).await, [event("user", "Recorded", &["familyName"])]);
    at = written.position();

    // A role alone: the same record, of another role type; the user's version moves with it.
    let roles = json!({ "roles": [{ "roleType": "secondary", "role": "teacher", "org": reference("org", "s"), "userProfile": "p" }] });
    let before = written.etag.clone();
    let written = patch(&server, "users/t", roles).await.expect(200);
    assert_eq!(events(&server, at).await, [event("role", "Recorded", &["roleType"])]);
    assert_ne!(written.etag, before);
    at = written.position();

    // A further one, and a date on the one that is there. The order says nothing.
    let mut dated = role("secondary", "teacher", "s");
    dated["userProfile"] = json!("p");
    dated["beginDate"] = json!("2026-04-01");
    let roles = json!([role("primary", "principal", "s2"), dated]);
    let written = patch(&server, "users/t", json!({ "roles": roles })).await.expect(200);
    assert_eq!(events(&server, at).await, [event("role", "Recorded", &[]), event("role", "Recorded", &["beginDate"])]);
    at = written.position();
    let reversed: Vec<Value> = written.record()["roles"].as_array().unwrap().iter().rev().cloned().collect();
    assert_eq!(patch(&server, "users/t", json!({ "roles": reversed })).await.expect(200).position(), at);

    // What is left out is withdrawn, and comes back as the same record.
    let written = patch(&server, "users/t", json!({ "roles": [roles[1]], "userProfiles": null })).await.expect(200);
    assert_eq!(events(&server, at).await, [event("role", "Withdrawn", &[]), event("userProfile", "Withdrawn", &[])]);
    assert!(written.record().get("userProfiles").is_none());
    at = written.position();
    let written =
        patch(&server, "users/t", json!({ "roles": roles, "userProfiles": teacher["userProfiles"] })).await.expect(200);
    assert_eq!(events(&server, at).await, [event("role", "Restored", &[]), event("userProfile", "Restored", &[])]);
    at = written.position();

    // A profile's own change, and the user's, in one unit.
    let mut profiles = teacher["userProfiles"].clone();
    profiles[0]["credentials"][0] = json!({ "type": "password", "username": "sensei2", "password": "never kept" });
    let change = json!({ "userProfiles": profiles, "email": "t@example.jp" });
    let written = patch(&server, "users/t", change).await.expect(200);
    assert_eq!(
        events(&server, at).await,
        [event("userProfile", "Recorded", &["username"]), event("user", "Recorded", &["email"])]
    );
    assert!(!written.body.to_string().contains("never kept"));
    let mut conn = open(&server.url).await.db().acquire(&tenant("midori")).await.unwrap();
    let kept: bool = sqlx::query_scalar("select exists (select from events where payload::text like '%never kept%')")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    assert!(!kept);
    assert_verified(&server.url);
}

#[tokio::test]
async fn a_user_is_withdrawn_alone_and_comes_back_whole() {
    let server = Server::start().await;
    let at = seed(&server).await;
    let before = server.read("users/t").await["user"].clone();
    let deleted = delete(&server, "users/t").await.expect(200);
    assert_eq!(events(&server, at).await, [event("user", "Withdrawn", &[])]);
    assert_eq!(deleted.record()["roles"], before["roles"]);
    let back = patch(&server, "users/t", json!({ "status": "active" })).await.expect(200);
    assert_eq!(events(&server, deleted.position()).await, [event("user", "Restored", &[])]);
    for member in ["roles", "userProfiles", "familyName", "status"] {
        assert_eq!(back.record()[member], before[member]);
    }

    // With other roles than before: these are what it comes back with.
    let at = delete(&server, "users/t").await.expect(200).position();
    let mut changed = before.clone();
    changed["roles"] = json!([role("primary", "aide", "b")]);
    let back = put(&server, "users/t", changed).await.expect(200);
    assert_eq!(back.record()["roles"].as_array().unwrap().len(), 1);
    assert_eq!(
        events(&server, at).await,
        [event("role", "Recorded", &[]), event("role", "Withdrawn", &[]), event("user", "Restored", &[])]
    );
    assert_verified(&server.url);
}

/// An import withdraws a user's roles along with it, by its own files; and roles can have metadata, which JSON does
/// not show.
#[tokio::test]
async fn users_from_an_import_are_written_like_others() {
    let server = Server::start().await;
    seed(&server).await;
    let users = "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,identifier,email,sms,phone,agentSourcedIds,grades,password,userMasterIdentifier,preferredGivenName,preferredMiddleName,preferredFamilyName,primaryOrgSourcedId,pronouns\r\n";
    let roles = "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,userProfileSourcedId,metadata.note\r\n";
    let time = "2026-04-01T00:00:00.000Z";
    let user = format!("{users}x,active,{time},true,x,,あ,い,,,,,,,,,,,,,,\r\n");
    let two =
        format!("{roles}r1,active,{time},x,primary,student,,,s,,kept\r\nr2,active,{time},x,secondary,aide,,,s,,\r\n");
    let job = server.import(set(&[("users", "delta", &user), ("roles", "delta", &two)])).await;
    assert_eq!(job["state"], "completed", "{job}");

    let read = server.read("users/x").await;
    let at = put(&server, "users/x", read.clone()).await.expect(200).position();
    assert_eq!(json!(at), job["position"]);
    // The metadata of a role stays when the role changes.
    let mut changed = read["user"].clone();
    changed["roles"][0]["beginDate"] = json!("2026-04-01");
    let at = put(&server, "users/x", changed).await.expect(200).position() - 1;
    assert_eq!(events(&server, at).await, [event("role", "Recorded", &["beginDate"])]);
    let log = open(&server.url).await;
    let payload = log.read(&tenant("midori"), at, 1).await.unwrap()[0].payload.get().to_owned();
    assert!(payload.contains(r#""metadata":{"note":"kept"}"#), "{payload}");

    // No import takes all its roles away, and no write does.
    let none = format!(
        "{roles}r1,tobedeleted,{time},x,primary,student,,,s,,\r\nr2,tobedeleted,{time},x,secondary,aide,,,s,,\r\n"
    );
    let job = server.import(set(&[("roles", "delta", &none)])).await;
    assert_eq!(job["state"], "failed", "{job}");
    let lacking = patch(&server, "users/x", json!({ "roles": [] })).await.expect(422);
    assert_eq!(lacking.faults(), [("roles", "user_without_role")]);
    assert_verified(&server.url);
}
