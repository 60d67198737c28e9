//! Sets come in by a watched folder.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::decisions::{FIVE, orgs};
use crate::support::{Server, bulk, city, database, open, run, tenant, until};

/// An inbox with a folder for the tenant, and a database.
struct Inbox {
    root: tempfile::TempDir,
    url: String,
    put: Cell<u64>,
}

impl Inbox {
    async fn new() -> Self {
        let url = database().await;
        assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("midori")).unwrap();
        Self { root, url, put: Cell::new(0) }
    }

    fn serve(&self, settings: &[(&str, &str)]) -> Server {
        let inbox = self.root.path().to_str().unwrap();
        let own = [("ROSTERHUB_IMPORTS_INBOX", inbox), ("ROSTERHUB_IMPORTS_INBOX_SECONDS", "1")];
        Server::with(&self.url, &[&own, settings].concat())
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("midori")
    }

    /// Puts a file in as careful programs do: by another name first.
    fn put(&self, name: &str, bytes: &[u8]) {
        let part = self.folder().join(format!("{name}.part"));
        fs::write(&part, bytes).unwrap();
        // Each a second after the one before: clocks of file systems are coarse.
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + self.put.replace(self.put.get() + 1));
        File::options().write(true).open(&part).unwrap().set_modified(at).unwrap();
        fs::rename(part, self.folder().join(name)).unwrap();
    }
}

/// Names in a folder, in order; none when it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits until a file of this name has been put away; gives the path.
async fn put_away(folder: &Path, name: &str) -> PathBuf {
    let ending = format!("-{name}");
    let found = || names(folder).into_iter().find(|found| found.ends_with(&ending));
    until(&format!("{name} is in {folder:?}"), async || found().is_some()).await;
    folder.join(found().unwrap())
}

fn beside(path: &Path, addition: &str) -> String {
    fs::read_to_string(format!("{}{addition}", path.display())).unwrap()
}

async fn jobs(url: &str) -> Vec<rosterhub::csv::job::Job> {
    rosterhub::csv::job::list(&open(url).await, &tenant("midori"), 100, 0).await.unwrap()
}

#[tokio::test]
async fn sets_are_imported_and_put_away_with_what_became_of_them() {
    let inbox = Inbox::new().await;
    let (folder, elsewhere) = (inbox.folder(), tempfile::tempdir().unwrap());
    // None of these is taken.
    let secret = elsewhere.path().join("secret.zip");
    fs::write(&secret, bulk(&city())).unwrap();
    std::os::unix::fs::symlink(&secret, folder.join("link.zip")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), inbox.root.path().join("aoba")).unwrap();
    for name in ["half.zip.part", "half.zip.filepart", ".hidden.zip", "notes.txt", "empty.zip"] {
        fs::write(folder.join(name), if name == "empty.zip" { "" } else { "PK" }).unwrap();
    }
    fs::create_dir(inbox.root.path().join("nobody")).unwrap();
    fs::write(inbox.root.path().join("nobody/set.zip"), bulk(&city())).unwrap();

    let server = inbox.serve(&[]);
    inbox.put("新年度.ZIP", &bulk(&city()));
    let done = put_away(&folder.join("done"), "新年度.ZIP").await;
    let job: Value = serde_json::from_str(&beside(&done, ".json")).unwrap();
    assert_eq!(
        (&job["state"], &job["client"], &job["fileName"]),
        (&"completed".into(), &"inbox".into(), &"新年度.ZIP".into())
    );
    assert_eq!(fs::read(&done).unwrap(), bulk(&city()));
    let again: Value = server
        .get(&format!("{}/rosterhub/v1/imports/{}", server.base, job["id"].as_str().unwrap()))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(again, job);

    let wrong = orgs(&[("o1", "=cmd|' /C calc'!A0"), ("o1", "b"), ("", "c")]);
    inbox.put("wrong.zip", &wrong);
    let failed = put_away(&folder.join("failed"), "wrong.zip").await;
    let job: Value = serde_json::from_str(&beside(&failed, ".json")).unwrap();
    let errors = beside(&failed, ".errors.csv");
    assert_eq!(job["state"], "failed");
    assert_eq!(errors.lines().count() as i64, job["errors"].as_i64().unwrap() + 1, "{errors}");
    assert!(errors.contains("duplicate_sourced_id"), "{errors}");

    fs::write(folder.join("options.json"), r#"{"apply":"never"}"#).unwrap();
    inbox.put("planned.zip", &orgs(&FIVE));
    let held = put_away(&folder.join("held"), "planned.zip").await;
    let job: Value = serde_json::from_str(&beside(&held, ".json")).unwrap();
    assert_eq!((&job["state"], &job["options"]["apply"]), (&"planned".into(), &"never".into()));

    // Options that cannot be read are not guessed.
    fs::write(folder.join("options.json"), r#"{"aply":"never"}"#).unwrap();
    inbox.put("unclear.zip", &orgs(&FIVE));
    let unclear = put_away(&folder.join("failed"), "unclear.zip").await;
    let result: Value = serde_json::from_str(&beside(&unclear, ".json")).unwrap();
    assert_eq!(result["error"]["code"], "bad_options");

    assert_eq!(jobs(&inbox.url).await.len(), 3);
    let left = [
        ".hidden.zip",
        ".taken",
        "done",
        "empty.zip",
        "failed",
        "half.zip.filepart",
        "half.zip.part",
        "held",
        "link.zip",
        "notes.txt",
        "options.json",
    ];
    assert_eq!(names(&folder), left);
    assert_eq!(names(&folder.join(".taken")), [""; 0]);
    assert_eq!(
        (names(&inbox.root.path().join("nobody")), names(elsewhere.path())),
        (vec!["set.zip".to_owned()], vec!["secret.zip".to_owned()])
    );
}

#[tokio::test]
async fn instances_that_share_an_inbox_take_each_file_once() {
    let inbox = Inbox::new().await;
    let _servers = [inbox.serve(&[]), inbox.serve(&[]), inbox.serve(&[])];
    let sets: Vec<String> = (0..6).map(|n| format!("set{n}.zip")).collect();
    for (n, name) in sets.iter().enumerate() {
        inbox.put(name, &orgs(&FIVE[..=n.min(4)]));
    }
    for name in &sets {
        put_away(&inbox.folder().join("done"), name).await;
    }
    let jobs = jobs(&inbox.url).await;
    let mut names: Vec<&str> = jobs.iter().map(|job| job.file_name.as_str()).collect();
    names.sort();
    assert_eq!(names, sets);
    assert!(jobs.iter().all(|job| job.state == "completed"), "{jobs:?}");
}

#[tokio::test]
async fn what_a_killed_server_had_taken_is_taken_up_again() {
    let inbox = Inbox::new().await;
    let mut one = inbox.serve(&[]);
    let log = open(&inbox.url).await;
    let lock = log.begin(&tenant("midori")).await.unwrap();
    inbox.put("set.zip", &bulk(&city()));
    until("it is being applied", async || jobs(&inbox.url).await.iter().any(|job| job.state == "applying")).await;
    assert_eq!(names(&inbox.folder().join(".taken")).len(), 1);
    one.kill();
    drop(lock);
    let _two = inbox.serve(&[]);
    let done = put_away(&inbox.folder().join("done"), "set.zip").await;
    let jobs = jobs(&inbox.url).await;
    assert_eq!(jobs.iter().map(|job| job.state.as_str()).collect::<Vec<_>>(), ["completed", "failed"]);
    assert!(jobs[1].failure.as_ref().unwrap().starts_with("interrupted"));
    let told: Value = serde_json::from_str(&beside(&done, ".json")).unwrap();
    assert_eq!(told["id"], jobs[0].id.to_string());
}

#[tokio::test]
async fn files_wait_in_their_order_while_the_tenant_has_no_place() {
    let inbox = Inbox::new().await;
    let server = inbox.serve(&[("ROSTERHUB_IMPORTS_PER_TENANT", "1")]);
    let lock = open(&inbox.url).await.begin(&tenant("midori")).await.unwrap();
    inbox.put("a.zip", &orgs(&FIVE[..1]));
    until("it is being applied", async || jobs(&inbox.url).await.iter().any(|job| job.state == "applying")).await;
    // The tenant has all that it may have; another one would still have a place.
    let imports = format!("{}/rosterhub/v1/imports", server.base);
    let refused = server.http.post(&imports).bearer_auth(&server.token).body(bulk(&city())).send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(run(&inbox.url, &["tenant", "create", "aoba"]).0, 0);
    let other = crate::support::token(&inbox.url, "aoba", "import");
    let taken = server.http.post(&imports).bearer_auth(&other).header("prefer", "wait=60").body(bulk(&city()));
    assert_eq!(taken.send().await.unwrap().json::<Value>().await.unwrap()["state"], "completed");

    inbox.put("c.zip", &orgs(&FIVE[..2]));
    inbox.put("b.zip", &orgs(&FIVE[..3]));
    drop(lock);
    for name in ["a.zip", "b.zip", "c.zip"] {
        put_away(&inbox.folder().join("done"), name).await;
    }
    let order: Vec<String> = jobs(&inbox.url).await.into_iter().rev().map(|job| job.file_name).collect();
    assert_eq!(order, ["a.zip", "c.zip", "b.zip"]);
}
