//! The schema does not break who uses it: what `schema.released.graphql` has is still there, unless it was deprecated
//! there already.

use std::collections::HashMap;

use async_graphql::Positioned;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ConstDirective, FieldDefinition, InputValueDefinition, Type, TypeDefinition, TypeKind,
    TypeSystemDefinition,
};

type Types = HashMap<String, TypeDefinition>;

fn types(sdl: &str) -> Types {
    let document = parse_schema(sdl).unwrap();
    let types = document.definitions.into_iter().filter_map(|definition| match definition {
        TypeSystemDefinition::Type(definition) => Some((definition.node.name.node.to_string(), definition.node)),
        _ => None,
    });
    types.collect()
}

fn deprecated(directives: &[Positioned<ConstDirective>]) -> bool {
    directives.iter().any(|directive| directive.node.name.node == "deprecated")
}

/// Whether a client that expects `old` can take `new`: it may have lost a null, not gained one.
fn gives(old: &Type, new: &Type) -> bool {
    (old.nullable || !new.nullable)
        && match (&old.base, &new.base) {
            (BaseType::Named(old), BaseType::Named(new)) => old == new,
            (BaseType::List(old), BaseType::List(new)) => gives(old, new),
            _ => false,
        }
}

/// What a client of `old` cannot do any more.
fn broken(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (types(old), types(new));
    let mut broken = Vec::new();
    for (name, was) in &old {
        let Some(is) = new.get(name) else {
            // It may go when all that leads to it was deprecated: the fields tell.
            if matches!(was.kind, TypeKind::Scalar | TypeKind::Enum(_) | TypeKind::InputObject(_))
                || !deprecated_everywhere(&old, name)
            {
                broken.push(format!("{name} is gone"));
            }
            continue;
        };
        match (&was.kind, &is.kind) {
            (TypeKind::Scalar, TypeKind::Scalar) => {}
            (TypeKind::Object(was), TypeKind::Object(is)) => {
                for interface in was.implements.iter().filter(|i| !is.implements.iter().any(|o| o.node == i.node)) {
                    broken.push(format!("{name} is no {} any more", interface.node));
                }
                fields(name, &was.fields, &is.fields, &mut broken);
            }
            (TypeKind::Interface(was), TypeKind::Interface(is)) => fields(name, &was.fields, &is.fields, &mut broken),
            (TypeKind::Enum(was), TypeKind::Enum(is)) => {
                for value in was.values.iter().filter(|value| !deprecated(&value.node.directives)) {
                    if !is.values.iter().any(|other| other.node.value.node == value.node.value.node) {
                        broken.push(format!("{name}.{} is gone", value.node.value.node));
                    }
                }
            }
            (TypeKind::InputObject(was), TypeKind::InputObject(is)) => {
                inputs(name, &was.fields, &is.fields, &mut broken);
            }
            (TypeKind::Union(was), TypeKind::Union(is)) => {
                for member in was.members.iter().filter(|m| !is.members.iter().any(|o| o.node == m.node)) {
                    broken.push(format!("{name} is never a {} any more", member.node));
                }
            }
            _ => broken.push(format!("{name} is of another kind")),
        }
    }
    broken.sort();
    broken
}

/// Whether each field of this type was deprecated in every object that had one.
fn deprecated_everywhere(types: &Types, name: &str) -> bool {
    let leads = |field: &FieldDefinition| {
        let text = field.ty.node.to_string();
        text.trim_matches(['[', ']', '!']) == name
    };
    types.values().all(|of| match &of.kind {
        TypeKind::Object(object) => {
            object.fields.iter().all(|field| !leads(&field.node) || deprecated(&field.node.directives))
        }
        _ => true,
    })
}

fn fields(of: &str, was: &[Positioned<FieldDefinition>], is: &[Positioned<FieldDefinition>], broken: &mut Vec<String>) {
    for old in was.iter().map(|field| &field.node) {
        let name = format!("{of}.{}", old.name.node);
        match is.iter().map(|field| &field.node).find(|new| new.name.node == old.name.node) {
            None if deprecated(&old.directives) => {}
            None => broken.push(format!("{name} is gone")),
            Some(new) => {
                if !gives(&old.ty.node, &new.ty.node) {
                    broken.push(format!("{name} was {} and is {}", old.ty.node, new.ty.node));
                }
                inputs(&name, &old.arguments, &new.arguments, broken);
            }
        }
    }
}

/// Arguments, and fields of input objects.
fn inputs(
    of: &str,
    was: &[Positioned<InputValueDefinition>],
    is: &[Positioned<InputValueDefinition>],
    broken: &mut Vec<String>,
) {
    let find = |list: &[Positioned<InputValueDefinition>], name: &str| {
        list.iter().find(|input| input.node.name.node == name).map(|input| input.node.clone())
    };
    for old in was.iter().map(|input| &input.node) {
        match find(is, &old.name.node) {
            None if deprecated(&old.directives) => {}
            None => broken.push(format!("{of}({}) is gone", old.name.node)),
            // Here the client gives, so that null may be gained.
            Some(new) if !gives(&new.ty.node, &old.ty.node) => {
                broken.push(format!("{of}({}) was {} and is {}", old.name.node, old.ty.node, new.ty.node));
            }
            Some(_) => {}
        }
    }
    for new in is.iter().map(|input| &input.node).filter(|new| find(was, &new.name.node).is_none()) {
        if !new.ty.node.nullable && new.default_value.is_none() {
            broken.push(format!("{of}({}) is needed now", new.name.node));
        }
    }
}

#[test]
fn the_schema_breaks_nobody_who_uses_the_released_one() {
    let read = |name: &str| std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let broken = broken(&read("schema.released.graphql"), &read("schema.graphql"));
    assert!(broken.is_empty(), "deprecate it, and take it away a release later: {broken:#?}");
}

#[test]
fn what_breaks_clients_is_found() {
    let old = "type Query { a(x: Int): A b: B @deprecated c: [String]! e: E } type A { id: ID! } type B { id: ID }
        enum E { ONE TWO THREE @deprecated } input I { a: Int b: Int! }";
    assert_eq!(broken(old, old), Vec::<String>::new());
    // What was deprecated may go, with the type that only it led to; answers may lose null, inputs gain it.
    let fine = "type Query { a(x: Int, y: Int, z: Int! = 1): A c: [String!]! e: E f: Int } type A { id: ID! more: Int }
        enum E { ONE TWO FOUR } input I { a: Int b: Int c: Int }";
    assert_eq!(broken(old, fine), Vec::<String>::new());
    let bad = "type Query { a(y: Int!): A b: B c: [String] } type A { id: ID } type B { id: ID }
        enum E { ONE } input I { a: Int! b: Int! c: Int! }";
    assert_eq!(
        broken(old, bad),
        [
            "A.id was ID! and is ID",
            "E.TWO is gone",
            "I(a) was Int and is Int!",
            "I(c) is needed now",
            "Query.a(x) is gone",
            "Query.a(y) is needed now",
            "Query.c was [String]! and is [String]",
            "Query.e is gone",
        ]
    );
    assert_eq!(broken(old, &old.replace("type A", "interface A")), ["A is of another kind"]);
    assert_eq!(broken(old, &old.replace("type A { id: ID! }", "")), ["A is gone"]);
}
