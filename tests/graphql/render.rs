//! Answers that are written straight from the plan are those that the executor would give: each document is asked as it
//! is, and once more with a field that the executor alone answers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{city_server, code};
use crate::support::{Server, token};

/// Answers a document, written both ways; checks that they are the same.
async fn both_ways(server: &Server, token: &str, document: &str) -> Value {
    let end = document.rfind('}').unwrap();
    let other = format!("{} besides: changes(first: 0) {{ nodes {{ position }} }} }}", &document[..end]);
    let [written, mut resolved] = [ask(server, token, document).await, ask(server, token, &other).await];
    let besides = resolved["data"].as_object_mut().and_then(|data| data.remove("besides"));
    assert_eq!(besides, Some(json!({ "nodes": [] })), "{other}");
    // The order of members counts, so texts are compared; the executor's roots are in the order in which they end.
    let roots = |answer: &Value| {
        let roots = answer["data"].as_object().into_iter().flatten();
        roots.map(|(key, value)| (key.clone(), value.to_string())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(roots(&written), roots(&resolved), "{document}");
    let errors = |answer: &Value| {
        let mut errors: Vec<String> = answer["errors"].as_array().into_iter().flatten().map(Value::to_string).collect();
        errors.sort();
        errors
    };
    assert_eq!(errors(&written), errors(&resolved), "{document}");
    written
}

async fn ask(server: &Server, token: &str, document: &str) -> Value {
    let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(token);
    request.json(&json!({ "query": document })).send().await.unwrap().json().await.unwrap()
}

/// All fields of a type, and of those it leads to down to a depth. `schema`: types as introspection shows them.
fn everything(schema: &Value, name: &str, depth: usize) -> String {
    let of = |name: &str| schema.as_array().unwrap().iter().find(|of| of["name"] == name).unwrap().clone();
    let mut selected = String::from("__typename ");
    for field in of(name)["fields"].as_array().unwrap() {
        let mut inner = &field["type"];
        while inner["ofType"].is_object() {
            inner = &inner["ofType"];
        }
        let (field, inner) = (field["name"].as_str().unwrap(), inner["name"].as_str().unwrap());
        let is_page = inner.ends_with("Connection");
        if of(inner)["kind"] != "OBJECT" {
            selected += &format!("{field} ");
        } else if depth > 0 || ["PageInfo", "Role", "UserProfile", "Credential", "UserId"].contains(&inner) {
            let arguments = if is_page { "(first: 2)" } else { "" };
            // A page and its edges are no step away.
            let depth = if is_page || inner.ends_with("Edge") { depth } else { depth.saturating_sub(1) };
            selected += &format!("{field}{arguments} {{ {} }} ", everything(schema, inner, depth));
        }
    }
    selected
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_answered_the_same_in_both_ways() {
    let (server, _) = city_server().await;
    let of = "kind name fields { name type { name ofType { name ofType { name ofType { name } } } } }";
    let schema = server.graphql(&format!("{{ __schema {{ types {{ {of} }} }} }}"), json!({})).await;
    let types = &schema["data"]["__schema"]["types"];
    let mut shown = 0;
    for (root, name) in [
        ("orgs", "Org"),
        ("academicSessions", "AcademicSession"),
        ("courses", "Course"),
        ("classes", "Class"),
        ("users", "User"),
        ("enrollments", "Enrollment"),
        ("allDemographics", "Demographics"),
    ] {
        let all = everything(types, &format!("{name}Connection"), 1);
        let document = format!("{{ __typename {root}(first: 3) {{ {all} }} }}");
        let answer = both_ways(&server, &server.token, &document).await;
        assert!(answer["errors"].is_null(), "{answer}");
        assert_eq!(answer["data"][root]["edges"][0]["node"]["__typename"], name);
        shown += answer["data"].to_string().len();
    }
    assert!(shown > 20_000, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_fragments_and_directives_are_answered_the_same_in_both_ways() {
    let (server, all) = city_server().await;
    let user = super::id(&all["users"][0]);
    let node = server.graphql(&format!("{{ user(sourcedId: \"{user}\") {{ id }} }}"), json!({})).await;
    let node = node["data"]["user"]["id"].as_str().unwrap();
    for document in [
        format!("{{ a: user(sourcedId: \"{user}\") {{ b: familyName c: familyName }} d: __typename }}"),
        format!("{{ node(id: \"{node}\") {{ __typename id ... on User {{ userIds {{ type }} }} ... on Org {{ name }} }} }}"),
        "{ node(id: \"nothing\") { id } none: user(sourcedId: \"nobody\") { id } }".into(),
        "{ users(first: 2) { nodes { givenName } edges { node { familyName roles { org { name } } } } edges { cursor } } }".into(),
        "{ users(first: 0) { nodes { id } pageInfo { startCursor hasNextPage } } classes { totalCount } }".into(),
        "{ classes(first: 1) { nodes { ...c school { ...o } } } } fragment c on Class { title school { name } }
         fragment o on Org { type @skip(if: true) identifier @include(if: true) }".into(),
    ] {
        let document = match document.split_once(" fragment ") {
            // The operation stands last.
            Some((operation, fragments)) => format!("fragment {fragments} {operation}"),
            None => document,
        };
        both_ways(&server, &server.token, &document).await;
    }
    let document =
        format!("{{ z: __typename b: user(sourcedId: \"{user}\") {{ z: id a: id }} a: orgs {{ totalCount }} }}");
    let answer = both_ways(&server, &server.token, &document).await;
    let keys = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (keys(&answer["data"]), keys(&answer["data"]["b"])),
        (vec!["z".into(), "b".into(), "a".into()], vec!["z".into(), "a".into()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_answered_the_same_in_both_ways() {
    let (server, _) = city_server().await;
    let roster = token(&server.url, "midori", "roster.readonly");
    let document = "{ allDemographics { nodes { id } } users(first: 3) { nodes { familyName demographics { birthDate } }
                      edges { node { agents { demographics { sex } } } } } orgs(first: 1, after: \"x\") { nodes { id } } }";
    let answer = both_ways(&server, &roster, document).await;
    let paths: Vec<&Value> = answer["errors"].as_array().unwrap().iter().map(|error| &error["path"]).collect();
    assert!(paths.contains(&&json!(["users", "nodes", 2, "demographics"])), "{paths:?}");
    assert!(paths.contains(&&json!(["orgs"])) && paths.contains(&&json!(["allDemographics"])), "{paths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_place_is_asked_for_in_one_way() {
    let (server, _) = city_server().await;
    for document in [
        "{ orgs { nodes { classes(first: 1) { totalCount } } edges { node { classes(first: 2) { totalCount } } } } }",
        "{ orgs { nodes { a: name } edges { node { a: type } } } }",
    ] {
        assert_eq!(code(&server.graphql(document, json!({})).await), "VALIDATION_FAILED", "{document}");
    }
}
