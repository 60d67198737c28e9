//! Every way through the graph, against what follows from the records themselves.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{city_server, id, ids};

type Records = BTreeMap<&'static str, Vec<Value>>;

/// Whether the second record belongs to the first. The third: all records.
type Belongs = fn(&Value, &Value, &Records) -> bool;

fn names(record: &Value, member: &str, other: &Value) -> bool {
    record[member]["sourcedId"] == other["sourcedId"]
}

fn lists(record: &Value, member: &str, other: &Value) -> bool {
    record[member].as_array().is_some_and(|list| list.iter().any(|item| item["sourcedId"] == other["sourcedId"]))
}

fn enrolled(class: &Value, user: &Value, role: Option<&str>, all: &Records) -> bool {
    all["enrollments"].iter().any(|enrollment| {
        names(enrollment, "class", class)
            && names(enrollment, "user", user)
            && enrollment["status"] == "active"
            && role.is_none_or(|role| enrollment["role"] == role)
    })
}

fn at(org: &Value, user: &Value, role: Option<&str>) -> bool {
    user["roles"].as_array().unwrap().iter().any(|r| names(r, "org", org) && role.is_none_or(|role| r["role"] == role))
}

/// Collection of the one, relation, collection of the other, and whether they belong together.
const RELATIONS: [(&str, &str, &str, Belongs); 21] = [
    ("academicSessions", "children", "academicSessions", |one, other, _| names(other, "parent", one)),
    ("academicSessions", "gradingPeriods", "academicSessions", |one, other, _| {
        names(other, "parent", one) && other["type"] == "gradingPeriod"
    }),
    ("academicSessions", "classes", "classes", |one, other, _| lists(other, "terms", one)),
    ("academicSessions", "courses", "courses", |one, other, _| names(other, "schoolYear", one)),
    ("orgs", "children", "orgs", |one, other, _| names(other, "parent", one)),
    ("orgs", "classes", "classes", |one, other, _| names(other, "school", one)),
    ("orgs", "courses", "courses", |one, other, _| names(other, "org", one)),
    ("orgs", "enrollments", "enrollments", |one, other, _| names(other, "school", one)),
    ("orgs", "users", "users", |one, other, _| at(one, other, None)),
    ("orgs", "students", "users", |one, other, _| at(one, other, Some("student"))),
    ("orgs", "teachers", "users", |one, other, _| at(one, other, Some("teacher"))),
    ("orgs", "terms", "academicSessions", |one, other, all| {
        let of_school = |class: &&Value| names(class, "school", one);
        other["type"] == "term" && all["classes"].iter().filter(of_school).any(|class| lists(class, "terms", other))
    }),
    ("courses", "classes", "classes", |one, other, _| names(other, "course", one)),
    ("classes", "enrollments", "enrollments", |one, other, _| names(other, "class", one)),
    ("classes", "students", "users", |one, other, all| enrolled(one, other, Some("student"), all)),
    ("classes", "teachers", "users", |one, other, all| enrolled(one, other, Some("teacher"), all)),
    ("users", "enrollments", "enrollments", |one, other, _| names(other, "user", one)),
    ("users", "classes", "classes", |one, other, all| enrolled(other, one, None, all)),
    ("users", "classesAsStudent", "classes", |one, other, all| enrolled(other, one, Some("student"), all)),
    ("users", "classesAsTeacher", "classes", |one, other, all| enrolled(other, one, Some("teacher"), all)),
    ("users", "agentOf", "users", |one, other, _| lists(other, "agents", one)),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_relation_leads_to_the_records_that_belong() {
    let (server, mut all) = city_server().await;
    // The sample has neither guardians nor grading periods.
    let users: Vec<String> = all["users"].iter().take(4).map(|user| id(user).to_owned()).collect();
    for pupil in &users[1..] {
        let agents = serde_json::json!({ "agents": [{ "sourcedId": users[0], "type": "user" }] });
        crate::support::patch(&server, &format!("users/{pupil}"), agents).await;
    }
    let session = id(&all["academicSessions"][0]).to_owned();
    for (sourced_id, of_type) in [("gp", "gradingPeriod"), ("t1", "term")] {
        let session = serde_json::json!({ "sourcedId": sourced_id, "status": "active", "title": "1学期",
            "type": of_type, "startDate": "2026-04-01", "endDate": "2026-07-31", "schoolYear": "2026",
            "parent": { "sourcedId": session, "type": "academicSession" } });
        crate::support::put(&server, &format!("academicSessions/{sourced_id}"), session).await;
    }
    let terms = serde_json::json!({ "terms": [{ "sourcedId": "t1", "type": "academicSession" }] });
    crate::support::patch(&server, &format!("classes/{}", id(&all["classes"][0])), terms).await;
    let classes = server.read("classes?limit=10000").await;
    all.insert("classes", classes["classes"].as_array().unwrap().clone());
    let sessions = server.read("academicSessions?limit=10000").await;
    all.insert("academicSessions", sessions["academicSessions"].as_array().unwrap().clone());
    all.insert("users", server.read("users?limit=10000").await["users"].as_array().unwrap().clone());
    for (from, relation, to, belongs) in RELATIONS {
        let data = server
            .query(&format!(
                "{{ {from}(first: 250) {{ nodes {{ sourcedId {relation}(first: 190) {{ totalCount nodes {{ sourcedId }} }} }} }} }}"
            ))
            .await;
        let mut found = 0;
        for (one, node) in all[from].iter().zip(data[from]["nodes"].as_array().unwrap()) {
            assert_eq!(id(one), id(node), "{from} are in the order of sourcedId");
            let expected: Vec<&str> = all[to].iter().filter(|other| belongs(one, other, &all)).map(id).collect();
            assert_eq!(
                ids(&node[relation]["nodes"]),
                expected[..expected.len().min(190)],
                "{from}.{relation} of {}",
                id(one)
            );
            assert_eq!(node[relation]["totalCount"], expected.len());
            found += expected.len();
        }
        assert!(found > 0, "{from}.{relation} is tested with something");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_leads_to_its_record() {
    let (server, all) = city_server().await;
    let find = |collection: &str, sourced_id: &Value| {
        all[collection].iter().find(|r| r["sourcedId"] == *sourced_id).cloned().unwrap_or(Value::Null)
    };
    for (from, reference, to) in [
        ("academicSessions", "parent", "academicSessions"),
        ("orgs", "parent", "orgs"),
        ("courses", "schoolYear", "academicSessions"),
        ("courses", "org", "orgs"),
        ("classes", "course", "courses"),
        ("classes", "school", "orgs"),
        ("users", "primaryOrg", "orgs"),
        ("enrollments", "class", "classes"),
        ("enrollments", "school", "orgs"),
        ("enrollments", "user", "users"),
    ] {
        let nodes = server
            .query(&format!("{{ {from}(first: 1000) {{ nodes {{ sourcedId {reference} {{ sourcedId }} }} }} }}"))
            .await;
        for (record, node) in all[from].iter().zip(nodes[from]["nodes"].as_array().unwrap()) {
            let expected = find(to, &record[reference]["sourcedId"]);
            assert_eq!(node[reference]["sourcedId"], expected["sourcedId"], "{from}.{reference}");
        }
    }
    let data = server
        .query(
            "{ users(first: 1000) { nodes { sourcedId demographics { birthDate user { sourcedId } }
               roles { role org { name } userProfile } jp { homeClass { sourcedId } } } }
               classes(first: 1000) { nodes { terms { sourcedId title } } }
               allDemographics(first: 1000) { nodes { user { sourcedId } sourcedId } } }",
        )
        .await;
    for (user, node) in all["users"].iter().zip(data["users"]["nodes"].as_array().unwrap()) {
        let demographics = find("demographics", &user["sourcedId"]);
        assert_eq!(node["demographics"]["birthDate"], demographics["birthDate"]);
        assert_eq!(node["jp"]["homeClass"]["sourcedId"], user["metadata"]["jp.homeClass"]);
        for (role, shown) in user["roles"].as_array().unwrap().iter().zip(node["roles"].as_array().unwrap()) {
            assert_eq!(shown["role"], role["role"]);
            assert_eq!(shown["org"]["name"], find("orgs", &role["org"]["sourcedId"])["name"]);
            assert_eq!(shown["userProfile"], role["userProfile"]);
        }
    }
    for (class, node) in all["classes"].iter().zip(data["classes"]["nodes"].as_array().unwrap()) {
        assert_eq!(ids(&node["terms"]), ids(&class["terms"]));
    }
    for node in data["allDemographics"]["nodes"].as_array().unwrap() {
        assert_eq!(node["user"]["sourcedId"], node["sourcedId"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_of_a_record_is_a_field() {
    let (server, all) = city_server().await;
    let data = server
        .query(
            "{ users(first: 1000) { nodes { sourcedId status dateLastModified enabledUser username givenName familyName
               email grades userMasterIdentifier userIds { type identifier } metadata
               roles { roleType role beginDate endDate }
               userProfiles { profileId profileType vendorId credentials { type username } } } }
               enrollments(first: 1000) { nodes { role primary beginDate jp { shussekiNo publicFlg } } }
               courses { nodes { title courseCode grades subjects subjectCodes } } }",
        )
        .await;
    for (user, node) in all["users"].iter().zip(data["users"]["nodes"].as_array().unwrap()) {
        for member in [
            "sourcedId",
            "status",
            "dateLastModified",
            "username",
            "givenName",
            "familyName",
            "email",
            "grades",
            "userMasterIdentifier",
            "userIds",
            "metadata",
        ] {
            assert_eq!(node[member], user[member], "{member}");
        }
        assert_eq!(node["enabledUser"], user["enabledUser"] == "true");
        assert_eq!(
            node["userProfiles"][0]["credentials"][0]["username"],
            user["userProfiles"][0]["credentials"][0]["username"]
        );
    }
    for (enrollment, node) in all["enrollments"].iter().zip(data["enrollments"]["nodes"].as_array().unwrap()) {
        assert_eq!(node["primary"], enrollment["primary"] == "true");
        let number = enrollment["metadata"]["jp.shussekiNo"].as_str().map(|n| n.parse::<i64>().unwrap());
        assert_eq!(node["jp"]["shussekiNo"].as_i64(), number);
    }
    for (course, node) in all["courses"].iter().zip(data["courses"]["nodes"].as_array().unwrap()) {
        for member in ["title", "courseCode", "subjects", "subjectCodes"] {
            assert_eq!(node[member], course[member], "{member}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_do_not_grow_with_the_records() {
    let (server, _) = city_server().await;
    let cost = async |classes: usize, pupils: usize| {
        let query = format!(
            "{{ schools(first: 1) {{ nodes {{ name classes(first: {classes}) {{ nodes {{ title
               students(first: {pupils}) {{ nodes {{ familyName givenName jp {{ homeClass {{ title }} }} }} }} }} }} }} }} }}"
        );
        let answer = server.graphql(&query, Value::Null).await;
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        answer["extensions"]["cost"]["actual"].clone()
    };
    let (few, many) = (cost(1, 1).await, cost(20, 30).await);
    assert_eq!((&few["statements"], &many["statements"]), (&4.into(), &4.into()));
    assert!(many["records"].as_i64() > few["records"].as_i64());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_found_by_their_ids() {
    let (server, all) = city_server().await;
    for (root, collection) in [("org", "orgs"), ("class", "classes"), ("user", "users"), ("enrollment", "enrollments")]
    {
        let sourced_id = id(&all[collection][0]);
        let one = server.query(&format!("{{ {root}(sourcedId: \"{sourced_id}\") {{ id sourcedId }} }}")).await;
        assert_eq!(one[root]["sourcedId"], sourced_id);
        let node_id = one[root]["id"].as_str().unwrap();
        let name = server.query(&format!("{{ node(id: \"{node_id}\") {{ __typename id ... on Class {{ title }} ...O ...U }} }}
            fragment O on Org {{ name children {{ nodes {{ id }} }} }} fragment U on User {{ familyName classes {{ nodes {{ title }} }} }}")).await;
        assert_eq!(name["node"]["id"], node_id);
        match root {
            "class" => assert_eq!(name["node"]["title"], all["classes"][0]["title"]),
            "user" => assert!(name["node"]["classes"]["nodes"].is_array()),
            "org" => assert_eq!(name["node"]["name"], all["orgs"][0]["name"]),
            _ => {}
        }
    }
    let none = server
        .query(
            "{ node(id: \"nonsense\") { id } class(sourcedId: \"none\") { id } student(sourcedId: \"none\") { id } }",
        )
        .await;
    assert_eq!(none, serde_json::json!({ "node": null, "class": null, "student": null }));
    let teacher = all["users"].iter().find(|user| user["roles"][0]["role"] == "teacher").unwrap();
    let data = server
        .query(&format!(
            "{{ student(sourcedId: \"{0}\") {{ id }} teacher(sourcedId: \"{0}\") {{ sourcedId }} }}",
            id(teacher)
        ))
        .await;
    assert_eq!((&data["student"], &data["teacher"]["sourcedId"]), (&Value::Null, &teacher["sourcedId"]));
}
