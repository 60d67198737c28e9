//! Records that OneRoster's JSON shows inside another record's document, and members that follow from other records.

use super::{EntityType, Field};

/// How records of one type stand in the documents of another.
#[derive(Debug)]
pub struct Nested {
    pub kind: EntityType,
    /// Whose documents hold them.
    pub owner: EntityType,
    /// The list in the owner's document (`roles`).
    pub member: &'static str,
    /// JSON name of the field that names the owner; left out inside its document.
    pub owner_field: &'static str,
    /// Member that shows the record's own sourcedId; without it JSON does not show it.
    pub id: Option<&'static str>,
    /// How a record that JSON shows without its id is known again: fields that agree, from the closest to the loosest.
    pub alike: &'static [&'static [&'static str]],
    /// Fields that stand one level deeper.
    pub inner: Option<Inner>,
}

/// A list of one object that holds some of a nested record's fields.
#[derive(Debug)]
pub struct Inner {
    pub member: &'static str,
    /// (JSON name of the field, name inside the object)
    pub fields: &'static [(&'static str, &'static str)],
}

/// A user's roles and profiles (information model: User.roles, User.userProfiles).
pub static NESTED: [Nested; 2] = [
    Nested {
        kind: EntityType::Role,
        owner: EntityType::User,
        member: "roles",
        owner_field: "user",
        id: None,
        alike: &[
            &["org", "role", "roleType", "beginDate", "endDate", "userProfile"],
            &["org", "role", "roleType"],
            &["org", "role"],
            &["org"],
        ],
        inner: None,
    },
    Nested {
        kind: EntityType::UserProfile,
        owner: EntityType::User,
        member: "userProfiles",
        owner_field: "user",
        id: Some("profileId"),
        alike: &[],
        // The model has a list; a CSV row has one.
        inner: Some(Inner { member: "credentials", fields: &[("credentialType", "type"), ("username", "username")] }),
    },
];

/// List of the records that name this one as `parent`.
pub const CHILDREN: &str = "children";

impl EntityType {
    /// How it stands in another type's documents; none for those that have documents of their own.
    pub fn nesting(self) -> Option<&'static Nested> {
        NESTED.iter().find(|n| n.kind == self)
    }

    /// What its documents hold besides its own fields.
    pub fn nested(self) -> impl Iterator<Item = &'static Nested> {
        NESTED.iter().filter(move |n| n.owner == self)
    }

    /// Its field `parent`, if its documents show `children`.
    pub fn parent(self) -> Option<&'static Field> {
        let leads_up = |f: &&Field| f.json == "parent" && f.reference.is_some_and(|r| r.target == self);
        self.entity().fields.iter().find(leads_up)
    }
}

impl Nested {
    /// The field that names the owner.
    pub fn owner_reference(&self) -> Option<&'static Field> {
        self.kind.entity().fields.iter().find(|f| f.json == self.owner_field)
    }

    /// Where a field stands in the owner's document, from the list's item on.
    pub fn place(&self, field: &str) -> String {
        let inner = self.inner.as_ref().and_then(|i| Some((i, i.fields.iter().find(|f| f.0 == field)?)));
        inner.map_or_else(|| field.to_owned(), |(inner, (_, name))| format!("{}[0].{name}", inner.member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_fields_that_there_are() {
        for nested in &NESTED {
            let named = |name: &str| nested.kind.entity().fields.iter().any(|f| f.json == name);
            assert!(nested.owner_reference().is_some_and(|f| f.reference.is_some_and(|r| r.target == nested.owner)));
            assert!(nested.inner.iter().flat_map(|i| i.fields).all(|(field, _)| named(field)));
            assert!(nested.alike.iter().flat_map(|fields| fields.iter()).all(|field| named(field)));
        }
        let parents: Vec<_> = EntityType::ALL.into_iter().filter(|k| k.parent().is_some()).collect();
        assert_eq!(parents, [EntityType::AcademicSession, EntityType::Org]);
        let profile = EntityType::UserProfile.nesting().unwrap();
        assert_eq!(profile.place("credentialType"), "credentials[0].type");
        assert_eq!(profile.place("vendorId"), "vendorId");
    }
}
