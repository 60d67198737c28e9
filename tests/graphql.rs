//! The GraphQL gateway, through the public port.

pub mod changes;
mod connections;
mod documented;
mod filters;
pub mod follow;
mod http;
mod limits;
mod persisted;
mod relations;
mod released;
mod render;
mod scopes;
mod snapshot;
pub mod subscriptions;
mod webhooks;
mod writes;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Server, bulk, city};

/// A server with a small city in it, and all its records by collection, as REST shows them.
async fn city_server() -> (Server, BTreeMap<&'static str, Vec<Value>>) {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let mut records = BTreeMap::new();
    for collection in ["academicSessions", "orgs", "courses", "classes", "users", "enrollments", "demographics"] {
        let list = server.read(&format!("{collection}?limit=10000")).await;
        records.insert(collection, list[collection].as_array().unwrap().clone());
    }
    (server, records)
}

fn id(record: &Value) -> &str {
    record["sourcedId"].as_str().unwrap()
}

/// The sourcedIds of a list of records, in their order.
fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap_or_else(|| panic!("{list}")).iter().map(|record| id(record).to_owned()).collect()
}

/// The code of the first error of an answer.
fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{answer}"))
}
