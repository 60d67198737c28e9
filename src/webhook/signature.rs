//! Signatures of deliveries, as Standard Webhooks 1.0.0 has them: `v1` by HMAC-SHA256, `v1a` by Ed25519.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};

/// What texts of keys begin with: a shared secret, a private key, a public key.
const SECRET: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";

/// Bytes of a key made here; also those of an Ed25519 seed.
const MADE: usize = 32;
/// Bytes that a shared secret may have.
const FEWEST: usize = 24;
const MOST: usize = 64;

/// The two kinds of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A secret that the receiver has too.
    Hmac,
    /// A key pair, of which the receiver has the public key.
    Ed25519,
}

impl KeyKind {
    const ALL: [Self; 2] = [Self::Hmac, Self::Ed25519];

    /// As clients and the database name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hmac => "hmac",
            Self::Ed25519 => "ed25519",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What stored bytes of a key begin with.
    fn form(self) -> u8 {
        match self {
            Self::Hmac => 1,
            Self::Ed25519 => 2,
        }
    }
}

/// A key that deliveries are signed with. Its `Debug` shows nothing of it.
pub enum SigningKey {
    Hmac(HmacSecret),
    Ed25519(Ed25519Seed),
}

pub struct HmacSecret {
    bytes: Vec<u8>,
    key: hmac::Key,
}

pub struct Ed25519Seed {
    seed: [u8; MADE],
    pair: Ed25519KeyPair,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the system gives no random bytes")]
    NoRandom,
    #[error("the key of a webhook is damaged")]
    Damaged,
}

/// Why a secret that a client brings is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    #[error("A secret begins with whsec_.")]
    NoPrefix,
    #[error("Only a secret that begins with whsec_ can be brought. The hub makes key pairs of ed25519 itself.")]
    KeyPair,
    #[error("After whsec_ a secret is base64 in the standard alphabet, with padding.")]
    NotBase64,
    #[error("A secret has 24 to 64 bytes before base64; this one has {0}.")]
    Length(usize),
}

impl SigningKey {
    /// A new key, and the text that is shown once: `whsec_…`, or of a key pair the public key, `whpk_…`.
    pub fn make(kind: KeyKind) -> Result<(Self, String), KeyError> {
        let mut random = [0; MADE];
        getrandom::fill(&mut random).map_err(|_| KeyError::NoRandom)?;
        let key = Self::of(kind, &random)?;
        let shown = key.public().unwrap_or_else(|| format!("{SECRET}{}", STANDARD.encode(random)));
        Ok((key, shown))
    }

    /// A secret that a client brings: `whsec_` and base64 of 24 to 64 bytes.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let base64 = match text.strip_prefix(SECRET) {
            Some(base64) => base64,
            None if text.starts_with(PRIVATE) || text.starts_with(PUBLIC) => return Err(BadSecret::KeyPair),
            None => return Err(BadSecret::NoPrefix),
        };
        let bytes = STANDARD.decode(base64).map_err(|_| BadSecret::NotBase64)?;
        Self::of(KeyKind::Hmac, &bytes).map_err(|_| BadSecret::Length(bytes.len()))
    }

    /// What [`Self::to_bytes`] gave.
    pub fn from_bytes(stored: &[u8]) -> Result<Self, KeyError> {
        let (form, bytes) = stored.split_first().ok_or(KeyError::Damaged)?;
        let kind = KeyKind::ALL.into_iter().find(|kind| kind.form() == *form).ok_or(KeyError::Damaged)?;
        Self::of(kind, bytes)
    }

    /// The key with its kind, to be sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = match self {
            Self::Hmac(secret) => &secret.bytes[..],
            Self::Ed25519(seed) => &seed.seed[..],
        };
        [&[self.kind().form()], bytes].concat()
    }

    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Hmac(_) => KeyKind::Hmac,
            Self::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// The public key of a key pair, `whpk_…`.
    pub fn public(&self) -> Option<String> {
        match self {
            Self::Hmac(_) => None,
            Self::Ed25519(seed) => Some(format!("{PUBLIC}{}", STANDARD.encode(seed.pair.public_key()))),
        }
    }

    fn of(kind: KeyKind, bytes: &[u8]) -> Result<Self, KeyError> {
        match kind {
            KeyKind::Hmac if (FEWEST..=MOST).contains(&bytes.len()) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
                Ok(Self::Hmac(HmacSecret { bytes: bytes.to_vec(), key }))
            }
            KeyKind::Hmac => Err(KeyError::Damaged),
            KeyKind::Ed25519 => {
                let seed = bytes.try_into().map_err(|_| KeyError::Damaged)?;
                let pair = Ed25519KeyPair::from_seed_unchecked(bytes).map_err(|_| KeyError::Damaged)?;
                Ok(Self::Ed25519(Ed25519Seed { seed, pair }))
            }
        }
    }

    fn signature(&self, text: &[u8]) -> String {
        match self {
            Self::Hmac(secret) => format!("v1,{}", STANDARD.encode(hmac::sign(&secret.key, text))),
            Self::Ed25519(seed) => format!("v1a,{}", STANDARD.encode(seed.pair.sign(text))),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// The value of the header `webhook-signature`: one signature for each key, in their order, with spaces between.
/// `id` must have no full stop, which separates it from what follows; `timestamp` is in seconds since 1970.
pub fn sign<'a>(keys: impl IntoIterator<Item = &'a SigningKey>, id: &str, timestamp: i64, body: &[u8]) -> String {
    let text = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    keys.into_iter().map(|key| key.signature(&text)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, VerifyingKey};
    use reqwest::header::HeaderMap;

    use super::*;

    /// An example of the specification's libraries: secret, id, timestamp, body, signature.
    type Example = (KeyKind, &'static str, &'static str, i64, &'static str, &'static str);

    const EXAMPLES: [Example; 3] = [
        (
            KeyKind::Hmac,
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            KeyKind::Hmac,
            "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            1_649_367_553,
            r#"{"email":"test@example.com","username":"test_user"}"#,
            "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
        ),
        (
            KeyKind::Ed25519,
            "VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
        ),
    ];

    fn received(id: &str, timestamp: i64, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn examples_of_the_specification() {
        let mut keys = Vec::new();
        for (kind, secret, id, timestamp, body, expected) in EXAMPLES {
            let key = SigningKey::of(kind, &STANDARD.decode(secret).unwrap()).unwrap();
            keys.push(key);
            assert_eq!(sign(&keys[keys.len() - 1..], id, timestamp, body.as_bytes()), expected);
        }
        let (_, _, id, timestamp, body, first) = EXAMPLES[0];
        let signed = sign(&keys, id, timestamp, body.as_bytes());
        let parts: Vec<&str> = signed.split(' ').collect();
        assert_eq!((parts.len(), parts[0], parts[2]), (3, first, EXAMPLES[2].5), "all keys, in their order");
    }

    #[test]
    fn another_implementation_verifies_made_secrets() {
        let now = chrono::Utc::now().timestamp();
        let body = "{\"data\":\"学校\"}".as_bytes();
        let (old, old_text) = SigningKey::make(KeyKind::Hmac).unwrap();
        let (new, new_text) = SigningKey::make(KeyKind::Hmac).unwrap();
        assert_ne!(old_text, new_text);
        assert_eq!(STANDARD.decode(new_text.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
        let headers = received("msg_1", now, &sign(&[new, old], "msg_1", now, body));
        for text in [&old_text, &new_text] {
            let webhook = standardwebhooks::Webhook::new(text).unwrap();
            webhook.verify(body, &headers).unwrap();
            webhook.verify(b"{}", &headers).unwrap_err();
            let parsed = SigningKey::parse(text).unwrap();
            assert_eq!(sign(&[parsed], "msg_1", now, body), webhook.sign("msg_1", now, body).unwrap());
        }
        let (_, other) = SigningKey::make(KeyKind::Hmac).unwrap();
        standardwebhooks::Webhook::new(&other).unwrap().verify(body, &headers).unwrap_err();
    }

    #[test]
    fn another_implementation_verifies_key_pairs() {
        let (key, public) = SigningKey::make(KeyKind::Ed25519).unwrap();
        assert_eq!(key.public().as_deref(), Some(&*public));
        let bytes = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
        let verifier = VerifyingKey::from_bytes(&bytes.try_into().unwrap()).unwrap();
        let signed = sign(&[key], "msg_1", 17, b"{}");
        let signature = STANDARD.decode(signed.strip_prefix("v1a,").unwrap()).unwrap();
        let signature = Signature::from_slice(&signature).unwrap();
        verifier.verify_strict(b"msg_1.17.{}", &signature).unwrap();
        verifier.verify_strict(b"msg_1.18.{}", &signature).unwrap_err();
    }

    #[test]
    fn keys_are_stored_and_read() {
        for kind in KeyKind::ALL {
            assert_eq!(KeyKind::named(kind.name()), Some(kind));
            let (key, text) = SigningKey::make(kind).unwrap();
            let stored = key.to_bytes();
            let again = SigningKey::from_bytes(&stored).unwrap();
            assert_eq!((again.kind(), again.public()), (kind, key.public()));
            assert_eq!(sign(&[again], "m", 1, b""), sign(&[key], "m", 1, b""));
            assert!(SigningKey::from_bytes(&stored[..20]).is_err());
            let debug = format!("{:?}", SigningKey::from_bytes(&stored).unwrap());
            assert_eq!(debug, "SigningKey(…)", "nothing of {text}");
        }
        assert!(SigningKey::from_bytes(&[]).is_err());
        assert!(SigningKey::from_bytes(&[3; 33]).is_err());
        assert_eq!(KeyKind::named("v1"), None);
    }

    #[test]
    fn secrets_that_clients_bring() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for bytes in [24, 32, 64] {
            assert!(SigningKey::parse(&of(bytes)).is_ok(), "{bytes}");
        }
        let unpadded = of(32).trim_end_matches('=').to_owned();
        for (text, expected) in [
            (of(23), BadSecret::Length(23)),
            (of(65), BadSecret::Length(65)),
            ("whsec_".to_owned(), BadSecret::Length(0)),
            (of(32)[6..].to_owned(), BadSecret::NoPrefix),
            (String::new(), BadSecret::NoPrefix),
            (of(32).replace("whsec_", "whsk_"), BadSecret::KeyPair),
            (unpadded, BadSecret::NotBase64),
            ("whsec_-_-_".to_owned(), BadSecret::NotBase64),
            (format!("{} ", of(32)), BadSecret::NotBase64),
        ] {
            assert_eq!(SigningKey::parse(&text).unwrap_err(), expected, "{text}");
        }
    }
}
