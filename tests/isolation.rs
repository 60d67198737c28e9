//! Two boards in one database, with the same ids in both, and clients of several scopes: whatever is asked, nobody is
//! told what is another's, or what its scopes do not open.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reqwest::Method;
use rosterhub::query::endpoint::ENDPOINTS;
use serde_json::{Value, json};

use crate::support::{Server, client, database, run};

const TENANTS: [&str; 2] = ["midori", "aoba"];
/// All that the clients of a tenant may do differs; the last has no demographics.
const SCOPES: [&str; 4] = [
    "roster.readonly,roster-demographics.readonly,import,write",
    "roster-demographics.readonly",
    "roster-core.readonly",
    "roster.readonly,import",
];
/// Read for cursors and tags.
const LISTS: [&str; 6] = [
    "users?limit=2",
    "users?limit=2&sort=familyName",
    "orgs?limit=1",
    "enrollments?limit=2&sort=dateLastModified&orderBy=desc",
    "classes/k/students?limit=1",
    "demographics?limit=2",
];

/// Stands in every record of a tenant and in no request.
fn marker(tenant: usize) -> String {
    format!("only-of-{}", TENANTS[tenant])
}

/// The same records but for what they say, and a user of its own for each.
fn documents(tenant: usize) -> Vec<(String, Value)> {
    let said = marker(tenant);
    let reference = |kind: &str, id: &str| json!({ "sourcedId": id, "type": kind });
    let mut documents = vec![
        ("orgs/s", json!({ "name": said, "type": "school" })),
        ("orgs/s2", json!({ "name": said, "type": "school" })),
        (
            "academicSessions/t",
            json!({ "title": said, "type": "term", "startDate": "2026-04-01", "endDate": "2026-08-01", "schoolYear": "2026" }),
        ),
        ("courses/c", json!({ "title": said, "org": reference("org", "s") })),
        (
            "classes/k",
            json!({ "title": said, "classType": "homeroom", "course": reference("course", "c"),
                "school": reference("org", "s"), "terms": [reference("academicSession", "t")] }),
        ),
    ]
    .into_iter()
    .map(|(path, document)| (path.to_owned(), document))
    .collect::<Vec<_>>();
    let own = format!("u-{}", TENANTS[tenant]);
    for (n, id) in ["u1", "u2", "u3", "u4", &own].into_iter().enumerate() {
        let role = if n == 3 { "teacher" } else { "student" };
        documents.extend([
            (
                format!("users/{id}"),
                json!({ "enabledUser": "true", "username": format!("{said}-{n}"), "givenName": said,
                    "familyName": format!("{said}-{}", 9 - n),
                    "roles": [{ "roleType": "primary", "role": role, "org": reference("org", "s") }] }),
            ),
            (format!("demographics/{id}"), json!({ "birthDate": "2015-05-05", "sex": "female" })),
            (
                format!("enrollments/e-{id}"),
                json!({ "role": role, "user": reference("user", id), "class": reference("class", "k"),
                    "school": reference("org", "s") }),
            ),
        ]);
    }
    for (_, document) in &mut documents {
        document["metadata"] = json!({ "said": said });
    }
    documents
}

/// A request. Numbers choose from what the boards were answered before.
#[derive(Clone, Debug)]
struct Ask {
    client: usize,
    place: Place,
    query: Vec<(&'static str, String)>,
    cursor: Option<Cursor>,
    as_of: Option<String>,
    tag: Option<(usize, bool)>,
    headers: Vec<(&'static str, &'static str)>,
    write: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Place {
    Path(String),
    /// An address that a client of either board was given, with its cursor.
    Given(usize),
}

#[derive(Clone, Debug)]
enum Cursor {
    /// As it was given to a client of either board.
    Given(usize),
    /// With another place and position.
    Forged {
        given: usize,
        position: i64,
        start: Value,
    },
    Torn(usize, usize),
}

fn cursors() -> impl Strategy<Value = Cursor> {
    let id = select(vec!["", "u1", "u-midori", "u-aoba", "e-u2", "~", "あ"]);
    let start = prop_oneof![
        (0..5_i64).prop_map(|n| json!({ "o": n })),
        (0..5_i64).prop_map(|n| json!({ "l": n })),
        (select(vec!["a", "b"]), id, proptest::option::of(select(vec!["", "o", "2026-04-01", "x\0"])))
            .prop_map(|(way, id, key)| json!({ way: { "i": id, "k": key } })),
    ];
    prop_oneof![
        3 => any::<usize>().prop_map(Cursor::Given),
        3 => (any::<usize>(), -1..60_i64, start)
            .prop_map(|(given, position, start)| Cursor::Forged { given, position, start }),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(given, at)| Cursor::Torn(given, at)),
    ]
}

fn requests() -> impl Strategy<Value = Ask> {
    let id = select(vec![
        "s", "s2", "t", "c", "k", "u1", "u4", "e-u1", "u-midori", "u-aoba", "e-u-aoba", "none", "%27", "%00",
    ]);
    let operation = (0..ENDPOINTS.len(), id.clone(), id).prop_map(|(n, first, second)| {
        let (mut path, mut ids) = (String::new(), [first, second].into_iter());
        for step in ENDPOINTS[n].path.split('/') {
            path += if path.is_empty() { "" } else { "/" };
            path += if step.starts_with('{') { ids.next().unwrap() } else { step };
        }
        format!("ims/oneroster/rostering/v1p2/{path}")
    });
    let own = select(vec!["rosterhub/v1/imports", "rosterhub/v1/imports/{job}", "rosterhub/v1/imports/{job}/errors"])
        .prop_map(str::to_owned);
    let path = prop_oneof![9 => operation, 1 => own].prop_map(Place::Path);
    let place = prop_oneof![path, any::<usize>().prop_map(Place::Given)];
    let filter = select(vec![
        "metadata.said~'only'",
        "status='active' OR sourcedId!='x'",
        "(sourcedId='u-aoba' or sourcedId='u-midori') AND status!='x'",
        "familyName>='' AND username~'o'",
        "roles.org.sourcedId='s,s2'",
        "user.sourcedId='u-aoba'",
        "birthDate='2015-05-05'",
        "metadata.said~'' OR metadata.x.y!='1'",
        "dateLastModified>'2020-01-01'",
        "name='x' OR 1=1",
        "a='",
    ]);
    let sort = select(vec![
        "familyName",
        "sourcedId",
        "dateLastModified",
        "metadata.said",
        "metadata.\" ? (1 == 1",
        "metadata.a\"b",
        "metadata.\\",
        "metadata.あ",
        "roles.role",
        "birthDate",
        "x",
        "",
    ]);
    let fields =
        select(vec!["sourcedId", "metadata", "birthDate,sex", "givenName,roles", "user,class", "x", "sourcedId,,"]);
    let limit = select(vec!["1", "2", "100", "5000", "0", "-1"]);
    let as_of = select(vec!["0", "1", "5", "17", "40", "60", "999999", "2020-01-01", "2026-04-01T00:00:00Z", "x"]);
    let query = (
        proptest::option::of(filter),
        proptest::option::of(sort),
        proptest::option::of(select(vec!["asc", "desc", "x"])),
        proptest::option::weighted(0.3, fields),
        proptest::option::of(limit),
        proptest::option::weighted(0.2, select(vec!["0", "1", "3", "2147483647"])),
    )
        .prop_map(|(filter, sort, order, fields, limit, offset)| {
            let pairs = [
                ("filter", filter),
                ("sort", sort),
                ("orderBy", order),
                ("fields", fields),
                ("limit", limit),
                ("offset", offset),
            ];
            pairs.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))).collect::<Vec<_>>()
        });
    let query = prop_oneof![3 => Just(Vec::new()), 1 => query];
    // Most clients may read everything: what is refused tells little.
    let client = prop_oneof![
        3 => (0..TENANTS.len()).prop_map(|tenant| tenant * SCOPES.len()),
        1 => 0..TENANTS.len() * SCOPES.len(),
    ];
    let header = select(vec![
        ("x-forwarded-host", "aoba.example"),
        ("x-forwarded-prefix", "/aoba"),
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1;host=aoba.example"),
        ("host", "aoba.example"),
        ("rosterhub-at-least", "1"),
        ("rosterhub-at-least", "x"),
        ("x-tenant", "aoba"),
    ]);
    let write = proptest::option::weighted(0.1, select(vec!["PUT", "PATCH", "DELETE"]));
    (
        client,
        place,
        query,
        proptest::option::weighted(0.2, cursors()),
        proptest::option::weighted(0.1, as_of.prop_map(str::to_owned)),
        proptest::option::weighted(0.4, (any::<usize>(), any::<bool>())),
        prop::collection::vec(header, 0..3),
        write,
    )
        .prop_map(|(client, place, query, cursor, as_of, tag, headers, write)| Ask {
            client,
            place,
            query,
            cursor,
            as_of,
            tag,
            headers,
            write,
        })
}

/// What the boards were answered: by tenant.
struct World {
    server: Server,
    tokens: Vec<String>,
    /// Path and query, without a cursor, of lists and records; cursors of the lists, and to which they belong.
    addresses: Vec<String>,
    cursors: Vec<(usize, String)>,
    /// By address.
    tags: Vec<(usize, String)>,
    /// Whose answer a tag was on.
    given: HashMap<String, usize>,
    /// How many answers had which status.
    statuses: HashMap<u16, u32>,
    /// Answers that held what the asking board's records say.
    telling: u32,
    jobs: [String; 2],
}

impl World {
    async fn start() -> Self {
        let url = database().await;
        for tenant in TENANTS {
            assert_eq!(run(&url, &["tenant", "create", tenant]).0, 0);
        }
        let server = Server::on(&url);
        let tokens: Vec<String> = TENANTS
            .iter()
            .flat_map(|tenant| SCOPES.map(|scopes| client(&url, tenant, &["--scopes", scopes, "--api-key"])))
            .map(|made| made["apiKey"].as_str().unwrap().to_owned())
            .collect();
        let mut jobs = [String::new(), String::new()];
        let mut world = Self {
            server,
            tokens,
            addresses: vec![],
            cursors: vec![],
            tags: vec![],
            given: HashMap::new(),
            statuses: HashMap::new(),
            telling: 0,
            jobs: Default::default(),
        };
        for (tenant, entered) in jobs.iter_mut().enumerate() {
            for (n, (path, document)) in documents(tenant).into_iter().enumerate() {
                let url = format!("{}/rosterhub/v1/roster/{path}", world.server.base);
                let key = format!("key-{n}");
                let request =
                    world.server.http.put(url).bearer_auth(world.all_of(tenant)).header("idempotency-key", key);
                let response = request.json(&document).send().await.unwrap();
                let status = response.status();
                assert_eq!(status, 201, "{path}: {}", response.text().await.unwrap());
            }
            let request = world.server.http.post(format!("{}/rosterhub/v1/imports", world.server.base));
            let broken = crate::support::set(&[("orgs", "bulk", &format!("{}\r\n", marker(tenant)))]);
            let request = request.bearer_auth(world.all_of(tenant)).header("prefer", "wait=60").body(broken);
            let job: Value = request.send().await.unwrap().json().await.unwrap();
            *entered = job["id"].as_str().unwrap().to_owned();
        }
        world.jobs = jobs;
        let singles = documents(0).into_iter().map(|(path, _)| path).filter(|path| !path.ends_with("-midori"));
        let paths = LISTS.into_iter().map(str::to_owned).chain(singles);
        world.addresses = paths.map(|path| format!("ims/oneroster/rostering/v1p2/{path}")).collect();
        let asked = world.addresses.len() * TENANTS.len();
        for (tenant, n) in (0..asked).map(|n| (n % TENANTS.len(), n / TENANTS.len())) {
            let request = world.server.http.get(format!("{}/{}", world.server.base, world.addresses[n]));
            let response = request.bearer_auth(world.all_of(tenant)).send().await.unwrap();
            assert_eq!(response.status(), 200, "{}", world.addresses[n]);
            world.keep(tenant, n, &response);
        }
        assert!(world.cursors.len() > 10 && world.tags.len() > 20);
        world
    }

    /// Of the client that may do everything for a tenant.
    fn all_of(&self, tenant: usize) -> &str {
        &self.tokens[tenant * SCOPES.len()]
    }

    fn keep(&mut self, tenant: usize, address: usize, response: &reqwest::Response) {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if let Some(tag) = header("etag") {
            match self.given.insert(tag.to_owned(), tenant) {
                None => self.tags.push((address, tag.to_owned())),
                // A cache that holds both boards' answers would take one for the other.
                Some(earlier) => assert_eq!(earlier, tenant, "one tag for two boards: {}", response.url()),
            }
        }
        for link in header("link").unwrap_or_default().split(", ") {
            if let Some((_, cursor)) = link.split_once("cursor=") {
                self.cursors.push((address, cursor.split('>').next().unwrap().to_owned()));
            }
        }
    }

    /// One of the address if there is any, else one of any list.
    fn given(pool: &[(usize, String)], address: Option<usize>, n: usize) -> &str {
        let own: Vec<&(usize, String)> = pool.iter().filter(|(of, _)| Some(*of) == address).collect();
        if own.is_empty() { &pool[n % pool.len()].1 } else { &own[n % own.len()].1 }
    }

    fn cursor(&self, cursor: &Cursor, address: Option<usize>) -> String {
        let given = |n: &usize| Self::given(&self.cursors, address, *n).to_owned();
        match cursor {
            Cursor::Given(n) => given(n),
            Cursor::Torn(n, at) => {
                let mut text = given(n);
                text.truncate(at % text.len());
                text
            }
            Cursor::Forged { given: n, position, start } => {
                let bytes = URL_SAFE_NO_PAD.decode(given(n)).unwrap();
                let mut cursor: Value = serde_json::from_slice(&bytes).unwrap();
                cursor["p"] = json!(position);
                cursor["s"] = start.clone();
                URL_SAFE_NO_PAD.encode(cursor.to_string())
            }
        }
    }

    async fn ask(&mut self, ask: &Ask) -> Result<(), TestCaseError> {
        let (tenant, scopes) = (ask.client / SCOPES.len(), SCOPES[ask.client % SCOPES.len()]);
        let other = 1 - tenant;
        let job = &self.jobs[if ask.headers.is_empty() { other } else { tenant }];
        let (address, place) = match &ask.place {
            Place::Path(path) => (None, path.replace("{job}", job)),
            Place::Given(n) => (Some(n % self.addresses.len()), self.addresses[n % self.addresses.len()].clone()),
        };
        let (path, listed) = place.split_once('?').unwrap_or((&place, ""));
        let mut query = form_urlencoded::Serializer::new(listed.to_owned());
        query.extend_pairs(&ask.query);
        query.extend_pairs(ask.cursor.iter().map(|cursor| ("cursor", self.cursor(cursor, address))));
        query.extend_pairs(ask.as_of.iter().map(|at| ("asOf", at)));
        let mut url = format!("{}/{path}?{}", self.server.base, query.finish());
        let mut method = Method::GET;
        if let Some(write) = ask.write {
            // With a key that both have used.
            let (path, _) = &documents(tenant)[ask.client + 3];
            url = format!("{}/rosterhub/v1/roster/{path}", self.server.base);
            method = write.parse().unwrap();
        }
        let mut request = self.server.http.request(method, url).bearer_auth(&self.tokens[ask.client]);
        if ask.write.is_some() {
            request =
                request.header("idempotency-key", format!("key-{}", ask.client)).json(&json!({ "status": "active" }));
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, *value);
        }
        let tag = ask.tag.map(|(n, weak)| (Self::given(&self.tags, address, n).to_owned(), weak));
        if let Some((tag, weak)) = &tag {
            let name = if ask.write.is_some() { "if-match" } else { "if-none-match" };
            request = request.header(name, if *weak { format!("W/{tag}") } else { tag.clone() });
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers = format!("{:?}", response.headers());
        prop_assert!(status < 500, "{status}");
        *self.statuses.entry(status).or_default() += 1;
        if status == 304 {
            let (tag, _) = tag.as_ref().unwrap();
            prop_assert!(self.given[tag] == tenant, "304 for a tag of the other's");
        } else if status < 300 {
            self.keep(tenant, address.unwrap_or(usize::MAX), &response);
        }
        let body = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
        self.telling += u32::from(body.contains(&marker(tenant)));
        for text in [&headers, &body] {
            prop_assert!(!text.contains(&marker(other)), "{text}");
            prop_assert!(!text.contains(&format!("e-u-{}\"", TENANTS[other])), "{text}");
            if !scopes.contains("demographics") {
                prop_assert!(!text.contains("birthDate\":"), "{text}");
            }
        }
        Ok(())
    }
}

#[test]
fn nobody_is_told_what_is_another_s() {
    let cases = std::env::var("ROSTERHUB_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = std::cell::RefCell::new(runtime.block_on(World::start()));
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let asked = TestRunner::new(config).run(&requests(), |ask| runtime.block_on(world.borrow_mut().ask(&ask)));
    asked.unwrap_or_else(|failure| panic!("{failure}"));
    let world = world.into_inner();
    let seen = |status: &u16| world.statuses.contains_key(status);
    assert!([200, 304, 400, 403, 404].iter().all(seen) && world.telling > cases / 20, "{:?}", world.statuses);
}

/// A position that only the other board's log has reached is waited for in vain.
#[tokio::test]
async fn a_position_is_one_of_the_own_log() {
    let server = Server::start().await;
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    crate::support::put(&server, "orgs/s", json!({ "name": "緑", "type": "school" })).await;
    let token = crate::support::token(&server.url, "aoba", SCOPES[0]);
    let ask = server.http.get(server.oneroster("orgs")).bearer_auth(token).header("rosterhub-at-least", "1");
    let answer = ask.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"5".parse().unwrap()));
}
