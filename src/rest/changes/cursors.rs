//! Cursors of the feed over HTTP: the hub keeps where a client is.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Request;
use super::parameters::{Form, Pairs, Place, Wish, kinds, sees_demographics, sourced_id, types};
use crate::auth::Client;
use crate::export::options::cursor_name;
use crate::feed::Kind;
use crate::feed::cursors::{Cursor, Cursors, Definition, MOST};
use crate::rest::address::{ClientAddress, PublicAddress};
use crate::rest::error::HubError;
use crate::rest::exports::{Acknowledgement, unknown_cursor};
use crate::rest::extract::{Follower, HubPath};
use crate::rest::{HUB, Hub};
use crate::roster::EntityType;

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/changes/cursors", get(list))
        .route("/changes/cursors/{name}", get(single).put(put).delete(delete))
        .route("/changes/cursors/{name}/changes", get(changes))
        .route("/changes/cursors/{name}/acknowledge", post(acknowledge))
}

/// The cursors of the client, by name.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FeedCursors", deny_unknown_fields)]
pub struct CursorList {
    cursors: Vec<Cursor>,
}

/// What a cursor is told of, and where it begins.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "FeedCursorDefinition", transform = optional)]
pub struct CursorBody {
    /// Record types; all without it.
    #[schemars(extend("items" = serde_json::json!({ "type": "string", "enum": EntityType::ALL.map(EntityType::name) })))]
    types: Vec<String>,
    /// What became of the records; whatever it is without it.
    #[schemars(extend("items" = serde_json::json!({ "type": "string", "enum": Kind::ALL.map(|(kind, ..)| kind.word()) })))]
    kinds: Vec<String>,
    /// Records of this school, or other org.
    school: Option<String>,
    /// Records of this sourcedId.
    sourced_id: Option<String>,
    /// With the records before and after.
    values: bool,
    /// Log position, or time, after which it begins; `now` is the head of the log. Without it, a new cursor begins at
    /// the head, and one that is there stays where it is.
    #[schemars(with = "PlaceBody")]
    position: Option<PlaceBody>,
}

/// Schemas are written as of answers, which have all members; a definition may leave each out.
fn optional(schema: &mut schemars::Schema) {
    schema.remove("required");
    let members = schema.get_mut("properties").and_then(|members| members.as_object_mut());
    for member in members.into_iter().flat_map(|members| members.values_mut()).filter_map(|m| m.as_object_mut()) {
        member.retain(|name, value| name != "default" || !value.is_null());
    }
}

/// A log position, a time, or `now`.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum PlaceBody {
    Position(i64),
    Text(String),
}

fn cursors<'a>(hub: &'a Hub, client: &'a Client, id: &'a str) -> Cursors<'a> {
    Cursors { log: &hub.log, tenant: &client.tenant, client: id }
}

async fn find(hub: &Hub, client: &Client, name: &str) -> Result<Cursor, HubError> {
    let cursor = cursors(hub, client, &client.id.to_string()).find(cursor_name(name)?).await?;
    cursor.ok_or_else(unknown_cursor)
}

/// `GET /changes/cursors`
async fn list(Follower(client): Follower, State(hub): State<Hub>) -> Result<Json<CursorList>, HubError> {
    let cursors = cursors(&hub, &client, &client.id.to_string()).list().await?;
    Ok(Json(CursorList { cursors }))
}

/// `GET /changes/cursors/{name}`
async fn single(
    Follower(client): Follower,
    State(hub): State<Hub>,
    HubPath(name): HubPath<String>,
) -> Result<Json<Cursor>, HubError> {
    find(&hub, &client, &name).await.map(Json)
}

/// `PUT /changes/cursors/{name}`: makes it, or gives it another filter.
async fn put(
    Follower(client): Follower,
    State(hub): State<Hub>,
    address: PublicAddress,
    HubPath(name): HubPath<String>,
    body: Bytes,
) -> Result<Response, HubError> {
    let name = cursor_name(&name)?;
    let body: CursorBody = serde_json::from_slice(&body).map_err(|_| {
        HubError::bad_request(
            "The body is an object, of which types, kinds, school, sourcedId, values and position may be members.",
        )
    })?;
    let head = hub.log.head(&client.tenant).await?.unwrap_or_default();
    let position = match body.position {
        None => None,
        Some(PlaceBody::Position(position)) => Some(Place::Position(position)),
        Some(PlaceBody::Text(text)) => Some(Place::read("position", &text)?),
    };
    let position = match position {
        Some(place) => Some(place.position("position", &hub.log, &client.tenant, head).await?),
        None => None,
    };
    let id = |name, text: Option<String>| text.map(|text| sourced_id(name, &text)).transpose();
    let definition = Definition {
        types: types(&body.types)?,
        kinds: kinds(&body.kinds)?,
        school: id("school", body.school)?,
        sourced_id: id("sourcedId", body.sourced_id)?,
        values: body.values,
        position,
    };
    let made = cursors(&hub, &client, &client.id.to_string()).put(name, &definition).await?;
    let is_new = made.ok_or_else(|| {
        let message = format!("The client has {MOST} cursors, which is as many as it may; delete one.");
        HubError::new(StatusCode::CONFLICT, "too_many_cursors", message)
    })?;
    let cursor = Json(find(&hub, &client, name).await?);
    Ok(match is_new {
        true => {
            let location = format!("{address}{HUB}/changes/cursors/{name}");
            (StatusCode::CREATED, [(header::LOCATION, location)], cursor).into_response()
        }
        false => cursor.into_response(),
    })
}

/// `GET /changes/cursors/{name}/changes`: what comes after the position acknowledged last.
async fn changes(
    Follower(client): Follower,
    State(hub): State<Hub>,
    ClientAddress(caller): ClientAddress,
    HubPath(name): HubPath<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HubError> {
    let query = query.unwrap_or_default();
    let pairs = Pairs::read(&query, Form::Page, true, hub.config.ignore_unknown_parameters)?;
    let cursor = find(&hub, &client, &name).await?;
    let wish = Wish {
        after: cursor.position,
        until: None,
        filter: cursor.filter(sees_demographics(&client))?,
        values: cursor.values,
    };
    Request::begin(&hub, client, &headers, caller).await?.answer(Form::Page, &pairs, wish).await
}

/// `POST /changes/cursors/{name}/acknowledge`
async fn acknowledge(
    Follower(client): Follower,
    State(hub): State<Hub>,
    HubPath(name): HubPath<String>,
    body: Bytes,
) -> Result<Json<Cursor>, HubError> {
    let name = cursor_name(&name)?;
    let Acknowledgement { position, back } = Acknowledgement::read(&body)?;
    match cursors(&hub, &client, &client.id.to_string()).acknowledge(name, position, back).await? {
        true => find(&hub, &client, name).await.map(Json),
        false => Err(unknown_cursor()),
    }
}

/// `DELETE /changes/cursors/{name}`
async fn delete(
    Follower(client): Follower,
    State(hub): State<Hub>,
    HubPath(name): HubPath<String>,
) -> Result<StatusCode, HubError> {
    let name = cursor_name(&name)?;
    let deleted = cursors(&hub, &client, &client.id.to_string()).delete(name).await?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(unknown_cursor()) }
}
