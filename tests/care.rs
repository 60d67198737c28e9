//! Imports are followed, counted and looked after.

use serde_json::{Value, json};

use crate::decisions::{FIVE, id, orgs, strict};
use crate::support::{Server, bulk, city, open, set, tenant, token, until};

/// Looked at besides the server, which would see to a plan that somebody looks at.
async fn job(server: &Server, job: &Value) -> rosterhub::csv::job::Job {
    let id = uuid::Uuid::try_parse(id(job)).unwrap();
    rosterhub::csv::job::find(&open(&server.url).await, &tenant("midori"), id).await.unwrap().unwrap()
}

#[tokio::test]
async fn plans_are_discarded_when_their_time_is_over_though_nobody_looks() {
    let server = strict(&[("ROSTERHUB_IMPORTS_PLAN_DAYS", "0"), ("ROSTERHUB_IMPORTS_CARE_SECONDS", "1")]).await;
    let planned = server.hand_in(orgs(&FIVE), "?apply=never").await;
    until("it is discarded", async || job(&server, &planned).await.state == "discarded").await;
    assert!(job(&server, &planned).await.failure.unwrap().starts_with("expired"));
}

/// A set of orgs with so many rows of a wrong type.
fn wrong(rows: usize) -> Vec<u8> {
    let good = "good,,,a,school,,\r\n".to_owned();
    let rows = (0..rows).map(|n| format!("o{n},,,a,nonsense,,\r\n")).collect::<String>();
    set(&[("orgs", "bulk", &format!("{}{good}{rows}", crate::imports::ORGS))])
}

#[tokio::test]
async fn errors_have_their_time_and_their_counts_stay() {
    let server = strict(&[("ROSTERHUB_IMPORTS_KEEP_DAYS", "0"), ("ROSTERHUB_IMPORTS_CARE_SECONDS", "1")]).await;
    let failed = server.hand_in(wrong(12), "").await;
    assert_eq!((&failed["state"], &failed["errors"]), (&"failed".into(), &12.into()));
    until("they are gone", async || server.errors(&failed).await.is_empty()).await;
    until("the job says so", async || job(&server, &failed).await.errors_kept == Some(0)).await;
    assert_eq!(job(&server, &failed).await.errors, 12);
    let figures = figures(&server, "").await;
    assert_eq!(figures["errors"], json!({ "bad_enum": 12 }), "{figures}");
}

#[tokio::test]
async fn very_many_errors_are_counted_and_not_all_listed() {
    let server = strict(&[("ROSTERHUB_IMPORTS_MAX_ERRORS", "5")]).await;
    for parameters in ["", "?onErrors=applyGoodRows"] {
        let failed = server.hand_in(wrong(12), parameters).await;
        // Which rows are good cannot be told any more.
        assert_eq!(
            (&failed["state"], &failed["errors"], &failed["errorsKept"]),
            (&"failed".into(), &12.into(), &5.into())
        );
        assert_eq!(server.errors(&failed).await.len(), 5);
    }
    // What the checks find between rows is bounded as well.
    let twice: Vec<(&str, &str)> = FIVE.iter().chain(&FIVE).chain(&FIVE).copied().collect();
    let failed = server.hand_in(orgs(&twice), "").await;
    assert_eq!((&failed["errors"], &failed["errorsKept"]), (&10.into(), &5.into()));
    let listed = server.errors(&failed).await;
    assert_eq!(listed.iter().map(|error| error["number"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let some = server.hand_in(wrong(5), "?onErrors=applyGoodRows&apply=always").await;
    assert_eq!((&some["state"], some.get("errorsKept")), (&"completed".into(), None));
}

async fn figures(server: &Server, query: &str) -> Value {
    server.get(&format!("{}/rosterhub/v1/imports/statistics{query}", server.base)).await.json().await.unwrap()
}

#[tokio::test]
async fn imports_are_counted() {
    let server = strict(&[]).await;
    let before = figures(&server, "").await;
    assert_eq!((&before["jobs"], &before["rows"], &before["phases"]), (&json!({}), &json!({}), &json!({})));
    server.import(orgs(&FIVE)).await;
    server.import(orgs(&FIVE[..3])).await;
    server.hand_in(orgs(&FIVE[..2]), "?apply=never").await;
    server.hand_in(wrong(2), "").await;
    let all = figures(&server, "").await;
    assert_eq!(all["jobs"], json!({ "completed": 2, "failed": 1, "planned": 1 }));
    assert_eq!(all["rows"], json!({ "orgs": 5 + 3 + 2 + 3 }));
    let org = json!({ "created": 5, "changed": 0, "restored": 0, "withdrawn": 2, "unchanged": 3 });
    assert_eq!(all["changes"], json!({ "org": org }));
    assert_eq!((&all["errors"], &all["phases"]["read"]["count"]), (&json!({ "bad_enum": 2 }), &4.into()));
    assert_eq!(all["phases"]["apply"]["count"], 2);
    assert!(all["phases"]["read"]["p95"].as_f64().unwrap() >= all["phases"]["read"]["p50"].as_f64().unwrap());

    assert_eq!(figures(&server, "?from=2020-01-01&to=2020-12-31T23:59:59Z").await["jobs"], json!({}));
    for query in ["?from=yesterday", "?since=2020-01-01", "?to=-262143-01-01"] {
        assert_eq!(figures(&server, query).await["error"]["code"], "bad_request", "{query}");
    }
    // GraphQL tells the same; another board has its own.
    let data = server
        .query("{ importStatistics(from: \"2020-01-01T00:00:00Z\") { states { state count } rows { file count } changes { recordType withdrawn } errors { code count } phases { name count p50 p95 } } }")
        .await;
    let told = &data["importStatistics"];
    assert_eq!(told["states"][0], json!({ "state": "COMPLETED", "count": 2 }));
    assert_eq!(told["rows"], json!([{ "file": "orgs", "count": 13 }]));
    assert_eq!(told["changes"], json!([{ "recordType": "org", "withdrawn": 2 }]));
    assert_eq!(told["errors"], json!([{ "code": "BAD_ENUM", "count": 2 }]));
    assert_eq!(crate::support::run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = token(&server.url, "aoba", "import");
    let url = format!("{}/rosterhub/v1/imports/statistics", server.base);
    let theirs: Value = server.http.get(&url).bearer_auth(other).send().await.unwrap().json().await.unwrap();
    assert_eq!(theirs["jobs"], json!({}));
    let reader = token(&server.url, "midori", "roster.readonly");
    assert_eq!(server.http.get(&url).bearer_auth(reader).send().await.unwrap().status(), 403);
}

/// Event names and data of a stream, to its end.
async fn events(server: &Server, job: &Value) -> Vec<(String, Value)> {
    let response = server.get(&format!("{}/rosterhub/v1/imports/{}/progress", server.base, id(job))).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let text = response.text().await.unwrap();
    let events = text.split("\n\n").filter(|event| event.contains("data:"));
    let part = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{event}")).trim().to_owned()
    };
    events.map(|e| (part(e, "event:"), serde_json::from_str(&part(e, "data:")).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_followed_by_events_to_its_end() {
    let one = Server::start().await;
    let two = Server::on(&one.url);
    let lock = open(&one.url).await.begin(&tenant("midori")).await.unwrap();
    let imports = format!("{}/rosterhub/v1/imports", one.base);
    let job: Value =
        one.http.post(imports).bearer_auth(&one.token).body(bulk(&city())).send().await.unwrap().json().await.unwrap();
    let (_, _, both) = tokio::join!(
        async {
            // It cannot end before it is followed.
            let get = async || {
                let url = format!("{}/rosterhub/v1/imports/{}", one.base, id(&job));
                one.get(&url).await.json::<Value>().await.unwrap()
            };
            until("it waits to be applied", async || get().await["state"] == "applying").await;
        },
        async {
            let waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())";
            let log = open(&one.url).await;
            until("it waits for the lock", async || {
                sqlx::query_scalar(waits).fetch_one(log.db().pool()).await.unwrap()
            })
            .await;
            drop(lock);
        },
        async { tokio::join!(events(&one, &job), events(&two, &job)) }
    );
    for events in [both.0, both.1] {
        let (last, before) = events.split_last().unwrap();
        assert!(!before.is_empty() && before.iter().all(|(name, _)| name == "progress"), "{events:?}");
        assert_eq!((last.0.as_str(), &last.1["state"]), ("end", &"completed".into()));
        assert!(last.1["position"].as_i64().unwrap() > 300);
        let order = ["queued", "reading", "planning", "applying", "completed"];
        let states: Vec<_> = events.iter().map(|e| order.iter().position(|s| e.1["state"] == *s).unwrap()).collect();
        assert!(states.is_sorted(), "{events:?}");
    }
    // One that rests is told at once.
    assert_eq!(events(&two, &job).await.len(), 1);
    let other = one.get(&format!("{}/rosterhub/v1/imports/{}/progress", one.base, uuid::Uuid::nil())).await;
    assert_eq!(other.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_an_import_does_not_hold_a_server_that_stops() {
    let mut server = Server::start().await;
    let lock = open(&server.url).await.begin(&tenant("midori")).await.unwrap();
    let imports = format!("{}/rosterhub/v1/imports", server.base);
    let request = server.http.post(imports).bearer_auth(&server.token).body(bulk(&city()));
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    let url = format!("{}/rosterhub/v1/imports/{}/progress", server.base, id(&job));
    let mut follower = server.get(&url).await;
    assert!(follower.chunk().await.unwrap().is_some());
    server.interrupt();
    while follower.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
    drop(lock);
    server.wait();
}

/// With few connections fewer imports run at a time, each with those it needs.
#[tokio::test]
async fn imports_have_the_connections_that_they_need() {
    let url = crate::support::database().await;
    let tenants = ["a", "b", "c", "d", "midori"];
    for tenant in tenants {
        assert_eq!(crate::support::run(&url, &["tenant", "create", tenant]).0, 0);
    }
    let server = Server::with(&url, &[("ROSTERHUB_DATABASE_CONNECTIONS", "6"), ("ROSTERHUB_MAX_IMPORTS", "4")]);
    let mut jobs = Vec::new();
    for tenant in tenants {
        let request = server.http.post(format!("{}/rosterhub/v1/imports", server.base));
        jobs.push(request.bearer_auth(token(&url, tenant, "import")).header("prefer", "wait=60").body(bulk(&city())));
    }
    for answer in futures::future::join_all(jobs.into_iter().map(reqwest::RequestBuilder::send)).await {
        let job: Value = answer.unwrap().json().await.unwrap();
        assert_eq!(job["state"], "completed", "{job}");
    }
}
