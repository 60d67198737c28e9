//! Rows without errors are applied, when that is asked for.

use rosterhub::csv::edition::columns;
use rosterhub::roster::EntityType;
use serde_json::json;

use super::{get, id, strict};
use crate::imports::ORGS;
use crate::support::{Server, assert_verified, set};

const GOOD: &str = "?apply=always&onErrors=applyGoodRows";

fn header(kind: EntityType) -> String {
    columns(kind).into_iter().filter(|c| c.1).map(|c| c.0).collect::<Vec<_>>().join(",") + "\r\n"
}

/// A board of one school with these users, each with a role there.
fn board(users: &[&str], roles: &[&str]) -> Vec<u8> {
    let orgs = format!("{ORGS}s,,,n,school,,\r\n");
    let user = |id: &&str| format!("{id},,,true,{id},,n,n{}\r\n", ",".repeat(14));
    let role = |id: &&str| format!("r-{id},,,{id},primary,teacher,,,s,\r\n");
    let users = header(EntityType::User) + &users.iter().map(user).collect::<String>();
    let roles = header(EntityType::Role) + &roles.iter().map(role).collect::<String>();
    set(&[("orgs", "bulk", &orgs), ("users", "bulk", &users), ("roles", "bulk", &roles)])
}

async fn active(server: &Server, path: &str) -> Vec<String> {
    let list = server.read(path).await;
    let records = list.as_object().unwrap().values().next().unwrap().as_array().unwrap().clone();
    let active = records.iter().filter(|r| r["status"] == "active");
    active.map(|r| r["sourcedId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn rows_with_errors_are_left_out_with_those_that_rest_on_them() {
    let server = Server::start().await;
    let orgs = format!(
        "{ORGS}d,,,d,district,,\r\nbad,,,,school,,d\r\nchild,,,n,school,,bad\r\ngrandchild,,,n,school,,child\r\nfine,,,n,school,,d\r\n"
    );
    let refused = server.import(set(&[("orgs", "bulk", &orgs)])).await;
    assert_eq!((refused["state"].as_str(), refused["errors"].as_i64()), (Some("failed"), Some(1)), "the default");
    let job = server.hand_in(set(&[("orgs", "bulk", &orgs)]), GOOD).await;
    assert_eq!((job["state"].as_str(), job["errors"].as_i64()), (Some("completed"), Some(3)), "{job}");
    assert_eq!((&job["leftOut"], &job["notWithdrawn"]), (&json!({ "orgs": 3 }), &json!(["org"])));
    assert_eq!(active(&server, "orgs").await, ["d", "fine"]);
    let errors = server.errors(&job).await;
    assert_eq!(errors.iter().map(|e| e["line"].as_i64().unwrap()).collect::<Vec<_>>(), [3, 4, 5]);
    // A row left out is not absent, nor is anything else of its type.
    let fewer = format!("{ORGS}d,,,d,district,,\r\nbad,,,,school,,d\r\n");
    let job = server.hand_in(set(&[("orgs", "bulk", &fewer)]), GOOD).await;
    assert_eq!(
        (&job["changes"]["org"]["withdrawn"], &job["changes"]["org"]["unchanged"]),
        (&json!(0), &json!(1)),
        "{job}"
    );
    assert_eq!(active(&server, "orgs").await, ["d", "fine"]);
    // Both rows of an id are left out: nobody knows which one is meant.
    let twice = format!("{ORGS}d,,,d,district,,\r\nfine,,,x,school,,\r\nfine,,,y,school,,\r\n");
    let job = server.hand_in(set(&[("orgs", "bulk", &twice)]), GOOD).await;
    assert_eq!((&job["leftOut"]["orgs"], &job["changes"]["org"]["changed"]), (&json!(2), &json!(0)), "{job}");
    assert_verified(&server.url);
}

#[tokio::test]
async fn what_rests_on_a_row_left_out_is_not_withdrawn() {
    let server = strict(&[]).await;
    assert_eq!(server.import(board(&["u1", "u2", "u3"], &["u1", "u2", "u3"])).await["state"], "completed");
    // u2's row is bad; u3 and its role are absent. Without u3 being withdrawn, its role stays.
    let job = server.hand_in(board(&["u1", "u 2"], &["u1"]), GOOD).await;
    assert_eq!((job["state"].as_str(), &job["leftOut"]), (Some("completed"), &json!({ "users": 1 })), "{job}");
    assert_eq!(job["notWithdrawn"], json!(["role", "user"]));
    assert_eq!(active(&server, "users").await, ["u1", "u2", "u3"]);
    assert!(
        server.read("users").await["users"]
            .as_array()
            .unwrap()
            .iter()
            .all(|u| u["roles"].as_array().unwrap().len() == 1)
    );
    // A bad role leaves out a new user that has no other one.
    let job = server.hand_in(board(&["u1", "u2", "u3", "u4", "u5"], &["u1", "u2", "u3", "u4", "u 5"]), GOOD).await;
    assert_eq!(job["leftOut"], json!({ "roles": 1, "users": 1 }), "{job}");
    assert_eq!(active(&server, "users").await, ["u1", "u2", "u3", "u4"]);
    // Whole again, it withdraws.
    let job = server.import(board(&["u1"], &["u1"])).await;
    assert_eq!((job["state"].as_str(), &job["notWithdrawn"]), (Some("completed"), &json!([])), "{job}");
    assert_eq!(active(&server, "users").await, ["u1"]);
    assert_verified(&server.url);
}

#[tokio::test]
async fn errors_that_are_none_of_a_row_still_refuse_the_set() {
    let server = Server::start().await;
    for zip in [
        b"not a zip".to_vec(),
        set(&[("orgs", "bulk", ORGS)]),
        set(&[("orgs", "bulk", "sourcedId,name\r\na,b\r\n")]),
        set(&[("orgs", "bulk", &format!("{ORGS}o1,,,n,school,,\r\no2,,,\"n,school,,\r\n"))]),
    ] {
        let job = server.hand_in(zip, GOOD).await;
        assert_eq!((job["state"].as_str(), &job["changes"]), (Some("failed"), &json!({})), "{job}");
    }
    // What is left out shows in the plan before it is applied.
    let orgs = format!("{ORGS}o1,,,n,school,,\r\no2,,,,school,,\r\n");
    let job = server.hand_in(set(&[("orgs", "bulk", &orgs)]), "?apply=never&onErrors=applyGoodRows").await;
    assert_eq!((job["state"].as_str(), &job["leftOut"]["orgs"]), (Some("planned"), &json!(1)), "{job}");
    let (_, page) = get(&server, &format!("{}/plan/records", id(&job))).await;
    assert_eq!(page["records"].as_array().unwrap().len(), 1);
    assert_eq!(super::approve(&server, &job).await.1["state"], "completed");
    assert_eq!(active(&server, "orgs").await, ["o1"]);
}
