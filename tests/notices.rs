//! Notices: what happened to the hub is told once, in order, with what happened; to whom may know it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::decisions::{FIVE, approve, id, orgs, post, strict};
use crate::support::{Server, bulk, city, client, open, run, tenant, token, until};

const ALL: &str = "import,export,webhooks,admin";

/// Notices of the client's tenant after a number, page by page to the end.
async fn told(server: &Server, token: &str, after: i64) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = after;
    loop {
        let url = format!("{}/rosterhub/v1/notices?after={after}&limit=7", server.base);
        let response = server.http.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let page: Value = response.json().await.unwrap();
        all.extend(page["notices"].as_array().unwrap().iter().cloned());
        assert!(page["next"].as_i64() >= Some(after), "{page}");
        after = page["next"].as_i64().unwrap();
        if page["next"] == page["head"] {
            return all;
        }
    }
}

/// All notices there are: numbered without a gap, at positions that never go back, as the catalogue describes them.
async fn all(server: &Server) -> Vec<Value> {
    let token = token(&server.url, "midori", ALL);
    let notices = told(server, &token, 0).await;
    let mut validators = BTreeMap::new();
    let mut position = 0;
    for (n, notice) in notices.iter().enumerate() {
        assert_eq!(notice["number"], n as i64 + 1);
        assert!(notice["position"].as_i64() >= Some(position), "{notice}");
        position = notice["position"].as_i64().unwrap();
        let name = notice["type"].as_str().unwrap();
        if !validators.contains_key(name) {
            let (status, event) = event_type(server, &token, name).await;
            assert_eq!(status, 200, "{name}");
            validators.insert(name, jsonschema::validator_for(&event["schema"]).unwrap());
        }
        let message = json!({
            "id": "msg_1", "type": name, "timestamp": notice["recordedAt"], "tenant": "midori", "sequence": 1,
            "position": position, "previousPosition": 0, "data": notice["data"],
        });
        let errors: Vec<String> = validators[name].iter_errors(&message).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0], "{message:#}");
    }
    notices
}

async fn event_type(server: &Server, token: &str, name: &str) -> (u16, Value) {
    let url = format!("{}/rosterhub/v1/webhooks/event-types/{name}", server.base);
    let response = server.http.get(url).bearer_auth(token).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn kinds(notices: &[Value]) -> Vec<&str> {
    notices.iter().map(|notice| notice["type"].as_str().unwrap()).collect()
}

/// Whatever was killed: what jobs have come to is told once, and nothing else is.
pub async fn agree_with_jobs(server: &Server) {
    let mut of_job: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for notice in all(server).await {
        let Some(job) = notice["data"]["import"]["id"].as_str() else { continue };
        let kind = notice["type"].as_str().unwrap().to_owned();
        *of_job.entry(job.to_owned()).or_default().entry(kind).or_default() += 1;
    }
    let list = server.get(&format!("{}/rosterhub/v1/imports?limit=1000", server.base)).await;
    let list: Value = list.json().await.unwrap();
    for job in list["imports"].as_array().unwrap() {
        let told = of_job.remove(id(job)).unwrap_or_default();
        let count = |kind: &str| told.get(kind).copied().unwrap_or_default();
        let (applied, failed) = match job["state"].as_str().unwrap() {
            "completed" => (1, 0),
            "failed" | "discarded" | "cancelled" => (0, 1),
            _ => (0, 0),
        };
        let reverted = if job["kind"] == "revert" { applied } else { 0 };
        let found = (count("import.applied"), count("import.failed"), count("import.reverted"));
        assert_eq!(found, (applied, failed, reverted), "{job}");
        let waits = ["planned", "held"].iter().any(|state| job["state"] == **state);
        assert!(!waits || count("import.planned") + count("import.held") > 0, "{job}");
    }
    assert!(of_job.is_empty(), "{of_job:?}");
}

#[tokio::test]
async fn imports_tell_what_they_did() {
    let server = strict(&[]).await;
    let first = server.import(bulk(&city())).await;
    let again = server.import(bulk(&city())).await;
    let told = all(&server).await;
    assert_eq!(kinds(&told), ["import.applied", "import.applied"]);

    let data = &told[0]["data"];
    assert_eq!((&told[0]["position"], &data["import"]["id"]), (&first["position"], &first["id"]));
    assert_eq!(data["positions"], json!({ "first": 1, "last": first["position"] }));
    assert_eq!(data["import"]["client"], "test");
    assert_eq!(data["import"]["modes"]["user"], "bulk");
    for (kind, changes) in first["changes"].as_object().unwrap() {
        let counts = &data["counts"][kind];
        let same = [("created", "created"), ("deleted", "withdrawn"), ("unchanged", "unchanged")];
        assert!(same.iter().all(|(of_notice, of_job)| counts[of_notice] == changes[of_job]), "{counts} {changes}");
    }
    // Each school, with its sum: the plan says the same by type.
    let (_, plan) = crate::decisions::get(&server, &format!("{}/plan", id(&first))).await;
    let of_plan = plan["schools"].as_array().unwrap();
    assert!(of_plan.len() > 2 && data["schoolsOmitted"] == 0);
    for (school, planned) in data["schools"].as_array().unwrap().iter().zip(of_plan) {
        assert_eq!(school["school"], planned["school"]);
        let each = planned["changes"].as_object().unwrap();
        assert_eq!(school["created"], each.values().map(|c| c["created"].as_i64().unwrap()).sum::<i64>());
        let types = school["types"].as_array().unwrap();
        assert!(types.iter().all(|kind| each[kind.as_str().unwrap()]["created"].as_i64() > Some(0)), "{school}");
    }
    assert_eq!(data["schools"].as_array().unwrap().len(), of_plan.len());
    let changes = server.query("{ changes(first: 1) { nodes { recordedAt } } }").await;
    let recorded = &changes["changes"]["nodes"][0]["recordedAt"];
    assert_eq!(data["time"], *recorded, "{changes}");

    // The same once more appends nothing, and is told of all the same.
    let data = &told[1]["data"];
    assert_eq!((&data["import"]["id"], &told[1]["position"]), (&again["id"], &told[0]["position"]));
    assert_eq!((&data["positions"], &data["time"], &data["schools"]), (&Value::Null, &Value::Null, &json!([])));
    // Nothing of a person, nor the name of a file.
    let text = told[0].to_string();
    assert!(!text.contains("givenName") && !text.contains("fileName"));
}

#[tokio::test]
async fn decisions_and_failures_are_told_with_their_reasons() {
    let server = strict(&[]).await;
    let done = server.import(orgs(&FIVE)).await;
    // Too much is withdrawn: held, then approved.
    let held = server.hand_in(orgs(&FIVE[..3]), "").await;
    assert_eq!(approve(&server, &held).await.1["state"], "completed");
    // Only planned, then discarded.
    let planned = server.hand_in(orgs(&FIVE), "?apply=never").await;
    assert_eq!(post(&server, &format!("{}/discard", id(&planned))).await.0, 200);
    // Taken back.
    let (_, revert) = post(&server, &format!("{}/revert?apply=always", id(&held))).await;
    assert_eq!(revert["state"], "completed", "{revert}");
    // Errors.
    let broken = server.hand_in(b"no zip".to_vec(), "").await;
    assert_eq!(broken["state"], "failed");
    // Cancelled while it waits for another of its board.
    let lock = open(&server.url).await.begin(&tenant("midori")).await.unwrap();
    let enter = async || {
        let url = format!("{}/rosterhub/v1/imports?apply=always", server.base);
        let request = server.http.post(url).bearer_auth(&server.token).body(orgs(&FIVE));
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let (runs, waits) = (enter().await, enter().await);
    assert_eq!(post(&server, &format!("{}/cancel", id(&waits))).await.0, 200);
    drop(lock);
    until("the other is applied", async || crate::decisions::get(&server, id(&runs)).await.1["state"] == "completed")
        .await;

    let told = all(&server).await;
    assert_eq!(
        kinds(&told),
        [
            "import.applied",
            "import.held",
            "import.applied",
            "import.planned",
            "import.failed",
            "import.applied",
            "import.reverted",
            "import.failed",
            "import.failed",
            "import.applied",
        ]
    );
    let data = |n: usize| &told[n]["data"];
    let jobs = [&done, &held, &held, &planned, &planned, &revert, &revert, &broken, &waits, &runs];
    for (n, job) in jobs.into_iter().enumerate() {
        assert_eq!(data(n)["import"]["id"], job["id"], "{}", told[n]);
    }
    assert_eq!((&data(1)["reasons"], &data(1)["plan"]), (&json!(["thresholds"]), &held["plan"]));
    let passed = &data(1)["thresholds"][0];
    assert_eq!(
        (&passed["recordType"], &passed["kind"], &passed["records"]),
        (&json!("org"), &json!("deleted"), &json!(2))
    );
    assert_eq!((&data(2)["approvedBy"], &data(2)["counts"]["org"]["deleted"]), (&json!("test"), &json!(2)));
    let deleted: Vec<_> =
        data(2)["schools"].as_array().unwrap().iter().map(|s| (&s["school"], &s["deleted"])).collect();
    assert_eq!(deleted, [(&json!("o4"), &json!(1)), (&json!("o5"), &json!(1))]);
    assert_eq!((&data(3)["reasons"], &data(3)["plannedAt"]), (&json!(["asked"]), &told[2]["position"]));
    let ended = |n: usize| (data(n)["state"].clone(), data(n)["reason"].clone(), data(n)["by"].clone());
    assert_eq!(ended(4), (json!("discarded"), json!("discarded"), json!("test")));
    assert_eq!((&data(5)["import"]["kind"], &data(5)["import"]["reverts"]), (&json!("revert"), &held["id"]));
    assert_eq!(data(5)["counts"]["org"]["restored"], 2);
    assert_eq!((&data(6)["reverted"], &data(6)["positions"]), (&held["id"], &data(5)["positions"]));
    assert_eq!(ended(7), (json!("failed"), json!("errors"), Value::Null));
    let codes = data(7)["errorsByCode"].as_object().unwrap();
    assert_eq!(codes.values().map(|n| n.as_i64().unwrap()).sum::<i64>(), broken["errors"].as_i64().unwrap());
    assert_eq!(ended(8), (json!("cancelled"), json!("cancelled"), json!("test")));
    agree_with_jobs(&server).await;
}

#[tokio::test]
async fn a_plan_whose_time_is_over_and_one_that_the_roster_left_behind_are_told() {
    let server = strict(&[]).await;
    server.import(orgs(&FIVE)).await;
    let planned = server.hand_in(orgs(&FIVE[..4]), "?apply=never").await;
    // The roster moves so that the plan is another one.
    crate::support::put(&server, "orgs/o4", json!({ "org": { "name": "other", "type": "school" } })).await;
    assert_eq!(approve(&server, &planned).await.1["state"], "held");
    let expiring =
        Server::with(&server.url, &[("ROSTERHUB_IMPORTS_PLAN_DAYS", "0"), ("ROSTERHUB_IMPORTS_CARE_SECONDS", "1")]);
    let over = expiring.hand_in(orgs(&FIVE[..4]), "?apply=never").await;
    until("it is discarded", async || crate::decisions::get(&server, id(&over)).await.1["state"] == "discarded").await;
    let told = all(&server).await;
    assert_eq!(kinds(&told), ["import.applied", "import.planned", "import.held", "import.planned", "import.failed"]);
    assert_eq!(told[2]["data"]["reasons"], json!(["moved"]));
    let expired = &told[4]["data"];
    assert_eq!((&expired["reason"], &expired["import"]["id"]), (&json!("expired"), &over["id"]));
    assert_eq!((&expired["state"], &expired["by"]), (&json!("discarded"), &Value::Null));
}

#[tokio::test]
async fn what_was_interrupted_is_told_once_however_often_the_hub_starts() {
    let mut server = strict(&[]).await;
    server.import(orgs(&FIVE)).await;
    let planned = server.hand_in(orgs(&FIVE[..4]), "?apply=never").await;
    // Killed while it waits for the tenant's lock, with an approved plan behind it.
    let log = open(&server.url).await;
    let lock = log.begin(&tenant("midori")).await.unwrap();
    let send = async |path: String, body: Vec<u8>| {
        let url = format!("{}/rosterhub/v1/imports{path}", server.base);
        server.http.post(url).bearer_auth(&server.token).body(body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let cut = send("?apply=always".into(), orgs(&FIVE[..2])).await;
    send(format!("/{}/approve?plan={}", id(&planned), planned["plan"].as_str().unwrap()), Vec::new()).await;
    until("it waits for the lock", async || crate::decisions::get(&server, id(&cut)).await.1["state"] == "applying")
        .await;
    server.kill();
    drop(lock);
    for _ in 0..2 {
        server = Server::on(&server.url);
        let told = all(&server).await;
        let mut kinds = kinds(&told);
        kinds[2..].sort_unstable();
        assert_eq!(kinds, ["import.applied", "import.planned", "import.failed", "import.held"]);
        let of = |kind: &str| &told.iter().find(|notice| notice["type"] == kind).unwrap()["data"];
        assert_eq!(
            (&of("import.failed")["reason"], &of("import.failed")["import"]["id"]),
            (&json!("interrupted"), &cut["id"])
        );
        assert_eq!(of("import.held")["reasons"], json!(["interrupted"]));
        assert_eq!(of("import.held")["plan"], planned["plan"]);
        server.kill();
    }
}

#[tokio::test]
async fn exports_are_told_of_when_they_are_whole() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let set = format!("{}/rosterhub/v1/exports/oneroster.zip", server.base);
    let report = server.get(&set.replace("oneroster.zip", "report")).await.json::<Value>().await.unwrap();
    let response = server.get(&set).await;
    let etag = response.headers()["etag"].clone();
    assert!(!response.bytes().await.unwrap().is_empty());
    // No set is written for these.
    let again = server.http.get(&set).bearer_auth(&server.token).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let head = server.http.head(&set).bearer_auth(&server.token).send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["etag"]), (200, &etag));
    assert_eq!(server.get(&format!("{set}?edition=2")).await.status(), 400);
    let delta = server.get(&format!("{set}?since=5&edition=japan-2")).await;
    assert!(!delta.bytes().await.unwrap().is_empty());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("set.zip");
    let (code, text) = run(&server.url, &["export", "--tenant", "midori", "--out", file.to_str().unwrap()]);
    assert!(code == 0 && file.exists(), "{text}");
    let (code, _) = run(&server.url, &["export", "--tenant", "midori", "--report"]);
    assert_eq!(code, 0);

    let told = all(&server).await;
    assert_eq!(kinds(&told), ["import.applied", "export.ready", "export.ready", "export.ready"]);
    let data = |n: usize| &told[n]["data"];
    for member in ["position", "edition", "rows"] {
        assert_eq!(data(1)[member], report[member]);
    }
    assert_eq!((&data(1)["client"], &data(1)["since"]), (&json!("test"), &Value::Null));
    assert_eq!((&data(2)["since"], &data(2)["edition"]), (&json!(5), &json!("japan-2")));
    // The command line is shown demographics too.
    assert_eq!((&data(3)["client"], &data(3)["position"]), (&json!("cli"), &data(1)["position"]));
}

#[tokio::test]
async fn each_client_is_told_what_its_scopes_open_of_its_own_tenant() {
    let server = Server::start().await;
    server.import(orgs(&FIVE)).await;
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let revoke = |tenant: &str| {
        let made = client(&server.url, tenant, &["--scopes", "export"]);
        let id = made["clientId"].as_str().unwrap().to_owned();
        assert_eq!(run(&server.url, &["client", "revoke", &id]).0, 0);
        assert_ne!(run(&server.url, &["client", "revoke", &id]).0, 0, "once only");
        id
    };
    let (ours, theirs) = (revoke("midori"), revoke("aoba"));
    let set = server.get(&format!("{}/rosterhub/v1/exports/oneroster.zip", server.base)).await;
    set.bytes().await.unwrap();
    let told_all = all(&server).await;
    assert_eq!(kinds(&told_all), ["import.applied", "client.revoked", "export.ready"]);
    assert_eq!(told_all[1]["data"], json!({ "client": ours, "name": "test" }));
    let other = told(&server, &token(&server.url, "aoba", ALL), 0).await;
    assert_eq!((kinds(&other), &other[0]["number"]), (vec!["client.revoked"], &json!(1)));
    assert_eq!(other[0]["data"]["client"], theirs);

    for (scopes, numbers) in [("import", vec![1]), ("admin", vec![2]), ("export", vec![3]), ("webhooks", vec![])] {
        let seen = told(&server, &token(&server.url, "midori", scopes), 0).await;
        let seen: Vec<_> = seen.iter().map(|notice| notice["number"].as_i64().unwrap()).collect();
        assert_eq!(seen, numbers, "{scopes}");
    }
    let url = |path: &str| format!("{}/rosterhub/v1/{path}", server.base);
    let get = async |token: &str, path: &str| server.http.get(url(path)).bearer_auth(token).send().await.unwrap();
    let reader = token(&server.url, "midori", "roster.readonly,write,erase");
    assert_eq!(get(&reader, "notices").await.status(), 403);
    let importer = token(&server.url, "midori", "import");
    for wrong in ["notices?after=-1", "notices?after=x", "notices?limit=x", "notices?since=1"] {
        assert_eq!(get(&importer, wrong).await.status(), 400, "{wrong}");
    }
    // A page whose notices are all another client's leads on.
    let page: Value = get(&importer, "notices?after=1&limit=1").await.json().await.unwrap();
    assert_eq!(page, json!({ "notices": [], "next": 2, "head": 3 }));
    let beyond: Value = get(&importer, "notices?after=9").await.json().await.unwrap();
    assert_eq!(beyond, json!({ "notices": [], "next": 9, "head": 3 }));
}

/// Writers of two programs, some of which give up, while a client reads along: it sees every notice once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_have_no_gap_while_many_tell_at_once() {
    let server = Server::start().await;
    let logs = [open(&server.url).await, open(&server.url).await];
    let token = token(&server.url, "midori", ALL);
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..12_usize {
        let log = logs[writer % 2].clone();
        writers.push(tokio::spawn(async move {
            let midori = tenant("midori");
            let data = rosterhub::notice::data::ClientRevoked { client: uuid::Uuid::new_v4(), name: "test".into() };
            let mut committed = 0;
            for n in 0..12 {
                let mut tx = log.db().begin(&midori).await.unwrap();
                let kind = rosterhub::notice::Kind::ClientRevoked;
                rosterhub::notice::tell(&mut tx, &midori, kind, &data).await.unwrap();
                match (writer + n) % 4 {
                    0 => tx.rollback().await.unwrap(),
                    _ => {
                        tx.commit().await.unwrap();
                        committed += 1;
                    }
                }
            }
            committed
        }));
    }
    // The roster moves meanwhile.
    let roster = async {
        for n in 0..20 {
            let path = format!("orgs/o{n}");
            crate::support::put(&server, &path, json!({ "org": { "name": "a", "type": "school" } })).await;
        }
    };
    let reading = async {
        let mut seen: Vec<Value> = Vec::new();
        while !done.load(Ordering::SeqCst) {
            let after = seen.last().map_or(0, |notice| notice["number"].as_i64().unwrap());
            seen.extend(told(&server, &token, after).await);
        }
        let after = seen.last().map_or(0, |notice| notice["number"].as_i64().unwrap());
        seen.extend(told(&server, &token, after).await);
        seen
    };
    let writing = async {
        let mut committed = 0;
        for writer in writers {
            committed += writer.await.unwrap();
        }
        done.store(true, Ordering::SeqCst);
        committed
    };
    let (seen, committed, ()) = tokio::join!(reading, writing, roster);
    assert_eq!((committed, seen.len()), (108, 108));
    assert_eq!(seen, all(&server).await);
    let positions: BTreeSet<_> = seen.iter().map(|notice| notice["position"].as_i64().unwrap()).collect();
    assert!(positions.last() <= Some(&20));
}

#[tokio::test]
async fn the_catalogue_is_served_with_schemas_and_examples() {
    let server = Server::start().await;
    let subscriber = token(&server.url, "midori", "webhooks");
    let url = format!("{}/rosterhub/v1/webhooks/event-types", server.base);
    let get = async |token: &str, url: &str| server.http.get(url).bearer_auth(token).send().await.unwrap();
    let list: Value = get(&subscriber, &url).await.json().await.unwrap();
    let listed = list["eventTypes"].as_array().unwrap();
    assert_eq!(listed.len(), 55);
    for event in listed {
        let name = event["name"].as_str().unwrap();
        let (status, one) = event_type(&server, &subscriber, name).await;
        assert_eq!(status, 200);
        for member in ["name", "version", "group", "description", "scope"] {
            assert_eq!(one[member], event[member]);
        }
        let validator = jsonschema::validator_for(&one["schema"]).unwrap();
        assert!(validator.is_valid(&one["example"]), "{name}");
    }
    let scope = |name: &str| &listed.iter().find(|event| event["name"] == name).unwrap()["scope"];
    assert_eq!(*scope("import.applied"), "import");
    let demographics = "https://purl.imsglobal.org/spec/or/v1p2/scope/roster-demographics.readonly";
    assert_eq!(*scope("demographics.changed"), demographics);
    assert_eq!(event_type(&server, &subscriber, "user.applied").await.0, 404);
    assert_eq!(event_type(&server, &token(&server.url, "midori", "admin"), "user.changed").await.0, 200);
    assert_eq!(get(&server.token, &url).await.status(), 403);
}
