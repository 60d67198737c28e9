//! Entity tags: the version of a record that an answer shows, and what a client demands of it (RFC 9110, 8.8.3, 13.1).

use sha2::{Digest, Sha256};

use crate::log::Tenant;
use crate::roster::EntityType;

/// The strong tag of a record's document, in quotes. `since`: position of the unit of work that made this version;
/// `fingerprint`: of the projections, which give the document its form. With the tenant: a client of two boards has
/// the same address for both, and must not take the one's record for the other's.
pub fn record_etag(fingerprint: &str, tenant: &Tenant, kind: EntityType, sourced_id: &str, since: i64) -> String {
    format!("\"{}\"", record_version(fingerprint, tenant, kind, sourced_id, since))
}

/// The same without the quotes.
pub fn record_version(fingerprint: &str, tenant: &Tenant, kind: EntityType, sourced_id: &str, since: i64) -> String {
    let hash = Sha256::digest(format!("{fingerprint}/{tenant}/{}/{since}/{sourced_id}", kind.name()));
    hash[..10].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any version.
    Any,
    These(Vec<Tag>),
}

/// One entity tag. `opaque` with its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub weak: bool,
    pub opaque: String,
}

/// Not a list of entity tags.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("entity tags are written \"…\", separated by commas, or * for any")]
pub struct BadTags;

impl std::str::FromStr for Tags {
    type Err = BadTags;

    fn from_str(text: &str) -> Result<Self, BadTags> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |strong| (true, strong));
            let inside = quoted.strip_prefix('"').ok_or(BadTags)?;
            let length = inside.find('"').ok_or(BadTags)?;
            if inside[..length].bytes().any(|b| b <= b' ' || b == 0x7f) {
                return Err(BadTags);
            }
            tags.push(Tag { weak, opaque: quoted[..length + 2].to_owned() });
            let after = inside[length + 1..].trim_start_matches([' ', '\t']);
            rest = after.trim_start_matches([' ', '\t', ',']);
            if !rest.is_empty() && !after.starts_with(',') {
                return Err(BadTags);
            }
        }
        if tags.is_empty() { Err(BadTags) } else { Ok(Self::These(tags)) }
    }
}

impl Tags {
    /// Strong comparison, as `If-Match` wants: a weak tag matches nothing. `current`: tag of the record, if it is there.
    pub fn match_strongly(&self, current: Option<&str>) -> bool {
        match self {
            Self::Any => current.is_some(),
            Self::These(tags) => tags.iter().any(|tag| !tag.weak && current == Some(tag.opaque.as_str())),
        }
    }

    /// Weak comparison, as `If-None-Match` wants.
    pub fn match_weakly(&self, current: Option<&str>) -> bool {
        match self {
            Self::Any => current.is_some(),
            Self::These(tags) => tags.iter().any(|tag| current == Some(tag.opaque.as_str())),
        }
    }
}

/// What a client demands of the record that it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_match: Option<Tags>,
    pub if_none_match: Option<Tags>,
}

impl Conditions {
    /// Only on this version of the record: a tag, with or without its quotes.
    pub fn version(tag: &str) -> Self {
        let opaque = format!("\"{}\"", tag.trim_matches('"'));
        Self { if_match: Some(Tags::These(vec![Tag { weak: false, opaque }])), if_none_match: None }
    }

    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether a change may be made. `current`: tag of the record, if it is there.
    pub fn hold(&self, current: Option<&str>) -> bool {
        self.if_match.as_ref().is_none_or(|tags| tags.match_strongly(current))
            && !self.if_none_match.as_ref().is_some_and(|tags| tags.match_weakly(current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_tell_versions_apart() {
        let (t, u): (Tenant, Tenant) = ("t".parse().unwrap(), "u".parse().unwrap());
        let tag = |since| record_etag("f", &t, EntityType::Org, "o", since);
        assert_eq!(tag(1), tag(1));
        assert_ne!(tag(1), tag(2));
        assert_ne!(tag(1), record_etag("f", &u, EntityType::Org, "o", 1));
        assert_ne!(tag(1), record_etag("f", &t, EntityType::Class, "o", 1));
        assert_ne!(tag(1), record_etag("g", &t, EntityType::Org, "o", 1));
        assert!(tag(1).len() == 22 && tag(1).starts_with('"') && tag(1).ends_with('"'));
    }

    #[test]
    fn lists_of_tags_are_read() {
        let tag = |weak, opaque: &str| Tag { weak, opaque: opaque.to_owned() };
        assert_eq!(" * ".parse(), Ok(Tags::Any));
        assert_eq!(r#""a""#.parse(), Ok(Tags::These(vec![tag(false, r#""a""#)])));
        assert_eq!(
            r#" "a,b" ,, W/"c" ,"""#.parse(),
            Ok(Tags::These(vec![tag(false, r#""a,b""#), tag(true, r#""c""#), tag(false, r#""""#)]))
        );
        for bad in ["", " ", "a", r#""a"#, r#"w/"a""#, r#""a" "b""#, r#""a"b"#, r#""a b""#, r#"*,"a""#] {
            assert_eq!(bad.parse::<Tags>(), Err(BadTags), "{bad}");
        }
    }

    #[test]
    fn comparisons_are_those_of_rfc_9110() {
        let tags = |text: &str| Some(text.parse::<Tags>().unwrap());
        let hold = |if_match, if_none_match, current| Conditions { if_match, if_none_match }.hold(current);
        let a = Some(r#""a""#);
        assert!(hold(None, None, a) && hold(None, None, None));
        assert!(hold(tags(r#""b", "a""#), None, a));
        assert!(!hold(tags(r#"W/"a""#), None, a), "strong");
        assert!(!hold(tags(r#""b""#), None, a));
        assert!(hold(tags("*"), None, a) && !hold(tags("*"), None, None));
        assert!(!hold(None, tags(r#"W/"a""#), a), "weak");
        assert!(hold(None, tags(r#""b""#), a) && hold(None, tags(r#""b""#), None));
        let version = |tag| Conditions::version(tag);
        assert!(version("a").hold(a) && version(r#""a""#).hold(a) && !version("b").hold(a) && !version("a").hold(None));
        assert!(!hold(None, tags("*"), a) && hold(None, tags("*"), None));
    }
}
