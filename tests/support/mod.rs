//! Starts the real thing.

pub mod receiver;

use std::io::{BufRead, BufReader, Cursor};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rosterhub::db::Db;
use rosterhub::db::embedded::{EmbeddedPostgres, Settings};
use rosterhub::log::{Log, Tenant};
use rosterhub::sample::{SampleOptions, write_bulk, write_delta};
use serde_json::Value;
use sqlx::{Connection, Executor};

/// Longest that anything is waited for. Nothing passes or fails by its duration: this only ends what hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// All scopes of the roster and of imports.
pub const EVERYTHING: &str = "roster.readonly,roster-demographics.readonly,import,export,write";

static POSTGRES: OnceLock<EmbeddedPostgres> = OnceLock::new();
static NUMBER: AtomicU32 = AtomicU32::new(0);

fn settings(name: &str) -> Settings {
    Settings {
        data_dir: std::env::temp_dir().join(format!("rosterhub-test-{}-{name}", std::process::id())),
        durable: false,
        stop_with_process: true,
        remove_on_stop: true,
        parameters: vec![],
    }
}

/// A Postgres of the test's own, for those that stop it.
pub fn own_postgres(name: &str) -> EmbeddedPostgres {
    EmbeddedPostgres::start(&settings(name)).expect("Postgres starts")
}

/// An empty database on the run's Postgres.
pub async fn database() -> String {
    let postgres = POSTGRES.get_or_init(|| own_postgres("shared"));
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = sqlx::PgConnection::connect(&postgres.admin_url("postgres")).await.unwrap();
    admin.execute(format!("create database {name} owner rosterhub").as_str()).await.unwrap();
    postgres.url(&name)
}

/// The URL of a database for the superuser, who may do even what the hub may not.
pub fn admin_url(url: &str) -> String {
    let name = url.split('?').next().and_then(|url| url.rsplit('/').next()).unwrap();
    POSTGRES.get().unwrap().admin_url(name)
}

pub async fn superuser(url: &str) -> sqlx::PgConnection {
    sqlx::PgConnection::connect(&admin_url(url)).await.unwrap()
}

/// A copy of a database that nobody is connected to.
pub async fn copy(url: &str) -> String {
    let postgres = POSTGRES.get().unwrap();
    let from = url.split('?').next().and_then(|url| url.rsplit('/').next()).unwrap();
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut admin = sqlx::PgConnection::connect(&postgres.admin_url("postgres")).await.unwrap();
    admin.execute(format!("create database {name} template {from} owner rosterhub").as_str()).await.unwrap();
    postgres.url(&name)
}

/// The log, opened in the test's process.
pub async fn open(url: &str) -> Log {
    Log::open(Db::open(url, 40).await.unwrap()).await.unwrap()
}

pub fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

/// Data folder of the servers of this run. It is removed with that of their Postgres.
pub fn data_dir() -> PathBuf {
    settings("shared").data_dir.join("hub")
}

/// The binary, on a database, with arguments.
pub fn rosterhub(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rosterhub"));
    command
        .args(args)
        .env("DATABASE_URL", url)
        .env("ROSTERHUB_LISTEN", "127.0.0.1:0")
        .env("ROSTERHUB_DATA_DIR", data_dir())
        .env("ROSTERHUB_LOG", "info")
        .stdin(Stdio::null());
    command
}

/// Runs a command of the binary to its end: exit code and what it printed.
pub fn run(url: &str, args: &[&str]) -> (i32, String) {
    let output = rosterhub(url, args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// A running server with one tenant and a token to everything of it.
pub struct Server {
    pub url: String,
    pub base: String,
    pub token: String,
    process: Process,
    pub http: reqwest::Client,
}

/// A process that ends with its owner, also when a test panics before there is a server.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    /// With a fresh database and the tenant `midori`.
    pub async fn start() -> Self {
        let url = database().await;
        let (code, text) = run(&url, &["tenant", "create", "midori"]);
        assert_eq!(code, 0, "{text}");
        Self::on(&url)
    }

    /// On a database that has the tenant.
    pub fn on(url: &str) -> Self {
        Self::with(url, &[])
    }

    /// The same, with settings.
    pub fn with(url: &str, settings: &[(&str, &str)]) -> Self {
        let token = token(url, "midori", EVERYTHING);
        let mut command = rosterhub(url, &["serve"]);
        command.envs(settings.iter().copied()).stderr(Stdio::piped()).stdout(Stdio::null());
        let mut process = Process(command.spawn().unwrap());
        let mut lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the server ended: {seen}")).unwrap();
            seen.push_str(&line);
            if let Some((_, port)) = line.rsplit_once("127.0.0.1:") {
                break format!("127.0.0.1:{}", port.chars().take_while(char::is_ascii_digit).collect::<String>());
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        // The hub's own client names its cryptography; this one looks for that of the process. Only the first call counts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { url: url.to_owned(), base: format!("http://{address}"), token, process, http }
    }

    pub fn oneroster(&self, path: &str) -> String {
        format!("{}/ims/oneroster/rostering/v1p2/{path}", self.base)
    }

    pub async fn get(&self, url: &str) -> reqwest::Response {
        self.http.get(url).bearer_auth(&self.token).send().await.unwrap()
    }

    /// The JSON of a OneRoster path.
    pub async fn read(&self, path: &str) -> Value {
        let response = self.get(&self.oneroster(path)).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }

    /// Answers a GraphQL operation with these variables: the whole answer.
    pub async fn graphql(&self, query: &str, variables: Value) -> Value {
        let body = serde_json::json!({ "query": query, "variables": variables });
        let request = self.http.post(format!("{}/graphql", self.base)).bearer_auth(&self.token).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    }

    /// The same, without errors: its data.
    pub async fn query(&self, query: &str) -> Value {
        let answer = self.graphql(query, serde_json::json!({})).await;
        assert_eq!(answer["errors"], Value::Null, "{query}: {answer}");
        answer["data"].clone()
    }

    /// Hands a set in, to be applied however much it changes, and waits for the end of the import.
    pub async fn import(&self, zip: Vec<u8>) -> Value {
        self.hand_in(zip, "?apply=always").await
    }

    /// Hands a set in with these parameters and waits until the import rests.
    pub async fn hand_in(&self, zip: Vec<u8>, parameters: &str) -> Value {
        let response = self
            .http
            .post(format!("{}/rosterhub/v1/imports{parameters}", self.base))
            .bearer_auth(&self.token)
            .header("prefer", "wait=60")
            .body(zip)
            .send()
            .await
            .unwrap();
        let status = response.status();
        let job: Value = response.json().await.unwrap();
        assert_eq!(status, 200, "{job}");
        job
    }

    /// All errors of a job.
    pub async fn errors(&self, job: &Value) -> Vec<Value> {
        let path = format!("{}/rosterhub/v1/imports/{}/errors?limit=10000", self.base, job["id"].as_str().unwrap());
        let list: Value = self.get(&path).await.json().await.unwrap();
        list["errors"].as_array().unwrap().clone()
    }

    /// Most memory that the server has had so far, in bytes; none where the system does not tell.
    pub fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    }

    /// Tells the server to stop.
    pub fn interrupt(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.process.0.id().to_string()]).status().unwrap().success());
    }

    /// Waits for the server to end of itself.
    pub fn wait(&mut self) {
        assert!(self.process.0.wait().unwrap().success());
    }

    /// Kill -9.
    pub fn kill(&mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }
}

/// An API key with these scopes.
pub fn token(url: &str, tenant: &str, scopes: &str) -> String {
    let made = client(url, tenant, &["--scopes", scopes, "--api-key"]);
    made["apiKey"].as_str().unwrap().to_owned()
}

/// Makes a client; what the command prints.
pub fn client(url: &str, tenant: &str, args: &[&str]) -> Value {
    json(url, &[&["client", "create", "--tenant", tenant, "--name", "test"], args].concat())
}

/// Runs a command that succeeds with `--json`: what it prints.
pub fn json(url: &str, args: &[&str]) -> Value {
    let (code, text) = run(url, &[args, &["--json"]].concat());
    assert_eq!(code, 0, "{text}");
    let line = text.lines().find(|l| l.starts_with(['{', '['])).unwrap_or_else(|| panic!("{text}"));
    serde_json::from_str(line).unwrap()
}

/// A small city: 2 schools.
pub fn city() -> SampleOptions {
    SampleOptions { schools: 2, students_per_school: 40, subjects: 2, profiles: true, ..SampleOptions::default() }
}

pub fn bulk(options: &SampleOptions) -> Vec<u8> {
    let mut zip = Cursor::new(Vec::new());
    write_bulk(options, &mut zip).unwrap();
    zip.into_inner()
}

pub fn delta(options: &SampleOptions, percent: f64) -> Vec<u8> {
    let mut zip = Cursor::new(Vec::new());
    write_delta(options, percent, &mut zip).unwrap();
    zip.into_inner()
}

/// A zip of these files; the manifest declares them with their modes and all others absent.
pub fn set(files: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut manifest = "propertyName,value\r\nmanifest.version,1.0\r\noneroster.version,1.2\r\n".to_owned();
    for stem in rosterhub::csv::edition::FILES {
        let mode = files.iter().find(|f| f.0 == stem).map_or("absent", |f| f.1);
        manifest += &format!("file.{stem},{mode}\r\n");
    }
    let mut entries: Vec<(String, Vec<u8>)> = vec![("manifest.csv".into(), manifest.into_bytes())];
    entries.extend(files.iter().map(|(stem, _, text)| (format!("{stem}.csv"), text.as_bytes().to_vec())));
    zip(&entries)
}

pub fn zip(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Repeats until it holds; panics when patience ends.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::task::yield_now().await;
    }
}

/// `rosterhub verify` says that the read models are what the log says.
pub fn assert_verified(url: &str) {
    let (code, text) = run(url, &["verify"]);
    assert_eq!(code, 0, "{text}");
}

/// Writes a record over the hub's own path; gives the answer's body.
pub async fn put(server: &Server, path: &str, document: Value) -> Value {
    write(server, reqwest::Method::PUT, path, document).await
}

/// Changes members of a record.
pub async fn patch(server: &Server, path: &str, document: Value) -> Value {
    write(server, reqwest::Method::PATCH, path, document).await
}

async fn write(server: &Server, method: reqwest::Method, path: &str, document: Value) -> Value {
    let url = format!("{}/rosterhub/v1/roster/{path}", server.base);
    let response = server.http.request(method, url).bearer_auth(&server.token).json(&document).send().await.unwrap();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert!(status.is_success(), "{path}: {body}");
    body
}
