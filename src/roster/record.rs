//! From one table per entity to a typed struct and its description.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Code, Fault};
use super::{Entity, Field};

/// Extension members, sorted by key so that the order of CSV columns does not matter.
pub type Metadata = BTreeMap<String, serde_json::Value>;

/// A OneRoster record without its base members (sourcedId, status, dateLastModified), which the log gives it.
pub trait Record:
    Rules + Default + Clone + PartialEq + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    const ENTITY: &'static Entity;

    /// Sets the field at `index` of the description from the non-empty text of a CSV field.
    fn parse(&mut self, index: usize, raw: &str) -> Result<(), Code>;
    /// Adds the CSV text of the field at `index`, without its quotes; see [`super::value::FieldValue::write`].
    fn write(&self, index: usize, keep: &dyn Fn(&str) -> bool, out: &mut String) -> u64;
    /// Checks each field by its description; whether CSV's or JSON's required fields are asked for is the caller's.
    fn check_fields(&self, required: fn(&Field) -> bool, faults: &mut Vec<Fault>);
    /// Fills what JSON must show and the record does not have.
    fn fill(&mut self);
    /// JSON names of the members in which two records differ.
    fn changed(&self, before: &Self) -> Vec<&'static str>;
    /// Calls `f` with each field that refers to another record and the sourcedId it names.
    fn each_reference(&self, f: &mut dyn FnMut(&'static Field, &str));
    /// The `type` that references to this record may put a condition on.
    fn tag(&self) -> Option<&str> {
        None
    }
    fn metadata(&self) -> &Metadata;
    fn metadata_mut(&mut self) -> &mut Metadata;
}

/// Rules between the fields of one record, beyond what their descriptions say.
pub trait Rules {
    fn rules(&self, _sourced_id: &str, _faults: &mut Vec<Fault>) {}
}

/// Expands one table into the struct, its serde form and its [`Entity`].
macro_rules! record {
    (
        $(#[doc = $doc:literal])*
        $name:ident = $entity:literal in $collection:literal, table $table:literal
        $(, identified by $identified_by:ident)? $(, tag $tag:ident)?
        { $($(#[doc = $field_doc:literal])* $field:ident: $ty:ty, $json:literal = $spec:expr;)* }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[doc = $field_doc])*
                #[serde(rename = $json, skip_serializing_if = "FieldValue::is_absent")]
                pub $field: $ty,
            )*
            /// Extension members (`metadata.*` columns).
            #[serde(skip_serializing_if = "Metadata::is_empty")]
            pub metadata: Metadata,
        }

        impl Record for $name {
            const ENTITY: &'static Entity = &Entity {
                kind: EntityType::$name,
                name: $entity,
                collection: $collection,
                table: $table,
                doc: concat!($($doc),*),
                fields: &[$($spec.named($json, concat!($($field_doc),*))),*],
                identified_by: record!(@option $($identified_by)?),
            };

            fn parse(&mut self, index: usize, raw: &str) -> Result<(), Code> {
                let mut at = 0..;
                $(
                    if at.next() == Some(index) {
                        self.$field = FieldValue::parse(&Self::ENTITY.fields[index], raw)?;
                        return Ok(());
                    }
                )*
                Ok(())
            }

            fn write(&self, index: usize, keep: &dyn Fn(&str) -> bool, out: &mut String) -> u64 {
                let mut at = 0..;
                $(
                    if at.next() == Some(index) {
                        return self.$field.write(keep, out);
                    }
                )*
                0
            }

            fn check_fields(&self, required: fn(&Field) -> bool, faults: &mut Vec<Fault>) {
                let mut fields = Self::ENTITY.fields.iter();
                $(
                    if let Some(field) = fields.next() {
                        check(&self.$field, field, required, faults);
                    }
                )*
            }

            fn fill(&mut self) {
                let mut fields = Self::ENTITY.fields.iter();
                $(
                    if fields.next().is_some_and(|f| f.json_required && !f.required) {
                        self.$field.fill();
                    }
                )*
            }

            fn changed(&self, before: &Self) -> Vec<&'static str> {
                let mut changed = Vec::new();
                $(
                    if self.$field != before.$field {
                        changed.push($json);
                    }
                )*
                if self.metadata != before.metadata {
                    changed.push("metadata");
                }
                changed
            }

            fn each_reference(&self, f: &mut dyn FnMut(&'static Field, &str)) {
                let mut fields = Self::ENTITY.fields.iter();
                $(
                    if let Some(field) = fields.next().filter(|field| field.reference.is_some()) {
                        self.$field.each_reference(&mut |id| f(field, id));
                    }
                )*
                super::japan::each_reference(Self::ENTITY.kind, &self.metadata, f);
            }

            $(fn tag(&self) -> Option<&str> {
                self.$tag.as_deref()
            })?

            fn metadata(&self) -> &Metadata {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Metadata {
                &mut self.metadata
            }
        }
    };
    (@option) => { None };
    (@option $identified_by:ident) => { Some(EntityType::$identified_by) };
}
pub(super) use record;

/// Checks one field; used by the expansion above.
pub(super) fn check<V: super::value::FieldValue + AsText>(
    value: &V,
    field: &Field,
    required: fn(&Field) -> bool,
    faults: &mut Vec<Fault>,
) {
    if value.is_absent() || value.is_empty_text() {
        if required(field) {
            faults.push(Fault::new(Code::MissingRequired, field.csv, "", false));
        }
    } else if let Err((code, part)) = value.check(field) {
        faults.push(Fault::new(code, field.csv, &part, field.personal));
    }
}

/// Whether a value is the empty text, which JSON may show for a required member but CSV cannot.
pub(super) trait AsText {
    fn is_empty_text(&self) -> bool {
        false
    }
}
impl AsText for Option<String> {
    fn is_empty_text(&self) -> bool {
        self.as_deref() == Some("")
    }
}
impl<T> AsText for Vec<T> {}
impl AsText for Option<super::value::Flag> {}
impl AsText for Option<chrono::NaiveDate> {}
impl AsText for Option<super::value::GuidRef> {}
