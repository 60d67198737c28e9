//! One field of a record type, as data.

use super::EntityType;
use super::vocabulary::Vocabulary;

/// What a field holds. JSON and CSV forms follow from it.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// String without line breaks or tabs (NormalizedString).
    Text,
    Token(&'static Vocabulary),
    /// `true` or `false`; a JSON string, never a JSON boolean.
    Flag,
    /// `YYYY-MM-DD`.
    Date,
    /// `YYYY`.
    Year,
    /// Strings; in CSV comma separated in one field.
    TextList,
    /// Reference to another record; in CSV its sourcedId.
    GuidRef,
    GuidRefList,
    /// A sourcedId that JSON shows bare, not as a GUIDRef.
    Guid,
    /// `{type:identifier}` pairs.
    UserIds,
    /// Whole number, shown as text.
    Integer,
}

/// Which records a field may name.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    pub target: EntityType,
    /// The target's `type` must be this one; `ext:` types pass (CSV binding §8).
    pub tag: Option<&'static str>,
}

/// One member of a record.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON.
    pub json: &'static str,
    /// Column in the CSV binding. The read model's column is the same in snake case.
    pub csv: &'static str,
    pub kind: Kind,
    /// Must not be blank in a CSV row.
    pub required: bool,
    /// Must be present in JSON: a text is then sent empty where the record has none.
    pub json_required: bool,
    pub reference: Option<Reference>,
    /// The binding marks it "PII sensitive": masked in error lists, never logged.
    pub personal: bool,
    /// A code or identifier: compared to the letter. Other text is compared regardless of case.
    pub exact: bool,
    /// A Japanese edition writes the literal word NULL where the binding wants nothing.
    pub null_word: bool,
    pub doc: &'static str,
}

const fn field(csv: &'static str, kind: Kind) -> Field {
    Field {
        json: "",
        csv,
        kind,
        required: false,
        json_required: false,
        reference: None,
        personal: false,
        exact: false,
        null_word: false,
        doc: "",
    }
}

pub const fn text(csv: &'static str) -> Field {
    field(csv, Kind::Text)
}
pub const fn list(csv: &'static str) -> Field {
    field(csv, Kind::TextList)
}
pub const fn flag(csv: &'static str) -> Field {
    field(csv, Kind::Flag)
}
pub const fn date(csv: &'static str) -> Field {
    field(csv, Kind::Date)
}
pub const fn year(csv: &'static str) -> Field {
    field(csv, Kind::Year).code()
}
pub const fn integer(csv: &'static str) -> Field {
    field(csv, Kind::Integer).code()
}
pub const fn user_ids(csv: &'static str) -> Field {
    field(csv, Kind::UserIds)
}
pub const fn token(csv: &'static str, vocabulary: &'static Vocabulary) -> Field {
    field(csv, Kind::Token(vocabulary)).code()
}
pub const fn guid_ref(csv: &'static str, target: EntityType) -> Field {
    field(csv, Kind::GuidRef).to(target).code()
}
pub const fn guid_refs(csv: &'static str, target: EntityType) -> Field {
    field(csv, Kind::GuidRefList).to(target).code()
}
pub const fn guid(csv: &'static str, target: EntityType) -> Field {
    field(csv, Kind::Guid).to(target).code()
}

impl Field {
    const fn to(mut self, target: EntityType) -> Self {
        self.reference = Some(Reference { target, tag: None });
        self
    }
    /// Required in CSV and JSON.
    pub const fn required(mut self) -> Self {
        self.required = true;
        self.json_required = true;
        self
    }
    /// Required in CSV only.
    pub const fn csv_required(mut self) -> Self {
        self.required = true;
        self
    }
    /// Required in JSON only.
    pub const fn json_required(mut self) -> Self {
        self.json_required = true;
        self
    }
    pub const fn personal(mut self) -> Self {
        self.personal = true;
        self
    }
    pub const fn code(mut self) -> Self {
        self.exact = true;
        self
    }
    pub const fn null_word(mut self) -> Self {
        self.null_word = true;
        self
    }
    /// The record referred to must have this `type`.
    pub const fn of_type(mut self, tag: &'static str) -> Self {
        if let Some(reference) = &mut self.reference {
            reference.tag = Some(tag);
        }
        self
    }
    pub(super) const fn named(mut self, json: &'static str, doc: &'static str) -> Self {
        self.json = json;
        self.doc = doc;
        self
    }

    /// Column of the read model: the CSV column in snake case.
    pub fn column(&self) -> String {
        let mut column = String::with_capacity(self.csv.len() + 4);
        for c in self.csv.chars() {
            if c.is_ascii_uppercase() {
                column.push('_');
            }
            column.push(c.to_ascii_lowercase());
        }
        column
    }
}
