//! An event of a timeline: what became of a record, field by field, and by whom.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::feed::item::{CauseItem, milliseconds};
use crate::feed::{Change, Kind};
use crate::roster::EntityType;

/// An event of the log.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "HistoryEvent", deny_unknown_fields)]
pub struct Entry<'a> {
    /// Its place in the log.
    pub position: i64,
    /// First position of the unit of work that it belongs to: what was written together became visible together.
    unit: i64,
    /// When it was recorded; in UTC, with milliseconds.
    #[serde(serialize_with = "milliseconds")]
    pub recorded_at: DateTime<Utc>,
    #[schemars(extend("enum" = EntityType::ALL.map(EntityType::name)))]
    pub record_type: &'static str,
    pub sourced_id: &'a str,
    /// The user whose role, profile, enrollment or demographics it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// What became of the record.
    #[schemars(extend("enum" = Kind::ALL.map(|(kind, ..)| kind.word())))]
    pub kind: &'static str,
    /// The person was erased since: what the event said is destroyed, and the fields show what is left.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub content_erased: bool,
    /// What changed, in the order of the record type's fields.
    pub fields: Vec<FieldChange>,
    cause: CauseItem<'a>,
}

/// A field of a record, before and after an event.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FieldChange {
    /// Its name in JSON; of extensions, `metadata.` and their name. `status` is shown beside the record's own fields.
    pub field: String,
    /// Null: it was not there.
    pub before: Option<Value>,
    /// Null: it is not there.
    pub after: Option<Value>,
}

impl<'a> Entry<'a> {
    /// Of a change that was read with the record before.
    pub fn new(change: &'a Change) -> Result<Self, serde_json::Error> {
        Ok(Self {
            position: change.position,
            unit: change.unit,
            recorded_at: change.recorded_at,
            record_type: change.entity.name(),
            sourced_id: &change.sourced_id,
            user: change.user.as_deref(),
            kind: change.kind.word(),
            content_erased: change.emptied,
            fields: fields(change)?,
            cause: CauseItem::new(&change.cause, true),
        })
    }
}

const METADATA: &str = "metadata";

fn fields(change: &Change) -> Result<Vec<FieldChange>, serde_json::Error> {
    let record = |text: &serde_json::value::RawValue| serde_json::from_str::<Map<String, Value>>(text.get());
    let mut before = change.before.as_deref().map(record).transpose()?.unwrap_or_default();
    let mut after = record(&change.after)?;
    let status = |active: bool| Some(Value::from(if active { "active" } else { "tobedeleted" }));
    let is_active = !matches!(change.kind, Kind::Deleted | Kind::Erased);
    let mut fields = vec![FieldChange {
        field: "status".to_owned(),
        before: change.was_active.and_then(status),
        after: status(is_active),
    }];
    let extensions = |record: &mut Map<String, Value>| match record.shift_remove(METADATA) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let (was, is) = (extensions(&mut before), extensions(&mut after));
    for field in change.entity.entity().fields {
        let (before, after) = (before.shift_remove(field.json), after.shift_remove(field.json));
        fields.push(FieldChange { field: field.json.to_owned(), before, after });
    }
    // Members that this version does not know.
    compare("", before, after, &mut fields);
    compare("metadata.", was, is, &mut fields);
    fields.retain(|field| field.before != field.after);
    Ok(fields)
}

fn compare(prefix: &str, before: Map<String, Value>, mut after: Map<String, Value>, into: &mut Vec<FieldChange>) {
    let field = |name: String| format!("{prefix}{name}");
    for (name, value) in before {
        let after = after.shift_remove(&name);
        into.push(FieldChange { field: field(name), before: Some(value), after });
    }
    for (name, value) in after {
        into.push(FieldChange { field: field(name), before: None, after: Some(value) });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::feed::Cause;

    fn change(kind: Kind, before: Option<Value>, after: &Value) -> Change {
        Change {
            position: 1,
            unit: 1,
            record_previous: None,
            recorded_at: DateTime::UNIX_EPOCH,
            entity: EntityType::Org,
            sourced_id: "o".into(),
            user: None,
            kind,
            changed: Vec::new(),
            was_active: before.as_ref().map(|_| true),
            before: before.map(|before| to_raw_value(&before).unwrap()),
            after: to_raw_value(after).unwrap(),
            cause: Cause::default(),
            schools: Vec::new(),
            emptied: false,
        }
    }

    fn told(change: &Change) -> Value {
        let fields = fields(change).unwrap();
        fields.into_iter().map(|f| json!([f.field, f.before, f.after])).collect()
    }

    #[test]
    fn fields_are_compared_one_by_one() {
        let (before, after) = (
            json!({ "metadata": { "x": "1", "y": "2" }, "identifier": "7", "name": "a", "type": "school", "new": 1 }),
            json!({ "name": "b", "type": "school", "parent": { "sourcedId": "d" }, "metadata": { "y": "3" }, "new": 1 }),
        );
        assert_eq!(
            told(&change(Kind::Changed, Some(before.clone()), &after)),
            json!([
                ["name", "a", "b"],
                ["identifier", "7", null],
                ["parent", null, { "sourcedId": "d" }],
                ["metadata.x", "1", null],
                ["metadata.y", "2", "3"],
            ])
        );
        assert_eq!(
            told(&change(Kind::Deleted, Some(before.clone()), &before)),
            json!([["status", "active", "tobedeleted"]])
        );
        assert_eq!(
            told(&change(Kind::Created, None, &json!({ "name": "a" }))),
            json!([["status", null, "active"], ["name", null, "a"]])
        );
    }
}
