//! A OneRoster JSON document read into a record by its description, with every fault and its place.
//!
//! What REST shows is what is read: base members, addresses in references and members that follow from other
//! records may stand there and are not taken over. See docs/writing.md.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value};

use super::entry::check;
use super::json::{Path, shown};
use crate::roster::field::text;
use crate::roster::japan::{extension_of_column, parse_extension};
use crate::roster::nested::{CHILDREN, Nested};
use crate::roster::value::{FieldValue, UserId};
use crate::roster::{Code, EntityType, Fault, Field, Kind, Record, is_sourced_id, with_record};

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFault {
    /// Place of the operation in its batch, from 0.
    pub operation: usize,
    /// Place in the document (`roles[0].org.sourcedId`), or empty when all of it is meant.
    pub field: String,
    pub code: Code,
    /// Masked where the field is personal.
    pub value: String,
}

/// What a document says shall stand: a record and those nested in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub kind: EntityType,
    pub sourced_id: String,
    /// `status` is `tobedeleted`.
    pub withdrawn: bool,
    /// The record as the log keeps it: a typed record's JSON.
    pub record: Value,
    /// The `type` that references to it may put a condition on.
    pub tag: Option<String>,
    pub parts: Vec<Part>,
    /// Derived, so only compared.
    pub children: Option<BTreeSet<String>>,
    /// Whom it and its parts name, but for each other.
    pub references: Vec<Named>,
}

/// A record nested in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub kind: EntityType,
    /// Place in the document (`roles[0]`).
    pub place: String,
    /// Where the document shows it.
    pub sourced_id: Option<String>,
    pub record: Value,
}

/// A reference in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    pub field: String,
    pub target: EntityType,
    /// The target's `type` must be this one.
    pub tag: Option<&'static str>,
    pub sourced_id: String,
}

impl Draft {
    /// Reads a document about the record of this id. With faults, the draft is what could be read; without a draft
    /// it was no object.
    pub fn read(
        kind: EntityType,
        sourced_id: &str,
        document: &Value,
        duplicates: &[Path],
    ) -> (Option<Self>, Vec<DocumentFault>) {
        let mut reader = Reader::default();
        for path in duplicates {
            reader.fault(&shown(path), Code::DuplicateMember, "", false);
        }
        let draft = match document {
            Value::Object(members) => Some(with_record!(kind, R => reader.draft::<R>(sourced_id, members))),
            _ => {
                reader.fault("", Code::WrongType, "", false);
                None
            }
        };
        (draft, reader.faults)
    }

    /// Whether both say the same of the record and its parts, whatever their status. The order of parts says nothing.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let parts = |draft: &Self| {
            let mut parts: Vec<_> = draft.parts.iter().map(|p| (p.kind, &p.sourced_id, p.record.to_string())).collect();
            parts.sort();
            format!("{parts:?}")
        };
        self.record == other.record && parts(self) == parts(other)
    }

    /// The record above, for those that have `parent`.
    pub fn parent(&self) -> Option<&str> {
        let parent = self.kind.parent()?;
        self.record.get(parent.json)?.get("sourcedId")?.as_str()
    }
}

/// Metadata that is no known extension: any text, which may be personal.
static UNKNOWN: Field = text("metadata").personal();

#[derive(Default)]
struct Reader {
    faults: Vec<DocumentFault>,
    references: Vec<Named>,
}

/// A member that is a field of a record: the field's JSON name, its place, its value.
type Member<'a> = (&'a str, String, &'a Value);

impl Reader {
    fn fault(&mut self, field: &str, code: Code, value: &str, personal: bool) {
        // Names of members are the client's: no longer than needed, and no line breaks in what may be logged.
        let field = field.chars().filter(|c| !c.is_control()).take(255).collect();
        let value = Fault::new(code, "", value, personal).value;
        self.faults.push(DocumentFault { operation: 0, field, code, value });
    }

    fn wrong_type<T>(&mut self, field: &str) -> Option<T> {
        self.fault(field, Code::WrongType, "", false);
        None
    }

    fn text<'a>(&mut self, place: &str, value: &'a Value) -> Option<&'a str> {
        value.as_str().or_else(|| self.wrong_type(place))
    }

    fn draft<R: Record>(&mut self, sourced_id: &str, members: &Map<String, Value>) -> Draft {
        let kind = R::ENTITY.kind;
        if !is_sourced_id(sourced_id) {
            self.fault("sourcedId", Code::BadSourcedId, sourced_id, false);
        }
        let mut own: Vec<Member> = Vec::with_capacity(members.len());
        let mut parts = Vec::new();
        let mut children = None;
        let mut withdrawn = false;
        for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            match name.as_str() {
                "sourcedId" => {
                    if let Some(id) = self.text(name, value).filter(|id| *id != sourced_id) {
                        self.fault(name, Code::SourcedIdMismatch, id, false);
                    }
                }
                "status" => match value.as_str() {
                    Some("active") => {}
                    Some("tobedeleted") => withdrawn = true,
                    Some(other) => self.fault(name, Code::BadEnum, other, false),
                    None => self.fault(name, Code::WrongType, "", false),
                },
                "dateLastModified" => {
                    if let Some(text) = self.text(name, value).filter(|t| DateTime::parse_from_rfc3339(t).is_err()) {
                        self.fault(name, Code::BadDateTime, text, false);
                    }
                }
                // Dropped, as in CSV: the log is never changed.
                "password" if kind == EntityType::User => {}
                CHILDREN if kind.parent().is_some() => children = self.children(kind, value),
                name => match kind.nested().find(|n| n.member == name) {
                    Some(nested) => parts = [parts, self.parts(nested, sourced_id, value)].concat(),
                    None => own.push((name, name.to_owned(), value)),
                },
            }
        }
        if let Some(target) = R::ENTITY.identified_by {
            let named = Named { field: "sourcedId".into(), target, tag: None, sourced_id: sourced_id.to_owned() };
            self.references.push(named);
        }
        let first = self.faults.len();
        let record: R = self.record("", None, sourced_id, own, first);
        Draft {
            kind,
            sourced_id: sourced_id.to_owned(),
            withdrawn,
            tag: record.tag().map(str::to_owned),
            record: serde_json::to_value(record).unwrap_or_default(),
            parts,
            children,
            references: std::mem::take(&mut self.references),
        }
    }

    fn children(&mut self, kind: EntityType, value: &Value) -> Option<BTreeSet<String>> {
        let parent = kind.parent()?;
        let items = value.as_array().or_else(|| self.wrong_type(CHILDREN))?;
        let ids = items.iter().enumerate().filter_map(|(i, item)| {
            let reference = self.reference(parent, &format!("{CHILDREN}[{i}]"), item)?;
            Some(reference.get("sourcedId")?.as_str()?.to_owned())
        });
        Some(ids.collect())
    }

    fn parts(&mut self, nested: &'static Nested, owner: &str, value: &Value) -> Vec<Part> {
        let Some(items) = value.as_array() else {
            self.fault(nested.member, Code::WrongType, "", false);
            return Vec::new();
        };
        let mut parts = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let place = format!("{}[{i}]", nested.member);
            let Some(members) = item.as_object() else {
                self.fault(&place, Code::WrongType, "", false);
                continue;
            };
            let first = self.faults.len();
            let (sourced_id, own) = self.part(nested, &place, members);
            let record = with_record!(nested.kind, P => {
                let part: P = self.record(&format!("{place}."), Some((nested, owner)), "", own, first);
                serde_json::to_value(part).unwrap_or_default()
            });
            parts.push(Part { kind: nested.kind, place, sourced_id, record });
        }
        parts
    }

    /// A nested record's id and its members, those that stand deeper included.
    fn part<'a>(
        &mut self,
        nested: &'static Nested,
        place: &str,
        members: &'a Map<String, Value>,
    ) -> (Option<String>, Vec<Member<'a>>) {
        let mut own: Vec<Member> = Vec::with_capacity(members.len() + 1);
        for (name, value) in members.iter().filter(|(name, v)| !v.is_null() && Some(name.as_str()) != nested.id) {
            let place = format!("{place}.{name}");
            let Some(inner) = nested.inner.as_ref().filter(|i| i.member == name) else {
                // A field that stands deeper, and the owner, are no members here.
                let elsewhere = name == nested.owner_field || nested.place(name) != *name;
                if elsewhere {
                    self.fault(&place, Code::UnknownMember, "", false);
                } else {
                    own.push((name, place, value));
                }
                continue;
            };
            match value.as_array().map(Vec::as_slice) {
                Some([Value::Object(item)]) => {
                    for (name, value) in item.iter().filter(|(_, value)| !value.is_null()) {
                        let place = format!("{place}[0].{name}");
                        match inner.fields.iter().find(|(_, shown)| *shown == name) {
                            Some((field, _)) => own.push((field, place, value)),
                            None if name == "password" => {} // dropped
                            None => self.fault(&place, Code::UnknownMember, "", false),
                        }
                    }
                }
                Some([]) => {} // its fields are then missing, and named
                Some([_]) => self.fault(&format!("{place}[0]"), Code::WrongType, "", false),
                Some(_) => self.fault(&place, Code::OneCredential, "", false),
                None => self.fault(&place, Code::WrongType, "", false),
            }
        }
        let Some(id_member) = nested.id else { return (None, own) };
        let place = format!("{place}.{id_member}");
        let sourced_id = match members.get(id_member) {
            None | Some(Value::Null) => {
                self.fault(&place, Code::MissingRequired, "", false);
                None
            }
            Some(value) => self.text(&place, value).map(str::to_owned),
        };
        if let Some(id) = sourced_id.as_ref().filter(|id| !is_sourced_id(id)) {
            self.fault(&place, Code::BadSourcedId, id, false);
        }
        (sourced_id, own)
    }

    /// Reads a record's members; checks it, and notes whom it refers to. `prefix`: place of the record, with a dot.
    /// `within`: how it is nested, and its owner's id. `first`: where its faults begin.
    fn record<R: Record>(
        &mut self,
        prefix: &str,
        within: Option<(&'static Nested, &str)>,
        sourced_id: &str,
        members: Vec<Member>,
        first: usize,
    ) -> R {
        let mut plain = Map::new();
        for (name, place, value) in members {
            let value = match R::ENTITY.fields.iter().find(|f| f.json == name) {
                Some(field) => self.value(field, &place, value),
                // JSON has metadata on records that have documents of their own.
                None if name == "metadata" && within.is_none() => self.metadata(R::ENTITY.kind, value),
                None => {
                    self.fault(&place, Code::UnknownMember, "", false);
                    continue;
                }
            };
            if let Some(value) = value {
                plain.insert(name.to_owned(), value);
            }
        }
        let owner = within.and_then(|(nested, id)| Some((nested.owner_field, nested.owner_reference()?, id)));
        if let Some((member, field, id)) = owner {
            plain.insert(member.to_owned(), guid_ref(field, id));
        }
        // Every value has been read by its description; what is left over for serde is nothing.
        let mut record: R = serde_json::from_value(Value::Object(plain)).unwrap_or_else(|_| {
            self.fault(prefix.trim_end_matches('.'), Code::WrongType, "", false);
            R::default()
        });
        record.fill();
        for fault in check(&record, sourced_id) {
            let place = format!("{prefix}{}", place_of(R::ENTITY.fields, within.map(|w| w.0), fault.column));
            // A value that could not be read is not missing as well.
            let told = |f: &DocumentFault| inside(&f.field, &place) || inside(&place, &f.field);
            if fault.code != Code::MissingRequired || !self.faults[first..].iter().any(told) {
                self.faults.push(DocumentFault { operation: 0, field: place, code: fault.code, value: fault.value });
            }
        }
        self.note_references(&record, prefix, owner.map(|o| o.0));
        record
    }

    fn note_references<R: Record>(&mut self, record: &R, prefix: &str, owner_field: Option<&str>) {
        let mut last = ("", 0);
        record.each_reference(&mut |field, id| {
            last = (field.json, if last.0 == field.json { last.1 + 1 } else { 0 });
            let Some(reference) = field.reference.filter(|r| {
                // Profiles that roles name are looked at together with their user.
                Some(field.json) != owner_field && r.target.nesting().is_none()
            }) else {
                return;
            };
            let place = match field.kind {
                Kind::GuidRef => format!("{prefix}{}.sourcedId", field.json),
                Kind::GuidRefList => format!("{prefix}{}[{}].sourcedId", field.json, last.1),
                _ => format!("{prefix}{}", place_of(R::ENTITY.fields, None, field.csv)),
            };
            let (target, tag) = (reference.target, reference.tag);
            self.references.push(Named { field: place, target, tag, sourced_id: id.to_owned() });
        });
    }

    /// A field's value as a record keeps it; none when it is absent or cannot be read.
    fn value(&mut self, field: &Field, place: &str, value: &Value) -> Option<Value> {
        match field.kind {
            Kind::TextList | Kind::GuidRefList | Kind::UserIds => {
                let items = value.as_array().or_else(|| self.wrong_type(place))?;
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
                        self.fault(&place, code, text, field.personal);
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
            self.fault(&place, code, &part, field.personal);
            return None;
        }
        serde_json::to_value(id).ok()
    }

    /// `{"href":…,"sourcedId":…,"type":…}`. The id counts: an address is not looked at, and the type is known.
    fn reference(&mut self, field: &Field, place: &str, value: &Value) -> Option<Value> {
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
    fn metadata(&mut self, kind: EntityType, value: &Value) -> Option<Value> {
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

/// Whether a place is another one or lies in it.
fn inside(place: &str, other: &str) -> bool {
    place.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn guid_ref(field: &Field, sourced_id: &str) -> Value {
    let kind = field.reference.map_or("", |r| r.target.name());
    serde_json::json!({ "sourcedId": sourced_id, "type": kind })
}

/// Where the field of a CSV column stands in a document.
fn place_of(fields: &[Field], within: Option<&Nested>, column: &str) -> String {
    match fields.iter().find(|f| f.csv == column) {
        Some(field) => within.map_or_else(|| field.json.to_owned(), |nested| nested.place(field.json)),
        None => column.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(kind: EntityType, document: Value) -> Vec<(String, Code, String)> {
        let (_, faults) = Draft::read(kind, "x", &document, &[]);
        faults.into_iter().map(|f| (f.field, f.code, f.value)).collect()
    }

    fn draft(kind: EntityType, document: Value) -> Draft {
        let (draft, faults) = Draft::read(kind, "x", &document, &[]);
        assert_eq!(faults, []);
        draft.unwrap()
    }

    fn fault(field: &str, code: Code, value: &str) -> (String, Code, String) {
        (field.to_owned(), code, value.to_owned())
    }

    #[test]
    fn what_a_read_shows_is_what_the_log_keeps() {
        let read = draft(
            EntityType::Class,
            json!({
                "sourcedId": "x", "status": "active", "dateLastModified": "2026-04-01T00:00:00.000Z",
                "title": "1年1組", "classType": "homeroom", "grades": ["P1"], "location": "", "classCode": null,
                "course": { "href": "http://h/courses/c", "sourcedId": "c", "type": "course" },
                "school": { "sourcedId": "s" }, "terms": [{ "sourcedId": "t", "type": "academicSession" }],
                "metadata": { "jp.specialNeeds": true, "room": 12, "x": "y", "none": null }
            }),
        );
        assert_eq!(
            read.record,
            json!({
                "title": "1年1組", "grades": ["P1"], "course": { "sourcedId": "c", "type": "course" },
                "classType": "homeroom", "school": { "sourcedId": "s", "type": "org" },
                "terms": [{ "sourcedId": "t", "type": "academicSession" }],
                "metadata": { "jp.specialNeeds": "true", "room": "12", "x": "y" }
            })
        );
        let named: Vec<_> = read.references.iter().map(|r| (r.field.as_str(), r.sourced_id.as_str(), r.tag)).collect();
        assert_eq!(
            named,
            [
                ("course.sourcedId", "c", None),
                ("school.sourcedId", "s", Some("school")),
                ("terms[0].sourcedId", "t", None)
            ]
        );
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        assert_eq!(
            faults(
                EntityType::Class,
                json!({
                    "sourcedId": "y", "status": "gone", "dateLastModified": "yesterday", "title": 5,
                    "grades": ["P1", 2, ""], "colour": "red", "classType": "x",
                    "course": { "sourcedId": "a b", "type": "org", "name": "?" }, "school": "s",
                    "terms": [{ "type": "academicSession" }, { "href": 1, "sourcedId": "t" }],
                    "subjectCodes": ["1"], "metadata": { "jp.specialNeeds": "yes", "list": [], "": "x" }
                })
            ),
            [
                fault("sourcedId", Code::SourcedIdMismatch, "y"),
                fault("status", Code::BadEnum, "gone"),
                fault("dateLastModified", Code::BadDateTime, "yesterday"),
                fault("title", Code::WrongType, ""),
                fault("grades[1]", Code::WrongType, ""),
                fault("grades[2]", Code::MissingRequired, ""),
                fault("colour", Code::UnknownMember, ""),
                fault("course.type", Code::ReferenceType, "org"),
                fault("course.name", Code::UnknownMember, ""),
                fault("course.sourcedId", Code::BadSourcedId, "a b"),
                fault("school", Code::WrongType, ""),
                fault("terms[0].sourcedId", Code::MissingRequired, ""),
                fault("terms[1].href", Code::WrongType, ""),
                fault("metadata.jp.specialNeeds", Code::BadBoolean, "yes"),
                fault("metadata.list", Code::WrongType, ""),
                fault("metadata.", Code::BadText, ""),
                fault("classType", Code::BadEnum, "x"),
                fault("subjectCodes", Code::SubjectCodes, "1"),
            ]
        );
        let missing: Vec<_> = faults(EntityType::Enrollment, json!({})).into_iter().map(|f| f.0).collect();
        assert_eq!(missing, ["class", "school", "user", "role"]);
        assert_eq!(faults(EntityType::Org, json!([])), [fault("", Code::WrongType, "")]);
    }

    #[test]
    fn personal_values_are_masked() {
        let user = json!({
            "enabledUser": "perhaps", "givenName": "花\n子", "familyName": "", "email": 1,
            "userIds": [{ "type": "a" }, { "type": "b", "identifier": "\u{1}" }, "x"],
            "agents": [{ "sourcedId": "a b" }], "metadata": { "jp.kanaGivenName": "\u{1}", "other": "\u{1}" }
        });
        assert_eq!(
            faults(EntityType::User, user),
            [
                fault("enabledUser", Code::BadBoolean, "perhaps"),
                fault("email", Code::WrongType, ""),
                fault("userIds[0].identifier", Code::MissingRequired, ""),
                fault("userIds[1]", Code::BadText, "***"),
                fault("userIds[2]", Code::WrongType, ""),
                fault("agents[0].sourcedId", Code::BadSourcedId, "***"),
                fault("metadata.jp.kanaGivenName", Code::BadText, "***"),
                fault("metadata.other", Code::BadText, "***"),
                fault("givenName", Code::BadText, "***"),
                fault("familyName", Code::MissingRequired, ""),
            ]
        );
    }

    #[test]
    fn roles_and_profiles_are_records_of_their_own() {
        let user = json!({
            "enabledUser": true, "givenName": "花子", "familyName": "佐藤", "password": "secret",
            "roles": [{
                "roleType": "primary", "role": "student", "org": { "sourcedId": "s", "type": "org" },
                "userProfile": "p", "beginDate": "2026-04-01"
            }],
            "userProfiles": [{
                "profileId": "p", "profileType": "t", "vendorId": "v",
                "credentials": [{ "type": "password", "username": "hanako", "password": "secret" }]
            }]
        });
        let draft = draft(EntityType::User, user);
        assert!(!format!("{draft:?}").contains("secret"));
        assert_eq!(
            draft.parts[0].record,
            json!({
                "user": { "sourcedId": "x", "type": "user" }, "roleType": "primary", "role": "student",
                "beginDate": "2026-04-01", "org": { "sourcedId": "s", "type": "org" }, "userProfile": "p"
            })
        );
        assert_eq!(draft.parts[1].sourced_id.as_deref(), Some("p"));
        assert_eq!(
            draft.parts[1].record,
            json!({
                "user": { "sourcedId": "x", "type": "user" }, "profileType": "t", "vendorId": "v",
                "credentialType": "password", "username": "hanako"
            })
        );
        let named: Vec<_> = draft.references.iter().map(|r| r.field.as_str()).collect();
        assert_eq!(named, ["roles[0].org.sourcedId"]);
    }

    #[test]
    fn faults_of_roles_and_profiles_have_their_place() {
        let user = json!({
            "enabledUser": "true", "givenName": "花子", "familyName": "佐藤",
            "roles": [
                { "roleType": "first", "org": { "sourcedId": "s", "type": "class" }, "user": {}, "metadata": {} },
                "student",
                { "roleType": "primary", "role": "student", "org": { "sourcedId": "s" }, "beginDate": "2026-04-02",
                  "endDate": "2026-04-01" }
            ],
            "userProfiles": [
                { "profileType": "t", "vendorId": "v", "credentials": [] },
                { "profileId": "a b", "profileType": "t", "vendorId": "v", "username": "u",
                  "credentials": [{ "type": "a", "username": "b", "extra": 1 }] },
                { "profileId": "q", "profileType": "t", "vendorId": "v", "credentials": [{}, {}] },
                { "profileId": "r", "profileType": "t", "vendorId": "v", "credentials": {} }
            ]
        });
        assert_eq!(
            faults(EntityType::User, user),
            [
                fault("roles[0].user", Code::UnknownMember, ""),
                fault("roles[0].org.type", Code::ReferenceType, "class"),
                fault("roles[0].metadata", Code::UnknownMember, ""),
                fault("roles[0].roleType", Code::BadEnum, "first"),
                fault("roles[0].role", Code::MissingRequired, ""),
                fault("roles[1]", Code::WrongType, ""),
                fault("roles[2].endDate", Code::DatesReversed, "2026-04-01"),
                fault("userProfiles[0].profileId", Code::MissingRequired, ""),
                fault("userProfiles[0].credentials[0].type", Code::MissingRequired, ""),
                fault("userProfiles[0].credentials[0].username", Code::MissingRequired, ""),
                fault("userProfiles[1].username", Code::UnknownMember, ""),
                fault("userProfiles[1].credentials[0].extra", Code::UnknownMember, ""),
                fault("userProfiles[1].profileId", Code::BadSourcedId, "a b"),
                fault("userProfiles[2].credentials", Code::OneCredential, ""),
                fault("userProfiles[3].credentials", Code::WrongType, ""),
            ]
        );
    }

    #[test]
    fn older_spellings_of_extensions_are_understood() {
        let enrollment = |metadata: Value| {
            json!({
                "class": { "sourcedId": "c" }, "school": { "sourcedId": "s" }, "user": { "sourcedId": "u" },
                "role": "student", "metadata": metadata
            })
        };
        let read = draft(EntityType::Enrollment, enrollment(json!({ "jp.ShussekiNo": 5 })));
        assert_eq!(read.record["metadata"], json!({ "jp.shussekiNo": "5" }));
        assert_eq!(read.record["primary"], "false", "required in JSON");
        let both = json!({ "jp.ShussekiNo": "5", "jp.shussekiNo": "6" });
        assert_eq!(
            faults(EntityType::Enrollment, enrollment(both)),
            [fault("metadata.jp.shussekiNo", Code::DuplicateMember, "")]
        );
    }
}
