use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;

use confique::Config as _;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::webhook::headers::check_headers;
use crate::webhook::signature::{KeyKind, SigningKey, sign};

const BODY: &str = r#"{"type":"user.changed"}"#;

fn settings(networks: &[&str]) -> WebhooksConfig {
    let mut settings = WebhooksConfig::builder().load().unwrap();
    settings.allow_http = true;
    settings.networks = networks.iter().map(|network| network.parse().unwrap()).collect();
    settings
}

fn loopback() -> WebhooksConfig {
    settings(&["127.0.0.0/8", "::1/128"])
}

async fn post(sender: &Sender, url: &Url) -> Outcome {
    let request = Request {
        url,
        id: "msg_1",
        timestamp: 1_700_000_000,
        signature: "v1,x".to_owned(),
        headers: &[],
        body: Bytes::from_static(BODY.as_bytes()),
    };
    sender.send(request).await
}

/// A receiver on loopback. It answers with these bytes; `then_close`: and closes the connection, else it goes on.
/// Gives its address, and each request with the number of its connection.
async fn receiver(answer: &[u8], then_close: bool) -> (Url, mpsc::UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap()).parse().unwrap();
    let (told, hears) = mpsc::unbounded_channel();
    let answer = answer.to_vec();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (told, answer) = (told.clone(), answer.clone());
            tokio::spawn(async move {
                let mut read = Vec::new();
                while stream.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {
                    let text = String::from_utf8(read.clone()).unwrap();
                    if !text.ends_with(BODY) {
                        continue;
                    }
                    read.clear();
                    let _ = told.send((number, text));
                    // The client may have had enough before it has all of a large answer.
                    let _ = stream.write_all(&answer).await;
                    if then_close {
                        break;
                    }
                }
            });
        }
    });
    (url, hears)
}

/// What becomes of a delivery that is answered so.
async fn answered(answer: &str) -> Outcome {
    let (url, _hears) = receiver(answer.as_bytes(), true).await;
    post(&Sender::new(&loopback()).unwrap(), &url).await
}

#[tokio::test]
async fn a_delivery_as_it_arrives() {
    let (url, mut hears) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false).await;
    let sender = Sender::new(&loopback()).unwrap();
    let (key, secret) = SigningKey::make(KeyKind::Hmac).unwrap();
    let now = chrono::Utc::now().timestamp();
    let headers = check_headers([("Authorization", "Bearer x"), ("X-Zone", "a")]).unwrap();
    for _ in 0..2 {
        let outcome = sender
            .send(Request {
                url: &url,
                id: "msg_1",
                timestamp: now,
                signature: sign(std::slice::from_ref(&key), "msg_1", now, BODY.as_bytes()),
                headers: &headers,
                body: Bytes::from_static(BODY.as_bytes()),
            })
            .await;
        assert!(outcome.delivered() && !outcome.gone() && !outcome.slow_down());
        assert_eq!((outcome.status, outcome.excerpt.as_str()), (Some(200), "ok"));
        assert_eq!(outcome.body.unwrap(), "ok");
        let (connection, request) = hears.recv().await.unwrap();
        assert_eq!(connection, 0, "the connection is used again");
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        assert_eq!((lines.next(), body), (Some("POST /hook HTTP/1.1"), BODY));
        let mut received = HeaderMap::new();
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            let before = received.insert(name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap());
            assert!(before.is_none(), "{name} is there once");
        }
        standardwebhooks::Webhook::new(&secret).unwrap().verify(body.as_bytes(), &received).unwrap();
        for (name, value) in [
            ("content-type", "application/json"),
            ("user-agent", concat!("RosterHub/", env!("CARGO_PKG_VERSION"))),
            ("authorization", "Bearer x"),
            ("x-zone", "a"),
            ("webhook-id", "msg_1"),
        ] {
            assert_eq!(received[name], value);
        }
        assert!(!received.contains_key("accept-encoding") && !received.contains_key("referer"));
    }
}

#[tokio::test]
async fn answers_count_by_their_status() {
    for (status, failure) in [
        (200, None),
        (204, None),
        (299, None),
        (400, Some(Failure::Refused)),
        (410, Some(Failure::Refused)),
        (429, Some(Failure::Refused)),
        (500, Some(Failure::Refused)),
        (503, Some(Failure::Refused)),
        (301, Some(Failure::Redirect)),
        (304, Some(Failure::Redirect)),
    ] {
        let outcome = answered(&format!("HTTP/1.1 {status} x\r\nretry-after: 7\r\n\r\n")).await;
        assert_eq!((outcome.status, outcome.failure), (Some(status), failure));
        assert_eq!((outcome.delivered(), outcome.gone()), (failure.is_none(), status == 410));
        assert_eq!(outcome.slow_down(), [429, 503].contains(&status));
        assert_eq!(outcome.retry_after, Some(Duration::from_secs(7)));
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (inside, mut hears) = receiver(b"HTTP/1.1 200 OK\r\n\r\n", true).await;
    for status in [301, 302, 303, 307, 308] {
        let outcome = answered(&format!("HTTP/1.1 {status} x\r\nlocation: {inside}\r\n\r\n")).await;
        assert_eq!((outcome.status, outcome.failure), (Some(status), Some(Failure::Redirect)));
    }
    assert!(hears.try_recv().is_err(), "nothing came to where it leads");
}

#[tokio::test]
async fn who_never_answers() {
    let mut settings = loopback();
    settings.timeout_seconds = 0.2;
    let sender = Sender::new(&settings).unwrap();
    let (url, mut hears) = receiver(b"", false).await;
    let outcome = post(&sender, &url).await;
    assert!(hears.recv().await.is_some());
    assert_eq!((outcome.status, outcome.failure), (None, Some(Failure::Timeout)));
    // Nor does one that begins to, and one whose head has no end.
    let (url, _hears) = receiver(b"HTTP/1.1 200 OK\r\nx-a: ", false).await;
    assert_eq!(post(&sender, &url).await.failure, Some(Failure::Timeout));
    // With the status the delivery is decided, whatever becomes of the body.
    let (url, _hears) = receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", false).await;
    let outcome = post(&sender, &url).await;
    assert_eq!((outcome.delivered(), outcome.excerpt.as_str()), (true, "abc"));
}

#[tokio::test]
async fn of_a_large_answer_only_the_beginning_is_read() {
    let mut settings = loopback();
    settings.max_response_bytes = 1_000;
    let sender = Sender::new(&settings).unwrap();
    let answer = |bytes: usize| format!("HTTP/1.1 200 OK\r\n\r\n{}", "あ".repeat(bytes / 3));
    let (url, _hears) = receiver(answer(30_000_000).as_bytes(), true).await;
    let outcome = post(&sender, &url).await;
    assert!(outcome.delivered());
    assert_eq!(outcome.body.unwrap().len(), 1_000);
    assert_eq!(outcome.excerpt.chars().take(333).collect::<String>(), "あ".repeat(333));
    // Just as much as may be read is all of it, and leaves the connection.
    let full = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{}", "a".repeat(1_000));
    let (url, mut hears) = receiver(full.as_bytes(), false).await;
    for _ in 0..2 {
        let outcome = post(&sender, &url).await;
        assert_eq!((outcome.body.unwrap().len(), outcome.excerpt.len()), (1_000, 500));
        assert_eq!(hears.recv().await.unwrap().0, 0);
    }
}

#[tokio::test]
async fn connections_that_break() {
    for answer in ["", "HTTP/1.1 200", "nonsense\r\n\r\n", "HTTP/1.1 99999 x\r\n\r\n"] {
        let outcome = answered(answer).await;
        assert_eq!((outcome.status, outcome.failure), (None, Some(Failure::Broken)), "{answer:?}");
    }
    let outcome = answered("HTTP/1.1 500 x\r\ncontent-length: 9\r\n\r\nabc").await;
    assert_eq!((outcome.failure, outcome.excerpt.as_str()), (Some(Failure::Refused), "abc"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = post(&Sender::new(&loopback()).unwrap(), &format!("http://{closed}/").parse().unwrap()).await;
    assert_eq!(outcome.failure, Some(Failure::Connect));
}

#[tokio::test]
async fn the_guard_stands_before_every_call() {
    let (url, mut hears) = receiver(b"HTTP/1.1 200 OK\r\n\r\n", true).await;
    let port = url.port().unwrap();
    let sender = Sender::new(&settings(&[])).unwrap();
    for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "[::1]", "localhost"] {
        let outcome = post(&sender, &format!("http://{host}:{port}/").parse().unwrap()).await;
        assert_eq!((outcome.status, outcome.failure), (None, Some(Failure::Forbidden(Forbidden::Loopback))), "{host}");
    }
    let outcome = post(&sender, &format!("http://0.0.0.0:{port}/").parse().unwrap()).await;
    assert_eq!(outcome.failure, Some(Failure::Forbidden(Forbidden::Unspecified)));
    let mut no_http = loopback();
    no_http.allow_http = false;
    let outcome = post(&Sender::new(&no_http).unwrap(), &url).await;
    assert_eq!(outcome.failure, Some(Failure::Forbidden(Forbidden::Http)));
    assert!(hears.try_recv().is_err(), "nothing came");
    // The same hosts are called where the settings allow it: nothing else kept them from it.
    let allowed = Sender::new(&loopback()).unwrap();
    for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
        let outcome = post(&allowed, &format!("http://{host}:{port}/").parse().unwrap()).await;
        assert!(outcome.delivered(), "{host}: {:?}", outcome.failure);
    }
}

#[tokio::test]
async fn a_name_that_changes_its_address() {
    let (url, mut hears) = receiver(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", true).await;
    let url = format!("http://rebinding.example:{}/", url.port().unwrap()).parse().unwrap();
    let answers = Mutex::new(vec!["127.0.0.2:0", "127.0.0.1:0"]);
    let settings = settings(&["127.0.0.1/32"]);
    let guard = Guard::new(&settings);
    let resolver = Resolver::with(guard.clone(), move |_| {
        let next = answers.lock().unwrap().pop();
        Ok(next.map(|address| address.parse().unwrap()).into_iter().collect())
    });
    let sender = Sender::with(&settings, guard, resolver, RootCertStore::empty()).unwrap();
    assert!(post(&sender, &url).await.delivered());
    assert_eq!(post(&sender, &url).await.failure, Some(Failure::Forbidden(Forbidden::Loopback)));
    assert_eq!(post(&sender, &url).await.failure, Some(Failure::Dns), "no address at all");
    assert!(hears.recv().await.is_some() && hears.try_recv().is_err(), "one call arrived");
}

/// A certificate for `name`, signed by itself.
fn certificate(name: &str, expired: bool) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    if expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

/// Serves one connection with TLS. The thread ends with it.
fn serve_tls(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = StreamOwned::new(connection, listener.accept().unwrap().0);
        let mut read = Vec::new();
        let mut part = [0; 4096];
        while !read.ends_with(BODY.as_bytes()) {
            // A client that does not trust the certificate goes away.
            match stream.read(&mut part) {
                Ok(bytes) if bytes > 0 => read.extend_from_slice(&part[..bytes]),
                _ => return,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    });
    address
}

#[tokio::test]
async fn certificates_are_checked() {
    let to = |trusted: Option<&CertificateDer<'static>>| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.cloned());
        let settings = loopback();
        let guard = Guard::new(&settings);
        let resolver = Resolver::with(guard.clone(), |_| Ok(vec!["127.0.0.1:0".parse().unwrap()]));
        Sender::with(&settings, guard, resolver, roots).unwrap()
    };
    for (name, expired, trusted, detail) in [
        ("hooks.example", false, true, None),
        ("hooks.example", false, false, Some("UnknownIssuer")),
        ("hooks.example", true, true, Some("expired")),
        ("other.example", false, true, Some("not valid for name")),
    ] {
        let (certificate, key) = certificate(name, expired);
        let sender = to(trusted.then_some(&certificate));
        let address = serve_tls(certificate, key);
        let outcome = post(&sender, &format!("https://hooks.example:{}/", address.port()).parse().unwrap()).await;
        match detail {
            None => assert_eq!((outcome.delivered(), outcome.excerpt.as_str()), (true, "ok"), "{:?}", outcome.detail),
            Some(expected) => {
                assert_eq!(outcome.failure, Some(Failure::Tls));
                let told = outcome.detail.unwrap();
                assert!(told.contains(expected), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_receiver_that_speaks_no_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let outcome = post(&Sender::new(&loopback()).unwrap(), &url).await;
    served.await.unwrap();
    assert_eq!((outcome.status, outcome.failure), (None, Some(Failure::Tls)));
}

#[test]
fn retry_after() {
    let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    for (value, seconds) in [
        ("0", Some(0)),
        ("120", Some(120)),
        (" 7 ", Some(7)),
        ("86400", Some(86_400)),
        ("86401", Some(86_400)),
        ("99999999999999999999999", Some(86_400)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
        ("Sun Nov  6 08:50:37 1994", Some(60)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
        ("Tue, 06 Nov 2035 08:00:00 GMT", Some(86_400)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
    ] {
        assert_eq!(wait(value, now), seconds.map(Duration::from_secs), "{value}");
    }
}

#[test]
fn excerpts_are_plain() {
    assert_eq!(excerpt("a\r\n\tb\0\u{1b}[31m\u{202e}c".as_bytes()), "a   b[31mc");
    assert_eq!(excerpt(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    assert_eq!(excerpt("𠮷".repeat(600).as_bytes()), "𠮷".repeat(500));
    assert_eq!(excerpt(b""), "");
}

#[test]
fn settings_that_make_no_sender() {
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut settings = loopback();
        settings.timeout_seconds = seconds;
        assert!(matches!(Sender::new(&settings), Err(SenderError::Timeout)), "{seconds}");
    }
}
