//! Exports: what goes out is what came in, at any position, whole or as a delta.

#[path = "exports/cursors.rs"]
mod cursors;
#[path = "exports/histories.rs"]
pub mod histories;
#[path = "exports/limits.rs"]
mod limits;
#[path = "exports/schools.rs"]
mod schools;
#[path = "exports/text.rs"]
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};

use reqwest::header::HeaderMap;
use rosterhub::csv::edition::FILES;
use rosterhub::sample::{Dialect, SampleOptions};
use serde_json::Value;

use crate::support::{Server, bulk, city, delta, put, run, token};

/// A set that was taken out.
struct Set {
    headers: HeaderMap,
    zip: Vec<u8>,
    /// By stem, as they stand in the zip.
    files: BTreeMap<String, Vec<u8>>,
    names: Vec<String>,
}

impl Set {
    fn read(headers: HeaderMap, zip: Vec<u8>) -> Self {
        let mut archive = zip::ZipArchive::new(Cursor::new(&zip)).unwrap();
        let mut files = BTreeMap::new();
        let mut names = Vec::new();
        for n in 0..archive.len() {
            let mut entry = archive.by_index(n).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let name = entry.name().unwrap().into_owned();
            files.insert(name.trim_end_matches(".csv").to_owned(), bytes);
            names.push(name);
        }
        Self { headers, zip, files, names }
    }

    fn position(&self) -> i64 {
        self.headers["rosterhub-position"].to_str().unwrap().parse().unwrap()
    }

    fn since(&self) -> Option<i64> {
        self.headers.get("rosterhub-since").map(|since| since.to_str().unwrap().parse().unwrap())
    }

    fn text(&self, stem: &str) -> &str {
        std::str::from_utf8(&self.files[stem]).unwrap()
    }

    /// Header and rows of a file; none when it is absent.
    fn rows(&self, stem: &str) -> Vec<Vec<String>> {
        self.files.get(stem).map(|bytes| rows(bytes)).unwrap_or_default()
    }

    /// Rows by sourcedId and column.
    fn records(&self, stem: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        let rows = self.rows(stem);
        let Some(header) = rows.first() else { return BTreeMap::new() };
        let record = |row: &Vec<String>| (row[0].clone(), header.iter().cloned().zip(row.iter().cloned()).collect());
        rows[1..].iter().map(record).collect()
    }

    fn ids(&self, stem: &str) -> BTreeSet<String> {
        self.records(stem).into_keys().collect()
    }

    /// The files but for the manifest's line that names position and board.
    fn told(&self) -> BTreeMap<String, String> {
        let text = |(stem, bytes): (&String, &Vec<u8>)| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("source.systemCode,"));
            (stem.clone(), lines.collect())
        };
        self.files.iter().map(text).collect()
    }
}

fn rows(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// Both say the same, byte for byte; else the lines in which they differ are shown.
#[track_caller]
fn assert_alike(one: &Set, other: &Set, why: &str) {
    let lines = |set: &Set| -> BTreeSet<String> {
        let file =
            |(stem, text): (String, String)| text.lines().map(|line| format!("{stem}: {line}")).collect::<Vec<_>>();
        set.told().into_iter().flat_map(file).collect()
    };
    let (left, right) = (lines(one), lines(other));
    let differing: Vec<_> = left.symmetric_difference(&right).collect();
    assert!(differing.is_empty(), "{why}: {differing:#?}");
    assert!(one.told() == other.told(), "{why}: the order differs");
}

async fn get(server: &Server, path: &str) -> reqwest::Response {
    server.get(&format!("{}/rosterhub/v1/exports/{path}", server.base)).await
}

async fn export(server: &Server, query: &str) -> Set {
    let response = get(server, &format!("oneroster.zip?{query}")).await;
    let headers = response.headers().clone();
    assert_eq!(response.status(), 200, "{query}: {:?}", response.text().await);
    Set::read(headers, response.bytes().await.unwrap().to_vec())
}

/// Hands a set in that has no error.
async fn import(server: &Server, zip: Vec<u8>) -> Value {
    let job = server.import(zip).await;
    assert_eq!(job["state"], "completed", "{job}\n{:?}", server.errors(&job).await);
    job
}

async fn report(server: &Server, query: &str) -> Value {
    let response = get(server, &format!("report?{query}")).await;
    assert_eq!(response.status(), 200, "{query}");
    response.json().await.unwrap()
}

/// A second board on the same database.
fn another(server: &Server, name: &str) -> String {
    assert_eq!(run(&server.url, &["tenant", "create", name]).0, 0);
    token(&server.url, name, crate::support::EVERYTHING)
}

/// The server as the client of another token sees it.
struct As<'a> {
    server: &'a mut Server,
    token: String,
}

impl<'a> As<'a> {
    fn new(server: &'a mut Server, token: &str) -> Self {
        let own = std::mem::replace(&mut server.token, token.to_owned());
        Self { server, token: own }
    }
}

impl std::ops::Deref for As<'_> {
    type Target = Server;
    fn deref(&self) -> &Server {
        self.server
    }
}

impl Drop for As<'_> {
    fn drop(&mut self) {
        self.server.token = std::mem::take(&mut self.token);
    }
}

#[tokio::test]
async fn a_set_comes_back_as_it_was() {
    for (dialect, edition) in
        [(Dialect::JapanFinal, "1.2_JP"), (Dialect::JapanDomestic, "japan-1.2.1"), (Dialect::Base, "1.2.1")]
    {
        let mut server = Server::start().await;
        let terms = dialect == Dialect::Base;
        let handed_in = bulk(&SampleOptions { dialect, terms, ..city() });
        let job = import(&server, handed_in.clone()).await;
        let out = export(&server, &format!("edition={edition}")).await;
        assert_eq!(out.position(), job["position"].as_i64().unwrap());
        // Value for value, in another order and with other quotes.
        let given = Set::read(HeaderMap::new(), handed_in);
        for stem in FILES {
            let (mut given, out) = (given.rows(stem), out.rows(stem));
            assert_eq!(given.first(), out.first(), "{stem}");
            given.get_mut(1..).into_iter().for_each(<[_]>::sort);
            assert_eq!(given, out, "{stem}");
        }
        assert_eq!(report(&server, &format!("edition={edition}")).await["losses"], serde_json::json!([]));
        // Into another board and out again: the same bytes.
        let other = another(&server, "aoba");
        let other = As::new(&mut server, &other);
        import(&other, out.zip.clone()).await;
        let again = export(&other, &format!("edition={edition}")).await;
        assert_alike(&again, &out, edition);
        assert_ne!(again.text("manifest"), out.text("manifest"));
        // And nothing is new in it.
        let job = import(&other, again.zip.clone()).await;
        assert_eq!(job["position"], again.position());
    }
}

#[tokio::test]
async fn the_form_of_a_set() {
    let server = Server::start().await;
    import(&server, bulk(&city())).await;
    let set = export(&server, "").await;
    let manifest = set.text("manifest");
    let lines: Vec<&str> = manifest.split("\r\n").collect();
    assert_eq!(lines[..3], ["propertyName,value", "manifest.version,1.0", "oneroster.version,1.2"]);
    let there = [
        "academicSessions",
        "classes",
        "courses",
        "demographics",
        "enrollments",
        "orgs",
        "roles",
        "userProfiles",
        "users",
    ];
    for (line, stem) in lines[3..].iter().zip(FILES) {
        let mode = if there.contains(&stem) { "bulk" } else { "absent" };
        assert_eq!(*line, format!("file.{stem},{mode}"));
    }
    let source = format!("source.systemCode,midori:{}", set.position());
    assert_eq!(lines[24..], ["source.systemName,RosterHub", &source, ""]);
    assert_eq!(set.names.len(), 10);
    let users = set.text("users");
    assert!(users.starts_with(
        "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,identifier,email,sms,\
         phone,agentSourcedIds,grades,password,userMasterIdentifier,preferredGivenName,preferredMiddleName,\
         preferredFamilyName,primaryOrgSourcedId,pronouns,metadata.jp.kanaGivenName,metadata.jp.kanaFamilyName"
    ));
    assert!(users.ends_with("\r\n") && !users.replace("\r\n", "").contains(['\r', '\n']));
    assert!(set.records("users").values().all(|user| user["status"].is_empty() && user["dateLastModified"].is_empty()));
    assert_eq!(set.headers["content-type"], "application/zip");
    assert_eq!(set.headers.get("content-encoding"), None);
    let name = format!("attachment; filename=\"oneroster-midori-{}.zip\"", set.position());
    assert_eq!(set.headers["content-disposition"], name.as_str());
    assert!(set.since().is_none());

    // Japanese editions: every value in quotes, columns of their own; a name by code.
    let set = export(&server, "edition=1.2_JP&code=131237&bom=true").await;
    assert!(
        set.text("manifest")
            .starts_with("\u{feff}propertyName,value\r\nmanifest.version,1.0\r\noneroster.version,1.2_JP\r\n")
    );
    assert!(set.text("orgs").starts_with("\u{feff}sourcedId,status"));
    assert!(set.text("orgs").lines().skip(1).all(|line| line.starts_with('"') && line.contains("\",\"\",\"\",\"")));
    let name = set.headers["content-disposition"].to_str().unwrap();
    let day = name.strip_prefix("attachment; filename=\"RO_").unwrap().strip_suffix("_131237.zip\"").unwrap();
    assert!(day.len() == 8 && day.starts_with("20"), "{name}");
    assert_eq!(import(&server, set.zip.clone()).await["position"], set.position(), "nothing is new");
    let first = export(&server, "edition=1.2").await;
    assert!(first.text("users").contains("userMasterIdentifier,resourceSourcedIds,preferredGivenName"));
    assert_eq!(import(&server, first.zip.clone()).await["position"], set.position());
    // The same again is known.
    let url = format!("{}/rosterhub/v1/exports/oneroster.zip?edition=1.2", server.base);
    let again = server.http.get(&url).bearer_auth(&server.token).header("if-none-match", &first.headers["etag"]);
    assert_eq!(again.send().await.unwrap().status(), 304);
    let some = export(&server, "files=orgs,users").await;
    assert_eq!(some.names, ["orgs.csv", "users.csv", "manifest.csv"]);
}

#[tokio::test]
async fn an_empty_roster_is_a_manifest() {
    let server = Server::start().await;
    let set = export(&server, "").await;
    assert_eq!((set.names.as_slice(), set.position()), (["manifest.csv".to_owned()].as_slice(), 0));
    assert_eq!(import(&server, set.zip).await["position"], 0);
}

#[tokio::test]
async fn the_past_stays_as_it_was_exported() {
    let server = Server::start().await;
    import(&server, bulk(&city())).await;
    let first = export(&server, "").await;
    import(&server, delta(&city(), 20.0)).await;
    let second = export(&server, "").await;
    assert_ne!(first.told(), second.told());
    for set in [&first, &second] {
        let then = export(&server, &format!("asOf={}", set.position())).await;
        assert_eq!((&then.zip, &then.headers["etag"]), (&set.zip, &set.headers["etag"]));
    }
    // A time between both.
    let mut before = first.position();
    let time = loop {
        let time = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let set = export(&server, &format!("asOf={time}")).await;
        before = before.max(set.position());
        if set.position() == second.position() {
            break time;
        }
    };
    assert_eq!(export(&server, &format!("asOf={time}")).await.zip, second.zip);
    assert_eq!(before, second.position());
    // What is between is a delta, and makes the one of the other.
    let between = export(&server, &format!("since={}", first.position())).await;
    assert_eq!((between.since(), between.position()), (Some(first.position()), second.position()));
    assert!(between.text("manifest").contains(&format!("midori:{}-{}", first.position(), second.position())));
    assert!(between.text("manifest").contains("file.users,delta\r\n"));
    assert!(between.text("manifest").contains("file.orgs,absent\r\n"));
    assert!(between.records("users").values().any(|user| user["status"] == "tobedeleted"));
    for user in between.records("users").values() {
        chrono::NaiveDateTime::parse_from_str(&user["dateLastModified"], "%Y-%m-%dT%H:%M:%S%.3fZ").unwrap();
        assert!(["active", "tobedeleted"].contains(&user["status"].as_str()));
    }
    let nothing = export(&server, &format!("since={}", second.position())).await;
    assert_eq!(nothing.names, ["manifest.csv"]);
}

#[tokio::test]
async fn writers_at_the_same_time_do_not_show() {
    let server = Server::start().await;
    import(&server, bulk(&city())).await;
    let org = server.read("orgs?limit=1").await["orgs"][0].clone();
    let id = org["sourcedId"].as_str().unwrap().to_owned();
    let write = async {
        for n in 0..60 {
            let mut org = org.clone();
            org["name"] = format!("名{n}").into();
            put(&server, &format!("orgs/{id}"), org).await;
        }
    };
    let read = async {
        let mut sets = Vec::new();
        for _ in 0..12 {
            sets.push(export(&server, "").await);
        }
        sets
    };
    let ((), sets) = tokio::join!(write, read);
    let positions: BTreeSet<i64> = sets.iter().map(Set::position).collect();
    assert!(positions.len() > 1, "{positions:?}");
    for set in sets {
        let then = export(&server, &format!("asOf={}", set.position())).await;
        assert_eq!(then.zip, set.zip);
    }
}
