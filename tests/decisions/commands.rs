//! The same by GraphQL and from the command line.

use serde_json::{Value, json};

use super::{FIVE, get, id, orgs, strict};
use crate::support::{assert_verified, json as printed, rosterhub, run};

#[tokio::test]
async fn plans_are_decided_on_by_graphql() {
    let server = strict(&[]).await;
    let first = server.import(orgs(&FIVE)).await;
    let held = server.hand_in(orgs(&FIVE[..4]), "").await;
    let query = "query ($id: ID!) { importJob(id: $id) { state expiresAt leftOut { file } notWithdrawn plan {
        id position conflictCount difference { added } thresholds { recordType school kind records active limit }
        changes { recordType withdrawn } schools { school name changes { recordType withdrawn } }
        records(first: 10, recordType: org, kind: WITHDRAWN, school: \"o5\") {
          pageInfo { hasNextPage } nodes { sourcedId kind file line members { name before after } later { position } } } } } }";
    let answer = server.graphql(query, json!({ "id": held["id"] })).await;
    let job = &answer["data"]["importJob"];
    assert_eq!((&job["state"], &job["plan"]["id"]), (&json!("HELD"), &held["plan"]), "{answer}");
    let board =
        json!({ "recordType": "org", "school": null, "kind": "WITHDRAWN", "records": 1, "active": 5, "limit": 10.0 });
    assert_eq!(job["plan"]["thresholds"][0], board);
    let gone = &job["plan"]["records"]["nodes"][0];
    assert_eq!((&gone["sourcedId"], &gone["line"]), (&json!("o5"), &Value::Null));
    assert!(
        job["plan"]["schools"].as_array().unwrap().iter().any(|s| s["school"] == "o5" && s["name"] == "e"),
        "{job}"
    );

    let decide = async |field: &str, input: Value| {
        let mut name = field.to_owned();
        name[..1].make_ascii_uppercase();
        let query = format!(
            "mutation ($input: {name}Input!) {{ {field}(input: $input) {{ importJob {{ id state reverts }} userErrors {{ code field messageJa }} }} }}"
        );
        let answer = server.graphql(&query, json!({ "input": input })).await;
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        answer["data"][field].clone()
    };
    let code = |payload: Value| payload["userErrors"][0]["code"].clone();
    let none = "00000000-0000-7000-8000-000000000000";
    assert_eq!(code(decide("approveImport", json!({ "id": none, "plan": none })).await), "UNKNOWN_IMPORT");
    assert_eq!(code(decide("approveImport", json!({ "id": held["id"], "plan": none })).await), "OTHER_PLAN");
    assert_eq!(code(decide("cancelImport", json!({ "id": held["id"] })).await), "WRONG_STATE");
    let applied = decide("approveImport", json!({ "id": held["id"], "plan": held["plan"], "wait": 60 })).await;
    assert_eq!(applied["importJob"]["state"], "COMPLETED", "{applied}");
    let taken = decide("revertImport", json!({ "id": held["id"], "apply": "NEVER", "wait": 60 })).await;
    assert_eq!((&taken["importJob"]["state"], &taken["importJob"]["reverts"]), (&json!("PLANNED"), &held["id"]));
    let gone = decide("discardImport", json!({ "id": taken["importJob"]["id"] })).await;
    assert_eq!(gone["importJob"]["state"], "DISCARDED");
    assert_eq!(code(decide("discardImport", json!({ "id": first["id"] })).await), "WRONG_STATE");
}

#[tokio::test]
async fn plans_are_decided_on_from_the_command_line() {
    let server = strict(&[]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let write = |names: &[(&str, &str)]| std::fs::write(file.path(), orgs(names)).unwrap();
    // Status and what it printed, with few records counting.
    let hub = |args: &[&str]| -> (i32, Value) {
        let mut command = rosterhub(&server.url, &[args, &["--tenant", "midori", "--json"]].concat());
        let output = command.env("ROSTERHUB_IMPORTS_MIN_RECORDS", "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}")))
    };
    write(&FIVE);
    let (code, dry) = hub(&["import", path, "--dry-run"]);
    assert_eq!((code, &dry["import"]["state"]), (0, &json!("planned")));
    let dry = dry["import"].clone();
    let (code, shown) = hub(&["import", "show", id(&dry)]);
    assert_eq!(
        (code, shown["samples"].as_array().unwrap().len(), shown["schools"].as_array().unwrap().len()),
        (0, 3, 5)
    );
    let plan = dry["plan"].as_str().unwrap();
    let (code, other) = hub(&["import", "approve", id(&dry), "--plan", id(&dry)]);
    assert_eq!((code, &other["error"]["code"]), (5, &json!("other_plan")));
    assert_eq!(hub(&["import", "approve", id(&dry), "--plan", plan]).0, 0);
    write(&FIVE[..4]);
    let (code, held) = hub(&["import", path]);
    assert_eq!((code, &held["import"]["state"]), (4, &json!("held")));
    assert_eq!(hub(&["import", "discard", id(&held["import"])]).0, 0);
    assert_eq!(hub(&["import", "cancel", id(&held["import"])]).0, 5);
    let (code, taken) = hub(&["import", "revert", id(&dry), "--apply", "always"]);
    assert_eq!((code, &taken["import"]["state"], &taken["import"]["reverts"]), (0, &json!("completed"), &dry["id"]));
    let list = printed(&server.url, &["import", "list", "--tenant", "midori"]);
    let states: Vec<&str> = list["imports"].as_array().unwrap().iter().map(|j| j["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["completed", "discarded", "completed"]);
    assert_eq!(get(&server, id(&taken["import"])).await.1["kind"], "revert");
    // For people, without a terminal: no progress bar.
    write(&FIVE);
    let (code, text) = run(&server.url, &["import", path, "--tenant", "midori"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("5 restored"), "{text}");
    for args in [
        &["import"][..],
        &["import", "approve", id(&dry), "--tenant", "midori"],
        &["import", path, "--tenant", "midori", "--apply", "soon"],
    ] {
        assert_ne!(run(&server.url, args).0, 0, "{args:?}");
    }
    assert_verified(&server.url);
}
