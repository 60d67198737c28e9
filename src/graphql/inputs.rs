//! Arguments that choose records: filters and orders, generated from the descriptions, and read into predicates.

use std::sync::LazyLock;

use async_graphql::Value;
use async_graphql::dynamic::{Enum, EnumItem, InputObject, InputValue, SchemaBuilder, TypeRef};

use super::error::Refusal;
use super::model::{STATUS, nodes, object_name};
use crate::query::filter::Operator;
use crate::query::list::Sort;
use crate::query::path::{Form, Operand};
use crate::query::predicate::{Predicate, Test};
use crate::query::sql::time;
use crate::roster::shape::{self, Content, Member};
use crate::roster::{EntityType, Kind, japan};

/// Input of a field: what it may be tested for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    Id,
    Text,
    Status,
    Flag,
    Date,
    Time,
    List,
}

/// A test, and the type of its value.
type TestOf = (&'static str, &'static str);

/// Name of the input type, what it is, and its tests.
const LEAVES: [(Leaf, &str, &str, &[TestOf]); 7] = {
    const ORDER: [&str; 6] = ["eq", "ne", "lt", "lte", "gt", "gte"];
    [
        (
            Leaf::Id,
            "IdFilter",
            "Tests of a sourcedId, to the letter.",
            &[("eq", "ID"), ("ne", "ID"), ("in", "[ID!]"), ABSENT],
        ),
        (
            Leaf::Text,
            "TextFilter",
            "Tests of a text. Codes are compared to the letter, other text regardless of case; order is that of code points.",
            &[
                (ORDER[0], "String"),
                (ORDER[1], "String"),
                ("in", "[String!]"),
                ("contains", "String"),
                ("startsWith", "String"),
                (ORDER[2], "String"),
                (ORDER[3], "String"),
                (ORDER[4], "String"),
                (ORDER[5], "String"),
                ABSENT,
            ],
        ),
        (Leaf::Status, "StatusFilter", "Tests of a record's status.", &[("eq", STATUS), ("ne", STATUS)]),
        (Leaf::Flag, "FlagFilter", "Tests of a flag.", &[("eq", "Boolean"), ("ne", "Boolean"), ABSENT]),
        (
            Leaf::Date,
            "DateFilter",
            "Tests of a date.",
            &[
                (ORDER[0], "Date"),
                (ORDER[1], "Date"),
                (ORDER[2], "Date"),
                (ORDER[3], "Date"),
                (ORDER[4], "Date"),
                (ORDER[5], "Date"),
                ABSENT,
            ],
        ),
        (
            Leaf::Time,
            "DateTimeFilter",
            "Tests of a time.",
            &[
                (ORDER[0], "DateTime"),
                (ORDER[1], "DateTime"),
                (ORDER[2], "DateTime"),
                (ORDER[3], "DateTime"),
                (ORDER[4], "DateTime"),
                (ORDER[5], "DateTime"),
            ],
        ),
        (
            Leaf::List,
            "ListFilter",
            "Tests of a list of texts.",
            &[("has", "String"), ("hasAny", "[String!]"), ("hasAll", "[String!]"), ABSENT],
        ),
    ]
};

const ABSENT: TestOf = ("isNull", "Boolean");

/// A field of a filter input.
struct Entry {
    name: &'static str,
    doc: &'static str,
    input: Input,
}

enum Input {
    /// Tests on what this path names.
    Leaf(Leaf, Operand),
    /// Fields of an object inside the record.
    Object { name: String, entries: Vec<Entry> },
}

/// The filter of each record type.
static FILTERS: LazyLock<Vec<(EntityType, Vec<Entry>)>> =
    LazyLock::new(|| nodes().map(|kind| (kind, entries(kind))).collect());

/// What each type can be ordered by: what an index serves, and anything where there are few.
const ORDERS: [(EntityType, &[&str]); 7] = [
    (EntityType::AcademicSession, &["sourcedId", "dateLastModified", "title", "startDate", "endDate"]),
    (EntityType::Org, &["sourcedId", "dateLastModified", "name", "identifier"]),
    (EntityType::Course, &["sourcedId", "dateLastModified", "title", "courseCode"]),
    (EntityType::Class, &["sourcedId", "dateLastModified", "title", "classCode"]),
    (EntityType::User, &["sourcedId", "dateLastModified", "familyName"]),
    (EntityType::Enrollment, &["sourcedId", "dateLastModified"]),
    (EntityType::Demographics, &["sourcedId", "dateLastModified"]),
];

fn fields_of_order(kind: EntityType) -> &'static [&'static str] {
    ORDERS.iter().find(|order| order.0 == kind).map_or(&[], |order| order.1)
}

pub fn filter_name(kind: EntityType) -> String {
    format!("{}Filter", object_name(kind))
}

pub fn order_name(kind: EntityType) -> String {
    format!("{}Order", object_name(kind))
}

fn entries(kind: EntityType) -> Vec<Entry> {
    let mut entries: Vec<Entry> =
        shape::document(kind).iter().filter_map(|member| entry(kind, member, "", object_name(kind))).collect();
    let extensions: Vec<Entry> = japan::EXTENSIONS
        .iter()
        .filter(|extension| extension.entity == kind)
        .filter_map(|extension| {
            let field = &extension.field;
            let operand = Operand::resolve(kind, &format!("metadata.{}", field.json))?;
            Some(Entry {
                name: field.json.strip_prefix("jp.")?,
                doc: field.doc,
                input: Input::Leaf(Leaf::List, operand),
            })
        })
        .collect();
    if !extensions.is_empty() {
        let name = format!("{}JapanFilter", object_name(kind));
        let doc = "What the Japan profile adds.";
        entries.push(Entry { name: "jp", doc, input: Input::Object { name, entries: extensions } });
    }
    entries
}

fn entry(kind: EntityType, member: &Member, above: &str, owner: &str) -> Option<Entry> {
    let path = format!("{above}{}", member.json);
    let leaf = |leaf: Leaf, path: &str| Some(Input::Leaf(leaf, Operand::resolve(kind, path)?));
    let input = match &member.content {
        Content::Id => leaf(Leaf::Id, &path),
        Content::Status => leaf(Leaf::Status, &path),
        Content::Modified => leaf(Leaf::Time, &path),
        Content::Metadata => None,
        Content::Children(_) => leaf(Leaf::List, "children.sourcedId"),
        Content::PartId => leaf(Leaf::List, &path),
        Content::Parts(members) => {
            let mut object: String = member.json.trim_end_matches('s').to_owned();
            object[..1].make_ascii_uppercase();
            let name = format!("{owner}{object}");
            let above = format!("{path}.");
            let entries = members.iter().filter_map(|part| entry(kind, part, &above, &name)).collect();
            Some(Input::Object { name: format!("{name}Filter"), entries })
        }
        Content::Field(field) => match field.kind {
            Kind::GuidRef | Kind::GuidRefList => {
                let path = format!("{path}.sourcedId");
                let operand = Operand::resolve(kind, &path)?;
                let is_list = matches!(operand.form, Form::List { .. });
                Some(Input::Leaf(if is_list { Leaf::List } else { Leaf::Id }, operand))
            }
            Kind::UserIds => {
                let part = |name, doc| {
                    let operand = Operand::resolve(kind, &format!("{path}.{name}"))?;
                    Some(Entry { name, doc, input: Input::Leaf(Leaf::List, operand) })
                };
                let entries =
                    [part("type", "Kind of id."), part("identifier", "The id.")].into_iter().flatten().collect();
                Some(Input::Object { name: "UserIdFilter".into(), entries })
            }
            _ => {
                let operand = Operand::resolve(kind, &path)?;
                let leaf = match operand.form {
                    Form::Text { .. } => Leaf::Text,
                    Form::Flag => Leaf::Flag,
                    Form::Date => Leaf::Date,
                    Form::Time => Leaf::Time,
                    Form::List { .. } => Leaf::List,
                };
                Some(Input::Leaf(leaf, operand))
            }
        },
    }?;
    Some(Entry { name: member.json, doc: member.doc, input })
}

fn type_ref(text: &str) -> TypeRef {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix("!]")) {
        Some(item) => TypeRef::named_nn_list(item),
        None => TypeRef::named(text),
    }
}

fn leaf_name(leaf: Leaf) -> &'static str {
    LEAVES.iter().find(|l| l.0 == leaf).map_or("", |l| l.1)
}

/// Adds all types of this module to the schema.
pub fn register(mut schema: SchemaBuilder) -> SchemaBuilder {
    for (_, name, doc, tests) in LEAVES {
        let input = InputObject::new(name).description(format!("{doc} Several tests must all hold."));
        let input = tests.iter().fold(input, |input, (test, of)| {
            input.field(InputValue::new(*test, type_ref(of)).description(describe(test)))
        });
        schema = schema.register(input);
    }
    for (kind, entries) in FILTERS.iter() {
        let name = filter_name(*kind);
        let list = TypeRef::named_nn_list(name.as_str());
        let mut input = InputObject::new(&name)
            .description("Which records. Several fields must all hold; a field that is null or absent asks nothing.")
            .field(InputValue::new("and", list.clone()).description("All of these must hold."))
            .field(InputValue::new("or", list).description("One of these must hold."))
            .field(InputValue::new("not", TypeRef::named(&name)).description("This must not hold."));
        (schema, input) = fields(schema, input, entries);
        schema = schema.register(input);
        let field_name = format!("{}Field", order_name(*kind));
        let fields = fields_of_order(*kind)
            .iter()
            .map(|field| EnumItem::new(screaming(field)).description(format!("By `{field}`.")));
        schema = schema
            .register(Enum::new(&field_name).description("What records can be ordered by.").items(fields))
            .register(
                InputObject::new(order_name(*kind))
                    .description("The order of records; equals are in the order of `sourcedId`.")
                    .field(InputValue::new("field", TypeRef::named_nn(&field_name)).description("What to order by."))
                    .field(
                        InputValue::new("direction", TypeRef::named_nn("OrderDirection"))
                            .default_value(Value::Enum(async_graphql::Name::new("ASC")))
                            .description("Ascending or descending."),
                    ),
            );
    }
    schema.register(
        Enum::new("OrderDirection")
            .description("Ascending or descending.")
            .item(EnumItem::new("ASC").description("From the least."))
            .item(EnumItem::new("DESC").description("From the greatest.")),
    )
}

fn fields(mut schema: SchemaBuilder, mut input: InputObject, entries: &[Entry]) -> (SchemaBuilder, InputObject) {
    for Entry { name, doc, input: inner } in entries {
        let of = match inner {
            Input::Leaf(leaf, _) => leaf_name(*leaf).to_owned(),
            Input::Object { name, entries } => {
                let object =
                    InputObject::new(name).description("Tests of objects inside a record, each against all of them.");
                let filled;
                (schema, filled) = fields(schema, object, entries);
                schema = schema.register(filled);
                name.clone()
            }
        };
        input = input.field(InputValue::new(*name, TypeRef::named(of)).description(doc.trim()));
    }
    (schema, input)
}

fn describe(test: &str) -> &'static str {
    match test {
        "eq" => "It is this.",
        "ne" => "It is not this, or absent.",
        "in" => "It is one of these.",
        "contains" => "This is in it.",
        "startsWith" => "It begins with this.",
        "lt" => "It is less.",
        "lte" => "It is less or equal.",
        "gt" => "It is greater.",
        "gte" => "It is greater or equal.",
        "has" => "This is in it.",
        "hasAny" => "One of these is in it.",
        "hasAll" => "All of these are in it.",
        _ => "Whether there is none.",
    }
}

/// `dateLastModified` → `DATE_LAST_MODIFIED`.
fn screaming(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}

/// Reads an `orderBy` argument.
pub fn sort(kind: EntityType, value: &Value) -> Result<Option<Sort>, Refusal> {
    let Value::Object(order) = value else { return Ok(None) };
    let name = |member: &str| match order.get(member) {
        Some(Value::Enum(name)) => name.as_str().to_owned(),
        Some(Value::String(name)) => name.clone(),
        _ => String::new(),
    };
    let field = name("field");
    let path = fields_of_order(kind).iter().find(|path| screaming(path) == field);
    let path = path.ok_or_else(|| Refusal::input(format!("{field} is nothing to order by.")))?;
    let operand = Operand::resolve(kind, path).ok_or_else(|| Refusal::input("Nothing to order by."))?;
    Ok(Some(Sort { operand, descending: name("direction") == "DESC" }))
}

/// Most tests that one filter may have.
const MOST_TESTS: usize = 200;

/// Reads a `filter` argument.
pub fn filter(kind: EntityType, value: &Value) -> Result<Option<Predicate>, Refusal> {
    let Value::Object(_) = value else { return Ok(None) };
    let entries = FILTERS.iter().find(|filter| filter.0 == kind).map_or(&[][..], |filter| &filter.1);
    let mut tests = 0;
    predicate(entries, value, &mut tests).map(Some)
}

fn predicate(entries: &[Entry], value: &Value, tests: &mut usize) -> Result<Predicate, Refusal> {
    let Value::Object(object) = value else { return Err(unfit(value)) };
    let mut all = Vec::new();
    for (name, value) in object {
        if *value == Value::Null {
            continue;
        }
        *tests += 1;
        if *tests > MOST_TESTS {
            return Err(Refusal::limit(format!("A filter has at most {MOST_TESTS} tests.")));
        }
        let mut list = || match value {
            Value::List(items) => items.iter().map(|item| predicate(entries, item, tests)).collect(),
            one => predicate(entries, one, tests).map(|p| vec![p]),
        };
        match name.as_str() {
            "and" => all.push(Predicate::And(list()?)),
            "or" => all.push(Predicate::Or(list()?)),
            "not" => all.push(Predicate::Not(Box::new(predicate(entries, value, tests)?))),
            name => match entries.iter().find(|entry| entry.name == name).map(|entry| &entry.input) {
                Some(Input::Object { entries, .. }) => all.push(predicate(entries, value, tests)?),
                Some(Input::Leaf(leaf, operand)) => leaf_tests(name, *leaf, operand, value, &mut all)?,
                None => return Err(Refusal::input(format!("There is no field {name} to filter by."))),
            },
        }
    }
    Ok(Predicate::And(all))
}

fn unfit(value: &Value) -> Refusal {
    Refusal::input(format!("A filter is an object of tests, not {value}."))
}

fn leaf_tests(
    field: &str,
    leaf: Leaf,
    operand: &Operand,
    value: &Value,
    all: &mut Vec<Predicate>,
) -> Result<(), Refusal> {
    let Value::Object(tests) = value else { return Err(unfit(value)) };
    for (name, value) in tests {
        let unfit = || Refusal::input(format!("{field}.{name} cannot be {value}; to ask for absence, use isNull."));
        all.push(Predicate::Is(operand.clone(), test(leaf, name, value).ok_or_else(unfit)?));
    }
    Ok(())
}

fn test(leaf: Leaf, name: &str, value: &Value) -> Option<Test> {
    let text = || {
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Enum(name) => Some(name.to_string()),
            Value::Number(number) if leaf == Leaf::Id => Some(number.to_string()),
            _ => None,
        }
        .filter(|text| !text.contains('\0'))
    };
    let texts = || match value {
        Value::List(items) => items
            .iter()
            .map(|item| match item {
                Value::String(text) if !text.contains('\0') => Some(text.clone()),
                Value::Number(number) if leaf == Leaf::Id => Some(number.to_string()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>(),
        _ => text().map(|one| vec![one]), // GraphQL takes an item for a list of one
    };
    let flag = || if let Value::Boolean(flag) = value { Some(*flag) } else { None };
    let operator = match name {
        "isNull" => return flag().map(Test::Absent),
        "in" => return texts().map(Test::In),
        "has" => return text().map(|one| Test::All(vec![one])),
        "hasAny" => return texts().map(Test::Any),
        "hasAll" => return texts().map(Test::All),
        "startsWith" => return text().map(Test::StartsWith),
        "eq" => Operator::Equal,
        "ne" => Operator::NotEqual,
        "contains" => Operator::Contains,
        "lt" => Operator::Less,
        "lte" => Operator::LessOrEqual,
        "gt" => Operator::Greater,
        "gte" => Operator::GreaterOrEqual,
        _ => return None,
    };
    match leaf {
        Leaf::Flag => flag().map(|flag| Test::Flag(operator, flag)),
        Leaf::Date => Some(Test::Date(operator, text()?.parse().ok()?)),
        Leaf::Time => Some(Test::Time(operator, time(&text()?)?)),
        _ => text().map(|text| Test::Text(operator, text)),
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::value;

    use super::*;

    #[test]
    fn filters_are_read_into_predicates() {
        let read = |value: Value| filter(EntityType::User, &value);
        let Ok(Some(Predicate::And(all))) = read(value!({
            "familyName": { "startsWith": "佐" }, "status": { "eq": "active" }, "primaryOrg": { "eq": "s1" },
            "roles": { "role": { "has": "student" } }, "jp": { "homeClass": { "has": "c1" } },
            "or": [{ "email": { "isNull": true } }, { "dateLastModified": { "gte": "2026-04-01T00:00:00Z" } }],
            "not": { "sourcedId": { "in": ["a", "b"] } }, "givenName": null,
        })) else {
            panic!()
        };
        assert_eq!(all.len(), 7);
        for bad in [
            value!({ "familyName": { "eq": null } }),
            value!({ "familyName": { "eq": "a\u{0}" } }),
            value!({ "dateLastModified": { "lt": "yesterday" } }),
            value!({ "nothing": { "eq": "a" } }),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn orders_name_what_there_is() {
        for (kind, fields) in ORDERS {
            for field in fields {
                let value = value!({ "field": (screaming(field)), "direction": "DESC" });
                assert!(sort(kind, &value).unwrap().unwrap().descending, "{field}");
            }
        }
        assert!(sort(EntityType::User, &value!({ "field": "PASSWORD" })).is_err());
    }
}
