//! Access tokens: JWTs signed with Ed25519 (RFC 9068), checked without asking anyone.

use chrono::{DateTime, Utc};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AuthError;

/// Seconds that a token lives.
pub const LIFETIME: i64 = 3_600;

/// Seconds that clocks of instances may differ.
const SKEW: i64 = 60;

/// RFC 9068: says that a JWT is an access token and nothing else.
const TYPE: &str = "at+jwt";

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: Uuid,
    /// The same as `sub`; RFC 9068 wants it.
    pub client_id: Uuid,
    pub iat: i64,
    pub exp: i64,
    pub jti: Uuid,
    /// Granted scopes, blanks between.
    pub scope: String,
    pub tenant: String,
    /// The secret that the client proved itself with, by its public part: when the secret ends, so does the token.
    pub credential: String,
}

impl Claims {
    /// When it ends; `None` if that is no time.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.exp, 0)
    }
}

/// Which tokens are this installation's.
#[derive(Clone)]
pub struct Issuer {
    name: String,
    validation: Validation,
}

impl Issuer {
    /// `name`: what tokens name as issuer and as audience.
    pub fn new(name: &str) -> Self {
        // A second installation in the same process finds it installed.
        let _ = RING.install_default();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = 0;
        validation.set_issuer(&[name]);
        validation.set_audience(&[name]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self { name: name.to_owned(), validation }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Signs. `id` names the key.
    pub fn sign(&self, claims: &Claims, id: &str, key: &EncodingKey) -> std::result::Result<String, AuthError> {
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(id.to_owned()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, claims, key).map_err(|_| AuthError::BadKey)
    }

    /// The id of the key that a token says it was signed with; `None` when it is no access token at all.
    pub fn key_id(token: &str) -> Option<String> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let ours = header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(TYPE) && header.crit.is_none();
        header.kid.filter(|_| ours)
    }

    /// What a token says, if its signature, issuer, audience and times are right.
    pub fn verify(&self, token: &str, key: &DecodingKey, now: DateTime<Utc>) -> Option<Claims> {
        let claims = jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok()?.claims;
        let sound = claims.iat <= now.timestamp() + SKEW
            && claims.exp.checked_sub(claims.iat).is_some_and(|seconds| (0..=LIFETIME).contains(&seconds))
            && claims.client_id == claims.sub;
        sound.then_some(claims)
    }
}

/// The cryptography that jsonwebtoken asks for: Ed25519 of ring and nothing else, so that no token can choose another
/// algorithm.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => match Ed25519KeyPair::from_pkcs8(key.as_bytes()) {
            Ok(pair) => Ok(Box::new(RingSigner(pair)) as Box<dyn JwtSigner>),
            Err(_) => Err(ErrorKind::InvalidEddsaKey.into()),
        },
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => verifier(key),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct RingSigner(Ed25519KeyPair);
struct RingVerifier(Vec<u8>);

fn verifier(key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(RingVerifier(key.try_get_as_bytes()?.to_vec())))
}

impl signature::Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

impl signature::Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::signature::KeyPair;
    use serde_json::{Value, json};

    use super::*;

    struct Given {
        issuer: Issuer,
        private: EncodingKey,
        public: DecodingKey,
    }

    fn given() -> Given {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Given {
            issuer: Issuer::new("https://hub.example"),
            private: EncodingKey::from_ed_der(pkcs8.as_ref()),
            public: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        }
    }

    fn claims() -> Claims {
        let (now, id) = (Utc::now().timestamp(), Uuid::new_v4());
        Claims {
            iss: "https://hub.example".into(),
            aud: "https://hub.example".into(),
            sub: id,
            client_id: id,
            iat: now,
            exp: now + LIFETIME,
            jti: Uuid::new_v4(),
            scope: "import".into(),
            tenant: "midori".into(),
            credential: "0123456789abcdef".into(),
        }
    }

    impl Given {
        fn accepts(&self, change: impl FnOnce(&mut Claims)) -> bool {
            let mut claims = claims();
            change(&mut claims);
            let token = self.issuer.sign(&claims, "k", &self.private).unwrap();
            self.issuer.verify(&token, &self.public, Utc::now()).is_some()
        }
    }

    #[test]
    fn what_was_signed_is_read_back() {
        let given = given();
        let claims = claims();
        let token = given.issuer.sign(&claims, "k", &given.private).unwrap();
        assert_eq!(Issuer::key_id(&token).as_deref(), Some("k"));
        let read = given.issuer.verify(&token, &given.public, Utc::now()).unwrap();
        assert_eq!((read.jti, read.scope, read.tenant), (claims.jti, claims.scope, claims.tenant));
    }

    #[test]
    fn each_claim_counts() {
        let given = given();
        let now = Utc::now().timestamp();
        assert!(given.accepts(|_| {}));
        assert!(given.accepts(|c| c.iat = now + 30), "a clock a little ahead");
        assert!(!given.accepts(|c| c.iss = "https://other.example".into()));
        assert!(!given.accepts(|c| c.aud = "https://other.example".into()));
        assert!(!given.accepts(|c| (c.iat, c.exp) = (now - LIFETIME - 1, now - 1)), "expired");
        assert!(!given.accepts(|c| (c.iat, c.exp) = (now + 600, now + 700)), "from the future");
        assert!(!given.accepts(|c| c.exp = now + LIFETIME + 1), "longer than any of ours");
        assert!(!given.accepts(|c| (c.iat, c.exp) = (i64::MIN, i64::MAX)));
        assert!(!given.accepts(|c| c.client_id = Uuid::new_v4()));
    }

    #[test]
    fn neither_another_key_nor_algorithm_nor_form_passes() {
        let (given, other) = (given(), given());
        let token = given.issuer.sign(&claims(), "k", &given.private).unwrap();
        assert!(given.issuer.verify(&token, &other.public, Utc::now()).is_none());
        for cut in 0..token.len() {
            assert!(given.issuer.verify(&token[..cut], &given.public, Utc::now()).is_none(), "cut at {cut}");
        }
        let parts: Vec<&str> = token.split('.').collect();
        let header = |header: Value| URL_SAFE_NO_PAD.encode(header.to_string());
        for (head, signature) in [
            (json!({ "alg": "none", "typ": TYPE, "kid": "k" }), ""),
            (json!({ "alg": "none", "typ": TYPE, "kid": "k" }), parts[2]),
            (json!({ "alg": "HS256", "typ": TYPE, "kid": "k" }), parts[2]),
            (json!({ "alg": "ES256", "typ": TYPE, "kid": "k" }), parts[2]),
        ] {
            let forged = format!("{}.{}.{signature}", header(head.clone()), parts[1]);
            assert_eq!(Issuer::key_id(&forged), None, "{head}");
            assert!(given.issuer.verify(&forged, &given.public, Utc::now()).is_none(), "{head}");
        }
        let as_id_token =
            format!("{}.{}.{}", header(json!({ "alg": "EdDSA", "typ": "JWT", "kid": "k" })), parts[1], parts[2]);
        assert_eq!(Issuer::key_id(&as_id_token), None, "another kind of JWT");
    }
}
