//! How reads use the database: which plans their statements get, how many rows they look at, and how many statements a
//! request takes. Counts, not times. Postgres itself tells: it logs every statement and, by auto_explain, its plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rosterhub::db::embedded::{EmbeddedPostgres, Settings};
use rosterhub::query::endpoint::{ENDPOINTS, Endpoint};
use rosterhub::sample::{Dialect, SampleOptions};
use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::support::{Server, bulk, delta, put, run, until};

/// A table of more rows must not be read whole.
const BIG: f64 = 1_000.0;
/// Of a big table a request looks at one row of so many, at most.
const SHARE: f64 = 10.0;
/// The access log is on, and is written after the test: what a request itself does for it is seen.
const LATE: (&str, &str) = ("ROSTERHUB_ACCESS_SECONDS", "3600");
/// Begins each entry of the log.
const ENTRY: &str = "\n##";

struct Database {
    postgres: EmbeddedPostgres,
    log: PathBuf,
    server: Server,
    /// Rows of each read model.
    sizes: BTreeMap<String, f64>,
}

impl Database {
    async fn start(options: &SampleOptions) -> Self {
        let data_dir = std::env::temp_dir().join(format!("rosterhub-test-{}-plans", std::process::id()));
        let parameters = [
            ("shared_preload_libraries", "auto_explain"),
            ("auto_explain.log_analyze", "on"),
            ("auto_explain.log_timing", "off"),
            ("auto_explain.log_format", "json"),
            ("log_line_prefix", "##%a##"),
            // As where data is on a disk that seeks at no cost, or in memory.
            ("random_page_cost", "1.1"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let log = data_dir.join("postgres.log");
        let settings = Settings { data_dir, durable: false, stop_with_process: true, remove_on_stop: true, parameters };
        let postgres = EmbeddedPostgres::start(&settings).unwrap();
        let mut admin = sqlx::PgConnection::connect(&postgres.admin_url("postgres")).await.unwrap();
        admin.execute("create database hub owner rosterhub").await.unwrap();
        let url = postgres.url("hub");
        assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
        let server = Server::with(&url, &[("ROSTERHUB_WEBHOOKS_DELIVER", "false")]);
        server.import(bulk(options)).await;
        // So much was new that Postgres was told to look at it.
        let mut hub = sqlx::PgConnection::connect(&postgres.admin_url("hub")).await.unwrap();
        let looked_at = "select last_analyze is not null from pg_stat_user_tables where relname = 'enrollments'";
        let asked = sqlx::PgPool::connect(&postgres.admin_url("hub")).await.unwrap();
        until("the read models have been looked at", || {
            let asked = asked.clone();
            async move { sqlx::query_scalar(looked_at).fetch_one(&asked).await.unwrap() }
        })
        .await;
        asked.close().await;
        server.import(delta(options, 2.0)).await;
        let term = server.read("terms?limit=1").await["academicSessions"][0]["sourcedId"].clone();
        let period = json!({
            "title": "中間", "type": "gradingPeriod", "startDate": "2026-04-01", "endDate": "2026-06-01",
            "schoolYear": "2026", "parent": { "sourcedId": term, "type": "academicSession" },
        });
        put(&server, "academicSessions/midterm", period).await;
        drop(server);
        hub.execute("vacuum analyze").await.unwrap();
        let sizes: Vec<(String, f32)> = sqlx::query_as(
            "select relname::text, reltuples from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace",
        )
        .fetch_all(&mut hub)
        .await
        .unwrap();
        hub.execute("alter database hub set auto_explain.log_min_duration = 0").await.unwrap();
        hub.execute("alter database hub set log_statement = 'all'").await.unwrap();
        // With one connection a request's entries stand in the log before those of the next.
        let server = Server::with(
            &url,
            &[
                ("ROSTERHUB_DATABASE_CONNECTIONS", "1"),
                ("ROSTERHUB_WEBHOOKS_DELIVER", "false"),
                // Its looks at the trees are no part of a request.
                ("ROSTERHUB_AUDIT_SECONDS", "86400"),
                LATE,
            ],
        );
        Self { postgres, log, server, sizes: sizes.into_iter().map(|(name, n)| (name, f64::from(n))).collect() }
    }

    fn stop(self) {
        drop(self.server);
        self.postgres.stop().unwrap();
    }

    /// What the database did for the request: statements, and the plans of those that have one.
    async fn watch(&self, url: &str) -> (Vec<String>, Vec<Value>, reqwest::Response) {
        let before = std::fs::read_to_string(&self.log).unwrap().len();
        let mut response = self.server.get(url).await;
        while response.status() == 200 && response.chunk().await.unwrap().is_some() {}
        assert_eq!(response.status(), 200, "{url}");
        // The end of its last statement is logged when the connection does something else.
        assert_eq!(self.server.get(&format!("{}/health/ready", self.server.base)).await.status(), 200);
        let log = std::fs::read_to_string(&self.log).unwrap();
        let entries: Vec<&str> = log[before..].split(ENTRY).filter(|entry| entry.starts_with("rosterhub ")).collect();
        let told = |begin: &str| -> Vec<String> {
            entries.iter().filter_map(|entry| Some(entry.split_once(begin)?.1.to_owned())).collect()
        };
        let mut statements = told("LOG:  statement: ");
        statements.extend(told("LOG:  execute ").iter().map(|s| s.split_once(": ").unwrap().1.to_owned()));
        statements.retain(|statement| is_of_the_request(statement));
        let plans = told("  plan:\n").iter().map(|plan| serde_json::from_str(plan).unwrap()).collect();
        (statements, plans, response)
    }
}

/// Not the binding of a connection to its tenant, the look at other instances' heads, who the client is, and `watch`'s
/// own: these come once in a while, or for every connection taken.
fn is_of_the_request(statement: &str) -> bool {
    let others = ["set_config('rosterhub.tenant'", "where tenant = any($1)", "from credentials", "update clients"];
    !others.iter().any(|other| statement.contains(other)) && statement.trim_end() != "select 1"
}

/// All nodes of a plan, with the loops they ran.
fn nodes(plan: &Value) -> Vec<&Value> {
    let below = plan["Plans"].as_array().into_iter().flatten().flat_map(nodes);
    std::iter::once(plan).chain(below).collect()
}

fn number(node: &Value, name: &str) -> f64 {
    node[name].as_f64().unwrap_or(0.0)
}

fn rows(node: &Value) -> f64 {
    number(node, "Actual Rows") * number(node, "Actual Loops")
}

/// What is wrong with the plan of a page or a record.
fn faults(database: &Database, plan: &Value) -> Vec<String> {
    let size = |table: &str| database.sizes.get(table).copied().unwrap_or(0.0);
    let mut faults = Vec::new();
    let mut read: BTreeMap<&str, f64> = BTreeMap::new();
    for node in nodes(&plan["Plan"]) {
        let kind = node["Node Type"].as_str().unwrap();
        if let Some(table) = node["Relation Name"].as_str() {
            let removed = number(node, "Rows Removed by Filter") + number(node, "Rows Removed by Index Recheck");
            *read.entry(table).or_default() += rows(node) + removed * number(node, "Actual Loops");
            if kind == "Seq Scan" && size(table) >= BIG {
                faults.push(format!("{table} is read in sequence"));
            }
        }
        let handed: f64 = node["Plans"].as_array().into_iter().flatten().map(rows).sum();
        if kind.contains("Sort") && handed >= BIG {
            faults.push(format!("{handed} rows are sorted"));
        }
    }
    for (table, rows) in read {
        if size(table) >= BIG && rows * SHARE > size(table) {
            faults.push(format!("{rows} of {} rows of {table} are looked at", size(table)));
        }
    }
    faults
}

fn is_count(plan: &Value) -> bool {
    plan["Query Text"].as_str().unwrap().contains("count(*)")
}

/// The paths of the operations within other records, filled with records that have something in them.
async fn nested(server: &Server) -> Vec<(&'static Endpoint, String)> {
    let first = async |path: &str| {
        let page = server.read(path).await;
        page.as_object().unwrap().values().next().unwrap()[0].clone()
    };
    let id = |record: &Value| record["sourcedId"].as_str().unwrap().to_owned();
    let enrolled = async |role: &str| first(&format!("enrollments?limit=1&filter=role%3D'{role}'")).await;
    let (pupil, teacher) = (enrolled("student").await, enrolled("teacher").await);
    let class = first(&format!("classes?limit=1&filter=sourcedId%3D'{}'", id(&pupil["class"]))).await;
    let ids = BTreeMap::from([
        ("schoolSourcedId", id(&class["school"])),
        ("classSourcedId", id(&class)),
        ("courseSourcedId", id(&class["course"])),
        ("termSourcedId", id(&first("gradingPeriods?limit=1").await["parent"])),
        ("studentSourcedId", id(&pupil["user"])),
        ("userSourcedId", id(&pupil["user"])),
        ("teacherSourcedId", id(&teacher["user"])),
    ]);
    let within = ENDPOINTS.iter().filter(|endpoint| !endpoint.parents.is_empty());
    within
        .map(|endpoint| {
            let fill = |path: String, name: &str| path.replace(&format!("{{{name}}}"), &ids[name]);
            (endpoint, endpoint.parameters().fold(endpoint.path.to_owned(), fill))
        })
        .collect()
}

/// Operations of the graph, and how many statements they may take: besides their own they begin, look at the head, and end. A
/// difference has a transaction of its own.
async fn graphql(server: &Server) -> Vec<(String, usize)> {
    let class = &server.read("classes?limit=1").await["classes"][0];
    let (id, school) = (class["sourcedId"].as_str().unwrap(), class["school"]["sourcedId"].as_str().unwrap());
    let any = server.graphql("{ orgs(first: 1) { nodes { id } } }", json!({})).await;
    let head = any["extensions"]["position"].as_i64().unwrap();
    let operations = [
        (
            format!(
                "{{ school(sourcedId: \"{school}\") {{ name classes(first: 3) {{ nodes {{ title students(first: 5) {{ nodes {{
                 familyName jp {{ homeClass {{ title }} }} }} }} }} }} }} }}"
            ),
            4,
        ),
        (format!("{{ changes(since: {}, first: 20) {{ nodes {{ position after }} }} }}", head - 50), 1),
        (format!("{{ changes(since: {}, school: \"{school}\") {{ nodes {{ position before }} }} }}", head - 50), 1),
        (format!("{{ history(recordType: class, sourcedId: \"{id}\") {{ nodes {{ position before after }} }} }}"), 1),
        (format!("{{ diff(from: 1, to: {head}, class: \"{id}\") {{ nodes {{ sourcedId before after }} }} }}"), 3 + 2),
    ];
    let url = |query: &str| reqwest::Url::parse_with_params(&format!("{}/graphql", server.base), [("query", query)]);
    operations.into_iter().map(|(query, own)| (url(&query).unwrap().to_string(), own + 3)).collect()
}

/// Pages of the feed, and how many statements they may take: the head, the page, and the change before its first.
async fn feed(server: &Server) -> Vec<(String, usize)> {
    let class = &server.read("classes?limit=1").await["classes"][0];
    let (id, school) = (class["sourcedId"].as_str().unwrap(), class["school"]["sourcedId"].as_str().unwrap());
    let head = server.graphql("{ orgs(first: 1) { nodes { id } } }", json!({})).await;
    let head = head["extensions"]["position"].as_i64().unwrap();
    let near = head - 300;
    let queries = [
        ("after=5000&limit=50".to_owned(), 2),
        (format!("after={near}&values=true"), 2),
        (format!("after={near}&types=enrollment,user"), 3),
        (format!("after={near}&types=enrollment&kinds=changed,deleted&values=true"), 3),
        (format!("after={near}&school={school}"), 3),
        (format!("after={near}&school={school}&values=true"), 3),
        // Found by its key, however far back.
        (format!("sourcedId={id}"), 3),
    ];
    queries.map(|(query, most)| (format!("{}/rosterhub/v1/changes?{query}", server.base), most)).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn hot_reads_go_by_indexes_and_few_statements() {
    let options = SampleOptions {
        schools: 20,
        students_per_school: 240,
        subjects: 4,
        dialect: Dialect::Base,
        terms: true,
        ..SampleOptions::default()
    };
    let database = Database::start(&options).await;
    let server = &database.server;
    let mut hot: Vec<(String, usize)> = Vec::new();
    for collection in ["users", "students", "teachers", "enrollments", "classes", "demographics", "orgs", "schools"] {
        hot.push((server.oneroster(&format!("{collection}?limit=100")), 1)); // counted by what is read next
        let record = &server.read(&format!("{collection}?limit=1")).await;
        let id = record.as_object().unwrap().values().next().unwrap()[0]["sourcedId"].as_str().unwrap().to_owned();
        hot.push((server.oneroster(&format!("{collection}/{id}")), 1));
    }
    let name = server.read("users?limit=1&offset=200").await["users"][0]["familyName"].as_str().unwrap().to_owned();
    let latest = server.read("users?limit=1&sort=dateLastModified&orderBy=desc").await;
    let latest = latest["users"][0]["dateLastModified"].as_str().unwrap().to_owned();
    for query in [
        "users?sort=familyName".to_owned(),
        "users?sort=dateLastModified".to_owned(),
        format!("users?filter=dateLastModified>='{latest}'"),
        format!("enrollments?filter=dateLastModified>='{latest}'"),
        "users?filter=status='tobedeleted'".to_owned(),
        "enrollments?filter=status='tobedeleted'".to_owned(),
        format!("users?filter=familyName='{name}'"),
        format!("users?filter=status='active' AND dateLastModified>='{latest}'"),
    ] {
        hot.push((server.oneroster(&query), 2));
    }
    // Deep within, by the link of an earlier page; the count is known then.
    for query in ["users?", "enrollments?", "users?sort=familyName&", "users?sort=familyName&orderBy=desc&"] {
        let page = server.get(&server.oneroster(&format!("{query}limit=100&offset=2000"))).await;
        let links = page.headers()["link"].to_str().unwrap();
        let next = links.split(", ").find(|link| link.ends_with("rel=\"next\"")).unwrap();
        hot.push((next.split(['<', '>']).nth(1).unwrap().to_owned(), 1));
    }
    hot.extend(nested(server).await.into_iter().map(|(_, path)| (server.oneroster(&path), 2)));
    hot.extend(graphql(server).await);
    hot.extend(feed(server).await);
    hot.push((server.oneroster("users?limit=2000"), 5));

    let mut wrong = Vec::new();
    for (url, most) in &hot {
        let (statements, plans, response) = database.watch(url).await;
        let total = response.headers().get("x-total-count").map(|n| n.to_str().unwrap());
        assert_ne!(total, Some("0"), "{url}");
        if statements.len() > *most {
            wrong.push(format!("{url}: {} statements: {statements:#?}", statements.len()));
        }
        let plans = plans.iter().filter(|plan| is_of_the_request(plan["Query Text"].as_str().unwrap()));
        let pages: Vec<&Value> = plans.filter(|plan| !is_count(plan)).collect();
        assert!(!statements.is_empty() && !pages.is_empty(), "{url}: nothing was seen");
        // A page of so many has no small share of the table.
        for plan in pages.into_iter().filter(|_| !url.ends_with("limit=2000")) {
            let faults = faults(&database, plan);
            if !faults.is_empty() {
                wrong.push(format!("{url}: {faults:?}"));
            }
        }
    }
    database.stop();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
