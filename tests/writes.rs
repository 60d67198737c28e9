//! The write API.

#[path = "writes/batch.rs"]
mod batch;
#[path = "writes/conditions.rs"]
mod conditions;
#[path = "writes/faults.rs"]
mod faults;
#[path = "writes/idempotency.rs"]
mod idempotency;
#[path = "writes/users.rs"]
mod users;
#[path = "writes/verbs.rs"]
mod verbs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::Server;

/// What a write was answered.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: u16,
    etag: Option<String>,
    location: Option<String>,
    position: Option<i64>,
    body: Value,
}

impl Answer {
    /// The record in the answer's envelope.
    fn record(&self) -> &Value {
        let (_, record) = self.body.as_object().and_then(|b| b.iter().next()).unwrap_or_else(|| panic!("{self:?}"));
        record
    }

    /// (field, code) of its faults.
    fn faults(&self) -> Vec<(&str, &str)> {
        let faults = self.body["error"]["faults"].as_array().unwrap_or_else(|| panic!("{self:?}"));
        faults.iter().map(|f| (f["field"].as_str().unwrap(), f["code"].as_str().unwrap())).collect()
    }

    fn position(&self) -> i64 {
        self.position.unwrap_or_else(|| panic!("{self:?}"))
    }

    fn etag(&self) -> &str {
        self.etag.as_deref().unwrap_or_else(|| panic!("{self:?}"))
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// Sends a request below `/rosterhub/v1`.
fn request(server: &Server, method: Method, path: &str, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
    let request = server.http.request(method, format!("{}/rosterhub/v1/{path}", server.base));
    let request = request.bearer_auth(&server.token);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Answer {
        status: response.status().as_u16(),
        etag: header("etag"),
        location: header("location"),
        position: header("rosterhub-position").map(|position| position.parse().unwrap()),
        body: response.json().await.unwrap_or_default(),
    }
}

async fn send_with(server: &Server, method: Method, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let request = request(server, method, path, headers);
    answer(if body.is_null() { request } else { request.json(body) }).await
}

async fn send(server: &Server, method: Method, path: &str, body: Value) -> Answer {
    send_with(server, method, path, &[], &body).await
}

async fn put(server: &Server, path: &str, body: Value) -> Answer {
    send(server, Method::PUT, &format!("roster/{path}"), body).await
}

async fn patch(server: &Server, path: &str, body: Value) -> Answer {
    send(server, Method::PATCH, &format!("roster/{path}"), body).await
}

async fn delete(server: &Server, path: &str) -> Answer {
    send(server, Method::DELETE, &format!("roster/{path}"), Value::Null).await
}

fn reference(kind: &str, id: &str) -> Value {
    json!({ "sourcedId": id, "type": kind })
}

fn role(role_type: &str, role: &str, org: &str) -> Value {
    json!({ "roleType": role_type, "role": role, "org": reference("org", org) })
}

/// A board with a school, a class and two people: (collection, sourcedId, document), what is referred to first.
pub fn documents() -> Vec<(&'static str, &'static str, Value)> {
    let person = |given: &str, roles: Value| json!({ "enabledUser": "true", "username": given, "givenName": given, "familyName": "佐藤", "roles": roles });
    let mut teacher = person("先生", json!([role("primary", "teacher", "s")]));
    teacher["userProfiles"] = json!([{
        "profileId": "p", "profileType": "LMS", "vendorId": "v", "applicationId": "a",
        "credentials": [{ "type": "password", "username": "sensei" }]
    }]);
    teacher["roles"][0]["userProfile"] = json!("p");
    vec![
        (
            "academicSessions",
            "y",
            json!({
                "title": "2026年度", "type": "schoolYear", "startDate": "2026-04-01", "endDate": "2027-03-31",
                "schoolYear": "2026"
            }),
        ),
        ("orgs", "b", json!({ "name": "みどり市教育委員会", "type": "district", "identifier": "13" })),
        (
            "orgs",
            "s",
            json!({ "name": "みどり小学校", "type": "school", "identifier": "", "parent": reference("org", "b") }),
        ),
        (
            "courses",
            "c",
            json!({
                "title": "国語", "courseCode": "", "org": reference("org", "s"),
                "schoolYear": reference("academicSession", "y"), "subjects": ["国語"]
            }),
        ),
        (
            "classes",
            "k",
            json!({
                "title": "1年1組", "classType": "homeroom", "grades": ["P1"], "course": reference("course", "c"),
                "school": reference("org", "s"), "terms": [reference("academicSession", "y")],
                "metadata": { "jp.specialNeeds": "false" }
            }),
        ),
        ("users", "t", teacher),
        ("users", "u", person("花子", json!([role("primary", "student", "s")]))),
        ("demographics", "u", json!({ "birthDate": "2019-05-01", "sex": "female" })),
        (
            "enrollments",
            "e",
            json!({
                "class": reference("class", "k"), "school": reference("org", "s"), "user": reference("user", "t"),
                "role": "teacher", "primary": "true", "beginDate": "2026-04-01"
            }),
        ),
    ]
}

/// Writes the documents; gives the position afterwards.
async fn seed(server: &Server) -> i64 {
    let operations: Vec<Value> = documents()
        .into_iter()
        .map(|(collection, id, document)| {
            json!({ "op": "create", "collection": collection, "sourcedId": id, "document": document })
        })
        .collect();
    let written = send(server, Method::POST, "batch", json!({ "operations": operations })).await.expect(200);
    written.position()
}
