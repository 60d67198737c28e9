//! Schemas of the documents of the Rostering service, from the descriptions of its records. Names are those of the
//! standard's own file, so that programs made from that one and from ours look alike.

use serde_json::{Map, Value, json};

use super::document::named;
use crate::rest::error::{CODE_MAJOR, FIELD_NAME, Failure, SEVERITY};
use crate::roster::shape::{Content, Member, document};
use crate::roster::vocabulary::{EXTENSION, STATUS, Vocabulary};
use crate::roster::{EntityType, Field, Kind, SOURCED_ID, japan};

pub const STATUS_INFO: &str = "imsx_StatusInfoDType";
const CODE_MINOR: &str = "imsx_CodeMinorDType";
const CODE_MINOR_FIELD: &str = "imsx_CodeMinorFieldDType";
const USER_ID: &str = "UserIdDType";

/// Schemas by name, as far as they have been asked for.
#[derive(Default)]
pub struct Schemas {
    pub by_name: Map<String, Value>,
}

impl Schemas {
    /// The object that an answer consists of. Gives its name.
    pub fn envelope(&mut self, kind: EntityType, member: &str, is_single: bool) -> String {
        let (stem, record) = (capitalised(kind.name()), self.record(kind));
        let (name, content) = match is_single {
            true => (format!("Single{stem}DType"), record),
            false => (format!("{stem}SetDType"), json!({ "type": "array", "items": record })),
        };
        let schema = object(None, [(member, content, true)]);
        self.enter(name, |_| schema)
    }

    /// A record's document.
    pub fn record(&mut self, kind: EntityType) -> Value {
        let name = format!("{}DType", capitalised(kind.name()));
        named(&self.enter(name, |schemas| schemas.members(Some(kind.entity().doc), kind, &document(kind))))
    }

    fn members(&mut self, doc: Option<&str>, kind: EntityType, members: &[Member]) -> Value {
        let written = members.iter().map(|m| (m.json, described(self.content(kind, m), m.doc), m.required));
        object(doc, written.collect::<Vec<_>>())
    }

    fn content(&mut self, kind: EntityType, member: &Member) -> Value {
        match &member.content {
            Content::Id | Content::PartId => sourced_id(),
            Content::Status => tokens(&STATUS),
            Content::Modified => json!({ "type": "string", "format": "date-time" }),
            Content::Metadata => self.metadata(kind),
            Content::Field(field) => self.field(field),
            Content::Children(kind) => json!({ "type": "array", "items": self.reference(*kind) }),
            Content::Parts(parts) => {
                // A list of parts is named in the plural.
                let name = format!("{}DType", capitalised(member.json.trim_end_matches('s')));
                let item = self.enter(name, |schemas| schemas.members(None, kind, parts));
                json!({ "type": "array", "items": named(&item) })
            }
        }
    }

    fn field(&mut self, field: &Field) -> Value {
        match (field.kind, field.reference) {
            (Kind::GuidRef, Some(reference)) => self.reference(reference.target),
            (Kind::GuidRefList, Some(reference)) => {
                let mut list = json!({ "type": "array", "items": self.reference(reference.target) });
                if field.json_required {
                    list["minItems"] = 1.into();
                }
                list
            }
            (Kind::UserIds, _) => {
                let text = || json!({ "type": "string" });
                let pair = object(None, [("type", text(), true), ("identifier", text(), true)]);
                json!({ "type": "array", "items": named(&self.enter(USER_ID.to_owned(), |_| pair)) })
            }
            _ => plain(field),
        }
    }

    /// A GUIDRef to a record of this type.
    fn reference(&mut self, target: EntityType) -> Value {
        let stem = match target {
            EntityType::AcademicSession => "AcadSession".to_owned(), // the standard's file abbreviates this one
            _ => capitalised(target.name()),
        };
        let name = format!("{stem}GUIDRefDType");
        let href = described(json!({ "type": "string", "format": "uri" }), "Address of the record.");
        let kind = json!({ "type": "string", "enum": [target.name()] });
        let schema = object(None, [("href", href, true), ("sourcedId", sourced_id(), true), ("type", kind, true)]);
        named(&self.enter(name, |_| schema))
    }

    /// Extensions: those that the hub knows, and any others.
    fn metadata(&mut self, kind: EntityType) -> Value {
        let known: Vec<_> = japan::EXTENSIONS.iter().filter(|e| e.entity == kind).map(|e| &e.field).collect();
        let name = if known.is_empty() { String::new() } else { capitalised(kind.name()) };
        let members = known.iter().map(|field| (field.json, described(plain(field), field.doc), false));
        let mut schema = object(None, members.collect::<Vec<_>>());
        schema["additionalProperties"] = true.into();
        named(&self.enter(format!("{name}MetadataDType"), |_| schema))
    }

    /// What every failure is answered with.
    pub fn status_info(&mut self) -> Value {
        let mut minors: Vec<&str> = Vec::new();
        for failure in Failure::ALL {
            if !minors.contains(&failure.minor()) {
                minors.push(failure.minor());
            }
        }
        let one_of = |values: &[&str]| json!({ "type": "string", "enum": values });
        let field = object(
            None,
            [
                ("imsx_codeMinorFieldName", one_of(&[FIELD_NAME]), true),
                ("imsx_codeMinorFieldValue", one_of(&minors), true),
            ],
        );
        let field = self.enter(CODE_MINOR_FIELD.to_owned(), |_| field);
        let fields = json!({ "type": "array", "minItems": 1, "items": named(&field) });
        let minor = self.enter(CODE_MINOR.to_owned(), |_| object(None, [("imsx_codeMinorField", fields, true)]));
        let info = object(
            None,
            [
                ("imsx_codeMajor", one_of(&[CODE_MAJOR]), true),
                ("imsx_severity", one_of(&[SEVERITY]), true),
                ("imsx_description", described(json!({ "type": "string" }), "What is wrong, for people."), true),
                ("imsx_CodeMinor", named(&minor), true),
            ],
        );
        named(&self.enter(STATUS_INFO.to_owned(), |_| info))
    }

    /// Makes the schema unless it is there already. Gives its name.
    fn enter(&mut self, name: String, make: impl FnOnce(&mut Self) -> Value) -> String {
        if !self.by_name.contains_key(&name) {
            // Its place, before those that it refers to.
            self.by_name.insert(name.clone(), Value::Null);
            self.by_name[&name] = make(self);
        }
        name
    }
}

/// What needs no other schema.
fn plain(field: &Field) -> Value {
    match field.kind {
        Kind::Token(vocabulary) => tokens(vocabulary),
        Kind::Flag => json!({ "type": "string", "enum": ["true", "false"] }),
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::Year => json!({ "type": "string", "pattern": "^[0-9]{4}$" }),
        Kind::Integer => json!({ "type": "string", "pattern": "^[+-]?[0-9]+$" }),
        Kind::Guid => sourced_id(),
        Kind::TextList => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Text | Kind::GuidRef | Kind::GuidRefList | Kind::UserIds => json!({ "type": "string" }),
    }
}

fn tokens(vocabulary: &Vocabulary) -> Value {
    let listed = json!({ "type": "string", "enum": vocabulary.tokens });
    match vocabulary.extensible {
        true => json!({ "anyOf": [listed, { "type": "string", "pattern": EXTENSION }] }),
        false => listed,
    }
}

pub fn sourced_id() -> Value {
    json!({ "type": "string", "pattern": SOURCED_ID })
}

/// An object of these members (name, schema, whether it is required) and no others.
fn object<'a>(doc: Option<&str>, members: impl IntoIterator<Item = (&'a str, Value, bool)>) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    for (name, schema, is_required) in members {
        properties.insert(name.to_owned(), schema);
        if is_required {
            required.push(name);
        }
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    // An empty list is not allowed.
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema["additionalProperties"] = false.into();
    match doc {
        Some(doc) => described(schema, doc),
        None => schema,
    }
}

/// Beside a `$ref` nothing else counts, so that one is wrapped.
fn described(mut schema: Value, doc: &str) -> Value {
    if schema.get("$ref").is_some() {
        schema = json!({ "allOf": [schema] });
    }
    schema["description"] = doc.trim().into();
    schema
}

pub fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
