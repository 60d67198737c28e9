//! Sets go in: bulk, delta, again, broken.

use std::collections::BTreeSet;
use std::io::Cursor;

use rosterhub::csv::edition::columns;
use rosterhub::roster::EntityType;
use rosterhub::sample::{Dialect, FaultKind, SampleOptions, write_broken};
use serde_json::{Value, json};

use crate::support::{Server, assert_verified, bulk, city, delta, open, run, set, tenant, until, zip};

fn total(job: &Value, what: &str) -> i64 {
    job["changes"].as_object().unwrap().values().map(|c| c[what].as_i64().unwrap()).sum()
}

#[tokio::test]
async fn the_same_set_again_appends_nothing() {
    let server = Server::start().await;
    let first = server.import(bulk(&city())).await;
    let again = server.import(bulk(&city())).await;
    assert_eq!(again["state"], "completed");
    assert_eq!(again["position"], first["position"]);
    assert_eq!(total(&again, "unchanged"), total(&first, "created"));
    // A byte order mark and bare line feeds are no change either.
    let plain = server.import(bulk(&SampleOptions { bom: true, lf: true, ..city() })).await;
    assert_eq!(plain["position"], first["position"], "{plain}");
}

#[tokio::test]
async fn a_delta_changes_what_it_names_and_a_bulk_set_withdraws_what_it_lacks() {
    let server = Server::start().await;
    let first = server.import(bulk(&city())).await;
    let change = server.import(delta(&city(), 20.0)).await;
    assert_eq!(change["state"], "completed", "{change}");
    assert!(total(&change, "created") > 0 && total(&change, "changed") > 0 && total(&change, "withdrawn") > 0);
    let left = change["changes"]["user"]["withdrawn"].as_i64().unwrap();
    let gone = async || {
        let users = server.read("users?limit=10000").await["users"].as_array().unwrap().clone();
        let gone: Vec<Value> = users.iter().filter(|u| u["status"] == "tobedeleted").cloned().collect();
        (users.len() as i64, gone)
    };
    let (_, leavers) = gone().await;
    assert_eq!(leavers.len() as i64, left);
    assert!(leavers.iter().all(|u| u["roles"].as_array().unwrap().len() == 1), "the standard wants one role at least");

    // The first set again: arrivals are absent from it, leavers come back.
    let back = server.import(bulk(&city())).await;
    assert_eq!(back["changes"]["user"]["restored"].as_i64().unwrap(), left);
    assert_eq!(back["changes"]["user"]["withdrawn"], change["changes"]["user"]["created"]);
    let (all, withdrawn) = gone().await;
    assert_eq!(json!(all - withdrawn.len() as i64), first["rows"]["users"]);
    assert_verified(&server.url);
}

#[tokio::test]
async fn every_edition_is_read() {
    for (dialect, edition) in
        [(Dialect::JapanFinal, "1.2_JP"), (Dialect::JapanDomestic, "japan-1.2.1"), (Dialect::Base, "1.2.1")]
    {
        let server = Server::start().await;
        let options = SampleOptions { dialect, terms: dialect == Dialect::Base, ..city() };
        let job = server.import(bulk(&options)).await;
        assert_eq!((job["state"].as_str(), job["edition"].as_str()), (Some("completed"), Some(edition)), "{job}");
        if dialect == Dialect::Base {
            assert_eq!(server.read("terms").await["academicSessions"].as_array().unwrap().len(), 3);
        } else {
            // The older spelling is kept under the newer name.
            let enrollments = server.read("enrollments?limit=10000").await;
            assert!(
                enrollments["enrollments"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|e| e["metadata"]["jp.shussekiNo"].is_string())
            );
        }
    }
}

#[tokio::test]
async fn every_seeded_fault_is_found_and_nothing_else() {
    let server = Server::start().await;
    for (dialect, seed) in [(Dialect::JapanFinal, "a"), (Dialect::JapanDomestic, "b"), (Dialect::Base, "c")] {
        let options = SampleOptions { dialect, seed: seed.into(), students_per_school: 150, ..city() };
        let mut file = Cursor::new(Vec::new());
        let expected = write_broken(&options, FaultKind::QUIET, 4, &mut file).unwrap();
        let job = server.import(file.into_inner()).await;
        assert_eq!(job["state"], "failed");
        let found: BTreeSet<(String, u64)> = server
            .errors(&job)
            .await
            .iter()
            .map(|e| (e["file"].as_str().unwrap().to_owned(), e["line"].as_u64().unwrap()))
            .collect();
        let expected: Vec<Value> = expected.iter().map(|e| serde_json::to_value(e).unwrap()).collect();
        let places: BTreeSet<(String, u64)> =
            expected.iter().map(|e| (e["file"].as_str().unwrap().to_owned(), e["line"].as_u64().unwrap())).collect();
        assert_eq!(found, places, "{dialect}");
        assert_eq!(job["errors"].as_u64().unwrap() as usize, expected.len(), "{dialect}");
        // The column and the kind agree, too.
        let errors = server.errors(&job).await;
        for e in &expected {
            let code = match e["kind"].as_str().unwrap() {
                "japan_rule" => ["half_width_katakana", "course_code_not_blank", "primary_not_teacher"].as_slice(),
                kind => &[kind],
            };
            let column = e["column"].as_str().unwrap();
            assert!(
                errors.iter().any(|f| f["file"] == e["file"]
                    && f["line"] == e["line"]
                    && code.contains(&f["code"].as_str().unwrap())
                    && (f["column"] == e["column"]
                        || ["short_row", "header_order", "extra_column"].contains(&code[0])
                        || column.starts_with("file."))),
                "{dialect}: {e}"
            );
        }
    }
    let users = server.read("users").await;
    assert_eq!(users, json!({ "users": [] }), "nothing was applied");
}

#[tokio::test]
async fn loud_faults_are_named() {
    let server = Server::start().await;
    for kind in FaultKind::LOUD {
        let mut file = Cursor::new(Vec::new());
        write_broken(&city(), &[*kind], 1, &mut file).unwrap();
        let job = server.import(file.into_inner()).await;
        let errors = server.errors(&job).await;
        assert!(errors.iter().any(|e| e["code"] == kind.as_str() && e["file"] == "manifest.csv"), "{errors:?}");
    }
}

pub const SESSIONS: &str =
    "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\r\n";
pub const ORGS: &str = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n";

/// Hands in a set that has errors; gives them as file:line:column:code.
pub async fn codes(server: &Server, zip: Vec<u8>) -> Vec<String> {
    let job = server.import(zip).await;
    assert_eq!(job["state"], "failed", "{job}");
    let errors = server.errors(&job).await;
    errors
        .iter()
        .map(|e| {
            format!(
                "{}:{}:{}:{}",
                e["file"].as_str().unwrap(),
                e["line"],
                e["column"].as_str().unwrap(),
                e["code"].as_str().unwrap()
            )
        })
        .collect()
}

#[tokio::test]
async fn bad_packages_are_refused_with_their_reason() {
    let server = Server::start().await;
    assert_eq!(codes(&server, b"not a zip".to_vec()).await, [":0::not_a_zip"]);
    assert_eq!(codes(&server, Vec::new()).await, [":0::not_a_zip"]);
    let whole = bulk(&city());
    assert_eq!(codes(&server, whole[..whole.len() / 2].to_vec()).await, [":0::not_a_zip"]);
    assert_eq!(codes(&server, zip(&[("orgs.csv".into(), ORGS.into())])).await, ["manifest.csv:0::manifest_absent"]);

    // A flipped byte in the compressed data of users.csv.
    let mut flipped = whole.clone();
    let at = flipped.windows(9).position(|w| w == b"users.csv").unwrap() + 2_000;
    flipped[at] ^= 0xff;
    let found = codes(&server, flipped).await;
    assert!(found.iter().any(|e| e.contains("bad_")), "{found:?}");

    assert_eq!(codes(&server, set(&[("orgs", "bulk", ORGS)])).await, ["orgs.csv:1::no_rows"]);
    let found = codes(&server, set(&[("orgs", "bulk", "sourcedId,name\r\na,b\r\n")])).await;
    assert!(found.contains(&"orgs.csv:1:parentSourcedId:header_missing".to_owned()), "{found:?}");
    assert_eq!(server.read("orgs").await, json!({ "orgs": [] }));
}

#[tokio::test]
async fn unreadable_characters_and_bad_rows_are_named_with_line_and_column() {
    let server = Server::start().await;
    let mut orgs = ORGS.as_bytes().to_vec();
    orgs.extend_from_slice(b"o1,,,\x8a\x77\x8dZ,school,,\r\n"); // CP932
    orgs.extend_from_slice("o2,,,\"a\nb\",school,,\r\n".as_bytes());
    orgs.extend_from_slice("あ,,,n,school,,\r\n".as_bytes());
    orgs.extend_from_slice("o4,,,n,school,,o4\r\n".as_bytes());
    orgs.extend_from_slice("o5,,,n,school,,o9\r\n".as_bytes());
    let mut entries = vec![("orgs.csv".to_owned(), orgs)];
    let manifest = set(&[("orgs", "bulk", "")]);
    let mut archive = ::zip::ZipArchive::new(Cursor::new(manifest)).unwrap();
    let mut text = Vec::new();
    std::io::copy(&mut archive.by_name("manifest.csv").unwrap(), &mut text).unwrap();
    entries.push(("manifest.csv".into(), text));
    assert_eq!(
        codes(&server, zip(&entries)).await,
        [
            "orgs.csv:2:name:bad_character",
            "orgs.csv:3:name:bad_text",
            "orgs.csv:5:sourcedId:bad_sourced_id",
            "orgs.csv:6:parentSourcedId:own_parent",
            "orgs.csv:7:parentSourcedId:dangling_reference",
        ]
    );
}

#[tokio::test]
async fn references_may_lead_into_the_roster_only_from_a_delta() {
    let server = Server::start().await;
    let board = format!("{ORGS}board,,,教育委員会,district,130000,\r\n");
    assert_eq!(server.import(set(&[("orgs", "bulk", &board)])).await["state"], "completed");
    let school = format!("{ORGS}s1,active,2026-04-01T00:00:00.000Z,小学校,school,,board\r\n");
    let job = server.import(set(&[("orgs", "delta", &school)])).await;
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(server.read("orgs/board").await["org"]["children"][0]["sourcedId"], "s1");
    let lone = format!("{ORGS}s1,,,小学校,school,,board\r\n");
    assert_eq!(
        codes(&server, set(&[("orgs", "bulk", &lone)])).await,
        ["orgs.csv:2:parentSourcedId:dangling_reference"]
    );
    // The literal NULL of an older Japanese edition means nothing.
    let sessions = format!("{SESSIONS}y,,,2026年度,schoolYear,2026-04-01,2027-03-31,NULL,2026\r\n");
    assert_eq!(server.import(set(&[("academicSessions", "bulk", &sessions)])).await["state"], "completed");
    let parent = server.read("academicSessions/y").await["academicSession"]["parent"].clone();
    assert_eq!(parent, Value::Null);
    assert_verified(&server.url);
}

#[tokio::test]
async fn multipart_uploads_jobs_and_limits() {
    let server = Server::start().await;
    let part = reqwest::multipart::Part::bytes(bulk(&city())).file_name("RO_20260401_131237.zip");
    let form = reqwest::multipart::Form::new().text("note", "x").part("file", part);
    let url = format!("{}/rosterhub/v1/imports", server.base);
    let response = server
        .http
        .post(&url)
        .bearer_auth(&server.token)
        .header("prefer", "wait=60")
        .multipart(form)
        .send()
        .await
        .unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = response.json().await.unwrap();
    assert_eq!(job["fileName"], "RO_20260401_131237.zip");
    let again: Value = server.get(&location).await.json().await.unwrap();
    assert_eq!(again, job);
    let list: Value = server.get(&url).await.json().await.unwrap();
    assert_eq!(list["imports"], json!([job]));
    let unknown = format!("{url}/00000000-0000-7000-8000-000000000000");
    assert_eq!(server.get(&unknown).await.status(), 404);
    assert_eq!(server.get(&format!("{url}/x")).await.status(), 400);
}

#[tokio::test]
async fn the_command_line_tells_what_became_of_a_file() {
    let server = Server::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bulk(&city())).unwrap();
    let path = file.path().to_str().unwrap();
    let (code, text) = run(&server.url, &["import", path, "--tenant", "midori", "--json"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(server.read("schools").await["orgs"].as_array().unwrap().len(), 2);
    std::fs::write(file.path(), "no zip").unwrap();
    let (code, text) = run(&server.url, &["import", path, "--tenant", "midori"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("not_a_zip"));
    assert_eq!(run(&server.url, &["import", path, "--tenant", "nowhere"]).0, 1);
    assert_eq!(run(&server.url, &["import", "/no/such/file", "--tenant", "midori"]).0, 1);
}

#[tokio::test]
async fn an_active_user_keeps_a_role() {
    let server = Server::start().await;
    let header = |kind| columns(kind).into_iter().filter(|c| c.1).map(|c| c.0).collect::<Vec<_>>().join(",") + "\r\n";
    let stamp = |status: &str| if status.is_empty() { ",," } else { ",2026-04-01T00:00:00.000Z," };
    let users = |rows: &[(&str, &str)]| {
        rows.iter().fold(header(EntityType::User), |text, (id, status)| {
            format!("{text}{id},{status}{}true,{id},,n,n{}\r\n", stamp(status), ",".repeat(14))
        })
    };
    let roles = |rows: &[(&str, &str, &str, &str)]| {
        rows.iter().fold(header(EntityType::Role), |text, (id, status, user, org)| {
            format!("{text}{id},{status}{}{user},primary,teacher,,,{org},\r\n", stamp(status))
        })
    };
    let orgs = format!("{ORGS}o1,,,n,school,,\r\no2,,,n,school,,\r\n");
    let staff = users(&[("u1", ""), ("u2", "")]);
    let all = [("r1", "", "u1", "o1"), ("r2", "", "u1", "o2"), ("r3", "", "u2", "o1")];
    let whole = set(&[("orgs", "bulk", &orgs), ("users", "bulk", &staff), ("roles", "bulk", &roles(&all))]);
    assert_eq!(server.import(whole).await["state"], "completed");

    // roles.csv alone, as a delta.
    let gone = |id, user, org| (id, "tobedeleted", user, org);
    let both = set(&[("roles", "delta", &roles(&[gone("r1", "u1", "o1"), gone("r2", "u1", "o2")]))]);
    assert_eq!(codes(&server, both).await, ["roles.csv:3:userSourcedId:user_without_role"]);
    let given = set(&[("roles", "delta", &roles(&[("r3", "active", "u1", "o1"), gone("r1", "u1", "o1")]))]);
    assert_eq!(codes(&server, given).await, ["roles.csv:2:userSourcedId:user_without_role"]);
    let one = set(&[("roles", "delta", &roles(&[gone("r2", "u1", "o2")]))]);
    assert_eq!(server.import(one).await["state"], "completed");
    // As a bulk file: no line names what is absent.
    let without = set(&[("roles", "bulk", &roles(&all[..1]))]);
    assert_eq!(codes(&server, without.clone()).await, ["roles.csv:0:userSourcedId:user_without_role"]);
    let job = server.import(without.clone()).await;
    assert_eq!(server.errors(&job).await[0]["value"], "u2");
    // A user that goes as well needs none, nor does one that has gone.
    let leaver = users(&[("u2", "tobedeleted")]);
    let both = set(&[("users", "delta", &leaver), ("roles", "delta", &roles(&[gone("r3", "u2", "o1")]))]);
    assert_eq!(server.import(both).await["state"], "completed");
    assert_eq!(server.import(without).await["state"], "completed");
    // One that is in the set is named there.
    let back = set(&[("users", "delta", &users(&[("u2", "active")]))]);
    assert_eq!(codes(&server, back).await, ["users.csv:2:sourcedId:user_without_role"]);
    assert_verified(&server.url);
}

/// Whatever is wrong with a request for imports, the answer has the hub's form.
#[tokio::test]
async fn bad_requests_are_answered_in_the_hub_s_form() {
    let server = Server::start().await;
    let url = format!("{}/rosterhub/v1/imports", server.base);
    let post = |kind: &str, body: &str| {
        server.http.post(&url).bearer_auth(&server.token).header("content-type", kind).body(body.to_owned())
    };
    let get = |path: &str| server.http.get(format!("{url}{path}")).bearer_auth(&server.token);
    let form = "multipart/form-data; boundary=b";
    for (request, status, code) in [
        (get("/x"), 400, "bad_request"),
        (get("/x/errors"), 400, "bad_request"),
        (get("/%ff"), 400, "bad_request"),
        (get("/00000000-0000-7000-8000-000000000000/nothing"), 404, "not_found"),
        (get("?limit=many"), 400, "bad_request"),
        (get("?offset=-1"), 400, "bad_request"),
        (get("?limit=99999999999999999999"), 400, "bad_request"),
        (server.http.delete(&url).bearer_auth(&server.token), 405, "wrong_verb"),
        (server.http.get(&url), 401, "unauthorised"),
        (post("multipart/form-data", ""), 400, "bad_request"),
        (post("Multipart/Form-Data", ""), 400, "bad_request"),
        (post(form, ""), 400, "bad_request"),
        (post(form, "--b\r\n\r\nno file\r\n--b--\r\n"), 400, "bad_request"),
        (post(form, "--b\r\ncontent-disposition: form-data; name=f; filename=f\r\n\r\ncut"), 400, "bad_request"),
    ] {
        let response = request.send().await.unwrap();
        let path = response.url().to_string();
        assert_eq!(response.status(), status, "{path}");
        let body: Value = response.json().await.unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(body["error"]["code"], code, "{path}: {body}");
        assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{path}: {body}");
    }
    let jobs: Value = get("").send().await.unwrap().json().await.unwrap();
    assert_eq!(jobs, json!({ "imports": [] }));
}

#[tokio::test]
async fn staged_rows_are_hidden_from_other_tenants() {
    let server = Server::start().await;
    let log = open(&server.url).await;
    assert!(log.create_tenant(&tenant("aoba"), "").await.unwrap());
    // Held up as it begins to apply, with everything staged.
    let lock = log.begin(&tenant("midori")).await.unwrap();
    let upload = server.http.post(format!("{}/rosterhub/v1/imports", server.base)).bearer_auth(&server.token);
    let job: Value = upload.body(bulk(&city())).send().await.unwrap().json().await.unwrap();
    let url = format!("{}/rosterhub/v1/imports/{}", server.base, job["id"].as_str().unwrap());
    let state = async || server.get(&url).await.json::<Value>().await.unwrap()["state"].clone();
    until("it begins to apply", async || state().await == "applying").await;
    let id = job["id"].as_str().unwrap().replace('-', "");
    for table in ["rows", "refs", "plan"] {
        let mut counts = Vec::new();
        for name in ["midori", "aoba"] {
            let mut conn = log.db().acquire(&tenant(name)).await.unwrap();
            let count = format!("select count(*) > 0 from staging.{table}_{id}");
            counts.push(sqlx::query_scalar::<_, bool>(&count).fetch_one(&mut *conn).await.unwrap());
        }
        let count = format!("select count(*) > 0 from staging.{table}_{id}");
        counts.push(sqlx::query_scalar(&count).fetch_one(log.db().pool()).await.unwrap());
        assert_eq!(counts, [true, false, false], "{table}");
    }
    drop(lock);
    until("it is applied", async || state().await == "completed").await;
}
