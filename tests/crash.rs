//! Kill -9 at random moments of an import: nothing half-applied, log and read models agree, the next try works.

use std::time::Duration;

use serde_json::json;

use crate::notices::agree_with_jobs;
use crate::support::{Server, assert_verified, bulk, city, database, open, rosterhub, run, tenant};

#[tokio::test]
async fn an_import_killed_at_any_moment_leaves_nothing_or_all_of_it() {
    let kills = std::env::var("ROSTERHUB_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(24_u64);
    let server = Server::start().await;
    let log = open(&server.url).await;
    let midori = tenant("midori");
    let (file, other) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(file.path(), bulk(&city())).unwrap();
    std::fs::write(other.path(), bulk(&rosterhub::sample::SampleOptions { seed: "2".into(), ..city() })).unwrap();
    let import = |path: &std::path::Path| {
        rosterhub(&server.url, &["import", path.to_str().unwrap(), "--tenant", "midori", "--apply", "always", "--json"])
    };
    // How long one takes here: the moments are spread over that.
    let start = std::time::Instant::now();
    assert!(import(file.path()).output().unwrap().status.success());
    let whole = start.elapsed();
    let (mut before, mut applied) = (log.head(&midori).await.unwrap().unwrap(), 0);
    for n in 0..kills {
        // Each set withdraws all that the other brought, so that every import has everything to do.
        let path = if n % 2 == 0 { other.path() } else { file.path() };
        let mut child =
            import(path).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let moment = whole.mul_f64((n as f64 + 0.5) / kills as f64 * 1.1);
        tokio::time::timeout(moment, std::future::pending::<()>()).await.unwrap_err();
        let _ = child.kill();
        let _ = child.wait();
        let after = log.head(&midori).await.unwrap().unwrap();
        let jobs = rosterhub::csv::job::list(&log, &midori, 1, 0).await.unwrap();
        if after > before {
            applied += 1;
            assert_eq!((jobs[0].state.as_str(), jobs[0].position), ("completed", Some(after)));
        }
        before = after;
        if n % 6 == 5 {
            assert_verified(&server.url);
        }
    }
    assert_verified(&server.url);
    assert!(applied < kills, "some were cut off");
    // What was cut off is closed, its staging tables are gone, and the set goes in.
    let output = import(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let jobs = rosterhub::csv::job::list(&log, &midori, 1_000, 0).await.unwrap();
    assert!(jobs.iter().all(|j| j.finished_at.is_some()));
    let left: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'staging'")
        .fetch_all(log.db().pool())
        .await
        .unwrap();
    assert_eq!(left, Vec::<String>::new());
    assert_verified(&server.url);
    agree_with_jobs(&server).await;
}

#[tokio::test]
async fn a_server_killed_during_an_upload_starts_again_with_nothing_of_it() {
    let mut server = Server::start().await;
    let first = server.import(bulk(&city())).await;
    for n in 0..4 {
        let other = rosterhub::sample::SampleOptions { seed: format!("k{n}"), ..city() };
        let response = server
            .http
            .post(format!("{}/rosterhub/v1/imports?apply=always", server.base))
            .bearer_auth(&server.token)
            .body(bulk(&other))
            .send()
            .await
            .unwrap();
        let job: serde_json::Value = response.json().await.unwrap();
        tokio::time::timeout(Duration::from_millis(40 * n), std::future::pending::<()>()).await.unwrap_err();
        server.kill();
        server = Server::on(&server.url);
        let path = format!("{}/rosterhub/v1/imports/{}", server.base, job["id"].as_str().unwrap());
        let job: serde_json::Value = server.get(&path).await.json().await.unwrap();
        assert!(["failed", "completed"].contains(&job["state"].as_str().unwrap()), "{job}");
        if job["state"] == "failed" {
            assert!(job["failure"].as_str().unwrap().starts_with("interrupted"), "{job}");
        }
        assert_verified(&server.url);
    }
    let last = server.import(bulk(&city())).await;
    assert_eq!(last["state"], "completed");
    let active = server.read("users?limit=10000").await["users"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|u| u["status"] == "active")
        .count();
    assert_eq!(json!(active), first["rows"]["users"]);
    agree_with_jobs(&server).await;
    assert_eq!(run(&server.url, &["verify"]).0, 0);
}

/// An upload holds passwords and all else that the roster does not keep.
#[tokio::test]
async fn nothing_of_an_upload_is_left_by_a_server_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("ROSTERHUB_DATA_DIR", folder.path().to_str().unwrap())];
    let url = database().await;
    assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
    let left = || std::fs::read_dir(folder.path().join("uploads")).unwrap().count();
    // In the middle of an upload: far more has been taken than the way there can hold.
    let mut server = Server::with(&url, &settings);
    let (sent, mut taken) = tokio::sync::mpsc::channel(1);
    let parts = futures::stream::unfold((0, sent), |(n, sent)| async move {
        if n == 64 {
            sent.send(()).await.ok()?;
            return std::future::pending().await;
        }
        Some((Ok::<_, std::io::Error>(vec![b'x'; 1 << 20]), (n + 1, sent)))
    });
    let upload = server.http.post(format!("{}/rosterhub/v1/imports", server.base)).bearer_auth(&server.token);
    let upload = tokio::spawn(upload.body(reqwest::Body::wrap_stream(parts)).send());
    taken.recv().await.unwrap();
    server.kill();
    upload.await.unwrap().unwrap_err();
    assert_eq!(left(), 0);
    // In the middle of an import, which waits for the tenant's lock.
    let log = open(&url).await;
    let lock = log.begin(&tenant("midori")).await.unwrap();
    let mut server = Server::with(&url, &settings);
    let upload = server.http.post(format!("{}/rosterhub/v1/imports", server.base)).bearer_auth(&server.token);
    assert_eq!(upload.body(bulk(&city())).send().await.unwrap().status(), 202);
    server.kill();
    drop(lock);
    let server = Server::with(&url, &settings);
    assert_eq!(left(), 0);
    assert_eq!(server.import(bulk(&city())).await["state"], "completed");
    assert_eq!(left(), 0);
}
