//! What clients see of a record: its fields, and what is derived from other records (information model §2).

use super::{EntityType, Field};

/// A member of a document, or of an object inside one.
pub struct Member {
    pub json: &'static str,
    pub required: bool,
    pub content: Content,
    pub doc: &'static str,
}

/// Where a member's value comes from.
pub enum Content {
    /// The record's own `sourcedId`.
    Id,
    /// Whether the record is to be deleted.
    Status,
    /// When the record last changed.
    Modified,
    /// Extensions, under keys of their own.
    Metadata,
    Field(&'static Field),
    /// GUIDRefs of the records that name this one as their parent.
    Children(EntityType),
    /// Objects made of records that belong to this one.
    Parts(Vec<Member>),
    /// The `sourcedId` of the record that a part is made of.
    PartId,
}

/// What every record's document begins with.
const BASE: [Member; 3] = [
    Member { json: "sourcedId", required: true, content: Content::Id, doc: "Id of the record." },
    Member {
        json: "status",
        required: true,
        content: Content::Status,
        doc: "A record that is to be deleted stays readable, as tobedeleted.",
    },
    Member {
        json: "dateLastModified",
        required: true,
        content: Content::Modified,
        doc: "When the hub recorded the last change of the record, in UTC.",
    },
];
const METADATA: Member =
    Member { json: "metadata", required: false, content: Content::Metadata, doc: "Extensions of the standard." };

/// All members of a record's document, in the order in which they are sent.
pub fn document(kind: EntityType) -> Vec<Member> {
    BASE.into_iter().chain(members(kind)).chain([METADATA]).collect()
}

/// Members of a record's document besides those that every record has.
pub fn members(kind: EntityType) -> Vec<Member> {
    let mut members = match kind {
        EntityType::AcademicSession | EntityType::Org => vec![Member {
            json: "children",
            required: false,
            content: Content::Children(kind),
            doc: "The records that name this one as their parent.",
        }],
        EntityType::User => vec![
            Member {
                json: "roles",
                required: true,
                content: Content::Parts(parts(EntityType::Role, &["user"])),
                doc: "What the user is, and where.",
            },
            Member {
                json: "userProfiles",
                required: false,
                content: profiles(),
                doc: "The user's accounts with tools.",
            },
        ],
        _ => Vec::new(),
    };
    members.extend(parts(kind, &[]));
    members
}

/// Member of this name.
pub fn member(kind: EntityType, json: &str) -> Option<Member> {
    members(kind).into_iter().find(|member| member.json == json)
}

fn parts(kind: EntityType, without: &[&str]) -> Vec<Member> {
    let fields = kind.entity().fields.iter().filter(|field| !without.contains(&field.json));
    fields.map(|field| of(field.json, field)).collect()
}

fn of(json: &'static str, field: &'static Field) -> Member {
    Member { json, required: field.json_required, content: Content::Field(field), doc: field.doc }
}

/// A profile's credential stands in an object of its own.
fn profiles() -> Content {
    let fields = EntityType::UserProfile.entity().fields;
    let credential = [("type", "credentialType"), ("username", "username")];
    let credential = credential
        .into_iter()
        .filter_map(|(json, name)| fields.iter().find(|field| field.json == name).map(|field| of(json, field)));
    let mut members =
        vec![Member { json: "profileId", required: true, content: Content::PartId, doc: "Id of the profile." }];
    members.extend(parts(EntityType::UserProfile, &["user", "credentialType", "username"]));
    members.push(Member {
        json: "credentials",
        required: false,
        content: Content::Parts(credential.collect()),
        doc: "How the user logs in; passwords are not kept.",
    });
    Content::Parts(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(members: &[Member]) -> Vec<&'static str> {
        members.iter().map(|member| member.json).collect()
    }

    #[test]
    fn derived_members_are_there() {
        assert_eq!(member(EntityType::Org, "children").map(|m| m.required), Some(false));
        let Some(Member { content: Content::Parts(roles), .. }) = member(EntityType::User, "roles") else { panic!() };
        assert_eq!(names(&roles), ["roleType", "role", "beginDate", "endDate", "org", "userProfile"]);
        let Some(Member { content: Content::Parts(profiles), .. }) = member(EntityType::User, "userProfiles") else {
            panic!()
        };
        assert_eq!(
            names(&profiles),
            ["profileId", "profileType", "vendorId", "applicationId", "description", "credentials"]
        );
    }
}
