//! Past rosters, made anew from the events alone, are what the hub answers as of then.

use std::path::Path;

use serde_json::{Value, json};

use super::auditing;
use crate::decisions::post;
use crate::exports::histories::{Dice, step};
use crate::support::{
    Server, admin_url, bulk, city, database, delta, json as command, open, put, rosterhub, run, superuser, tenant,
    token,
};

const COLLECTIONS: [&str; 7] =
    ["academicSessions", "orgs", "courses", "classes", "users", "enrollments", "demographics"];

/// Every record as of a position, without the address of the server.
async fn lists(server: &Server, position: i64) -> Vec<String> {
    let mut lists = Vec::new();
    for collection in COLLECTIONS {
        let answer = server.get(&server.oneroster(&format!("{collection}?limit=5000&asOf={position}"))).await;
        assert_eq!(answer.status(), 200, "{collection}");
        lists.push(answer.text().await.unwrap().replace(&server.base, ""));
    }
    lists
}

/// The set that is replayed.
fn set(url: &str, position: i64, dir: &Path, args: &[&str]) -> Vec<u8> {
    let path = dir.join("set.zip");
    let at = position.to_string();
    let args = [&["replay", "--tenant", "midori", "--as-of", &at, "--out", path.to_str().unwrap()], args].concat();
    let (code, text) = run(url, &args);
    assert_eq!(code, 0, "{text}");
    std::fs::read(path).unwrap()
}

async fn export(server: &Server, position: i64) -> Vec<u8> {
    let url = format!("{}/rosterhub/v1/exports/oneroster.zip?asOf={position}", server.base);
    let answer = server.get(&url).await;
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap().to_vec()
}

async fn head(server: &Server) -> i64 {
    open(&server.url).await.head(&tenant("midori")).await.unwrap().unwrap()
}

/// Random histories: writes, sets, and imports that are taken back.
#[tokio::test(flavor = "multi_thread")]
async fn as_of_equals_replay_on_random_histories() {
    let dir = tempfile::tempdir().unwrap();
    let mut within = 0;
    for seed in [3, 17] {
        let mut dice = Dice(seed);
        let server = Server::start().await;
        put(&server, "orgs/s1", json!({ "name": "組", "type": "school", "identifier": "" })).await;
        let mut reverted = 0;
        for n in 0..40 {
            step(&server, &mut dice).await;
            if n % 6 == 5 {
                // A set changes much at once, and is taken back at times.
                let job = server.import(delta(&city(), 10.0 + n as f64)).await;
                let job = if job["state"] == "completed" { job } else { server.import(bulk(&city())).await };
                if dice.roll(2) == 0 {
                    let path = format!("{}/revert?apply=always&conflicts=restore", job["id"].as_str().unwrap());
                    reverted += usize::from(post(&server, &path).await.1["state"] == "completed");
                }
            }
        }
        assert!(reverted > 0, "seed {seed}");
        let head = head(&server).await;
        let positions = [0, dice.roll(head as u64) as i64, dice.roll(head as u64) as i64, head];
        for position in positions {
            let why = format!("seed {seed} at {position} of {head}");
            let into = database().await;
            let at = position.to_string();
            let made =
                command(&server.url, &["replay", "--tenant", "midori", "--as-of", &at, "--into", &into, "--verify"]);
            assert_eq!((&made["difference"], &made["position"]), (&Value::Null, &json!(position)), "{why}");
            let events = made["events"].as_i64().unwrap();
            assert!(events >= position && events <= head, "{why}: {made}");
            within += usize::from(events > position);
            let other = Server::on(&into);
            assert_eq!(lists(&other, position).await, lists(&server, position).await, "{why}");
            let first = set(&server.url, position, dir.path(), &["--verify"]);
            assert!(first == set(&server.url, position, dir.path(), &[]), "{why}");
            assert!(first == set(&into, position, dir.path(), &[]), "{why}");
            assert!(first == export(&server, position).await, "{why}");
        }
    }
    assert!(within > 0, "a position within a unit of work");
}

/// The rebuilt log is the same log: same positions, times and leaves, and it goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_log_has_the_same_tree_and_goes_on() {
    let mut server = auditing(Server::start().await);
    server.token = token(&server.url, "midori", &format!("{},audit,erase", crate::support::EVERYTHING));
    server.import(bulk(&city())).await;
    let user = server.read("students?limit=1").await["users"][0]["sourcedId"].as_str().unwrap().to_owned();
    let address = format!("{}/rosterhub/v1/erasures", server.base);
    let body = json!({ "sourcedId": user, "request": "r-1" });
    let erased = server.http.post(address).bearer_auth(&server.token).json(&body).send().await.unwrap();
    assert!(erased.status().is_success(), "{:?}", erased.text().await);
    let head = head(&server).await;
    let into = database().await;
    let at = head.to_string();
    let args = ["replay", "--tenant", "midori", "--as-of", &at, "--into", &into, "--verify"];
    let (code, text) = run(&server.url, &args);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("it is what the live database says"), "{text}");
    // Size and root of the tree stand in the second and third line of a checkpoint.
    let tree = |url: &str| {
        let output = rosterhub(url, &["audit", "checkpoint", "--tenant", "midori"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().skip(1).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(tree(&into), tree(&server.url));
    assert_eq!(tree(&into)[0], at);
    let other = Server::on(&into);
    put(&other, "orgs/new", json!({ "org": { "name": "new", "type": "school" } })).await;
    assert_eq!(crate::support::open(&into).await.head(&tenant("midori")).await.unwrap(), Some(head + 1));
    crate::support::assert_verified(&into);
    // A database that knows the board is not filled.
    let (code, text) = run(&server.url, &args);
    assert_eq!((code, text.contains("there is a tenant midori already")), (1, true), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_live_database_says_otherwise_is_named() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let then = head(&server).await;
    server.import(delta(&city(), 20.0)).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set.zip");
    let args =
        ["replay", "--tenant", "midori", "--as-of", &then.to_string(), "--out", path.to_str().unwrap(), "--verify"];
    assert_eq!(command(&server.url, &args)["difference"], Value::Null);
    let school = server.read("schools?limit=1").await["orgs"][0]["sourcedId"].as_str().unwrap().to_owned();
    let told = |what: &str, table: &str, id: &str| {
        let output = rosterhub(&server.url, &[&["--json"], &args[..]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = &made["difference"];
        assert_eq!((&found["what"], &found["table"], &found["sourcedId"]), (&json!(what), &json!(table), &json!(id)));
    };
    let mut hub = superuser(&server.url).await;
    let mut change = async |sql: &str| {
        assert!(sqlx::query(sql).bind(&school).execute(&mut hub).await.unwrap().rows_affected() == 1, "{sql}");
    };
    change("update orgs set name = name || 'x' where sourced_id = $1").await;
    told("different", "orgs", &school);
    change("delete from orgs where sourced_id = $1").await;
    told("missing", "orgs", &school);
    change(
        "insert into enrollments (tenant, sourced_id, since, sequence, status, date_last_modified, digest, role, doc)
         select 'midori', '!', 1, 1, 'active', now(), '', $1, '{}'",
    )
    .await;
    told("unexpected", "enrollments", "!");
    let (code, text) = run(&server.url, &args[..args.len() - 1]);
    assert_eq!(code, 0, "{text}"); // nobody asked
    for (at, problem) in
        [("999999", "beyond the head"), ("soon", "a log position or a time"), ("2999-01-01T00:00:00Z", "in the future")]
    {
        let (code, text) =
            run(&server.url, &["replay", "--tenant", "midori", "--as-of", at, "--out", path.to_str().unwrap()]);
        assert_eq!((code, text.contains(problem)), (1, true), "{text}");
    }
    assert_eq!(run(&server.url, &["replay", "--tenant", "midori", "--as-of", "1"]).0, 2);
    // One that may not be reached is told of without its password.
    let lost = admin_url(&server.url).replace("/test_", "/no_such_test_");
    let (code, text) = run(&server.url, &["replay", "--tenant", "midori", "--as-of", "1", "--into", &lost]);
    assert_eq!(code, 1, "{text}");
}
