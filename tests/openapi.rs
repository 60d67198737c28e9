//! What is served is what the OpenAPI documents say: answers are held against their descriptions.

mod document;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::support::{EVERYTHING, Server, bulk, city, client, delta, run, set, token};
use crate::webhooks::SETTINGS;
use crate::writes::documents;
use document::{CERTIFICATION, Document, STANDARD};

#[tokio::test]
async fn both_names_of_discovery_give_the_document_without_a_token() {
    let server = Server::start().await;
    let mut documents = Vec::new();
    for name in [STANDARD, CERTIFICATION] {
        let url = server.oneroster(&format!("discovery/{name}"));
        let response = server.http.get(&url).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        let etag = response.headers()["etag"].clone();
        documents.push(response.text().await.unwrap());

        let again = server.http.get(&url).header("if-none-match", &etag).send().await.unwrap();
        assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &etag));
        let head = server.http.head(&url).send().await.unwrap();
        assert_eq!((head.status().as_u16(), &head.headers()["etag"]), (200, &etag));
        assert_eq!(head.headers()["content-length"], documents[0].len().to_string());
        for verb in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let refused = server.http.request(verb, &url).send().await.unwrap();
            assert_eq!((refused.status().as_u16(), &refused.headers()["allow"]), (405, &"GET,HEAD".parse().unwrap()));
            assert_eq!(refused.json::<Value>().await.unwrap()["imsx_codeMajor"], "failure");
        }
    }
    assert_eq!(documents[0], documents[1]);
    let document: Value = serde_json::from_str(&documents[0]).unwrap();
    assert_eq!(document["servers"], json!([{ "url": format!("{}/ims/oneroster/rostering/v1p2", server.base) }]));
    let token_url = &document["components"]["securitySchemes"]["OAuth2CC"]["flows"]["clientCredentials"]["tokenUrl"];
    assert_eq!(*token_url, format!("{}/oauth/token", server.base));
    // What else is below it is still closed.
    let other = server.http.get(server.oneroster("discovery/other.json")).send().await.unwrap();
    assert_eq!(other.status(), 401);
}

#[tokio::test]
async fn documents_and_page_have_the_address_that_clients_know() {
    let server = Server::start().await;
    let server = Server::with(&server.url, &[("ROSTERHUB_PUBLIC_URL", "https://hub.example/roster")]);
    let document = Document::rostering(&server).await.value;
    assert_eq!(document["servers"][0]["url"], "https://hub.example/roster/ims/oneroster/rostering/v1p2");
    assert_eq!(Document::hub(&server).await.value["servers"][0]["url"], "https://hub.example/roster");
    let page = server.http.get(format!("{}/docs/api", server.base)).send().await.unwrap().text().await.unwrap();
    let page = page.replace("&#x2f;", "/");
    assert!(page.contains("href=\"/roster/docs/api/page.css\"") && page.contains("https://hub.example/roster/ims/"));
}

#[tokio::test]
async fn the_documents_are_valid_openapi() {
    let server = Server::start().await;
    for document in [Document::rostering(&server).await, Document::hub(&server).await] {
        // Another reader than ours takes it.
        serde_json::from_value::<openapiv3::OpenAPI>(document.value.clone()).unwrap();
        check_references(&document, &document.value);
        let mut ids = BTreeSet::new();
        for (verb, path, operation) in document.operations() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{verb} {path}");
            assert!(!operation["responses"].as_object().unwrap().is_empty());
            let in_path: BTreeSet<&str> =
                path.split('/').filter_map(|step| step.strip_prefix('{')?.strip_suffix('}')).collect();
            let declared = document.parameters(operation).filter(|parameter| parameter["in"] == "path");
            assert_eq!(in_path, declared.map(|parameter| parameter["name"].as_str().unwrap()).collect(), "{path}");
            let tags: Vec<_> = document.value["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
            assert!(tags.contains(&&operation["tags"][0]), "{path}");
        }
    }
}

fn check_references(document: &Document, value: &Value) {
    document.resolved(value);
    match value {
        Value::Object(members) => members.values().for_each(|member| check_references(document, member)),
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        _ => {}
    }
}

#[tokio::test]
async fn the_documents_in_the_repository_are_in_step() {
    for (arguments, file) in [(&["openapi"][..], "openapi.json"), (&["openapi", "--hub"], "openapi-hub.json")] {
        let (code, printed) = run("", arguments);
        let kept = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(code == 0 && printed == kept, "{file} is out of step with the code: run `make generated`");
    }
}

/// A city with terms, grading periods and all else that its sets lack, and with records that are to be deleted.
async fn full_city(server: &Server) {
    server.import(bulk(&city())).await;
    let class = server.read("classes?limit=1&filter=classType='scheduled'").await["classes"][0].clone();
    let id = |reference: &Value| reference["sourcedId"].as_str().unwrap().to_owned();
    let sessions = "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\r\n\
        term,active,2026-04-01T00:00:00.000Z,1学期,term,2026-04-01,2026-07-31,,2026\r\n\
        period,active,2026-04-01T00:00:00.000Z,前半,gradingPeriod,2026-04-01,2026-05-31,term,2026\r\n\
        camp,active,2026-04-01T00:00:00.000Z,合宿,ext:camp.1,2026-08-01,2026-08-05,term,2026\r\n";
    let classes = format!(
        "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,\
         termSourcedIds,subjects,subjectCodes,periods\r\n\
         {},active,2026-04-01T00:00:00.000Z,算数,P1,{},1-A,ext:club,音楽室,{},term,算数,P020,\"1,2\"\r\n",
        id(&class),
        id(&class["course"]),
        id(&class["school"])
    );
    let job = server.import(set(&[("academicSessions", "delta", sessions), ("classes", "delta", &classes)])).await;
    assert_eq!(job["state"], "completed", "{job} {:?}", server.errors(&job).await);
    let job = server.import(delta(&city(), 50.0)).await;
    assert_eq!(job["state"], "completed", "{job} {:?}", server.errors(&job).await);
    assert!(!server.read("users?filter=status='tobedeleted'").await["users"].as_array().unwrap().is_empty());
}

/// Ids with which every operation has something to answer, by the names of the path's parameters.
async fn ids(server: &Server) -> BTreeMap<&'static str, String> {
    let first = async |path: &str| {
        let page = server.read(path).await;
        page.as_object().unwrap().values().next().unwrap()[0].clone()
    };
    let class = first("classes?filter=terms.sourcedId='term'").await;
    let enrolled = async |role: &str| {
        let filter =
            format!("role='{role}' AND class.sourcedId='{}' AND status='active'", class["sourcedId"].as_str().unwrap());
        first(&format!("enrollments?filter={filter}")).await["user"].clone()
    };
    let (student, teacher) = (enrolled("student").await, enrolled("teacher").await);
    let id = |value: &Value| value["sourcedId"].as_str().unwrap().to_owned();
    BTreeMap::from([
        ("classSourcedId", id(&class)),
        ("courseSourcedId", id(&class["course"])),
        ("schoolSourcedId", id(&class["school"])),
        ("termSourcedId", "term".into()),
        ("studentSourcedId", id(&student)),
        ("userSourcedId", id(&student)),
        ("teacherSourcedId", id(&teacher)),
    ])
}

fn filled(path: &str, value: impl Fn(&str) -> String) -> String {
    let steps = path.trim_start_matches('/').split('/').map(|step| {
        let parameter = step.strip_prefix('{').and_then(|step| step.strip_suffix('}'));
        parameter.map_or(step.to_owned(), &value)
    });
    steps.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_answer_of_the_rostering_service_is_as_described() {
    let server = Server::start().await;
    full_city(&server).await;
    let ids = ids(&server).await;
    let importer = token(&server.url, "midori", "import");
    let document = Document::rostering(&server).await;
    assert_eq!(document.operations().len(), 41);
    for (_, path, operation) in document.operations() {
        let is_list = document.parameters(operation).any(|parameter| parameter["name"] == "limit");
        let collection = path.trim_start_matches('/').split('/').next().unwrap();
        let of_collection = server.read(&format!("{collection}?limit=1")).await;
        let some = of_collection.as_object().unwrap().values().next().unwrap()[0]["sourcedId"].as_str().unwrap();
        let path_of = |name: &str| ids.get(name).cloned().unwrap_or(some.to_owned());
        let url = server.oneroster(&filled(path, path_of));
        let get = |query: &str| server.http.get(format!("{url}{query}")).bearer_auth(&server.token);
        let hold = async |request: RequestBuilder, status: u16, chosen: bool| {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{}", response.url());
            let etag = response.headers().get("etag").cloned();
            (document.hold(operation, response, chosen).await, etag)
        };

        let (body, etag) = hold(get(""), 200, false).await;
        let found = body.as_object().unwrap().values().next().unwrap();
        assert!(!found.as_array().is_some_and(Vec::is_empty), "{path} has something to show");
        hold(get("").header("if-none-match", etag.unwrap()), 304, false).await;
        let names = |parameter: &str, schema: &str| {
            let parameter = document.parameters(operation).find(|p| p["name"] == parameter).unwrap();
            let names = parameter["schema"].pointer(schema).unwrap().as_array().unwrap();
            names.iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for member in names("fields", "/items/enum") {
            hold(get(&format!("?fields={member}")), 200, true).await;
        }
        hold(get("?fields=nothing"), 400, false).await;
        hold(get("?asOf=0"), if path.contains('{') { 404 } else { 200 }, false).await;
        hold(get("?asOf=999999999"), 400, false).await;
        hold(get("?unknown=1"), 400, false).await;
        hold(get("").header("rosterhub-at-least", "x"), 400, false).await;
        hold(server.http.get(&url), 401, false).await;
        hold(server.http.get(&url).bearer_auth("rh_wrong"), 401, false).await;
        hold(server.http.get(&url).bearer_auth(&importer), 403, false).await;
        hold(server.http.post(&url).bearer_auth(&server.token), 405, false).await;
        if path.contains('{') {
            let nobody = server.oneroster(&filled(path, |_| "nobody".into()));
            hold(server.http.get(nobody).bearer_auth(&server.token), 404, false).await;
        }
        if is_list {
            for query in ["?filter=status='tobedeleted'", "?limit=1&offset=1", "?orderBy=desc&limit=3", "?limit=10000"]
            {
                hold(get(query), 200, false).await;
            }
            for query in ["?filter=sourcedId='nobody'", "?offset=1000000"] {
                let (body, _) = hold(get(query), 200, false).await;
                assert_eq!(body.as_object().unwrap().values().next(), Some(&json!([])));
            }
            for query in
                ["?limit=0", "?filter=status", "?filter=nothing='x'", "?sort=nothing", "?orderBy=up", "?cursor=x"]
            {
                hold(get(query), 400, false).await;
            }
            for name in names("sort", "/anyOf/0/enum") {
                hold(get(&format!("?limit=1&sort={name}&filter={name}!='2026-04-01'")), 200, false).await;
            }
        }
    }
    assert_eq!(document.unseen(200..300), [""; 0]);

    let (.., schools) = document.operations().into_iter().find(|operation| operation.1 == "/schools").unwrap();
    let limited = client(&server.url, "midori", &["--scopes", EVERYTHING, "--api-key", "--rate", "1", "--burst", "1"]);
    for status in [200, 429] {
        let request = server.http.get(server.oneroster("schools")).bearer_auth(limited["apiKey"].as_str().unwrap());
        let response = request.send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().contains_key("ratelimit-limit")), (status, true));
        document.hold(schools, response, false).await;
    }
    let ahead = server.http.get(server.oneroster("schools")).bearer_auth(&server.token);
    let response = ahead.header("rosterhub-at-least", "999999999").send().await.unwrap();
    assert_eq!(response.status(), 503);
    document.hold(schools, response, false).await;
}

#[tokio::test]
async fn every_answer_of_the_hub_is_as_described() {
    let server = Server::start().await;
    // Webhooks may go to loopback.
    let server = Server::with(&server.url, &SETTINGS);
    let document = Document::hub(&server).await;
    let hold = async |request: RequestBuilder, verb: &str, path: &str, status: u16| {
        let operation = &document.value["paths"][path][verb];
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{}", response.url());
        document.hold(operation, response, false).await
    };
    let url = |path: &str| format!("{}{path}", server.base);
    let get = |path: &str| server.http.get(url(path)).bearer_auth(&server.token);
    let post = |path: &str| server.http.post(url(path)).bearer_auth(&server.token);
    let (imports, import, errors) =
        ("/rosterhub/v1/imports", "/rosterhub/v1/imports/{id}", "/rosterhub/v1/imports/{id}/errors");

    let job = hold(post(imports).header("prefer", "wait=60").body(bulk(&city())), "post", imports, 200).await;
    assert_eq!(job["state"], "completed");
    let planned = format!("{imports}?apply=never");
    let of = |step: &str| format!("{import}/{step}");
    for step in ["approve", "discard"] {
        let seed = rosterhub::sample::SampleOptions { seed: step.into(), ..city() };
        let plan = hold(post(&planned).header("prefer", "wait=60").body(bulk(&seed)), "post", imports, 200).await;
        let path = format!("{imports}/{}", plan["id"].as_str().unwrap());
        hold(get(&format!("{path}/plan")), "get", &of("plan"), 200).await;
        hold(get(&format!("{path}/plan/records?limit=5")), "get", &of("plan/records"), 200).await;
        let query = format!("{path}/{step}?plan={}", plan["plan"].as_str().unwrap());
        let decided = if step == "approve" { query } else { format!("{path}/discard") };
        hold(post(&decided).header("prefer", "wait=60"), "post", &of(step), 200).await;
        hold(post(&format!("{path}/cancel")), "post", &of("cancel"), 409).await;
    }
    // One that waits for another of its board is cancelled.
    let lock = crate::support::open(&server.url).await.begin(&crate::support::tenant("midori")).await.unwrap();
    hold(post(imports).body(bulk(&city())), "post", imports, 202).await;
    let waits = hold(post(imports).body(bulk(&city())), "post", imports, 202).await;
    let cancel = format!("{imports}/{}/cancel", waits["id"].as_str().unwrap());
    hold(post(&cancel), "post", &of("cancel"), 200).await;
    drop(lock);
    let taken = format!("{imports}/{}/revert?apply=never", job["id"].as_str().unwrap());
    hold(post(&taken).header("prefer", "wait=60"), "post", &of("revert"), 200).await;
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(delta(&city(), 5.0)).file_name("delta.zip"));
    hold(post(imports).multipart(form), "post", imports, 202).await;
    let gradebook = set(&[("results", "bulk", "sourcedId\r\nx\r\n")]);
    hold(post(imports).header("prefer", "wait=60").body(gradebook), "post", imports, 200).await;
    let broken = hold(post(imports).header("prefer", "wait=60").body("no zip"), "post", imports, 200).await;
    assert_eq!(broken["state"], "failed");
    let empty = reqwest::multipart::Form::new();
    hold(post(imports).multipart(empty), "post", imports, 400).await;
    hold(get(imports), "get", imports, 200).await;
    hold(get(&format!("{imports}?limit=x")), "get", imports, 400).await;
    hold(get(&format!("{imports}?limit=%FF&offset=1&offset=2")), "get", imports, 400).await;
    for job in [&job, &broken] {
        let id = job["id"].as_str().unwrap();
        hold(get(&format!("{imports}/{id}")), "get", import, 200).await;
        hold(get(&format!("{imports}/{id}/errors?limit=10")), "get", errors, 200).await;
        hold(get(&format!("{imports}/{id}/errors?after=-1")), "get", errors, 400).await;
        let file = "/rosterhub/v1/imports/{id}/errors.csv";
        hold(get(&format!("{imports}/{id}/errors.csv")), "get", file, 200).await;
        hold(get(&format!("{imports}/{id}/errors.csv?lang=fr")), "get", file, 400).await;
    }
    for (id, status) in [("00000000-0000-0000-0000-000000000000", 404), ("nonsense", 400), ("%FF", 400)] {
        hold(get(&format!("{imports}/{id}")), "get", import, status).await;
        hold(get(&format!("{imports}/{id}/errors")), "get", errors, status).await;
    }
    let reader = token(&server.url, "midori", "roster.readonly");
    for (path, verb) in [(imports, "get"), (imports, "post")] {
        let method = if verb == "get" { Method::GET } else { Method::POST };
        hold(server.http.request(method.clone(), url(path)), verb, path, 401).await;
        hold(server.http.request(method, url(path)).bearer_auth(&reader), verb, path, 403).await;
    }
    hold(server.http.delete(url(imports)).bearer_auth(&server.token), "get", imports, 405).await;
    let narrow = Server::with(&server.url, &[("ROSTERHUB_MAX_UPLOAD_BYTES", "10")]);
    let upload = narrow.http.post(format!("{}{imports}", narrow.base)).bearer_auth(&narrow.token).body(bulk(&city()));
    hold(upload, "post", imports, 413).await;
    drop(narrow); // it would deliver webhooks as well

    let statistics = "/rosterhub/v1/imports/statistics";
    hold(get(statistics), "get", statistics, 200).await;
    hold(get(&format!("{statistics}?from=x")), "get", statistics, 400).await;
    let progress = of("progress");
    hold(get(&format!("{imports}/{}/progress", job["id"].as_str().unwrap())), "get", &progress, 200).await;

    let (uploads, upload) = ("/rosterhub/v1/uploads", "/rosterhub/v1/uploads/{id}");
    let tus = |method: Method, path: &str| {
        server.http.request(method, url(path)).bearer_auth(&server.token).header("tus-resumable", "1.0.0")
    };
    let piece = |path: &str, offset: u64, bytes: &'static str| {
        let request = tus(Method::PATCH, path).header("upload-offset", offset).body(bytes);
        request.header("content-type", "application/offset+octet-stream")
    };
    hold(tus(Method::OPTIONS, uploads), "options", uploads, 204).await;
    hold(tus(Method::POST, uploads), "post", uploads, 400).await;
    hold(server.http.post(url(uploads)).bearer_auth(&server.token), "post", uploads, 412).await;
    let created = tus(Method::POST, uploads).header("upload-length", 6);
    let location = created.try_clone().unwrap().send().await.unwrap().headers()["location"].clone();
    let one = location.to_str().unwrap().strip_prefix(&server.base).unwrap();
    hold(created, "post", uploads, 201).await;
    hold(tus(Method::HEAD, one), "head", upload, 200).await;
    hold(get(one), "get", upload, 200).await;
    hold(piece(one, 0, "no "), "patch", upload, 204).await;
    hold(piece(one, 0, "no "), "patch", upload, 409).await;
    hold(tus(Method::PATCH, one), "patch", upload, 415).await;
    hold(piece(one, 3, "zip"), "patch", upload, 204).await;
    hold(get(one), "get", upload, 200).await;
    hold(tus(Method::DELETE, one), "delete", upload, 204).await;
    hold(tus(Method::DELETE, one), "delete", upload, 404).await;

    let (exported, report) = ("/rosterhub/v1/exports/oneroster.zip", "/rosterhub/v1/exports/report");
    let (cursors, cursor) = ("/rosterhub/v1/exports/cursors", "/rosterhub/v1/exports/cursors/{name}");
    hold(get(exported), "get", exported, 200).await;
    hold(get(&format!("{exported}?since=0&formulaGuard=true&edition=japan-2")), "get", exported, 200).await;
    let etag = get(exported).send().await.unwrap().headers()["etag"].clone();
    hold(get(exported).header("if-none-match", etag), "get", exported, 304).await;
    hold(get(&format!("{report}?since=1&edition=1.2_JP")), "get", report, 200).await;
    // A name that cp932 does not have.
    let odd = json!({ "org": { "name": "𠮷野小学校", "type": "school" } });
    crate::support::put(&server, "orgs/odd", odd).await;
    for path in [exported, report] {
        hold(get(&format!("{path}?edition=2")), "get", path, 400).await;
        hold(get(&format!("{path}?encoding=cp932")), "get", path, 422).await;
        hold(server.http.get(url(path)).bearer_auth(&reader), "get", path, 403).await;
    }
    let acknowledge = |name: &str, position: i64| {
        let put = server.http.put(url(&format!("{cursors}/{name}"))).bearer_auth(&server.token);
        put.json(&json!({ "position": position }))
    };
    hold(acknowledge("nightly", 5), "put", cursor, 200).await;
    hold(acknowledge("nightly", 1), "put", cursor, 409).await;
    hold(acknowledge("nightly", 999_999_999), "put", cursor, 400).await;
    hold(get(cursors), "get", cursors, 200).await;
    hold(get(&format!("{cursors}/nightly")), "get", cursor, 200).await;
    hold(get(&format!("{cursors}/other")), "get", cursor, 404).await;
    let delete = || server.http.delete(url(&format!("{cursors}/nightly"))).bearer_auth(&server.token);
    hold(delete(), "delete", cursor, 204).await;
    hold(delete(), "delete", cursor, 404).await;

    let (changes, of_feed) = ("/rosterhub/v1/changes", "/rosterhub/v1/changes/cursors");
    let (one_of_feed, of_cursor) = (format!("{of_feed}/{{name}}"), format!("{of_feed}/{{name}}/changes"));
    let acknowledged = format!("{of_feed}/{{name}}/acknowledge");
    hold(get(&format!("{changes}?limit=1000&values=true")), "get", changes, 200).await;
    hold(get(&format!("{changes}?types=x")), "get", changes, 400).await;
    hold(get(&format!("{changes}?until=3")).header("accept", "application/jsonl"), "get", changes, 200).await;
    let definition = json!({ "types": ["user"], "values": true, "position": 0 });
    for status in [201, 200] {
        let put = server.http.put(url(&format!("{of_feed}/sync"))).bearer_auth(&server.token);
        hold(put.json(&definition), "put", &one_of_feed, status).await;
    }
    hold(get(&format!("{of_feed}/sync/changes?limit=5")), "get", &of_cursor, 200).await;
    let move_to = |position: i64| post(&format!("{of_feed}/sync/acknowledge")).json(&json!({ "position": position }));
    hold(move_to(5), "post", &acknowledged, 200).await;
    hold(move_to(4), "post", &acknowledged, 409).await;
    hold(get(of_feed), "get", of_feed, 200).await;
    hold(get(&format!("{of_feed}/sync")), "get", &one_of_feed, 200).await;
    hold(get(&format!("{of_feed}/other")), "get", &one_of_feed, 404).await;
    let forget = server.http.delete(url(&format!("{of_feed}/sync"))).bearer_auth(&server.token);
    hold(forget, "delete", &one_of_feed, 204).await;

    let roster = "/rosterhub/v1/roster";
    let send = |method: Method, path: &str, body: &Value| {
        server.http.request(method, url(path)).bearer_auth(&server.token).json(body)
    };
    for (collection, id, record) in documents() {
        let (all, one) = (format!("{roster}/{collection}"), format!("{roster}/{collection}/{id}"));
        let single = format!("{all}/{{sourcedId}}");
        hold(send(Method::PUT, &one, &record), "put", &single, 201).await;
        hold(send(Method::PUT, &one, &record), "put", &single, 200).await;
        hold(send(Method::PATCH, &one, &json!({})), "patch", &single, 200).await;
        hold(send(Method::PATCH, &one, &json!({ "colour": "red" })), "patch", &single, 422).await;
        let mut other = record.clone();
        other["sourcedId"] = json!(format!("{id}-2"));
        if let Some(members) = other.as_object_mut() {
            members.remove("userProfiles");
        }
        for role in other["roles"].as_array_mut().into_iter().flatten() {
            role.as_object_mut().unwrap().remove("userProfile");
        }
        hold(send(Method::POST, &all, &other), "post", &all, 201).await;
        hold(send(Method::POST, &all, &other), "post", &all, 409).await;
    }
    for (collection, id, _) in documents().iter().rev() {
        let single = format!("{roster}/{collection}/{{sourcedId}}");
        let one = format!("{roster}/{collection}/{id}");
        hold(server.http.delete(url(&one)).bearer_auth(&server.token), "delete", &single, 200).await;
        hold(get(&one), "delete", &single, 405).await;
    }
    let batch = "/rosterhub/v1/batch";
    let operations =
        json!({ "operations": [{ "op": "patch", "collection": "orgs", "sourcedId": "s", "document": {} }] });
    hold(send(Method::POST, batch, &operations), "post", batch, 200).await;
    hold(send(Method::POST, batch, &json!([])), "post", batch, 400).await;

    let notices = "/rosterhub/v1/notices";
    let shown = hold(get(&format!("{notices}?limit=100")), "get", notices, 200).await;
    assert!(shown["notices"].as_array().unwrap().len() > 5, "{shown}");
    hold(get(&format!("{notices}?after=x")), "get", notices, 400).await;
    hold(server.http.get(url(notices)).bearer_auth(&reader), "get", notices, 403).await;
    let (types, event) = ("/rosterhub/v1/webhooks/event-types", "/rosterhub/v1/webhooks/event-types/{name}");
    let subscriber = token(&server.url, "midori", "webhooks");
    let asked = |path: &str| server.http.get(url(path)).bearer_auth(&subscriber);
    hold(asked(types), "get", types, 200).await;
    hold(asked(&format!("{types}/import.applied")), "get", event, 200).await;
    hold(asked(&format!("{types}/nothing")), "get", event, 404).await;
    hold(server.http.get(url(types)).bearer_auth(&reader), "get", types, 403).await;

    webhooks::hold_all(&server, &document).await;

    let tokens = "/oauth/token";
    let app = client(&server.url, "midori", &["--scopes", EVERYTHING]);
    let (id, secret) = (app["clientId"].as_str().unwrap(), app["clientSecret"].as_str());
    let form = |grant: &'static str| server.http.post(url(tokens)).form(&[("grant_type", grant)]);
    hold(form("client_credentials").basic_auth(id, secret), "post", tokens, 200).await;
    hold(form("client_credentials").basic_auth(id, Some("wrong")), "post", tokens, 401).await;
    hold(form("password").basic_auth(id, secret), "post", tokens, 400).await;
    hold(server.http.get(url(tokens)), "post", tokens, 405).await;

    for path in ["/.well-known/jwks.json", "/health/live", "/health/ready", "/rosterhub/v1/openapi.json"] {
        hold(server.http.get(url(path)), "get", path, 200).await;
    }
    for name in [STANDARD, CERTIFICATION] {
        let path = format!("/ims/oneroster/rostering/v1p2/discovery/{name}");
        hold(server.http.get(url(&path)), "get", &path, 200).await;
    }
    assert_eq!(document.unseen(200..300), [""; 0]);
}

#[tokio::test]
async fn the_page_shows_every_operation_and_loads_nothing_from_elsewhere() {
    let server = Server::start().await;
    let response = server.http.get(format!("{}/docs/api/", server.base)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let page = response.text().await.unwrap().replace("&#x2f;", "/");
    for document in [Document::rostering(&server).await, Document::hub(&server).await] {
        for (.., operation) in document.operations() {
            assert!(page.contains(&format!("id=\"{}\"", operation["operationId"].as_str().unwrap())));
        }
        for schema in document.value["components"]["schemas"].as_object().unwrap().keys() {
            assert!(page.contains(&format!("id=\"{schema}\"")), "{schema}");
        }
    }
    let attributes = ["href=", "src="].iter().flat_map(|attribute| page.split(attribute).skip(1));
    for target in attributes.filter_map(|rest| rest.split(['"', '>']).nth(1)) {
        assert!(["/", "#", "data:,"].iter().any(|start| target.starts_with(start)), "{target}");
    }
    assert!(!page.contains("style=") && !page.contains("<script>") && !page.contains("onclick"));
    let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each id is there once");
    for label in page.split("<label for=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(ids.contains(&label), "{label}");
    }
    for (file, media_type) in [("page.css", "text/css; charset=utf-8"), ("page.js", "text/javascript; charset=utf-8")] {
        let response = server.http.get(format!("{}/docs/api/{file}", server.base)).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], media_type);
        assert!(!response.text().await.unwrap().contains("http"), "{file} is of itself");
    }
    let refused = server.http.post(format!("{}/docs/api", server.base)).send().await.unwrap();
    assert_eq!(refused.status(), 405);
}
