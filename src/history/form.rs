//! A timeline as text: JSON Lines, CSV for spreadsheets, or for people to read.

use std::fmt::Write as _;

use serde_json::Value;

use super::entry::Entry;
use crate::export::text::Style;
use crate::feed::{Cause, Change};

/// How a timeline is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A page, as JSON.
    Json,
    /// One event in each line.
    Lines,
    /// One row for each changed field; one for an event without any.
    Csv,
}

/// Columns of the CSV form.
const COLUMNS: [&str; 18] = [
    "position",
    "recordedAt",
    "recordType",
    "sourcedId",
    "user",
    "kind",
    "field",
    "before",
    "after",
    "client",
    "actor",
    "import",
    "file",
    "line",
    "mapping",
    "approvedBy",
    "reverts",
    "absent",
];

const TIME: &str = "%Y-%m-%dT%H:%M:%S%.3fZ";

impl Form {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "jsonl" => Some(Self::Lines),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// What comes before the first event: of CSV, a byte order mark, so that spreadsheets know the encoding, and the
    /// names of the columns.
    pub fn header(self) -> String {
        match self {
            Self::Json | Self::Lines => String::new(),
            Self::Csv => format!("\u{feff}{}\r\n", COLUMNS.join(",")),
        }
    }

    /// Adds an event that was read with the record before.
    pub fn add(self, change: &Change, out: &mut String) -> Result<(), serde_json::Error> {
        let entry = Entry::new(change)?;
        match self {
            Self::Json | Self::Lines => {
                out.push_str(&serde_json::to_string(&entry)?);
                out.push('\n');
            }
            Self::Csv => rows(&entry, &change.cause, out),
        }
        Ok(())
    }
}

fn rows(entry: &Entry<'_>, cause: &Cause, out: &mut String) {
    // Cells that a spreadsheet may take for a formula are guarded: names may come from anywhere.
    let style = Style { guard: true, ..Style::default() };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let begin = [
        entry.position.to_string(),
        entry.recorded_at.format(TIME).to_string(),
        entry.record_type.to_owned(),
        entry.sourced_id.to_owned(),
        entry.user.unwrap_or_default().to_owned(),
        entry.kind.to_owned(),
    ];
    let end = [
        text(&cause.client),
        text(&cause.actor),
        text(&cause.import),
        text(&cause.file),
        cause.line.map_or(String::new(), |line| line.to_string()),
        text(&cause.mapping),
        text(&cause.approver),
        text(&cause.reverts),
        if cause.absent { "true".to_owned() } else { String::new() },
    ];
    let mut row = |middle: [String; 3]| {
        for (n, cell) in begin.iter().chain(&middle).chain(&end).enumerate() {
            if n > 0 {
                out.push(',');
            }
            style.cell(cell, out);
        }
        out.push_str("\r\n");
    };
    let value = |value: &Option<Value>| value.as_ref().map_or(String::new(), plain);
    for field in &entry.fields {
        row([field.field.clone(), value(&field.before), value(&field.after)]);
    }
    if entry.fields.is_empty() {
        row(Default::default());
    }
}

/// A value in a cell, as near to that of a set as one cell can be: references by their sourcedIds, lists with commas.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Object(members) => match (members.get("sourcedId"), members.get("type"), members.get("identifier")) {
            (Some(Value::String(id)), ..) => id.clone(),
            (None, Some(Value::String(kind)), Some(Value::String(id))) => format!("{{{kind}:{id}}}"),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}

/// An event for people to read. Values stand in quotes, with control characters written out, so that no value can do
/// anything to a terminal.
pub fn text(change: &Change) -> Result<String, serde_json::Error> {
    let entry = Entry::new(change)?;
    let mut text = format!(
        "{}  {}  {}/{}  {}",
        entry.position,
        entry.recorded_at.format(TIME),
        entry.record_type,
        entry.sourced_id,
        entry.kind
    );
    if let Some(user) = entry.user.filter(|user| *user != entry.sourced_id) {
        let _ = write!(text, "  (of user {user})");
    }
    if entry.content_erased {
        text += "  (content erased)";
    }
    let Cause { client, actor, import, file, line, mapping, approver, reverts, absent } = &change.cause;
    let say = |what: &str, value: &Option<String>| value.as_ref().map(|value| format!("{what} {value:?}"));
    let said: Vec<String> = [
        say("by client", client),
        say("for actor", actor),
        say("import", import),
        say("file", file),
        line.map(|line| format!("line {line}")),
        say("mapping", mapping),
        say("approved by", approver),
        say("takes back import", reverts),
        absent.then(|| "absent from the set".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !said.is_empty() {
        let _ = write!(text, "\n    {}", said.join(", "));
    }
    let value = |value: &Option<Value>| value.as_ref().map_or("–".to_owned(), |value| format!("{:?}", plain(value)));
    for field in &entry.fields {
        let _ = write!(text, "\n    {}: {} → {}", field.field, value(&field.before), value(&field.after));
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_in_cells() {
        for (value, cell) in [
            (json!("花子"), "花子"),
            (json!({ "sourcedId": "o", "type": "org" }), "o"),
            (json!([{ "sourcedId": "t1", "type": "academicSession" }, { "sourcedId": "t2" }]), "t1,t2"),
            (json!(["P1", "P2"]), "P1,P2"),
            (json!([{ "type": "LDAP", "identifier": "x" }]), "{LDAP:x}"),
            (json!({ "a": 1 }), "{\"a\":1}"),
        ] {
            assert_eq!(plain(&value), cell);
        }
    }
}
