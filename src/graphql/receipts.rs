//! What the access log says of an operation.

use async_graphql::Request;
use async_graphql::parser::types::DocumentOperations;
use async_graphql_value::ConstValue;

use super::execution::{Done, Execution};
use super::page::is_cursor;
use crate::access::entry::cut;
use crate::access::{Access, Asked, Entry, Via};
use crate::auth::Client;

/// Characters of the document that are kept; variables have the rest.
const DOCUMENT: usize = 700;

pub fn asked(request: &mut Request, client: &Client) -> Asked {
    let operation = name(request).unwrap_or_else(|| "anonymous".to_owned());
    let mut text = String::with_capacity(256);
    // Cursors hold values of records in a form that erasing a person would not find.
    for word in cut(&request.query, 4 * DOCUMENT).split_ascii_whitespace() {
        if !text.is_empty() {
            text.push(' ');
        }
        match word.contains('"') {
            false => text.push_str(word),
            true => {
                for (n, part) in word.split('"').enumerate() {
                    text.push_str(if n > 0 { "\"" } else { "" });
                    text.push_str(if n % 2 == 1 && is_cursor(part) { "…" } else { part });
                }
            }
        }
    }
    let end = cut(&text, DOCUMENT).len();
    text.truncate(end);
    let variables = request.variables.iter();
    for (name, value) in variables {
        text.push_str(&format!(" ${name}={}", shown(value)));
    }
    Asked::new(client, Via::Graphql, &operation, ("", super::http::PATH), &text)
}

/// Of the operation: the one asked for, or the only one.
fn name(request: &mut Request) -> Option<String> {
    if request.operation_name.is_some() {
        return request.operation_name.clone();
    }
    match &request.parsed_query().ok()?.operations {
        DocumentOperations::Multiple(operations) => operations.keys().next().map(|name| name.to_string()),
        DocumentOperations::Single(_) => None,
    }
}

fn shown(value: &ConstValue) -> String {
    match value {
        ConstValue::String(text) if is_cursor(text) => "…".to_owned(),
        ConstValue::List(values) => {
            let values: Vec<String> = values.iter().map(shown).collect();
            format!("[{}]", values.join(", "))
        }
        ConstValue::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        // Not quoted with escapes: erasing a person looks for the text as it is.
        ConstValue::String(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}

/// Writes an operation down that was given data of people, or asked for it.
pub fn record(access: &Access, asked: Asked, execution: &Execution, done: Done) {
    let seen = execution.seen();
    if seen.personal {
        access.record(|_| {
            let records = usize::try_from(done.records).unwrap_or(usize::MAX);
            Entry::new(&execution.tenant, asked, done.position, seen.people()).records(records)
        });
    }
}
