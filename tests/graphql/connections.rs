//! Pages: forward, backward, in every order, nested.

use serde_json::{Value, json};

use super::{city_server, code, ids};
use crate::support::Server;

/// Walks a root connection by pages of `n`; all sourcedIds in the order they came.
async fn walk(server: &Server, root: &str, order: &str, n: usize, backward: bool) -> Vec<String> {
    let (count, cursor, end, more) = match backward {
        false => ("first", "after", "endCursor", "hasNextPage"),
        true => ("last", "before", "startCursor", "hasPreviousPage"),
    };
    let mut seen: Vec<String> = Vec::new();
    let mut place = Value::Null;
    loop {
        let query = format!(
            "query($c: String) {{ {root}({count}: {n}, {cursor}: $c {order}) {{ nodes {{ sourcedId }} edges {{ cursor }}
               pageInfo {{ {end} {more} }} }} }}"
        );
        let answer = server.graphql(&query, json!({ "c": place })).await;
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        let page = &answer["data"][root];
        let mut nodes = ids(&page["nodes"]);
        let at = if backward { 0 } else { nodes.len() - 1 };
        assert_eq!(page["edges"][at]["cursor"], page["pageInfo"][end]);
        match backward {
            false => seen.append(&mut nodes),
            true => seen.splice(0..0, nodes).for_each(drop),
        }
        place = page["pageInfo"][end].clone();
        if page["pageInfo"][more] == false {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn walks_see_every_record_once_in_every_order() {
    let (server, all) = city_server().await;
    for (root, field, member) in [
        ("users", "", ""),
        ("users", "FAMILY_NAME", "familyName"),
        ("users", "DATE_LAST_MODIFIED", "dateLastModified"),
        ("classes", "TITLE", "title"),
        ("classes", "CLASS_CODE", "classCode"),
        ("orgs", "IDENTIFIER", "identifier"),
        ("academicSessions", "START_DATE", "startDate"),
    ] {
        for direction in ["ASC", "DESC"] {
            let order = match field {
                "" => String::new(),
                field => format!(", orderBy: {{ field: {field}, direction: {direction} }}"),
            };
            let mut expected: Vec<(String, String)> = all[root]
                .iter()
                .map(|r| (r[member].as_str().unwrap_or("").to_lowercase(), super::id(r).to_owned()))
                .collect();
            expected.sort();
            if direction == "DESC" && !field.is_empty() {
                expected.reverse();
            }
            let expected: Vec<String> = expected.into_iter().map(|(_, id)| id).collect();
            assert_eq!(walk(&server, root, &order, 7, false).await, expected, "{root} {order}");
            assert_eq!(walk(&server, root, &order, 11, true).await, expected, "{root} {order} from the end");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nested_pages_are_pages_of_each_parent() {
    let (server, _) = city_server().await;
    let all = server.query("{ orgs { nodes { sourcedId classes(first: 1000) { nodes { sourcedId } } } } }").await;
    let page = server
        .query("{ orgs { nodes { classes(first: 2) { totalCount nodes { sourcedId } pageInfo { hasNextPage endCursor } }
                last: classes(last: 2) { nodes { sourcedId } pageInfo { hasPreviousPage } } none: classes(first: 0) { nodes { id } totalCount } } } }")
        .await;
    for (org, page) in all["orgs"]["nodes"].as_array().unwrap().iter().zip(page["orgs"]["nodes"].as_array().unwrap()) {
        let all = ids(&org["classes"]["nodes"]);
        assert_eq!(ids(&page["classes"]["nodes"]), all.iter().take(2).cloned().collect::<Vec<_>>());
        assert_eq!(
            ids(&page["last"]["nodes"]),
            all.iter().skip(all.len().saturating_sub(2)).cloned().collect::<Vec<_>>()
        );
        assert_eq!(page["classes"]["totalCount"], all.len());
        assert_eq!(page["classes"]["pageInfo"]["hasNextPage"], all.len() > 2);
        assert_eq!(page["last"]["pageInfo"]["hasPreviousPage"], all.len() > 2);
        assert_eq!(page["none"], json!({ "nodes": [], "totalCount": all.len() }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_make_no_sense_are_refused() {
    let (server, _) = city_server().await;
    let first = server.query("{ users(first: 1, orderBy: { field: FAMILY_NAME }) { edges { cursor } } }").await;
    let cursor = first["users"]["edges"][0]["cursor"].as_str().unwrap();
    for (arguments, expected) in [
        ("first: -1".to_owned(), "BAD_USER_INPUT"),
        ("first: 1, last: 1".to_owned(), "BAD_USER_INPUT"),
        ("first: 1, before: \"x\"".to_owned(), "BAD_USER_INPUT"),
        ("after: \"x\"".to_owned(), "BAD_USER_INPUT"),
        (format!("after: \"{cursor}\""), "BAD_USER_INPUT"), // of another order
        ("first: 1001".to_owned(), "LIMIT_EXCEEDED"),
        ("first: \"1\"".to_owned(), "VALIDATION_FAILED"),
        ("orderBy: { field: PASSWORD }".to_owned(), "VALIDATION_FAILED"),
    ] {
        let answer = server.graphql(&format!("{{ users({arguments}) {{ nodes {{ id }} }} }}"), json!({})).await;
        assert_eq!(code(&answer), expected, "{arguments}: {answer}");
        assert_eq!(answer["data"]["users"], Value::Null, "{arguments}");
    }
    // A cursor made by hand.
    use base64::Engine as _;
    let of_time =
        server.query("{ users(first: 1, orderBy: { field: DATE_LAST_MODIFIED }) { edges { cursor } } }").await;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(of_time["users"]["edges"][0]["cursor"].as_str().unwrap())
        .unwrap();
    let mut forged: Value = serde_json::from_slice(&bytes).unwrap();
    forged["k"] = "no time".into();
    let forged = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(forged.to_string());
    let answer = server
        .graphql(
            &format!("{{ users(after: \"{forged}\", orderBy: {{ field: DATE_LAST_MODIFIED }}) {{ nodes {{ id }} }} }}"),
            json!({}),
        )
        .await;
    assert_eq!(code(&answer), "BAD_USER_INPUT", "{answer}");
}
