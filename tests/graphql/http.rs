//! GraphQL over HTTP: verbs, media types, statuses, headers.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{Server, bulk, city, client, token};

const NEW: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

fn post(server: &Server, accept: &str) -> RequestBuilder {
    let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(&server.token);
    request.header("accept", accept)
}

fn get(server: &Server, parameters: &[(&str, &str)]) -> RequestBuilder {
    let request = server.http.get(format!("{}/graphql", server.base)).bearer_auth(&server.token);
    request.header("accept", NEW).query(parameters)
}

/// Media type without its parameters, after the status.
fn head(response: &Response) -> (u16, String) {
    let media_type = response.headers()["content-type"].to_str().unwrap();
    let (media_type, charset) = media_type.split_once(';').unwrap();
    assert_eq!(charset.trim(), "charset=utf-8");
    (response.status().as_u16(), media_type.to_owned())
}

/// Status, media type and code of the only error. It has no data.
async fn refused(request: RequestBuilder) -> (u16, String, String) {
    let response = request.send().await.unwrap();
    let (status, media_type) = head(&response);
    let body: Value = response.json().await.unwrap();
    assert!(body.get("data").is_none(), "{body}");
    let errors = body["errors"].as_array().unwrap();
    assert!(errors.len() == 1 && errors[0]["message"].is_string(), "{body}");
    (status, media_type, errors[0]["extensions"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn answers_have_the_media_type_that_the_client_likes_best() {
    let server = Server::start().await;
    let body = json!({ "query": "{ __typename }" });
    for (accept, expected) in [
        (NEW, NEW),
        (JSON, JSON),
        ("*/*", JSON),
        ("application/graphql-response+json, application/json;q=0.9", NEW),
        ("application/json;q=0.8, application/graphql-response+json", NEW),
        ("application/json; charset=utf-8", JSON),
    ] {
        let response = post(&server, accept).json(&body).send().await.unwrap();
        assert_eq!(head(&response), (200, expected.to_owned()), "{accept}");
        assert!(response.headers()["vary"].to_str().unwrap().contains("accept"));
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.json::<Value>().await.unwrap()["data"], json!({ "__typename": "Query" }));
    }
    for accept in ["text/plain", "text/html", "application/json;q=0", "application/json; charset=latin1"] {
        let expected = (406, NEW.to_owned(), "NOT_ACCEPTABLE".to_owned());
        assert_eq!(refused(post(&server, accept).json(&body)).await, expected, "{accept}");
    }
}

#[tokio::test]
async fn what_is_not_executed_has_a_status_of_its_own_but_in_json_of_old() {
    let server = Server::start().await;
    for (body, code, status) in [
        (json!({ "query": "{" }), "PARSE_FAILED", 400),
        (json!({ "query": "{ nothing }" }), "VALIDATION_FAILED", 400),
        (json!({ "query": "query($id: ID!) { node(id: $id) { id } }" }), "VALIDATION_FAILED", 400),
        (
            json!({ "query": "query($id: ID!) { __typename @skip(if: false) node(id: $id) { id } }", "variables": { "id": null } }),
            "VALIDATION_FAILED",
            400,
        ),
        (
            json!({ "query": "query($n: Int) { orgs(first: $n) { totalCount } }", "variables": { "n": "x" } }),
            "VALIDATION_FAILED",
            400,
        ),
        (json!({ "query": "query A { __typename } query B { __typename }" }), "VALIDATION_FAILED", 400),
        (json!({ "query": "{ __typename }", "operationName": "A" }), "VALIDATION_FAILED", 400),
        (json!({ "documentId": format!("sha256:{}", "0".repeat(64)) }), "PERSISTED_QUERY_NOT_FOUND", 404),
    ] {
        let expected = (status, NEW.to_owned(), code.to_owned());
        assert_eq!(refused(post(&server, NEW).json(&body)).await, expected, "{body}");
        assert_eq!(refused(post(&server, JSON).json(&body)).await, (200, JSON.to_owned(), code.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_refused_whatever_the_media_type() {
    let server = Server::start().await;
    let bad = [
        "",
        "NONSENSE",
        "{\"query\":",
        "7",
        "[{\"query\":\"{ __typename }\"}]",
        "{}",
        "{\"qeury\":\"{ __typename }\"}",
        "{\"query\":{\"a\":1}}",
        "{\"query\":null}",
        "{\"query\":\"{ __typename }\",\"operationName\":7}",
        "{\"query\":\"{ __typename }\",\"variables\":[7]}",
        "{\"query\":\"{ __typename }\",\"variables\":\"{}\"}",
        "{\"query\":\"{ __typename }\",\"extensions\":[]}",
        "{\"query\":\"{ __typename }\",\"extensions\":7}",
        "{\"query\":\"{ __typename }\",\"query\":\"{ __typename }\"}",
        "{\"documentId\":7}",
    ];
    for accept in [NEW, JSON] {
        let expected = |status, code: &str| (status, accept.to_owned(), code.to_owned());
        for body in bad {
            let request = post(&server, accept).header("content-type", JSON).body(body);
            assert_eq!(refused(request).await, expected(400, "BAD_REQUEST"), "{body}");
        }
        let invalid = post(&server, accept).header("content-type", JSON).body(b"{\"query\":\"\xff\"}".to_vec());
        assert_eq!(refused(invalid).await, expected(400, "BAD_REQUEST"));
        // Those that a page of another site could send without being asked (simple requests) are among them.
        let query = "{\"query\":\"{ __typename }\"}";
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/graphql",
            "application/json; charset=latin1",
        ] {
            let request = post(&server, accept).header("content-type", media_type).body(query);
            assert_eq!(refused(request).await, expected(415, "UNSUPPORTED_MEDIA_TYPE"), "{media_type}");
        }
        assert_eq!(refused(post(&server, accept).body(query)).await, expected(415, "UNSUPPORTED_MEDIA_TYPE"));
        let large = json!({ "query": "{ __typename }", "variables": { "a": "a".repeat(20_000_000) } });
        assert_eq!(refused(post(&server, accept).json(&large)).await, expected(413, "PAYLOAD_TOO_LARGE"));
    }
    // Members that are null are none; those that nobody knows are passed over; JSON may say that it is UTF-8.
    let body = "{\"query\":\"{ __typename }\",\"variables\":null,\"operationName\":null,\"extensions\":null,\"x\":[1]}";
    let response = post(&server, NEW).header("content-type", "Application/JSON;charset=UTF-8").body(body);
    assert_eq!(response.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn queries_may_come_by_get_and_nothing_else() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let query = "query One($n: Int) { orgs(first: $n) { nodes { sourcedId } } } query Two { __typename }";
    let asked = [("query", query), ("operationName", "One"), ("variables", "{\"n\":2}"), ("extensions", "")];
    let response = get(&server, &asked).send().await.unwrap();
    assert_eq!(head(&response), (200, NEW.to_owned()));
    let position: i64 = response.headers()["rosterhub-position"].to_str().unwrap().parse().unwrap();
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["data"]["orgs"]["nodes"].as_array().unwrap().len(), 2, "{body}");
    assert_eq!(body["extensions"]["position"], position);

    for (parameters, status, code) in [
        (&[("query", "mutation { __typename }")][..], 405, "METHOD_NOT_ALLOWED"),
        (&[("query", "subscription { __typename }")], 405, "METHOD_NOT_ALLOWED"),
        (
            &[("query", "query A { __typename } mutation B { __typename }"), ("operationName", "B")],
            405,
            "METHOD_NOT_ALLOWED",
        ),
        (&[], 400, "BAD_REQUEST"),
        (&[("query", "{ __typename }"), ("query", "{ __typename }")], 400, "BAD_REQUEST"),
        (&[("query", "{ __typename }"), ("variables", "[]")], 400, "BAD_REQUEST"),
        (&[("query", "{ __typename }"), ("extensions", "7")], 400, "BAD_REQUEST"),
    ] {
        let expected = (status, NEW.to_owned(), code.to_owned());
        assert_eq!(refused(get(&server, parameters)).await, expected, "{parameters:?}");
    }
    let mutation = get(&server, &[("query", "mutation { __typename }")]).send().await.unwrap();
    assert_eq!(mutation.headers()["allow"], "POST");
    for verb in [Method::PUT, Method::PATCH, Method::DELETE] {
        let request = server.http.request(verb, format!("{}/graphql", server.base)).bearer_auth(&server.token);
        let response = request.header("accept", NEW).send().await.unwrap();
        assert_eq!(head(&response), (405, NEW.to_owned()));
        assert_eq!(response.headers()["allow"], "GET,HEAD,POST");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], "METHOD_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn who_may_not_ask_is_told_in_graphqls_shape() {
    let server = Server::start().await;
    let url = format!("{}/graphql", server.base);
    let body = json!({ "query": "{ __typename }" });
    for (sent, challenge) in [(None, "Bearer realm=\"rosterhub\""), (Some("rh_wrong"), "error=\"invalid_token\"")] {
        for accept in [NEW, JSON] {
            let mut request = server.http.post(&url).header("accept", accept).json(&body);
            if let Some(token) = sent {
                request = request.bearer_auth(token);
            }
            let response = request.try_clone().unwrap().send().await.unwrap();
            assert!(response.headers()["www-authenticate"].to_str().unwrap().contains(challenge));
            assert_eq!(refused(request).await, (401, accept.to_owned(), "UNAUTHENTICATED".to_owned()));
        }
    }
    let made = client(&server.url, "midori", &["--api-key", "--allow", "192.0.2.0/24"]);
    let elsewhere = server.http.post(&url).bearer_auth(made["apiKey"].as_str().unwrap()).json(&body);
    assert_eq!(refused(elsewhere).await, (403, JSON.to_owned(), "FORBIDDEN".to_owned()));

    let made = client(&server.url, "midori", &["--api-key", "--rate", "1", "--burst", "1"]);
    let slow = || server.http.post(&url).bearer_auth(made["apiKey"].as_str().unwrap()).json(&body);
    // One comes back each second: of many, one is refused.
    let limited = loop {
        let response = slow().send().await.unwrap();
        if response.status() != 200 {
            break response;
        }
    };
    assert_eq!((limited.status().as_u16(), limited.headers().contains_key("retry-after")), (429, true));
    assert_eq!(limited.headers()["ratelimit-limit"], "1");
    assert_eq!(limited.json::<Value>().await.unwrap()["errors"][0]["extensions"]["code"], "RATE_LIMITED");
}

#[tokio::test]
async fn what_is_answered_in_part_has_the_status_of_it() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let without = token(&server.url, "midori", "roster-core.readonly");
    let body = json!({ "query": "{ orgs(first: 1) { nodes { id } } allDemographics(first: 1) { nodes { id } } }" });
    for (accept, status) in [(NEW, 294), (JSON, 200)] {
        let request = server.http.post(format!("{}/graphql", server.base)).bearer_auth(&without);
        let response = request.header("accept", accept).json(&body).send().await.unwrap();
        assert_eq!(head(&response), (status, accept.to_owned()));
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["data"]["allDemographics"], Value::Null);
        assert_eq!(body["data"]["orgs"]["nodes"].as_array().unwrap().len(), 1, "{body}");
        assert_eq!(body["errors"][0]["extensions"]["code"], "FORBIDDEN");
    }
}

#[tokio::test]
async fn a_position_to_come_is_asked_again_later() {
    let server = Server::start().await;
    let body = json!({ "query": "{ orgs(atLeast: 1000000, first: 1) { nodes { id } } }" });
    let response = post(&server, NEW).json(&body).send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(head(&response), (503, NEW.to_owned()));
    assert_eq!(response.json::<Value>().await.unwrap()["errors"][0]["extensions"]["code"], "POSITION_NOT_REACHED");
}

#[tokio::test]
async fn browsers_get_an_explorer_that_loads_nothing_from_elsewhere() {
    let server = Server::start().await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let url = format!("{}/graphql", server.base);
    let page = server.http.get(&url).header("accept", browser).send().await.unwrap();
    assert_eq!(head(&page), (200, "text/html".to_owned()));
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
    let page = page.text().await.unwrap();
    let files: Vec<&str> = page.split('"').filter(|part| part.starts_with("/graphql/explorer/")).collect();
    assert_eq!(files.len(), 6, "{page}");
    assert!(!page.contains("http:") && !page.contains("https:"), "{page}");
    for file in files {
        let url = format!("{}{file}", server.base);
        let response = server.http.get(&url).send().await.unwrap();
        assert_eq!(response.status(), 200, "{file}");
        let again = server.http.get(&url).header("if-none-match", &response.headers()["etag"]);
        assert_eq!(again.send().await.unwrap().status(), 304);
    }

    let off = Server::with(&server.url, &[("ROSTERHUB_GRAPHQL_EXPLORER", "false")]);
    let response = off.http.get(format!("{}/graphql", off.base)).header("accept", browser).send().await.unwrap();
    assert_eq!(head(&response), (401, JSON.to_owned()));
}
