//! Imports are planned, looked at and decided on.

mod commands;
mod good_rows;
mod kills;
mod reverts;

use serde_json::{Value, json};

use crate::imports::ORGS;
use crate::support::{
    EVERYTHING, Server, assert_verified, bulk, city, database, delta, open, put, run, set, tenant, token, until,
};

/// On a database of its own, with settings. Few records count, so that small sets pass thresholds.
pub async fn strict(settings: &[(&str, &str)]) -> Server {
    let url = database().await;
    assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
    Server::with(&url, &[&[("ROSTERHUB_IMPORTS_MIN_RECORDS", "1")], settings].concat())
}

/// A request below `/imports`, answered when the import rests: status and body.
pub async fn post(server: &Server, path: &str) -> (u16, Value) {
    post_as(server, &server.token, path).await
}

pub async fn post_as(server: &Server, token: &str, path: &str) -> (u16, Value) {
    let url = format!("{}/rosterhub/v1/imports/{path}", server.base);
    let response = server.http.post(url).bearer_auth(token).header("prefer", "wait=60").send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

pub async fn get(server: &Server, path: &str) -> (u16, Value) {
    let response = server.get(&format!("{}/rosterhub/v1/imports/{path}", server.base)).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

pub fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap_or_else(|| panic!("{job}"))
}

/// Approves the plan that the job has.
pub async fn approve(server: &Server, job: &Value) -> (u16, Value) {
    post(server, &format!("{}/approve?plan={}", id(job), job["plan"].as_str().unwrap_or_else(|| panic!("{job}")))).await
}

/// A bulk set of orgs with these names.
pub fn orgs(names: &[(&str, &str)]) -> Vec<u8> {
    let rows = names.iter().map(|(id, name)| format!("{id},,,{name},school,,\r\n")).collect::<String>();
    set(&[("orgs", "bulk", &format!("{ORGS}{rows}"))])
}

pub const FIVE: [(&str, &str); 5] = [("o1", "a"), ("o2", "b"), ("o3", "c"), ("o4", "d"), ("o5", "e")];

async fn head(server: &Server) -> i64 {
    open(&server.url).await.head(&tenant("midori")).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_plan_is_looked_at_before_anything_is_applied() {
    let server = Server::start().await;
    let job = server.hand_in(bulk(&city()), "?apply=never").await;
    assert_eq!((job["state"].as_str(), head(&server).await), (Some("planned"), 0), "{job}");
    let (status, plan) = get(&server, &format!("{}/plan", id(&job))).await;
    assert_eq!(
        (status, &plan["plan"], &plan["changes"], plan["plannedAt"].as_i64()),
        (200, &job["plan"], &job["changes"], Some(0))
    );
    // Everything but the sessions belongs to some org.
    let schools = plan["schools"].as_array().unwrap();
    for entity in ["org", "course", "class", "role", "user", "userProfile", "demographics", "enrollment"] {
        let sum: i64 = schools.iter().map(|s| s["changes"][entity]["created"].as_i64().unwrap_or(0)).sum();
        assert_eq!(Some(sum), job["changes"][entity]["created"].as_i64(), "{entity}: {plan}");
    }
    assert!(schools.iter().all(|s| s["name"].is_string() && s["changes"]["academicSession"].is_null()));
    let samples = plan["samples"].as_array().unwrap();
    assert!(samples.iter().any(|r| r["entity"] == "user" && r["file"] == "users.csv" && r["line"].as_i64() > Some(1)));

    // All of it, page by page; then what is of one school.
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let (_, page) = get(&server, &format!("{}/plan/records?limit=70{next}", id(&job))).await;
        seen.extend(page["records"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(place) => next = format!("&after={place}"),
            None => break,
        }
    }
    let all: i64 = job["changes"].as_object().unwrap().values().map(|c| c["created"].as_i64().unwrap()).sum();
    let mut keys: Vec<_> = seen.iter().map(|r| (r["entity"].to_string(), r["sourcedId"].to_string())).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((seen.len() as i64, keys.len() as i64), (all, all));
    let one = schools.iter().find(|s| s["changes"]["class"]["created"].as_i64() > Some(0)).unwrap();
    let path =
        format!("{}/plan/records?entity=class&kind=created&school={}", id(&job), one["school"].as_str().unwrap());
    let (_, page) = get(&server, &path).await;
    assert_eq!(page["records"].as_array().unwrap().len() as i64, one["changes"]["class"]["created"].as_i64().unwrap());
    assert_eq!(get(&server, &path.replace("created", "withdrawn")).await.1, json!({ "records": [] }));

    // Who may only hand sets in sees which members change, and no values.
    let narrow = token(&server.url, "midori", "import");
    let url = format!("{}/rosterhub/v1/imports/{}/plan/records?limit=1", server.base, id(&job));
    let page: Value = server.http.get(url).bearer_auth(narrow).send().await.unwrap().json().await.unwrap();
    let members = page["records"][0]["members"].as_array().unwrap();
    assert!(!members.is_empty() && members.iter().all(|m| m["after"].is_null() && m["name"].is_string()), "{page}");

    let (status, applied) = approve(&server, &job).await;
    assert_eq!(
        (status, applied["state"].as_str(), applied["approvedBy"].as_str()),
        (200, Some("completed"), Some("test"))
    );
    assert_eq!(applied["position"], json!(all));
    assert_eq!(get(&server, &format!("{}/plan/records", id(&job))).await.0, 409);
    assert_eq!(get(&server, &format!("{}/plan", id(&job))).await.1["samples"], json!([]));
    // The same file plans nothing.
    let again = server.hand_in(bulk(&city()), "?apply=never").await;
    let nothing = |c: &Value| ["created", "changed", "restored", "withdrawn"].iter().all(|kind| c[kind] == 0);
    assert!(again["changes"].as_object().unwrap().values().all(nothing), "{again}");
    assert_eq!(approve(&server, &again).await.1["position"], applied["position"]);
    assert_verified(&server.url);
}

#[tokio::test]
async fn what_changes_is_shown_member_by_member() {
    let server = strict(&[]).await;
    server.import(orgs(&FIVE)).await;
    let job = server.hand_in(orgs(&[&FIVE[..3], &[("o4", "new"), ("o6", "f")]].concat()), "?apply=never").await;
    let (_, page) = get(&server, &format!("{}/plan/records", id(&job))).await;
    let of = |kind: &str| page["records"].as_array().unwrap().iter().find(|r| r["kind"] == kind).unwrap().clone();
    assert_eq!(of("changed")["members"], json!([{ "name": "name", "before": "d", "after": "new" }]));
    assert_eq!((of("changed")["line"].as_i64(), of("withdrawn")["line"].as_i64()), (Some(5), None));
    assert_eq!(of("withdrawn")["sourcedId"], "o5");
    assert!(of("withdrawn")["members"].as_array().unwrap().contains(&json!({ "name": "name", "before": "e" })));
    assert!(of("created")["members"].as_array().unwrap().contains(&json!({ "name": "name", "after": "f" })));
}

#[tokio::test]
async fn an_import_that_withdraws_or_changes_much_waits() {
    let server = strict(&[]).await;
    let first = server.hand_in(orgs(&FIVE), "").await;
    assert_eq!(
        (first["state"].as_str(), &first["thresholds"]),
        (Some("completed"), &json!([])),
        "a first import never waits"
    );
    let changed: Vec<(&str, &str)> = FIVE.iter().map(|(id, _)| (*id, "x")).collect();
    for (set, kind, records) in [(orgs(&FIVE[..4]), "withdrawn", 1), (orgs(&changed), "changed", 5)] {
        let job = server.hand_in(set, "").await;
        assert_eq!((job["state"].as_str(), job["position"].as_i64()), (Some("held"), None), "{job}");
        let limit = if kind == "changed" { 75.0 } else { 10.0 };
        let board = json!({ "entity": "org", "kind": kind, "records": records, "active": 5, "limit": limit });
        assert_eq!(job["thresholds"][0], board);
        // Each org is a school of its own.
        assert_eq!(job["thresholds"].as_array().unwrap().len() as i64, 1 + records);
        assert!(job["expiresAt"].is_string() && job["finishedAt"].is_null());
        let (status, gone) = post(&server, &format!("{}/discard", id(&job))).await;
        assert_eq!((status, gone["state"].as_str()), (200, Some("discarded")));
        assert!(gone["failure"].as_str().unwrap().contains("test"));
    }
    assert_eq!(head(&server).await, 5);
    assert_eq!(left(&server).await, 0);
    // A delta is measured against what stands.
    let gone = format!("{ORGS}o1,tobedeleted,2026-04-01T00:00:00.000Z,a,school,,\r\n");
    let job = server.hand_in(set(&[("orgs", "delta", &gone)]), "").await;
    assert_eq!((job["state"].as_str(), &job["thresholds"][0]["active"]), (Some("held"), &json!(5)), "{job}");
    assert_eq!(approve(&server, &job).await.1["state"], "completed");
    // As many records as may go without a question go.
    let lax = Server::on(&server.url);
    assert_eq!(lax.hand_in(orgs(&FIVE[3..]), "").await["state"], "completed");
    assert_verified(&server.url);
}

/// Of one job.
pub const TABLES: i64 = 4;

/// Staging tables that are there.
pub async fn left(server: &Server) -> i64 {
    let log = open(&server.url).await;
    sqlx::query_scalar("select count(*) from pg_tables where schemaname = 'staging'")
        .fetch_one(log.db().pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn decisions_that_do_not_fit_are_refused() {
    let server = strict(&[]).await;
    let done = server.import(orgs(&FIVE)).await;
    let held = server.hand_in(orgs(&FIVE[..4]), "").await;
    let (done, here) = (id(&done), id(&held));
    let none = "00000000-0000-7000-8000-000000000000";
    let plan = held["plan"].as_str().unwrap();
    for (path, status, code) in [
        (format!("{none}/approve?plan={plan}"), 404, "not_found"),
        (format!("{none}/discard"), 404, "not_found"),
        (format!("{none}/cancel"), 404, "not_found"),
        (format!("{none}/revert"), 404, "not_found"),
        (format!("x/approve?plan={plan}"), 400, "bad_request"),
        (format!("{here}/approve"), 400, "bad_request"),
        (format!("{here}/approve?plan=x"), 400, "bad_request"),
        (format!("{here}/approve?plan={plan}&conflict=keep"), 400, "bad_request"),
        (format!("{here}/approve?plan={plan}&conflicts=maybe"), 400, "bad_request"),
        (format!("{here}/approve?plan={none}"), 409, "other_plan"),
        (format!("{here}/cancel"), 409, "wrong_state"),
        (format!("{here}/revert"), 409, "wrong_state"),
        (format!("{here}/discard?why=x"), 400, "bad_request"),
        (format!("{done}/approve?plan={plan}"), 409, "wrong_state"),
        (format!("{done}/discard"), 409, "wrong_state"),
        (format!("{done}/cancel"), 409, "wrong_state"),
        (format!("{done}/revert?apply=soon"), 400, "bad_request"),
    ] {
        let (found, body) = post(&server, &path).await;
        assert_eq!((found, body["error"]["code"].as_str()), (status, Some(code)), "{path}: {body}");
    }
    for (path, status) in [
        (format!("{none}/plan"), 404),
        (format!("{none}/plan/records"), 404),
        (format!("{done}/plan/records"), 409),
        (format!("{here}/plan/records?entity=planet"), 400),
        (format!("{here}/plan/records?kind=eaten"), 400),
        (format!("{here}/plan/records?after=org"), 400),
        (format!("{here}/plan/records?after=planet:x"), 400),
        (format!("{here}/plan/records?limit=-1"), 400),
        (format!("{here}/plan/records?scool=o1"), 400),
    ] {
        assert_eq!(get(&server, &path).await.0, status, "{path}");
    }
    let url = format!("{}/rosterhub/v1/imports?aply=never", server.base);
    let misspelled = server.http.post(url).bearer_auth(&server.token).body(orgs(&FIVE)).send().await.unwrap();
    assert_eq!(misspelled.status(), 400);
    // Another board's import is not there, whatever is asked of it.
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = token(&server.url, "aoba", EVERYTHING);
    for path in [format!("approve?plan={plan}"), "discard".into(), "cancel".into(), "revert".into()] {
        assert_eq!(post_as(&server, &other, &format!("{here}/{path}")).await.0, 404, "{path}");
    }
    let url = format!("{}/rosterhub/v1/imports/{here}/plan/records", server.base);
    assert_eq!(server.http.get(url).bearer_auth(&other).send().await.unwrap().status(), 404);
    let reader = token(&server.url, "midori", "roster.readonly");
    assert_eq!(post_as(&server, &reader, &format!("{here}/discard")).await.0, 403);
    assert_eq!(approve(&server, &held).await.1["state"], "completed", "none of that has done anything");
}

#[tokio::test]
async fn a_second_person_approves_where_the_board_wants_it() {
    let server = strict(&[("ROSTERHUB_IMPORTS_SECOND_APPROVER", "true")]).await;
    let held = server.hand_in(orgs(&FIVE), "?apply=never").await;
    let (status, body) = approve(&server, &held).await;
    assert_eq!((status, body["error"]["code"].as_str()), (403, Some("same_client")));
    let second = token(&server.url, "midori", "import");
    let path = format!("{}/approve?plan={}", id(&held), held["plan"].as_str().unwrap());
    assert_eq!(post_as(&server, &second, &path).await.1["state"], "completed");
}

#[tokio::test]
async fn a_plan_on_a_roster_that_moved_is_made_anew() {
    let server = strict(&[]).await;
    server.import(orgs(&FIVE)).await;
    let held = server.hand_in(orgs(&FIVE[..4]), "").await;
    // A change elsewhere leaves the plan as it is.
    let session = json!({ "title": "2026", "type": "schoolYear", "startDate": "2026-04-01", "endDate": "2027-03-31", "schoolYear": "2027" });
    put(&server, "academicSessions/y", session).await;
    let other = server.hand_in(orgs(&[&FIVE[1..], &[("o6", "f")]].concat()), "").await;
    assert_eq!(other["state"], "held");
    assert_eq!(approve(&server, &held).await.1["state"], "completed");
    // The other one is another now: o5 is gone already and comes back.
    let (status, again) = approve(&server, &other).await;
    assert_eq!((status, again["state"].as_str(), &again["approvedBy"]), (200, Some("held"), &Value::Null), "{again}");
    assert_ne!(again["plan"], other["plan"]);
    assert_eq!((&again["difference"]["added"], &again["difference"]["gone"]), (&json!(1), &json!(0)));
    assert_eq!(again["difference"]["before"], other["changes"]);
    assert_eq!(again["changes"]["org"]["restored"], 1);
    assert_eq!(approve(&server, &other).await.1["error"]["code"], "other_plan");
    assert_eq!(approve(&server, &again).await.1["state"], "completed");
    assert_verified(&server.url);
}

#[tokio::test]
async fn plans_that_wait_outlive_the_server_and_take_no_place() {
    let mut server = strict(&[]).await;
    server.import(orgs(&FIVE)).await;
    let held = server.hand_in(orgs(&FIVE[..4]), "").await;
    let planned = server.hand_in(orgs(&FIVE[..3]), "?apply=never").await;
    server.kill();
    let narrow = [("ROSTERHUB_MAX_IMPORTS", "1"), ("ROSTERHUB_MAX_QUEUED_IMPORTS", "0")];
    let server = Server::with(&server.url, &narrow);
    assert_eq!(run(&server.url, &["tenant", "list"]).0, 0);
    for job in [&held, &planned] {
        assert_eq!(get(&server, id(job)).await.1["state"], job["state"]);
        assert_eq!(get(&server, &format!("{}/plan/records", id(job))).await.0, 200);
    }
    let log = open(&server.url).await;
    let holders = "select count(*) from pg_locks where locktype = 'advisory'
                    and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(sqlx::query_scalar::<_, i64>(holders).fetch_one(log.db().pool()).await.unwrap(), 0);
    assert_eq!(server.hand_in(orgs(&FIVE), "").await["state"], "completed");
    assert_eq!(approve(&server, &held).await.1["state"], "completed");
    // Nobody decided on the other one in time.
    let log = open(&server.url).await;
    let mut conn = log.db().acquire(&tenant("midori")).await.unwrap();
    sqlx::query("update import_jobs set expires_at = now() - interval '1 second' where state = 'planned'")
        .execute(&mut *conn)
        .await
        .unwrap();
    assert_eq!(approve(&server, &planned).await.1["error"]["code"], "wrong_state");
    let (_, gone) = get(&server, id(&planned)).await;
    assert_eq!(gone["state"], "discarded");
    assert!(gone["failure"].as_str().unwrap().starts_with("expired"), "{gone}");
    assert_eq!(left(&server).await, 0);
}

#[tokio::test]
async fn an_import_that_has_not_begun_to_apply_can_be_cancelled() {
    let server = strict(&[("ROSTERHUB_MAX_IMPORTS", "1")]).await;
    let log = open(&server.url).await;
    let mut lock = log.db().pool().begin().await.unwrap();
    sqlx::query("lock table orgs in access exclusive mode").execute(&mut *lock).await.unwrap();
    let url = format!("{}/rosterhub/v1/imports", server.base);
    let hand_in = async || -> Value {
        server.http.post(&url).bearer_auth(&server.token).body(orgs(&FIVE)).send().await.unwrap().json().await.unwrap()
    };
    let (planning, queued) = (hand_in().await, hand_in().await);
    until("it plans", async || get(&server, id(&planning)).await.1["state"] == "planning").await;
    for job in [&queued, &planning] {
        let url = format!("{url}/{}/cancel", id(job));
        let cancelled: Value =
            server.http.post(url).bearer_auth(&server.token).send().await.unwrap().json().await.unwrap();
        assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
        assert!(cancelled["finishedAt"].is_string());
    }
    lock.rollback().await.unwrap();
    assert_eq!(server.import(orgs(&FIVE)).await["state"], "completed");
    until("nothing is left", async || left(&server).await == 0).await;
    for job in [&queued, &planning] {
        assert_eq!(get(&server, id(job)).await.1["state"], "cancelled");
    }
    // One that applies goes on.
    let lock = log.begin(&tenant("midori")).await.unwrap();
    let applying = hand_in().await;
    until("it applies", async || get(&server, id(&applying)).await.1["state"] == "applying").await;
    assert_eq!(post(&server, &format!("{}/cancel", id(&applying))).await.1["error"]["code"], "wrong_state");
    drop(lock);
    until("it ends", async || get(&server, id(&applying)).await.1["state"] == "completed").await;
}

#[tokio::test]
async fn events_name_the_import_its_row_and_who_approved() {
    let server = Server::start().await;
    let job = server.hand_in(bulk(&city()), "?apply=never").await;
    approve(&server, &job).await;
    server.import(delta(&city(), 20.0)).await;
    let auditor = token(&server.url, "midori", &format!("{EVERYTHING},audit"));
    let query = "{ changes(first: 1, types: [org]) { nodes { cause { import file line mapping approvedBy reverts client } } } }";
    let body = json!({ "query": query });
    let request = server.http.post(format!("{}/graphql", server.base)).json(&body);
    let answer: Value = request.try_clone().unwrap().bearer_auth(auditor).send().await.unwrap().json().await.unwrap();
    let cause = &answer["data"]["changes"]["nodes"][0]["cause"];
    let expected = json!({
        "import": job["id"], "file": "orgs.csv", "line": cause["line"], "mapping": job["edition"],
        "approvedBy": "test", "reverts": null, "client": "test"
    });
    assert_eq!(*cause, expected, "{answer}");
    assert!(cause["line"].as_i64() > Some(1));
    let answer: Value = request.bearer_auth(&server.token).send().await.unwrap().json().await.unwrap();
    assert!(answer["errors"].is_array(), "{answer}");
}
