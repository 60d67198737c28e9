//! What is left of a record when its person is erased: what makes it a record, and nothing that tells of the person.

use serde_json::{Map, Value};

use super::{Entity, Field, Kind};

/// Stands for texts that a record must have.
pub const ERASED: &str = "erased";

/// Required references and codes stay: which class and which school, as what. Texts that must be there become
/// [`ERASED`]; all else goes: names, addresses, dates, lists, extensions.
pub fn what_is_left(entity: &Entity, record: &Value) -> Map<String, Value> {
    let kept = |field: &Field| {
        let value = record.get(field.json)?;
        let value = match field.kind {
            Kind::GuidRef if field.required => value.clone(),
            Kind::Token(_) | Kind::Flag if !field.personal => value.clone(),
            Kind::Text if field.required => ERASED.into(),
            Kind::Text if field.json_required => "".into(),
            _ => return None,
        };
        Some((field.json.to_owned(), value))
    };
    entity.fields.iter().filter_map(kept).collect()
}

/// Texts by which the person could be recognised, of two characters or more: to be looked for elsewhere.
pub fn personal_texts(entity: &Entity, record: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    let personal = |field: &&Field| field.personal && matches!(field.kind, Kind::Text | Kind::UserIds | Kind::Date);
    let own = entity.fields.iter().filter(personal).filter_map(|field| record.get(field.json));
    own.chain(record.get("metadata")).for_each(|value| strings(value, &mut texts));
    texts.retain(|text| text.chars().count() > 1 && !["true", "false"].contains(&text.as_str()));
    texts
}

fn strings(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        // The type of an identifier says nothing of the person.
        Value::Object(members) => {
            members.iter().filter(|(name, _)| *name != "type").for_each(|(_, member)| strings(member, into));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::roster::EntityType;

    #[test]
    fn nothing_personal_is_left() {
        let user = json!({
            "enabledUser": "true", "username": "yamada.hanako", "givenName": "花子", "familyName": "山田",
            "userIds": [{ "type": "LDAP", "identifier": "x77" }], "grades": ["P3"], "email": "h@example.jp",
            "primaryOrg": { "sourcedId": "s", "type": "org" }, "userMasterIdentifier": "aa-bb",
            "metadata": { "jp.kanaGivenName": "ハナコ" }
        });
        let entity = EntityType::User.entity();
        let left = Value::Object(what_is_left(entity, &user));
        assert_eq!(left["enabledUser"], "true");
        for text in personal_texts(entity, &user) {
            assert!(!left.to_string().contains(&text), "{text} in {left}");
        }
        let texts = personal_texts(entity, &user);
        assert!(["花子", "ハナコ", "x77", "aa-bb"].iter().all(|text| texts.iter().any(|t| t == text)), "{texts:?}");
        let enrollment = json!({
            "class": { "sourcedId": "c", "type": "class" }, "user": { "sourcedId": "u", "type": "user" },
            "school": { "sourcedId": "s", "type": "org" }, "role": "student", "beginDate": "2026-04-01"
        });
        let left = what_is_left(EntityType::Enrollment.entity(), &enrollment);
        let members: std::collections::BTreeSet<&str> = left.keys().map(String::as_str).collect();
        assert_eq!(members, ["class", "role", "school", "user"].into());
        let birth = json!({ "birthDate": "2016-05-05", "sex": "female" });
        assert!(what_is_left(EntityType::Demographics.entity(), &birth).is_empty());
    }
}
