//! Documents as typed inputs, generated from the descriptions, and read back into the JSON that `Commands::write` takes.

use std::collections::HashSet;
use std::sync::LazyLock;

use async_graphql::dynamic::{InputObject, InputValue, SchemaBuilder, TypeRef};
use serde_json::{Map, Value, json};

use crate::command::json::{Json, Path};
use crate::graphql::model::{EXTENSIONS, Form, PARTS, STATUS, form, nodes, object_name};
use crate::roster::shape::{self, Content};
use crate::roster::{EntityType, Kind, japan};

/// A field of an input object.
struct Member {
    name: &'static str,
    doc: &'static str,
    shape: Shape,
    /// A document without it is none.
    required: bool,
}

enum Shape {
    Value(Form),
    /// A sourcedId; documents have a GUIDRef.
    Reference,
    References,
    /// Objects of the type whose output is called so.
    Parts(&'static str, Vec<Member>),
    /// Members of the document's metadata.
    Extensions(&'static str, Vec<Member>),
}

static INPUTS: LazyLock<Vec<(EntityType, Vec<Member>)>> =
    LazyLock::new(|| nodes().map(|kind| (kind, document_members(kind))).collect());

/// What begins the names of extension members in metadata.
const JAPAN: &str = "jp.";

/// The member that holds the extensions.
pub const EXTENSION: &str = "jp";

fn document_members(kind: EntityType) -> Vec<Member> {
    let mut members: Vec<Member> = shape::document(kind).into_iter().filter_map(member).collect();
    if let Some((_, object, doc)) = EXTENSIONS.iter().find(|extension| extension.0 == kind) {
        let of_kind = japan::EXTENSIONS.iter().filter(|extension| extension.entity == kind);
        let fields = of_kind.filter_map(|extension| {
            let field = &extension.field;
            let shape = Shape::Value(if field.reference.is_some() { Form::Id } else { form(field) });
            Some(Member { name: field.json.strip_prefix(JAPAN)?, doc: field.doc, shape, required: false })
        });
        let shape = Shape::Extensions(object, fields.collect());
        members.push(Member { name: EXTENSION, doc, shape, required: false });
    }
    members
}

fn member(of: shape::Member) -> Option<Member> {
    let (shape, required) = match of.content {
        // The hub's own, or what follows from other records.
        Content::Id | Content::Modified | Content::Children(_) => return None,
        Content::Status => (Shape::Value(Form::Enum(STATUS)), false),
        Content::Metadata => (Shape::Value(Form::Json), false),
        Content::PartId => (Shape::Value(Form::Id), true),
        Content::Parts(inner) => (parts(of.json, inner.into_iter().filter_map(member).collect())?, of.required),
        Content::Field(field) => {
            let shape = match field.kind {
                Kind::GuidRef => Shape::Reference,
                Kind::GuidRefList => Shape::References,
                Kind::Guid => Shape::Value(Form::Id),
                Kind::UserIds => {
                    let text = |name, doc| Member { name, doc, shape: Shape::Value(Form::Text), required: true };
                    parts(of.json, vec![text("type", "Kind of id."), text("identifier", "The id.")])?
                }
                _ => Shape::Value(form(field)),
            };
            (shape, field.required && field.json_required)
        }
    };
    Some(Member { name: of.json, doc: of.doc, shape, required })
}

fn parts(member: &str, members: Vec<Member>) -> Option<Shape> {
    PARTS.iter().find(|part| part.0 == member).map(|(_, object, _)| Shape::Parts(object, members))
}

/// The input type of a document.
pub fn document_type(kind: EntityType) -> String {
    format!("{}Input", object_name(kind))
}

/// The input type of a merge patch of a document.
pub fn patch_type(kind: EntityType) -> String {
    format!("{}Patch", object_name(kind))
}

pub fn register(mut schema: SchemaBuilder) -> SchemaBuilder {
    let mut known = HashSet::new();
    for (kind, members) in INPUTS.iter() {
        for (name, whole, doc) in [
            (document_type(*kind), true, "A record as it shall stand. A member that is null or absent is not there."),
            (patch_type(*kind), false, "Members to change. What is absent stays as it is; null removes it."),
        ] {
            schema = schema.register(object(&name, doc, members, whole));
        }
        schema = inner(schema, members, &mut known);
    }
    schema
}

/// Types of objects inside.
fn inner(mut schema: SchemaBuilder, members: &'static [Member], known: &mut HashSet<&'static str>) -> SchemaBuilder {
    for Member { doc, shape, .. } in members {
        if let Shape::Parts(name, members) | Shape::Extensions(name, members) = shape
            && known.insert(name)
        {
            schema = schema.register(object(&format!("{name}Input"), doc, members, true));
            schema = inner(schema, members, known);
        }
    }
    schema
}

/// `whole`: required members must be given.
fn object(name: &str, doc: &str, members: &[Member], whole: bool) -> InputObject {
    members.iter().fold(InputObject::new(name).description(doc.trim()), |object, member| {
        let of = match &member.shape {
            Shape::Value(Form::Texts) => TypeRef::named_nn_list(TypeRef::STRING),
            Shape::Value(form) => TypeRef::named(form.type_name()),
            Shape::Reference => TypeRef::named(TypeRef::ID),
            Shape::References => TypeRef::named_nn_list(TypeRef::ID),
            Shape::Parts(name, _) => TypeRef::named_nn_list(format!("{name}Input")),
            Shape::Extensions(name, _) => TypeRef::named(format!("{name}Input")),
        };
        let of = if whole && member.required { TypeRef::NonNull(Box::new(of)) } else { of };
        let hint = match member.shape {
            Shape::Reference => " By its sourcedId.",
            Shape::References => " By their sourcedIds.",
            _ => "",
        };
        object.field(InputValue::new(member.name, of).description(format!("{}{hint}", member.doc.trim())))
    })
}

/// The document that an input means. `patch`: null removes. Its duplicates are extensions that the input names twice,
/// with different values.
pub fn document(kind: EntityType, input: &Value, patch: bool) -> Json {
    let members = INPUTS.iter().find(|input| input.0 == kind).map(|input| input.1.as_slice()).unwrap_or_default();
    let Value::Object(given) = input else { return Json { value: input.clone(), duplicates: Vec::new() } };
    let mut document = Map::new();
    let mut duplicates = Vec::new();
    for member in members {
        let Some(value) = given.get(member.name) else { continue };
        if let Shape::Extensions(_, members) = &member.shape {
            extend(&mut document, members, value, patch, &mut duplicates);
        } else {
            document.insert(member.name.to_owned(), written(&member.shape, value));
        }
    }
    Json { value: document.into(), duplicates }
}

/// A value as documents have it. What has not the type of its member is left to the reader of documents.
fn written(shape: &Shape, value: &Value) -> Value {
    match (shape, value) {
        (_, Value::Null) => Value::Null,
        (Shape::Value(Form::Texts), value) => list(value, Value::clone),
        // Both are written without quotes too.
        (Shape::Value(Form::Id | Form::Integer), Value::Number(number)) => number.to_string().into(),
        (Shape::Value(_) | Shape::Extensions(..), value) => value.clone(),
        (Shape::Reference, value) => reference(value),
        (Shape::References, value) => list(value, reference),
        (Shape::Parts(_, members), value) => list(value, |item| part(members, item)),
    }
}

fn reference(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!({ "sourcedId": number.to_string() }),
        Value::String(id) => json!({ "sourcedId": id }),
        other => other.clone(),
    }
}

/// GraphQL takes one item for a list of it.
fn list(value: &Value, item: impl Fn(&Value) -> Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(item).collect(),
        one => vec![item(one)].into(),
    }
}

fn part(members: &[Member], item: &Value) -> Value {
    let Value::Object(given) = item else { return item.clone() };
    let value = |member: &Member| Some((member.name.to_owned(), written(&member.shape, given.get(member.name)?)));
    Value::Object(members.iter().filter_map(value).collect())
}

/// Puts extensions into the document's metadata, which has been read before.
fn extend(
    document: &mut Map<String, Value>,
    members: &[Member],
    value: &Value,
    patch: bool,
    duplicates: &mut Vec<Path>,
) {
    let extensions: Vec<(&str, Value)> = match value {
        Value::Object(given) => {
            let given = members.iter().filter_map(|member| Some((member, given.get(member.name)?)));
            given.map(|(member, value)| (member.name, written(&member.shape, value))).collect()
        }
        Value::Null if patch => members.iter().map(|member| (member.name, Value::Null)).collect(),
        Value::Null => return,
        other => vec![(EXTENSION, other.clone())],
    };
    let metadata = document.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        if patch {
            // Removing all of it and setting some of it is no one patch.
            duplicates.extend(extensions.iter().filter(|e| !e.1.is_null()).map(|e| path(e.0)));
            return;
        }
        *metadata = json!({});
    }
    let Value::Object(metadata) = metadata else { return };
    for (name, value) in extensions {
        match metadata.get(&format!("{JAPAN}{name}")) {
            Some(other) if text(other) != text(&value) => duplicates.push(path(name)),
            _ => drop(metadata.insert(format!("{JAPAN}{name}"), value)),
        }
    }
}

fn path(extension: &str) -> Path {
    vec![EXTENSION.to_owned(), extension.to_owned()]
}

/// Metadata keeps numbers and booleans as their text.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_becomes_a_document() {
        let input = json!({
            "title": "1年1組", "school": "s", "course": 7, "terms": ["y", "z"], "grades": "P1", "location": null,
            "metadata": { "x": 1 }, "jp": { "specialNeeds": false }, "stranger": 1,
        });
        let document = document(EntityType::Class, &input, false);
        assert_eq!(document.duplicates, Vec::<Path>::new());
        assert_eq!(
            document.value,
            json!({
                "title": "1年1組", "grades": ["P1"], "course": { "sourcedId": "7" }, "location": null,
                "school": { "sourcedId": "s" }, "terms": [{ "sourcedId": "y" }, { "sourcedId": "z" }],
                "metadata": { "x": 1, "jp.specialNeeds": false },
            })
        );
        let input = json!({ "roles": [{ "org": "o", "role": "student", "userProfile": "p" }],
                            "userIds": { "type": "t", "identifier": "i" } });
        assert_eq!(
            self::document(EntityType::User, &input, true).value,
            json!({ "roles": [{ "role": "student", "org": { "sourcedId": "o" }, "userProfile": "p" }],
                    "userIds": [{ "type": "t", "identifier": "i" }] })
        );
        for none in [json!("text"), json!(null)] {
            assert_eq!(self::document(EntityType::Org, &none, false).value, none);
        }
    }

    #[test]
    fn extensions_stand_in_metadata() {
        let read = |input: Value, patch| {
            let Json { value, duplicates } = document(EntityType::Enrollment, &input, patch);
            (value["metadata"].clone(), duplicates)
        };
        let none = Vec::<Path>::new;
        let number = |n: Value| json!({ "shussekiNo": n });
        assert_eq!(read(json!({ "jp": number(json!(3)) }), false), (json!({ "jp.shussekiNo": "3" }), none()));
        assert_eq!(read(json!({ "jp": number(json!(null)) }), true), (json!({ "jp.shussekiNo": null }), none()));
        let cleared = json!({ "jp.shussekiNo": null, "jp.publicFlg": null });
        assert_eq!(read(json!({ "jp": null }), true), (cleared, none()));
        assert_eq!(read(json!({ "jp": null, "metadata": {} }), false), (json!({}), none()));
        let both = |other: Value| json!({ "jp": number(json!(3)), "metadata": { "jp.shussekiNo": other } });
        assert_eq!(read(both(json!("3")), false).1, none(), "as a read shows them");
        assert_eq!(read(both(json!("4")), false).1, [["jp", "shussekiNo"]]);
        let removed = json!({ "jp": number(json!(3)), "metadata": null });
        assert_eq!(read(removed.clone(), true).1, [["jp", "shussekiNo"]]);
        assert_eq!(read(removed, false), (json!({ "jp.shussekiNo": "3" }), none()));
    }
}
