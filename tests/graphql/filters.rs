//! Filters, against a plain evaluation of the same question on what REST shows.

use serde_json::{Value, json};

use super::{city_server, code, ids};

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_what_they_say() {
    let (server, all) = city_server().await;
    let users = &all["users"];
    let text = |record: &Value, member: &str| record[member].as_str().unwrap_or("").to_lowercase();
    let one = users[3].clone();
    let (name, school) = (one["familyName"].as_str().unwrap(), one["primaryOrg"]["sourcedId"].as_str().unwrap());
    let home = users.iter().find_map(|u| u["metadata"]["jp.homeClass"].as_str()).unwrap();
    let modified = one["dateLastModified"].as_str().unwrap();
    let has_role = |user: &Value, role: &str| user["roles"].as_array().unwrap().iter().any(|r| r["role"] == role);
    type Holds<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let cases: Vec<(Value, Holds)> = vec![
        (json!({ "familyName": { "eq": name } }), Box::new(|u| u["familyName"] == name)),
        (json!({ "familyName": { "ne": name } }), Box::new(|u| u["familyName"] != name)),
        (
            json!({ "familyName": { "startsWith": &name[..3] } }),
            Box::new(|u| u["familyName"].as_str().unwrap().starts_with(&name[..3])),
        ),
        (json!({ "username": { "contains": "A" } }), Box::new(|u| text(u, "username").contains('a'))),
        (
            json!({ "username": { "gte": "n", "lt": "t" } }),
            Box::new(|u| ("n".."t").contains(&text(u, "username").as_str())),
        ),
        (
            json!({ "sourcedId": { "in": [users[0]["sourcedId"], users[9]["sourcedId"]] } }),
            Box::new(|u| u["sourcedId"] == users[0]["sourcedId"] || u["sourcedId"] == users[9]["sourcedId"]),
        ),
        (json!({ "primaryOrg": { "eq": school } }), Box::new(|u| u["primaryOrg"]["sourcedId"] == school)),
        (json!({ "primaryOrg": { "isNull": true } }), Box::new(|u| u["primaryOrg"].is_null())),
        (json!({ "email": { "isNull": false } }), Box::new(|u| !u["email"].is_null())),
        (json!({ "roles": { "role": { "has": "teacher" } } }), Box::new(|u| has_role(u, "teacher"))),
        (
            json!({ "roles": { "role": { "hasAny": ["teacher", "student"] }, "org": { "has": school } } }),
            Box::new(|u| {
                (has_role(u, "teacher") || has_role(u, "student"))
                    && u["roles"].as_array().unwrap().iter().any(|r| r["org"]["sourcedId"] == school)
            }),
        ),
        (
            json!({ "grades": { "hasAll": ["P1"] } }),
            Box::new(|u| u["grades"].as_array().is_some_and(|g| g.contains(&"P1".into()))),
        ),
        (json!({ "grades": { "isNull": true } }), Box::new(|u| u["grades"].as_array().is_none_or(Vec::is_empty))),
        (json!({ "jp": { "homeClass": { "has": home } } }), Box::new(|u| u["metadata"]["jp.homeClass"] == home)),
        (json!({ "enabledUser": { "eq": true } }), Box::new(|u| u["enabledUser"] == "true")),
        (json!({ "enabledUser": { "ne": true } }), Box::new(|u| u["enabledUser"] != "true")),
        (
            json!({ "dateLastModified": { "gt": modified } }),
            Box::new(|u| u["dateLastModified"].as_str().unwrap() > modified),
        ),
        (
            json!({ "dateLastModified": { "lte": modified } }),
            Box::new(|u| u["dateLastModified"].as_str().unwrap() <= modified),
        ),
        (json!({ "status": { "eq": "active" } }), Box::new(|u| u["status"] == "active")),
        (
            json!({ "or": [{ "familyName": { "eq": name } }, { "roles": { "role": { "has": "teacher" } } }] }),
            Box::new(|u| u["familyName"] == name || has_role(u, "teacher")),
        ),
        (
            json!({ "and": [{ "familyName": { "eq": name } }, { "roles": { "role": { "has": "teacher" } } }] }),
            Box::new(|u| u["familyName"] == name && has_role(u, "teacher")),
        ),
        (
            json!({ "not": { "familyName": { "eq": name }, "email": { "isNull": false } } }),
            Box::new(|u| u["familyName"] != name || u["email"].is_null()),
        ),
        (
            json!({ "not": { "grades": { "hasAll": ["P1"] } } }),
            Box::new(|u| !u["grades"].as_array().is_some_and(|g| g.contains(&"P1".into()))),
        ),
        (json!({ "or": [] }), Box::new(|_| false)),
        (json!({ "and": [] }), Box::new(|_| true)),
        (json!({ "familyName": null }), Box::new(|_| true)),
    ];
    for (filter, holds) in cases {
        let query = "query($f: UserFilter) { users(first: 1000, filter: $f) { totalCount nodes { sourcedId } } }";
        let answer = server.graphql(query, json!({ "f": filter })).await;
        assert_eq!(answer["errors"], Value::Null, "{filter}: {answer}");
        let expected: Vec<String> = users.iter().filter(|u| holds(u)).map(|u| super::id(u).to_owned()).collect();
        assert_eq!(ids(&answer["data"]["users"]["nodes"]), expected, "{filter}");
        assert_eq!(answer["data"]["users"]["totalCount"], expected.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_that_make_no_sense_are_refused() {
    let (server, _) = city_server().await;
    let deep = (0..150).fold("{ familyName: { eq: \"a\" } }".to_owned(), |f, _| format!("{{ not: {f} }}"));
    let wide = format!("{{ or: [{}] }}", "{ familyName: { eq: \"a\" } },".repeat(300));
    for (filter, expected) in [
        ("{ familyName: { eq: null } }", "BAD_USER_INPUT"),
        ("{ familyName: { eq: \"a\\u0000\" } }", "BAD_USER_INPUT"),
        ("{ dateLastModified: { eq: \"yesterday\" } }", "BAD_USER_INPUT"),
        ("{ password: { eq: \"a\" } }", "VALIDATION_FAILED"),
        ("{ familyName: \"a\" }", "BAD_USER_INPUT"),
        ("{ status: { eq: gone } }", "VALIDATION_FAILED"),
        (&wide, "LIMIT_EXCEEDED"),
    ] {
        let answer = server.graphql(&format!("{{ users(filter: {filter}) {{ nodes {{ id }} }} }}"), json!({})).await;
        assert!(answer["errors"].is_array(), "{filter} is taken");
        assert_eq!(code(&answer), expected, "{filter}: {answer}");
    }
    let deep = server.graphql(&format!("{{ users(filter: {deep}) {{ totalCount }} }}"), json!({})).await;
    assert_eq!(code(&deep), "LIMIT_EXCEEDED", "{deep}");
}
