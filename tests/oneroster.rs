//! The roster read back over OneRoster's REST binding.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{EVERYTHING, Server, bulk, city, run, token};

#[tokio::test]
async fn an_imported_city_is_read_back() {
    let server = Server::start().await;
    let job = server.import(bulk(&city())).await;
    assert_eq!(job["state"], "completed", "{job}");
    assert_eq!(job["edition"], "1.2_JP");

    // Every collection lists as many as the set had.
    for (path, member, rows) in [
        ("academicSessions", "academicSessions", &job["rows"]["academicSessions"]),
        ("orgs", "orgs", &job["rows"]["orgs"]),
        ("courses", "courses", &job["rows"]["courses"]),
        ("classes", "classes", &job["rows"]["classes"]),
        ("users", "users", &job["rows"]["users"]),
        ("enrollments", "enrollments", &job["rows"]["enrollments"]),
        ("demographics", "demographics", &job["rows"]["demographics"]),
        ("schools", "orgs", &json!(2)),
        ("students", "users", &json!(80)),
        ("terms", "academicSessions", &json!(0)),
        ("gradingPeriods", "academicSessions", &json!(0)),
    ] {
        let page = server.read(&format!("{path}?limit=10000")).await;
        let list = page[member].as_array().unwrap_or_else(|| panic!("{path}: {page}"));
        assert_eq!(&json!(list.len()), rows, "{path}");
        assert_eq!(page.as_object().unwrap().len(), 1, "one member in the envelope of {path}");
        if let Some(first) = list.first() {
            let id = first["sourcedId"].as_str().unwrap();
            let single = server.read(&format!("{path}/{id}")).await;
            assert_eq!(single.as_object().unwrap().values().next(), Some(first), "{path}");
        }
    }
    // Teachers and heads.
    let teachers = server.read("teachers?limit=10000").await;
    assert!(teachers["users"].as_array().unwrap().len() > 2);
}

#[tokio::test]
async fn documents_have_the_standard_s_shapes() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;

    let users = server.read("students?limit=10000").await;
    let user = &users["users"][0];
    assert_eq!(user["enabledUser"], "true");
    assert_eq!(user["status"], "active");
    let modified = user["dateLastModified"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(modified).is_ok() && modified.ends_with('Z') && modified.len() == 24);
    let role = &user["roles"][0];
    assert_eq!((&role["roleType"], &role["role"]), (&json!("primary"), &json!("student")));
    let org = role["org"].as_object().unwrap();
    assert_eq!(org.keys().collect::<Vec<_>>(), ["href", "sourcedId", "type"]);
    let profile = &user["userProfiles"][0];
    assert_eq!(profile["profileId"], role["userProfile"]);
    assert_eq!(profile["credentials"][0]["type"], "password");
    assert!(profile["credentials"][0].get("password").is_none() && user.get("password").is_none());
    assert!(user["metadata"]["jp.kanaFamilyName"].is_string());

    // An href answers with the record that it names.
    let school: Value = server.get(org["href"].as_str().unwrap()).await.json().await.unwrap();
    assert_eq!(school["org"]["sourcedId"], org["sourcedId"]);
    // The board lists its schools as children, and is not a school itself.
    let board = school["org"]["parent"]["sourcedId"].as_str().unwrap();
    let children = server.read(&format!("orgs/{board}")).await["org"]["children"].clone();
    let ids: BTreeSet<_> = children.as_array().unwrap().iter().map(|c| c["sourcedId"].to_string()).collect();
    let schools = server.read("schools").await;
    let expected: BTreeSet<_> =
        schools["orgs"].as_array().unwrap().iter().map(|s| s["sourcedId"].to_string()).collect();
    assert_eq!(ids, expected);
    assert_eq!(server.get(&server.oneroster(&format!("schools/{board}"))).await.status(), 404);

    let courses = server.read("courses").await;
    assert_eq!(courses["courses"][0]["courseCode"], "", "required in JSON, blank in Japan");
    let text = server.get(&server.oneroster("users?limit=10000")).await.text().await.unwrap();
    assert!(!text.contains("null"));
}

#[tokio::test]
async fn pages_join_up_and_name_their_position() {
    let server = Server::start().await;
    let job = server.import(bulk(&city())).await;
    let users = job["rows"]["users"].as_u64().unwrap() as usize;
    let mut seen = Vec::new();
    for offset in (0..).step_by(7) {
        let response = server.get(&server.oneroster(&format!("users?limit=7&offset={offset}"))).await;
        assert_eq!(response.headers()["rosterhub-position"], job["position"].to_string());
        let page: Value = response.json().await.unwrap();
        let page = page["users"].as_array().unwrap().clone();
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|u| u["sourcedId"].as_str().unwrap().to_owned()));
    }
    let distinct: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (users, users));
    assert!(seen.is_sorted());
    // More than the ceiling is clamped, not refused.
    assert_eq!(server.read("users?limit=2000000").await["users"].as_array().unwrap().len(), users);
}

#[tokio::test]
async fn errors_are_in_the_standard_s_shape() {
    let server = Server::start().await;
    for (path, status, minor) in [
        ("users/nobody", 404, "unknownobject"),
        ("nothing", 404, "unknownobject"),
        ("users?limit=0", 400, "invaliddata"),
        ("users?limit=-1", 400, "invaliddata"),
        ("users?limit=1.5", 400, "invaliddata"),
        ("users?limit=1e2", 400, "invaliddata"),
        ("users?offset=x", 400, "invaliddata"),
        ("users?filter=status", 400, "invalid_filter_field"),
    ] {
        let response = server.get(&server.oneroster(path)).await;
        assert_eq!(response.status(), status, "{path}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["imsx_codeMajor"], "failure", "{path}");
        assert_eq!(body["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"], minor, "{path}");
    }
    let response = server.http.delete(server.oneroster("users")).bearer_auth(&server.token).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers().contains_key("allow")), (405, true));
}

#[tokio::test]
async fn only_the_tenant_s_own_tokens_open_its_roster() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let status = async |token: &str, path: &str| {
        server.http.get(server.oneroster(path)).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(server.http.get(server.oneroster("users")).send().await.unwrap().status(), 401);
    assert_eq!(status("rh_wrong", "users").await, 401);

    let narrow = token(&server.url, "midori", "roster.readonly");
    assert_eq!(status(&narrow, "users").await, 200);
    assert_eq!(status(&narrow, "demographics").await, 403);
    let imports = format!("{}/rosterhub/v1/imports", server.base);
    assert_eq!(server.http.get(&imports).bearer_auth(&narrow).send().await.unwrap().status(), 403);

    // Another board sees none of it, though the ids are known.
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = token(&server.url, "aoba", EVERYTHING);
    let page: Value =
        server.http.get(server.oneroster("users")).bearer_auth(&other).send().await.unwrap().json().await.unwrap();
    assert_eq!(page, json!({ "users": [] }));
    let id = server.read("users?limit=1").await["users"][0]["sourcedId"].as_str().unwrap().to_owned();
    assert_eq!(status(&other, &format!("users/{id}")).await, 404);
    let jobs: Value = server.http.get(&imports).bearer_auth(&other).send().await.unwrap().json().await.unwrap();
    assert_eq!(jobs, json!({ "imports": [] }));
}
