//! Answers about audit and erasures, held against their descriptions.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::document::Document;
use crate::support::{EVERYTHING, Server, put, token};

const HUB: &str = "/rosterhub/v1";
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Asks for all there is of audit and erasures.
pub async fn hold_all(server: &Server, document: &Document) {
    let officer = token(&server.url, "midori", &format!("{EVERYTHING},audit,erase"));
    let reader = token(&server.url, "midori", "roster.readonly");
    let hold = async |request: RequestBuilder, verb: &str, path: &str, status: u16| {
        let operation = &document.value["paths"][format!("{HUB}{path}")][verb];
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{}", response.url());
        document.hold(operation, response, false).await
    };
    let ask = |token: Option<&str>, verb: &str, path: &str, body: Option<&Value>| {
        let method: Method = verb.to_uppercase().parse().unwrap();
        let request = server.http.request(method, format!("{}{HUB}{path}", server.base));
        let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
        if let Some(body) = body { request.json(body) } else { request }
    };
    let get = |path: &str| ask(Some(&officer), "get", path, None);
    let post = |path: &str, body: &Value| ask(Some(&officer), "post", path, Some(body));

    put(server, "orgs/heard", json!({ "org": { "name": "heard", "type": "school" } })).await;
    let person = |name: &str| {
        json!({ "user": { "enabledUser": "true", "username": name, "givenName": name, "familyName": name,
                "roles": [{ "roleType": "primary", "role": "teacher", "org": { "sourcedId": "heard", "type": "org" } }] } })
    };
    for name in ["leaver", "stayer"] {
        put(server, &format!("users/{name}"), person(name)).await;
    }
    let made = hold(post("/audit/checkpoints", &json!({})), "post", "/audit/checkpoints", 200).await;
    let size = made["size"].as_i64().unwrap();
    for (path, good, bad, statuses) in [
        ("/audit/checkpoint", "", "", vec![]),
        ("/audit/checkpoints", "?limit=2&before=1000000", "?limit=x", vec![400]),
        ("/audit/keys", "", "", vec![]),
        ("/audit/proofs/inclusion", "?position=1", "?position=0", vec![400]),
        ("/audit/proofs/inclusion", "?position=1&size=2", "?position=99999999", vec![409]),
        ("/audit/proofs/consistency", "?old=1&new=2", "?old=0&new=2", vec![400]),
        ("/audit/proofs/consistency", &format!("?old=1&new={size}"), "?old=1&new=99999999", vec![409]),
        ("/audit/history", "?record=user/leaver&limit=3", "?record=x", vec![400]),
        ("/audit/history", "?format=csv", "?import=00000000-0000-0000-0000-000000000000", vec![404]),
        ("/audit/history", "?format=jsonl&person=leaver", "?limit=x", vec![400]),
        ("/audit/access", "?person=leaver&limit=3", "?limit=x", vec![400]),
        ("/audit/access/report", "?person=leaver&lang=ja", "?person=leaver&lang=fr", vec![400]),
        ("/audit/access/report", "?person=leaver&format=csv", "", vec![400]),
        ("/audit/checks", "?limit=3", "?days=3", vec![400]),
        ("/audit/subject", "?person=leaver", "?person=nobody", vec![404]),
        ("/audit/subject", "?person=stayer", "", vec![400]),
        ("/erasures", "?limit=3&sourcedId=leaver", "?limit=x", vec![400]),
        ("/erasures/due", "?years=5&limit=3&after=a", "?years=0", vec![400]),
        ("/legal-holds", "?all=true&limit=3", "?all=maybe", vec![400]),
    ] {
        hold(get(&format!("{path}{good}")), "get", path, 200).await;
        for status in statuses {
            hold(get(&format!("{path}{bad}")), "get", path, status).await;
        }
    }
    let who = |name: &str| json!({ "sourcedId": name, "request": "17", });
    let erased = hold(post("/erasures", &who("leaver")), "post", "/erasures", 201).await;
    hold(post("/erasures", &who("nobody")), "post", "/erasures", 404).await;
    hold(post("/erasures", &json!({})), "post", "/erasures", 400).await;
    let reason = |name: &str| json!({ "sourcedId": name, "reason": "3" });
    let held = hold(post("/legal-holds", &reason("stayer")), "post", "/legal-holds", 201).await;
    hold(post("/legal-holds", &reason("nobody")), "post", "/legal-holds", 404).await;
    hold(post("/legal-holds", &json!({})), "post", "/legal-holds", 400).await;
    hold(post("/erasures", &who("stayer")), "post", "/erasures", 409).await;
    let rule = |years: u32| json!({ "years": years, "request": "17" });
    hold(post("/erasures/due", &rule(5)), "post", "/erasures/due", 200).await;
    hold(post("/erasures/due", &rule(0)), "post", "/erasures/due", 400).await;
    for (verb, path, id) in [
        ("get", "/erasures/{id}", &erased["id"]),
        ("post", "/erasures/{id}/lift", &erased["id"]),
        ("post", "/legal-holds/{id}/release", &held["id"]),
    ] {
        for (id, status) in [(id.as_str().unwrap(), 200), (NOBODY, 404), ("nonsense", 400)] {
            hold(ask(Some(&officer), verb, &path.replace("{id}", id), None), verb, path, status).await;
        }
    }
    for (verb, path, _) in document.operations() {
        let Some(path) = path.strip_prefix(HUB) else { continue };
        if !["/audit", "/erasures", "/legal-holds"].iter().any(|of| path.starts_with(of)) {
            continue;
        }
        let real = path.replace("{id}", NOBODY);
        hold(ask(None, verb, &real, None), verb, path, 401).await;
        hold(ask(Some(&reader), verb, &real, None), verb, path, 403).await;
    }
}
