//! Documents known by an id.

use rosterhub::graphql::persisted::sha256;
use serde_json::{Value, json};

use crate::support::{Server, rosterhub, run, token};

const QUERY: &str = "{ orgs(first: 1) { totalCount } }";

async fn ask(server: &Server, token: &str, body: Value) -> Value {
    let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(token).json(&body);
    request.send().await.unwrap().json().await.unwrap()
}

fn by_hash(hash: &str, query: Option<&str>) -> Value {
    let mut body = json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": hash } } });
    if let Some(query) = query {
        body["query"] = query.into();
    }
    body
}

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

#[tokio::test]
async fn clients_register_documents_by_their_hash() {
    let server = Server::start().await;
    let hash = sha256(QUERY);
    let unknown = ask(&server, &server.token, by_hash(&hash, None)).await;
    // As Apollo's clients want it.
    assert_eq!(code(&unknown), "PERSISTED_QUERY_NOT_FOUND");
    assert_eq!(unknown["errors"][0]["message"], "PersistedQueryNotFound");
    let sent = ask(&server, &server.token, by_hash(&hash, Some(QUERY))).await;
    assert_eq!(sent["errors"], Value::Null);
    assert_eq!(ask(&server, &server.token, by_hash(&hash, None)).await["data"], sent["data"]);
    let by_id = json!({ "documentId": format!("sha256:{hash}") });
    assert_eq!(ask(&server, &server.token, by_id).await["data"], sent["data"]);
    // By GET as well.
    let url = format!("{}/graphql", server.base);
    let parameters = [("extensions", by_hash(&hash, None)["extensions"].to_string())];
    let got = server.http.get(&url).bearer_auth(&server.token).query(&parameters).send().await.unwrap();
    assert_eq!(got.json::<Value>().await.unwrap()["data"], sent["data"]);
    // Another tenant's clients have the text by its hash, and of the roster their own.
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    let other = ask(&server, &token(&server.url, "aoba", "roster.readonly"), by_hash(&hash, None)).await;
    assert_eq!(other["data"]["orgs"]["totalCount"], 0, "{other}");
}

#[tokio::test]
async fn a_hash_is_the_documents_own() {
    let server = Server::start().await;
    let other = sha256("{ __typename }");
    assert_eq!(code(&ask(&server, &server.token, by_hash(&other, Some(QUERY))).await), "BAD_REQUEST");
    assert_eq!(code(&ask(&server, &server.token, by_hash(&other, None)).await), "PERSISTED_QUERY_NOT_FOUND");
    // What is refused is not kept.
    let bad = "{ nothing }";
    assert_eq!(code(&ask(&server, &server.token, by_hash(&sha256("{"), Some("{"))).await), "PARSE_FAILED");
    assert_eq!(code(&ask(&server, &server.token, by_hash(&sha256("{"), None)).await), "PERSISTED_QUERY_NOT_FOUND");
    assert_eq!(code(&ask(&server, &server.token, by_hash(&sha256(bad), Some(bad))).await), "VALIDATION_FAILED");
    for body in [
        by_hash("abc", None),
        by_hash(&other.to_uppercase(), None),
        json!({ "extensions": { "persistedQuery": { "version": 2, "sha256Hash": other } } }),
        json!({ "extensions": { "persistedQuery": 7 } }),
        json!({ "documentId": "sha256:abc" }),
        json!({ "documentId": format!("sha256:{}", sha256("a")), "extensions": by_hash(&other, None)["extensions"] }),
    ] {
        assert_eq!(code(&ask(&server, &server.token, body.clone()).await), "BAD_REQUEST", "{body}");
    }
    let off = Server::with(&server.url, &[("ROSTERHUB_GRAPHQL_PERSISTED_BYTES", "0")]);
    let answer = ask(&off, &off.token, by_hash(&other, None)).await;
    assert_eq!(code(&answer), "PERSISTED_QUERY_NOT_SUPPORTED");
    assert_eq!(answer["errors"][0]["message"], "PersistedQueryNotSupported");
    assert_eq!(ask(&off, &off.token, by_hash(&sha256(QUERY), Some(QUERY))).await["errors"], Value::Null);
}

#[tokio::test]
async fn a_list_says_what_is_answered() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let operation = "query Orgs { orgs(first: 1) { totalCount } }";
    std::fs::write(path("plain.json"), json!({ "orgs-v1": operation }).to_string()).unwrap();
    let manifest = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [
        { "id": "orgs-v1", "name": "Orgs", "type": "query", "body": operation },
    ]});
    std::fs::write(path("manifest.json"), manifest.to_string()).unwrap();
    std::fs::create_dir(path("folder")).unwrap();
    std::fs::write(path("folder/orgs.graphql"), operation).unwrap();
    std::fs::write(path("folder/README.md"), "no document").unwrap();
    for list in ["plain.json", "manifest.json", "folder"] {
        let server = Server::with(&server.url, &[("ROSTERHUB_GRAPHQL_OPERATIONS", &path(list))]);
        let hash = sha256(operation);
        for (body, listed) in [
            (json!({ "query": operation }), true),
            (json!({ "documentId": format!("sha256:{hash}") }), true),
            (json!({ "documentId": "orgs-v1" }), list != "folder"),
            (by_hash(&hash, None), true),
            (by_hash(&hash, Some(operation)), true),
            (json!({ "query": QUERY }), false),
            (json!({ "query": "{ __schema { types { name } } }" }), false),
            (by_hash(&sha256(QUERY), None), false),
            // Neither is one registered, nor is another sent under the id of one that is listed.
            (by_hash(&sha256(QUERY), Some(QUERY)), false),
            (json!({ "documentId": "orgs-v1", "query": QUERY }), false),
        ] {
            let answer = ask(&server, &server.token, body.clone()).await;
            match listed {
                true => assert_eq!(answer["data"]["orgs"]["totalCount"], 0, "{list} {body}: {answer}"),
                false => assert_eq!(code(&answer), "OPERATION_NOT_ALLOWED", "{list} {body}: {answer}"),
            }
        }
    }
    // A list that is none stops the server as it starts.
    std::fs::write(path("broken.json"), json!({ "a": "{" }).to_string()).unwrap();
    for list in ["broken.json", "missing.json", "folder/README.md"] {
        let mut command = rosterhub(&server.url, &["serve"]);
        let output = command.env("ROSTERHUB_GRAPHQL_OPERATIONS", path(list)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("GraphQL operation"), "{list}: {text}");
    }
}
