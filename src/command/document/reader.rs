//! Records out of objects: their members, those nested in them, and whom they refer to.

use std::collections::BTreeSet;

use chrono::DateTime;
use serde_json::{Map, Value};

use super::values::guid_ref;
use super::{DocumentFault, Draft, Named, Part};
use crate::command::entry::check;
use crate::roster::nested::{CHILDREN, Nested};
use crate::roster::{Code, EntityType, Fault, Field, Kind, Record, is_sourced_id, with_record};

/// More faults of one document are not told.
const MOST_FAULTS: usize = 1_000;
/// Items of a list of nested records.
const MOST_PARTS: usize = 200;
/// Reads members one after another, and gathers what is wrong.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) faults: Vec<DocumentFault>,
    references: Vec<Named>,
}

/// A member that is a field of a record: the field's JSON name, its place, its value.
type Member<'a> = (&'a str, String, &'a Value);

impl Reader {
    pub(super) fn fault(&mut self, field: &str, code: Code, value: &str, personal: bool) {
        // Names of members are the client's: no longer than needed, and no line breaks in what may be logged.
        if self.faults.len() >= MOST_FAULTS {
            return;
        }
        let field = field.chars().filter(|c| !c.is_control()).take(255).collect();
        let value = Fault::new(code, "", value, personal).value;
        self.faults.push(DocumentFault { operation: 0, field, code, value });
    }

    pub(super) fn wrong_type<T>(&mut self, field: &str) -> Option<T> {
        self.fault(field, Code::WrongType, "", false);
        None
    }

    pub(super) fn text<'a>(&mut self, place: &str, value: &'a Value) -> Option<&'a str> {
        value.as_str().or_else(|| self.wrong_type(place))
    }

    /// A list that is not too long.
    pub(super) fn list<'a>(&mut self, place: &str, value: &'a Value, most: usize) -> Option<&'a Vec<Value>> {
        let items = value.as_array().or_else(|| self.wrong_type(place))?;
        if items.len() > most {
            self.fault(place, Code::TooMany, &items.len().to_string(), false);
            return None;
        }
        Some(items)
    }

    pub(super) fn draft<R: Record>(&mut self, sourced_id: &str, members: &Map<String, Value>) -> Draft {
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
        let Some(items) = self.list(nested.member, value, MOST_PARTS) else { return Vec::new() };
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
            if self.faults.len() < MOST_FAULTS
                && (fault.code != Code::MissingRequired || !self.faults[first..].iter().any(told))
            {
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
}

/// Whether a place is another one or lies in it.
fn inside(place: &str, other: &str) -> bool {
    place.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Where the field of a CSV column stands in a document.
fn place_of(fields: &[Field], within: Option<&Nested>, column: &str) -> String {
    match fields.iter().find(|f| f.csv == column) {
        Some(field) => within.map_or_else(|| field.json.to_owned(), |nested| nested.place(field.json)),
        None => column.to_owned(),
    }
}
