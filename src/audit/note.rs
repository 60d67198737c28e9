//! Signed checkpoints: C2SP `checkpoint` inside C2SP `signed-note`, by Ed25519.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use tlog_tiles::checkpoint::Checkpoint as Body;
use tlog_tiles::tlog::Hash;

use super::base64;

/// Ed25519, in key ids and encoded keys.
const ALGORITHM: u8 = 1;

/// A key that verifies: `<name>+<id>+<base64>`, as notes have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    /// Whose checkpoints it verifies: the origin.
    pub name: String,
    pub public_key: Vec<u8>,
}

/// What a tree was at a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub size: u64,
    pub root: [u8; 32],
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    #[error("it is no signed checkpoint")]
    Malformed,
    #[error("it is the checkpoint of another log, {0}")]
    OtherOrigin(String),
    #[error("none of the known keys signed it")]
    UnknownKey,
    #[error("the signature does not fit")]
    BadSignature,
    #[error("it is no verifier key (<name>+<id>+<base64>)")]
    BadKey,
}

impl Verifier {
    /// First four bytes of SHA-256 over name, line feed, algorithm and key.
    fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ALGORITHM])
            .chain_update(&self.public_key)
            .finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::BadKey);
        };
        let key = base64::decode(key).ok_or(NoteError::BadKey)?;
        let Some((&ALGORITHM, public_key)) = key.split_first() else { return Err(NoteError::BadKey) };
        let verifier = Self { name: name.to_owned(), public_key: public_key.to_vec() };
        (verifier.public_key.len() == 32 && hex(&verifier.id()) == id).then_some(verifier).ok_or(NoteError::BadKey)
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = [&[ALGORITHM], self.public_key.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex(&self.id()), base64::encode(&key))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Head {
    /// The checkpoint of `origin`, signed.
    pub fn sign(&self, origin: &str, key: &Ed25519KeyPair) -> Result<String, NoteError> {
        let body = Body::new(origin, self.size, Hash(self.root), "").map_err(|_| NoteError::Malformed)?.to_bytes();
        let verifier = Verifier { name: origin.to_owned(), public_key: key.public_key().as_ref().to_vec() };
        let signature = [&verifier.id(), key.sign(&body).as_ref()].concat();
        let body = String::from_utf8(body).map_err(|_| NoteError::Malformed)?;
        Ok(format!("{body}\n\u{2014} {origin} {}\n", base64::encode(&signature)))
    }

    /// Reads a checkpoint that one of the keys has signed. Signatures of others, as of witnesses, are passed over.
    pub fn open(note: &str, keys: &[Verifier]) -> Result<Self, NoteError> {
        let (body, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let body = format!("{body}\n");
        let read = Body::from_bytes(body.as_bytes()).map_err(|_| NoteError::Malformed)?;
        if !keys.is_empty() && keys.iter().all(|key| key.name != read.origin()) {
            return Err(NoteError::OtherOrigin(read.origin().to_owned()));
        }
        let mut failure = NoteError::UnknownKey;
        for line in signatures.lines() {
            let Some((name, signature)) = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' ')) else {
                return Err(NoteError::Malformed);
            };
            let signature = base64::decode(signature).ok_or(NoteError::Malformed)?;
            let (id, signature) = signature.split_at_checked(4).ok_or(NoteError::Malformed)?;
            let Some(key) = keys.iter().find(|key| key.name == name && key.id() == id) else { continue };
            match UnparsedPublicKey::new(&ED25519, &key.public_key).verify(body.as_bytes(), signature) {
                Ok(()) => return Ok(Self { size: read.size(), root: read.hash().0 }),
                Err(_) => failure = NoteError::BadSignature,
            }
        }
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> (Ed25519KeyPair, Verifier) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[byte; 32]).unwrap();
        let public_key = pair.public_key().as_ref().to_vec();
        (pair, Verifier { name: "rosterhub.example/midori".into(), public_key })
    }

    #[test]
    fn only_what_was_signed_opens() {
        let (pair, verifier) = key(1);
        let head = Head { size: 20_852_163, root: [7; 32] };
        let note = head.sign("rosterhub.example/midori", &pair).unwrap();
        assert_eq!(Head::open(&note, std::slice::from_ref(&verifier)), Ok(head));
        let witnessed = format!("{note}\u{2014} witness.example AAAAAAAA\n");
        assert_eq!(Head::open(&witnessed, std::slice::from_ref(&verifier)), Ok(head));
        let other = note.replace("20852163", "20852164");
        assert_eq!(Head::open(&other, std::slice::from_ref(&verifier)), Err(NoteError::BadSignature));
        assert_eq!(Head::open(&note, &[key(2).1]), Err(NoteError::UnknownKey));
        let elsewhere = Verifier { name: "else.example".into(), ..verifier.clone() };
        assert_eq!(Head::open(&note, &[elsewhere]), Err(NoteError::OtherOrigin("rosterhub.example/midori".into())));
        for cut in [0, 10, note.len() / 2] {
            assert_eq!(Head::open(&note[..cut], std::slice::from_ref(&verifier)), Err(NoteError::Malformed), "{cut}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let (_, verifier) = key(1);
        assert_eq!(Verifier::parse(&verifier.to_string()), Ok(verifier.clone()));
        for bad in ["", "a+b+c", &verifier.to_string().replace("midori", "aoba"), "name+00000000+AQ=="] {
            assert_eq!(Verifier::parse(bad), Err(NoteError::BadKey), "{bad}");
        }
    }
}
