use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::account::User;
use super::ready::{POLL, READY_LIMIT, is_server};
use super::server::send;
use super::{EmbeddedPostgres, Settings, find_binaries};

const HOLDER_VARIABLE: &str = "ROSTERHUB_EMBEDDED_TEST_FOLDER";

fn settings(name: &str) -> Settings {
    let name = format!("rosterhub-embedded-{name}-{}", std::process::id());
    Settings {
        data_dir: Path::new("/tmp").canonicalize().unwrap().join(name),
        durable: false,
        stop_with_process: true,
        remove_on_stop: true,
        parameters: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
    }
}

fn psql(url: &str, sql: &str) -> Command {
    let mut command = Command::new(find_binaries().unwrap().join("psql"));
    command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
    command.args(["-c", sql, url]).stderr(Stdio::inherit());
    command
}

/// Checks nothing where Postgres came without its client.
fn check(url: &str, sql: &str, expected: &str) {
    if find_binaries().unwrap().join("psql").exists() {
        let output = psql(url, sql).output().unwrap();
        assert!(output.status.success(), "{sql}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < READY_LIMIT, "{what}");
        std::thread::sleep(POLL);
    }
}

#[test]
fn starts_restarts_and_is_adopted() {
    let settings = settings("life");
    let mut first = EmbeddedPostgres::start(&settings).unwrap();
    let url = first.url("rosterhub");
    assert!(!first.adopted());
    check(
        &url,
        "SELECT current_user, rolcanlogin, rolcreatedb, rolsuper, rolbypassrls, \
         rolcreaterole, pg_encoding_to_char(encoding), datcollate, \
         pg_get_userbyid(datdba) FROM pg_roles, pg_database \
         WHERE rolname = current_user AND datname = current_database()",
        "rosterhub|t|t|f|f|f|UTF8|C|rosterhub",
    );
    check(
        &first.admin_url("postgres"),
        "SELECT current_user, usesuper FROM pg_user WHERE usename = current_user",
        "postgres|t",
    );
    let shown = "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN \
                 ('shared_buffers', 'fsync', 'listen_addresses', 'wal_level', 'jit')";
    check(&url, shown, "off off  2048 minimal");
    check(&url, "CREATE TABLE kept AS SELECT 7 AS n", "");

    let pid = first.pid();
    first.restart().unwrap();
    assert_ne!(first.pid(), pid);
    assert!(!first.adopted());
    check(&url, "SELECT n FROM kept", "7");

    let second = EmbeddedPostgres::start(&settings).unwrap();
    assert!(second.adopted());
    assert_eq!(second.pid(), first.pid());
    assert_eq!(second.url("rosterhub"), url);
    drop(second);
    check(&url, "SELECT n FROM kept", "7");

    first.stop().unwrap();
    assert!(!settings.data_dir.exists());
}

#[test]
fn keeps_the_data_of_a_durable_server() {
    let mut settings = settings("durable");
    (settings.durable, settings.remove_on_stop) = (true, false);
    let server = EmbeddedPostgres::start(&settings).unwrap();
    check(&server.url("rosterhub"), "CREATE TABLE kept AS SELECT 7", "");
    server.stop().unwrap();
    settings.remove_on_stop = true;
    let server = EmbeddedPostgres::start(&settings).unwrap();
    assert!(!server.adopted());
    check(&server.url("rosterhub"), "TABLE kept", "7");
    server.stop().unwrap();
}

#[test]
fn recovers_from_a_crash() {
    let settings = settings("crash");
    let mut server = EmbeddedPostgres::start(&settings).unwrap();
    let url = server.url("rosterhub");
    check(&url, "SET synchronous_commit = on; CREATE TABLE kept AS SELECT 7", "");
    server.kill().unwrap();
    server.restart().unwrap();
    check(&url, "TABLE kept", "7");

    // A query that does not notice at once that the server is gone.
    let busy = "SELECT count(*) FROM generate_series(1, 10000000)";
    let client = psql(&url, busy).stderr(Stdio::null()).spawn();
    if client.is_ok() {
        let count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'";
        until("the query runs", || {
            let output = psql(&url, count).output().unwrap();
            output.stdout.starts_with(b"2")
        });
    }
    send(server.pid(), libc::SIGKILL);
    let other = EmbeddedPostgres::start(&settings).unwrap();
    assert!(!other.adopted());
    assert_ne!(other.pid(), server.pid());
    check(&url, "TABLE kept", "7");
    other.stop().unwrap();
    let _ = client.map(|mut client| client.wait());
    server.stop().unwrap();
}

#[test]
fn is_not_misled_by_a_stale_pid_file() {
    let settings = settings("stale");
    let mut server = EmbeddedPostgres::start(&settings).unwrap();
    let file = settings.data_dir.join("pg/postmaster.pid");
    let run = settings.data_dir.join("run");
    let mut other = Command::new("cat");
    if let Some(user) = User::needed().unwrap() {
        other.uid(user.uid).gid(user.gid);
    }
    let mut other = other.stdin(Stdio::piped()).spawn().unwrap();
    // The number of another program, one that nobody has, and a file cut off.
    for number in [other.id().to_string(), "4194999".to_owned(), String::new()] {
        server.kill().unwrap();
        let text = format!("{number}\n{}\n1\n5432\n", settings.data_dir.display());
        let text = if number.is_empty() { "" } else { &text };
        fs::write(&file, text).unwrap();
        fs::write(run.join(".s.PGSQL.5432.lock"), text).unwrap();
        let user = User::needed().unwrap();
        user.map_or(Ok(()), |user| user.own(&file)).unwrap();
        server.restart().unwrap();
        assert!(!server.adopted());
        check(&server.url("rosterhub"), "SELECT 1", "1");
    }
    other.kill().unwrap();
    other.wait().unwrap();
    server.stop().unwrap();
}

#[test]
fn redoes_an_interrupted_initialisation() {
    let settings = settings("interrupted");
    for left in ["pg.new/base", "pg.new-1-2/base"] {
        fs::create_dir_all(settings.data_dir.join(left)).unwrap();
    }
    fs::write(settings.data_dir.join("pg.new/PG_VERSION"), "15\n").unwrap();
    let server = EmbeddedPostgres::start(&settings).unwrap();
    check(&server.url("rosterhub"), "SELECT 1", "1");
    let folder = fs::read_dir(&settings.data_dir).unwrap();
    let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["pg", "postgres.log", "run", "start.lock"]);
    server.stop().unwrap();
}

#[test]
fn two_at_once_share_one_server() {
    let settings = settings("race");
    let start = || EmbeddedPostgres::start(&settings).unwrap();
    let (a, b) = std::thread::scope(|scope| {
        let (a, b) = (scope.spawn(start), scope.spawn(start));
        (a.join().unwrap(), b.join().unwrap())
    });
    assert_eq!(a.pid(), b.pid());
    assert_ne!(a.adopted(), b.adopted());
    let (starter, adopter) = if a.adopted() { (b, a) } else { (a, b) };
    // The adopter's stop is a real one, and the starter's finds nothing left to do.
    adopter.stop().unwrap();
    assert!(!settings.data_dir.exists());
    starter.stop().unwrap();
}

#[test]
fn copes_with_a_folder_too_long_and_odd_for_a_socket() {
    let mut settings = settings("odd");
    settings.data_dir = settings.data_dir.join("ü, \"b\" + %41 & c'".repeat(5));
    let server = EmbeddedPostgres::start(&settings).unwrap();
    assert!(!server.socket_dir().starts_with(&settings.data_dir));
    check(&server.url("rosterhub"), "SELECT 1", "1");
    let second = EmbeddedPostgres::start(&settings).unwrap();
    assert!(second.adopted());
    let folder = server.socket_dir().to_owned();
    assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
    server.stop().unwrap();
    assert!(!folder.exists());

    let short = settings.data_dir.parent().unwrap().join("ü \"b\" + %41 & c'");
    settings.data_dir = short.clone();
    let server = EmbeddedPostgres::start(&settings).unwrap();
    assert_eq!(server.socket_dir(), short.join("run"));
    check(&server.url("rosterhub"), "SELECT 1", "1");
    server.stop().unwrap();
    fs::remove_dir(short.parent().unwrap()).unwrap();
}

#[test]
fn tells_why_it_did_not_start() {
    let mut settings = settings("failing");
    settings.parameters.push(("no_such_setting".to_owned(), "1".to_owned()));
    let error = EmbeddedPostgres::start(&settings).unwrap_err().to_string();
    assert!(error.contains("unrecognized configuration parameter"), "{error}");
    until("the watchdog removes the folder", || !settings.data_dir.exists());
}

#[test]
fn logs_no_data() {
    let settings = settings("log");
    let server = EmbeddedPostgres::start(&settings).unwrap();
    let url = server.url("rosterhub");
    check(&url, "CREATE TABLE t (name text PRIMARY KEY); INSERT INTO t VALUES ('Hanako')", "");
    let kill = "COPY (SELECT 'Hanako') TO PROGRAM 'kill -9 $PPID'";
    let failing = [
        (&url, "INSERT INTO t VALUES ('Hanako')"),
        (&url, "INSERT INTO t VALUES ('Akira'::int::text)"),
        (&url, "DO $$ BEGIN RAISE WARNING 'Akira'; END $$; SELECT 1 / 0"),
        (&server.admin_url("rosterhub"), kill),
    ];
    let ran = failing.map(|(url, sql)| psql(url, sql).stderr(Stdio::null()).status().map(|status| status.success()));
    assert!(ran.iter().all(|ran| !matches!(ran, Ok(true))), "{ran:?}");
    let log = || fs::read_to_string(settings.data_dir.join("postgres.log")).unwrap();
    if ran[0].is_ok() {
        until("the log tells of the crash", || log().contains("was terminated by signal 9"));
    }
    let log = log();
    assert!(["Hanako", "Akira", "INSERT", "COPY", "ERROR"].iter().all(|word| !log.contains(word)), "{log}");
    server.stop().unwrap();
}

#[test]
fn stops_with_its_handle() {
    let settings = settings("drop");
    let server = EmbeddedPostgres::start(&settings).unwrap();
    let (pid, pg) = (server.pid(), settings.data_dir.join("pg"));
    drop(server);
    until("the server stops", || !is_server(pid, &pg));
    until("the folder is removed", || !settings.data_dir.exists());
}

/// Run in a process of its own by the next test.
#[test]
#[ignore = "waits to be killed"]
fn holder() {
    let mut settings = settings("holder");
    settings.data_dir = std::env::var_os(HOLDER_VARIABLE).unwrap().into();
    settings.remove_on_stop = settings.data_dir.to_string_lossy().contains("removed");
    let server = EmbeddedPostgres::start(&settings).unwrap();
    println!("\nserver {}", server.pid());
    let _ = io::stdin().read_line(&mut String::new());
}

#[test]
fn stops_with_its_killed_process() {
    for (name, remove) in [("removed", true), ("kept", false)] {
        let mut settings = settings(name);
        let (_, module) = module_path!().split_once("::").unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1"]);
        command.arg(format!("{module}::holder"));
        command.env(HOLDER_VARIABLE, &settings.data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let pid = lines.find_map(|line| line.unwrap().strip_prefix("server ")?.parse().ok());
        let (pid, pg) = (pid.unwrap(), settings.data_dir.join("pg"));
        assert!(is_server(pid, &pg));
        holder.kill().unwrap();
        holder.wait().unwrap();
        until("the server stops", || !is_server(pid, &pg));
        if remove {
            until("the folder is removed", || !settings.data_dir.exists());
        } else {
            assert!(!pg.join("postmaster.pid").exists());
            settings.remove_on_stop = true;
            EmbeddedPostgres::start(&settings).unwrap().stop().unwrap();
        }
    }
}
