//! Proof of history: tampering of each kind is found and named, proofs hold by other implementations, bundles are
//! examined without a database.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::Executor;

use crate::support::{self, EVERYTHING, Server, bulk, city, delta, put, token, until};

const SETTINGS: [(&str, &str); 3] = [
    ("ROSTERHUB_AUDIT_SECONDS", "0.05"),
    ("ROSTERHUB_AUDIT_CHECKPOINT_SECONDS", "0"),
    ("ROSTERHUB_AUDIT_ORIGIN", "rosterhub.example"),
];

async fn server() -> Server {
    let url = support::database().await;
    assert_eq!(support::run(&url, &["tenant", "create", "midori"]).0, 0);
    with_tree(&url)
}

fn with_tree(url: &str) -> Server {
    let mut server = Server::with(url, &SETTINGS);
    server.token = token(url, "midori", &format!("{EVERYTHING},audit"));
    server
}

async fn ask(server: &Server, path: &str) -> (u16, Value) {
    let answer = server.get(&format!("{}/rosterhub/v1/audit/{path}", server.base)).await;
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

/// Signs a checkpoint of everything: its size and note.
async fn checkpoint(server: &Server) -> (i64, String) {
    let url = format!("{}/rosterhub/v1/audit/checkpoints", server.base);
    let answer = server.http.post(url).bearer_auth(&server.token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let made: Value = answer.json().await.unwrap();
    (made["size"].as_i64().unwrap(), made["note"].as_str().unwrap().to_owned())
}

/// Exit code, and the report's findings as `kind from-to`.
fn verify(url: &str, args: &[&str]) -> (i32, Vec<String>) {
    let output = support::rosterhub(url, &[&["--json", "audit", "verify"], args].concat())
        .env("ROSTERHUB_AUDIT_ORIGIN", "rosterhub.example")
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), findings(&report))
}

fn findings(report: &Value) -> Vec<String> {
    let one = |finding: &Value| format!("{} {}-{}", finding["kind"].as_str().unwrap(), finding["from"], finding["to"]);
    report["findings"].as_array().unwrap().iter().map(one).collect()
}

/// Runs SQL as whoever owns the machine would: no trigger, no policy.
async fn tamper(url: &str, sql: &str) {
    let mut conn = support::superuser(url).await;
    conn.execute("set session_replication_role = replica").await.unwrap();
    conn.execute(sql).await.unwrap();
}

/// A log of a city and a delta, with two checkpoints, on which no server runs any more.
async fn history() -> (String, (i64, String), (i64, String)) {
    let mut server = server().await;
    assert_eq!(server.import(bulk(&city())).await["state"], "completed");
    let first = checkpoint(&server).await;
    assert_eq!(server.import(delta(&city(), 10.0)).await["state"], "completed");
    let second = checkpoint(&server).await;
    assert!(first.0 < second.0 - 4, "{} {}", first.0, second.0);
    server.interrupt();
    server.wait();
    (server.url.clone(), first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_tampering_is_found_and_named() {
    let (url, first, second) = history().await;
    assert_eq!(verify(&url, &[]), (0, vec![]));
    let (a, b) = (first.0, second.0);
    let cases = [
        ("update events set payload = replace(payload::text, 'Recorded', 'Restored')::json where position = 5", "changed 5-5".to_owned()),
        ("update events set payload = (payload::text || ' ')::json where position = 5", "changed 5-5".to_owned()),
        ("update events set metadata = '{}' where position = 6", "changed 6-6".to_owned()),
        ("update events set recorded_at = recorded_at + interval '1 microsecond' where position = 7", "changed 7-7".to_owned()),
        ("update events set event_type = 'Withdrawn' where position = 8", "changed 8-8".to_owned()),
        ("update events set salt = gen_random_uuid() where position = 9", "changed 9-9".to_owned()),
        ("delete from events where position = 300", "removed 300-300".to_owned()),
        ("delete from events where position between 10 and 12", "removed 10-12".to_owned()),
        (
            "delete from events where position = (select max(position) from events);
             update tenants set head = head - 1, projected = projected - 1",
            format!("removed {b}-{b}"),
        ),
        (
            "update events set position = -20 where position = 20; update events set position = 20 where position = 21;
             update events set position = 21 where position = -20",
            "changed 20-21".to_owned(),
        ),
        (
            "update events set position = -position where position >= 30;
             update events set position = 1 - position where position < 0;
             insert into events (tenant, position, unit, aggregate_type, aggregate_id, sequence, event_type, event_version,
                                 payload, metadata, recorded_at)
             select tenant, 30, unit, aggregate_type, aggregate_id || 'x', 1, event_type, event_version, payload, metadata, recorded_at
               from events where position = 29",
            format!("changed 30-{b}"),
        ),
        (
            "update events set commitment = sha256(uuid_send(salt) || convert_to(payload::text, 'UTF8')), salt = null,
                               payload = '{}' where position = 40",
            "emptied 40-40".to_owned(),
        ),
        ("update audit_tiles set hashes = set_byte(hashes, 0, 255 - get_byte(hashes, 0)) where level = 1", "tree 1-65536".to_owned()),
        ("delete from audit_tiles where level = 0 and number = 0", "tree 1-256".to_owned()),
    ];
    for (sql, expected) in cases {
        let copy = support::copy(&url).await;
        tamper(&copy, sql).await;
        let (code, found) = verify(&copy, &[]);
        assert_eq!((code, found.first()), (3, Some(&expected)), "{sql}: {found:?}");
        assert_eq!(found.len(), 1, "{sql}: {found:?}");
    }
    // Who rewrites the tree as well meets the checkpoints.
    let copy = support::copy(&url).await;
    let sql = format!(
        "update events set payload = (payload::text || ' ')::json where position = {};
         delete from audit_tiles; update audit_trees set size = 0",
        a + 2
    );
    tamper(&copy, &sql).await;
    grown(&copy, b).await;
    assert_eq!(verify(&copy, &[]), (3, vec![format!("rewritten {}-{b}", a + 1)]));
    // Who can sign as well meets those that were given away.
    tamper(&copy, "delete from audit_checkpoints; update audit_trees set signed = 0").await;
    assert_eq!(verify(&copy, &[]).0, 0);
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("checkpoint");
    std::fs::write(&kept, &second.1).unwrap();
    let kept = kept.to_str().unwrap();
    assert_eq!(verify(&copy, &["--checkpoint", kept]), (3, vec![format!("rewritten 1-{b}")]));
    assert_eq!(verify(&url, &["--checkpoint", kept]), (0, vec![]));
    // Another key in the database is believed only by who knows no better.
    let (_, key) = support::run(&url, &["audit", "key", "--tenant", "midori"]);
    let key =
        key.lines().find(|line| line.contains("/midori+")).unwrap().replace("rosterhub.local", "rosterhub.example");
    let parsed = signed_note_key(&key);
    let copy = support::copy(&url).await;
    tamper(
        &copy,
        "delete from audit_checkpoints where size > 1; update audit_trees set signed = 0; delete from audit_keys",
    )
    .await;
    grown(&copy, b).await;
    assert_eq!(verify(&copy, &[]).0, 0);
    assert_eq!(verify(&copy, &["--key", &parsed]), (3, vec![format!("signature {b}-{b}")]));
    let copy = support::copy(&url).await;
    tamper(&copy, "update audit_checkpoints set note = overlay(note placing 'A' from length(note) - 8)").await;
    let (code, found) = verify(&copy, &[]);
    assert!(code == 3 && found.iter().all(|finding| finding.starts_with("signature")), "{found:?}");
}

/// The key under the origin that these tests use: the id of a key depends on its name.
fn signed_note_key(key: &str) -> String {
    let (name, rest) = key.split_once('+').unwrap();
    let public = STANDARD.decode(rest.split_once('+').unwrap().1).unwrap();
    let id = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(&public).finalize();
    let id: String = id[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}+{id}+{}", STANDARD.encode(public))
}

/// Runs a hub until the tree holds so many events and is signed.
async fn grown(url: &str, size: i64) {
    let mut server = with_tree(url);
    let (signed, _) = checkpoint(&server).await;
    assert_eq!(signed, size);
    server.interrupt();
    server.wait();
}

fn node(left: &[u8], right: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().to_vec()
}

/// RFC 6962, section 2.1, as it is written there.
fn root(leaves: &[Vec<u8>]) -> Vec<u8> {
    match leaves.len() {
        1 => Sha256::new().chain_update([0]).chain_update(&leaves[0]).finalize().to_vec(),
        n => {
            let (left, right) = leaves.split_at(n.next_power_of_two() / 2);
            node(&root(left), &root(right))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_and_proofs_hold_by_other_implementations() {
    let server = server().await;
    assert_eq!(ask(&server, "checkpoints").await, (200, json!({ "checkpoints": [] })));
    assert_eq!(ask(&server, "proofs/inclusion?position=1").await.0, 404);
    for n in 1..=11 {
        put(&server, &format!("orgs/o{n}"), json!({ "name": format!("第{n}小学校"), "type": "school" })).await;
    }
    // The tree follows the log by itself.
    until("a checkpoint is signed", async || ask(&server, "checkpoints").await.1["checkpoints"][0]["size"] == 11).await;
    let (_, keys) = ask(&server, "keys").await;
    assert_eq!(keys["origin"], "rosterhub.example/midori");
    let note = server.get(&format!("{}/rosterhub/v1/audit/checkpoint", server.base)).await;
    assert_eq!(note.headers()["content-type"], "text/plain; charset=utf-8");
    let note = note.text().await.unwrap();

    let verifier = signed_note::StandardVerifier::new(keys["keys"][0].as_str().unwrap()).unwrap();
    let opened = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    let (verified, _) = opened.verify(&signed_note::VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!(verified.len(), 1);
    let lines: Vec<&str> = note.lines().collect();
    assert_eq!(lines[..2], ["rosterhub.example/midori", "11"]);

    let mut leaves = Vec::new();
    for position in 1..=11 {
        let (status, proof) = ask(&server, &format!("proofs/inclusion?position={position}")).await;
        assert_eq!((status, &proof["size"]), (200, &json!(11)));
        leaves.push(proof["leaf"].as_str().unwrap().as_bytes().to_vec());
    }
    assert_eq!(STANDARD.encode(root(&leaves)), lines[2]);
    // The path of the sixth leaf, by hand: its neighbour, the pair before, the four after with three more.
    let (_, proof) = ask(&server, "proofs/inclusion?position=6&size=11").await;
    let expected = [root(&leaves[4..5]), root(&leaves[6..8]), root(&leaves[..4]), root(&leaves[8..])];
    assert_eq!(proof["proof"], json!(expected.map(|hash| STANDARD.encode(hash))));
    let (_, proof) = ask(&server, "proofs/consistency?old=8&new=11").await;
    assert_eq!(proof["proof"], json!([STANDARD.encode(root(&leaves[8..]))]));

    for (path, status) in [
        ("proofs/inclusion?position=0", 400),
        ("proofs/inclusion?position=3&size=2", 400),
        ("proofs/inclusion?position=12&size=12", 409),
        ("proofs/inclusion?position=x", 400),
        ("proofs/consistency?old=12&new=11", 409),
        ("proofs/consistency?new=11", 400),
        ("checkpoints?after=1", 400),
    ] {
        assert_eq!(ask(&server, path).await.0, status, "{path}");
    }
    // An auditor of another board, and a client that is none.
    assert_eq!(support::run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = token(&server.url, "aoba", "audit");
    let of = async |token: &str, path: &str| {
        let url = format!("{}/rosterhub/v1/audit/{path}", server.base);
        server.http.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(of(&other, "checkpoint").await, 404);
    assert_eq!(of(&other, "proofs/inclusion?position=1&size=1").await, 409);
    assert_eq!(of(&token(&server.url, "midori", EVERYTHING), "checkpoint").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_are_examined_without_a_database() {
    let (url, _, second) = history().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let bundle = |out: &str, args: &[&str]| {
        let output =
            support::rosterhub(&url, &[&["audit", "bundle", "--tenant", "midori", "--out", out], args].concat())
                .env("ROSTERHUB_AUDIT_ORIGIN", "rosterhub.example")
                .output()
                .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let check = |path: &str, args: &[&str]| {
        let output = support::rosterhub(
            "postgres://nobody@localhost:1/none",
            &[&["--json", "audit", "check", path], args].concat(),
        )
        .output()
        .unwrap();
        let report = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap(), report)
    };
    let whole = file("whole");
    bundle(&whole, &[]);
    let (code, report) = check(&whole, &[]);
    assert_eq!((code, &report["report"]["signed"], &report["ownKeys"]), (0, &json!(second.0), &json!(true)));
    assert_eq!(report["report"]["events"], second.0);
    let key = report["keys"][0].as_str().unwrap().to_owned();
    assert_eq!(check(&whole, &["--key", &key]).1["ownKeys"], false);

    let text = std::fs::read_to_string(&whole).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let changed = |name: &str, lines: &[String]| {
        let path = file(name);
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
        check(&path, &[])
    };
    let owned = || lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let event = lines.iter().position(|line| line.contains("\"position\":7,")).unwrap();
    let mut other = owned();
    other[event] = other[event].replace("Recorded", "Restored");
    assert_eq!(findings(&changed("other", &other).1["report"]).len(), 1);
    let mut fewer = owned();
    fewer.remove(event);
    assert_eq!(changed("fewer", &fewer).0, 1, "the last line counts the events");
    let end = fewer.len() - 1;
    fewer[end] = json!({ "end": { "events": second.0 - 1 } }).to_string();
    assert_eq!(findings(&changed("fewer", &fewer).1["report"])[0], "removed 7-7");
    assert_eq!(changed("cut", &owned()[..lines.len() - 1]).0, 1);
    assert_eq!(changed("empty", &[]).0, 1);

    // One record's events, each with its proof.
    let one = file("one");
    let id = serde_json::from_str::<Value>(lines[event]).unwrap()["event"]["aggregateId"].clone();
    let id = id.as_str().unwrap().strip_prefix("midori/").unwrap().to_owned();
    bundle(&one, &["--records", &id]);
    let (code, report) = check(&one, &["--key", &key]);
    assert_eq!((code, &report["report"]["covered"]), (0, &report["report"]["events"]), "{report}");
    let text = std::fs::read_to_string(&one).unwrap();
    let at = text.find("\"payload\":\"").unwrap() + 40;
    let mut bytes = text.into_bytes();
    bytes[at] ^= 1;
    std::fs::write(&one, bytes).unwrap();
    assert_ne!(check(&one, &[]).0, 0);
    let some = file("some");
    bundle(&some, &["--from", "3", "--to", "9"]);
    assert_eq!(check(&some, &[]).1["report"]["events"], 7);
}

/// The hub's own role can change nothing of an event but erase it, and only rightly.
#[tokio::test]
async fn an_event_can_only_be_erased() {
    let server = server().await;
    put(&server, "orgs/o", json!({ "name": "学校", "type": "school" })).await;
    let log = support::open(&server.url).await;
    let midori = support::tenant("midori");
    let mut conn = log.db().acquire(&midori).await.unwrap();
    let erase =
        "commitment = sha256(uuid_send(salt) || convert_to(payload::text, 'UTF8')), salt = null, payload = '{}'";
    for set in [
        "payload = '{}'",
        "metadata = '{}'",
        "salt = gen_random_uuid()",
        "commitment = sha256(''), salt = null, payload = '{}'",
        &format!("{erase}, event_type = 'x'"),
        &format!("{erase}, metadata = '{{}}'"),
    ] {
        let refused = conn.execute(format!("update events set {set}").as_str()).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{set}: {refused}");
    }
    assert!(conn.execute("delete from events").await.is_err());
    assert_eq!(conn.execute(format!("update events set {erase}").as_str()).await.unwrap().rows_affected(), 1);
    assert!(conn.execute("update events set payload = '[]'").await.is_err(), "erased is erased");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daily_checks_tell_of_what_they_find() {
    let url = support::database().await;
    assert_eq!(support::run(&url, &["tenant", "create", "midori"]).0, 0);
    let daily = [&SETTINGS[..], &[("ROSTERHUB_AUDIT_DAILY", "00:00")]].concat();
    let start = || {
        let mut server = Server::with(&url, &daily);
        server.token = token(&url, "midori", &format!("{EVERYTHING},audit"));
        server
    };
    let finished = async |server: &Server| {
        until("the checks have run", async || ask(server, "checks").await.1["checks"][0]["finishedAt"].is_string())
            .await;
        ask(server, "checks").await.1["checks"][0].clone()
    };
    let mut server = start();
    put(&server, "orgs/o", json!({ "name": "学校", "type": "school" })).await;
    put(&server, "orgs/p", json!({ "name": "学校", "type": "school" })).await;
    checkpoint(&server).await;
    let check = finished(&server).await;
    assert_eq!((&check["history"], &check["readModels"]), (&json!([]), &Value::Null), "{check}");
    server.interrupt();
    server.wait();
    tamper(
        &url,
        "delete from audit_checks; update events set metadata = '{}' where position = 2;
         update orgs set name = 'x' where sourced_id = 'o'",
    )
    .await;
    let server = start();
    let check = finished(&server).await;
    assert_eq!(check["history"], json!([{ "kind": "changed", "from": 2, "to": 2 }]), "{check}");
    assert_eq!(
        (&check["readModels"]["table"], &check["readModels"]["sourcedId"]),
        (&json!("orgs"), &json!("o")),
        "{check}"
    );
    let notices = server.get(&format!("{}/rosterhub/v1/notices", server.base)).await.json::<Value>().await.unwrap();
    let told = notices["notices"].as_array().unwrap().iter().find(|n| n["type"] == "audit.failed").cloned();
    assert_eq!(told.unwrap()["data"]["history"][0]["from"], 2);
    assert_eq!(ask(&server, "checks").await.1["checks"].as_array().unwrap().len(), 1, "once a day");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_held_about_a_person_is_in_one_archive() {
    let server = server().await;
    assert_eq!(server.import(bulk(&city())).await["state"], "completed");
    let student = server.read("students?limit=1").await["users"][0].clone();
    let id = student["sourcedId"].as_str().unwrap();
    support::patch(&server, &format!("users/{id}"), json!({ "middleName": "瑠璃" })).await;
    let url = |person: &str| format!("{}/rosterhub/v1/audit/subject?person={person}", server.base);
    let answer = server.get(&url(id)).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/zip".parse().unwrap())
    );
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(answer.bytes().await.unwrap().to_vec())).unwrap();
    let mut read = |name: &str| std::io::read_to_string(zip.by_name(name).unwrap()).unwrap();
    let records: Value = serde_json::from_str(&read("records.json")).unwrap();
    let types: std::collections::BTreeSet<&str> =
        records["records"].as_array().unwrap().iter().map(|r| r["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["demographics", "enrollment", "role", "user", "userProfile"].into());
    let history = read("history.jsonl");
    let events: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        events
            .iter()
            .any(|e| e["cause"]["file"] == "users.csv" && e["content"]["record"]["givenName"] == student["givenName"])
    );
    assert!(events.last().unwrap().to_string().contains("瑠璃"));
    assert!(read("README.txt").contains("開示") || read("README.txt").contains("資料"));
    assert_eq!(server.get(&url("nobody")).await.status(), 404);
    assert_eq!(server.get(&url("")).await.status(), 404);
}
