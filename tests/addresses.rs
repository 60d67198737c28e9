//! Where requests come from, and under which address the hub is reached: proxies, spoofing, networks.

use reqwest::RequestBuilder;
use serde_json::Value;

use crate::auth::Tool;
use crate::support::{Server, bulk, city, client, database, json, rosterhub};

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

fn key(url: &str, networks: &str) -> String {
    let made = client(url, "midori", &["--api-key", "--scopes", "roster.readonly,import", "--allow", networks]);
    made["apiKey"].as_str().unwrap().to_owned()
}

async fn hub(settings: &[(&str, &str)]) -> Server {
    let url = database().await;
    json(&url, &["tenant", "create", "midori"]);
    Server::with(&url, settings)
}

#[tokio::test]
async fn without_trusted_proxies_the_connection_counts() {
    let server = hub(&[]).await;
    let (here, elsewhere) = (key(&server.url, "10.0.0.0/8,127.0.0.0/8"), key(&server.url, "192.0.2.0/24"));
    let get = |key: &str| server.http.get(server.oneroster("users")).bearer_auth(key);
    assert_eq!(status(get(&here)).await, 200);
    assert_eq!(status(get(&elsewhere)).await, 403);
    // What a client says of itself is no news.
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.5"),
        ("forwarded", "for=192.0.2.5"),
        ("x-real-ip", "192.0.2.5"),
        ("cf-connecting-ip", "192.0.2.5"),
    ] {
        assert_eq!(status(get(&elsewhere).header(name, value)).await, 403, "{name}");
        assert_eq!(status(get(&here).header(name, value)).await, 200, "{name}");
    }
    // In the shape of the path.
    let body: Value = get(&elsewhere).send().await.unwrap().json().await.unwrap();
    assert_eq!(body["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"], "forbidden");
    let imports = server.http.get(format!("{}/rosterhub/v1/imports", server.base)).bearer_auth(&elsewhere);
    let body: Value = imports.send().await.unwrap().json().await.unwrap();
    assert_eq!(body["error"]["code"], "forbidden");
}

#[tokio::test]
async fn behind_a_proxy_the_address_is_the_one_it_added() {
    let server = hub(&[("ROSTERHUB_TRUSTED_PROXIES", "1")]).await;
    let v4 = key(&server.url, "192.0.2.0/24");
    let v6 = key(&server.url, "2001:db8:1::/48");
    let mapped = key(&server.url, "::ffff:192.0.2.0/120");
    for (key, forwarded, expected) in [
        (&v4, "192.0.2.5", 200),
        (&v4, "192.0.3.5", 403),
        (&v4, "198.51.100.1, 192.0.2.5", 200),
        (&v4, "192.0.2.5, 198.51.100.1", 403), // the left one is the client's own invention
        (&v4, "192.0.2.5,192.0.2.5, 198.51.100.1", 403),
        (&v4, "::ffff:192.0.2.5", 200),
        (&v4, "192.0.2.5:4711", 200),
        (&v4, "2001:db8:1::5", 403),
        (&v4, "unknown", 403),
        (&v4, "192.0.2.5, unknown", 403),
        (&v4, "", 403),
        (&v6, "2001:db8:1:ffff::1", 200),
        (&v6, "[2001:db8:1::1]:443", 200),
        (&v6, "2001:db8:2::1", 403),
        (&v6, "192.0.2.5", 403),
        (&mapped, "192.0.2.5", 200),
        (&mapped, "::ffff:192.0.2.5", 200),
        (&mapped, "192.0.3.5", 403),
    ] {
        let get = server.http.get(server.oneroster("users")).bearer_auth(key).header("x-forwarded-for", forwarded);
        assert_eq!(status(get).await, expected, "{forwarded}");
    }
    // Two lines are one list; another kind of header is not looked at.
    let get = || server.http.get(server.oneroster("users")).bearer_auth(&v4);
    let lines = get().header("x-forwarded-for", "192.0.2.5").header("x-forwarded-for", "198.51.100.1");
    assert_eq!(status(lines).await, 403);
    let both = get().header("forwarded", "for=192.0.2.5").header("x-forwarded-for", "198.51.100.1");
    assert_eq!(status(both).await, 403);
    assert_eq!(status(get()).await, 403, "past the proxy: the connection counts");

    // At the token endpoint as well, once the client has proven itself.
    let tool = Tool::new(&server.url, &["--allow", "192.0.2.0/24"]);
    let ask = |from: &str| tool.request(&server, &[]).header("x-forwarded-for", from);
    assert_eq!(status(ask("192.0.2.5")).await, 200);
    let response = ask("198.51.100.1").send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(response.json::<Value>().await.unwrap()["error"], "unauthorized_client");
    // Guessing from one address does not lock the tool out at another.
    let wrong = Tool { id: tool.id.clone(), secret: "wrong".into() };
    let guess = || wrong.request(&server, &[]).header("x-forwarded-for", "1.1.1.1, 198.51.100.66");
    while status(guess()).await != 429 {}
    assert_eq!(status(ask("198.51.100.66")).await, 429);
    assert_eq!(status(ask("192.0.2.5")).await, 200);
}

#[tokio::test]
async fn the_headers_of_rfc_7239_are_read_when_they_are_configured() {
    let server = hub(&[("ROSTERHUB_TRUSTED_PROXIES", "2"), ("ROSTERHUB_PROXY_HEADERS", "forwarded")]).await;
    let key = key(&server.url, "192.0.2.0/24");
    for (forwarded, expected) in [
        ("for=192.0.2.5, for=10.0.0.1", 200),
        ("for=198.51.100.1, for=192.0.2.5;proto=https, for=10.0.0.1", 200),
        ("for=192.0.2.5, for=198.51.100.1, for=10.0.0.1", 403),
        ("for=\"192.0.2.5:80\";by=x, for=10.0.0.1", 200),
        ("for=_secret, for=10.0.0.1", 403),
        ("by=10.0.0.1, for=10.0.0.1", 403),
        ("for=\"192.0.2.5, for=198.51.100.1, for=10.0.0.1", 403),
    ] {
        let get = server.http.get(server.oneroster("users")).bearer_auth(&key).header("forwarded", forwarded);
        assert_eq!(status(get.header("x-forwarded-for", "192.0.2.5, 192.0.2.5")).await, expected, "{forwarded}");
    }
}

/// The address that `href`s begin with, when the request has these headers.
async fn base(server: &Server, headers: &[(&str, &str)]) -> String {
    let get = server.http.get(server.oneroster("students?limit=1")).bearer_auth(&server.token);
    let get = headers.iter().fold(get, |get, (name, value)| get.header(*name, *value));
    let page: Value = get.send().await.unwrap().json().await.unwrap();
    let href = page["users"][0]["roles"][0]["org"]["href"].as_str().unwrap();
    href.split_once("/ims/").unwrap().0.to_owned()
}

#[tokio::test]
async fn addresses_in_answers_are_the_client_s() {
    let server = hub(&[]).await;
    server.import(bulk(&city())).await;
    let forwarded = [("x-forwarded-proto", "https"), ("x-forwarded-host", "hub.example"), ("x-forwarded-prefix", "/r")];
    assert_eq!(base(&server, &[]).await, server.base);
    assert_eq!(base(&server, &forwarded).await, server.base, "nobody is trusted");
    assert_eq!(base(&server, &[("host", "hub.example")]).await, "http://hub.example");
    for bad in ["a\"},{\"x\":\"", "user@hub.example", "hub.example/path", "a b", "a,b"] {
        assert_eq!(base(&server, &[("host", bad)]).await, "http://localhost", "{bad}");
    }
    let url = server.url.clone();

    let proxied = Server::with(&url, &[("ROSTERHUB_TRUSTED_PROXIES", "1")]);
    assert_eq!(base(&proxied, &forwarded).await, "https://hub.example/r");
    assert_eq!(base(&proxied, &[("x-forwarded-host", "evil.example, hub.example")]).await, "http://hub.example");
    assert_eq!(base(&proxied, &[("x-forwarded-host", "a\"b"), ("host", "hub.example")]).await, "http://hub.example");
    assert_eq!(base(&proxied, &[("forwarded", "host=evil.example;proto=https")]).await, proxied.base);
    let post = proxied.http.post(format!("{}/rosterhub/v1/imports", proxied.base)).bearer_auth(&proxied.token);
    let post = forwarded.iter().fold(post, |post, (name, value)| post.header(*name, *value));
    let response = post.body("no zip").send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with("https://hub.example/r/rosterhub/v1/imports/"), "{location}");

    let configured =
        Server::with(&url, &[("ROSTERHUB_PUBLIC_URL", "https://roster.example/"), ("ROSTERHUB_TRUSTED_PROXIES", "1")]);
    assert_eq!(base(&configured, &forwarded).await, "https://roster.example");
    // It is the issuer of tokens, too.
    let token = Tool::new(&url, &[]).token(&configured).await;
    let get = |server: &Server| server.http.get(server.oneroster("users")).bearer_auth(&token);
    assert_eq!((status(get(&configured)).await, status(get(&server)).await), (200, 401));

    let bad = rosterhub(&url, &["serve"]).env("ROSTERHUB_PUBLIC_URL", "hub.example").output().unwrap();
    let text = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(bad.status.code() == Some(1) && text.contains("public address"), "{text}");
}
