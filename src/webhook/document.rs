//! The catalogue as a document, `docs/event-types.md`: `make generated` writes it.

use std::fmt::Write as _;

use serde_json::Value;

use super::catalogue::{EventType, GROUPS, VERSION, all};

const INTRODUCTION: &str = "\
# Event types

What webhooks tell of. Each message is of one of these types, and an endpoint chooses among them by patterns: `user.changed`, `user.*`, `*.deleted`, `*`. Those of the hub are also [read as notices](notices.md).

`GET /rosterhub/v1/webhooks/event-types` serves this list, and `…/event-types/{name}` each type with the JSON Schema (draft 2020-12) of its messages and an example. A client is told of a type if it has its scope.

The source of this document is the catalogue in `src/webhook/catalogue.rs`; `make generated` writes it anew.

## A message

Headers: `webhook-id`, `webhook-timestamp` and `webhook-signature` of [Standard Webhooks](https://www.standardwebhooks.com). The body is JSON:
";

/// Title and introduction of each group.
const SECTIONS: [(&str, &str); 2] = [
    (
        "Records of the roster",
        "`data` is a change as the feed has it: thin as below, or, for an endpoint that asks for it, with the record `before` and `after`.",
    ),
    (
        "The hub itself",
        "`data` is what the notice holds: ids, counts, codes and names of clients, and no personal data.",
    ),
];

/// The document, as Markdown.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    if let Some(first) = all().first() {
        members(&mut text, &first.schema, &["data"]);
    }
    for (group, (title, introduction)) in GROUPS.into_iter().zip(SECTIONS) {
        let types: Vec<&EventType> = all().iter().filter(|event| event.group() == group).collect();
        let _ = write!(text, "\n## {title}\n\n{introduction}\n\n| type | version | scope | |\n|---|---|---|---|\n");
        for event in &types {
            let scope = event.scope().short();
            let _ = writeln!(text, "| `{}` | {VERSION} | `{scope}` | {} |", event.name, event.description);
        }
        // Those of records have the same form.
        for event in types.iter().filter(|event| group != GROUPS[0] || event.name == "user.changed") {
            let _ = writeln!(text, "\n### {}\n", event.name);
            let data = &event.schema["properties"]["data"];
            if let Some(doc) = data["description"].as_str() {
                let _ = writeln!(text, "{doc}");
            }
            members(&mut text, data, &[]);
            let _ = writeln!(text, "\n```json\n{:#}\n```", event.example);
        }
    }
    text
}

/// A table of the members of an object, but for those left out.
fn members(text: &mut String, schema: &Value, without: &[&str]) {
    let _ = write!(text, "\n| member | | |\n|---|---|---|\n");
    let required = schema["required"].as_array();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        if without.contains(&name.as_str()) {
            continue;
        }
        let may = if required.is_some_and(|all| all.iter().any(|one| one == name)) { "" } else { "may be left out" };
        let doc = member["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {may} | {doc} |");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_in_step() {
        let same = markdown() == include_str!("../../docs/event-types.md");
        assert!(same, "docs/event-types.md: run 'make generated' and commit the result");
    }
}
