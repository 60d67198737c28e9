//! What is shown of webhooks, and taken: objects, inputs and enums, as tables. Values are those of the JSON that REST
//! answers with; names and meanings of enums follow from its types.

use std::sync::LazyLock;

use async_graphql::dynamic::{
    Enum, EnumItem, Field, FieldFuture, FieldValue, InputObject, InputValue, Object, SchemaBuilder, TypeRef,
};
use async_graphql::{Name, Value};
use serde_json::{Map, Value as Json, json};

use super::error::Refusal;
use super::import_plans::item;
use super::planner::position;
use crate::notice::data::Disabled;
use crate::webhook::catalogue::GROUPS;
use crate::webhook::commands::KeyName;
use crate::webhook::deliveries::STATES;
use crate::webhook::endpoint::{Imports, Order, Payload, State};

/// Members of an object or an input: name, type, meaning.
pub type Members = &'static [(&'static str, &'static str, &'static str)];

pub const WEBHOOK: Members = &[
    ("id", "ID!", "Of the endpoint; the REST API knows it too."),
    ("client", "ID!", "It is told what this client may see."),
    ("scopes", "[String!]!", "As far as these scopes reach."),
    ("url", "String!", "Where messages are posted to."),
    ("description", "String!", "What its client says about it."),
    ("types", "[String!]!", "Event types: names, `user.*`, `*.deleted` or `*`."),
    ("filter", "String", "Condition on changes of records, in the grammar of OneRoster's filters."),
    ("payload", "WebhookContent!", "What a message about a record holds."),
    ("order", "WebhookOrder!", "What waits for what."),
    ("imports", "WebhookImports!", "How imports are told."),
    ("headers", "[String!]!", "Names of its own headers; their values are never shown."),
    ("rate", "Int", "Requests a second, at most."),
    ("state", "WebhookState!", "Whether messages are sent to it."),
    ("reason", "WebhookDisabledReason", "Why it is disabled."),
    ("position", "Position!", "All up to there was delivered, or is among the deliveries that wait."),
    ("sequence", "Float!", "Number of its last message: a whole number, which may be too large for `Int`."),
    ("failingSince", "DateTime", "First failure after the last success."),
    ("createdAt", "DateTime!", "When it was registered."),
    ("updatedAt", "DateTime!", "When it was changed last."),
];

pub const COUNT: Members = &[("state", "WebhookDeliveryState!", "It."), ("count", "Int!", "Messages that are in it.")];

pub const SECRET: Members = &[
    ("id", "ID!", "Of the key."),
    ("kind", "WebhookKeyKind!", "What it is."),
    ("createdAt", "DateTime!", "When it was made or brought."),
    ("expiresAt", "DateTime", "Until when it signs, if a newer one has taken its place."),
];

pub const DELIVERY: Members = &[
    ("message", "ID!", "Its `webhook-id`."),
    ("type", "String!", "Event type."),
    ("sequence", "Float!", "Its number in the endpoint's chain."),
    ("position", "Position!", "Where in the log it stands."),
    ("previousPosition", "Position!", "Where the message before it stands."),
    ("state", "WebhookDeliveryState!", "What became of it."),
    (ATTEMPT_COUNT, "Int!", "How often it was tried."),
    ("createdAt", "DateTime!", "When it was written down."),
    ("nextAttemptAt", "DateTime", "When it is sent again, if it is."),
    ("finishedAt", "DateTime", "When it was done with."),
];

pub const ATTEMPT: Members = &[
    ("attempt", "Int!", "1, 2, 3, …"),
    ("at", "DateTime!", "When it was made."),
    ("status", "Int", "Of the answer, if there was one."),
    ("failure", "String", "Why it failed."),
    ("latencyMs", "Float!", "Time that it took, in milliseconds."),
    ("excerpt", "String!", "The beginning of the answer."),
];

pub const TRIAL: Members = &[
    ("ok", "Boolean!", "It was answered as it should be."),
    ("status", "Int", "Of the answer, if there was one."),
    ("failure", "String", "What went wrong."),
    ("latencyMs", "Float!", "Time that it took, in milliseconds."),
    ("excerpt", "String!", "The beginning of the answer."),
    ("state", "WebhookState!", "Of the endpoint then."),
];

pub const EVENT_TYPE: Members = &[
    ("name", "String!", "What endpoints choose it by, and `type` of its messages."),
    ("version", "Int!", "Of the form of its data."),
    ("group", "EventTypeGroup!", "Of records of the roster, or of the hub itself."),
    ("description", "String!", "What it tells."),
    ("scope", "String!", "What a client needs to be told of it."),
    ("schema", "JSON!", "JSON Schema of a message, draft 2020-12."),
    ("example", "JSON!", "A message."),
];

/// In the JSON of a delivery it is `attempts`, which here are the attempts themselves.
pub const ATTEMPT_COUNT: &str = "attemptCount";

/// A value of an enum as JSON has it, with its meaning.
type Item = (String, Option<String>);

/// Enums: name, meaning, JSON Schema of their values.
static ENUMS: LazyLock<[(&str, &str, Vec<Item>); 8]> = LazyLock::new(|| {
    let of = |schema: schemars::Schema| items(schema.as_value());
    [
        ("WebhookContent", "What a message about a record holds.", of(schemars::schema_for!(Payload))),
        ("WebhookOrder", "What waits for what.", of(schemars::schema_for!(Order))),
        ("WebhookImports", "How imports are told.", of(schemars::schema_for!(Imports))),
        ("WebhookState", "Whether messages are sent to an endpoint.", of(schemars::schema_for!(State))),
        ("WebhookDisabledReason", "Why the hub has disabled an endpoint.", of(schemars::schema_for!(Disabled))),
        ("WebhookKeyKind", "What messages are signed with.", of(schemars::schema_for!(KeyName))),
        ("WebhookDeliveryState", "What became of a message.", items(&json!({ "enum": STATES }))),
        ("EventTypeGroup", "What a type of events is about.", items(&json!({ "enum": GROUPS }))),
    ]
});

/// The values that a JSON Schema of words allows.
fn items(schema: &Json) -> Vec<Item> {
    if let Some(any) = schema["oneOf"].as_array() {
        return any.iter().flat_map(items).collect();
    }
    let doc = schema["description"].as_str().map(|doc| doc.replace('\n', " "));
    let words = schema["enum"].as_array().into_iter().flatten().chain(schema.get("const"));
    words.filter_map(|word| Some((word.as_str()?.to_owned(), doc.clone()))).collect()
}

/// The values of the enum of this name.
fn enumeration(name: &str) -> Option<&'static [Item]> {
    ENUMS.iter().find(|found| found.0 == name).map(|found| &found.2[..])
}

/// A type as the schema language writes it.
fn type_ref(text: &str) -> TypeRef {
    if let Some(inner) = text.strip_suffix('!') {
        return TypeRef::NonNull(Box::new(type_ref(inner)));
    }
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inner) => TypeRef::List(Box::new(type_ref(inner))),
        None => TypeRef::named(text),
    }
}

/// Something as REST shows it.
pub struct Shown(pub Json);

/// Where an object has what REST shows of it.
pub trait AsShown: Send + Sync + 'static {
    fn shown(&self) -> &Json;
}

impl AsShown for Shown {
    fn shown(&self) -> &Json {
        &self.0
    }
}

/// An object that is made of `T`s.
pub fn object<T: AsShown>(name: &str, doc: &str, members: Members) -> Object {
    members.iter().fold(Object::new(name).description(doc), |object, (name, of, doc)| {
        let field = Field::new(*name, type_ref(of), move |ctx| {
            let shown = ctx.parent_value.downcast_ref::<T>().map(|parent| &parent.shown()[*name]);
            FieldFuture::Value(shown.and_then(|json| value(of, json)).map(FieldValue::value))
        });
        object.field(field.description(*doc))
    })
}

fn value(of: &str, json: &Json) -> Option<Value> {
    match (json.as_str(), enumeration(of.trim_end_matches('!'))) {
        _ if json.is_null() => None,
        (Some(word), Some(_)) => Some(Value::Enum(Name::new(item(word)))),
        _ => Value::from_json(json.clone()).ok(),
    }
}

/// An input object with these members.
pub fn input(name: &str, doc: String, members: &[(&'static str, &'static str, &'static str)]) -> InputObject {
    members.iter().fold(InputObject::new(name).description(doc), |input, (name, of, doc)| {
        input.field(InputValue::new(*name, type_ref(of)).description(*doc))
    })
}

/// What is given for a member, as REST takes it.
pub fn taken(of: &str, name: &str, given: &Json) -> Result<Json, Refusal> {
    let of = of.trim_end_matches('!');
    if given.is_null() {
        return Ok(Json::Null);
    }
    if let Some(items) = enumeration(of) {
        return Ok(word(items, given.as_str()).into());
    }
    Ok(match of {
        "Position" => {
            let given = Value::from_json(given.clone()).unwrap_or_default();
            position(&given).map_err(|_| Refusal::input(format!("{name} is a log position.")))?.into()
        }
        HEADERS => {
            let header = |header: &Json| Some((header["name"].as_str()?.to_owned(), header["value"].clone()));
            Json::Object(given.as_array().into_iter().flatten().filter_map(header).collect::<Map<_, _>>())
        }
        _ => given.clone(),
    })
}

fn word(items: &[Item], given: Option<&str>) -> Option<String> {
    items.iter().find(|(word, _)| Some(item(word).as_str()) == given).map(|(word, _)| word.clone())
}

/// What an argument of this enum means, as JSON has it.
pub fn chosen(of: &str, given: &Value) -> Option<String> {
    match given {
        Value::Enum(name) => word(enumeration(of)?, Some(name)),
        Value::String(name) => word(enumeration(of)?, Some(name)),
        _ => None,
    }
}

/// Type of members that are headers with their values.
pub const HEADERS: &str = "[WebhookHeaderInput!]";

const HEADER: Members =
    &[("name", "String!", "Of the header."), ("value", "String!", "Kept encrypted, and never shown again.")];

pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let schema = ENUMS.iter().fold(schema, |schema, (name, doc, items)| {
        let item = |(word, doc): &Item| {
            let item = EnumItem::new(item(word));
            if let Some(doc) = doc { item.description(doc) } else { item }
        };
        schema.register(Enum::new(*name).description(*doc).items(items.iter().map(item)))
    });
    let header = input("WebhookHeaderInput", "A header that messages are to have besides.".to_owned(), HEADER);
    let objects: [(&str, &str, Members); 5] = [
        ("WebhookDeliveryCount", "How many messages are in a state.", COUNT),
        ("WebhookSecret", "A key that messages are signed with, without what it is.", SECRET),
        ("WebhookAttempt", "An attempt to deliver a message.", ATTEMPT),
        ("WebhookTrial", "What became of a challenge or a test.", TRIAL),
        ("EventType", "A type of events that webhooks tell of.", EVENT_TYPE),
    ];
    objects.into_iter().fold(schema.register(header), |schema, (name, doc, members)| {
        schema.register(object::<Shown>(name, doc, members))
    })
}

/// A field whose resolver reads by itself: a refusal makes it null with an error.
macro_rules! reading {
    ($name:expr, $of:expr, $doc:expr, $read:path) => {
        Field::new($name, $of, |ctx| {
            FieldFuture::new(async move { Ok($read(&ctx).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
        })
        .description($doc)
    };
}
pub(super) use reading;
