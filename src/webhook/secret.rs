//! What an endpoint's rows keep but must not give away: its keys, and the values of its headers. Both are sealed.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::headers::{Headers, check_headers};
use super::signature::{KeyError, SigningKey};
use crate::auth::vault::{Vault, VaultError};

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the headers of a webhook are damaged")]
    Headers,
}

/// Encrypts a key for the row `id` of this endpoint.
pub fn seal(vault: &Vault, endpoint: Uuid, id: Uuid, key: &SigningKey) -> Result<Vec<u8>, VaultError> {
    vault.seal(&key.to_bytes(), &of_key(endpoint, id))
}

/// Decrypts what was sealed for the same row.
pub fn open(vault: &Vault, endpoint: Uuid, id: Uuid, sealed: &[u8]) -> Result<SigningKey, SecretError> {
    Ok(SigningKey::from_bytes(&vault.unseal(sealed, &of_key(endpoint, id))?)?)
}

/// Encrypts headers of this endpoint, as a JSON object.
pub fn seal_headers(vault: &Vault, endpoint: Uuid, headers: &Headers) -> Result<Vec<u8>, SecretError> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).map_err(|_| SecretError::Headers);
    let object: Result<Map<String, Value>, SecretError> = headers
        .iter()
        .map(|(name, value)| Ok((name.as_str().to_owned(), Value::String(text(value.as_bytes())?))))
        .collect();
    Ok(vault.seal(Value::Object(object?).to_string().as_bytes(), &of_headers(endpoint))?)
}

/// Decrypts headers that were sealed for the same endpoint.
pub fn open_headers(vault: &Vault, endpoint: Uuid, sealed: &[u8]) -> Result<Headers, SecretError> {
    let plain = vault.unseal(sealed, &of_headers(endpoint))?;
    let object: Map<String, Value> = serde_json::from_slice(&plain).map_err(|_| SecretError::Headers)?;
    let texts = object.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
    check_headers(texts).map_err(|_| SecretError::Headers)
}

fn of_key(endpoint: Uuid, id: Uuid) -> String {
    format!("webhook_secrets/{endpoint}/{id}")
}

fn of_headers(endpoint: Uuid) -> String {
    format!("webhook_headers/{endpoint}")
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::webhook::signature::{KeyKind, sign};

    fn vault() -> Vault {
        Vault::from_base64(&STANDARD.encode([1; 32])).unwrap()
    }

    #[test]
    fn a_key_opens_in_its_own_row_alone() {
        let (vault, endpoint, id) = (vault(), Uuid::from_u128(1), Uuid::from_u128(2));
        for kind in [KeyKind::Hmac, KeyKind::Ed25519] {
            let (key, _) = SigningKey::make(kind).unwrap();
            let sealed = seal(&vault, endpoint, id, &key).unwrap();
            assert!(!sealed.windows(16).any(|part| part == &key.to_bytes()[1..17]));
            let opened = open(&vault, endpoint, id, &sealed).unwrap();
            assert_eq!(sign(&[opened], "m", 1, b"x"), sign(&[key], "m", 1, b"x"));
            assert!(open(&vault, endpoint, endpoint, &sealed).is_err());
            assert!(open(&vault, id, id, &sealed).is_err());
        }
    }

    #[test]
    fn headers_open_for_their_own_endpoint_alone() {
        let (vault, endpoint) = (vault(), Uuid::from_u128(1));
        let headers = check_headers([("Authorization", "Bearer secret"), ("X-Zone", "")]).unwrap();
        let sealed = seal_headers(&vault, endpoint, &headers).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(open_headers(&vault, endpoint, &sealed).unwrap(), headers);
        assert!(open_headers(&vault, Uuid::from_u128(2), &sealed).is_err());
        let none = seal_headers(&vault, endpoint, &Headers::new()).unwrap();
        assert!(open_headers(&vault, endpoint, &none).unwrap().is_empty());
    }
}
