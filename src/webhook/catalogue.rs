//! The types of events that webhooks tell of, as data: names, scopes, schemas, examples. `selection` chooses among them.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use super::example;
use super::selection::scope_of_change;
use crate::auth::Scope;
use crate::notice::data;
use crate::roster::EntityType;
use crate::{feed, notice};

/// Of every type until one changes its form.
pub const VERSION: u32 = 1;

/// Of records of the roster, and of the hub itself.
pub const GROUPS: [&str; 2] = ["record", "hub"];

/// What is sent, whatever it tells of: as `message` writes it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Message<'a, T> {
    /// Header `webhook-id`: the same in every attempt.
    #[schemars(regex(pattern = "^msg_"))]
    pub id: &'a str,
    /// Type of the event.
    #[serde(rename = "type")]
    pub event_type: &'a str,
    /// When it happened; in UTC, with milliseconds.
    #[serde(serialize_with = "data::milliseconds")]
    pub timestamp: DateTime<Utc>,
    pub tenant: &'a str,
    /// Number among the messages of the endpoint: 1, 2, 3, … without gaps.
    #[schemars(range(min = 1))]
    pub sequence: i64,
    /// Log position that it stands at.
    #[schemars(range(min = 0))]
    pub position: i64,
    /// Position of the message before it; 0 before the first.
    #[schemars(range(min = 0))]
    pub previous_position: i64,
    pub data: T,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Record(EntityType, feed::Kind),
    Hub(notice::Kind),
}

/// A type of events.
#[derive(Debug)]
pub struct EventType {
    /// `user.changed`
    pub name: String,
    pub of: Of,
    /// What it tells, in a sentence or two.
    pub description: String,
    /// JSON Schema of a message, draft 2020-12.
    pub schema: Value,
    /// A message.
    pub example: Value,
}

impl EventType {
    fn new(of: Of) -> Self {
        let (name, description) = match of {
            Of::Record(entity, kind) => {
                let name = format!("{}.{}", entity.name(), kind.word());
                (name, format!("A record of type {}. {}", entity.name(), feed::Kind::ALL[kind as usize].2))
            }
            Of::Hub(kind) => (kind.name().to_owned(), kind.doc().to_owned()),
        };
        let schema = schema(of, &name, &description);
        let example = example::message(of, &name);
        Self { name, of, description, schema, example }
    }

    /// One of [`GROUPS`].
    pub fn group(&self) -> &'static str {
        match self.of {
            Of::Record(..) => GROUPS[0],
            Of::Hub(_) => GROUPS[1],
        }
    }

    /// What a client needs to be told of it.
    pub fn scope(&self) -> Scope {
        match self.of {
            Of::Record(entity, _) => scope_of_change(entity),
            Of::Hub(kind) => kind.scope(),
        }
    }
}

static ALL: LazyLock<Vec<EventType>> = LazyLock::new(|| {
    let kinds = feed::Kind::ALL.map(|(kind, ..)| kind);
    let records = EntityType::ALL.into_iter().flat_map(|entity| kinds.map(|kind| Of::Record(entity, kind)));
    records.chain(notice::Kind::ALL.map(Of::Hub)).map(EventType::new).collect()
});

/// All types: those of records, in the order of an import, then those of the hub.
pub fn all() -> &'static [EventType] {
    &ALL
}

/// By its name.
pub fn find(name: &str) -> Option<&'static EventType> {
    all().iter().find(|event| event.name == name)
}

fn schema(of: Of, name: &str, description: &str) -> Value {
    use notice::Kind::*;
    let mut schema = match of {
        Of::Record(..) => of_data::<feed::Item>(),
        Of::Hub(ImportPlanned | ImportHeld) => of_data::<data::ImportWaits>(),
        Of::Hub(ImportApplied) => of_data::<data::ImportApplied>(),
        Of::Hub(ImportFailed) => of_data::<data::ImportFailed>(),
        Of::Hub(ImportReverted) => of_data::<data::ImportReverted>(),
        Of::Hub(ExportReady) => of_data::<data::ExportReady>(),
        Of::Hub(EndpointFailing) => of_data::<data::EndpointFailing>(),
        Of::Hub(EndpointDisabled) => of_data::<data::EndpointDisabled>(),
        Of::Hub(ClientRevoked) => of_data::<data::ClientRevoked>(),
        Of::Hub(AuditFailed) => of_data::<data::AuditFailed>(),
    };
    schema["title"] = name.into();
    schema["description"] = description.into();
    schema["properties"]["type"]["const"] = name.into();
    if let Of::Record(entity, kind) = of {
        let members = &mut schema["properties"]["data"]["properties"];
        members["recordType"] = json!({ "const": entity.name() });
        members["kind"] = json!({ "const": kind.word() });
    }
    schema
}

/// With all that it refers to inside of it, so that it can be used alone.
fn of_data<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Message<T>>().to_value();
    never_null(&mut schema);
    schema
}

/// Members that may be left out are never null: they are left out instead.
fn never_null(schema: &mut Value) {
    match schema {
        Value::Object(schema) => {
            if let Some(Value::Array(types)) = schema.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &types[..] {
                    schema["type"] = only.clone();
                }
            }
            if let Some(Value::Array(any)) = schema.get_mut("anyOf") {
                any.retain(|one| one["type"] != "null");
            }
            schema.values_mut().for_each(never_null);
        }
        Value::Array(each) => each.iter_mut().for_each(never_null),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_as_its_schema_says() {
        assert_eq!(all().len(), 55);
        for event in all() {
            let validator = jsonschema::validator_for(&event.schema).unwrap();
            let errors: Vec<String> = validator.iter_errors(&event.example).map(|e| e.to_string()).collect();
            assert_eq!(errors, [""; 0], "{}: {:#}", event.name, event.example);
            assert_eq!(find(&event.name).map(|found| found.of), Some(event.of));
            // It tells apart: neither another type's data nor a member that nobody knows is let through.
            let other = all().iter().find(|other| other.group() != event.group()).unwrap();
            let mut wrong = event.example.clone();
            wrong["data"] = other.example["data"].clone();
            assert!(!validator.is_valid(&wrong), "{}", event.name);
            let mut more = event.example.clone();
            more["data"]["more"] = 1.into();
            assert!(!validator.is_valid(&more), "{}", event.name);
            let mut renamed = event.example.clone();
            renamed["type"] = "other.type".into();
            assert!(!validator.is_valid(&renamed), "{}", event.name);
        }
    }

    #[test]
    fn demographics_have_a_scope_of_their_own() {
        let scope = |name: &str| find(name).unwrap().scope();
        assert_eq!(scope("demographics.changed"), Scope::Demographics);
        assert_eq!(scope("user.changed"), Scope::Roster);
        assert_eq!(scope("client.revoked"), Scope::Admin);
    }
}
