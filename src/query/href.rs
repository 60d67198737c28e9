//! Addresses are put into references as a document is sent: it is copied, not parsed.

use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};

use crate::roster::EntityType;

/// How every GUIDRef in a document begins. A record begins so too, but is not followed by a type; and a member of
/// `metadata` is never an object, so nothing else can look like this.
const START: &[u8] = b"{\"sourcedId\":\"";
const TYPE: &[u8] = b"\",\"type\":\"";

/// What needs no encoding in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// The address of a record. `base`: of the Rostering service, without a slash at the end.
pub fn address(base: &str, kind: EntityType, sourced_id: &str) -> String {
    format!("{base}/{}/{}", kind.entity().collection, utf8_percent_encode(sourced_id, SEGMENT))
}

/// Copies documents with the addresses that their client reaches the hub under.
pub struct Splicer<'a> {
    base: &'a str,
    start: memmem::Finder<'static>,
}

impl<'a> Splicer<'a> {
    /// `base`: address of the Rostering service, without a slash at the end.
    pub fn new(base: &'a str) -> Self {
        Self { base, start: memmem::Finder::new(START) }
    }

    /// Appends the document to `out`.
    pub fn splice(&self, doc: &[u8], out: &mut Vec<u8>) {
        let mut copied = 0;
        let mut at = 1; // the record's own sourcedId
        while let Some(found) = self.start.find(&doc[at..]) {
            let begin = at + found;
            let id_from = begin + START.len();
            at = id_from;
            let Some(id_len) = memchr::memchr(b'"', &doc[id_from..]) else { break };
            let id_to = id_from + id_len;
            let Some(kind) = doc[id_to..].strip_prefix(TYPE).and_then(kind_of) else { continue };
            out.extend_from_slice(&doc[copied..begin]);
            out.extend_from_slice(b"{\"href\":\"");
            out.extend_from_slice(self.base.as_bytes());
            out.push(b'/');
            out.extend_from_slice(kind.entity().collection.as_bytes());
            out.push(b'/');
            for part in percent_encode(&doc[id_from..id_to], SEGMENT) {
                out.extend_from_slice(part.as_bytes());
            }
            out.extend_from_slice(b"\",");
            copied = begin + 1;
            at = id_to;
        }
        out.extend_from_slice(&doc[copied..]);
    }
}

fn kind_of(rest: &[u8]) -> Option<EntityType> {
    let end = memchr::memchr(b'"', rest)?;
    if rest.get(end + 1) != Some(&b'}') {
        return None;
    }
    EntityType::from_name(std::str::from_utf8(&rest[..end]).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splice(doc: &str) -> String {
        let mut out = Vec::new();
        Splicer::new("http://h/v1p2").splice(doc.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn references_get_addresses_and_nothing_else_changes() {
        assert_eq!(
            splice(r#"{"sourcedId":"e","class":{"sourcedId":"a/b","type":"class"},"role":"student"}"#),
            r#"{"sourcedId":"e","class":{"href":"http://h/v1p2/classes/a%2Fb","sourcedId":"a/b","type":"class"},"role":"student"}"#
        );
        let lists = r#"{"sourcedId":"o","children":[{"sourcedId":"x","type":"org"},{"sourcedId":"y","type":"org"}]}"#;
        assert_eq!(splice(lists).matches("http://h/v1p2/orgs/").count(), 2);
    }

    #[test]
    fn text_that_looks_like_a_reference_is_left_alone() {
        for doc in [
            r#"{"sourcedId":"e","title":"{\"sourcedId\":\"x\",\"type\":\"class\"}"}"#,
            r#"{"sourcedId":"e","title":"a"}"#,
            r#"{"sourcedId":"e","metadata":{"x":"{"}}"#,
        ] {
            assert_eq!(splice(doc), doc);
        }
    }
}
