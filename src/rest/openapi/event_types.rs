//! Notices and the catalogue of event types, for the document of the hub's own paths.

use schemars::generate::SchemaGenerator;
use serde_json::json;

use super::document::{Access, Operation, Parameter, Place};
use super::hub::{failures, number, ok, operation};
use crate::rest::event_types::{EventTypeDetail, EventTypeList};
use crate::rest::extract::{NOTICED, SUBSCRIBER};
use crate::rest::notices::NoticePage;

pub fn notices(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    vec![Operation {
        access: Access::Token(NOTICED),
        parameters: vec![
            number("after", "Number of the notice after which to begin.", 0),
            number("limit", "Notices that are looked at, at most 100.", 20),
        ],
        answers: [vec![ok::<NoticePage>(schemas, 200, "Notices.", &[])], failures(schemas, &[400, 401, 403, 429, 503])]
            .concat(),
        ..operation(
            "get",
            "/notices",
            "getNotices",
            "What happened to the hub itself, in order. Each notice is shown to clients that have the scope of its \
             type; others are left out.",
        )
    }]
}

pub fn event_types(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    const ACCESS: Access = Access::Token(SUBSCRIBER);
    let name = Parameter {
        key: "eventTypeName".into(),
        name: "name",
        place: Place::Path,
        schema: json!({ "type": "string" }),
        doc: "Name of the event type, as `user.changed`.".into(),
    };
    let list = Operation {
        access: ACCESS,
        answers: [
            vec![ok::<EventTypeList>(schemas, 200, "Event types.", &[])],
            failures(schemas, &[401, 403, 429, 503]),
        ]
        .concat(),
        ..operation("get", "/webhooks/event-types", "getEventTypes", "The types of events that webhooks tell of.")
    };
    let single = Operation {
        access: ACCESS,
        parameters: vec![name],
        answers: [
            vec![ok::<EventTypeDetail>(schemas, 200, "The event type.", &[])],
            failures(schemas, &[400, 401, 403, 404, 429, 503]),
        ]
        .concat(),
        ..operation(
            "get",
            "/webhooks/event-types/{name}",
            "getEventType",
            "One type of events, with the JSON Schema of its messages and an example.",
        )
    };
    vec![list, single]
}
