//! Erasing a person: nothing of the person is left anywhere, all else stands, and the proofs hold.

use std::fmt::Write as _;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rosterhub::csv::edition::columns;
use rosterhub::db::embedded::find_binaries;
use rosterhub::roster::EntityType;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::receiver::{Answer, Receiver};
use crate::support::{self, EVERYTHING, Server, bulk, city, patch, set, token, until};

/// What only this person is called, and in nobody else's record.
const SECRETS: [&str; 8] =
    ["鬼無里", "瑠璃瑛", "キナサ", "ルリエ", "kinasa.rurie", "kinasa@mail.example", "090-7777-1234", "EMP-887766"];

const SETTINGS: [(&str, &str); 6] = [
    ("ROSTERHUB_AUDIT_SECONDS", "0.05"),
    ("ROSTERHUB_AUDIT_CHECKPOINT_SECONDS", "0"),
    ("ROSTERHUB_WEBHOOKS_ALLOW_HTTP", "true"),
    ("ROSTERHUB_WEBHOOKS_NETWORKS", "127.0.0.0/8"),
    ("ROSTERHUB_WEBHOOKS_RETRY_SECONDS", "0.01,0.01,0.01,0.01"),
    ("ROSTERHUB_WEBHOOKS_LEASE_SECONDS", "1"),
];

async fn server() -> Server {
    let url = support::database().await;
    assert_eq!(support::run(&url, &["tenant", "create", "midori"]).0, 0);
    let mut server = Server::with(&url, &SETTINGS);
    server.token = token(&url, "midori", &format!("{EVERYTHING},audit,erase,webhooks"));
    server
}

/// A delta file with rows of named cells.
fn file(kind: EntityType, rows: &[&[(&str, &str)]]) -> String {
    let mut names: Vec<&str> = columns(kind).into_iter().map(|column| column.0).collect();
    if kind == EntityType::User {
        names.extend(["metadata.jp.kanaGivenName", "metadata.jp.kanaFamilyName"]);
    }
    let mut text = names.join(",") + "\r\n";
    for row in rows {
        let cell = |name: &&str| row.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value);
        writeln!(text, "{}\r", names.iter().map(cell).collect::<Vec<_>>().join(",")).unwrap();
    }
    text
}

async fn post(server: &Server, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/rosterhub/v1/{path}", server.base);
    let answer = server.http.post(url).bearer_auth(&server.token).json(&body).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

async fn get(server: &Server, path: &str) -> Value {
    let answer = server.get(&format!("{}/rosterhub/v1/{path}", server.base)).await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

/// The person `p`, with all kinds of records, and a role that is handed on to `q`.
struct World {
    school: String,
    class: String,
}

impl World {
    async fn make(server: &Server) -> Self {
        assert_eq!(server.import(bulk(&city())).await["state"], "completed");
        let class = server.read("classes?limit=1").await["classes"][0].clone();
        let world = Self {
            school: class["school"]["sourcedId"].as_str().unwrap().to_owned(),
            class: class["sourcedId"].as_str().unwrap().to_owned(),
        };
        let job = server.import(world.set("p")).await;
        assert_eq!(job["state"], "completed", "{:?}", server.errors(&job).await);
        let job = server.import(set(&[("roles", "delta", &world.roles("q"))])).await;
        assert_eq!(job["state"], "completed", "{:?}", server.errors(&job).await);
        world
    }

    fn roles(&self, holder: &str) -> String {
        let stamp = ("dateLastModified", "2026-04-01T00:00:00.000Z");
        let active = ("status", "active");
        let org = ("orgSourcedId", self.school.as_str());
        file(
            EntityType::Role,
            &[
                &[
                    ("sourcedId", "r-p"),
                    active,
                    stamp,
                    ("userSourcedId", "p"),
                    ("roleType", "primary"),
                    ("role", "teacher"),
                    org,
                    ("beginDate", "2021-02-03"),
                ],
                &[
                    ("sourcedId", "r-q"),
                    active,
                    stamp,
                    ("userSourcedId", "q"),
                    ("roleType", "primary"),
                    ("role", "teacher"),
                    org,
                ],
                &[
                    ("sourcedId", "r-on"),
                    active,
                    stamp,
                    ("userSourcedId", holder),
                    ("roleType", "secondary"),
                    ("role", "principal"),
                    org,
                ],
            ],
        )
    }

    /// With `r-on` held by one of the two.
    fn set(&self, holder: &str) -> Vec<u8> {
        let stamp = ("dateLastModified", "2026-04-01T00:00:00.000Z");
        let active = ("status", "active");
        let users = file(
            EntityType::User,
            &[
                &[
                    ("sourcedId", "p"),
                    active,
                    stamp,
                    ("enabledUser", "true"),
                    ("username", "kinasa.rurie"),
                    ("givenName", "瑠璃瑛"),
                    ("familyName", "鬼無里"),
                    ("email", "kinasa@mail.example"),
                    ("phone", "090-7777-1234"),
                    ("identifier", "EMP-887766"),
                    ("userIds", "{HR:EMP-887766}"),
                    ("metadata.jp.kanaGivenName", "ルリエ"),
                    ("metadata.jp.kanaFamilyName", "キナサ"),
                ],
                &[
                    ("sourcedId", "q"),
                    active,
                    stamp,
                    ("enabledUser", "true"),
                    ("username", "other"),
                    ("givenName", "太郎"),
                    ("familyName", "他者"),
                    ("agentSourcedIds", "p"),
                ],
            ],
        );
        let enrollments = file(
            EntityType::Enrollment,
            &[&[
                ("sourcedId", "e-p"),
                active,
                stamp,
                ("classSourcedId", &self.class),
                ("schoolSourcedId", &self.school),
                ("userSourcedId", "p"),
                ("role", "teacher"),
                ("primary", "false"),
                ("beginDate", "2021-02-04"),
            ]],
        );
        let demographics = file(
            EntityType::Demographics,
            &[&[("sourcedId", "p"), active, stamp, ("birthDate", "1971-11-09"), ("cityOfBirth", "鬼無里")]],
        );
        set(&[
            ("users", "delta", &users),
            ("roles", "delta", &self.roles(holder)),
            ("enrollments", "delta", &enrollments),
            ("demographics", "delta", &demographics),
        ])
    }
}

/// Every way in which a text may stand in a dump.
fn spellings(text: &str) -> Vec<Vec<u8>> {
    let utf16: Vec<u16> = text.encode_utf16().collect();
    let mut all = vec![
        text.as_bytes().to_vec(),
        encoding_rs::SHIFT_JIS.encode(text).0.into_owned(),
        encoding_rs::EUC_JP.encode(text).0.into_owned(),
        utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
        utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
        utf16.iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>().into_bytes(),
        text.bytes().fold(String::new(), |url, byte| url + &format!("%{byte:02X}")).into_bytes(),
    ];
    for bytes in all.clone() {
        all.push(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes());
        // Base64 has three forms of what stands in the middle of something; the rim of each depends on its neighbours.
        for shift in 0..3 {
            let padded = [&vec![0; shift][..], &bytes].concat();
            let code = STANDARD.encode(padded);
            let (from, to) = ((shift * 8).div_ceil(6), code.trim_end_matches('=').len() - 1);
            all.push(code.as_bytes()[from..to].to_vec());
        }
    }
    all
}

/// Texts of the person found in a dump of the whole database, or in its statistics.
async fn found(url: &str, texts: &[&str]) -> Vec<String> {
    let mut conn = support::superuser(url).await;
    let statistics: String = sqlx::query("select coalesce(string_agg(s::text, ' '), '') from pg_stats s")
        .fetch_one(&mut conn)
        .await
        .unwrap()
        .get(0);
    let dump = Command::new(find_binaries().unwrap().join("pg_dump")).arg(support::admin_url(url)).output().unwrap();
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    assert!(String::from_utf8_lossy(&dump.stdout).contains("COPY public.users_history"));
    let haystack = [dump.stdout, statistics.into_bytes()].concat();
    let mut places = Vec::new();
    for text in texts {
        let place = spellings(text).iter().find_map(|way| memchr::memmem::find(&haystack, way));
        let Some(at) = place else { continue };
        let table = memchr::memmem::rfind(&haystack[..at], b"\nCOPY ").unwrap_or_default();
        let table = String::from_utf8_lossy(&haystack[table..table + 60]).into_owned();
        let line = String::from_utf8_lossy(&haystack[at.saturating_sub(200)..at + 20]).into_owned();
        places.push(format!("{text} in {table}: {line}"));
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_erased_person_is_left() {
    let server = server().await;
    let world = World::make(&server).await;
    let before: Value = get(&server, "changes?limit=1&after=0").await;
    assert!(before["head"].as_i64().or(before["position"].as_i64()).is_some(), "{before}");
    // A receiver that repeats what it was told.
    let (receiver, address) = Receiver::with(|message| Answer::Body(200, message.to_string())).await;
    let (_, hook) = post(
        &server,
        "webhooks",
        json!({ "url": address, "types": ["user.*"], "payload": "full", "imports": "records" }),
    )
    .await;
    let id = hook["id"].as_str().unwrap().to_owned();
    assert_eq!(post(&server, &format!("webhooks/{id}/verify"), json!({})).await.1["ok"], true);
    patch(&server, "users/p", json!({ "familyName": "鬼無里", "middleName": "鬼無里" })).await;
    until("the change is delivered", async || receiver.messages().iter().any(|m| m["type"] == "user.changed")).await;
    until("and written down", async || {
        get(&server, &format!("webhooks/{id}/deliveries?state=delivered")).await["deliveries"][0].is_object()
    })
    .await;
    // A write with a key that can be repeated, a set that is refused, and a plan that waits.
    let url = format!("{}/rosterhub/v1/roster/users/p", server.base);
    let keyed = server
        .http
        .patch(url)
        .bearer_auth(&server.token)
        .header("idempotency-key", "鬼無里".to_owned().len().to_string());
    assert_eq!(keyed.json(&json!({ "pronouns": "鬼無里" })).send().await.unwrap().status(), 200);
    let bad = file(
        EntityType::User,
        &[&[("sourcedId", "p"), ("status", "active"), ("dateLastModified", "鬼無里"), ("grades", "鬼無里")]],
    );
    assert_eq!(server.import(set(&[("users", "delta", &bad)])).await["state"], "failed");
    let waiting = server.hand_in(world.set("p"), "?apply=never").await;
    assert_eq!(waiting["state"], "planned");
    // Another one, of a record that the log does not know yet.
    let new = file(
        EntityType::Enrollment,
        &[&[
            ("sourcedId", "e-new"),
            ("status", "active"),
            ("dateLastModified", "2026-04-01T00:00:00.000Z"),
            ("classSourcedId", &world.class),
            ("schoolSourcedId", &world.school),
            ("userSourcedId", "p"),
            ("role", "teacher"),
            ("beginDate", "2021-02-05"),
        ]],
    );
    assert_eq!(server.hand_in(set(&[("enrollments", "delta", &new)]), "?apply=never").await["state"], "planned");
    assert_eq!(found(&server.url, &["2021-02-05"]).await.len(), 1);
    let (_, past) = post(&server, "audit/checkpoints", json!({})).await;
    let at = past["size"].as_i64().unwrap();
    assert_eq!(found(&server.url, &SECRETS).await.len(), SECRETS.len());

    let (status, done) = post(&server, "erasures", json!({ "sourcedId": "p", "request": "受付 2026-17" })).await;
    assert_eq!(status, 201, "{done}");
    assert!(done["events"].as_i64().unwrap() >= 7, "{done}");
    until("the space is freed", async || {
        get(&server, &format!("erasures/{}", done["id"].as_str().unwrap())).await["erasure"]["cleanedAt"].is_string()
    })
    .await;
    assert_eq!(found(&server.url, &SECRETS).await, Vec::<String>::new());
    assert_eq!(
        found(&server.url, &["1971-11-09", "2021-02-03", "2021-02-04", "2021-02-05"]).await,
        Vec::<String>::new()
    );

    // The person shows as erased, now and then; all else is as it was.
    for at in [String::new(), format!("?asOf={at}")] {
        let user = server.read(&format!("users/p{at}")).await["user"].clone();
        assert_eq!((&user["givenName"], &user["familyName"]), (&json!("erased"), &json!("erased")), "{user}");
        assert!(user.get("email").is_none() && user.get("metadata").is_none(), "{user}");
    }
    assert_eq!(server.read("users/p").await["user"]["status"], "tobedeleted");
    assert_eq!(server.read("enrollments/e-p").await["enrollment"]["status"], "tobedeleted");
    let other = server.read("users/q").await["user"].clone();
    assert_eq!((&other["familyName"], other["roles"].as_array().unwrap().len()), (&json!("他者"), 2));
    let when = server.read(&format!("users/q?asOf={at}")).await["user"].clone();
    assert_eq!(when["roles"], other["roles"]);
    // The log is whole, the read models are what it says, the tree and the old checkpoint hold.
    support::assert_verified(&server.url);
    assert_eq!(
        support::run(&server.url, &["audit", "verify"]).0,
        0,
        "{}",
        support::run(&server.url, &["audit", "verify"]).1
    );
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept");
    std::fs::write(&kept, past["note"].as_str().unwrap()).unwrap();
    let (code, text) = support::run(&server.url, &["audit", "verify", "--checkpoint", kept.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(support::run(&server.url, &["rebuild"]).0, 0);
    support::assert_verified(&server.url);

    // Subscribers are told, and the receipt says who has taken note.
    until("the erasure is delivered", async || receiver.messages().iter().any(|m| m["type"] == "user.erased")).await;
    let receipt = format!("erasures/{}", done["id"].as_str().unwrap());
    until("it is known", async || {
        let subscribers = get(&server, &receipt).await["subscribers"].clone();
        subscribers[0]["kind"] == "webhook" && subscribers[0]["acknowledged"] == true
    })
    .await;
    let feed = get(&server, &format!("changes?after={at}&kinds=erased")).await;
    assert_eq!(feed["changes"].as_array().unwrap().len(), 1, "{feed}");
    let messages = receiver.messages();
    let told = messages.iter().find(|m| m["type"] == "user.erased").unwrap();
    assert!(!told.to_string().contains("鬼無里"), "{told}");

    // What waits, and what comes again, does not bring the person back.
    let approve =
        format!("imports/{}/approve?plan={}", waiting["id"].as_str().unwrap(), waiting["plan"].as_str().unwrap());
    post(&server, &approve, json!({})).await;
    until("the plan has ended or waits", async || {
        let state = get(&server, &format!("imports/{}", waiting["id"].as_str().unwrap())).await["state"].clone();
        ["completed", "held", "planned", "failed"].iter().any(|end| state == *end)
    })
    .await;
    let job = server.import(world.set("q")).await;
    assert_eq!(job["state"], "completed", "{:?}", server.errors(&job).await);
    let left_out: i64 = job["conversions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["kind"] == "erased")
        .map(|c| c["rows"].as_i64().unwrap())
        .sum();
    assert_eq!(left_out, 4, "{job}");
    assert_eq!(server.read("users/p").await["user"]["familyName"], "erased");
    assert_eq!(found(&server.url, &SECRETS).await, Vec::<String>::new());
    let url = format!("{}/rosterhub/v1/roster/users/p", server.base);
    let user = json!({ "enabledUser": "true", "username": "x", "givenName": "a", "familyName": "b",
        "roles": [{ "roleType": "primary", "role": "teacher", "org": { "sourcedId": world.school, "type": "org" } }] });
    let write = async || server.http.put(&url).bearer_auth(&server.token).json(&user).send().await.unwrap();
    let refused = write().await;
    assert_eq!(refused.status(), 409);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "erased");
    // A second time there is nothing to do; until the person has come back.
    let (status, again) = post(&server, "erasures", json!({ "sourcedId": "p", "request": "again" })).await;
    assert_eq!((status, &again["id"]), (201, &done["id"]));
    let (status, lifted) = post(&server, &format!("{receipt}/lift"), json!({})).await;
    assert!(status == 200 && lifted["liftedAt"].is_string(), "{lifted}");
    assert_eq!(write().await.status(), 200);
    assert_eq!(server.read("users/p").await["user"]["familyName"], "b");
    let (status, second) = post(&server, "erasures", json!({ "sourcedId": "p", "request": "again" })).await;
    assert!(status == 201 && second["id"] != done["id"], "{second}");
    assert_eq!(server.read("users/p").await["user"]["familyName"], "erased");
    support::assert_verified(&server.url);
    assert_eq!(support::run(&server.url, &["audit", "verify"]).0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_erasure_left_is_guarded_as_well() {
    let server = server().await;
    World::make(&server).await;
    assert_eq!(post(&server, "erasures", json!({ "sourcedId": "p", "request": "17" })).await.0, 201);
    post(&server, "audit/checkpoints", json!({})).await;
    assert_eq!(support::run(&server.url, &["audit", "verify"]).0, 0);
    let mut conn = support::superuser(&server.url).await;
    sqlx::Executor::execute(&mut conn, "set session_replication_role = replica").await.unwrap();
    let position: i64 = sqlx::query_scalar("update events set payload = replace(payload::text, 'erased', 'someone')::json
         where position = (select min(position) from events where salt is null and payload::text like '%\"erased\"%') returning position")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let (code, text) = support::run(&server.url, &["audit", "verify"]);
    assert!(
        code == 3 && text.contains(&format!("position {position}: what an erasure left of it was changed")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_rules_and_refusals() {
    let mut server = server().await;
    World::make(&server).await;
    for (body, status, code) in [
        (json!({ "sourcedId": "nobody", "request": "x" }), 404, "not_found"),
        (json!({ "sourcedId": "p", "request": " " }), 400, "bad_request"),
        (json!({ "sourcedId": "p", "request": "x".repeat(501) }), 400, "bad_request"),
        (json!({ "sourcedId": "p" }), 400, "bad_request"),
        (json!({ "sourcedId": "p", "request": "x", "really": true }), 400, "bad_request"),
    ] {
        let (got, error) = post(&server, "erasures", body.clone()).await;
        assert_eq!((got, &error["error"]["code"]), (status, &json!(code)), "{body}: {error}");
    }
    let (status, hold) = post(&server, "legal-holds", json!({ "sourcedId": "p", "reason": "訴訟 3" })).await;
    assert_eq!(status, 201, "{hold}");
    let (status, error) = post(&server, "erasures", json!({ "sourcedId": "p", "request": "x" })).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("on_hold")));
    assert_eq!(get(&server, "legal-holds").await["legalHolds"].as_array().unwrap().len(), 1);
    assert_eq!(post(&server, "legal-holds", json!({ "sourcedId": "nobody", "reason": "x" })).await.0, 404);

    // By rule: those who left long ago, and are not held.
    assert_eq!(get(&server, "erasures/due?years=5").await["people"], json!([]));
    for id in ["p", "q"] {
        let url = format!("{}/rosterhub/v1/roster/users/{id}", server.base);
        assert!(server.http.delete(url).bearer_auth(&server.token).send().await.unwrap().status().is_success());
    }
    let mut conn = support::superuser(&server.url).await;
    sqlx::query("update users set date_last_modified = now() - interval '6 years' where sourced_id in ('p', 'q')")
        .execute(&mut conn)
        .await
        .unwrap();
    let due = async |years: u32| get(&server, &format!("erasures/due?years={years}")).await["people"].clone();
    assert_eq!(due(7).await, json!([]));
    assert_eq!(due(5).await[0]["sourcedId"], "q");
    assert_eq!(due(5).await.as_array().unwrap().len(), 1);
    let (status, released) =
        post(&server, &format!("legal-holds/{}/release", hold["id"].as_str().unwrap()), json!({})).await;
    assert!(status == 200 && released["releasedAt"].is_string());
    assert_eq!(due(5).await.as_array().unwrap().len(), 2);
    let (_, done) = post(&server, "erasures/due", json!({ "years": 5, "request": "保存期間満了" })).await;
    assert_eq!((done["erasures"].as_array().unwrap().len(), &done["more"]), (2, &json!(false)), "{done}");
    assert_eq!(due(5).await, json!([]));
    assert_eq!(server.read("users/q").await["user"]["familyName"], "erased");
    assert_eq!(get(&server, "erasures?sourcedId=q").await["erasures"].as_array().unwrap().len(), 1);
    assert_eq!(server.get(&format!("{}/rosterhub/v1/erasures/due", server.base)).await.status(), 400);

    // Another board, and a client without the scope.
    assert_eq!(support::run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    server.token = token(&server.url, "aoba", "erase");
    assert_eq!(post(&server, "erasures", json!({ "sourcedId": "p", "request": "x" })).await.0, 404);
    assert_eq!(get(&server, "erasures").await["erasures"], json!([]));
    server.token = token(&server.url, "midori", &format!("{EVERYTHING},audit,admin"));
    assert_eq!(post(&server, "erasures", json!({ "sourcedId": "p", "request": "x" })).await.0, 403);
}
