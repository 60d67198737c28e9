//! Encryption of what the database keeps but must not give away: private keys, secrets of others.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};

use crate::config::Config;

/// Name of the file in the data folder that holds the key when the configuration has none.
const FILE: &str = "secret.key";

/// What a sealed value begins with: its form, and the key it was sealed with.
const FORM: u8 = 1;
const KEY_ID: usize = 8;
const HEADER: usize = 1 + KEY_ID;

/// Seals and opens small values with the installation's secret key.
///
/// A sealed value is: form (1 byte), id of the key (8), nonce (12), ciphertext of ChaCha20-Poly1305, tag (16).
/// It is bound to a context, so that it cannot be put into another row.
pub struct Vault {
    /// The first seals; all open.
    keys: Vec<VaultKey>,
}

struct VaultKey {
    id: [u8; KEY_ID],
    key: LessSafeKey,
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the secret key is 32 bytes in base64; `openssl rand -base64 32` makes one")]
    BadKey,
    #[error("{0} may be read by others; its mode must be 600")]
    Exposed(PathBuf),
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error("it was sealed with another secret key than this program has")]
    UnknownKey,
    #[error("it is damaged or belongs elsewhere")]
    Damaged,
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl Vault {
    /// With the configured keys, or else that of the data folder, which is made when it is not there.
    pub fn open(config: &Config) -> Result<Self, VaultError> {
        match &config.secret_key {
            Some(keys) => Self::from_base64(keys.expose()),
            None => Self::from_base64(&key_file(&config.data_dir())?),
        }
    }

    /// `keys`: 32 bytes in base64, several with commas between. The first seals; the others still open what they
    /// sealed.
    pub fn from_base64(keys: &str) -> Result<Self, VaultError> {
        let keys: Result<Vec<VaultKey>, VaultError> = keys.split(',').map(|key| VaultKey::new(key.trim())).collect();
        Ok(Self { keys: keys? })
    }

    /// Encrypts. `context` says where the value belongs, for example `signing_keys/<id>`.
    pub fn seal(&self, plain: &[u8], context: &str) -> Result<Vec<u8>, VaultError> {
        let VaultKey { id, key } = self.keys.first().ok_or(VaultError::UnknownKey)?;
        let mut sealed = vec![FORM];
        sealed.extend_from_slice(id);
        let aad = bound_to(&sealed, context);
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| VaultError::NoRandom)?;
        sealed.extend_from_slice(&nonce);
        let mut text = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .map_err(|_| VaultError::Damaged)?;
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Decrypts what was sealed in the same context.
    pub fn unseal(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, VaultError> {
        let (header, rest) = sealed.split_at_checked(HEADER).ok_or(VaultError::Damaged)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Damaged)?;
        if header[0] != FORM {
            return Err(VaultError::Damaged);
        }
        let VaultKey { key, .. } = self.keys.iter().find(|k| k.id == header[1..]).ok_or(VaultError::UnknownKey)?;
        let mut text = text.to_vec();
        let plain = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), bound_to(header, context), &mut text)
            .map_err(|_| VaultError::Damaged)?;
        Ok(plain.to_vec())
    }
}

fn bound_to(header: &[u8], context: &str) -> Aad<Vec<u8>> {
    Aad::from([header, context.as_bytes()].concat())
}

impl VaultKey {
    fn new(base64: &str) -> Result<Self, VaultError> {
        let bytes = STANDARD.decode(base64).map_err(|_| VaultError::BadKey)?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).map_err(|_| VaultError::BadKey)?;
        let mut id = [0; KEY_ID];
        id.copy_from_slice(
            &Sha256::new().chain_update("rosterhub secret key").chain_update(&bytes).finalize()[..KEY_ID],
        );
        Ok(Self { id, key: LessSafeKey::new(key) })
    }
}

/// The key in the data folder, made once: of several programs that start at a time, one makes it and all read it.
fn key_file(data_dir: &Path) -> Result<String, VaultError> {
    let path = data_dir.join(FILE);
    let at = |error| VaultError::File(path.clone(), error);
    std::fs::create_dir_all(data_dir).map_err(at)?;
    if !path.try_exists().map_err(at)? {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).map_err(|_| VaultError::NoRandom)?;
        let mut file = tempfile::NamedTempFile::new_in(data_dir).map_err(at)?;
        file.as_file().set_permissions(Permissions::from_mode(0o600)).map_err(at)?;
        writeln!(file, "{}", STANDARD.encode(key)).map_err(at)?;
        file.as_file().sync_all().map_err(at)?;
        match file.persist_noclobber(&path) {
            Ok(_) => {}
            Err(lost) if lost.error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(failed) => return Err(at(failed.error)),
        }
    }
    // No link that someone else put there.
    let mut file: File = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path).map_err(at)?;
    if file.metadata().map_err(at)?.permissions().mode() & 0o077 != 0 {
        return Err(VaultError::Exposed(path));
    }
    let mut key = String::new();
    file.read_to_string(&mut key).map_err(at)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn only_the_same_key_and_context_open() {
        let vault = Vault::from_base64(&key(1)).unwrap();
        let sealed = vault.seal(b"private", "a/1").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"private"));
        assert_ne!(sealed, vault.seal(b"private", "a/1").unwrap(), "a nonce of its own each time");
        assert_eq!(vault.unseal(&sealed, "a/1").unwrap(), b"private");
        assert!(matches!(vault.unseal(&sealed, "a/2"), Err(VaultError::Damaged)));
        let other = Vault::from_base64(&key(2)).unwrap();
        assert!(matches!(other.unseal(&sealed, "a/1"), Err(VaultError::UnknownKey)));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.unseal(&changed, "a/1").is_err(), "byte {at}");
            assert!(vault.unseal(&sealed[..at], "a/1").is_err(), "cut at {at}");
        }
        assert_eq!(vault.unseal(&vault.seal(b"", "").unwrap(), "").unwrap(), b"");
    }

    #[test]
    fn an_older_key_still_opens() {
        let old = Vault::from_base64(&key(1)).unwrap().seal(b"x", "a").unwrap();
        let vault = Vault::from_base64(&format!("{}, {}", key(2), key(1))).unwrap();
        assert_eq!(vault.unseal(&old, "a").unwrap(), b"x");
        let new = vault.seal(b"x", "a").unwrap();
        assert_eq!(Vault::from_base64(&key(2)).unwrap().unseal(&new, "a").unwrap(), b"x");
    }

    #[test]
    fn keys_that_are_none() {
        for bad in ["", "abc", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33]), &format!("{},", key(1))] {
            assert!(matches!(Vault::from_base64(bad), Err(VaultError::BadKey)), "{bad}");
        }
    }

    #[test]
    fn the_file_is_made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new");
        let made: Vec<String> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..8).map(|_| s.spawn(|| key_file(&dir).unwrap())).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(made.iter().all(|key| *key == made[0]));
        assert!(Vault::from_base64(&made[0]).is_ok());
        let path = dir.join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(key_file(&dir), Err(VaultError::Exposed(_))));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing is left behind");
    }
}
