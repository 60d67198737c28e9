//! What a dotted path of JSON names means: a typed column of the read model, or a place in the document.

use serde_json::Value;

use crate::roster::shape::{Content, Member, document, member};
use crate::roster::{EntityType, Field, Kind, japan};

/// Something that records can be compared and sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    pub source: Source,
    pub form: Form,
    /// Every record has it.
    pub required: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Of the read model. Names come from the descriptions alone.
    Column(String),
    /// SQL/JSON path into the document, for what has no column; gives all values found, as text. Sent as a parameter.
    Document(String),
}

/// How values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `folded`: regardless of case.
    Text {
        folded: bool,
    },
    Flag,
    Date,
    Time,
    /// Several texts.
    List {
        folded: bool,
    },
}

/// Members of a user's parts that the read model has as columns.
const PART_COLUMNS: [(&str, &str); 2] = [("roles.role", "roles"), ("roles.org.sourcedId", "role_org_sourced_ids")];

const EXACT: Form = Form::Text { folded: false };

impl Operand {
    /// `None` when the record has no such member, or the member is an object.
    pub fn resolve(kind: EntityType, path: &str) -> Option<Self> {
        let column =
            |name: &str, form, required| Some(Self { source: Source::Column(name.to_owned()), form, required });
        match path {
            "sourcedId" => return column("sourced_id", EXACT, true),
            "status" => return column("status", EXACT, true),
            "dateLastModified" => return column("date_last_modified", Form::Time, true),
            _ => {}
        }
        if let Some(key) = path.strip_prefix("metadata.").filter(|key| !key.is_empty()) {
            let known = japan::EXTENSIONS.iter().find(|e| e.entity == kind && e.field.json == key);
            let folded = known.is_none_or(|extension| !extension.field.exact);
            return Some(Self::document(&["metadata", key], folded));
        }
        if path.ends_with('.') {
            return None;
        }
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        let found = member(kind, name)?;
        match (&found.content, rest) {
            (Content::Field(field), _) => of_field(field, &[name], rest),
            (Content::Children(_), "sourcedId") => column("children", Form::List { folded: false }, false),
            (Content::Children(_), "type") => Some(Self::document(&[name, "type"], false)),
            (Content::Parts(members), _) => {
                let inner = within(members, &[name], rest)?;
                match PART_COLUMNS.iter().find(|part| kind == EntityType::User && part.0 == path) {
                    Some((_, name)) => column(name, Form::List { folded: false }, true),
                    None => Some(inner),
                }
            }
            _ => None,
        }
    }

    fn document(path: &[&str], folded: bool) -> Self {
        // A key of metadata is any text. It is quoted as JSON quotes, which SQL/JSON paths read alike.
        let steps: String = path.iter().map(|step| format!(".{}", Value::from(*step))).collect();
        Self { source: Source::Document(format!("lax ${steps}")), form: Form::List { folded }, required: false }
    }
}

/// All paths that mean something for a record type. Besides them, `metadata.` may be followed by any key.
pub fn paths(kind: EntityType) -> Vec<String> {
    document(kind).iter().flat_map(|member| within_member(kind, member)).collect()
}

fn within_member(kind: EntityType, member: &Member) -> Vec<String> {
    let below = |steps: &[&str]| steps.iter().map(|step| format!("{}.{step}", member.json)).collect();
    match &member.content {
        Content::Children(_) => below(&["sourcedId", "type"]),
        Content::Field(field) => match field.kind {
            Kind::GuidRef | Kind::GuidRefList => below(&["sourcedId", "type"]),
            Kind::UserIds => below(&["type", "identifier"]),
            _ => vec![member.json.to_owned()],
        },
        Content::Parts(members) => {
            let paths: Vec<String> = members.iter().flat_map(|part| within_member(kind, part)).collect();
            below(&paths.iter().map(String::as_str).collect::<Vec<_>>())
        }
        Content::Metadata => {
            let known = japan::EXTENSIONS.iter().filter(|extension| extension.entity == kind);
            below(&known.map(|extension| extension.field.json).collect::<Vec<_>>())
        }
        Content::Id | Content::Status | Content::Modified | Content::PartId => vec![member.json.to_owned()],
    }
}

/// A field of the record itself.
fn of_field(field: &Field, path: &[&str], rest: &str) -> Option<Operand> {
    let form = match (field.kind, rest) {
        (Kind::GuidRef, "sourcedId") => EXACT,
        (Kind::GuidRefList, "sourcedId") => Form::List { folded: false },
        (Kind::GuidRef | Kind::GuidRefList, "type") => return Some(Operand::document(&[path[0], "type"], false)),
        (Kind::UserIds, "type" | "identifier") => return Some(Operand::document(&[path[0], rest], false)),
        (Kind::GuidRef | Kind::GuidRefList | Kind::UserIds, _) => return None,
        (_, part) if !part.is_empty() => return None,
        (Kind::Text | Kind::Token(_) | Kind::Year | Kind::Guid | Kind::Integer, _) => {
            Form::Text { folded: !field.exact }
        }
        (Kind::TextList, _) => Form::List { folded: !field.exact },
        (Kind::Flag, _) => Form::Flag,
        (Kind::Date, _) => Form::Date,
    };
    let required = field.required && field.json_required;
    Some(Operand { source: Source::Column(field.column()), form, required })
}

/// A member of a part, found in the document.
fn within(members: &[Member], path: &[&str], rest: &str) -> Option<Operand> {
    let (name, rest) = rest.split_once('.').unwrap_or((rest, ""));
    let member = members.iter().find(|member| member.json == name)?;
    let path = [path, &[member.json]].concat();
    match &member.content {
        Content::Parts(members) => within(members, &path, rest),
        Content::PartId if rest.is_empty() => Some(Operand::document(&path, false)),
        Content::Field(field) => match (field.kind, rest) {
            (Kind::GuidRef, "sourcedId" | "type") => Some(Operand::document(&[&path[..], &[rest]].concat(), false)),
            (Kind::GuidRef, _) => None,
            (_, "") => Some(Operand::document(&path, !field.exact && matches!(field.kind, Kind::Text))),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Source {
        Source::Column(name.into())
    }

    #[test]
    fn paths_find_columns_or_places_in_the_document() {
        let user = |path: &str| Operand::resolve(EntityType::User, path);
        let familiy_name = user("familyName").unwrap();
        assert_eq!(
            (familiy_name.source, familiy_name.form, familiy_name.required),
            (column("family_name"), Form::Text { folded: true }, true)
        );
        assert_eq!(user("preferredFirstName").unwrap().source, column("preferred_given_name"));
        assert_eq!(user("identifier").unwrap().form, EXACT);
        assert_eq!(user("roles.role").unwrap().source, column("roles"));
        assert_eq!(user("roles.org.sourcedId").unwrap().source, column("role_org_sourced_ids"));
        assert_eq!(user("roles.roleType").unwrap().source, Source::Document(r#"lax $."roles"."roleType""#.into()));
        assert_eq!(
            user("userProfiles.credentials.username").unwrap(),
            Operand {
                source: Source::Document(r#"lax $."userProfiles"."credentials"."username""#.into()),
                form: Form::List { folded: true },
                required: false
            }
        );
        assert_eq!(
            user("metadata.jp.kanaFamilyName").unwrap().source,
            Source::Document(r#"lax $."metadata"."jp.kanaFamilyName""#.into())
        );
        assert_eq!(
            user(r#"metadata.a" ? (@ == "\"#).unwrap().source,
            Source::Document(r#"lax $."metadata"."a\" ? (@ == \"\\""#.into())
        );
        assert_eq!(user("agents.sourcedId").unwrap().source, column("agent_sourced_ids"));
        assert_eq!(Operand::resolve(EntityType::Class, "terms.sourcedId").unwrap().source, column("term_sourced_ids"));
        assert_eq!(Operand::resolve(EntityType::Org, "children.sourcedId").unwrap().source, column("children"));
        for bad in [
            "",
            "familyname",
            "roles",
            "primaryOrg",
            "primaryOrg.href",
            "roles.org",
            "roles.org.name",
            "metadata",
            "metadata.",
            "title",
            "password",
            "familyName.x",
            "familyName.",
            "roles.role.x",
            "roles.role.",
            "roles..role",
        ] {
            assert_eq!(user(bad), None, "{bad}");
        }
    }

    /// Every field is reached by some path, so that all can be filtered and sorted by, and no path is told in vain.
    #[test]
    fn every_field_has_its_path_and_every_path_its_meaning() {
        for kind in EntityType::ALL {
            let paths = paths(kind);
            for path in &paths {
                assert!(Operand::resolve(kind, path).is_some(), "{}: {path}", kind.name());
            }
            for field in kind.entity().fields {
                let reaches = |path: &String| path.split('.').next() == Some(field.json);
                assert!(paths.iter().any(reaches), "{}.{}", kind.name(), field.json);
            }
        }
        assert!(paths(EntityType::User).contains(&"userProfiles.credentials.username".to_owned()));
        assert!(paths(EntityType::Enrollment).contains(&"metadata.jp.shussekiNo".to_owned()));
    }
}
