//! Who may, what is refused, and what becomes of a set that breaks off.

use serde_json::Value;
use sqlx::{Connection, Executor};

use super::{As, another, export, get, import, report};
use crate::support::{Server, bulk, city, database, own_postgres, run, token};

#[tokio::test]
async fn scopes_and_boards_are_kept_apart() {
    let mut server = Server::start().await;
    import(&server, bulk(&city())).await;
    for (scopes, status) in [("roster.readonly,roster-demographics.readonly,import,write", 403), ("export", 200)] {
        let token = token(&server.url, "midori", scopes);
        let client = As::new(&mut server, &token);
        for path in ["oneroster.zip", "report", "cursors"] {
            assert_eq!(get(&client, path).await.status(), status, "{scopes} {path}");
        }
    }
    // Demographics have a scope of their own.
    let token = token(&server.url, "midori", "export");
    let all = export(&server, "").await;
    {
        let client = As::new(&mut server, &token);
        let set = export(&client, "").await;
        assert_eq!(set.position(), all.position());
        assert!(
            set.text("manifest").contains("file.demographics,absent\r\n") && !set.files.contains_key("demographics")
        );
        assert_eq!(set.text("users"), all.text("users"));
        assert_ne!(set.headers["etag"], all.headers["etag"]);
        assert_eq!(get(&client, "oneroster.zip?files=demographics").await.status(), 403);
    }
    assert_eq!(
        server.http.get(format!("{}/rosterhub/v1/exports/oneroster.zip", server.base)).send().await.unwrap().status(),
        401
    );
    let stranger = another(&server, "aoba");
    let stranger = As::new(&mut server, &stranger);
    assert_eq!(export(&stranger, "").await.names, ["manifest.csv"]);
    let school = all.ids("orgs").into_iter().next().unwrap();
    assert_eq!(get(&stranger, &format!("oneroster.zip?schools={school}")).await.status(), 400);
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_a_code() {
    let server = Server::start().await;
    let job = import(&server, bulk(&city())).await;
    let head = job["position"].as_i64().unwrap();
    for (query, code) in [
        ("edition=2".to_owned(), "bad_parameter"),
        ("asOf=x".to_owned(), "bad_parameter"),
        ("asOf=2999-01-01T00:00:00Z".to_owned(), "in_future"),
        (format!("asOf={}", head + 1), "beyond_head"),
        (format!("since={}", head + 1), "beyond_head"),
        (format!("since={head}&asOf={}", head - 1), "since_after_as_of"),
        ("schools=nobody".to_owned(), "unknown_school"),
        ("files=results".to_owned(), "bad_parameter"),
        ("colour=red".to_owned(), "unknown_parameter"),
        ("bom=true&bom=false".to_owned(), "repeated_parameter"),
    ] {
        for path in ["oneroster.zip", "report"] {
            let response = get(&server, &format!("{path}?{query}")).await;
            assert_eq!(response.status(), 400, "{query}");
            assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], code, "{query}");
        }
    }
}

#[tokio::test]
async fn what_breaks_off_is_no_zip() {
    let postgres = own_postgres("export");
    let mut admin = sqlx::PgConnection::connect(&postgres.admin_url("postgres")).await.unwrap();
    admin.execute("create database hub owner rosterhub").await.unwrap();
    assert_eq!(run(&postgres.url("hub"), &["tenant", "create", "midori"]).0, 0);
    let server = Server::on(&postgres.url("hub"));
    import(&server, bulk(&city())).await;
    // A record that cannot be read stands near the end of the largest file.
    let mut admin = sqlx::PgConnection::connect(&postgres.admin_url("hub")).await.unwrap();
    let broken = "update enrollments set doc = '{' where sourced_id = (select max(sourced_id) from enrollments)";
    assert_eq!(admin.execute(broken).await.unwrap().rows_affected(), 1);
    let url = format!("{}/rosterhub/v1/exports/oneroster.zip", server.base);
    let mut response = server.get(&url).await;
    assert_eq!(response.status(), 200);
    let mut sent = Vec::new();
    let end = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => sent.extend_from_slice(&chunk),
            end => break end,
        }
    };
    assert!(end.is_err(), "the transfer is broken off");
    assert!(sent.starts_with(b"PK\x03\x04"));
    assert!(zip::ZipArchive::new(std::io::Cursor::new(&sent)).is_err());
    // The command line leaves nothing behind.
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("set.zip");
    let (code, text) = run(&postgres.url("hub"), &["export", "--tenant", "midori", "--out", out.to_str().unwrap()]);
    assert_ne!(code, 0, "{text}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    drop(server);
    postgres.stop().unwrap();
}

#[tokio::test]
async fn as_many_at_a_time_as_allowed() {
    let url = database().await;
    assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
    let server = Server::with(&url, &[("ROSTERHUB_MAX_EXPORTS", "1")]);
    let many = rosterhub::sample::SampleOptions { schools: 6, students_per_school: 300, ..city() };
    import(&server, bulk(&many)).await;
    // Held open: nothing of it is taken but the first bytes.
    let mut held = get(&server, "oneroster.zip").await;
    assert!(held.chunk().await.unwrap().is_some());
    let refused = get(&server, "oneroster.zip").await;
    if refused.status() == 503 {
        assert!(refused.headers().contains_key("retry-after"));
        assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "busy");
    } else {
        panic!("{}", refused.status());
    }
    // Its place is given back when the client goes away.
    drop(held);
    crate::support::until("it is let go", || async { get(&server, "report").await.status() == 200 }).await;
    assert_eq!(report(&server, "").await["rows"]["orgs"], 7);
}

#[tokio::test]
async fn the_command_line_writes_the_same() {
    let server = Server::start().await;
    import(&server, bulk(&city())).await;
    let set = export(&server, "edition=1.2_JP&files=orgs,users").await;
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("set.zip");
    let arguments = [
        "export",
        "--tenant",
        "midori",
        "--edition",
        "1.2_JP",
        "--files",
        "orgs,users",
        "--out",
        out.to_str().unwrap(),
    ];
    let told = crate::support::json(&server.url, &arguments);
    assert_eq!((&told["position"], &told["losses"]), (&set.position().into(), &serde_json::json!([])));
    assert_eq!(told["rows"]["users"], set.records("users").len());
    assert_eq!(std::fs::read(&out).unwrap(), set.zip);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let output = crate::support::rosterhub(&server.url, &arguments[..arguments.len() - 2]).output().unwrap();
    assert_eq!(output.stdout, set.zip);
    let since = format!("{}", set.position());
    let (code, _) =
        run(&server.url, &["export", "--tenant", "midori", "--since", &since, "--out", out.to_str().unwrap()]);
    assert_eq!(
        (code, super::Set::read(Default::default(), std::fs::read(&out).unwrap()).names),
        (0, vec!["manifest.csv".to_owned()])
    );
    for bad in [&["--edition", "9"][..], &["--since", "99999999"], &["--schools", "nobody"]] {
        let (code, text) =
            run(&server.url, &[&["export", "--tenant", "midori", "--out", out.to_str().unwrap()], bad].concat());
        assert!(code != 0 && text.contains("rosterhub: "), "{text}");
    }
}
