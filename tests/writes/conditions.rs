//! Conditional writes, and writers that meet.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, patch, put, reference, role, seed, send, send_with};
use crate::support::{Server, assert_verified, open, tenant};

async fn patch_if(server: &Server, path: &str, condition: (&str, &str), body: Value) -> Answer {
    send_with(server, Method::PATCH, &format!("roster/{path}"), &[condition], &body).await
}

#[tokio::test]
async fn conditions_are_those_of_http() {
    let server = Server::start().await;
    seed(&server).await;
    let tag = patch(&server, "orgs/s", json!({})).await.etag().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'));
    let named = async |name: &str| json!({ "name": name });
    for (condition, status) in [
        (("if-match", "\"other\"".to_owned()), 412),
        (("if-match", format!("W/{tag}")), 412),
        (("if-none-match", tag.clone()), 412),
        (("if-none-match", format!("W/{tag}")), 412),
        (("if-none-match", "*".to_owned()), 412),
        (("if-match", "no tag".to_owned()), 400),
        (("if-match", format!("\"other\", {tag}")), 200),
        (("if-match", "*".to_owned()), 200),
        (("if-none-match", "\"other\"".to_owned()), 200),
    ] {
        let answer = patch_if(&server, "orgs/s", (condition.0, &condition.1), named("改").await).await;
        assert_eq!(answer.status, status, "{condition:?} {answer:?}");
        if status == 412 {
            assert_eq!(answer.body["error"]["code"], "precondition_failed");
        }
    }
    // The tag of before no longer fits.
    let stale = patch_if(&server, "orgs/s", ("if-match", &tag), named("再").await).await.expect(412);
    assert_eq!(stale.faults(), [("sourcedId", "precondition_failed")]);
    for method in [Method::PUT, Method::DELETE] {
        let body = if method == Method::PUT { server.read("orgs/s").await } else { Value::Null };
        send_with(&server, method, "roster/orgs/s", &[("if-match", &tag)], &body).await.expect(412);
    }
    // A record that is not there matches nothing; and not being there comes first where it must be.
    let org = json!({ "name": "x", "type": "school" });
    send_with(&server, Method::PUT, "roster/orgs/new", &[("if-match", "*")], &org).await.expect(412);
    patch_if(&server, "orgs/new", ("if-match", "*"), json!({})).await.expect(404);
    send_with(&server, Method::PUT, "roster/orgs/new", &[("if-none-match", "*")], &org).await.expect(201);
    send_with(&server, Method::PUT, "roster/orgs/new", &[("if-none-match", "*")], &org).await.expect(412);
    let posted = [("if-match", "\"x\"")];
    let with_id = json!({ "sourcedId": "newer", "name": "x", "type": "school" });
    send_with(&server, Method::POST, "roster/orgs", &posted, &with_id).await.expect(412);
    assert_verified(&server.url);
}

/// 32 writers with the same tag: each round exactly one wins, and the others are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_with_the_same_tag_one_wins() {
    let server = Arc::new(Server::start().await);
    seed(&server).await;
    // An org, and a user of whom only a role changes: its version moves although it has no event of its own.
    for (path, field) in [("orgs/s", "name"), ("users/t", "roles")] {
        let mut tag = patch(&server, path, json!({})).await.etag().to_owned();
        for round in 0..4 {
            let writers = (0..32).map(|writer| {
                let (server, tag) = (server.clone(), tag.clone());
                tokio::spawn(async move {
                    let value = match field {
                        "roles" => {
                            let mut role = role("primary", "teacher", "s");
                            role["beginDate"] = json!(format!("20{:02}-04-{:02}", 30 + round, 1 + writer % 28));
                            role["endDate"] = json!(format!("20{:02}-04-01", 50 + writer));
                            json!([role])
                        }
                        _ => json!(format!("学校{round}-{writer}")),
                    };
                    patch_if(&server, path, ("if-match", &tag), json!({ field: value })).await
                })
            });
            let answers: Vec<Answer> =
                futures::future::join_all(writers).await.into_iter().map(Result::unwrap).collect();
            let won: Vec<&Answer> = answers.iter().filter(|a| a.status == 200).collect();
            assert_eq!(won.len(), 1, "{path} round {round}: {answers:?}");
            assert!(answers.iter().all(|a| [200, 412].contains(&a.status)), "{answers:?}");
            let standing = patch(&server, path, json!({})).await;
            assert_eq!((&standing.body, &standing.etag), (&won[0].body, &won[0].etag));
            tag = won[0].etag().to_owned();
        }
    }
    assert_verified(&server.url);
}

/// Without a condition the last one wins, and no write is half another's: each adds its own key, none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost() {
    let server = Arc::new(Server::start().await);
    let before = seed(&server).await;
    let writers = (0..24).map(|writer| {
        let server = server.clone();
        tokio::spawn(async move {
            let change = json!({ "metadata": { format!("w{writer}"): "x" } });
            // A few attempts are made for the client; then it is told, and tries again.
            loop {
                let answer = patch(&server, "classes/k", change.clone()).await;
                match answer.status {
                    200 => return answer,
                    409 => assert_eq!(answer.body["error"]["code"], "conflict"),
                    _ => panic!("{answer:?}"),
                }
            }
        })
    });
    let answers = futures::future::join_all(writers).await;
    for (writer, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.unwrap().record()["metadata"][format!("w{writer}")], "x");
    }
    let class = server.read("classes/k").await;
    assert_eq!(class["class"]["metadata"].as_object().unwrap().len(), 25);
    assert_eq!(open(&server.url).await.head(&tenant("midori")).await.unwrap(), Some(before + 24));
    assert_verified(&server.url);
}

/// Writers of one user's roles meet on the user, though each role is a record of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_between_a_user_and_its_roles_hold_when_writers_meet() {
    let server = Arc::new(Server::start().await);
    seed(&server).await;
    for n in 0..12 {
        put(&server, &format!("orgs/o{n}"), json!({ "name": "x", "type": "school" })).await.expect(201);
    }
    let writers = (0..12).map(|n| {
        let server = server.clone();
        tokio::spawn(async move {
            // Each makes the user one with exactly two roles.
            let roles = json!([role("primary", "teacher", "s"), role("primary", "aide", &format!("o{n}"))]);
            loop {
                let answer = patch(&server, "users/u", json!({ "roles": roles })).await;
                match answer.status {
                    200 => return assert_eq!(answer.record()["roles"].as_array().unwrap().len(), 2),
                    409 => {}
                    _ => panic!("{answer:?}"),
                }
            }
        })
    });
    futures::future::join_all(writers).await.into_iter().for_each(Result::unwrap);
    assert_eq!(server.read("users/u").await["user"]["roles"].as_array().unwrap().len(), 2);

    // The same new record by many at once: one creates it.
    let creators = (0..16).map(|n| {
        let server = server.clone();
        tokio::spawn(async move {
            let roles = json!([role("primary", "student", "s")]);
            let user = json!({ "sourcedId": "one", "enabledUser": "true", "givenName": format!("{n}"), "familyName": "f",
                               "agents": [reference("user", "t")], "roles": roles });
            send(&server, Method::POST, "roster/users", user).await.status
        })
    });
    let statuses: Vec<u16> = futures::future::join_all(creators).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(statuses.iter().filter(|s| **s == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|s| **s == 409).count(), 15, "{statuses:?}");
    assert_eq!(server.read("users/one").await["user"]["roles"].as_array().unwrap().len(), 1);
    assert_verified(&server.url);
}
