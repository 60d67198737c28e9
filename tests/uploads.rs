//! Uploads that go on where they broke off (tus 1.0.0).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::Value;

use crate::support::{EVERYTHING, Server, bulk, city, database, open, run, tenant, token, until};

async fn server(settings: &[(&str, &str)]) -> Server {
    let url = database().await;
    assert_eq!(run(&url, &["tenant", "create", "midori"]).0, 0);
    Server::with(&url, settings)
}

/// A request of the protocol, as the client of this token.
fn tus(server: &Server, token: &str, method: Method, path: &str) -> RequestBuilder {
    let url = if path.starts_with('/') { format!("{}{path}", server.base) } else { path.to_owned() };
    server.http.request(method, url).bearer_auth(token).header("tus-resumable", "1.0.0")
}

const UPLOADS: &str = "/rosterhub/v1/uploads";

fn creation(server: &Server, query: &str, length: u64) -> RequestBuilder {
    let metadata = format!("filename {},is_secret", STANDARD.encode("新年度.zip"));
    tus(server, &server.token, Method::POST, &format!("{UPLOADS}{query}"))
        .header("upload-length", length)
        .header("upload-metadata", metadata)
}

/// Creates an upload; gives its path.
async fn create(server: &Server, length: usize) -> String {
    let created = creation(server, "?apply=always", length as u64).send().await.unwrap();
    assert_eq!(created.status(), 201, "{:?}", created.text().await);
    path(&created)
}

fn path(created: &Response) -> String {
    let location = created.headers()["location"].to_str().unwrap();
    location[location.find(UPLOADS).unwrap()..].to_owned()
}

fn piece(server: &Server, token: &str, path: &str, offset: u64, bytes: impl Into<Body>) -> RequestBuilder {
    tus(server, token, Method::PATCH, path)
        .header("upload-offset", offset)
        .header("content-type", "application/offset+octet-stream")
        .body(bytes)
}

/// Bytes that come, and then nothing more.
fn hanging(bytes: &[u8]) -> Body {
    let first = futures::stream::iter([Ok::<_, std::io::Error>(bytes.to_vec())]);
    Body::wrap_stream(first.chain(futures::stream::pending()))
}

async fn offset(server: &Server, token: &str, path: &str) -> u64 {
    let head = tus(server, token, Method::HEAD, path).send().await.unwrap();
    assert_eq!((head.status().as_u16(), &head.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
    header(&head, "upload-offset").parse().unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("{name}: {response:?}")).to_str().unwrap()
}

async fn refused(request: RequestBuilder, status: u16, code: &str) {
    let response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "tus-resumable")), (status, "1.0.0"));
    assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], code);
}

/// The import, when it rests.
async fn import(server: &Server, id: &str) -> Value {
    let url = format!("{}/rosterhub/v1/imports/{id}", server.base);
    let request = server.http.get(url).bearer_auth(&server.token).header("prefer", "wait=60");
    request.send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn an_upload_in_pieces_becomes_an_import() {
    let server = server(&[]).await;
    let zip = bulk(&city());
    let (length, half) = (zip.len() as u64, zip.len() / 2);
    let options = tus(&server, &server.token, Method::OPTIONS, UPLOADS).send().await.unwrap();
    assert_eq!((options.status().as_u16(), header(&options, "tus-version")), (204, "1.0.0"));
    assert_eq!(header(&options, "tus-max-size"), "2147483648");
    assert!(header(&options, "tus-extension").contains("creation-with-upload"));

    let path = create(&server, zip.len()).await;
    assert_eq!(offset(&server, &server.token, &path).await, 0);
    let first = piece(&server, &server.token, &path, 0, zip[..half].to_vec()).send().await.unwrap();
    assert_eq!((first.status().as_u16(), header(&first, "upload-offset")), (204, half.to_string().as_str()));
    assert!(header(&first, "upload-expires").ends_with(" GMT") && !first.headers().contains_key("rosterhub-import"));
    refused(piece(&server, &server.token, &path, 0, zip.clone()), 409, "wrong_offset").await;
    let last = piece(&server, &server.token, &path, half as u64, zip[half..].to_vec()).send().await.unwrap();
    assert_eq!((last.status().as_u16(), header(&last, "upload-offset")), (204, length.to_string().as_str()));
    let id = header(&last, "rosterhub-import").to_owned();
    let job = import(&server, &id).await;
    assert_eq!(
        (&job["state"], &job["fileName"], &job["bytes"]),
        (&"completed".into(), &"新年度.zip".into(), &length.into())
    );
    assert_eq!((&job["options"]["apply"], &job["client"]), (&"always".into(), &"test".into()));

    // It says so afterwards as well, and the last piece again enters nothing.
    let head = tus(&server, &server.token, Method::HEAD, &path).send().await.unwrap();
    assert_eq!(
        (header(&head, "rosterhub-import"), header(&head, "upload-length")),
        (id.as_str(), length.to_string().as_str())
    );
    assert!(header(&head, "upload-metadata").ends_with(",is_secret"));
    let shown: Value = server.get(&format!("{}{path}", server.base)).await.json().await.unwrap();
    assert_eq!(
        (&shown["import"], &shown["offset"], &shown["fileName"]),
        (&id.as_str().into(), &length.into(), &"新年度.zip".into())
    );
    let again = piece(&server, &server.token, &path, length, "").send().await.unwrap();
    assert_eq!((again.status().as_u16(), header(&again, "rosterhub-import")), (204, id.as_str()));
    refused(piece(&server, &server.token, &path, length, "x"), 413, "too_large").await;
    let jobs: Value = server.get(&format!("{}/rosterhub/v1/imports", server.base)).await.json().await.unwrap();
    assert_eq!(jobs["imports"].as_array().unwrap().len(), 1);
    let ended = tus(&server, &server.token, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    refused(tus(&server, &server.token, Method::DELETE, &path), 404, "not_found").await;
    assert_eq!(import(&server, &id).await["state"], "completed");
}

#[tokio::test]
async fn the_creation_may_bring_all_of_it() {
    let server = server(&[]).await;
    let zip = bulk(&city());
    let created = creation(&server, "?apply=never", zip.len() as u64)
        .header("content-type", "application/offset+octet-stream")
        .body(zip.clone())
        .send()
        .await
        .unwrap();
    assert_eq!((created.status().as_u16(), header(&created, "upload-offset")), (201, zip.len().to_string().as_str()));
    assert_eq!(import(&server, header(&created, "rosterhub-import")).await["state"], "planned");
    // From where only POST gets through.
    let path = create(&server, zip.len()).await;
    let request = tus(&server, &server.token, Method::POST, &path).header("x-http-method-override", "PATCH");
    let sent = request.header("upload-offset", 0).header("content-type", "application/offset+octet-stream").body(zip);
    assert_eq!(import(&server, header(&sent.send().await.unwrap(), "rosterhub-import")).await["state"], "completed");
}

#[tokio::test]
async fn what_is_wrong_is_told_before_a_byte_is_sent() {
    let server = server(&[
        ("ROSTERHUB_MAX_UPLOAD_BYTES", "1000"),
        ("ROSTERHUB_IMPORTS_UPLOADS_PER_TENANT", "3"),
        ("ROSTERHUB_IMPORTS_UPLOADS_BYTES", "2000"),
    ])
    .await;
    for query in ["?apply=sometimes", "?aply=never", "?conflicts=keep"] {
        refused(creation(&server, query, 10), 400, "bad_request").await;
    }
    refused(creation(&server, "", 0), 400, "bad_request").await;
    refused(creation(&server, "", 1_001), 413, "too_large").await;
    refused(tus(&server, &server.token, Method::POST, UPLOADS), 400, "bad_request").await;
    let unnamed = tus(&server, &server.token, Method::POST, UPLOADS).header("upload-length", 10);
    refused(unnamed.header("upload-metadata", "filename ?"), 400, "bad_request").await;
    let other = server.http.post(format!("{}{UPLOADS}", server.base)).bearer_auth(&server.token);
    refused(other.header("tus-resumable", "0.2.2"), 412, "wrong_version").await;
    let path = create(&server, 1_000).await;
    create(&server, 900).await;
    refused(creation(&server, "", 101), 507, "no_room").await;
    create(&server, 10).await;
    refused(creation(&server, "", 10), 429, "too_many_uploads").await;
    // One that ended makes room.
    assert_eq!(tus(&server, &server.token, Method::DELETE, &path).send().await.unwrap().status(), 204);
    let path = create(&server, 10).await;
    refused(tus(&server, &server.token, Method::PATCH, &path).header("upload-offset", 0), 415, "wrong_media_type")
        .await;
    refused(piece(&server, &server.token, &path, 0, "123456789ab"), 413, "too_large").await;
    assert_eq!(offset(&server, &server.token, &path).await, 0);

    // It is that client's alone.
    assert_eq!(run(&server.url, &["tenant", "create", "aoba"]).0, 0);
    for stranger in [token(&server.url, "midori", EVERYTHING), token(&server.url, "aoba", EVERYTHING)] {
        refused(piece(&server, &stranger, &path, 0, "1"), 404, "not_found").await;
        refused(tus(&server, &stranger, Method::DELETE, &path), 404, "not_found").await;
    }
    let reader = token(&server.url, "midori", "roster.readonly");
    refused(tus(&server, &reader, Method::DELETE, &path), 403, "insufficient_scope").await;
    assert_eq!(offset(&server, &server.token, &path).await, 0);
}

#[tokio::test]
async fn an_upload_goes_on_after_the_server_was_killed() {
    let mut one = server(&[]).await;
    let (zip, mine) = (bulk(&city()), one.token.clone());
    let (path, half) = (create(&one, zip.len()).await, zip.len() / 2);
    let sending = tokio::spawn(piece(&one, &mine, &path, 0, hanging(&zip[..half])).send());
    until("half of it is there", async || offset(&one, &mine, &path).await == half as u64).await;
    one.kill();
    assert!(sending.await.unwrap().is_err());

    let two = Server::on(&one.url);
    assert_eq!(offset(&two, &mine, &path).await, half as u64);
    let last = piece(&two, &mine, &path, half as u64, zip[half..].to_vec()).send().await.unwrap();
    assert_eq!(import(&two, header(&last, "rosterhub-import")).await["state"], "completed");
}

#[tokio::test]
async fn two_requests_never_mix_their_bytes() {
    let server = server(&[]).await;
    let zip = bulk(&city());
    let (path, half) = (create(&server, zip.len()).await, zip.len() / 2);
    let (rest, finish) = tokio::sync::oneshot::channel();
    let (head, tail) = (zip[..half].to_vec(), zip[half..].to_vec());
    let parts = futures::stream::once(async { head }).chain(futures::stream::once(async { finish.await.unwrap() }));
    let body = Body::wrap_stream(parts.map(Ok::<Vec<u8>, std::io::Error>));
    let first = tokio::spawn(piece(&server, &server.token, &path, 0, body).send());
    until("half of it is there", async || offset(&server, &server.token, &path).await == half as u64).await;
    refused(piece(&server, &server.token, &path, half as u64, tail.clone()), 423, "locked").await;
    refused(tus(&server, &server.token, Method::DELETE, &path), 423, "locked").await;
    rest.send(tail).unwrap();
    let last = first.await.unwrap().unwrap();
    assert_eq!(import(&server, header(&last, "rosterhub-import")).await["state"], "completed");
}

#[tokio::test]
async fn a_whole_upload_waits_for_a_place() {
    let narrow = [
        ("ROSTERHUB_MAX_IMPORTS", "1"),
        ("ROSTERHUB_MAX_QUEUED_IMPORTS", "0"),
        ("ROSTERHUB_IMPORTS_CARE_SECONDS", "1"),
    ];
    let server = server(&narrow).await;
    let lock = open(&server.url).await.begin(&tenant("midori")).await.unwrap();
    let imports = format!("{}/rosterhub/v1/imports?apply=always", server.base);
    let running = server.http.post(imports).bearer_auth(&server.token).body(bulk(&city())).send().await.unwrap();
    assert_eq!(running.status(), 202);
    let zip = bulk(&city());
    let path = create(&server, zip.len()).await;
    let last = piece(&server, &server.token, &path, 0, zip.clone()).send().await.unwrap();
    assert_eq!((last.status().as_u16(), last.headers().get("rosterhub-import")), (204, None));
    let retry = piece(&server, &server.token, &path, zip.len() as u64, "").send().await.unwrap();
    assert_eq!((retry.status().as_u16(), retry.headers().get("rosterhub-import")), (204, None));
    drop(lock);
    // The hub enters it by itself.
    let shown = async || server.get(&format!("{}{path}", server.base)).await.json::<Value>().await.unwrap();
    until("it is entered", async || shown().await["import"].is_string()).await;
    let job = import(&server, shown().await["import"].as_str().unwrap()).await;
    assert_eq!(job["state"], "completed");
}

/// A set holds passwords and all else that the roster does not keep.
#[tokio::test]
async fn an_upload_is_for_nobody_elses_eyes_and_gone_when_it_is_entered() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let server = server(&[("ROSTERHUB_DATA_DIR", folder.path().to_str().unwrap())]).await;
    let zip = bulk(&city());
    let path = create(&server, zip.len()).await;
    let own = std::fs::read_dir(folder.path().join("uploads")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
    let sets = || {
        let files = std::fs::read_dir(&own).unwrap().map(|file| file.unwrap().path());
        files.filter(|file| file.extension().is_some_and(|ending| ending == "set")).count()
    };
    assert_eq!(sets(), 1);
    let last = piece(&server, &server.token, &path, 0, zip).send().await.unwrap();
    assert!(last.headers().contains_key("rosterhub-import"));
    assert_eq!(sets(), 0);
}

#[tokio::test]
async fn uploads_that_nobody_goes_on_with_are_removed() {
    let one = server(&[]).await;
    let path = create(&one, 1_000).await;
    assert_eq!(piece(&one, &one.token, &path, 0, "abc").send().await.unwrap().status(), 204);
    let _two = Server::with(&one.url, &[("ROSTERHUB_IMPORTS_UPLOAD_HOURS", "0")]);
    until("it is gone", async || tus(&one, &one.token, Method::HEAD, &path).send().await.unwrap().status() == 404)
        .await;
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_not_waited_for() {
    let server = server(&[("ROSTERHUB_STALLED_SECONDS", "1")]).await;
    let path = create(&server, 1_000).await;
    refused(piece(&server, &server.token, &path, 0, hanging(b"abc")), 408, "stalled").await;
    // What came is kept, and the place is free.
    assert_eq!(offset(&server, &server.token, &path).await, 3);
    assert_eq!(piece(&server, &server.token, &path, 3, "def").send().await.unwrap().status(), 204);

    let imports = || server.http.post(format!("{}/rosterhub/v1/imports", server.base)).bearer_auth(&server.token);
    let part = reqwest::multipart::Part::stream(hanging(b"PK")).file_name("set.zip");
    let form = imports().multipart(reqwest::multipart::Form::new().part("file", part));
    for request in [imports().body(hanging(b"PK")), form] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 408);
        assert_eq!(response.json::<Value>().await.unwrap()["error"]["code"], "stalled");
    }
}
