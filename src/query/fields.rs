//! The `fields` parameter: some members of a document, cut out without parsing it.

use crate::roster::EntityType;
use crate::roster::shape::document;

/// The members to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Vec<String>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFields(pub String);

impl Fields {
    /// Reads a comma separated list. A dotted item means the member that it begins with. `lenient`: an unknown item
    /// selects everything, as the binding's text has it (§3.4); else it is an error, as its OpenAPI file says.
    pub fn read(text: &str, kind: EntityType, lenient: bool) -> Result<Option<Self>, BadFields> {
        let known: Vec<&str> = document(kind).iter().map(|member| member.json).collect();
        let mut chosen = Vec::new();
        let mut unknown = None;
        for item in text.split(',').map(str::trim) {
            let name = item.split('.').next().unwrap_or_default();
            if name.is_empty() {
                return Err(BadFields("an item of fields is blank".into()));
            }
            match known.contains(&name) {
                true => chosen.push(name.to_owned()),
                false => unknown = Some(item),
            }
        }
        match unknown {
            Some(item) if !lenient => Err(BadFields(format!("{} has no field {item}", kind.name()))),
            Some(_) => Ok(None),
            None => Ok(Some(Self(chosen))),
        }
    }

    /// The document with the chosen members alone, in its own order. `doc`: as the read models hold it.
    pub fn cut(&self, doc: &str) -> String {
        let mut cut = String::with_capacity(doc.len() / 2);
        cut.push('{');
        for (name, member) in top_level(doc) {
            if self.0.iter().any(|chosen| chosen == name) {
                if cut.len() > 1 {
                    cut.push(',');
                }
                cut.push_str(member);
            }
        }
        cut.push('}');
        cut
    }
}

/// Name and text (`"name":value`) of each member of a JSON object without white space between its tokens.
pub fn top_level(doc: &str) -> Vec<(&str, &str)> {
    let bytes = doc.as_bytes();
    let mut members = Vec::with_capacity(24);
    let mut at = 1;
    while bytes.get(at) == Some(&b'"') {
        let start = at;
        let colon = end_of_string(bytes, at) + 1;
        at = end_of_value(bytes, colon + 1);
        let (Some(name), Some(member)) = (doc.get(start + 1..colon - 1), doc.get(start..at)) else { break };
        members.push((name, member));
        at += 1; // the comma
    }
    members
}

/// Index of what follows the value beginning at `at`.
fn end_of_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_u32;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b'}' | b']' if depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Index of the quote that ends the string beginning at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at;
        }
        at += 2; // the backslash, and what it escapes
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Option<Fields>, BadFields> {
        Fields::read(text, EntityType::User, false)
    }

    #[test]
    fn chosen_members_are_cut_out_as_they_are() {
        let doc = r#"{"sourcedId":"a\"b","status":"active","roles":[{"role":"x,y"},{}],"givenName":"{\\","metadata":{"a":"]"}}"#;
        let cut = |fields: &str| read(fields).unwrap().unwrap().cut(doc);
        assert_eq!(cut("givenName,sourcedId"), r#"{"sourcedId":"a\"b","givenName":"{\\"}"#);
        assert_eq!(cut("roles.role"), r#"{"roles":[{"role":"x,y"},{}]}"#);
        assert_eq!(cut("metadata"), r#"{"metadata":{"a":"]"}}"#);
        assert_eq!(cut("email"), "{}");
        assert_eq!(cut("sourcedId , status,roles,givenName,metadata"), doc);
    }

    #[test]
    fn blank_and_unknown_items_are_refused() {
        for bad in ["", ",", "givenName,", "givenName,,status", "password", "GivenName", "title"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Fields::read("givenName,nothing", EntityType::User, true), Ok(None));
        assert!(Fields::read("givenName,", EntityType::User, true).is_err());
    }

    proptest! {
        #[test]
        fn cutting_is_what_parsing_would_give(title in ".*", metadata in prop::collection::btree_map("[a-z.]{1,5}", ".*", 0..4)) {
            let doc = serde_json::json!({ "sourcedId": "s", "title": title, "metadata": metadata, "children": [{ "sourcedId": title }] });
            let fields = Fields::read("title,metadata", EntityType::AcademicSession, false).unwrap().unwrap();
            let cut: serde_json::Value = serde_json::from_str(&fields.cut(&doc.to_string())).unwrap();
            prop_assert_eq!(cut, serde_json::json!({ "title": title, "metadata": metadata }));
        }
    }
}
