//! `POST /batch`: up to 1,000 operations, all or nothing.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::refused::Refused;
use super::writes::{etag, idempotency, json as answer, may_write, origin, receive, versions, writable};
use super::{Hub, error::HubError};
use crate::auth::Client;
use crate::command::Commands;
use crate::command::document::DocumentFault;
use crate::command::json::{Json, shown};
use crate::command::write::{Action, MOST_OPERATIONS, Operation, WriteRequest};
use crate::query::etag::{Conditions, Tags};
use crate::roster::{Code, EntityType, Fault};

/// Does all operations in one unit of work; tells what happened to each record, without its document.
pub async fn batch(State(hub): State<Hub>, client: Client, request: Request) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    may_write(&client, &[])?;
    let limit = hub.config.max_batch_bytes;
    let bytes = receive(&parts.headers, body, false, limit).await?;
    let body = Json::read(&bytes)?;
    if body.value["operations"].as_array().is_some_and(|operations| operations.len() > MOST_OPERATIONS) {
        return Err(Refused::TooLarge(limit));
    }
    let mut request = WriteRequest::default();
    for (place, operation) in operations(body)?.into_iter().enumerate() {
        match (Reader { place, faults: Vec::new() }).operation(operation) {
            Ok(operation) => request.operations.push(operation),
            Err(faults) => request.faults.extend(faults),
        }
    }
    let kinds: Vec<EntityType> = request.operations.iter().map(|operation| operation.kind).collect();
    may_write(&client, &kinds)?;
    request.origin = origin(&client, &parts.headers)?;
    request.idempotency = idempotency(&client, &parts, &bytes)?;
    let commands = Commands::new(&hub.log, &client.tenant);
    let written = commands.write(request).await.map_err(|error| Refused::of(error, true))?;
    let versions = versions(&hub, &client.tenant, &written).await?;
    let records: Vec<Value> = written
        .records
        .iter()
        .map(|record| {
            let version = versions.get(&(record.kind, record.sourced_id.clone()));
            json!({
                "collection": record.kind.entity().collection,
                "sourcedId": record.sourced_id,
                "outcome": record.outcome,
                "etag": version.map(|version| etag(&hub, &client.tenant, record, version)),
            })
        })
        .collect();
    let body = json!({ "position": written.position, "operations": records }).to_string();
    Ok(answer(StatusCode::OK, body.into_bytes(), written.position))
}

fn operations(mut body: Json) -> Result<Vec<Json>, HubError> {
    let list = body.take("operations").map(Json::into_items);
    match (list, body.value.as_object()) {
        (Some(Ok(operations)), Some(rest)) if rest.is_empty() && body.duplicates.iter().all(|path| path.len() > 1) => {
            Ok(operations)
        }
        _ => Err(HubError::bad_request("A batch is {\"operations\":[…]}.")),
    }
}

/// Reads one operation, with all that is wrong with it.
struct Reader {
    place: usize,
    faults: Vec<DocumentFault>,
}

impl Reader {
    fn fault(&mut self, field: &str, code: Code, value: &str) {
        let field = field.chars().filter(|c| !c.is_control()).take(255).collect();
        let value = Fault::new(code, "", value, false).value;
        self.faults.push(DocumentFault { operation: self.place, field, code, value });
    }

    fn operation(mut self, mut members: Json) -> Result<Operation, Vec<DocumentFault>> {
        if !members.value.is_object() {
            self.fault("", Code::WrongType, "");
            return Err(self.faults);
        }
        let document = members.take("document").filter(|document| !document.value.is_null());
        let action = self.word(&mut members, "op", |word| match word {
            "create" => Some(Action::Create),
            "put" => Some(Action::Put),
            "patch" => Some(Action::Patch),
            "delete" => Some(Action::Delete),
            _ => None,
        });
        let kind = self.word(&mut members, "collection", |word| writable().find(|k| k.entity().collection == word));
        let sourced_id = self.text(&mut members, "sourcedId");
        let conditions = Conditions {
            if_match: self.tags(&mut members, "ifMatch"),
            if_none_match: self.tags(&mut members, "ifNoneMatch"),
        };
        for path in members.duplicates.iter().filter(|path| path.len() == 1) {
            self.fault(&shown(path), Code::DuplicateMember, "");
        }
        let unknown: Vec<String> = members.value.as_object().into_iter().flat_map(|m| m.keys().cloned()).collect();
        for name in &unknown {
            self.fault(name, Code::UnknownMember, "");
        }
        match (action, &document) {
            (Some(Action::Delete), Some(_)) => self.fault("document", Code::UnknownMember, ""),
            (Some(Action::Delete), None) | (None, _) | (_, Some(_)) => {}
            (Some(_), None) => self.fault("document", Code::MissingRequired, ""),
        }
        match (action, kind) {
            (Some(action), Some(kind)) if self.faults.is_empty() => {
                let document = document.unwrap_or_default();
                Ok(Operation { place: self.place, kind, action, sourced_id, conditions, document })
            }
            _ => Err(self.faults),
        }
    }

    fn text(&mut self, members: &mut Json, name: &str) -> Option<String> {
        match members.take(name)?.value {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => {
                self.fault(name, Code::WrongType, "");
                None
            }
        }
    }

    fn word<T>(&mut self, members: &mut Json, name: &str, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
        let before = self.faults.len();
        let Some(word) = self.text(members, name) else {
            if self.faults.len() == before {
                self.fault(name, Code::MissingRequired, "");
            }
            return None;
        };
        let found = meaning(&word);
        if found.is_none() {
            self.fault(name, Code::BadEnum, &word);
        }
        found
    }

    fn tags(&mut self, members: &mut Json, name: &str) -> Option<Tags> {
        let text = self.text(members, name)?;
        let tags = text.parse().ok();
        if tags.is_none() {
            self.fault(name, Code::BadEntityTag, &text);
        }
        tags
    }
}
