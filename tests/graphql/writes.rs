//! Mutations: every verb on every record type, what is refused, batches, and imports.

use reqwest::multipart::{Form, Part};
use serde_json::{Map, Value, json};

use crate::support::{EVERYTHING, Server, assert_verified, bulk, city, put, run, token};
use crate::writes::documents;

/// The type and the name of a collection's records.
fn names(collection: &str) -> (&'static str, &'static str) {
    match collection {
        "academicSessions" => ("AcademicSession", "academicSession"),
        "orgs" => ("Org", "org"),
        "courses" => ("Course", "course"),
        "classes" => ("Class", "class"),
        "users" => ("User", "user"),
        "demographics" => ("Demographics", "demographics"),
        _ => ("Enrollment", "enrollment"),
    }
}

/// A document of REST as GraphQL takes it.
fn input(document: &Value) -> Value {
    match document {
        Value::Object(members) => match members.get("sourcedId") {
            Some(id) if members.keys().all(|name| ["href", "sourcedId", "type"].contains(&name.as_str())) => id.clone(),
            _ => {
                let own = ["sourcedId", "dateLastModified", "children"];
                let kept = members.iter().filter(|(name, _)| !own.contains(&name.as_str()));
                Value::Object(kept.map(|(name, value)| (name.clone(), member(name, value))).collect())
            }
        },
        Value::Array(items) => items.iter().map(input).collect(),
        leaf => leaf.clone(),
    }
}

fn member(name: &str, value: &Value) -> Value {
    match value.as_str() {
        Some(flag @ ("true" | "false")) if name != "metadata" => json!(flag == "true"),
        _ if name == "metadata" => value.clone(),
        _ => input(value),
    }
}

/// Runs one mutation with the whole payload of its kind.
async fn mutate(server: &Server, verb: &str, kind: (&str, &str), selection: &str, input: Value) -> Value {
    let (of, name) = kind;
    let query = format!(
        "mutation ($input: {}{of}Input!) {{ done: {verb}{of}(input: $input) {{ position outcome \
         userErrors {{ field code message messageJa mend mendJa value operation }} {name} {{ id sourcedId version status {selection} }} }} }}",
        verb[..1].to_uppercase() + &verb[1..]
    );
    let answer = server.graphql(&query, json!({ "input": input })).await;
    assert_eq!(answer["errors"], Value::Null, "{verb}{of} {input}: {answer}");
    let done = answer["data"]["done"].clone();
    if let Some(position) = done["position"].as_i64() {
        assert_eq!(answer["extensions"]["position"], position);
    }
    done
}

/// (place, code) of the user errors.
fn faults(payload: &Value) -> Vec<(String, &str)> {
    let errors = payload["userErrors"].as_array().unwrap_or_else(|| panic!("{payload}"));
    let path = |error: &Value| {
        error["field"].as_array().map_or(String::new(), |steps| {
            steps.iter().map(|step| step.as_str().unwrap()).collect::<Vec<_>>().join("/")
        })
    };
    errors.iter().map(|error| (path(error), error["code"].as_str().unwrap())).collect()
}

async fn seed(server: &Server) {
    for (collection, id, document) in documents() {
        put(server, &format!("{collection}/{id}"), document).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_type_takes_every_verb_and_stands_as_rest_would_have_it() {
    let (server, rest) = (Server::start().await, Server::start().await);
    for (collection, id, document) in documents() {
        let kind = names(collection);
        let (of, name) = kind;
        let path = format!("{collection}/{id}");
        let with = |rest: Value| {
            let mut input = json!({ "sourcedId": id });
            input.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            input
        };
        let whole = with(json!({ name: input(&document) }));
        let nobody = mutate(&server, "delete", kind, "", with(json!({}))).await;
        assert_eq!(faults(&nobody), [("input/sourcedId".to_owned(), "UNKNOWN_RECORD")], "{of}");
        assert_eq!(
            (&nobody[name], &nobody["position"], &nobody["outcome"]),
            (&Value::Null, &Value::Null, &Value::Null)
        );

        let created = mutate(&server, "create", kind, "", whole.clone()).await;
        assert_eq!((&created["outcome"], faults(&created)), (&json!("CREATED"), vec![]), "{created}");
        let again = mutate(&server, "create", kind, "", whole.clone()).await;
        assert_eq!(faults(&again), [("input/sourcedId".to_owned(), "ALREADY_EXISTS")]);

        // The same record as REST makes of the same document.
        let other = put(&rest, &path, document).await;
        let mut own = server.read(&path).await;
        own[name]["dateLastModified"] = other[name]["dateLastModified"].clone();
        let own = own.to_string().replace(&server.base, &rest.base);
        assert_eq!(own, other.to_string(), "{path}");

        // Its version is the tag of REST.
        let tag = server.get(&server.oneroster(&path)).await.headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(format!("\"{}\"", created[name]["version"].as_str().unwrap()), tag);

        let replaced = mutate(&server, "replace", kind, "", whole.clone()).await;
        assert_eq!((&replaced["outcome"], &replaced["position"]), (&json!("UNCHANGED"), &created["position"]));

        let withdrawn = mutate(&server, "delete", kind, "", with(json!({ "ifVersion": tag }))).await;
        assert_eq!((&withdrawn["outcome"], &withdrawn[name]["status"]), (&json!("WITHDRAWN"), &json!("tobedeleted")));
        let version = &created[name]["version"];
        let stale = mutate(&server, "update", kind, "", with(json!({ "ifVersion": version, name: {} }))).await;
        assert_eq!(faults(&stale), [("input/ifVersion".to_owned(), "PRECONDITION_FAILED")]);
        let restored = mutate(&server, "update", kind, "", with(json!({ name: { "status": "active" } }))).await;
        assert_eq!((&restored["outcome"], &restored[name]["status"]), (&json!("RESTORED"), &json!("active")));
    }
    assert_verified(&server.url);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_leaves_what_is_absent_and_removes_what_is_null() {
    let server = Server::start().await;
    seed(&server).await;
    let class = ("Class", "class");
    let seen = "title location grades metadata jp { specialNeeds } school { name } terms { title }";
    let update = async |class_patch: Value| {
        let done = mutate(&server, "update", class, seen, json!({ "sourcedId": "k", "class": class_patch })).await;
        assert_eq!(faults(&done), [], "{done}");
        done["class"].clone()
    };
    let changed = update(json!({ "location": "2階", "grades": ["P1", "P2"], "metadata": { "x": 1 } })).await;
    assert_eq!(changed["title"], "1年1組");
    assert_eq!(changed["metadata"], json!({ "jp.specialNeeds": "false", "x": "1" }));
    assert_eq!((&changed["jp"]["specialNeeds"], &changed["school"]["name"]), (&json!(false), &json!("みどり小学校")));
    assert_eq!(changed["terms"], json!([{ "title": "2026年度" }]));
    let changed = update(json!({ "location": null, "jp": { "specialNeeds": true } })).await;
    assert_eq!((&changed["location"], &changed["grades"]), (&Value::Null, &json!(["P1", "P2"])));
    assert_eq!(changed["metadata"], json!({ "jp.specialNeeds": "true", "x": "1" }));
    assert_eq!(update(json!({ "jp": null })).await["metadata"], json!({ "x": "1" }));

    // A variable that is left out is absent; one that is null is null.
    let query = "mutation ($title: String, $location: String) { updateClass(input: { sourcedId: \"k\", class: { title: $title, location: $location } })
        { outcome userErrors { code field } class { title location } } }";
    let done = server.graphql(query, json!({ "location": "3階" })).await;
    assert_eq!(done["data"]["updateClass"]["class"], json!({ "title": "1年1組", "location": "3階" }), "{done}");
    let done = server.graphql(query, json!({ "location": null })).await;
    assert_eq!(done["data"]["updateClass"]["class"], json!({ "title": "1年1組", "location": null }), "{done}");
    let done = server.graphql(query, json!({ "title": null })).await;
    let errors = &done["data"]["updateClass"]["userErrors"];
    assert_eq!(*errors, json!([{ "code": "MISSING_REQUIRED", "field": ["input", "class", "title"] }]), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_told_where_it_stands() {
    let server = Server::start().await;
    seed(&server).await;
    let user = json!({
        "enabledUser": true, "givenName": "", "familyName": "佐\n藤", "primaryOrg": "gone", "agents": ["u", "a b"],
        "roles": [{ "roleType": "primary", "role": "pupil", "org": "nowhere" }],
        "userProfiles": [{ "profileId": "q", "profileType": "LMS", "vendorId": "v", "credentials": [] }],
        "jp": { "kanaGivenName": "ハナコ", "homeClass": "none" }, "metadata": { "jp.kanaGivenName": "タロウ" },
    });
    let refused = mutate(&server, "replace", ("User", "user"), "", json!({ "sourcedId": "n", "user": user })).await;
    let found = faults(&refused);
    for fault in [
        ("input/user/givenName", "MISSING_REQUIRED"),
        ("input/user/familyName", "BAD_TEXT"),
        ("input/user/agents/1", "BAD_SOURCED_ID"),
        ("input/user/primaryOrg", "DANGLING_REFERENCE"),
        ("input/user/roles/0/role", "BAD_ENUM"),
        ("input/user/roles/0/org", "DANGLING_REFERENCE"),
        ("input/user/jp/kanaGivenName", "DUPLICATE_MEMBER"),
        ("input/user/jp/homeClass", "DANGLING_REFERENCE"),
    ] {
        assert!(found.contains(&(fault.0.to_owned(), fault.1)), "{fault:?} in {found:?}");
    }
    let errors = refused["userErrors"].as_array().unwrap();
    assert!(errors.iter().all(|e| e["mend"].is_string() && e["mendJa"].is_string() && e["operation"].is_null()));
    assert!(!refused.to_string().contains("佐"), "masked");
    let absent = server.query("{ user(sourcedId: \"n\") { id } }").await;
    assert_eq!(absent["user"], Value::Null);

    // What does not fit the schema is an error of the request, and nothing of it is carried out.
    for (query, code) in [
        ("mutation { createOrg(input: { org: { type: \"school\" } }) { outcome } }", "VALIDATION_FAILED"),
        (
            "mutation { createOrg(input: { org: { name: \"x\", type: \"school\" }, idempotencyKey: \"a b\" }) { outcome } }",
            "BAD_USER_INPUT",
        ),
        ("mutation { createDemographics(input: { demographics: {} }) { outcome } }", "VALIDATION_FAILED"),
    ] {
        let answer = server.graphql(query, json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{query}: {answer}");
        assert_eq!(answer["data"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_again_is_carried_out_once() {
    let server = Server::start().await;
    let org = ("Org", "org");
    let create =
        json!({ "org": { "name": "みどり市", "type": "district" }, "idempotencyKey": "k1", "actor": "admin-1" });
    let first = mutate(&server, "create", org, "name", create.clone()).await;
    let id = first["org"]["sourcedId"].as_str().unwrap().to_owned();
    let update = json!({ "sourcedId": id, "org": { "name": "あおば市" } });
    assert_eq!(mutate(&server, "update", org, "name", update).await["org"]["name"], "あおば市");
    // The first answer, with the record as it stood there.
    assert_eq!(mutate(&server, "create", org, "name", create).await, first);
    let other = json!({ "org": { "name": "ほか", "type": "district" }, "idempotencyKey": "k1" });
    let other = mutate(&server, "create", org, "name", other).await;
    assert_eq!(faults(&other), [("input/idempotencyKey".to_owned(), "IDEMPOTENCY_MISMATCH")]);
    assert_eq!(server.query("{ orgs { totalCount } }").await["orgs"]["totalCount"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mutations_of_one_operation_follow_each_other() {
    let server = Server::start().await;
    let query = "mutation {
        a: createOrg(input: { sourcedId: \"o\", org: { name: \"a\", type: \"district\" } }) { position org { name } }
        b: createOrg(input: { sourcedId: \"o\", org: { name: \"b\", type: \"district\" } }) { position userErrors { code } }
        c: updateOrg(input: { sourcedId: \"o\", org: { name: \"c\" } }) { position org { name } } }";
    let answer = server.graphql(query, json!({})).await;
    let data = &answer["data"];
    assert_eq!((&data["a"]["org"]["name"], &data["c"]["org"]["name"]), (&json!("a"), &json!("c")), "{answer}");
    assert_eq!(data["b"]["userErrors"], json!([{ "code": "ALREADY_EXISTS" }]));
    assert_eq!(data["c"]["position"].as_i64().unwrap(), data["a"]["position"].as_i64().unwrap() + 1);
    assert_eq!(answer["extensions"]["position"], data["c"]["position"]);
    assert!(answer["extensions"]["cost"]["requested"]["records"].as_i64().unwrap() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_done_at_once_or_not_at_all() {
    let server = Server::start().await;
    let operations: Vec<Value> = documents()
        .into_iter()
        .map(|(collection, id, document)| {
            let (of, name) = names(collection);
            json!({ format!("create{of}"): { "sourcedId": id, name: input(&document) } })
        })
        .collect();
    let query = "mutation ($input: BatchInput!) { batch(input: $input) { position userErrors { code field operation }
        results { sourcedId outcome record { id __typename ... on Class { title school { name } } ... on User { familyName roles { org { name } } } } } } }";
    let mut broken = operations.clone();
    broken[4]["createClass"]["class"]["school"] = json!("b");
    broken.push(json!({ "deleteOrg": { "sourcedId": "gone" } }));
    let refused = server.graphql(query, json!({ "input": { "operations": broken } })).await;
    let refused = &refused["data"]["batch"];
    assert_eq!(
        refused["userErrors"],
        json!([
            { "code": "REFERENCE_TYPE", "field": ["input", "operations", "4", "createClass", "class", "school"], "operation": 4 },
            { "code": "UNKNOWN_RECORD", "field": ["input", "operations", "9", "deleteOrg", "sourcedId"], "operation": 9 },
        ])
    );
    assert_eq!((&refused["position"], &refused["results"]), (&Value::Null, &json!([])));
    assert_eq!(server.query("{ orgs { totalCount } }").await["orgs"]["totalCount"], 0);

    let done = server.graphql(query, json!({ "input": { "operations": operations, "idempotencyKey": "b" } })).await;
    assert_eq!(done["errors"], Value::Null, "{done}");
    let results = done["data"]["batch"]["results"].as_array().unwrap();
    assert!(results.iter().all(|result| result["outcome"] == "CREATED"), "{done}");
    assert_eq!(results[4]["record"]["school"]["name"], "みどり小学校", "{done}");
    assert_eq!(results[5]["record"]["roles"][0]["org"]["name"], "みどり小学校");
    let again = server.graphql(query, json!({ "input": { "operations": operations, "idempotencyKey": "b" } })).await;
    assert_eq!(again["data"], done["data"]);

    // One of each operation; no more than 1,000 of them.
    let two = json!({ "operations": [{ "deleteOrg": { "sourcedId": "b" }, "deleteUser": { "sourcedId": "u" } }] });
    let answer = server.graphql(query, json!({ "input": two })).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "VALIDATION_FAILED", "{answer}");
    let many: Vec<Value> = (0..1_001).map(|n| json!({ "deleteOrg": { "sourcedId": format!("o{n}") } })).collect();
    let answer = server.graphql(query, json!({ "input": { "operations": many } })).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
    assert_verified(&server.url);
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_and_tenants_are_kept_apart() {
    let mut server = Server::start().await;
    seed(&server).await;
    let everything = std::mem::take(&mut server.token);
    let code = |answer: &Value| answer["errors"][0]["extensions"]["code"].as_str().map(str::to_owned);
    let forbidden = Some("FORBIDDEN".to_owned());

    server.token = token(&server.url, "midori", "roster.readonly,import");
    let update = "mutation { updateOrg(input: { sourcedId: \"s\", org: { name: \"x\" } }) { outcome } }";
    let answer = server.graphql(update, json!({})).await;
    assert_eq!((code(&answer), &answer["data"]), (forbidden.clone(), &json!({ "updateOrg": null })), "{answer}");
    assert_eq!(answer["errors"][0]["path"], json!(["updateOrg"]));

    // Who writes sees what was written, and not what it leads to.
    server.token = token(&server.url, "midori", "write");
    let own =
        "mutation { updateOrg(input: { sourcedId: \"s\", org: { name: \"緑\" } }) { outcome org { name version } } }";
    let answer = server.graphql(own, json!({})).await;
    assert_eq!(answer["data"]["updateOrg"]["org"]["name"], "緑", "{answer}");
    let beyond =
        "mutation { updateOrg(input: { sourcedId: \"s\", org: {} }) { outcome org { name parent { name } } } }";
    let answer = server.graphql(beyond, json!({})).await;
    let shown = json!({ "name": "緑", "parent": null });
    assert_eq!((code(&answer), &answer["data"]["updateOrg"]["org"]), (forbidden.clone(), &shown), "{answer}");
    for refused in [
        "mutation { updateDemographics(input: { sourcedId: \"u\", demographics: {} }) { outcome } }",
        "mutation { batch(input: { operations: [{ deleteDemographics: { sourcedId: \"u\" } }] }) { position } }",
        "mutation { startImport(input: { file: \"#upload:0\" }) { userErrors { code } } }",
        "{ importJobs { nodes { id } } }",
    ] {
        assert_eq!(code(&server.graphql(refused, json!({})).await), forbidden, "{refused}");
    }

    let (exit, text) = run(&server.url, &["tenant", "create", "aoba"]);
    assert_eq!(exit, 0, "{text}");
    server.token = token(&server.url, "aoba", EVERYTHING);
    let answer = server.graphql(update, json!({})).await;
    assert_eq!(answer["data"]["updateOrg"]["outcome"], Value::Null, "not its record: {answer}");
    server.token = everything;
    assert_eq!(server.query("{ org(sourcedId: \"s\") { name } }").await["org"]["name"], "緑");
}

/// Sends a form: its parts with their names, and headers.
async fn send(server: &Server, form: Form, preflight: bool) -> Value {
    let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(&server.token).multipart(form);
    let request = if preflight { request.header("graphql-require-preflight", "1") } else { request };
    request.send().await.unwrap().json().await.unwrap()
}

fn form(query: &str, zip: Vec<u8>) -> Form {
    let operations = json!({ "query": query, "variables": { "input": { "file": null, "wait": 60 } } });
    Form::new()
        .text("operations", operations.to_string())
        .text("map", r#"{"0":["variables.input.file"]}"#)
        .part("0", Part::bytes(zip).file_name("midori.zip"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_handed_in_and_its_job_read() {
    let server = Server::start().await;
    let query = "mutation ($input: StartImportInput!) { startImport(input: $input) { userErrors { code field } importJob {
        id state fileName errorCount position rows { file count } changes { recordType created } errors(first: 1) {
        totalCount nodes { number file line column code message messageJa mend mendJa } edges { cursor } pageInfo { hasNextPage } } } } }";
    let answer = send(&server, form(query, bulk(&city())), true).await;
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    let job = &answer["data"]["startImport"]["importJob"];
    assert_eq!(
        (&job["state"], &job["fileName"], &job["errorCount"]),
        (&json!("COMPLETED"), &json!("midori.zip"), &json!(0))
    );
    assert!(
        job["changes"].as_array().unwrap().iter().any(|c| c["recordType"] == "user" && c["created"].as_i64() > Some(0)),
        "{job}"
    );
    assert!(server.query("{ users { totalCount } }").await["users"]["totalCount"].as_i64() > Some(0));

    let answer = send(&server, form(query, b"not a zip".to_vec()), true).await;
    let failed = &answer["data"]["startImport"]["importJob"];
    assert_eq!(
        (&failed["state"], &failed["errors"]["nodes"][0]["code"]),
        (&json!("FAILED"), &json!("NOT_A_ZIP")),
        "{answer}"
    );

    // The newest first, page by page; and as REST tells it.
    let first = server.query("{ importJobs(first: 1) { nodes { id } pageInfo { hasNextPage endCursor } } }").await;
    let first = &first["importJobs"];
    assert_eq!((&first["nodes"][0]["id"], &first["pageInfo"]["hasNextPage"]), (&failed["id"], &json!(true)));
    let after = first["pageInfo"]["endCursor"].as_str().unwrap();
    let next = server
        .query(&format!(
            "{{ importJobs(first: 1, after: \"{after}\") {{ nodes {{ id }} pageInfo {{ hasNextPage }} }} }}"
        ))
        .await;
    assert_eq!(next["importJobs"], json!({ "nodes": [{ "id": job["id"] }], "pageInfo": { "hasNextPage": false } }));
    let one = server.query(&format!("{{ importJob(id: {}) {{ id state position }} }}", job["id"])).await;
    assert_eq!(one["importJob"], json!({ "id": job["id"], "state": "COMPLETED", "position": job["position"] }));
    let rest: Value = server
        .get(&format!("{}/rosterhub/v1/imports/{}", server.base, job["id"].as_str().unwrap()))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(rest["position"], job["position"]);
    assert_eq!(server.query("{ importJob(id: \"x\") { id } }").await["importJob"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_none_are_refused() {
    let server = Server::start().await;
    let query = "mutation ($input: StartImportInput!) { startImport(input: $input) { userErrors { code field } importJob { id } } }";
    let refused = |answer: Value| answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        refused(send(&server, form(query, vec![]), false).await),
        "BAD_USER_INPUT",
        "another site could send it"
    );
    let no_map = Form::new().text("operations", "{}").part("0", Part::bytes(vec![]).file_name("a.zip"));
    assert_eq!(refused(send(&server, no_map, true).await), "BAD_USER_INPUT");
    let two = form(query, vec![]).part("1", Part::bytes(vec![]).file_name("b.zip"));
    assert_eq!(refused(send(&server, two, true).await), "BAD_USER_INPUT");
    // A mark without a file means none.
    for mark in ["#upload:0", "#upload:9", "#__graphql_file__:x", "a.zip"] {
        let answer = server.graphql(query, json!({ "input": { "file": mark } })).await;
        let started = &answer["data"]["startImport"];
        assert_eq!(
            started["userErrors"],
            json!([{ "code": "MISSING_REQUIRED", "field": ["input", "file"] }]),
            "{answer}"
        );
        assert_eq!(started["importJob"], Value::Null);
    }
    assert_eq!(server.query("{ importJobs { nodes { id } } }").await["importJobs"]["nodes"], json!([]));
}

/// Records of the generator, written by both gateways, are the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_both_gateways_write_is_the_same() {
    let (from, to) = (Server::start().await, Server::start().await);
    from.import(bulk(&city())).await;
    let mut operations = Vec::new();
    let mut written = Vec::new();
    for collection in ["academicSessions", "orgs", "courses", "classes", "users", "demographics", "enrollments"] {
        let (of, name) = names(collection);
        let page = from.read(&format!("{collection}?limit=1000")).await;
        for record in page.as_object().unwrap().values().next().unwrap().as_array().unwrap() {
            operations
                .push(json!({ format!("replace{of}"): { "sourcedId": record["sourcedId"], name: input(record) } }));
            written.push((collection, record.clone()));
        }
    }
    operations.truncate(1_000);
    let query = "mutation ($input: BatchInput!) { batch(input: $input) { userErrors { code field value } } }";
    let answer = to.graphql(query, json!({ "input": { "operations": operations } })).await;
    assert_eq!(
        answer["data"]["batch"]["userErrors"],
        json!([]),
        "{}",
        answer.to_string().chars().take(2_000).collect::<String>()
    );
    for (collection, record) in written.iter().take(operations.len()).step_by(7) {
        let mut own = to.read(&format!("{collection}/{}", record["sourcedId"].as_str().unwrap())).await;
        let own: &mut Map<String, Value> =
            own.as_object_mut().unwrap().values_mut().next().unwrap().as_object_mut().unwrap();
        own["dateLastModified"] = record["dateLastModified"].clone();
        assert_eq!(Value::Object(own.clone()).to_string().replace(&to.base, &from.base), record.to_string());
    }
    assert_verified(&to.url);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_handed_in_with_its_encoding_and_mode() {
    let server = Server::start().await;
    let query = "mutation ($input: StartImportInput!) { startImport(input: $input) { importJob { state notWithdrawn
        encodings { file encoding } errors(first: 1) { nodes { code line column message mend mendJa } } } } }";
    let hand_in = async |input: Value, text: &str| {
        let (bytes, ..) = encoding_rs::SHIFT_JIS.encode(text);
        let operations = json!({ "query": query, "variables": { "input": input } });
        let form = Form::new()
            .text("operations", operations.to_string())
            .text("map", r#"{"0":["variables.input.file"]}"#)
            .part("0", Part::bytes(bytes.into_owned()).file_name("orgs.csv"));
        send(&server, form, true).await["data"]["startImport"]["importJob"].clone()
    };
    let orgs = crate::imports::ORGS;
    let job = hand_in(json!({ "file": null, "wait": 60 }), &format!("{orgs}o,,,高橋,school,,\r\n")).await;
    assert_eq!(job["state"], "COMPLETED", "{job}");
    assert_eq!(job["encodings"], json!([{ "file": "orgs", "encoding": "cp932" }]));
    assert_eq!(job["notWithdrawn"], json!(["org"]));
    let said = json!({ "file": null, "wait": 60, "encoding": "UTF_8", "mode": "DELTA" });
    let delta = format!("{orgs}o,active,2026-04-01T00:00:00.000Z,高橋,school,,\r\n");
    let job = hand_in(said, &delta).await;
    let error = &job["errors"]["nodes"][0];
    assert_eq!(
        (&error["code"], &error["line"], &error["column"]),
        (&json!("BAD_CHARACTER"), &json!(2), &json!("name")),
        "{job}"
    );
    assert!(["message", "mend", "mendJa"].iter().all(|text| error[text].is_string()));
}
