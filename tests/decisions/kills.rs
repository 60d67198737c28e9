//! Kill -9 at random moments of an approval and of a revert: nothing or all of it, and the plan is not lost.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::notices::agree_with_jobs;
use crate::support::{Server, assert_verified, bulk, city, delta, json, open, rosterhub, run, tenant};

/// Runs a command for so long, unless it ends before, and kills it.
async fn cut(url: &str, args: &[&str], moment: Duration) {
    let mut child = rosterhub(url, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    tokio::time::timeout(moment, std::future::pending::<()>()).await.unwrap_err();
    let _ = child.kill();
    let _ = child.wait();
}

#[tokio::test]
async fn approvals_and_reverts_killed_at_any_moment_leave_nothing_or_all() {
    let kills = std::env::var("ROSTERHUB_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(30_u32);
    let server = Server::start().await;
    let url = server.url.as_str();
    let log = open(url).await;
    let midori = tenant("midori");
    let head = async || log.head(&midori).await.unwrap().unwrap();
    server.import(bulk(&city())).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), delta(&city(), 50.0)).unwrap();
    let path = file.path().to_str().unwrap();
    let plan = || json(url, &["import", path, "--tenant", "midori", "--dry-run"])["import"].clone();
    let show = |id: &str| json(url, &["import", "show", id, "--tenant", "midori"])["import"].clone();
    let text = |job: &Value, name: &str| job[name].as_str().unwrap().to_owned();

    let mut job = plan();
    let start = Instant::now();
    let (code, told) =
        run(url, &["import", "approve", &text(&job, "id"), "--plan", &text(&job, "plan"), "--tenant", "midori"]);
    assert_eq!(code, 0, "{told}");
    let whole = start.elapsed();
    let (mut reverting, mut last) = (true, show(&text(&job, "id")));
    let mut cut_off = 0;
    for n in 0..kills {
        let before = head().await;
        let moment = whole.mul_f64((f64::from(n % 10) + 0.5) / 10.0 * 1.2);
        if reverting {
            let id = text(&last, "id");
            cut(url, &["import", "revert", &id, "--apply", "always", "--tenant", "midori"], moment).await;
            let newest = json(url, &["import", "list", "--tenant", "midori", "--limit", "1"])["imports"][0].clone();
            match newest["reverts"] == last["id"] && newest["state"] == "completed" {
                true => {
                    assert_eq!(newest["position"], head().await);
                    assert!(head().await > before);
                    (reverting, job) = (false, plan());
                }
                false => {
                    cut_off += 1;
                    assert_eq!(head().await, before);
                }
            }
        } else {
            let (id, plan_id) = (text(&job, "id"), text(&job, "plan"));
            cut(url, &["import", "approve", &id, "--plan", &plan_id, "--tenant", "midori"], moment).await;
            let now = show(&id);
            match now["state"].as_str() {
                Some("completed") => {
                    assert_eq!(now["position"], head().await);
                    (reverting, last) = (true, now);
                }
                state => {
                    // The plan waits as it did, and can be approved again.
                    cut_off += 1;
                    assert!([Some("planned"), Some("held")].contains(&state), "{now}");
                    assert_eq!((&now["plan"], head().await), (&job["plan"], before));
                }
            }
        }
        if n % 10 == 9 {
            assert_verified(url);
        }
    }
    assert!(cut_off > 0, "some were cut off");
    assert_verified(url);
    // Nothing is left but the plan that waits, if one does.
    assert_eq!(run(url, &["tenant", "list"]).0, 0);
    let waiting = u32::from(!reverting);
    assert_eq!(super::left(&server).await, super::TABLES * i64::from(waiting));
    agree_with_jobs(&server).await;
}

/// In the middle of reading and planning for a plan only, and while it waits.
#[tokio::test]
async fn plans_killed_on_the_way_leave_nothing_and_those_that_wait_stay() {
    let mut server = Server::start().await;
    let first = server.hand_in(bulk(&city()), "?apply=never").await;
    for n in 0..6 {
        let other = rosterhub::sample::SampleOptions { seed: format!("p{n}"), ..city() };
        let url = format!("{}/rosterhub/v1/imports?apply=never", server.base);
        let request = server.http.post(url).bearer_auth(&server.token).body(bulk(&other));
        let job: Value = request.send().await.unwrap().json().await.unwrap();
        tokio::time::timeout(Duration::from_millis(60 * n), std::future::pending::<()>()).await.unwrap_err();
        server.kill();
        server = Server::on(&server.url);
        let (_, job) = super::get(&server, super::id(&job)).await;
        match job["state"].as_str() {
            Some("planned") => {
                assert_eq!(super::post(&server, &format!("{}/discard", super::id(&job))).await.0, 200);
            }
            state => assert_eq!(state, Some("failed"), "{job}"),
        }
        assert_eq!(super::left(&server).await, super::TABLES);
    }
    assert_eq!(super::approve(&server, &first).await.1["state"], "completed");
    assert_verified(&server.url);
    agree_with_jobs(&server).await;
}
