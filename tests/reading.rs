//! Every operation of the Rostering service, against a naive reading of the same roster in memory.

use std::collections::BTreeSet;

use rosterhub::query::endpoint::{ENDPOINTS, Endpoint};
use rosterhub::sample::{Dialect, SampleOptions};
use serde_json::{Value, json};

use crate::support::{Server, bulk, city, delta, put};

/// A city with terms, and a grading period in one of them.
pub async fn roster() -> Server {
    let server = Server::start().await;
    let options = SampleOptions { dialect: Dialect::Base, terms: true, ..city() };
    server.import(bulk(&options)).await;
    // Some records are to be deleted, and some were changed later than others.
    server.import(delta(&options, 10.0)).await;
    let terms = server.read("terms").await["academicSessions"].clone();
    let period = json!({
        "title": "中間", "type": "gradingPeriod", "startDate": "2026-04-01", "endDate": "2026-06-01", "schoolYear": "2026",
        "parent": { "sourcedId": terms[0]["sourcedId"], "type": "academicSession" },
    });
    put(&server, "academicSessions/midterm", period).await;
    server
}

/// All records of an entity.
async fn dump(server: &Server, collection: &str) -> Vec<Value> {
    server.read(&format!("{collection}?limit=10000")).await[collection].as_array().unwrap().clone()
}

struct Dump {
    sessions: Vec<Value>,
    orgs: Vec<Value>,
    courses: Vec<Value>,
    classes: Vec<Value>,
    users: Vec<Value>,
    enrollments: Vec<Value>,
    demographics: Vec<Value>,
}

impl Dump {
    async fn of(server: &Server) -> Self {
        Self {
            sessions: dump(server, "academicSessions").await,
            orgs: dump(server, "orgs").await,
            courses: dump(server, "courses").await,
            classes: dump(server, "classes").await,
            users: dump(server, "users").await,
            enrollments: dump(server, "enrollments").await,
            demographics: dump(server, "demographics").await,
        }
    }

    /// What the binding says each collection holds, told by its path. `ids`: values of the path's parameters.
    fn expected(&self, endpoint: &Endpoint, ids: &[&str]) -> Vec<&Value> {
        let first = ids.first().copied().unwrap_or_default();
        let class = ids.last().copied().unwrap_or_default();
        let is = |member: &'static str, value: &'static str| move |r: &&Value| r[member] == value;
        let refers = |member: &'static str, id: &str| {
            let id = id.to_owned();
            move |r: &&Value| r[member]["sourcedId"] == id.as_str()
        };
        let has_role =
            |role: &'static str, org: Option<String>| {
                move |user: &&Value| {
                    user["roles"].as_array().unwrap().iter().any(|r| {
                        r["role"] == role && org.as_ref().is_none_or(|org| r["org"]["sourcedId"] == org.as_str())
                    })
                }
            };
        let active = |e: &&Value| e["status"] == "active";
        let enrolled = |role: &'static str, class: &str| -> Vec<&Value> {
            let users: BTreeSet<&str> = self
                .enrollments
                .iter()
                .filter(active)
                .filter(refers("class", class))
                .filter(is("role", role))
                .map(|e| e["user"]["sourcedId"].as_str().unwrap())
                .collect();
            self.users.iter().filter(|u| users.contains(u["sourcedId"].as_str().unwrap())).collect()
        };
        let attended = |role: Option<&str>| -> Vec<&Value> {
            let classes: BTreeSet<&str> = self
                .enrollments
                .iter()
                .filter(active)
                .filter(|e| e["user"]["sourcedId"] == first && role.is_none_or(|role| e["role"] == role))
                .map(|e| e["class"]["sourcedId"].as_str().unwrap())
                .collect();
            self.classes.iter().filter(|c| classes.contains(c["sourcedId"].as_str().unwrap())).collect()
        };
        let mut expected: Vec<&Value> = match endpoint.path {
            "academicSessions" => self.sessions.iter().collect(),
            "terms" => self.sessions.iter().filter(is("type", "term")).collect(),
            "gradingPeriods" => self.sessions.iter().filter(is("type", "gradingPeriod")).collect(),
            "orgs" => self.orgs.iter().collect(),
            "schools" => self.orgs.iter().filter(is("type", "school")).collect(),
            "courses" => self.courses.iter().collect(),
            "classes" => self.classes.iter().collect(),
            "users" => self.users.iter().collect(),
            "students" => self.users.iter().filter(has_role("student", None)).collect(),
            "teachers" => self.users.iter().filter(has_role("teacher", None)).collect(),
            "enrollments" => self.enrollments.iter().collect(),
            "demographics" => self.demographics.iter().collect(),
            "schools/{schoolSourcedId}/classes" => self.classes.iter().filter(refers("school", first)).collect(),
            "schools/{schoolSourcedId}/courses" => self.courses.iter().filter(refers("org", first)).collect(),
            "schools/{schoolSourcedId}/enrollments" => {
                self.enrollments.iter().filter(refers("school", first)).collect()
            }
            "schools/{schoolSourcedId}/students" => {
                self.users.iter().filter(active).filter(has_role("student", Some(first.into()))).collect()
            }
            "schools/{schoolSourcedId}/teachers" => {
                self.users.iter().filter(active).filter(has_role("teacher", Some(first.into()))).collect()
            }
            "schools/{schoolSourcedId}/terms" => {
                let used: BTreeSet<&str> = self
                    .classes
                    .iter()
                    .filter(active)
                    .filter(refers("school", first))
                    .flat_map(|c| c["terms"].as_array().unwrap().iter().map(|t| t["sourcedId"].as_str().unwrap()))
                    .collect();
                let terms = self.sessions.iter().filter(is("type", "term"));
                terms.filter(|s| used.contains(s["sourcedId"].as_str().unwrap())).collect()
            }
            "schools/{schoolSourcedId}/classes/{classSourcedId}/enrollments" => {
                self.enrollments.iter().filter(refers("class", class)).collect()
            }
            path if path.ends_with("{classSourcedId}/students") => enrolled("student", class),
            path if path.ends_with("{classSourcedId}/teachers") => enrolled("teacher", class),
            "courses/{courseSourcedId}/classes" => self.classes.iter().filter(refers("course", first)).collect(),
            "students/{studentSourcedId}/classes" => attended(Some("student")),
            "teachers/{teacherSourcedId}/classes" => attended(Some("teacher")),
            "users/{userSourcedId}/classes" => attended(None),
            "terms/{termSourcedId}/classes" => self
                .classes
                .iter()
                .filter(|c| c["terms"].as_array().unwrap().iter().any(|t| t["sourcedId"] == first))
                .collect(),
            "terms/{termSourcedId}/gradingPeriods" => {
                self.sessions.iter().filter(is("type", "gradingPeriod")).filter(refers("parent", first)).collect()
            }
            other => panic!("{other} is not known here"),
        };
        expected.sort_by_key(|r| r["sourcedId"].as_str().unwrap());
        expected
    }
}

fn id(record: &Value) -> &str {
    record["sourcedId"].as_str().unwrap()
}

#[tokio::test]
async fn every_operation_answers_with_what_the_binding_says() {
    let server = roster().await;
    let dump = Dump::of(&server).await;
    // Ids that lead to something: a class with pupils and a teacher, its school, course, term.
    let enrollment = dump.enrollments.iter().find(|e| e["role"] == "teacher" && e["status"] == "active").unwrap();
    let class = dump.classes.iter().find(|c| c["sourcedId"] == enrollment["class"]["sourcedId"]).unwrap();
    let pupil = dump
        .enrollments
        .iter()
        .find(|e| e["role"] == "student" && e["status"] == "active" && e["class"] == enrollment["class"])
        .unwrap();
    let term = dump.sessions.iter().find(|s| s["children"].is_array() && s["type"] == "term").unwrap();
    let of = |parameter: &str| -> &str {
        match parameter {
            "schoolSourcedId" => class["school"]["sourcedId"].as_str().unwrap(),
            "classSourcedId" => id(class),
            "courseSourcedId" => class["course"]["sourcedId"].as_str().unwrap(),
            "studentSourcedId" | "userSourcedId" => pupil["user"]["sourcedId"].as_str().unwrap(),
            "teacherSourcedId" => enrollment["user"]["sourcedId"].as_str().unwrap(),
            "termSourcedId" => id(term),
            other => panic!("{other}"),
        }
    };
    for endpoint in ENDPOINTS.iter().filter(|e| !e.is_single) {
        let ids: Vec<&str> = endpoint.parameters().map(of).collect();
        let path = endpoint
            .parameters()
            .zip(&ids)
            .fold(endpoint.path.to_owned(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id));
        let expected = dump.expected(endpoint, &ids);
        assert!(!expected.is_empty(), "{path} would show nothing");
        let list = async |query: &str| -> (Vec<Value>, u64) {
            let response = server.get(&server.oneroster(&format!("{path}?{query}"))).await;
            let status = response.status();
            let total = response.headers().get("x-total-count").and_then(|t| t.to_str().unwrap().parse().ok());
            let body: Value = response.json().await.unwrap();
            assert_eq!(status, 200, "{path}?{query}: {body}");
            let object = body.as_object().unwrap();
            assert_eq!(object.keys().collect::<Vec<_>>(), [endpoint.member()], "{path}");
            (object[endpoint.member()].as_array().unwrap().clone(), total.unwrap())
        };
        let count = expected.len() as u64;
        let (all, total) = list("limit=10000").await;
        assert_eq!((all.iter().collect::<Vec<_>>(), total), (expected.clone(), count), "{path}");
        // Each of the six parameters.
        let (page, total) = list("limit=2&offset=1").await;
        assert_eq!(
            (page.iter().collect::<Vec<_>>(), total),
            (expected.iter().skip(1).take(2).copied().collect(), count),
            "{path}"
        );
        let (backward, _) = list("limit=10000&sort=sourcedId&orderBy=desc").await;
        assert!(backward.iter().eq(expected.iter().rev().copied()), "{path}");
        let (cut, _) = list("limit=10000&fields=sourcedId,status").await;
        let members: Vec<Value> =
            expected.iter().map(|r| json!({ "sourcedId": r["sourcedId"], "status": r["status"] })).collect();
        assert_eq!(cut, members, "{path}");
        let active: Vec<&Value> = expected.iter().copied().filter(|r| r["status"] == "active").collect();
        let (filtered, total) = list("limit=10000&filter=status='active'").await;
        assert_eq!((filtered.iter().collect::<Vec<_>>(), total), (active.clone(), active.len() as u64), "{path}");

        // The record alone, where the collection has that operation; an unknown id is not found anywhere.
        if endpoint.parameters().next().is_none() {
            let single = ENDPOINTS.iter().find(|e| e.path == format!("{}/{{sourcedId}}", endpoint.path)).unwrap();
            for record in expected.iter().take(3) {
                let body = server.read(&format!("{path}/{}", id(record))).await;
                assert_eq!(body, json!({ single.member(): record }), "{path}");
                let cut = server.read(&format!("{path}/{}?fields=status", id(record))).await;
                assert_eq!(cut, json!({ single.member(): { "status": record["status"] } }), "{path}");
            }
            let response = server.get(&server.oneroster(&format!("{path}/nobody"))).await;
            assert_eq!(response.status(), 404, "{path}");
        }
        for id in &ids {
            let wrong = path.replace(id, "nobody");
            let response = server.get(&server.oneroster(&wrong)).await;
            assert_eq!(response.status(), 404, "{wrong}");
            let body: Value = response.json().await.unwrap();
            assert_eq!(body["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"], "unknownobject");
        }
    }
    // A class of another school is not found below this one, nor a record of the wrong kind in a virtual collection.
    let other = dump.classes.iter().find(|c| c["school"] != class["school"]).unwrap();
    let (school, teacher) = (of("schoolSourcedId"), of("teacherSourcedId"));
    for path in [
        format!("schools/{school}/classes/{}/students", id(other)),
        format!("students/{teacher}"),
        format!("students/{teacher}/classes"),
        format!("schools/{}", id(dump.orgs.iter().find(|o| o["type"] != "school").unwrap())),
        "terms/midterm".to_owned(),
        "terms/midterm/classes".to_owned(),
    ] {
        assert_eq!(server.get(&server.oneroster(&path)).await.status(), 404, "{path}");
    }
}

/// The scopes of each operation (REST binding, security).
#[tokio::test]
async fn each_operation_asks_for_its_scope() {
    let server = Server::start().await;
    let token = |scopes: &str| crate::support::token(&server.url, "midori", scopes);
    let tokens = [
        token("roster-core.readonly"),
        token("roster.readonly"),
        token("roster-demographics.readonly"),
        token("import,write"),
    ];
    for endpoint in &ENDPOINTS {
        let nested = endpoint.parameters().count() > usize::from(endpoint.is_single);
        let allowed = match (endpoint.path.starts_with("demographics"), nested) {
            (true, _) => [false, false, true, false],
            (false, true) => [false, true, false, false],
            (false, false) => [true, true, false, false],
        };
        let path = endpoint.path.replace(['{', '}'], "");
        for (token, allowed) in tokens.iter().zip(allowed) {
            let response = server.http.get(server.oneroster(&path)).bearer_auth(token).send().await.unwrap();
            // Nothing is there: what may be read is empty or not found.
            let expected = if !allowed {
                403
            } else if endpoint.parameters().next().is_some() {
                404
            } else {
                200
            };
            assert_eq!(response.status(), expected, "{path}");
        }
    }
}
