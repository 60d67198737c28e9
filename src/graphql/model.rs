//! The graph as data: object types, their fields, and where each field's value comes from. It follows from the
//! descriptions in `roster` and `query`; the schema, the planner and the resolvers all read it.

use std::collections::HashMap;
use std::sync::LazyLock;

use async_graphql::dynamic::TypeRef;

use crate::auth::Scope;
use crate::query::endpoint::ENDPOINTS;
use crate::query::relation::{RELATIONS, Relation};
use crate::roster::shape::{self, Member};
use crate::roster::{EntityType, Field as RosterField, Kind, japan};

/// All object types of the roster, by name.
pub static MODEL: LazyLock<Model> = LazyLock::new(Model::new);

pub struct Model {
    objects: Vec<Object>,
    by_name: HashMap<&'static str, usize>,
}

/// An object type.
pub struct Object {
    pub name: &'static str,
    pub doc: &'static str,
    /// Set for records, which implement `Node`.
    pub kind: Option<EntityType>,
    pub fields: Vec<Field>,
}

pub struct Field {
    pub name: &'static str,
    pub doc: &'static str,
    pub content: Content,
}

/// Where a field's value comes from.
pub enum Content {
    /// Made of type and sourcedId.
    GlobalId,
    /// Tells one version of the record from another.
    Version,
    /// A member of the document.
    Value { member: &'static str, form: Form, required: bool },
    /// Objects that stand in the document.
    Parts { member: &'static str, object: &'static str },
    /// The document's metadata, seen as an object.
    Extensions { object: &'static str },
    /// Other records that the document names.
    Link(Link),
    /// A collection that belongs to the record.
    Connection(&'static Relation),
}

/// A reference from one record to others.
pub struct Link {
    pub kind: EntityType,
    pub ids: Ids,
    /// Of these a client needs one: those of the records it leads to.
    pub scopes: &'static [Scope],
}

/// Where the sourcedIds of a link stand.
pub enum Ids {
    /// A GUIDRef.
    One(&'static str),
    /// A list of GUIDRefs.
    Many(&'static str),
    /// A bare sourcedId.
    Bare(&'static str),
    /// The record's own.
    Own,
}

/// How a value is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Id,
    Text,
    Flag,
    Integer,
    Date,
    Time,
    Texts,
    Json,
    /// One of a closed vocabulary.
    Enum(&'static str),
}

impl Form {
    /// The GraphQL type; of lists, that of their items.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Id => TypeRef::ID,
            Self::Text | Self::Texts => TypeRef::STRING,
            Self::Flag => TypeRef::BOOLEAN,
            Self::Integer => TypeRef::INT,
            Self::Date => "Date",
            Self::Time => "DateTime",
            Self::Json => "JSON",
            Self::Enum(name) => name,
        }
    }
}

/// Enums: closed vocabularies.
pub const STATUS: &str = "Status";
pub const ROLE_TYPE: &str = "RoleType";

/// The object type of a record.
pub fn object_name(kind: EntityType) -> &'static str {
    match kind {
        EntityType::AcademicSession => "AcademicSession",
        EntityType::Org => "Org",
        EntityType::Course => "Course",
        EntityType::Class => "Class",
        EntityType::Role => "Role",
        EntityType::UserProfile => "UserProfile",
        EntityType::User => "User",
        EntityType::Demographics => "Demographics",
        EntityType::Enrollment => "Enrollment",
    }
}

/// Types of objects inside documents, by the member that holds them.
pub const PARTS: [(&str, &str, &str); 4] = [
    ("roles", "Role", "What a user is at an org."),
    ("userProfiles", "UserProfile", "An account of a user with a tool."),
    ("credentials", "Credential", "How a user logs in with a tool. Passwords are not kept."),
    ("userIds", "UserId", "An id of a user in another system."),
];

/// Types of extensions, by record.
pub const EXTENSIONS: [(EntityType, &str, &str); 3] = [
    (EntityType::Class, "ClassJapan", "What the Japan profile adds to a class."),
    (EntityType::User, "UserJapan", "What the Japan profile adds to a user."),
    (EntityType::Enrollment, "EnrollmentJapan", "What the Japan profile adds to an enrollment."),
];

/// Record types that have documents of their own, and so are nodes.
pub fn nodes() -> impl Iterator<Item = EntityType> {
    EntityType::ALL.into_iter().filter(|kind| kind.nesting().is_none())
}

impl Model {
    fn new() -> Self {
        let mut model = Self { objects: Vec::new(), by_name: HashMap::new() };
        for kind in nodes() {
            let fields = model.record(kind);
            model.add(Object { name: object_name(kind), doc: kind.entity().doc, kind: Some(kind), fields });
        }
        model
    }

    /// Object type of this name.
    pub fn object(&self, name: &str) -> Option<&Object> {
        self.objects.get(*self.by_name.get(name)?)
    }

    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter()
    }

    fn add(&mut self, object: Object) {
        if self.by_name.insert(object.name, self.objects.len()).is_none() {
            self.objects.push(object);
        }
    }

    fn record(&mut self, kind: EntityType) -> Vec<Field> {
        let mut fields = vec![Field {
            name: "id",
            doc: "Names the record among all records; for `node`.",
            content: Content::GlobalId,
        }];
        fields.push(Field {
            name: "version",
            doc: "Changes whenever the record does; for `ifVersion`. The `ETag` of the REST API is the same, in quotes.",
            content: Content::Version,
        });
        for member in shape::document(kind) {
            fields.extend(self.member(member));
        }
        let identified_by = kind.entity().identified_by;
        fields.extend(identified_by.map(same_id));
        let parts = EntityType::ALL.into_iter().filter(|part| part.entity().identified_by == Some(kind));
        fields.extend(parts.map(same_id));
        if let Some((_, object, doc)) = EXTENSIONS.iter().find(|extension| extension.0 == kind) {
            self.extensions(kind, object, doc);
            fields.push(Field { name: "jp", doc, content: Content::Extensions { object } });
        }
        for relation in RELATIONS.iter().filter(|relation| relation.of == kind) {
            fields.push(Field { name: relation.name, doc: relation.doc, content: Content::Connection(relation) });
        }
        fields
    }

    fn extensions(&mut self, kind: EntityType, object: &'static str, doc: &'static str) {
        let of_kind = japan::EXTENSIONS.iter().filter(|extension| extension.entity == kind);
        let fields = of_kind.filter_map(|extension| {
            let field = &extension.field;
            let name = field.json.strip_prefix("jp.")?;
            let content = match field.reference {
                Some(reference) => link(reference.target, Ids::Bare(field.json)),
                None => Content::Value { member: field.json, form: form(field), required: false },
            };
            Some(Field { name, doc: field.doc, content })
        });
        let fields = fields.collect();
        self.add(Object { name: object, doc, kind: None, fields });
    }

    fn member(&mut self, member: Member) -> Option<Field> {
        let name = member.json;
        let value = |form| Content::Value { member: name, form, required: member.required };
        let content = match member.content {
            shape::Content::Id | shape::Content::PartId => value(Form::Id),
            shape::Content::Status => value(Form::Enum(STATUS)),
            shape::Content::Modified => value(Form::Time),
            shape::Content::Metadata => value(Form::Json),
            shape::Content::Children(_) => return None, // a relation, paged
            shape::Content::Parts(members) => self.parts(name, members.into_iter().collect())?,
            shape::Content::Field(field) => match (field.kind, field.reference) {
                (Kind::GuidRef, Some(reference)) => link(reference.target, Ids::One(name)),
                (Kind::GuidRefList, Some(reference)) => link(reference.target, Ids::Many(name)),
                (Kind::UserIds, _) => self.parts(name, Vec::new())?,
                // Profiles stand in the user's document.
                (Kind::Guid, _) => value(Form::Id),
                _ => Content::Value { member: name, form: form(field), required: member.required },
            },
        };
        Some(Field { name, doc: member.doc, content })
    }

    fn parts(&mut self, member: &'static str, members: Vec<Member>) -> Option<Content> {
        let (_, object, doc) = PARTS.iter().find(|part| part.0 == member)?;
        let mut fields: Vec<Field> = Vec::new();
        for inner in members {
            fields.extend(self.member(inner));
        }
        if member == "userIds" {
            for (name, doc) in [("type", "Kind of id."), ("identifier", "The id.")] {
                let content = Content::Value { member: name, form: Form::Text, required: true };
                fields.push(Field { name, doc, content });
            }
        }
        self.add(Object { name: object, doc, kind: None, fields });
        Some(Content::Parts { member, object })
    }
}

impl Field {
    /// What every record has; the rest may be missing in what was written under older rules.
    pub fn is_always_there(&self) -> bool {
        ["sourcedId", "status", "dateLastModified"].contains(&self.name)
    }
}

impl Object {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

fn link(kind: EntityType, ids: Ids) -> Content {
    Content::Link(Link { kind, ids, scopes: scopes(kind) })
}

/// A record under the same sourcedId.
fn same_id(kind: EntityType) -> Field {
    Field { name: kind.name(), doc: kind.entity().doc, content: link(kind, Ids::Own) }
}

/// Of these a client needs one to read records of the type.
pub fn scopes(kind: EntityType) -> &'static [Scope] {
    ENDPOINTS.iter().find(|endpoint| endpoint.kind == kind && endpoint.parents.is_empty()).map_or(&[], |e| e.scopes)
}

pub(super) fn form(field: &RosterField) -> Form {
    match field.kind {
        Kind::Flag => Form::Flag,
        Kind::Date => Form::Date,
        Kind::TextList => Form::Texts,
        Kind::Integer => Form::Integer,
        Kind::Token(vocabulary) if !vocabulary.extensible => Form::Enum(ROLE_TYPE),
        _ => Form::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::vocabulary::{ROLE_TYPE as ROLE_TYPES, STATUS as STATUSES};

    #[test]
    fn every_record_part_and_extension_has_a_type() {
        let names: Vec<_> = MODEL.objects().map(|object| object.name).collect();
        for name in ["Class", "Role", "UserProfile", "Credential", "UserId", "UserJapan", "Demographics"] {
            assert!(names.contains(&name), "{name}");
        }
        assert_eq!(names.len(), 7 + 4 + 3);
        for object in MODEL.objects() {
            for field in &object.fields {
                let same = object.fields.iter().filter(|other| other.name == field.name);
                assert_eq!(same.count(), 1, "{}.{}", object.name, field.name);
            }
        }
    }

    #[test]
    fn closed_vocabularies_are_known() {
        let closed = EntityType::ALL.into_iter().flat_map(|kind| kind.entity().fields).filter_map(|f| match f.kind {
            Kind::Token(vocabulary) if !vocabulary.extensible => Some(vocabulary),
            _ => None,
        });
        assert!(closed.into_iter().all(|vocabulary| vocabulary == &ROLE_TYPES));
        assert!(!STATUSES.extensible);
    }

    #[test]
    fn demographics_have_their_own_scope_whichever_way_they_are_reached() {
        let user = MODEL.object("User").unwrap();
        let Content::Link(link) = &user.field("demographics").unwrap().content else { panic!() };
        assert_eq!(link.scopes, [Scope::Demographics]);
        assert!(MODEL.object("Demographics").unwrap().field("user").is_some());
    }
}
