//! JSON as clients send it: read with nothing lost, and patched.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Steps from the root: names of members, and `[n]` for items.
pub type Path = Vec<String>;

/// More are not told: a text can hold very many.
const MOST_DUPLICATES: usize = 1_000;

/// A JSON text that has been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Json {
    pub value: Value,
    /// Members that stand more than once in their object. `value` has the last; most parsers keep that silently.
    pub duplicates: Vec<Path>,
}

/// Not JSON. The reason shows nothing of the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON, at line {line}, column {column}: {reason}")]
pub struct Malformed {
    pub line: usize,
    pub column: usize,
    pub reason: String,
}

impl Json {
    pub fn read(text: &[u8]) -> Result<Self, Malformed> {
        let mut reading = Reading::default();
        let mut parser = serde_json::Deserializer::from_slice(text);
        let value = Seed(&mut reading).deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
        let value = value.map_err(|error| Malformed {
            line: error.line(),
            column: error.column(),
            reason: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
        })?;
        Ok(Self { value, duplicates: reading.duplicates })
    }

    /// What stands at the member, if it is there; the object is left without it.
    pub fn take(&mut self, member: &str) -> Option<Self> {
        let value = self.value.as_object_mut()?.remove(member)?;
        Some(Self { value, duplicates: self.below(member) })
    }

    /// The items of a list.
    pub fn into_items(mut self) -> Result<Vec<Self>, Self> {
        let Value::Array(items) = std::mem::take(&mut self.value) else { return Err(self) };
        Ok(items
            .into_iter()
            .enumerate()
            .map(|(i, value)| Self { value, duplicates: self.below(&format!("[{i}]")) })
            .collect())
    }

    /// Duplicates inside the step, as seen from there.
    fn below(&self, step: &str) -> Vec<Path> {
        let inside = self.duplicates.iter().filter(|path| path.len() > 1 && path[0] == step);
        inside.map(|path| path[1..].to_vec()).collect()
    }
}

/// A path as errors show it: `roles[0].org.sourcedId`.
pub fn shown(path: &[String]) -> String {
    let mut text = String::new();
    for step in path {
        if !text.is_empty() && !step.starts_with('[') {
            text.push('.');
        }
        text.push_str(step);
    }
    text
}

/// JSON Merge Patch (RFC 7396): null removes, objects merge, everything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            object.shift_remove(name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[derive(Default)]
struct Reading {
    path: Path,
    duplicates: Vec<Path>,
}

struct Seed<'a>(&'a mut Reading);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.0.path.push(format!("[{}]", items.len()));
            let item = seq.next_element_seed(Seed(self.0))?;
            self.0.path.pop();
            match item {
                Some(item) => items.push(item),
                None => return Ok(items.into()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            self.0.path.push(name.clone());
            let value = map.next_value_seed(Seed(self.0))?;
            if object.insert(name, value).is_some() && self.0.duplicates.len() < MOST_DUPLICATES {
                self.0.duplicates.push(self.0.path.clone());
            }
            self.0.path.pop();
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Json {
        Json::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        for text in [r#"{"a":[1,-2,3.5,true,null,"あ\n"],"b":{"c":{}}}"#, "[]", "0", r#""x""#, "18446744073709551615"]
        {
            assert_eq!(read(text), Json { value: serde_json::from_str(text).unwrap(), duplicates: vec![] });
        }
    }

    #[test]
    fn duplicates_are_told_with_their_place() {
        let mut json = read(r#"{"a":1,"b":[{"c":1,"c":2},{"d":{"e":1,"e":1}}],"a":2}"#);
        let places: Vec<_> = json.duplicates.iter().map(|path| shown(path)).collect();
        assert_eq!(places, ["b[0].c", "b[1].d.e", "a"]);
        let items = json.take("b").unwrap().into_items().unwrap();
        assert_eq!(items[0].duplicates, [["c"]]);
        assert_eq!(items[1].duplicates, [["d", "e"]]);
    }

    #[test]
    fn what_is_not_json_is_told_with_line_and_column() {
        let malformed = Json::read(b"{\n  \"a\": 1,\n  \"b\": secret\n}").unwrap_err();
        assert_eq!((malformed.line, malformed.column), (3, 8));
        assert!(!malformed.reason.contains("secret") && !malformed.reason.contains("line"), "{malformed}");
        let deep = "[".repeat(10_000);
        for bad in ["", "{", "{}{}", "{\"a\" 1}", "\"\\ud800\"", "1e999", "nul", deep.as_str()] {
            assert!(Json::read(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Json::read(b"\"\xff\"").is_err());
    }

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn patches_merge_as_the_rfc_says() {
        for (target, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"b"}), json!(["c"]), json!(["c"])),
            (json!({"a":"foo"}), json!(null), json!(null)),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{target} {patch}");
        }
    }
}
