//! Pages of connections: arguments and cursors (Relay's cursor connections).

use async_graphql::Value;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::error::Refusal;
use crate::query::cursor::{Key, Start};
use crate::query::list::Sort;
use crate::query::related::Row;

/// Rows on a page when neither `first` nor `last` is given.
pub const DEFAULT: i64 = 50;

/// Which rows of a connection.
#[derive(Clone, Debug)]
pub struct Page {
    pub start: Start,
    /// Rows at most.
    pub limit: i64,
    /// From the end.
    pub backward: bool,
    /// Tells orders apart, so that a cursor is not taken for another's.
    order: String,
}

/// What lies beyond a page that is not of records.
pub struct Info {
    pub has_next: bool,
    pub has_previous: bool,
    pub start: Option<String>,
    pub end: Option<String>,
}

/// A cursor: a row's place in an order. It holds no position: `asOf` keeps a walk at one.
#[derive(Serialize, Deserialize)]
struct Cursor {
    #[serde(rename = "o")]
    order: String,
    #[serde(flatten)]
    key: Key,
}

impl Page {
    /// Reads `first`, `after`, `last` and `before`.
    pub fn read(sort: Option<&Sort>, argument: impl Fn(&str) -> Value, most: i64) -> Result<Self, Refusal> {
        let order = sort.map_or(String::new(), |sort| format!("{:?}{}", sort.operand.source, sort.descending));
        let count = |name: &str| match argument(name) {
            Value::Null => Ok(None),
            Value::Number(n) if n.as_i64().is_some_and(|n| (0..=most).contains(&n)) => Ok(n.as_i64()),
            Value::Number(n) if n.as_i64().is_some_and(|n| n > most) => {
                Err(Refusal::limit(format!("{name} is at most {most}.")))
            }
            _ => Err(Refusal::input(format!("{name} is a whole number from 0 on."))),
        };
        let place = |name: &str| match argument(name) {
            Value::Null => Ok(None),
            Value::String(text) => cursor(&text, &order)
                .map(Some)
                .ok_or_else(|| Refusal::input(format!("{name} is not a cursor of this list in this order."))),
            _ => Err(Refusal::input(format!("{name} is a cursor."))),
        };
        let (first, last, after, before) = (count("first")?, count("last")?, place("after")?, place("before")?);
        match (first, last) {
            (Some(_), Some(_)) => Err(Refusal::input("A page is either the first rows or the last, not both.")),
            (None, Some(limit)) => {
                if after.is_some() {
                    return Err(Refusal::input("last goes with before; after goes with first."));
                }
                let start = before.map_or(Start::Last(limit), Start::Before);
                Ok(Self { start, limit, backward: true, order })
            }
            (first, None) => {
                if before.is_some() {
                    return Err(Refusal::input("before goes with last; first goes with after."));
                }
                let start = after.map_or(Start::Offset(0), Start::After);
                Ok(Self { start, limit: first.unwrap_or(DEFAULT), backward: false, order })
            }
        }
    }

    /// The cursor of a row.
    pub fn cursor(&self, row: &Row) -> String {
        let key = Key { sorted_by: row.key.clone(), sourced_id: row.sourced_id.clone() };
        let cursor = Cursor { order: mark(&self.order), key };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
    }

    /// Whether there are rows on both sides of a page: before it, and after it. `more`: one more row was found than
    /// the page has.
    pub fn neighbours(&self, more: bool) -> (bool, bool) {
        let begun = !matches!(self.start, Start::Offset(_) | Start::Last(_));
        if self.backward { (more, begun) } else { (begun, more) }
    }
}

fn mark(order: &str) -> String {
    crate::query::cursor::mark(&[order])
}

/// Whether a text is a cursor, of whatever order.
pub fn is_cursor(text: &str) -> bool {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes.is_some_and(|bytes| serde_json::from_slice::<Cursor>(&bytes).is_ok())
}

fn cursor(text: &str, order: &str) -> Option<Key> {
    let cursor: Cursor = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let texts = [cursor.key.sorted_by.as_deref().unwrap_or(""), &cursor.key.sourced_id];
    (cursor.order == mark(order) && !texts.iter().any(|text| text.contains('\0'))).then_some(cursor.key)
}

#[cfg(test)]
mod tests {
    use async_graphql::value;

    use super::*;
    use crate::query::path::Operand;
    use crate::roster::EntityType;

    fn read(sort: Option<&Sort>, arguments: Value) -> Result<Page, Refusal> {
        let Value::Object(arguments) = arguments else { panic!() };
        Page::read(sort, |name| arguments.get(name).cloned().unwrap_or_default(), 100)
    }

    #[test]
    fn pages_go_one_way() {
        assert_eq!(read(None, value!({})).unwrap().limit, DEFAULT);
        assert!(read(None, value!({ "last": 3 })).unwrap().backward);
        for bad in [
            value!({ "first": 1, "last": 1 }),
            value!({ "first": (-1) }),
            value!({ "first": 101 }),
            value!({ "first": 1.5 }),
            value!({ "after": "x" }),
        ] {
            assert!(read(None, bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn cursors_belong_to_an_order() {
        let operand = Operand::resolve(EntityType::User, "familyName").unwrap();
        let sort = Sort { operand, descending: false };
        let row =
            Row { sourced_id: "u".into(), since: 1, key: Some("佐藤".into()), doc: String::new(), person: None };
        let cursor = read(Some(&sort), value!({})).unwrap().cursor(&row);
        let page = read(Some(&sort), value!({ "after": (cursor.as_str()) })).unwrap();
        assert_eq!(page.start, Start::After(Key { sorted_by: Some("佐藤".into()), sourced_id: "u".into() }));
        assert!(read(None, value!({ "after": (cursor.as_str()) })).is_err());
    }
}
