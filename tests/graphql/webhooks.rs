//! Webhooks managed by GraphQL: as by REST, and with a real receiver.

use serde_json::{Value, json};

use super::code;
use crate::support::receiver::Receiver;
use crate::support::{self, Server, put, token, until};
use crate::webhooks::server;

const CREATE: &str = "mutation ($input: CreateWebhookInput!) { createWebhook(input: $input) {
    secret webhook { id state } userErrors { field code message messageJa } } }";

/// Answers one field of `Mutation` whose variable is its input, without errors of the machine.
async fn act(server: &Server, document: &str, input: Value) -> Value {
    let answer = server.graphql(document, json!({ "input": input })).await;
    assert_eq!(answer["errors"], Value::Null, "{document}: {answer}");
    answer["data"].as_object().unwrap().values().next().unwrap().clone()
}

/// A mutation that takes an id and shows these fields.
fn by_id(field: &str, shown: &str) -> String {
    let (first, rest) = field.split_at(1);
    let input = format!("{}{rest}Input", first.to_uppercase());
    format!("mutation ($input: {input}!) {{ {field}(input: $input) {{ {shown} userErrors {{ field code }} }} }}")
}

/// Registers an endpoint and verifies it: its id and its secret.
async fn register(server: &Server, input: Value) -> (String, String) {
    let made = act(server, CREATE, input).await;
    assert_eq!((&made["userErrors"], &made["webhook"]["state"]), (&json!([]), &json!("UNVERIFIED")), "{made}");
    let id = made["webhook"]["id"].as_str().unwrap().to_owned();
    let verify = by_id("verifyWebhook", "trial { ok status failure } webhook { state }");
    let verified = act(server, &verify, json!({ "id": id })).await;
    let as_it_should = json!({ "trial": { "ok": true, "status": 200, "failure": null },
        "webhook": { "state": "ACTIVE" }, "userErrors": [] });
    assert_eq!(verified, as_it_should);
    (id, made["secret"].as_str().unwrap().to_owned())
}

async fn write_org(server: &Server, id: &str) {
    put(server, &format!("orgs/{id}"), json!({ "org": { "name": id, "type": "school" } })).await;
}

/// What REST shows at a path below `/webhooks`.
async fn rest(server: &Server, path: &str) -> Value {
    let answer = server.get(&format!("{}/rosterhub/v1/webhooks{path}", server.base)).await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

/// What `webhook` shows of an endpoint.
async fn webhook(server: &Server, id: &str, shown: &str) -> Value {
    server.query(&format!("{{ webhook(id: \"{id}\") {{ {shown} }} }}")).await["webhook"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_the_same_by_rest_and_is_delivered_to() {
    let (receiver, url) = Receiver::start(&[500]).await;
    let server = server().await;
    let input = json!({ "url": url, "types": ["org.*"], "filter": "sourcedId!='x'", "payload": "FULL", "order": "FIFO",
        "imports": "RECORDS", "headers": [{ "name": "X-Key", "value": "hidden" }], "rate": 1000, "description": "d",
        "after": "0" });
    let (id, secret) = register(&server, input).await;
    for org in ["a", "b", "c"] {
        write_org(&server, org).await;
    }
    until("all are told", async || receiver.messages().len() >= 4).await;
    let webhook_of_secret = standardwebhooks::Webhook::new(&secret).unwrap();
    for (headers, body) in receiver.calls().iter().map(|call| (&call.headers, &call.body)) {
        webhook_of_secret.verify(body, headers).unwrap();
        assert_eq!(headers["x-key"], "hidden");
    }
    let counts = "counts { state count }";
    let delivered = json!({ "counts": [{ "state": "DELIVERED", "count": 3 }] });
    until("the log has them", async || webhook(&server, &id, counts).await == delivered).await;

    // What both show.
    let shown = webhook(
        &server,
        &id,
        "id client url description types filter payload order imports headers rate state reason position sequence \
         failingSince createdAt updatedAt",
    )
    .await;
    let by_rest = rest(&server, &format!("/{id}")).await;
    for (name, value) in shown.as_object().unwrap() {
        match name.as_str() {
            "payload" | "order" | "imports" | "state" => {
                assert_eq!(value.as_str().unwrap().to_lowercase(), by_rest[name].as_str().unwrap(), "{name}");
            }
            _ => assert_eq!(*value, by_rest[name], "{name}"),
        }
    }
    assert_eq!((&shown["headers"], &shown["sequence"]), (&json!(["x-key"]), &json!(3)));
    assert_eq!(by_rest["deliveries"], json!({ "delivered": 3 }));

    // The log, page by page.
    let page = "deliveries(first: 2) { nodes { message sequence attempts { attempt status failure } } pageInfo { hasNextPage endCursor } }";
    let first = webhook(&server, &id, page).await["deliveries"].clone();
    let list = rest(&server, &format!("/{id}/deliveries")).await["deliveries"].clone();
    let messages = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|delivery| delivery["message"].clone()).collect()
    };
    assert_eq!(messages(&first["nodes"]), messages(&list)[..2]);
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let after = first["pageInfo"]["endCursor"].as_str().unwrap();
    let rest_of = format!(
        "deliveries(first: 2, after: \"{after}\", state: DELIVERED, type: \"org.created\") {{ edges {{ node {{
            message type state attemptCount attempts {{ attempt status }} }} }} pageInfo {{ hasNextPage }} }}"
    );
    let last = webhook(&server, &id, &rest_of).await["deliveries"].clone();
    let attempts = json!([{ "attempt": 1, "status": 500 }, { "attempt": 2, "status": 204 }]);
    let node = json!({ "message": list[2]["message"], "type": "org.created", "state": "DELIVERED", "attemptCount": 2,
        "attempts": attempts });
    assert_eq!(last, json!({ "edges": [{ "node": node }], "pageInfo": { "hasNextPage": false } }));
    for none in ["deliveries(state: FAILED)", "deliveries(type: \"user.created\")", "deliveries(first: 0)"] {
        let shown = webhook(&server, &id, &format!("{none} {{ nodes {{ message }} }}")).await;
        assert_eq!(shown, json!({ "deliveries": { "nodes": [] } }), "{none}");
    }
    let one = format!("delivery(message: {}) {{ sequence attempts {{ status }} }}", list[2]["message"]);
    let attempts = json!([{ "status": 500 }, { "status": 204 }]);
    let one = webhook(&server, &id, &one).await;
    assert_eq!(one, json!({ "delivery": { "sequence": 1, "attempts": attempts } }));
    let none = webhook(&server, &id, "delivery(message: \"msg_x\") { sequence }").await;
    assert_eq!(none, json!({ "delivery": null }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_changed_paused_resumed_and_deleted() {
    let (receiver, url) = Receiver::start(&[]).await;
    let (other, moved) = Receiver::start(&[]).await;
    let server = server().await;
    let (id, _) =
        register(&server, json!({ "url": url, "types": ["org.*"], "filter": "sourcedId='a'", "rate": 9 })).await;
    write_org(&server, "a").await;
    until("it is told", async || receiver.messages().len() == 1).await;

    // What is absent stays, null removes; a variable that is left out is absent.
    let change = "mutation ($id: ID!, $filter: String, $rate: Int, $order: WebhookOrder) {
        updateWebhook(input: { id: $id, filter: $filter, rate: $rate, order: $order, description: \"d\" }) {
            webhook { filter rate order description state } userErrors { code } } }";
    for (variables, filter, rate, order) in [
        (json!({ "id": id, "order": "RECORD" }), json!("sourcedId='a'"), json!(9), "RECORD"),
        (json!({ "id": id, "filter": null }), Value::Null, json!(9), "RECORD"),
        (json!({ "id": id, "rate": null, "order": "FIFO" }), Value::Null, Value::Null, "FIFO"),
    ] {
        let answer = server.graphql(change, variables).await;
        let webhook = json!({ "filter": filter, "rate": rate, "order": order, "description": "d", "state": "ACTIVE" });
        assert_eq!(answer["data"]["updateWebhook"], json!({ "webhook": webhook, "userErrors": [] }), "{answer}");
    }

    let state = "webhook { state }";
    let in_state = |state: &str| json!({ "webhook": { "state": state }, "userErrors": [] });
    assert_eq!(act(&server, &by_id("pauseWebhook", state), json!({ "id": id })).await, in_state("PAUSED"));
    write_org(&server, "b").await;
    assert_eq!(act(&server, &by_id("resumeWebhook", state), json!({ "id": id })).await, in_state("ACTIVE"));
    until("what was written meanwhile is told", async || receiver.messages().len() == 2).await;

    // One message, what failed, all.
    let first = receiver.messages()[0]["id"].clone();
    let resend = by_id("resendWebhookDelivery", "messages");
    let again = act(&server, &resend, json!({ "id": id, "message": first })).await;
    assert_eq!(again, json!({ "messages": 1, "userErrors": [] }));
    until("it is told once more", async || receiver.messages().len() == 3).await;
    assert_eq!(receiver.messages()[2]["id"], first);
    let recover = by_id("recoverWebhook", "messages");
    assert_eq!(act(&server, &recover, json!({ "id": id, "since": "2026-01-01T00:00:00Z" })).await["messages"], 0);
    let replayed = act(&server, &by_id("replayWebhook", state), json!({ "id": id, "after": 0 })).await;
    assert_eq!(replayed, in_state("ACTIVE"));
    until("both are told again", async || receiver.messages().len() == 5).await;
    assert!(receiver.messages()[3..].iter().all(|message| message["id"] != first), "a replay has ids of its own");

    // A new address has to be verified.
    let address = act(&server, &by_id("updateWebhook", state), json!({ "id": id, "url": moved })).await;
    assert_eq!(address, in_state("UNVERIFIED"));
    let unverified = act(&server, &by_id("resumeWebhook", state), json!({ "id": id })).await;
    let error = json!({ "webhook": null, "userErrors": [{ "field": ["input", "id"], "code": "UNVERIFIED" }] });
    assert_eq!(unverified, error);
    act(&server, &by_id("verifyWebhook", state), json!({ "id": id })).await;
    let test = act(&server, &by_id("testWebhook", "trial { ok status state }"), json!({ "id": id })).await;
    assert_eq!(test["trial"], json!({ "ok": true, "status": 204, "state": "ACTIVE" }));
    assert!(other.messages().iter().any(|message| message["type"] == "endpoint.test"));

    let gone = act(&server, &by_id("deleteWebhook", "id"), json!({ "id": id })).await;
    assert_eq!(gone, json!({ "id": id, "userErrors": [] }));
    assert_eq!(webhook(&server, &id, "id").await, Value::Null);
    assert_eq!(rest(&server, "").await, json!({ "webhooks": [] }));
    assert_eq!(server.query("{ webhooks { nodes { id } } }").await["webhooks"]["nodes"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_the_old_one_signs_beside_the_new() {
    let (receiver, url) = Receiver::start(&[]).await;
    let server = server().await;
    let (id, old) = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    let rotate = by_id("rotateWebhookSecret", "secret webhook { secrets { kind expiresAt } }");
    let rotated = act(&server, &rotate, json!({ "id": id, "overlapHours": 1.5 })).await;
    let new = rotated["secret"].as_str().unwrap();
    assert_ne!(new, old);
    let keys = rotated["webhook"]["secrets"].as_array().unwrap();
    assert_eq!((&keys[0]["kind"], &keys[0]["expiresAt"]), (&json!("HMAC"), &Value::Null));
    assert!(keys.len() == 2 && keys[1]["expiresAt"].is_string(), "{rotated}");
    write_org(&server, "a").await;
    until("it is told", async || receiver.messages().len() == 1).await;
    let first = receiver.calls()[0].clone();
    let (headers, body) = (first.headers, first.body);
    for secret in [&*old, new] {
        standardwebhooks::Webhook::new(secret).unwrap().verify(&body, &headers).unwrap();
    }
    // A key pair takes their place at once, and shows what is public.
    let pair = act(&server, &rotate, json!({ "id": id, "overlapHours": 0, "key": "ED25519" })).await;
    assert!(pair["secret"].as_str().unwrap().starts_with("whpk_"), "{pair}");
    assert_eq!(pair["webhook"]["secrets"], json!([{ "kind": "ED25519", "expiresAt": null }]));
    // Nothing that is read has a secret.
    let all = "{ webhooks { nodes { id url description types filter headers state
        secrets { id kind createdAt expiresAt } deliveries { nodes { message attempts { excerpt failure } } } } } }";
    let shown = server.query(all).await.to_string() + &rest(&server, &format!("/{id}")).await.to_string();
    for secret in ["whsec_", "whsk_", "whpk_"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let field = server.graphql(&format!("{{ webhook(id: \"{id}\") {{ secret }} }}"), json!({})).await;
    assert_eq!(code(&field), "VALIDATION_FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_as_by_rest() {
    let server = server().await;
    let url = "http://127.0.0.1:9/hook";
    for (input, field) in [
        (json!({ "url": "ftp://x/", "types": ["*"] }), "url"),
        (json!({ "url": "http://10.0.0.1/", "types": ["*"] }), "url"),
        (json!({ "url": url, "types": [] }), "types"),
        (json!({ "url": url, "types": ["users.changed"] }), "types"),
        (json!({ "url": url, "types": ["*"], "filter": "x='y'" }), "filter"),
        (json!({ "url": url, "types": ["*"], "secret": "x" }), "secret"),
        (json!({ "url": url, "types": ["*"], "secret": "x", "key": "ED25519" }), "secret"),
        (json!({ "url": url, "types": ["*"], "headers": [{ "name": "host", "value": "x" }] }), "headers"),
        (json!({ "url": url, "types": ["*"], "after": 99 }), "after"),
        (json!({ "url": url, "types": ["*"], "rate": 0 }), "rate"),
        (json!({ "url": url, "types": ["*"], "description": "x".repeat(2_001) }), "description"),
    ] {
        let made = act(&server, CREATE, input.clone()).await;
        let error = &made["userErrors"][0];
        assert_eq!((&error["code"], &error["field"]), (&json!("BAD_REQUEST"), &json!(["input", field])), "{input}");
        assert!(error["messageJa"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        assert_eq!((&made["secret"], &made["webhook"]), (&Value::Null, &Value::Null));
        // REST says the same of it.
        let mut body = input;
        for (name, values) in [("key", json!("ed25519")), ("headers", json!({ "host": "x" }))] {
            if body.get(name).is_some() {
                body[name] = values;
            }
        }
        let address = format!("{}/rosterhub/v1/webhooks", server.base);
        let answer = server.http.post(address).bearer_auth(&server.token).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 400);
        let by_rest: Value = answer.json().await.unwrap();
        assert_eq!(error["message"], by_rest["error"]["message"], "{body}");
    }
    for (id, field, input) in [
        ("x", "pauseWebhook", json!({})),
        ("00000000-0000-4000-8000-000000000000", "deleteWebhook", json!({})),
        ("00000000-0000-4000-8000-000000000000", "replayWebhook", json!({ "after": 0 })),
    ] {
        let mut input = input;
        input["id"] = id.into();
        let answer = act(&server, &by_id(field, ""), input).await;
        assert_eq!(answer, json!({ "userErrors": [{ "field": ["input", "id"], "code": "NOT_FOUND" }] }), "{field}");
    }
    let (id, _) = {
        let (_receiver, url) = Receiver::start(&[]).await;
        register(&server, json!({ "url": url, "types": ["*"] })).await
    };
    for (field, input, at, code) in [
        ("resendWebhookDelivery", json!({ "message": "msg_x" }), "message", "NOT_FOUND"),
        ("recoverWebhook", json!({}), "after", "BAD_REQUEST"),
        ("replayWebhook", json!({ "after": 99 }), "after", "BAD_REQUEST"),
        ("replayWebhook", json!({ "after": 0, "since": "2026-01-01T00:00:00Z" }), "after", "BAD_REQUEST"),
        ("rotateWebhookSecret", json!({ "overlapHours": -1 }), "overlapHours", "BAD_REQUEST"),
        ("rotateWebhookSecret", json!({ "secret": "x" }), "secret", "BAD_REQUEST"),
        ("updateWebhook", json!({ "types": ["x"] }), "types", "BAD_REQUEST"),
    ] {
        let mut input = input;
        input["id"] = id.as_str().into();
        let answer = act(&server, &by_id(field, ""), input).await;
        assert_eq!(answer, json!({ "userErrors": [{ "field": ["input", at], "code": code }] }), "{field}");
    }
    // What does not fit its type, or is beyond a bound.
    for (query, refused) in [
        ("{ webhooks(first: 101) { nodes { id } } }", "LIMIT_EXCEEDED"),
        ("{ webhooks(after: \"x\") { nodes { id } } }", "BAD_USER_INPUT"),
        ("mutation { createWebhook(input: { types: [\"*\"] }) { secret } }", "VALIDATION_FAILED"),
        ("mutation { replayWebhook(input: { id: \"x\", after: \"y\" }) { webhook { id } } }", "BAD_USER_INPUT"),
        (
            "{ webhooks(first: 100) { nodes { deliveries(first: 1000) { nodes { attempts { at } } } } } }",
            "LIMIT_EXCEEDED",
        ),
    ] {
        assert_eq!(code(&server.graphql(query, json!({})).await), refused, "{query}");
    }
    let cost =
        server.graphql("{ webhooks(first: 10) { nodes { deliveries(first: 7) { nodes { type } } } } }", json!({}));
    assert_eq!(cost.await["extensions"]["cost"]["requested"]["records"], 10 + 10 * 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_belongs_to_its_client_and_its_tenant() {
    let (_receiver, url) = Receiver::start(&[]).await;
    let mut server = server().await;
    let (id, _) = register(&server, json!({ "url": url, "types": ["org.*"] })).await;
    assert_eq!(support::run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let refused = |code: &str| json!([{ "field": ["input", "id"], "code": code }]);
    for (tenant, scopes, sees, changes, pauses) in [
        ("midori", "webhooks,roster.readonly", false, refused("NOT_FOUND"), refused("NOT_FOUND")),
        ("aoba", "webhooks,admin,roster.readonly", false, refused("NOT_FOUND"), refused("NOT_FOUND")),
        ("midori", "admin", true, refused("FORBIDDEN"), json!([])),
    ] {
        server.token = token(&server.url, tenant, scopes);
        assert_eq!(webhook(&server, &id, "id").await.is_object(), sees, "{tenant} {scopes}");
        let all = server.query("{ webhooks { nodes { id } } }").await["webhooks"]["nodes"].clone();
        assert_eq!(all.as_array().unwrap().len(), usize::from(sees), "{tenant} {scopes}");
        for (field, errors) in
            [("updateWebhook", &changes), ("rotateWebhookSecret", &changes), ("pauseWebhook", &pauses)]
        {
            let answer = act(&server, &by_id(field, "webhook { id }"), json!({ "id": id })).await;
            assert_eq!(answer["userErrors"], *errors, "{tenant} {scopes} {field}");
        }
    }
    // Without a scope for webhooks, and without one for what is to be told.
    server.token = token(&server.url, "midori", support::EVERYTHING);
    for query in [
        "{ webhooks { nodes { id } } }".to_owned(),
        format!("{{ webhook(id: \"{id}\") {{ id }} }}"),
        "{ eventTypes { name } }".to_owned(),
        format!("mutation {{ deleteWebhook(input: {{ id: \"{id}\" }}) {{ id }} }}"),
    ] {
        let answer = server.graphql(&query, json!({})).await;
        assert_eq!((code(&answer), answer["data"].as_object().unwrap().len()), ("FORBIDDEN", 1), "{query}");
    }
    server.token = token(&server.url, "midori", "webhooks");
    let made = act(&server, CREATE, json!({ "url": url, "types": ["user.*"] })).await;
    let error = &made["userErrors"][0];
    assert_eq!((&error["code"], &error["field"]), (&json!("INSUFFICIENT_SCOPE"), &json!(["input", "types"])), "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_listed_page_by_page_and_event_types_with_schemas() {
    let server = server().await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let answer = act(&server, CREATE, json!({ "url": "http://127.0.0.1:9/", "types": ["org.*"] })).await;
        made.push(answer["webhook"]["id"].clone());
    }
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let query = "query ($after: String) { webhooks(first: 2, after: $after) {
            totalCount edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
        let answer = server.graphql(query, json!({ "after": after })).await;
        let page = &answer["data"]["webhooks"];
        assert_eq!(page["totalCount"], 3);
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !after.is_null(), "{answer}");
        seen.extend(page["edges"].as_array().unwrap().iter().map(|edge| edge["node"]["id"].clone()));
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(seen, made);
    // A tenant may have 100.
    let one = "createWebhook(input: { url: \"http://127.0.0.1:9/\", types: [\"*\"] }) { userErrors { code field } }";
    for count in [20, 20, 20, 20, 17] {
        let many: String = (0..count).map(|n| format!("w{n}: {one} ")).collect();
        let answer = server.query(&format!("mutation {{ {many} }}")).await;
        assert!(answer.as_object().unwrap().values().all(|made| made["userErrors"] == json!([])), "{answer}");
    }
    let beyond = server.query(&format!("mutation {{ {one} }}")).await;
    assert_eq!(beyond["createWebhook"]["userErrors"], json!([{ "code": "TOO_MANY", "field": null }]));
    let types = server.query("{ eventTypes { name version group description scope } }").await["eventTypes"].clone();
    let by_rest = rest(&server, "/event-types").await["eventTypes"].clone();
    assert_eq!(types.as_array().unwrap().len(), by_rest.as_array().unwrap().len());
    for (shown, by_rest) in types.as_array().unwrap().iter().zip(by_rest.as_array().unwrap()) {
        let mut by_rest = by_rest.clone();
        by_rest["group"] = by_rest["group"].as_str().unwrap().to_uppercase().into();
        assert_eq!(*shown, by_rest);
    }
    let one = server.query("{ eventTypes(name: \"user.changed\") { schema example } }").await["eventTypes"].clone();
    let by_rest = rest(&server, "/event-types/user.changed").await;
    assert_eq!(one, json!([{ "schema": by_rest["schema"], "example": by_rest["example"] }]));
}
