//! Secrets that clients prove themselves with: made, shown once, kept as hashes.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use sha2::{Digest, Sha256};

use super::AuthError;

/// How the client proves itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `client_id` and secret, at the token endpoint.
    Secret,
    /// A bearer string of its own, with each request.
    ApiKey,
}

impl Kind {
    /// As the database has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::ApiKey => "api_key",
        }
    }
}

const API_KEY: &str = "rh_";
const SECRET: &str = "rhs_";

/// A secret just made.
pub struct NewSecret {
    /// What the client is given: `rhs_<id>_<64 hex digits>`, or `rh_<64 hex digits>` as an API key. All characters
    /// stand for themselves in forms and in Basic.
    pub text: String,
    /// Its public part, 16 hex digits.
    pub id: String,
    /// What is kept.
    pub hash: String,
}

impl NewSecret {
    /// 256 random bits. Slow for a [`Kind::Secret`].
    pub fn make(kind: Kind) -> Result<Self, AuthError> {
        let id = random::<8>()?;
        let random = random::<32>()?;
        let (text, hash) = match kind {
            Kind::ApiKey => {
                let text = format!("{API_KEY}{random}");
                let hash = api_key_hash(&text).unwrap_or_default();
                (text, hash)
            }
            Kind::Secret => {
                let text = format!("{SECRET}{id}_{random}");
                let hash = Argon2::default().hash_password(text.as_bytes()).map_err(|_| AuthError::Hash)?;
                (text, hash.to_string())
            }
        };
        Ok(Self { text, id, hash })
    }
}

/// `N` random bytes in hex.
pub fn random<const N: usize>() -> Result<String, AuthError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| AuthError::NoRandom)?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What is kept of an API key; `None` when the text has not the form of one.
pub fn api_key_hash(text: &str) -> Option<String> {
    let digits = text.strip_prefix(API_KEY)?;
    (digits.len() == 64 && is_hex(digits)).then(|| hex(&Sha256::digest(text)))
}

/// The public part of a client's secret; `None` when the text has not the form of one.
pub fn secret_id(text: &str) -> Option<&str> {
    let (id, rest) = text.strip_prefix(SECRET)?.split_once('_')?;
    (id.len() == 16 && is_hex(id) && rest.len() == 64 && is_hex(rest)).then_some(id)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Compared with when there is nothing to compare with, so that it takes as long. Nobody's hash.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3Mgc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whether the secret is the one of the hash. Slow, and as slow when there is no hash.
pub fn verify(secret: &str, hash: Option<&str>) -> bool {
    let matches = |hash: &str| {
        let hash = PasswordHash::new(hash);
        hash.is_ok_and(|hash| Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok())
    };
    matches(hash.unwrap_or(NOBODY)) && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_alone() {
        let made = NewSecret::make(Kind::Secret).unwrap();
        assert_eq!(secret_id(&made.text), Some(made.id.as_str()));
        assert!(made.hash.starts_with("$argon2id$") && !made.hash.contains(&made.text[21..]));
        assert!(verify(&made.text, Some(&made.hash)));
        assert!(!verify(&made.text.replace('0', "1"), Some(&made.hash)));
        assert!(!verify(&made.text, None));
        assert!(!verify("", Some("")));
    }

    #[test]
    fn nobody_s_hash_costs_as_much_as_anybody_s() {
        let made = NewSecret::make(Kind::Secret).unwrap().hash;
        let cost = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(&made), cost(NOBODY));
        let nobody = PasswordHash::new(NOBODY).unwrap();
        assert_eq!(nobody.hash.unwrap().len(), PasswordHash::new(&made).unwrap().hash.unwrap().len());
    }

    #[test]
    fn forms() {
        let key = NewSecret::make(Kind::ApiKey).unwrap();
        assert_eq!(api_key_hash(&key.text), Some(key.hash));
        for bad in ["", "rh_", "rh_wrong", &key.text[1..], &key.text.to_uppercase(), &format!("{}0", key.text)] {
            assert_eq!(api_key_hash(bad), None, "{bad}");
            assert_eq!(secret_id(bad), None, "{bad}");
        }
    }
}
