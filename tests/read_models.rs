//! The read models are the fold of the log: at the head, at every earlier position, and after a rebuild.

use rosterhub::command::{Command, Commands, Origin};
use rosterhub::roster::{EntityType, Org, Record, Role, User};
use serde_json::json;
use sqlx::Connection;

use crate::support::{Server, assert_verified, bulk, city, database, delta, open, run, tenant};

fn record<R: Record>(value: serde_json::Value) -> Command<R> {
    Command::Record(serde_json::from_value(value).unwrap())
}

#[tokio::test]
async fn verify_names_the_first_difference_and_rebuild_puts_it_right() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    server.import(delta(&city(), 20.0)).await;
    assert_verified(&server.url);

    let id = server.read("users?limit=1").await["users"][0]["sourcedId"].as_str().unwrap().to_owned();
    let mut conn = sqlx::PgConnection::connect(&server.url).await.unwrap();
    sqlx::query("select set_config('rosterhub.tenant', 'midori', false)").execute(&mut conn).await.unwrap();
    for damage in [
        "update users set doc = replace(doc, 'true', 'false') where sourced_id = $1",
        "delete from users where sourced_id = $1",
        "update users set family_name = 'x' where sourced_id = $1",
    ] {
        sqlx::query(damage).bind(&id).execute(&mut conn).await.unwrap();
        let (code, text) = run(&server.url, &["verify", "--tenant", "midori"]);
        assert_eq!(code, 3, "{text}");
        assert!(text.contains("users") && text.contains(&id), "{text}");
        let (code, text) = run(&server.url, &["rebuild", "--tenant", "midori", "--projection", "users"]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("1 rows differed"), "{text}");
        assert_verified(&server.url);
    }
    // All of them from nothing.
    for table in ["users", "users_history", "orgs", "roles", "lineage", "enrollments", "demographics_history"] {
        sqlx::query(&format!("delete from {table}")).execute(&mut conn).await.unwrap();
    }
    assert_eq!(server.read("users").await, json!({ "users": [] }));
    assert_eq!(run(&server.url, &["rebuild"]).0, 0);
    assert_verified(&server.url);
    assert!(!server.read("users").await["users"].as_array().unwrap().is_empty());
    assert_eq!(run(&server.url, &["rebuild", "--projection", "nothing"]).0, 1);
}

/// Every version of a user: its own changes and those of its parts, one a unit of work.
#[tokio::test]
async fn a_user_shows_its_parts_as_they_stood() {
    let url = database().await;
    let log = open(&url).await;
    let midori = tenant("midori");
    log.create_tenant(&midori, "").await.unwrap();
    let commands = Commands::new(&log, &midori);
    let origin = Origin::default();
    let user = |name: &str| record::<User>(json!({ "enabledUser": "true", "givenName": name, "familyName": "f" }));
    let role = |user: &str, org: &str| {
        record::<Role>(json!({
            "user": { "sourcedId": user, "type": "user" }, "roleType": "primary", "role": "student",
            "org": { "sourcedId": org, "type": "org" }
        }))
    };
    commands.execute("u", user("a"), &origin, None).await.unwrap(); // 1
    commands.execute("v", user("b"), &origin, None).await.unwrap(); // 2
    commands.execute("r", role("u", "s1"), &origin, None).await.unwrap(); // 3
    commands.execute("r", role("v", "s2"), &origin, None).await.unwrap(); // 4: moves to the other user
    let mut unit = commands.unit_of_work(Origin::default()); // 5–7: one version of v, not three
    unit.execute("v", user("c")).await.unwrap();
    unit.execute("r", role("v", "s3")).await.unwrap();
    unit.execute("r2", role("v", "s4")).await.unwrap();
    unit.commit().await.unwrap();
    commands.execute("v", Command::<User>::Withdraw, &origin, None).await.unwrap(); // 8

    let mut conn = log.db().acquire(&midori).await.unwrap();
    type Version = (String, i64, Option<i64>, Option<Vec<String>>, String);
    let versions: Vec<Version> = sqlx::query_as(
        "select sourced_id, since, until, role_org_sourced_ids, given_name
           from (select * from users union all select * from users_history) u order by sourced_id, since",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let orgs = |ids: &[&str]| (!ids.is_empty()).then(|| ids.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>());
    let version =
        |id: &str, since, until, ids: &[&str], name: &str| (id.to_owned(), since, until, orgs(ids), name.to_owned());
    assert_eq!(
        versions,
        [
            version("u", 1, Some(3), &[], "a"),
            version("u", 3, Some(4), &["s1"], "a"),
            version("u", 4, None, &[], "a"),
            version("v", 2, Some(4), &[], "b"),
            version("v", 4, Some(5), &["s2"], "b"),
            version("v", 5, Some(8), &["s3", "s4"], "c"),
            version("v", 8, None, &["s3", "s4"], "c"),
        ]
    );
    // The user's time is that of the last change that shows in it.
    let late: bool = sqlx::query_scalar(
        "select u.date_last_modified = e.recorded_at from users u join events e using (tenant) where u.sourced_id = 'u' and e.position = 4",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    assert!(late);
    drop(conn);
    assert_verified(&url);
}

#[tokio::test]
async fn a_parent_lists_its_children_and_is_untouched_by_what_does_not_show() {
    let url = database().await;
    let log = open(&url).await;
    let midori = tenant("midori");
    log.create_tenant(&midori, "").await.unwrap();
    let commands = Commands::new(&log, &midori);
    let origin = Origin::default();
    let org = |name: &str, parent: Option<&str>| {
        let mut value = json!({ "name": name, "type": "district" });
        if let Some(parent) = parent {
            value["parent"] = json!({ "sourcedId": parent, "type": "org" });
        }
        record::<Org>(value)
    };
    commands.execute("a", org("a", None), &origin, None).await.unwrap(); // 1
    commands.execute("b", org("b", None), &origin, None).await.unwrap(); // 2
    commands.execute("c", org("c", Some("a")), &origin, None).await.unwrap(); // 3: a
    commands.execute("c", org("C", Some("a")), &origin, None).await.unwrap(); // 4: a name; does not show in a
    commands.execute("c", org("C", Some("b")), &origin, None).await.unwrap(); // 5: a and b
    commands.execute("c", Command::<Org>::Withdraw, &origin, None).await.unwrap(); // 6: b
    let mut conn = log.db().acquire(&midori).await.unwrap();
    let versions: Vec<(String, i64, Option<Vec<String>>)> = sqlx::query_as(
        "select sourced_id, since, children from (select * from orgs union all select * from orgs_history) o
          where sourced_id <> 'c' order by sourced_id, since",
    )
    .fetch_all(&mut *conn)
    .await
    .unwrap();
    let children = |ids: &[&str]| (!ids.is_empty()).then(|| ids.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>());
    let version = |id: &str, since, ids: &[&str]| (id.to_owned(), since, children(ids));
    assert_eq!(
        versions,
        [
            version("a", 1, &[]),
            version("a", 3, &["c"]),
            version("a", 5, &[]),
            version("b", 2, &[]),
            version("b", 5, &["c"]),
            version("b", 6, &[]),
        ]
    );
    drop(conn);
    assert_verified(&url);
}

/// The read model has a column for every field, named after the CSV binding's.
#[tokio::test]
async fn every_field_has_its_column() {
    let url = database().await;
    let log = open(&url).await;
    for kind in EntityType::ALL {
        let entity = kind.entity();
        let columns: Vec<String> =
            sqlx::query_scalar("select column_name::text from information_schema.columns where table_name = $1")
                .bind(entity.table)
                .fetch_all(log.db().pool())
                .await
                .unwrap();
        for field in entity.fields {
            assert!(columns.contains(&field.column()), "{}.{}", entity.table, field.column());
        }
    }
}
