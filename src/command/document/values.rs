//! Values out of JSON, each by the description of its field.

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::reader::Reader;
use crate::roster::field::text;
use crate::roster::japan::{extension_of_column, parse_extension};
use crate::roster::value::{FieldValue, UserId};
use crate::roster::{Code, EntityType, Field, Kind, is_sourced_id};

/// Items of any other list.
const MOST_ITEMS: usize = 10_000;

/// Metadata that is no known extension: any text, which may be personal.
static UNKNOWN: Field = text("metadata").personal();

impl Reader {
    /// A field's value as a record keeps it; none when it is absent or cannot be read.
    pub(super) fn value(&mut self, field: &Field, place: &str, value: &Value) -> Option<Value> {
        match field.kind {
            Kind::TextList | Kind::GuidRefList | Kind::UserIds => {
                let items = self.list(place, value, MOST_ITEMS)?;
                let items = items.iter().enumerate().filter_map(|(i, item)| {
                    let place = format!("{place}[{i}]");
                    match field.kind {
                        Kind::TextList => self.list_text(field, place, item),
                        Kind::GuidRefList => self.reference(field, &place, item),
                        _ => self.user_id(field, &place, item),
                    }
                });
                let items: Vec<Value> = items.collect();
                (!items.is_empty()).then(|| items.into())
            }
            Kind::GuidRef => self.reference(field, place, value),
            // The standard has the words in strings; many a JSON library sends the real thing.
            Kind::Flag if value.is_boolean() => Some(value.to_string().into()),
            _ => {
                let text = self.text(place, value).filter(|text| !text.is_empty())?;
                let read = match field.kind {
                    Kind::Flag if !matches!(text, "true" | "false") => Err(Code::BadBoolean),
                    Kind::Date => <Option<NaiveDate>>::parse(field, text).map(drop),
                    _ => Ok(()),
                };
                match read {
                    Ok(()) => Some(text.into()),
                    Err(code) => {
                        self.fault(place, code, text, field.personal);
                        None
                    }
                }
            }
        }
    }

    fn list_text(&mut self, field: &Field, place: String, item: &Value) -> Option<Value> {
        let text = self.text(&place, item)?;
        if text.is_empty() {
            self.fault(&place, Code::MissingRequired, "", false);
            return None;
        }
        if let Err((code, part)) = vec![text.to_owned()].check(field) {
            self.fault(&place, code, &part, field.personal);
            return None;
        }
        Some(text.into())
    }

    fn user_id(&mut self, field: &Field, place: &str, item: &Value) -> Option<Value> {
        let members = item.as_object().or_else(|| self.wrong_type(place))?;
        for name in members.keys().filter(|name| !["type", "identifier"].contains(&name.as_str())) {
            self.fault(&format!("{place}.{name}"), Code::UnknownMember, "", false);
        }
        let mut text = |name: &str| {
            let place = format!("{place}.{name}");
            let value = members.get(name).filter(|v| !v.is_null() && v.as_str() != Some(""));
            match value {
                Some(value) => self.text(&place, value).map(str::to_owned),
                None => {
                    self.fault(&place, Code::MissingRequired, "", false);
                    None
                }
            }
        };
        let (kind, identifier) = (text("type"), text("identifier"));
        let id = UserId { kind: kind?, identifier: identifier? };
        if let Err((code, part)) = vec![id.clone()].check(field) {
            self.fault(place, code, &part, field.personal);
            return None;
        }
        serde_json::to_value(id).ok()
    }

    /// `{"href":…,"sourcedId":…,"type":…}`. The id counts: an address is not looked at, and the type is known.
    pub(super) fn reference(&mut self, field: &Field, place: &str, value: &Value) -> Option<Value> {
        let members = value.as_object().or_else(|| self.wrong_type(place))?;
        let target = field.reference?.target;
        let mut id = None;
        let mut whole = true;
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            let place = format!("{place}.{name}");
            let before = self.faults.len();
            match name.as_str() {
                "href" => drop(self.text(&place, value)),
                "type" => {
                    if let Some(kind) = self.text(&place, value).filter(|kind| *kind != target.name()) {
                        self.fault(&place, Code::ReferenceType, kind, false);
                    }
                }
                "sourcedId" => id = self.text(&place, value),
                _ => self.fault(&place, Code::UnknownMember, "", false),
            }
            whole &= self.faults.len() == before;
        }
        match id {
            Some(id) if is_sourced_id(id) => whole.then(|| guid_ref(field, id)),
            Some(id) => {
                self.fault(&format!("{place}.sourcedId"), Code::BadSourcedId, id, field.personal);
                None
            }
            None => {
                if whole {
                    self.fault(&format!("{place}.sourcedId"), Code::MissingRequired, "", false);
                }
                None
            }
        }
    }

    /// Extension members. CSV knows them as text only, so whole numbers and booleans are kept as their text.
    pub(super) fn metadata(&mut self, kind: EntityType, value: &Value) -> Option<Value> {
        let members = value.as_object().or_else(|| self.wrong_type("metadata"))?;
        let mut metadata = Map::new();
        for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            let column = format!("metadata.{key}");
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Bool(_) => value.to_string(),
                Value::Number(number) if !number.is_f64() => value.to_string(),
                _ => {
                    self.fault(&column, Code::WrongType, "", false);
                    continue;
                }
            };
            if text.is_empty() {
                continue;
            }
            if key.is_empty() || key.len() > 255 || key.chars().any(char::is_control) {
                self.fault(&column, Code::BadText, "", false);
                continue;
            }
            let extension = extension_of_column(kind, &column);
            let (key, field) = extension.map_or((key.as_str(), &UNKNOWN), |e| (e.field.json, &e.field));
            match parse_extension(field, &text) {
                Ok(value) if !metadata.contains_key(key) => drop(metadata.insert(key.to_owned(), value)),
                // The older spelling beside the newer one.
                Ok(_) => self.fault(&column, Code::DuplicateMember, "", false),
                Err(code) => self.fault(&column, code, &text, field.personal),
            }
        }
        (!metadata.is_empty()).then(|| metadata.into())
    }
}

/// A reference as a record keeps it.
pub(super) fn guid_ref(field: &Field, sourced_id: &str) -> Value {
    let kind = field.reference.map_or("", |r| r.target.name());
    serde_json::json!({ "sourcedId": sourced_id, "type": kind })
}
