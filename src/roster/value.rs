//! The Rust types that fields have, with their CSV reading and their checks.

use std::fmt::Write as _;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::fault::Code;
use super::field::{Field, Kind};
use super::{EntityType, is_sourced_id};

/// Longest text kept, in characters. The binding asks for at least 255.
const LONGEST_TEXT: usize = 4_000;

pub type Text = Option<String>;
pub type TextList = Vec<String>;
pub type Date = Option<NaiveDate>;
pub type Ref = Option<GuidRef>;
pub type Refs = Vec<GuidRef>;

/// A boolean that JSON shows as the string `"true"` or `"false"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag(pub bool);

/// A reference without address: `{"sourcedId":"…","type":"class"}`. Addresses are added when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuidRef {
    #[serde(rename = "sourcedId")]
    pub sourced_id: String,
    #[serde(rename = "type")]
    pub kind: EntityType,
}

/// An id of a user in another system: `{"type":"studentNo","identifier":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserId {
    #[serde(rename = "type")]
    pub kind: String,
    pub identifier: String,
}

/// What generic code does with a field's value.
pub trait FieldValue: Sized {
    fn is_absent(&self) -> bool;
    /// Reads the non-empty text of a CSV field.
    fn parse(field: &Field, raw: &str) -> Result<Self, Code>;
    /// Checks a value that is there; tells the offending part.
    fn check(&self, field: &Field) -> Result<(), (Code, String)>;
    /// Calls `f` with each sourcedId the value names.
    fn each_reference(&self, _f: &mut dyn FnMut(&str)) {}
    /// Sets what JSON shows when the member is required and the record has none.
    fn fill(&mut self) {}
    /// Adds the text of the CSV field, without its quotes. References are left out where `keep` says no to the id. Gives
    /// the number of parts that do not stand there as they are.
    fn write(&self, keep: &dyn Fn(&str) -> bool, out: &mut String) -> u64;
}

/// What holds for every text.
pub fn check_text(text: &str) -> Result<(), Code> {
    if text.chars().any(char::is_control) {
        Err(Code::BadText)
    } else if text.contains(char::REPLACEMENT_CHARACTER) {
        Err(Code::BadCharacter) // some program lost a character
    } else if text.len() > LONGEST_TEXT && text.chars().count() > LONGEST_TEXT {
        Err(Code::TooLong)
    } else {
        Ok(())
    }
}

/// Adds an item of a list in CSV; false when it is empty.
fn push_item(item: &str, out: &mut String, begin: usize) -> bool {
    if item.is_empty() {
        return false;
    }
    if out.len() > begin {
        out.push(',');
    }
    out.push_str(item);
    true
}

fn split_list(raw: &str) -> Result<impl Iterator<Item = &str>, Code> {
    if raw.split(',').any(|item| item.is_empty() || item.trim() != item) {
        return Err(Code::BadList);
    }
    Ok(raw.split(','))
}

impl FieldValue for Option<String> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
    fn parse(_: &Field, raw: &str) -> Result<Self, Code> {
        Ok(Some(raw.to_owned()))
    }
    fn check(&self, field: &Field) -> Result<(), (Code, String)> {
        let Some(text) = self else { return Ok(()) };
        check_text(text)
            .and_then(|()| match field.kind {
                Kind::Token(vocabulary) if !vocabulary.contains(text) => Err(Code::BadEnum),
                Kind::Year if text.len() != 4 || !text.bytes().all(|b| b.is_ascii_digit()) => Err(Code::BadYear),
                Kind::Guid if !is_sourced_id(text) => Err(Code::BadSourcedId),
                Kind::Integer if text.parse::<i64>().is_err() => Err(Code::BadInteger),
                _ => Ok(()),
            })
            .map_err(|code| (code, text.clone()))
    }
    fn each_reference(&self, f: &mut dyn FnMut(&str)) {
        if let Some(id) = self {
            f(id);
        }
    }
    fn fill(&mut self) {
        self.get_or_insert_default();
    }
    fn write(&self, _: &dyn Fn(&str) -> bool, out: &mut String) -> u64 {
        out.push_str(self.as_deref().unwrap_or_default());
        0
    }
}

impl FieldValue for Vec<String> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
    fn parse(_: &Field, raw: &str) -> Result<Self, Code> {
        Ok(split_list(raw)?.map(str::to_owned).collect())
    }
    fn check(&self, _: &Field) -> Result<(), (Code, String)> {
        self.iter().try_for_each(|item| check_text(item).map_err(|code| (code, item.clone())))
    }
    /// A comma within an item is left out, as the binding wants it of subjects; so are blanks around it.
    fn write(&self, _: &dyn Fn(&str) -> bool, out: &mut String) -> u64 {
        let begin = out.len();
        let mut changed = 0;
        for item in self {
            if item.contains(',') || item.trim() != item {
                push_item(item.replace(',', "").trim(), out, begin);
                changed += 1;
            } else {
                push_item(item, out, begin);
            }
        }
        changed
    }
}

impl FieldValue for Option<Flag> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
    fn parse(_: &Field, raw: &str) -> Result<Self, Code> {
        match raw {
            "true" => Ok(Some(Flag(true))),
            "false" => Ok(Some(Flag(false))),
            _ => Err(Code::BadBoolean),
        }
    }
    fn check(&self, _: &Field) -> Result<(), (Code, String)> {
        Ok(())
    }
    fn fill(&mut self) {
        self.get_or_insert(Flag(false));
    }
    fn write(&self, _: &dyn Fn(&str) -> bool, out: &mut String) -> u64 {
        if let Some(Flag(yes)) = self {
            out.push_str(if *yes { "true" } else { "false" });
        }
        0
    }
}

impl FieldValue for Option<NaiveDate> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
    fn parse(_: &Field, raw: &str) -> Result<Self, Code> {
        let digits = |range: std::ops::Range<usize>| {
            raw.get(range)
                .filter(|part| part.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|part| part.parse::<u32>().ok())
        };
        let date = || {
            let separated = raw.len() == 10 && raw.as_bytes()[4] == b'-' && raw.as_bytes()[7] == b'-';
            let year = digits(0..4).filter(|_| separated)?;
            NaiveDate::from_ymd_opt(year as i32, digits(5..7)?, digits(8..10)?)
        };
        date().map(Some).ok_or(Code::BadDate)
    }
    fn check(&self, _: &Field) -> Result<(), (Code, String)> {
        Ok(())
    }
    fn write(&self, _: &dyn Fn(&str) -> bool, out: &mut String) -> u64 {
        if let Some(date) = self {
            // Writing to a string does not fail.
            let _ = write!(out, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day());
        }
        0
    }
}

impl FieldValue for Option<GuidRef> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
    fn parse(field: &Field, raw: &str) -> Result<Self, Code> {
        Ok(Some(GuidRef::of(field, raw)?))
    }
    fn check(&self, field: &Field) -> Result<(), (Code, String)> {
        self.iter().try_for_each(|r| r.check(field))
    }
    fn each_reference(&self, f: &mut dyn FnMut(&str)) {
        if let Some(reference) = self {
            f(&reference.sourced_id);
        }
    }
    fn write(&self, keep: &dyn Fn(&str) -> bool, out: &mut String) -> u64 {
        match self {
            Some(reference) if !keep(&reference.sourced_id) => 1,
            Some(reference) => {
                out.push_str(&reference.sourced_id);
                0
            }
            None => 0,
        }
    }
}

impl FieldValue for Vec<GuidRef> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
    fn parse(field: &Field, raw: &str) -> Result<Self, Code> {
        split_list(raw)?.map(|id| GuidRef::of(field, id)).collect()
    }
    fn check(&self, field: &Field) -> Result<(), (Code, String)> {
        self.iter().try_for_each(|r| r.check(field))
    }
    fn each_reference(&self, f: &mut dyn FnMut(&str)) {
        self.iter().for_each(|r| f(&r.sourced_id));
    }
    fn write(&self, keep: &dyn Fn(&str) -> bool, out: &mut String) -> u64 {
        let begin = out.len();
        self.iter().filter(|r| !(keep(&r.sourced_id) && push_item(&r.sourced_id, out, begin))).count() as u64
    }
}

impl GuidRef {
    fn of(field: &Field, id: &str) -> Result<Self, Code> {
        let reference = field.reference.ok_or(Code::BadSourcedId)?;
        Ok(Self { sourced_id: id.to_owned(), kind: reference.target })
    }
    fn check(&self, field: &Field) -> Result<(), (Code, String)> {
        if field.reference.is_none_or(|r| r.target != self.kind) {
            return Err((Code::ReferenceType, self.kind.name().to_owned()));
        }
        if !is_sourced_id(&self.sourced_id) {
            return Err((Code::BadSourcedId, self.sourced_id.clone()));
        }
        Ok(())
    }
}

impl FieldValue for Vec<UserId> {
    fn is_absent(&self) -> bool {
        self.is_empty()
    }
    fn parse(_: &Field, raw: &str) -> Result<Self, Code> {
        split_list(raw)?
            .map(|pair| {
                let (kind, identifier) = pair
                    .strip_prefix('{')
                    .and_then(|p| p.strip_suffix('}'))
                    .and_then(|p| p.split_once(':'))
                    .filter(|(kind, id)| !kind.is_empty() && !id.is_empty() && !id.contains(':'))
                    .ok_or(Code::BadPairs)?;
                Ok(UserId { kind: kind.to_owned(), identifier: identifier.to_owned() })
            })
            .collect()
    }
    fn check(&self, _: &Field) -> Result<(), (Code, String)> {
        self.iter()
            .flat_map(|id| [&id.kind, &id.identifier])
            .try_for_each(|part| check_text(part).map_err(|code| (code, part.clone())))
    }
    /// A pair that the binding's form cannot hold is left out.
    fn write(&self, _: &dyn Fn(&str) -> bool, out: &mut String) -> u64 {
        let begin = out.len();
        let mut left_out = 0;
        for UserId { kind, identifier } in self {
            let fits = !kind.is_empty() && !identifier.is_empty();
            if !fits || kind.contains([',', ':']) || identifier.contains([',', ':']) {
                left_out += 1;
            } else {
                push_item(&format!("{{{kind}:{identifier}}}"), out, begin);
            }
        }
        left_out
    }
}

impl Serialize for Flag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0 { "true" } else { "false" })
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <std::borrow::Cow<'_, str>>::deserialize(deserializer)?.as_ref() {
            "true" => Ok(Flag(true)),
            "false" => Ok(Flag(false)),
            _ => Err(de::Error::custom("expected the string \"true\" or \"false\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::field;

    #[test]
    fn dates_are_strict() {
        let f = field::date("birthDate");
        let parse = |raw| <Option<NaiveDate>>::parse(&f, raw);
        assert_eq!(parse("2026-04-01"), Ok(NaiveDate::from_ymd_opt(2026, 4, 1)));
        for bad in ["2026-02-30", "2026/04/01", "2026-4-1", "令和8年4月1日", "+026-04-01", "2026-04-01T"] {
            assert_eq!(parse(bad), Err(Code::BadDate), "{bad}");
        }
    }

    #[test]
    fn lists_have_no_blanks_and_no_empty_items() {
        let f = field::list("grades");
        assert_eq!(<Vec<String>>::parse(&f, "P1,P2"), Ok(vec!["P1".into(), "P2".into()]));
        for bad in ["P1, P2", "P1,", ",", "P1,,P2"] {
            assert_eq!(<Vec<String>>::parse(&f, bad), Err(Code::BadList), "{bad}");
        }
    }

    #[test]
    fn user_ids_are_pairs() {
        let f = field::user_ids("userIds");
        let ids = <Vec<UserId>>::parse(&f, "{studentNo:1},{ldap:x}").unwrap();
        assert_eq!((ids.len(), ids[1].kind.as_str(), ids[1].identifier.as_str()), (2, "ldap", "x"));
        for bad in ["studentNo:1", "{a}", "{a:}", "{:b}", "{a:b:c}"] {
            assert_eq!(<Vec<UserId>>::parse(&f, bad), Err(Code::BadPairs), "{bad}");
        }
    }
}
