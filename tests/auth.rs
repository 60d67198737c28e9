//! Clients, the token endpoint, scopes, revocation, rotation, limits.

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{Server, bulk, city, client, database, json, open, run, token, until};

const OR: &str = "https://purl.imsglobal.org/spec/or/v1p2/scope/";

/// A client with a secret.
pub struct Tool {
    pub id: String,
    pub secret: String,
}

impl Tool {
    pub fn new(url: &str, args: &[&str]) -> Self {
        let made = client(url, "midori", args);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Self { id: text("clientId"), secret: text("clientSecret") }
    }

    pub fn request(&self, server: &Server, form: &[(&str, &str)]) -> RequestBuilder {
        let form = [&[("grant_type", "client_credentials")], form].concat();
        endpoint(server).basic_auth(&self.id, Some(&self.secret)).form(&form)
    }

    pub async fn grant(&self, server: &Server, scope: &str) -> Value {
        let response = self.request(server, &[("scope", scope)]).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    pub async fn token(&self, server: &Server) -> String {
        self.grant(server, "").await["access_token"].as_str().unwrap().to_owned()
    }

    async fn is_accepted(&self, server: &Server) -> bool {
        let response = self.request(server, &[]).send().await.unwrap();
        match response.status().as_u16() {
            200 => true,
            401 => false,
            other => panic!("{other}"),
        }
    }
}

pub fn endpoint(server: &Server) -> RequestBuilder {
    server.http.post(format!("{}/oauth/token", server.base))
}

pub async fn read(server: &Server, token: &str, path: &str) -> Response {
    server.http.get(server.oneroster(path)).bearer_auth(token).send().await.unwrap()
}

pub async fn status(server: &Server, token: &str, path: &str) -> u16 {
    read(server, token, path).await.status().as_u16()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |v| v.to_str().unwrap())
}

/// The `error` of an OAuth answer, after its status.
async fn error(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!((header(&response, "cache-control"), header(&response, "pragma")), ("no-store", "no-cache"));
    assert_eq!(header(&response, "www-authenticate").starts_with("Basic"), status == 401);
    let body: Value = response.json().await.unwrap();
    (status, body["error"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned())
}

#[tokio::test]
async fn a_tool_proves_itself_and_reads() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    let tool = Tool::new(&server.url, &["--scopes", "roster-core.readonly,import"]);

    let response = tool.request(&server, &[]).send().await.unwrap();
    assert_eq!((header(&response, "cache-control"), header(&response, "pragma")), ("no-store", "no-cache"));
    let granted: Value = response.json().await.unwrap();
    assert_eq!((&granted["token_type"], &granted["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(granted["scope"], format!("{OR}roster-core.readonly import"));
    assert_eq!(granted.as_object().unwrap().len(), 4);
    let by_basic = granted["access_token"].as_str().unwrap();
    assert_eq!(status(&server, by_basic, "users?limit=1").await, 200);

    // In the form; in Basic with everything percent-encoded; in Basic with the client named in the form as well.
    let credentials = [("client_id", tool.id.as_str()), ("client_secret", tool.secret.as_str())];
    let form = [&[("grant_type", "client_credentials")], &credentials[..]].concat();
    let encoded = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    for request in [
        endpoint(&server).form(&form),
        endpoint(&server)
            .basic_auth(encoded(&tool.id), Some(encoded(&tool.secret)))
            .form(&[("grant_type", "client_credentials"), ("something", "else")]),
        tool.request(&server, &[("client_id", &tool.id), ("scope", "")]),
    ] {
        let granted: Value = request.send().await.unwrap().json().await.unwrap();
        let token = granted["access_token"].as_str().unwrap_or_else(|| panic!("{granted}"));
        assert_eq!(status(&server, token, "users?limit=1").await, 200);
    }
    // Many at a time are no guessing.
    let many = futures::future::try_join_all((0..30).map(|_| tool.request(&server, &[]).send())).await.unwrap();
    assert!(many.iter().all(|response| response.status() == 200));
    // Nothing of the secret is in the database.
    let log = open(&server.url).await;
    let kept: Vec<String> =
        sqlx::query_scalar("select hash from credentials").fetch_all(log.db().pool()).await.unwrap();
    assert!(kept.iter().any(|hash| hash.starts_with("$argon2id$")));
    assert!(kept.iter().all(|hash| !tool.secret.contains(hash) && !hash.contains(&tool.secret[21..])));
    // Its use is noted.
    until("use is noted", async || {
        let listed = json(&server.url, &["client", "list", "--tenant", "midori"]);
        listed.as_array().unwrap().iter().any(|c| c["clientId"] == tool.id && !c["lastUsedAt"].is_null())
    })
    .await;
}

#[tokio::test]
async fn the_token_endpoint_refuses_as_the_standard_says() {
    let server = Server::start().await;
    let tool = Tool::new(&server.url, &[]);
    let api_key = client(&server.url, "midori", &["--api-key"]);
    let (id, secret) = (tool.id.as_str(), tool.secret.as_str());
    let grant = ("grant_type", "client_credentials");
    let body = |text: String| endpoint(&server).header("content-type", "application/x-www-form-urlencoded").body(text);
    let sure = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    assert_eq!(body(sure.clone()).send().await.unwrap().status(), 200);
    for (what, request, status, code) in [
        (
            "no grant type",
            endpoint(&server).form(&[("client_id", id), ("client_secret", secret)]),
            400,
            "invalid_request",
        ),
        ("other grant", tool.request(&server, &[]).form(&[("grant_type", "password")]), 400, "unsupported_grant_type"),
        ("no credentials", endpoint(&server).form(&[grant]), 401, "invalid_client"),
        ("no secret", endpoint(&server).form(&[grant, ("client_id", id)]), 401, "invalid_client"),
        ("two ways", tool.request(&server, &[("client_id", id), ("client_secret", secret)]), 400, "invalid_request"),
        ("two clients", tool.request(&server, &[("client_id", "other")]), 400, "invalid_request"),
        ("bearer", endpoint(&server).bearer_auth("x").form(&[grant]), 401, "invalid_client"),
        ("bad basic", endpoint(&server).header("authorization", "Basic !").form(&[grant]), 401, "invalid_client"),
        ("JSON", endpoint(&server).json(&json!({ "grant_type": "client_credentials" })), 400, "invalid_request"),
        ("no type", endpoint(&server).body(sure.clone()), 400, "invalid_request"),
        ("twice", body(format!("{sure}&scope=import&scope=export")), 400, "invalid_request"),
        ("twice unknown", body(format!("{sure}&x=1&x=1")), 400, "invalid_request"),
        ("oversized", body(format!("{sure}&x={}", "x".repeat(20_000))), 400, "invalid_request"),
        ("not of this client", tool.request(&server, &[("scope", "import")]), 400, "invalid_scope"),
        ("no such scope", tool.request(&server, &[("scope", "everything \"")]), 400, "invalid_scope"),
        (
            "API key",
            endpoint(&server)
                .basic_auth(api_key["clientId"].as_str().unwrap(), api_key["apiKey"].as_str())
                .form(&[grant]),
            401,
            "invalid_client",
        ),
        (
            "in the query",
            server.http.post(format!("{}/oauth/token?{sure}", server.base)).form(&[("x", "y")]),
            400,
            "invalid_request",
        ),
        ("GET", server.http.get(format!("{}/oauth/token", server.base)), 405, "invalid_request"),
    ] {
        assert_eq!(error(request).await, (status, code.to_owned()), "{what}");
    }
    let response = server.http.delete(format!("{}/oauth/token", server.base)).send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, "POST"));
    // A client with nothing to give.
    let ended = Tool::new(&server.url, &["--days", "0"]);
    assert_eq!(error(ended.request(&server, &[])).await, (401, "invalid_client".to_owned()));
}

#[tokio::test]
async fn a_token_has_what_was_asked_for_and_the_client_has() {
    let server = Server::start().await;
    let tool = Tool::new(&server.url, &["--scopes", &format!("{OR}roster.readonly,import,export")]);
    let scope = async |asked: &str| tool.grant(&server, asked).await["scope"].as_str().unwrap().to_owned();
    assert_eq!(scope("import").await, "import");
    assert_eq!(scope("import webhooks").await, "import", "not the client's");
    assert_eq!(scope(&format!("{OR}gradebook.readonly {OR}roster.readonly")).await, format!("{OR}roster.readonly"));
    assert_eq!(scope("").await, format!("{OR}roster.readonly import export"));

    let granted = tool.grant(&server, "import").await;
    let token = granted["access_token"].as_str().unwrap();
    assert_eq!(status(&server, token, "users").await, 403);
    // Taken from the client, it is taken from its tokens.
    let imports = format!("{}/rosterhub/v1/imports", server.base);
    let may_import = async || server.http.get(&imports).bearer_auth(token).send().await.unwrap().status() == 200;
    assert!(may_import().await);
    let log = open(&server.url).await;
    let taken = sqlx::query("update clients set scopes = array_remove(scopes, 'import') where id = $1::uuid");
    taken.bind(&tool.id).execute(log.db().pool()).await.unwrap();
    until("the scope is gone", async || !may_import().await).await;
}

#[tokio::test]
async fn each_scope_opens_what_it_is_for() {
    let server = Server::start().await;
    let imports = format!("{}/rosterhub/v1/imports", server.base);
    let scopes = ["roster-core.readonly", "roster.readonly", "roster-demographics.readonly", "import"];
    let others = ["export", "write", "audit", "webhooks", "admin"];
    let tool = Tool::new(&server.url, &["--scopes", &[&scopes[..], &others].concat().join(",")]);
    for scope in scopes.into_iter().chain(others) {
        let full = if scope.contains('.') { format!("{OR}{scope}") } else { scope.to_owned() };
        let granted = tool.grant(&server, &full).await;
        let access_token = granted["access_token"].as_str().unwrap().to_owned();
        let key = token(&server.url, "midori", scope);
        for bearer in [access_token, key] {
            let roster = scope.starts_with("roster-core") || scope.starts_with("roster.");
            for path in ["users", "orgs", "terms", "students", "academicSessions", "enrollments"] {
                assert_eq!(status(&server, &bearer, path).await, if roster { 200 } else { 403 }, "{scope} {path}");
                let single = if roster { 404 } else { 403 };
                assert_eq!(status(&server, &bearer, &format!("{path}/x")).await, single, "{scope} {path}/x");
            }
            let demographics = if scope.starts_with("roster-d") { 200 } else { 403 };
            assert_eq!(status(&server, &bearer, "demographics").await, demographics, "{scope}");
            let response = server.http.get(&imports).bearer_auth(&bearer).send().await.unwrap();
            assert_eq!(response.status().as_u16(), if scope == "import" { 200 } else { 403 }, "{scope}");
        }
    }
    let narrow = token(&server.url, "midori", "import");
    let response = read(&server, &narrow, "users").await;
    let expected =
        format!("Bearer realm=\"rosterhub\", error=\"insufficient_scope\", scope=\"{OR}roster-core.readonly\"");
    assert_eq!(header(&response, "www-authenticate"), expected);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"], "forbidden");
    assert!(body["imsx_description"].as_str().unwrap().contains("insufficient_scope"));
    let response = server.http.get(&imports).bearer_auth(token(&server.url, "midori", "export")).send().await.unwrap();
    assert!(header(&response, "www-authenticate").contains("insufficient_scope"));
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "insufficient_scope");
}

#[tokio::test]
async fn without_a_valid_token_every_api_says_so() {
    let server = Server::start().await;
    let hub = format!("{}/rosterhub/v1", server.base);
    for url in [
        server.oneroster("users"),
        server.oneroster("users/x"),
        server.oneroster("demographics"),
        server.oneroster("no/such/path"),
        format!("{hub}/imports"),
        format!("{hub}/imports/x/errors"),
        format!("{hub}/none"),
    ] {
        let get = || server.http.get(&url);
        let none = "Bearer realm=\"rosterhub\"";
        let invalid = "Bearer realm=\"rosterhub\", error=\"invalid_token\"";
        for (request, challenge) in [
            (get(), none),
            (get().basic_auth("a", Some("b")), none),
            (get().header("authorization", "Bearer"), none),
            (get().bearer_auth(""), none),
            (get().bearer_auth("rh_wrong"), invalid),
            (get().bearer_auth(format!("rh_{}", "0".repeat(64))), invalid),
            (get().bearer_auth(&server.token).header("authorization", "Bearer x"), invalid),
        ] {
            let response = request.send().await.unwrap();
            assert_eq!((response.status().as_u16(), header(&response, "www-authenticate")), (401, challenge), "{url}");
            let body: Value = response.json().await.unwrap();
            if url.contains("/ims/") {
                assert_eq!(
                    body["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"],
                    "unauthorisedrequest"
                );
            } else {
                assert_eq!(body["error"]["code"], "unauthorised", "{url}");
            }
        }
    }
    // In the address, where logs would keep it, a token is not looked for.
    let response = server.http.get(server.oneroster(&format!("users?access_token={}", server.token))).send().await;
    assert_eq!(response.unwrap().status(), 401);
}

#[tokio::test]
async fn guessing_is_slowed_down_and_tells_nothing() {
    let server = Server::start().await;
    let (tool, other) = (Tool::new(&server.url, &[]), Tool::new(&server.url, &[]));
    let answer = async |id: &str, secret: &str| {
        let tool = Tool { id: id.to_owned(), secret: secret.to_owned() };
        let response = tool.request(&server, &[]).send().await.unwrap();
        let status = response.status().as_u16();
        let headers = response.headers().iter().filter(|(name, _)| *name != "date");
        let headers: Vec<_> = headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        (status, headers, response.text().await.unwrap())
    };
    let wrong = answer(&tool.id, "wrong").await;
    assert_eq!(wrong.0, 401);
    let nobody = uuid::Uuid::new_v4().to_string();
    let revoked = Tool::new(&server.url, &[]);
    json(&server.url, &["client", "revoke", &revoked.id]);
    for (id, secret) in [
        (tool.id.as_str(), other.secret.as_str()),
        (
            &tool.id,
            &format!("{}{}", &tool.secret[..tool.secret.len() - 1], if tool.secret.ends_with('0') { 1 } else { 0 }),
        ),
        (&nobody, "wrong"),
        (&nobody, &tool.secret),
        ("not an id", "wrong"),
        (&revoked.id, &revoked.secret),
    ] {
        assert_eq!(answer(id, secret).await, wrong, "{id}");
    }
    assert!(tool.is_accepted(&server).await);
    // From here on the client's id is guessed at no more, not even with the right secret; others are not held up.
    until("it is slowed down", async || answer(&tool.id, "wrong").await.0 == 429).await;
    let response = tool.request(&server, &[]).send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert!((1..=301).contains(&header(&response, "retry-after").parse::<u64>().unwrap()));
    assert_eq!(response.json::<Value>().await.unwrap()["error"], "temporarily_unavailable");
    assert!(other.is_accepted(&server).await);
}

#[tokio::test]
async fn what_is_revoked_is_refused_by_every_instance() {
    let one = Server::start().await;
    let two = Server::on(&one.url);
    let tool = Tool::new(&one.url, &[]);
    let made = client(&one.url, "midori", &["--api-key"]);
    let bearers = [tool.token(&one).await, made["apiKey"].as_str().unwrap().to_owned()];
    let spared = Tool::new(&one.url, &[]).token(&two).await;
    for server in [&one, &two] {
        for bearer in &bearers {
            assert_eq!(status(server, bearer, "users").await, 200);
        }
    }
    for id in [tool.id.as_str(), made["clientId"].as_str().unwrap()] {
        assert_eq!(json(&one.url, &["client", "revoke", id])["revoked"], true);
    }
    assert!(!tool.is_accepted(&one).await && !tool.is_accepted(&two).await, "no new tokens from now on");
    for server in [&one, &two] {
        for bearer in &bearers {
            until("revoked", async || status(server, bearer, "users").await == 401).await;
        }
        assert_eq!(status(server, &spared, "users").await, 200);
    }
    // Once only; and a revoked client gets no new secret.
    assert_eq!(run(&one.url, &["client", "revoke", &tool.id]).0, 1);
    assert_eq!(run(&one.url, &["client", "rotate", &tool.id]).0, 1);
    let listed = json(&one.url, &["client", "list"]);
    let revoked = listed.as_array().unwrap().iter().filter(|c| !c["revokedAt"].is_null()).count();
    assert_eq!(revoked, 2);
}

#[tokio::test]
async fn a_rotated_secret_stays_valid_for_the_overlap() {
    let server = Server::start().await;
    let old = Tool::new(&server.url, &[]);
    let rotate = |hours: &str| {
        let made = json(&server.url, &["client", "rotate", &old.id, "--overlap-hours", hours]);
        Tool { id: old.id.clone(), secret: made["clientSecret"].as_str().unwrap().to_owned() }
    };
    let new = rotate("24");
    assert_ne!(old.secret, new.secret);
    let (by_old, by_new) = (old.token(&server).await, new.token(&server).await);
    assert_eq!((status(&server, &by_old, "users").await, status(&server, &by_new, "users").await), (200, 200));
    let listed = json(&server.url, &["client", "list"]);
    assert!(listed.as_array().unwrap().iter().any(|c| c["clientId"] == old.id && c["validSecrets"] == 2));

    // Without overlap the others end, and with them the tokens they were given.
    let newest = rotate("0");
    assert!(!old.is_accepted(&server).await && !new.is_accepted(&server).await);
    let by_newest = newest.token(&server).await;
    for ended in [&by_old, &by_new] {
        until("the tokens end", async || status(&server, ended, "users").await == 401).await;
    }
    assert_eq!(status(&server, &by_newest, "users").await, 200);

    // An API key as well.
    let made = client(&server.url, "midori", &["--api-key"]);
    let (id, first) = (made["clientId"].as_str().unwrap(), made["apiKey"].as_str().unwrap());
    let second = json(&server.url, &["client", "rotate", id]);
    let second = second["apiKey"].as_str().unwrap();
    assert_eq!((status(&server, first, "users").await, status(&server, second, "users").await), (200, 200));
    json(&server.url, &["client", "rotate", id, "--overlap-hours", "0"]);
    for ended in [first, second] {
        until("the keys end", async || status(&server, ended, "users").await == 401).await;
    }
}

#[tokio::test]
async fn a_client_asks_as_often_as_it_may() {
    let server = Server::start().await;
    let limited = client(
        &server.url,
        "midori",
        &["--api-key", "--scopes", "roster.readonly,import", "--rate", "1", "--burst", "3"],
    );
    let key = limited["apiKey"].as_str().unwrap();
    let response = read(&server, key, "users").await;
    let headers =
        |r: &Response| ["limit", "remaining", "reset"].map(|n| header(r, &format!("ratelimit-{n}")).to_owned());
    assert_eq!((response.status().as_u16(), headers(&response)), (200, ["3", "2", "1"].map(str::to_owned)));
    // Refused ones count for what they are, in the shape of the path.
    let imports = format!("{}/rosterhub/v1/imports", server.base);
    let refused = async |url: &str| {
        // So many at a time that some are too many, however long an answer takes.
        let get = || server.http.get(url).bearer_auth(key).send();
        let answers = futures::future::try_join_all((0..20).map(|_| get())).await.unwrap();
        assert!(answers.iter().all(|r| [200, 429].contains(&r.status().as_u16())));
        answers.into_iter().find(|r| r.status() == 429).expect("too many")
    };
    let response = refused(&server.oneroster("users")).await;
    assert_eq!(headers(&response), ["3", "0", "3"].map(str::to_owned));
    assert_eq!(header(&response, "retry-after"), "1");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"], "server_busy");
    let response = refused(&imports).await;
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["error"]["code"], "too_many_requests");
    // Others are not held up, and one without a limit is told none.
    let response = server.get(&server.oneroster("users")).await;
    assert_eq!((response.status().as_u16(), header(&response, "ratelimit-limit")), (200, ""));
    // After a while it goes on.
    until("it goes on", async || status(&server, key, "users").await == 200).await;
}

#[tokio::test]
async fn a_client_that_goes_on_asking_costs_no_query() {
    let server = Server::start().await;
    let tool = Tool::new(&server.url, &[]);
    let bearer = tool.token(&server).await;
    let log = open(&server.url).await;
    // While the tables are locked, nobody can be looked up. A try may begin just as what is remembered ends.
    until("it is remembered", async || {
        assert_eq!(status(&server, &bearer, "users").await, 200);
        let mut tx = log.db().pool().begin().await.unwrap();
        sqlx::query("lock table clients, credentials, signing_keys in access exclusive mode")
            .execute(&mut *tx)
            .await
            .unwrap();
        let asked = server.http.get(server.oneroster("users")).bearer_auth(&bearer);
        let answer = asked.timeout(std::time::Duration::from_secs(2)).send().await;
        tx.rollback().await.unwrap();
        answer.is_ok_and(|response| response.status() == 200)
    })
    .await;
}

#[tokio::test]
async fn a_token_opens_its_own_board_only() {
    let server = Server::start().await;
    server.import(bulk(&city())).await;
    json(&server.url, &["tenant", "create", "aoba"]);
    let made = client(&server.url, "aoba", &["--scopes", "roster.readonly,roster-demographics.readonly,import"]);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let other = Tool { id: text("clientId"), secret: text("clientSecret") }.token(&server).await;
    let known = server.read("students?limit=1").await["users"][0]["sourcedId"].as_str().unwrap().to_owned();
    for path in ["users", "students", "orgs", "schools", "classes", "courses", "enrollments", "demographics"] {
        let page: Value = read(&server, &other, path).await.json().await.unwrap();
        let lists: Vec<&Value> = page.as_object().unwrap().values().collect();
        assert_eq!(lists, [&json!([])], "{path}");
    }
    for path in [format!("users/{known}"), format!("demographics/{known}")] {
        assert_eq!(status(&server, &other, &path).await, 404);
        assert_eq!(server.get(&server.oneroster(&path)).await.status(), 200);
    }
    let jobs = server.http.get(format!("{}/rosterhub/v1/imports", server.base)).bearer_auth(&other);
    assert_eq!(jobs.send().await.unwrap().json::<Value>().await.unwrap(), json!({ "imports": [] }));
}

#[tokio::test]
async fn the_command_line_checks_what_it_is_told() {
    let url = database().await;
    let create = ["client", "create", "--name", "x", "--tenant", "midori"];
    let fails = |args: &[&str], words: &str| {
        let (code, text) = run(&url, &[&create, args].concat());
        assert!(code != 0 && text.contains(words), "{args:?}: {text}");
    };
    fails(&[], "there is no tenant midori");
    fails(&["--scopes", "everything"], "roster-core.readonly, roster.readonly");
    fails(&["--allow", "10.0.0.0/33"], "a network is like");
    fails(&["--rate", "0"], "invalid value");
    fails(&["--burst", "5"], "--rate");
    assert_eq!(run(&url, &["client", "revoke", "x"]).0, 2);
    assert_eq!(run(&url, &["client", "revoke", &uuid::Uuid::new_v4().to_string()]).0, 1);
    let (_, help) = run(&url, &["client", "create", "--help"]);
    assert!(help.contains("roster-demographics.readonly") && help.contains("client_credentials"), "{help}");
    // For people.
    json(&url, &["tenant", "create", "midori"]);
    let (code, text) = run(&url, &[&create[..], &["--rate", "5", "--allow", "192.0.2.7"]].concat());
    assert!(code == 0 && text.contains("rhs_") && text.contains("not shown again"), "{text}");
    let listed = json(&url, &["client", "list"]);
    let client = &listed[0];
    assert_eq!(
        (&client["networks"], &client["rate"], &client["burst"]),
        (&json!(["192.0.2.7/32"]), &json!(5), &json!(50))
    );
    let (_, text) = run(&url, &["client", "list"]);
    assert!(text.contains("used never") && text.contains("roster.readonly"), "{text}");
}
