//! Where a page begins: at an offset, or next to a row that has been seen, at a log position.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The place of a row in the order of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What the list is sorted by, as text; none when it is by sourcedId alone.
    #[serde(rename = "k", skip_serializing_if = "Option::is_none", default)]
    pub sorted_by: Option<String>,
    #[serde(rename = "i")]
    pub sourced_id: String,
}

/// From where on rows are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    #[serde(rename = "o")]
    Offset(i64),
    #[serde(rename = "a")]
    After(Key),
    #[serde(rename = "b")]
    Before(Key),
    /// This many rows at the end.
    #[serde(rename = "l")]
    Last(i64),
}

/// What the links of a page carry. Opaque to clients; it names no tenant and gives no right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Log position at which the list is walked.
    #[serde(rename = "p")]
    pub position: i64,
    #[serde(rename = "s")]
    pub start: Start,
    /// Rows before the page.
    #[serde(rename = "n")]
    pub offset: i64,
    /// Of the request it belongs to.
    #[serde(rename = "q")]
    pub request: String,
}

/// The cursor was not made by this hub, or for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one of this list; begin again without it")]
pub struct BadCursor;

impl Cursor {
    /// Reads a cursor that must belong to the request of this mark.
    pub fn read(text: &str, request: &str) -> Result<Self, BadCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let cursor: Self = serde_json::from_slice(&bytes).map_err(|_| BadCursor)?;
        let texts = match &cursor.start {
            Start::After(key) | Start::Before(key) => [key.sorted_by.as_deref().unwrap_or(""), &key.sourced_id],
            Start::Offset(_) | Start::Last(_) => ["", ""],
        };
        let counts = match cursor.start {
            Start::Offset(n) | Start::Last(n) => n,
            Start::After(_) | Start::Before(_) => 0,
        };
        let sound = cursor.request == request
            && cursor.position >= 0
            && (0..=i64::from(i32::MAX)).contains(&counts)
            && (0..=i64::from(i32::MAX)).contains(&cursor.offset)
            && texts.iter().all(|text| !text.contains('\0'));
        if sound { Ok(cursor) } else { Err(BadCursor) }
    }

    pub fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Tells requests apart whose rows or order differ.
pub fn mark(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..6])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cursors_read_back_and_belong_to_one_request() {
        let request = mark(&["users", "", "familyName"]);
        assert_ne!(request, mark(&["users", "familyName", ""]));
        for start in [
            Start::Offset(3),
            Start::Last(7),
            Start::After(Key { sorted_by: Some("佐藤".into()), sourced_id: "u/1".into() }),
            Start::Before(Key { sorted_by: None, sourced_id: "u".into() }),
        ] {
            let cursor = Cursor { position: 12, start, offset: 100, request: request.clone() };
            assert_eq!(Cursor::read(&cursor.write(), &request), Ok(cursor.clone()));
            assert_eq!(Cursor::read(&cursor.write(), "other"), Err(BadCursor));
        }
    }

    proptest! {
        #[test]
        fn no_text_is_more_than_refused(text in "[A-Za-z0-9_=-]{0,80}") {
            let _ = Cursor::read(&text, "");
        }

        #[test]
        fn no_changed_cursor_is_more_than_refused(position in any::<i64>(), offset in any::<i64>(), n in any::<i64>(), id in ".*") {
            for start in [Start::Last(n), Start::Offset(n), Start::After(Key { sorted_by: None, sourced_id: id.clone() })] {
                let cursor = Cursor { position, offset, start, request: String::new() };
                if let Ok(read) = Cursor::read(&cursor.write(), "") {
                    prop_assert!(read.position >= 0 && read.offset >= 0);
                }
            }
        }
    }
}
