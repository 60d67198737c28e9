//! The access log: each gateway's reads of personal data are in it, once; it is told who received whose.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::graphql::follow::{Event, Sse, Ws};
use crate::support::receiver::Receiver;
use crate::support::{self, EVERYTHING, Server, put, token, until};
use crate::webhooks::{SETTINGS, register};

async fn board() -> String {
    let url = support::database().await;
    assert_eq!(support::run(&url, &["tenant", "create", "midori"]).0, 0);
    url
}

fn serve(url: &str, settings: &[(&str, &str)]) -> Server {
    let mut server = Server::with(url, settings);
    server.token = token(url, "midori", &format!("{EVERYTHING},audit,erase,webhooks"));
    server
}

async fn server() -> Server {
    serve(&board().await, &[])
}

/// Two pupils and a teacher in a class.
async fn small(server: &Server) {
    put(server, "orgs/s", json!({ "name": "緑小", "type": "school" })).await;
    let term = json!({ "title": "1学期", "type": "term", "startDate": "2026-04-01", "endDate": "2026-08-01", "schoolYear": "2026" });
    put(server, "academicSessions/t", term).await;
    let reference = |kind: &str, id: &str| json!({ "sourcedId": id, "type": kind });
    put(server, "courses/c", json!({ "title": "国語", "org": reference("org", "s") })).await;
    let class = json!({ "title": "1-1", "classType": "homeroom", "course": reference("course", "c"),
        "school": reference("org", "s"), "terms": [reference("academicSession", "t")] });
    put(server, "classes/k", class).await;
    for (id, role) in [("a", "student"), ("b", "student"), ("z", "teacher")] {
        let user = json!({ "enabledUser": "true", "username": format!("u-{id}"), "givenName": format!("花{id}"), "familyName": format!("佐藤{id}"),
            "roles": [{ "roleType": "primary", "role": role, "org": reference("org", "s") }] });
        put(server, &format!("users/{id}"), user).await;
        put(server, &format!("demographics/{id}"), json!({ "sex": "female" })).await;
        let enrollment = json!({ "role": role, "user": reference("user", id), "class": reference("class", "k"), "school": reference("org", "s") });
        put(server, &format!("enrollments/e-{id}"), enrollment).await;
    }
}

async fn ask(server: &Server, token: &str, query: &str) -> (u16, Value) {
    let url = format!("{}/rosterhub/v1/audit/access{query}", server.base);
    let answer = server.http.get(url).bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// All entries, page by page, without those of reading the log.
async fn entries(server: &Server, query: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = ask(server, &server.token, &format!("?limit=1000&{query}{after}")).await;
        assert_eq!(status, 200, "{page}");
        all.extend(page["entries"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    all.retain(|entry| !entry["operation"].as_str().unwrap().starts_with("getAccess"));
    all
}

/// What the entries after the first `n` say, shortly.
async fn since(server: &Server, n: usize) -> Vec<(String, String, String, Value, Value)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let short =
        |e: &Value| (text(e, "via"), text(e, "operation"), text(e, "query"), e["people"].clone(), e["records"].clone());
    entries(server, "").await[n..].iter().map(short).collect()
}

fn expected(
    via: &str,
    operation: &str,
    query: &str,
    people: &[&str],
    records: u64,
) -> (String, String, String, Value, Value) {
    (via.to_owned(), operation.to_owned(), query.to_owned(), json!(people), json!(records))
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_over_rest_are_written_down() {
    let server = server().await;
    small(&server).await;
    let before = entries(&server, "").await.len();
    assert_eq!(before, 9, "a write of a person is answered with the record");
    let paths = [
        "users?limit=2",
        "users/a",
        "demographics/b",
        "enrollments/e-a",
        "enrollments",
        "classes/k/students?filter=familyName='佐藤b'",
        "schools/s/teachers",
        "students/a/classes",
        "users?filter=familyName='鈴木'",
        "orgs", // nobody's
        "classes/k",
        "users?limit=1001",
    ];
    for path in paths {
        server.read(path).await;
    }
    let next = server.get(&server.oneroster("users?limit=1&sort=familyName")).await;
    let link = next.headers()["link"].to_str().unwrap().to_owned();
    let link = link.split(", ").find(|link| link.ends_with("rel=\"next\"")).unwrap();
    assert_eq!(server.get(link.split(['<', '>']).nth(1).unwrap()).await.status(), 200);
    // Not given away: no entry.
    assert_eq!(server.get(&server.oneroster("users/nobody")).await.status(), 404);
    let other = token(&server.url, "midori", "roster-core.readonly");
    let refused = server.http.get(server.oneroster("demographics")).bearer_auth(&other).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let found = since(&server, before).await;
    let wanted = [
        expected("rest", "getAllUsers", "limit=2", &["a", "b"], 2),
        expected("rest", "getUser", "", &["a"], 1),
        expected("rest", "getDemographics", "", &["b"], 1),
        expected("rest", "getEnrollment", "sourcedId=e-a", &["a"], 1),
        expected("rest", "getAllEnrollments", "", &["a", "b", "z"], 3),
        expected("rest", "getStudentsForClass", "classSourcedId=k&filter=familyName='佐藤b'", &["b"], 1),
        expected("rest", "getTeachersForSchool", "schoolSourcedId=s", &["z"], 1),
        expected("rest", "getClassesForStudent", "studentSourcedId=a", &["a"], 1),
        expected("rest", "getAllUsers", "filter=familyName='鈴木'", &[], 0),
        expected("rest", "getAllUsers", "limit=1001", &["a", "b", "z"], 3),
        expected("rest", "getAllUsers", "limit=1&sort=familyName", &["a"], 1),
        expected("rest", "getAllUsers", "limit=1&sort=familyName&offset=1", &["b"], 1),
    ];
    assert_eq!(found, wanted);
    let all = entries(&server, "").await;
    let user = &all[before + 1];
    assert_eq!(user["endpoint"], "/ims/oneroster/rostering/v1p2/users/{sourcedId}");
    assert_eq!((&user["clientName"], &user["persons"], &user["wide"]), (&json!("test"), &json!(1), &json!(false)));
    let body = server.get(&server.oneroster("users/a")).await;
    assert_eq!(body.headers()["rosterhub-position"].to_str().unwrap(), user["position"].to_string());
    assert_eq!(body.bytes().await.unwrap().len(), user["bytes"].as_u64().unwrap() as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_over_graphql_are_written_down() {
    let server = server().await;
    small(&server).await;
    let before = entries(&server, "").await.len();
    let query = "query Q($name: String) { class(sourcedId: \"k\") {\n  title students { nodes { familyName } } } users(filter: { familyName: { eq: $name } }) { nodes { sourcedId } pageInfo { endCursor } } }";
    let answer = server.graphql(query, json!({ "name": "佐藤z" })).await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    let cursor = answer["data"]["users"]["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
    server.graphql("query N($c: String) { users(first: 1, after: $c) { totalCount } }", json!({ "c": cursor })).await;
    server.query(&format!("{{ users(first: 1, after: \"{cursor}\") {{ nodes {{ sourcedId }} }} }}")).await;
    server.query("{ orgs { nodes { name } } }").await;
    server.query("{ history(recordType: enrollment, sourcedId: \"e-b\") { nodes { position } } }").await;
    let head = answer["extensions"]["position"].as_i64().unwrap();
    server.query(&format!("{{ diff(from: 1, to: {head}) {{ nodes {{ sourcedId }} }} }}")).await;
    server.query("{ changes(types: [user]) { nodes { sourcedId } } }").await;
    let found = since(&server, before).await;
    let short: Vec<(&str, &Value)> = found.iter().map(|e| (e.1.as_str(), &e.3)).collect();
    let (all, none) = (json!(["a", "b", "z"]), json!([]));
    let b = json!(["b"]);
    let wanted =
        [("Q", &all), ("N", &none), ("anonymous", &none), ("anonymous", &b), ("anonymous", &all), ("anonymous", &all)];
    assert_eq!(short, wanted);
    assert!(found[0].2.starts_with("query Q($name: String) { class(sourcedId: \"k\") { title"), "{}", found[0].2);
    assert!(found[0].2.ends_with("$name=\"佐藤z\""), "{}", found[0].2);
    assert!(found[1].2.ends_with(" $c=…") && found[2].2.contains("after: \"…\""), "{found:?}");
    // Subscriptions, over both transports.
    let text = "subscription S($after: Position) { changes(after: $after, types: [demographics]) { sourcedId } }";
    let before = before + found.len();
    let mut ws = Ws::open(&server, &server.token).await;
    ws.subscribe("a", text, json!({ "after": 0 })).await;
    let body = json!({ "query": text, "variables": { "after": 0 } });
    let mut sse = Sse::open(&server, &server.token, body, None).await;
    for _ in 0..3 {
        ws.hear().await.unwrap();
        assert!(matches!(sse.next().await, Event::Next(_)));
    }
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    for (via, operation, _, people, records) in since(&server, before).await {
        assert_eq!((via.as_str(), operation.as_str()), ("graphql", "S"));
        assert!(records.as_u64().unwrap() >= 1);
        people.as_array().unwrap().iter().for_each(|id| *told.entry(id.to_string()).or_default() += 1);
    }
    assert_eq!(told.values().copied().collect::<Vec<_>>(), [2, 2, 2], "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_and_exports_are_written_down() {
    let server = server().await;
    small(&server).await;
    let before = entries(&server, "").await.len();
    let feed = async |query: &str, accept: &str| {
        let url = format!("{}/rosterhub/v1/changes{query}", server.base);
        server.http.get(url).bearer_auth(&server.token).header("accept", accept).send().await.unwrap()
    };
    feed("?types=user&values=true", "application/json").await.text().await.unwrap();
    feed("?types=org", "application/json").await.text().await.unwrap();
    feed("?sourcedId=e-a", "application/x-ndjson").await.text().await.unwrap();
    let mut events = Sse::over(feed("?after=0&sourcedId=b&types=user", "text/event-stream").await);
    assert!(matches!(events.next().await, Event::Next(_)));
    let found = since(&server, before).await;
    let users = ["a", "b", "z"];
    let wanted = [
        expected("feed", "getChanges", "types=user&values=true", &users, 3),
        expected("feed", "getChanges", "sourcedId=e-a", &["a"], 1),
        expected("feed", "followChanges", "after=0&sourcedId=b&types=user", &["b"], 1),
    ];
    assert_eq!(found, wanted);
    let zip = async |query: &str| {
        let url = format!("{}/rosterhub/v1/exports/oneroster.zip{query}", server.base);
        assert!(server.get(&url).await.bytes().await.unwrap().len() > 100);
    };
    zip("?schools=s&edition=1.2.1").await;
    zip("?files=orgs").await;
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("set.zip");
    let (code, text) = support::run(&server.url, &["export", "--tenant", "midori", "--out", path.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    // The last counts come behind the last byte.
    let done = async || entries(&server, "via=export").await.iter().filter(|e| e["records"].is_number()).count() == 1;
    until("the export is complete in the log", done).await;
    let exports = entries(&server, "via=export&person=a").await;
    let short: Vec<_> = exports.iter().map(|e| (&e["query"], &e["wide"], &e["receipt"], &e["persons"])).collect();
    let (wide, possible) = (json!(true), json!("possible"));
    assert_eq!(short.len(), 2, "{exports:?}");
    assert_eq!(short[0], (&json!("schools=s&edition=1.2.1"), &wide, &possible, &json!(3)));
    assert_eq!((&exports[1]["client"], short[1].2), (&json!("cli"), &possible));
}

#[tokio::test(flavor = "multi_thread")]
async fn full_webhooks_are_written_down_and_thin_ones_are_not() {
    let (receiver, hook) = Receiver::start(&[500]).await;
    let server = serve(&board().await, &SETTINGS);
    let full = register(&server, json!({ "url": hook, "types": ["user.*"], "payload": "full", "order": "fifo" })).await;
    register(&server, json!({ "url": hook, "types": ["user.*"] })).await;
    small(&server).await;
    until("all are told", async || receiver.messages().len() >= 7).await;
    let found = entries(&server, "via=webhook").await;
    let mut people: Vec<&str> =
        found.iter().flat_map(|e| e["people"].as_array().unwrap()).map(|p| p.as_str().unwrap()).collect();
    people.sort_unstable();
    people.dedup();
    assert_eq!(people, ["a", "b", "z"]);
    let id = full["id"].as_str().unwrap();
    for entry in &found {
        assert!(entry["query"].as_str().unwrap().starts_with(&format!("endpoint={id}&")), "{entry}");
        assert_eq!((&entry["operation"], &entry["clientName"]), (&json!("deliver"), &json!("test")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_are_apart_and_the_scope_is_needed() {
    let server = server().await;
    small(&server).await;
    server.read("users").await;
    assert_eq!(support::run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = token(&server.url, "aoba", "audit");
    let (status, page) = ask(&server, &other, "?person=a").await;
    assert_eq!((status, &page["entries"]), (200, &json!([])));
    assert_eq!(ask(&server, &token(&server.url, "midori", EVERYTHING), "").await.0, 403);
    assert_eq!(ask(&server, &token(&server.url, "midori", EVERYTHING), "/report?person=a").await.0, 403);
    for bad in [
        "?via=x",
        "?after=x",
        "?since=x",
        "?limit=x",
        "?nobody=1",
        "/report",
        "/report?person=a&lang=fr",
        "/report?person=a&format=pdf",
    ] {
        assert_eq!(ask(&server, &server.token, bad).await.0, 400, "{bad}");
    }
    // Who looks is written down, too.
    let (_, page) = ask(&server, &other, "").await;
    let (entry, n) = (&page["entries"][0], page["entries"].as_array().unwrap().len());
    assert_eq!(
        (n, &entry["operation"], &entry["people"], &entry["query"]),
        (1, &json!("getAccessLog"), &json!(["a"]), &json!("person=a"))
    );
    // Selections.
    let (_, page) = ask(&server, &server.token, "?limit=1").await;
    let next = page["next"].as_str().unwrap();
    let (_, rest) = ask(&server, &server.token, &format!("?after={next}&limit=1000")).await;
    assert!(rest["entries"][0]["id"].as_str().unwrap() > next);
    let client = page["entries"][0]["client"].as_str().unwrap();
    assert_eq!(entries(&server, &format!("client={client}")).await.len(), 10);
    assert_eq!(entries(&server, "client=cli").await.len(), 0);
    assert_eq!(entries(&server, "until=2020-01-01").await.len(), 0);
    assert_eq!(entries(&server, "since=2020-01-01&until=2999-01-01").await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_reads_are_possible_receipts_and_reports_tell_them_apart() {
    let url = board().await;
    let server = serve(&url, &[("ROSTERHUB_ACCESS_PEOPLE", "2")]);
    small(&server).await;
    let since = entries(&server, "").await.last().unwrap()["id"].clone();
    let after = format!("after={}&", since.as_str().unwrap());
    server.read("users/a").await;
    server.read("users?limit=2").await;
    server.read("users?filter=familyName!='<b>'").await;
    server.query("{ users { nodes { sourcedId } } }").await;
    let of = async |person: &str| {
        let found = entries(&server, &format!("{after}person={person}")).await;
        found
            .iter()
            .map(|e| {
                (
                    e["operation"].as_str().unwrap().to_owned(),
                    e["receipt"].as_str().unwrap().to_owned(),
                    e["persons"].clone(),
                )
            })
            .collect::<Vec<_>>()
    };
    let told = |operation: &str, receipt: &str, persons: Value| (operation.to_owned(), receipt.to_owned(), persons);
    let wide = [told("getAllUsers", "possible", json!(3)), told("anonymous", "possible", Value::Null)];
    let listed = [told("getUser", "listed", json!(1)), told("getAllUsers", "listed", json!(2))];
    assert_eq!(of("a").await, [&listed[..], &wide[..]].concat());
    assert_eq!(of("b").await, [&listed[1..], &wide[..]].concat());
    assert_eq!(of("z").await, wide);

    let report = async |query: &str| {
        let url = format!("{}/rosterhub/v1/audit/access/report?person=z&{query}", server.base);
        let answer = server.get(&url).await;
        assert_eq!(answer.status(), 200);
        (answer.headers()["content-type"].to_str().unwrap().to_owned(), answer.text().await.unwrap())
    };
    let (kind, page) = report("").await;
    assert_eq!(kind, "text/html; charset=utf-8");
    assert!(
        page.contains("<html lang=\"en\">")
            && page.contains("Who received this person")
            && page.contains("Possible receipts")
    );
    assert!(page.contains("familyName!=&#x27;&lt;b&gt;&#x27;") && !page.contains("<b>"), "{page}");
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("http"), "{page}");
    let (_, page) = report("lang=ja").await;
    for text in
        ["<html lang=\"ja\">", "個人データ開示記録", "提供が確実な記録", "提供の可能性がある記録", "年", "getAllUsers"]
    {
        assert!(page.contains(text), "{text}");
    }
    let (kind, text) = report("lang=ja&format=text").await;
    assert!(
        kind.starts_with("text/plain") && text.contains("開示記録") && text.contains("familyName!='<b>'"),
        "{text}"
    );
    let (kind, table) = report("format=csv").await;
    assert!(kind.starts_with("text/csv"));
    let mut rows = csv::Reader::from_reader(table.trim_start_matches('\u{feff}').as_bytes());
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    let receipts: Vec<&str> = rows.iter().map(|row| &row[1]).collect();
    // The writes; a look at all of the log, and two wide reads; a look at the entries of the person, and three reports.
    let (certain, possible) = (["certain"].repeat(4), ["possible"].repeat(3));
    assert_eq!(receipts, [&certain[..3], &possible[..], &certain[..]].concat());
    let mut server = server;
    server.interrupt();
    server.wait();
}

/// Entries that were written, straight from the database.
async fn written(url: &str) -> i64 {
    let sql = "select count(*) from access_log e join access_requests r using (tenant) where r.id = e.request and r.operation = 'getUser'";
    sqlx::query_scalar(sql).fetch_one(&mut support::superuser(url).await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_each_read_is_written_once() {
    let url = board().await;
    let mut server = serve(&url, &[]);
    small(&server).await;
    let tokens: Vec<String> = (0..4).map(|_| token(&url, "midori", "roster.readonly")).collect();
    let reads = (0..2_000).map(|n| {
        let (server, token) = (&server, &tokens[n % 4]);
        async move {
            let url = server.oneroster(&format!("users/{}", ["a", "b", "z"][n % 3]));
            assert_eq!(server.http.get(url).bearer_auth(token).send().await.unwrap().status(), 200);
        }
    });
    let mut reads = futures::StreamExt::buffer_unordered(futures::stream::iter(reads), 200);
    while futures::StreamExt::next(&mut reads).await.is_some() {}
    drop(reads);
    server.interrupt();
    server.wait();
    assert_eq!(written(&url).await, 2_000);
    let sql = "select count(*) from access_log e join access_requests r using (tenant) where r.id = e.request and r.operation = 'getUser'
               group by r.client, e.person order by 1";
    let each: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&mut support::superuser(&url).await).await.unwrap();
    assert_eq!((each.len(), each[0], each[11]), (12, 166, 167));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_only_what_was_not_written() {
    let url = board().await;
    let mut server = serve(&url, &[]);
    small(&server).await;
    for _ in 0..20 {
        server.read("users/a").await;
    }
    // Whoever reads the log has all that was before.
    let told = entries(&server, "").await.len();
    for _ in 0..5 {
        server.read("users/b").await;
    }
    server.kill();
    let left = written(&url).await;
    assert!((20..=25).contains(&left), "{left}");
    let server = serve(&url, &[]);
    assert!((told..=told + 5).contains(&entries(&server, "").await.len()));
    server.read("users/a").await;
    assert_eq!(entries(&server, "").await.len() as i64, left + 9 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_room_is_counted() {
    let url = board().await;
    let server = serve(&url, &[("ROSTERHUB_ACCESS_WAITING", "5"), ("ROSTERHUB_ACCESS_SECONDS", "0.05")]);
    small(&server).await;
    let before = entries(&server, "")
        .await
        .iter()
        .map(|e| (e["via"].clone(), e["records"].as_i64().unwrap()))
        .collect::<Vec<_>>();
    let count = |entries: &[(Value, i64)]| entries.iter().map(|e| if e.0 == "lost" { e.1 } else { 1 }).sum::<i64>();
    assert_eq!(count(&before), 9);
    let mut lock = support::superuser(&url).await;
    let mut tx = lock.begin().await.unwrap();
    (&mut *tx).execute("lock table access_log in access exclusive mode").await.unwrap();
    for _ in 0..30 {
        server.read("users/a").await;
    }
    tx.rollback().await.unwrap();
    let after = entries(&server, "").await;
    let lost: Vec<&Value> = after.iter().filter(|e| e["via"] == "lost").collect();
    assert!(lost.iter().any(|e| e["query"].as_str().unwrap().contains(" entries lost between 20")), "{lost:?}");
    let after: Vec<(Value, i64)> = after.iter().map(|e| (e["via"].clone(), e["records"].as_i64().unwrap())).collect();
    assert_eq!(count(&after), 9 + 30, "each is written or counted");
    assert!(entries(&server, "via=lost&person=b").await.iter().all(|e| e["receipt"] == "possible"));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_entries_go_and_new_ones_stay() {
    let url = board().await;
    let mut server = serve(&url, &[]);
    small(&server).await;
    server.read("users").await;
    assert_eq!(entries(&server, "").await.len(), 10);
    server.interrupt();
    server.wait();
    // Eleven days pass: ids are times.
    let mut conn = support::superuser(&url).await;
    let past = |table: &str, column: &str| {
        format!(
            "update {table} set {column} = (lpad(to_hex((('x' || left(replace({column}::text, '-', ''), 12))::bit(48)::bigint - 11 * 86400000)), 12, '0')
                || right(replace({column}::text, '-', ''), 20))::uuid"
        )
    };
    for (table, column) in [
        ("access_log", "id"),
        ("access_log", "request"),
        ("access_log", "list"),
        ("access_people", "list"),
        ("access_requests", "id"),
    ] {
        conn.execute(past(table, column).as_str()).await.unwrap();
    }
    let keep = [("ROSTERHUB_ACCESS_KEEP_DAYS", "12"), ("ROSTERHUB_ACCESS_CARE_SECONDS", "0.05")];
    let mut server = serve(&url, &keep);
    server.read("users/a").await;
    assert_eq!(entries(&server, "").await.len(), 11, "their time is not over");
    server.interrupt();
    server.wait();
    let keep = [("ROSTERHUB_ACCESS_KEEP_DAYS", "5"), ("ROSTERHUB_ACCESS_CARE_SECONDS", "0.05")];
    let server = serve(&url, &keep);
    until("the old ones are gone", async || entries(&server, "").await.len() == 1).await;
    let left = async |table: &str, key: &str| -> i64 {
        let sql = format!("select count(*) from {table} where {key} < '{}'", id_of_days_ago(8));
        sqlx::query_scalar(&sql).fetch_one(&mut support::superuser(&url).await).await.unwrap()
    };
    until("what they named is gone", async || {
        left("access_people", "list").await + left("access_requests", "id").await == 0
    })
    .await;
    assert_eq!(entries(&server, "person=a").await.len(), 1);
}

/// The least id of a time so many days ago.
fn id_of_days_ago(days: i64) -> uuid::Uuid {
    let time = chrono::Utc::now() - chrono::TimeDelta::days(days);
    uuid::Uuid::from_u128((time.timestamp_millis() as u128) << 80)
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_a_person_clears_texts_and_keeps_receipts() {
    let server = server().await;
    small(&server).await;
    server.read("users?filter=familyName='佐藤a'").await;
    server
        .graphql(
            "query Q($n: String) { users(filter: { familyName: { eq: $n } }) { nodes { sourcedId } } }",
            json!({ "n": "佐藤a" }),
        )
        .await;
    server.read("users?filter=familyName='佐藤b'").await;
    let url = format!("{}/rosterhub/v1/erasures", server.base);
    let body = json!({ "sourcedId": "a", "request": "2026-17" });
    let erased = server.http.post(url).bearer_auth(&server.token).json(&body).send().await.unwrap();
    assert_eq!(erased.status(), 201, "{}", erased.text().await.unwrap());
    let found = entries(&server, "person=a").await;
    let queries: Vec<&str> = found.iter().map(|e| e["query"].as_str().unwrap()).collect();
    assert_eq!(queries, ["", "", "", "***", "***"], "{found:?}");
    assert!(found.iter().all(|entry| entry["people"] == json!(["a"])));
    assert!(entries(&server, "person=b").await.iter().any(|e| e["query"] == "filter=familyName='佐藤b'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_switched_off() {
    let server = serve(&board().await, &[("ROSTERHUB_ACCESS_LOG", "false")]);
    small(&server).await;
    server.read("users").await;
    server.query("{ users { nodes { sourcedId } } }").await;
    assert_eq!(ask(&server, &server.token, "").await, (200, json!({ "entries": [] })));
}
