//! Bounds of what an operation may ask for, and of what a client may ask for over time.

use serde_json::{Value, json};
use sqlx::{Connection, Executor};

use crate::support::{Server, bulk, city};

/// The code of the only error of an answer that has no data.
fn code(answer: &Value) -> &str {
    assert!(answer.get("data").is_none() && answer["errors"].as_array().is_some_and(|e| e.len() == 1), "{answer}");
    answer["errors"][0]["extensions"]["code"].as_str().unwrap()
}

async fn ask(server: &Server, query: &str) -> Value {
    server.graphql(query, json!({})).await
}

#[tokio::test]
async fn an_operation_beyond_a_bound_is_refused() {
    let server = Server::start().await;
    let settings = [
        ("ROSTERHUB_GRAPHQL_MAX_DEPTH", "6"),
        ("ROSTERHUB_GRAPHQL_MAX_SELECTIONS", "40"),
        ("ROSTERHUB_GRAPHQL_MAX_ROOTS", "3"),
        ("ROSTERHUB_GRAPHQL_MAX_DIRECTIVES", "2"),
        ("ROSTERHUB_GRAPHQL_MAX_TOKENS", "300"),
        ("ROSTERHUB_GRAPHQL_MAX_DOCUMENT_BYTES", "4000"),
        ("ROSTERHUB_GRAPHQL_MAX_VARIABLES_BYTES", "200"),
        ("ROSTERHUB_GRAPHQL_MAX_PAGE", "10"),
        ("ROSTERHUB_GRAPHQL_MAX_RECORDS", "50"),
    ];
    let server = Server::with(&server.url, &settings);
    let aliases = |count: usize| (0..count).map(|n| format!("a{n}: __typename ")).collect::<String>();
    for (what, within, beyond) in [
        (
            "depth",
            "{ orgs(first: 1) { nodes { parent { parent { parent { id } } } } } }".to_owned(),
            "{ orgs(first: 1) { nodes { parent { parent { parent { parent { id } } } } } } }".to_owned(),
        ),
        (
            "selections",
            format!("{{ orgs(first: 1) {{ nodes {{ {} }} }} }}", aliases(38)),
            format!("{{ orgs(first: 1) {{ nodes {{ {} }} }} }}", aliases(39)),
        ),
        ("roots", format!("{{ {} }}", aliases(3)), format!("{{ {} }}", aliases(4))),
        (
            "directives",
            "{ __typename @skip(if: false) @include(if: true) }".to_owned(),
            "{ a: __typename @skip(if: false) @include(if: true) b: __typename @skip(if: true) }".to_owned(),
        ),
        ("tokens", format!("{{ __typename {} }}", "# a\n".repeat(300)), format!("{{ {} }}", "a ".repeat(300))),
        ("bytes", format!("{{ __typename {} }}", " ".repeat(3_000)), format!("{{ __typename {} }}", " ".repeat(4_000))),
        ("page", "{ orgs(first: 10) { nodes { id } } }".to_owned(), "{ orgs(first: 11) { nodes { id } } }".to_owned()),
        (
            "records",
            "{ orgs(first: 5) { nodes { children(first: 9) { nodes { id } } } } }".to_owned(),
            "{ orgs(first: 5) { nodes { children(first: 10) { nodes { id } } } } }".to_owned(),
        ),
    ] {
        let answer = ask(&server, &within).await;
        assert_eq!(answer["errors"], Value::Null, "{what}: {answer}");
        assert_eq!(code(&ask(&server, &beyond).await), "LIMIT_EXCEEDED", "{what}");
    }
    let variables = |length: usize| json!({ "a": "a".repeat(length) });
    let query = "query($a: String) { orgs(first: 1, filter: { name: { eq: $a } }) { nodes { id } } }";
    assert_eq!(server.graphql(query, variables(100)).await["errors"], Value::Null);
    assert_eq!(code(&server.graphql(query, variables(200)).await), "LIMIT_EXCEEDED");
}

#[tokio::test]
async fn documents_made_to_cost_time_are_refused() {
    let server = Server::start().await;
    let fragments = |count: usize, spreads: usize| {
        let spread = |n: usize| format!("...F{n} ").repeat(spreads);
        let fragments: String =
            (0..count).map(|n| format!("fragment F{n} on Query {{ {} }} ", spread(n + 1))).collect();
        format!("{fragments} fragment F{count} on Query {{ __typename }}")
    };
    let introspection =
        "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }";
    for (what, query, expected) in [
        ("bomb", format!("{{ ...F0 }} {}", fragments(25, 2)), "LIMIT_EXCEEDED"),
        (
            "bomb that is not run",
            format!("query A {{ __typename }} query B {{ ...F0 }} {}", fragments(25, 2)),
            "LIMIT_EXCEEDED",
        ),
        ("bomb on another type", format!("{{ ...F0 }} {}", fragments(25, 2).replace("Query", "Org")), "LIMIT_EXCEEDED"),
        ("chain", format!("{{ ...F0 }} {}", fragments(1_500, 1)), "LIMIT_EXCEEDED"),
        ("cycle", "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }".to_owned(), "VALIDATION_FAILED"),
        ("brackets", format!("{{ node(id: {}", "[".repeat(100_000)), "LIMIT_EXCEEDED"),
        ("introspection", introspection.to_owned(), "LIMIT_EXCEEDED"),
        ("the same field", format!("{{ {} }}", "__typename ".repeat(15_000)), "LIMIT_EXCEEDED"),
    ] {
        let body = json!({ "query": query, "operationName": query.contains("query A").then_some("A") });
        let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(&server.token).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(code(&answer), expected, "{what}");
    }
    // As many as are allowed: fields that merge, fields that do not, names that nobody knows.
    let merging = format!("{{ {} }}", "orgs(first: 1) { nodes { id } } ".repeat(900));
    let answer = ask(&server, &merging).await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    for query in [
        format!("{{ {} }}", (0..900).map(|n| format!("orgs(first: {n}) {{ nodes {{ id }} }} ")).collect::<String>()),
        format!("{{ {} }}", (0..2_900).map(|n| format!("unknown{n} ")).collect::<String>()),
        format!("{{ orgs({}) {{ totalCount }} }}", (0..5_000).map(|n| format!("a{n}: 1 ")).collect::<String>()),
    ] {
        let answer = ask(&server, &query).await;
        let errors = answer["errors"].as_array().unwrap();
        assert!(answer.get("data").is_none() && errors.len() <= 100, "{}", errors.len());
        let known = |error: &Value| {
            ["VALIDATION_FAILED", "LIMIT_EXCEEDED"].contains(&error["extensions"]["code"].as_str().unwrap())
        };
        assert!(errors.iter().all(known), "{}", errors[0]);
    }
}

#[tokio::test]
async fn a_client_has_a_budget_of_records() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let server = Server::with(&server.url, &[("ROSTERHUB_GRAPHQL_RECORDS_PER_MINUTE", "600")]);
    let answer = ask(&server, "{ orgs(first: 400) { nodes { id } } }").await;
    let cost = &answer["extensions"]["cost"];
    let budget = &cost["budget"];
    assert_eq!((&cost["requested"]["records"], &budget["limit"]), (&json!(400), &json!(600)), "{answer}");
    assert!(cost["actual"]["records"].as_u64().is_some_and(|records| (1..400).contains(&records)), "{cost}");
    assert!(budget["remaining"].as_u64().is_some_and(|left| (200..400).contains(&left)), "{budget}");
    assert!(budget["reset"].as_u64().is_some_and(|reset| (20..=40).contains(&reset)), "{budget}");

    let body = json!({ "query": "{ orgs(first: 590) { nodes { id } } }" });
    let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(&server.token).json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 429);
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(code(&answer), "RATE_LIMITED");
    assert_eq!(answer["errors"][0]["extensions"]["retryAfter"], wait);
    assert_eq!(answer["extensions"]["cost"]["requested"]["records"], 590);
    // What costs little is still answered, and so is another client, and an instance without budgets.
    assert_eq!(ask(&server, "{ __typename }").await["data"]["__typename"], "Query");
    let other = Server::with(&server.url, &[("ROSTERHUB_GRAPHQL_RECORDS_PER_MINUTE", "0")]);
    let answer = ask(&other, "{ orgs(first: 590) { nodes { id } } }").await;
    assert_eq!((&answer["errors"], &answer["extensions"]["cost"]["budget"]), (&Value::Null, &Value::Null), "{answer}");
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_given_up() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let server = Server::with(&server.url, &[("ROSTERHUB_GRAPHQL_MAX_SECONDS", "1")]);
    assert_eq!(ask(&server, "{ orgs { totalCount } }").await["errors"], Value::Null);
    // Nothing can be read while the table is locked.
    let mut other = sqlx::PgConnection::connect(&server.url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    lock.execute("lock table orgs in access exclusive mode").await.unwrap();
    let body = json!({ "query": "{ orgs { totalCount } }" });
    let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(&server.token).json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(code(&response.json().await.unwrap()), "TIMED_OUT");
    lock.rollback().await.unwrap();
    assert_eq!(ask(&server, "{ orgs { totalCount } }").await["errors"], Value::Null);
}

#[tokio::test]
async fn the_schema_is_shown_unless_it_is_switched_off() {
    let server = Server::start().await;
    let schema = "{ __schema { queryType { name } } }";
    assert_eq!(ask(&server, schema).await["data"]["__schema"]["queryType"]["name"], "Query");
    let server = Server::with(&server.url, &[("ROSTERHUB_GRAPHQL_INTROSPECTION", "false")]);
    for query in [
        schema,
        "{ a: __type(name: \"Org\") { name } }",
        "{ ...A } fragment A on Query { __schema { types { name } } }",
    ] {
        assert_eq!(code(&ask(&server, query).await), "INTROSPECTION_DISABLED", "{query}");
    }
    assert_eq!(ask(&server, "{ __typename }").await["errors"], Value::Null);
    // Nor do errors tell names of it.
    let answer = ask(&server, "{ org { id } orgz { totalCount } }").await;
    assert!(!answer.to_string().contains("Did you mean"), "{answer}");
}
