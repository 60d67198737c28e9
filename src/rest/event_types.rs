//! The catalogue of event types over HTTP.

use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Hub;
use super::error::HubError;
use super::extract::{HubPath, Subscriber};
use crate::webhook::catalogue::{self, EventType, GROUPS, VERSION};

pub fn router() -> Router<Hub> {
    Router::new().route("/webhooks/event-types", get(list)).route("/webhooks/event-types/{name}", get(single))
}

/// The types of events that webhooks tell of.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EventTypeList {
    event_types: Vec<Listed>,
}

/// A type of events.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventType", deny_unknown_fields)]
struct Listed {
    /// What endpoints choose it by, and `type` of its messages.
    name: &'static str,
    /// Of the form of its data.
    version: u32,
    /// Of records of the roster, or of the hub itself.
    #[schemars(extend("enum" = GROUPS))]
    group: &'static str,
    description: &'static str,
    /// What a client needs to be told of it.
    scope: &'static str,
}

/// A type of events, with the schema of its messages.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EventTypeDetail {
    name: &'static str,
    version: u32,
    #[schemars(extend("enum" = GROUPS))]
    group: &'static str,
    description: &'static str,
    /// What a client needs to be told of it.
    scope: &'static str,
    /// JSON Schema of a message, draft 2020-12.
    #[schemars(with = "Map<String, Value>")]
    schema: &'static Value,
    /// A message.
    #[schemars(with = "Map<String, Value>")]
    example: &'static Value,
}

impl From<&'static EventType> for Listed {
    fn from(event: &'static EventType) -> Self {
        let EventType { name, description, .. } = event;
        Self { name, version: VERSION, group: event.group(), description, scope: event.scope().name() }
    }
}

impl From<&'static EventType> for EventTypeDetail {
    fn from(event: &'static EventType) -> Self {
        let Listed { name, version, group, description, scope } = Listed::from(event);
        let EventType { schema, example, .. } = event;
        Self { name, version, group, description, scope, schema, example }
    }
}

/// `GET /webhooks/event-types`
async fn list(_: Subscriber) -> Json<EventTypeList> {
    Json(EventTypeList { event_types: catalogue::all().iter().map(Listed::from).collect() })
}

/// `GET /webhooks/event-types/{name}`
async fn single(_: Subscriber, HubPath(name): HubPath<String>) -> Result<Json<EventTypeDetail>, HubError> {
    let event = catalogue::find(&name).ok_or_else(|| HubError::not_found("event type"))?;
    Ok(Json(event.into()))
}
