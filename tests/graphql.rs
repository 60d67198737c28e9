//! The GraphQL gateway, through the public port.

use crate::support::{Server, bulk, city};

mod schema;
mod writes;

#[tokio::test(flavor = "multi_thread")]
async fn a_school_with_its_classes_and_pupils_is_one_query() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let query = "{ schools(first: 1) { totalCount nodes { id name classes(first: 20) { totalCount edges { cursor node {
        title terms { title } students(first: 30) { nodes { familyName jp { kanaFamilyName homeClass { title } }
        roles { role org { name } } } } } } pageInfo { hasNextPage } } } } }";
    let answer = server.graphql(query, serde_json::json!({})).await;
    assert_eq!(answer["errors"], serde_json::Value::Null, "{answer}");
    println!("{}", serde_json::to_string_pretty(&answer).unwrap().chars().take(3000).collect::<String>());
    println!("{}", answer["extensions"]);
}
