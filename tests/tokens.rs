//! Access tokens and the keys that sign them: forged ones, keys that follow one another, secrets at rest.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use rosterhub::auth::Vault;
use rosterhub::auth::keys::Keys;
use rosterhub::auth::token::{Claims, Issuer};
use serde_json::{Value, json};

use crate::auth::{Tool, read, status};
use crate::support::{Server, data_dir, json, open, rosterhub, run, until};

fn part(token: &str, n: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap()).unwrap()
}

fn kid(token: &str) -> String {
    part(token, 0)["kid"].as_str().unwrap().to_owned()
}

async fn jwks(server: &Server) -> Value {
    let response = server.http.get(format!("{}/.well-known/jwks.json", server.base)).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/jwk-set+json".parse().unwrap())
    );
    response.json().await.unwrap()
}

/// Checks a signature as a stranger would, by the published keys.
async fn is_signed_by_published_key(server: &Server, token: &str) -> bool {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = Signature::from_slice(&URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let keys = jwks(server).await;
    let Some(key) = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid(token)) else { return false };
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"], &key["use"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"), &json!("sig"))
    );
    assert!(key.get("d").is_none(), "the private part stays here");
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let public = VerifyingKey::from_bytes(public.as_slice().try_into().unwrap()).unwrap();
    public.verify_strict(message.as_bytes(), &signature).is_ok()
}

#[tokio::test]
async fn a_token_says_who_and_what_and_is_signed() {
    let server = Server::start().await;
    let tool = Tool::new(&server.url, &[]);
    let token = tool.token(&server).await;
    assert_eq!((&part(&token, 0)["alg"], &part(&token, 0)["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    let claims = part(&token, 1);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("rosterhub"), &json!("rosterhub")));
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(tool.id), &json!(tool.id)));
    assert_eq!(
        (&claims["tenant"], &claims["scope"]),
        (&json!("midori"), &json!("https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly"))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!(!token.contains(&tool.secret) && !claims.to_string().contains(&tool.secret[21..]));
    assert_ne!(claims["jti"], part(&tool.token(&server).await, 1)["jti"]);
    assert!(is_signed_by_published_key(&server, &token).await);
}

#[tokio::test]
async fn forged_tokens_are_refused() {
    let server = Server::start().await;
    let tool = Tool::new(&server.url, &[]);
    let genuine = tool.token(&server).await;
    // The very key of the server: only what the token says is wrong.
    let log = open(&server.url).await;
    let secret_key = std::fs::read_to_string(data_dir().join("secret.key")).unwrap();
    let vault = || Vault::from_base64(&secret_key).unwrap();
    let keys = Keys::new(log.db().clone(), vault().into());
    let (id, key) = keys.signer().await.unwrap();
    let issuer = Issuer::new("rosterhub");
    let claims: Claims = serde_json::from_value(part(&genuine, 1)).unwrap();
    let sign = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims.clone();
        change(&mut claims);
        issuer.sign(&claims, &id, &key).unwrap()
    };
    assert_eq!(status(&server, &sign(&|_| {}), "users").await, 200, "signed like a genuine one");
    let [header, payload, signature] = genuine.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let encoded = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header_of = |alg: &str| encoded(json!({ "alg": alg, "typ": "at+jwt", "kid": id }));
    let mut other_scope = part(&genuine, 1);
    other_scope["scope"] = json!("admin");
    // Another installation's key, under the id of ours.
    let strange = {
        let url = crate::support::database().await;
        let log = open(&url).await;
        let keys = Keys::new(log.db().clone(), vault().into());
        keys.prepare().await.unwrap();
        issuer.sign(&claims, &id, &keys.signer().await.unwrap().1).unwrap()
    };
    let now = claims.iat;
    let forged = [
        ("unsigned", format!("{}.{payload}.", header_of("none"))),
        ("unsigned with a signature", format!("{}.{payload}.{signature}", header_of("none"))),
        ("another algorithm", format!("{}.{payload}.{signature}", header_of("HS256"))),
        ("no algorithm there is", format!("{}.{payload}.{signature}", header_of("XX"))),
        ("other claims", format!("{header}.{}.{signature}", encoded(other_scope))),
        ("another key", strange),
        ("an unknown key", issuer.sign(&claims, "0123456789abcdef", &key).unwrap()),
        ("another issuer", sign(&|c| c.iss = "https://other.example".into())),
        ("another audience", sign(&|c| c.aud = "https://other.example".into())),
        ("expired", sign(&|c| (c.iat, c.exp) = (now - 3601, now - 1))),
        ("of the future", sign(&|c| (c.iat, c.exp) = (now + 1000, now + 2000))),
        ("too long-lived", sign(&|c| c.exp = now + 1_000_000)),
        ("of time's end", sign(&|c| (c.iat, c.exp) = (i64::MIN, i64::MAX))),
        ("another board", sign(&|c| c.tenant = "aoba".into())),
        ("nobody", sign(&|c| (c.sub, c.client_id) = (uuid::Uuid::nil(), uuid::Uuid::nil()))),
        ("no such secret", sign(&|c| c.credential = "0".repeat(16))),
        ("cut", genuine[..genuine.len() - 1].to_owned()),
        ("cut in half", genuine[..genuine.len() / 2].to_owned()),
        ("two parts", format!("{header}.{payload}")),
        ("four parts", format!("{genuine}.x")),
        ("no base64", format!("{header}.%%%.{signature}")),
        ("no JSON", format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("x"))),
        ("giant", format!("{header}.{}.{signature}", "A".repeat(100_000))),
        ("dots", ".".repeat(3_000)),
        ("nothing", "..".to_owned()),
    ];
    for (what, token) in forged {
        let response = read(&server, &token, "users").await;
        assert_eq!(response.status(), 401, "{what}");
        assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"), "{what}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["imsx_codeMajor"], "failure", "{what}");
    }
    assert_eq!(status(&server, &sign(&|c| c.scope = "import nonsense".into()), "users").await, 403, "not its client's");
    assert_eq!(status(&server, &genuine, "users").await, 200);
}

#[tokio::test]
async fn keys_follow_one_another_while_tokens_are_out() {
    let one = Server::start().await;
    let two = Server::on(&one.url);
    let tool = Tool::new(&one.url, &[]);
    let before = tool.token(&one).await;
    assert_eq!(kid(&before), kid(&tool.token(&two).await), "instances share their keys");

    let made = json(&one.url, &["key", "rotate"]);
    // Published before it signs.
    let published = jwks(&two).await;
    assert!(published["keys"].as_array().unwrap().iter().any(|key| key["kid"] == made["kid"]));
    until("the new key signs", async || made["kid"] == kid(&tool.token(&two).await)).await;
    let after = tool.token(&two).await;
    for server in [&one, &two] {
        for token in [&before, &after] {
            assert_eq!(status(server, token, "users").await, 200);
            assert!(is_signed_by_published_key(server, token).await);
        }
    }
    assert_eq!(json(&one.url, &["key", "list"]).as_array().unwrap().len(), 2);

    // Once the tokens of a followed key have expired, it is gone. (As if it had all been an hour and more ago.)
    let log = open(&one.url).await;
    let pool = log.db().pool();
    let past = "update signing_keys set signs_from = signs_from - interval '2 hours'";
    sqlx::query(past).execute(pool).await.unwrap();
    assert_eq!(jwks(&one).await["keys"].as_array().unwrap().len(), 1);
    until("the old key verifies no more", async || status(&one, &before, "users").await == 401).await;
    assert_eq!(status(&one, &after, "users").await, 200);

    // By its age a key gets a follower, one from however many instances, which does not sign yet.
    sqlx::query("update signing_keys set signs_from = signs_from - interval '91 days'").execute(pool).await.unwrap();
    let (a, b) = tokio::join!(tool.token(&one), tool.token(&two));
    assert_eq!((made["kid"] == kid(&a), made["kid"] == kid(&b)), (true, true));
    assert_eq!(jwks(&one).await["keys"].as_array().unwrap().len(), 2);

    // All withdrawn: the tokens end, new ones are given.
    let made = json(&one.url, &["key", "rotate", "--revoke"]);
    for server in [&one, &two] {
        until("the tokens end", async || status(server, &after, "users").await == 401).await;
        let fresh = tool.token(server).await;
        assert_eq!(made["kid"], kid(&fresh));
        until("the new key is known", async || status(server, &fresh, "users").await == 200).await;
    }
}

#[tokio::test]
async fn instances_that_start_together_make_one_key() {
    let log = open(&crate::support::database().await).await;
    let vault = std::sync::Arc::new(Vault::from_base64(&format!("{}=", "A".repeat(43))).unwrap());
    let instances: Vec<_> = (0..8).map(|_| Keys::new(log.db().clone(), vault.clone())).collect();
    futures::future::try_join_all(instances.iter().map(Keys::prepare)).await.unwrap();
    assert_eq!(instances[0].live().await.unwrap().len(), 1);
    // And one follower, when the key has become old for all of them at once.
    let old = "update signing_keys set signs_from = signs_from - interval '91 days'";
    sqlx::query(old).execute(log.db().pool()).await.unwrap();
    let signers = futures::future::try_join_all(instances.iter().map(Keys::signer)).await.unwrap();
    assert!(signers.iter().all(|(id, _)| *id == signers[0].0));
    assert_eq!(instances[0].live().await.unwrap().len(), 2);
}

#[tokio::test]
async fn private_keys_are_opened_by_the_secret_key_alone() {
    let server = Server::start().await;
    let url = server.url.clone();
    let log = open(&url).await;
    let sealed: Vec<u8> =
        sqlx::query_scalar("select sealed from signing_keys").fetch_one(log.db().pool()).await.unwrap();
    // PKCS #8 begins with this for an Ed25519 key.
    assert!(!sealed.windows(5).any(|w| w == [0x06, 0x03, 0x2b, 0x65, 0x70]));
    drop(server);

    let with_key = |args: &[&str], key: &str| {
        let output = rosterhub(&url, args).env("ROSTERHUB_SECRET_KEY", key).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let other = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let (code, text) = with_key(&["serve"], other);
    assert!(code == Some(1) && text.contains("ROSTERHUB_SECRET_KEY") && text.contains("key rotate --revoke"), "{text}");
    let (code, text) = with_key(&["serve"], "short");
    assert!(code == Some(1) && text.contains("32 bytes"), "{text}");
    assert!(!text.contains("short"), "nothing of a key is shown");
    let (code, text) = with_key(&["key", "rotate"], other);
    assert!(code == Some(1) && text.contains("key rotate --revoke"), "a key that the others cannot open: {text}");
    // With both keys, the old one's values are still read.
    let file = std::fs::read_to_string(data_dir().join("secret.key")).unwrap();
    let server = Server::with(&url, &[("ROSTERHUB_SECRET_KEY", &format!("{other},{}", file.trim()))]);
    let tool = Tool::new(&url, &[]);
    tool.token(&server).await;
    drop(server);
    // Lost: new keys.
    assert_eq!(with_key(&["key", "rotate", "--revoke"], other).0, Some(0));
    let server = Server::with(&url, &[("ROSTERHUB_SECRET_KEY", other)]);
    let token = tool.token(&server).await;
    assert_eq!(status(&server, &token, "users").await, 200);
    assert_eq!(run(&url, &["key", "list"]).0, 0);
}
