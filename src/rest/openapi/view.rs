//! What the page shows of a document, flattened for its template.

use serde::Serialize;
use serde_json::Value;

/// A document, for people.
#[derive(Serialize)]
pub struct View {
    /// Where the document itself is, below the hub's address.
    url: String,
    title: String,
    description: String,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

#[derive(Serialize)]
struct Group {
    name: String,
    description: String,
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Operation {
    id: String,
    verb: String,
    /// Below the hub's address.
    path: String,
    summary: String,
    /// Alternatives.
    scopes: Vec<String>,
    by_secret: bool,
    parameters: Vec<Input>,
    body: Option<Body>,
    answers: Vec<Answer>,
    curl: String,
}

/// Something to fill in.
#[derive(Serialize)]
struct Input {
    name: String,
    /// `path`, `query`, `header` or `form`.
    place: String,
    required: bool,
    description: String,
    kind: Kind,
    default: String,
}

#[derive(Serialize)]
struct Body {
    media_type: String,
    /// `form`, `file` or `text`.
    form: &'static str,
    inputs: Vec<Input>,
}

#[derive(Serialize)]
struct Answer {
    status: String,
    description: String,
    headers: Vec<String>,
    kind: Option<Kind>,
}

#[derive(Serialize)]
struct Schema {
    name: String,
    description: String,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    name: String,
    required: bool,
    description: String,
    kind: Kind,
}

/// A type, in words.
#[derive(Default, Serialize)]
struct Kind {
    words: String,
    /// Name of the schema that the words end with.
    schema: Option<String>,
    values: Vec<String>,
    is_number: bool,
}

/// Reads a document that [`super::document::Document`] has written. `address`: stands in it for the hub's own.
pub fn view(document: &Value, address: &str, url: &str) -> View {
    let base = text(&document["servers"][0]["url"]).trim_start_matches(address).to_owned();
    let groups = items(&document["tags"]).map(|tag| Group {
        name: text(&tag["name"]),
        description: text(&tag["description"]),
        operations: members(&document["paths"])
            .flat_map(|(path, verbs)| members(verbs).map(move |(verb, operation)| (path, verb, operation)))
            .filter(|(.., operation)| operation["tags"][0] == tag["name"])
            .map(|(path, verb, operation)| read(document, &format!("{base}{path}"), verb, operation))
            .collect(),
    });
    let schemas = members(&document["components"]["schemas"]).map(|(name, schema)| Schema {
        name: name.clone(),
        description: text(&schema["description"]),
        members: inputs(schema, "")
            .map(|input| Member {
                name: input.name,
                required: input.required,
                description: input.description,
                kind: input.kind,
            })
            .collect(),
    });
    View {
        url: url.to_owned(),
        title: text(&document["info"]["title"]),
        description: text(&document["info"]["description"]),
        groups: groups.collect(),
        schemas: schemas.collect(),
    }
}

fn read(document: &Value, path: &str, verb: &str, operation: &Value) -> Operation {
    let alternatives = || items(&operation["security"]).flat_map(members);
    let parameters: Vec<Input> = items(&operation["parameters"])
        .map(|parameter| resolved(document, parameter))
        .map(|parameter| Input {
            name: text(&parameter["name"]),
            place: text(&parameter["in"]),
            required: parameter["required"] == true,
            description: text(&parameter["description"]),
            kind: kind(&parameter["schema"]),
            default: shown(&parameter["schema"]["default"]),
        })
        .collect();
    let body = members(&operation["requestBody"]["content"]).next().map(|(media_type, content)| Body {
        media_type: media_type.clone(),
        form: match &content["schema"] {
            schema if schema["format"] == "binary" => "file",
            _ if media_type.contains("form") => "form",
            _ => "text",
        },
        inputs: inputs(&content["schema"], "form").collect(),
    });
    let answers = members(&operation["responses"]).map(|(status, answer)| {
        let answer = resolved(document, answer);
        Answer {
            status: status.clone(),
            description: text(&answer["description"]),
            headers: members(&answer["headers"]).map(|(name, _)| name.clone()).collect(),
            kind: members(&answer["content"]).next().map(|(_, content)| kind(&content["schema"])),
        }
    });
    let by_secret = alternatives().any(|(_, scopes)| scopes == &Value::Array(Vec::new()));
    let scopes: Vec<String> = alternatives().flat_map(|(_, scopes)| items(scopes)).map(text).collect();
    Operation {
        id: text(&operation["operationId"]),
        verb: verb.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        curl: curl(verb, path, by_secret, !scopes.is_empty(), body.as_ref()),
        scopes,
        by_secret,
        parameters,
        body,
        answers: answers.collect(),
    }
}

/// The command up to the address, and what stands after it.
fn curl(verb: &str, path: &str, by_secret: bool, by_token: bool, body: Option<&Body>) -> String {
    let mut command = "curl".to_owned();
    if by_secret {
        command += " -u \"$CLIENT_ID:$SECRET\"";
    }
    if by_token {
        command += " -H \"Authorization: Bearer $TOKEN\"";
    }
    if !["get", "post"].contains(&verb) {
        command += &format!(" -X {}", verb.to_uppercase());
    }
    match body {
        Some(Body { form: "form", inputs, .. }) => {
            for input in inputs.iter().filter(|input| input.required) {
                let value = input.kind.values.first().map_or("…", String::as_str);
                command += &format!(" -d {}={value}", input.name);
            }
        }
        Some(Body { form: "file", .. }) => command += " --data-binary @set.zip",
        Some(body) => command += &format!(" -H \"Content-Type: {}\" -d @record.json", body.media_type),
        None => {}
    }
    // Parameters as variables of the shell: curl itself takes braces for something else.
    let mut variable = false;
    let mut address = String::new();
    for letter in path.chars() {
        match letter {
            '{' => {
                variable = true;
                address.push('$');
            }
            '}' => variable = false,
            _ if variable && letter.is_ascii_uppercase() => address.extend(['_', letter]),
            _ if variable => address.push(letter.to_ascii_uppercase()),
            _ => address.push(letter),
        }
    }
    format!("{command} \\\n  \"@address@{address}\"")
}

/// The members of an object's schema.
fn inputs<'a>(schema: &'a Value, place: &'a str) -> impl Iterator<Item = Input> + 'a {
    members(&schema["properties"]).map(move |(name, member)| Input {
        name: name.clone(),
        place: place.to_owned(),
        required: items(&schema["required"]).any(|required| required == name.as_str()),
        description: text(&member["description"]),
        kind: kind(member),
        default: shown(&member["default"]),
    })
}

fn kind(schema: &Value) -> Kind {
    let of = |words: &str| Kind { words: words.to_owned(), ..Kind::default() };
    let or_null = if schema["nullable"] == true { " or null" } else { "" };
    if let Some(name) = schema["$ref"].as_str() {
        return Kind { schema: name.rsplit('/').next().map(str::to_owned), ..Kind::default() };
    }
    if let Some(wrapped) = schema["allOf"].get(0) {
        return kind(wrapped);
    }
    if let Some(listed) = schema["anyOf"].get(0) {
        let other = items(&schema["anyOf"]).nth(1).map(|other| shown(&other["pattern"])).unwrap_or_default();
        return Kind { words: format!("{other} or one of"), ..kind(listed) };
    }
    if schema["enum"].is_array() {
        return Kind { values: items(&schema["enum"]).map(text).collect(), ..of("one of") };
    }
    if schema["type"] == "array" {
        let item = kind(&schema["items"]);
        return Kind { words: format!("list of {}", item.words), ..item };
    }
    if schema["additionalProperties"].is_object() {
        let value = kind(&schema["additionalProperties"]);
        return Kind { words: format!("object with values of {}", value.words), ..value };
    }
    let is_number = schema["type"] == "integer" || schema["type"] == "number";
    let word = match (schema["type"].as_str(), schema["format"].as_str(), schema["pattern"].as_str()) {
        (Some("integer"), ..) => "whole number",
        (Some("string"), Some("date"), _) => "date, YYYY-MM-DD",
        (Some("string"), Some("date-time"), _) => "time, YYYY-MM-DDThh:mm:ss.sssZ",
        (Some("string"), Some("uri"), _) => "address",
        (Some("string"), Some("uuid"), _) => "UUID",
        (Some("string"), Some("binary"), _) => "file",
        (Some("string"), _, Some(pattern)) => return of(&format!("text, {pattern}{or_null}")),
        (Some("string"), ..) => "text",
        (other, ..) => other.unwrap_or("anything"),
    };
    Kind { is_number, ..of(&format!("{word}{or_null}")) }
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
    reference.and_then(|path| document.pointer(path)).unwrap_or(value)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// As it is written in a form.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
