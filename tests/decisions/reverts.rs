//! Imports are taken back.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{FIVE, approve, get, id, orgs, post, strict};
use crate::imports::ORGS;
use crate::support::{Server, assert_verified, bulk, city, delta, open, patch, put, set, tenant};

/// Every read model's rows as they stand, without what a record that comes back cannot have again.
async fn rows(server: &Server) -> BTreeMap<(&'static str, String), (String, String)> {
    let log = open(&server.url).await;
    let mut conn = log.db().acquire(&tenant("midori")).await.unwrap();
    let mut rows = BTreeMap::new();
    for table in log.projections().names().filter(|table| *table != "lineage") {
        let sql = format!(
            "select sourced_id, status, regexp_replace(doc, '\"dateLastModified\":\"[^\"]*\"', '') from {table}"
        );
        for (id, status, doc) in
            sqlx::query_as::<_, (String, String, String)>(&sql).fetch_all(&mut *conn).await.unwrap()
        {
            rows.insert((table, id), (status, doc));
        }
    }
    rows
}

/// What was there before is there again; what was not is to be deleted.
fn assert_back(
    before: &BTreeMap<(&'static str, String), (String, String)>,
    after: &BTreeMap<(&'static str, String), (String, String)>,
) {
    for (key, row) in after {
        match before.get(key) {
            Some(earlier) => assert_eq!(row, earlier, "{key:?}"),
            None => assert_eq!(row.0, "tobedeleted", "{key:?}"),
        }
    }
    assert!(before.keys().all(|key| after.contains_key(key)));
}

async fn revert(server: &Server, job: &Value, parameters: &str) -> Value {
    let (status, body) = post(server, &format!("{}/revert{parameters}", id(job))).await;
    assert_eq!(status, 200, "{body}");
    body
}

#[tokio::test]
async fn an_import_is_taken_back_and_so_is_that() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let before = rows(&server).await;
    let change = server.import(delta(&city(), 20.0)).await;
    let between = rows(&server).await;
    assert_ne!(before, between);
    let back = revert(&server, &change, "?apply=always").await;
    assert_eq!(
        (back["state"].as_str(), back["kind"].as_str(), &back["reverts"]),
        (Some("completed"), Some("revert"), &change["id"]),
        "{back}"
    );
    assert_back(&before, &rows(&server).await);
    let forth = revert(&server, &back, "?apply=always").await;
    assert_eq!(forth["state"], "completed", "{forth}");
    assert_eq!(between, rows(&server).await);
    assert_eq!(revert(&server, &forth, "?apply=always").await["state"], "completed");
    assert_back(&before, &rows(&server).await);
    assert_verified(&server.url);
    // History stays.
    let log = open(&server.url).await;
    let head = log.head(&tenant("midori")).await.unwrap().unwrap();
    let event = log.read(&tenant("midori"), head - 1, 1).await.unwrap().remove(0);
    let cause: Value = serde_json::from_str(event.metadata.get()).unwrap();
    assert_eq!((&cause["reverts"], cause["file"].is_null()), (&forth["id"], true), "{cause}");
    // What changed nothing cannot be taken back.
    let (_, nothing) = (server.import(delta(&city(), 20.0)).await, server.import(delta(&city(), 20.0)).await);
    assert_eq!(post(&server, &format!("{}/revert", id(&nothing))).await.1["error"]["code"], "nothing_to_revert");
}

#[tokio::test]
async fn a_record_withdrawn_with_other_content_has_that_again() {
    let server = strict(&[]).await;
    server.import(orgs(&FIVE)).await;
    server.import(orgs(&FIVE[..4])).await;
    let before = rows(&server).await;
    let back = server.import(orgs(&[&FIVE[..4], &[("o5", "another")]].concat())).await;
    assert_eq!(back["changes"]["org"]["restored"], 1);
    let taken = revert(&server, &back, "?apply=always").await;
    assert_eq!(taken["state"], "completed", "{taken}");
    assert_eq!(before, rows(&server).await);
    assert_eq!(revert(&server, &taken, "?apply=always").await["state"], "completed");
    assert_eq!(server.read("orgs/o5").await["org"]["name"], "another");
    assert_verified(&server.url);
}

#[tokio::test]
async fn records_that_changed_since_are_kept_or_restored_as_somebody_decides() {
    for choice in ["keep", "restore"] {
        let server = Server::start().await;
        server.import(orgs(&FIVE)).await;
        let renamed: Vec<(&str, &str)> = FIVE.iter().map(|(id, _)| (*id, "x")).collect();
        let change = server.import(orgs(&renamed)).await;
        patch(&server, "orgs/o2", json!({ "name": "later" })).await;
        let held = revert(&server, &change, "?apply=always").await;
        assert_eq!((held["state"].as_str(), held["conflicts"].as_i64()), (Some("held"), Some(1)), "{held}");
        let (_, page) = get(&server, &format!("{}/plan/records?conflicts=true", id(&held))).await;
        let record = &page["records"][0];
        assert_eq!((page["records"].as_array().unwrap().len(), &record["sourcedId"]), (1, &json!("o2")));
        assert_eq!(record["later"][0]["changed"], json!(["name"]));
        assert_eq!(record["members"], json!([{ "name": "name", "before": "later", "after": "b" }]));
        assert_eq!(approve(&server, &held).await.1["error"]["code"], "undecided_conflicts");
        let path = format!("{}/approve?plan={}&conflicts={choice}", id(&held), held["plan"].as_str().unwrap());
        let (_, done) = post(&server, &path).await;
        assert_eq!(done["state"], "completed", "{done}");
        let names = server.read("orgs").await["orgs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>();
        let second = if choice == "keep" { "later" } else { "b" };
        assert_eq!(names, ["a", second, "c", "d", "e"]);
        // Chosen beforehand, it need not wait.
        patch(&server, "orgs/o3", json!({ "name": "later" })).await;
        let again = revert(&server, &done, &format!("?apply=always&conflicts={choice}")).await;
        assert_eq!(again["state"], "completed", "{again}");
        assert_eq!(server.read("orgs/o3").await["org"]["name"], if choice == "keep" { "later" } else { "x" });
        assert_verified(&server.url);
    }
}

#[tokio::test]
async fn what_later_records_refer_to_is_not_taken_back() {
    let server = Server::start().await;
    let change = server.import(orgs(&FIVE)).await;
    let child = format!("{ORGS}s1,active,2026-04-01T00:00:00.000Z,n,school,,o3\r\n");
    assert_eq!(server.import(set(&[("orgs", "delta", &child)])).await["state"], "completed");
    put(&server, "courses/c", json!({ "title": "t", "courseCode": "", "org": { "sourcedId": "o1", "type": "org" } }))
        .await;
    let refused = revert(&server, &change, "?apply=always").await;
    assert_eq!((refused["state"].as_str(), refused["errors"].as_i64()), (Some("failed"), Some(2)), "{refused}");
    let errors = server.errors(&refused).await;
    let told: Vec<(&str, &str, &str)> = errors
        .iter()
        .map(|e| (e["code"].as_str().unwrap(), e["column"].as_str().unwrap(), e["value"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("still_referred_to", "parentSourcedId", "s1 → o3"), ("still_referred_to", "orgSourcedId", "c → o1")]
    );
    assert_eq!(super::left(&server).await, 0);
}

/// Random imports, taken back in the order opposite to theirs, lead through the same rosters.
#[tokio::test]
async fn reverts_lead_back_through_the_same_rosters() {
    let server = strict(&[]).await;
    let mut random = 7_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (mut states, mut jobs) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let rows_of = |next: &mut dyn FnMut(u64) -> u64, delta: bool| {
            let mut text = ORGS.to_owned();
            for n in 0..12 {
                let (there, name, status) = (next(3) > 0, next(3), if next(4) == 0 { "tobedeleted" } else { "active" });
                let stamp = if delta { format!("{status},2026-04-01T00:00:00.000Z") } else { ",".to_owned() };
                if there || n == 0 {
                    text += &format!("o{n},{stamp},n{name},school,,\r\n");
                }
            }
            text
        };
        let is_delta = next(2) == 0;
        let text = rows_of(&mut next, is_delta);
        states.push(rows(&server).await);
        let job = server.import(set(&[("orgs", if is_delta { "delta" } else { "bulk" }, &text)])).await;
        assert_eq!(job["state"], "completed", "{job}");
        jobs.push(job);
    }
    while let (Some(state), Some(job)) = (states.pop(), jobs.pop()) {
        let (status, back) = post(&server, &format!("{}/revert?apply=always&conflicts=restore", id(&job))).await;
        if status == 409 {
            assert_eq!(back["error"]["code"], "nothing_to_revert");
            continue;
        }
        assert_eq!(back["state"], "completed", "{back}");
        assert_back(&state, &rows(&server).await);
    }
    assert_verified(&server.url);
}
