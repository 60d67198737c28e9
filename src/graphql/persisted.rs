//! Documents known by an id: those that clients register by their hash (Apollo's automatic persisted queries), and
//! the list of those that are answered at all.
//!
//! What is registered is kept by its hash alone, for all tenants: it holds nothing but the text that has this hash, and
//! whoever knows the hash of a text has the text.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_graphql::parser::parse_query;
use async_graphql::{Request, Value, Variables};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::error::{Code, Refusal};

/// What a client sends: a document, or the id of one.
#[derive(Debug, Default)]
pub struct Asked {
    pub query: Option<String>,
    /// `sha256:` and the hash of a document, or an id of the list.
    pub document_id: Option<String>,
    pub operation_name: Option<String>,
    pub variables: Variables,
    pub extensions: HashMap<String, Value>,
}

/// The documents.
#[derive(Clone)]
pub struct Persisted {
    /// By id and by hash. `None`: all documents are answered.
    listed: Option<Arc<HashMap<String, Arc<str>>>>,
    /// By hash. `None`: none are registered.
    registered: Option<moka::sync::Cache<String, Arc<str>>>,
}

/// Why a list of documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("the list of GraphQL operations {0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error(
        "the list of GraphQL operations {0} is neither an object of documents by their ids nor a manifest of \
         operations with id and body"
    )]
    Malformed(PathBuf),
    #[error("the GraphQL operation {0} is not a document: {1}")]
    NoDocument(String, String),
    #[error("two GraphQL operations have the id {0}")]
    Duplicate(String),
}

impl Persisted {
    /// `list`: a JSON file or a folder. `bytes`: room for what clients register.
    pub fn open(list: Option<&Path>, bytes: u64) -> Result<Self, ListError> {
        let listed = list.map(read_list).transpose()?.map(Arc::new);
        let weight = |hash: &String, text: &Arc<str>| u32::try_from(hash.len() + text.len()).unwrap_or(u32::MAX);
        let registered = (bytes > 0).then(|| moka::sync::Cache::builder().max_capacity(bytes).weigher(weight).build());
        Ok(Self { listed, registered })
    }

    /// The request with its document.
    pub fn find(&self, asked: Asked) -> Result<Request, Refusal> {
        let hash = hash_asked(&asked)?;
        let hash = hash.as_deref();
        let text = match (&self.listed, asked.query) {
            (_, None) if hash.is_none() && asked.document_id.is_none() => {
                return Err(bad("A request has a document in query, or the id of one."));
            }
            (_, Some(text)) if hash.is_some_and(|hash| hash != sha256(&text)) => {
                return Err(bad("The hash is not the one of the document."));
            }
            (Some(listed), query) => {
                let own = query.map(|text| sha256(&text));
                let id = own.as_deref().or(hash).or(asked.document_id.as_deref()).unwrap_or_default();
                listed.get(id).map(|text| text.to_string()).ok_or_else(not_allowed)?
            }
            (None, Some(text)) => text,
            (None, None) => {
                let Some(registered) = &self.registered else {
                    return Err(Refusal::new(Code::PersistedQueryNotSupported, "PersistedQueryNotSupported"));
                };
                let known = hash.and_then(|hash| registered.get(hash)).map(|text| text.to_string());
                // Apollo's clients know this by its text, and send the document then.
                known.ok_or_else(|| Refusal::new(Code::PersistedQueryNotFound, "PersistedQueryNotFound"))?
            }
        };
        let mut request = Request::new(text).variables(asked.variables);
        request.operation_name = asked.operation_name;
        request.extensions.0 = asked.extensions;
        Ok(request)
    }

    /// Keeps a document that was sent with its hash.
    pub fn register(&self, request: &Request) {
        if let (None, Some(registered), Some(_)) =
            (&self.listed, &self.registered, request.extensions.get("persistedQuery"))
        {
            registered.insert(sha256(&request.query), request.query.as_str().into());
        }
    }
}

/// The hash that a client names, in either way.
fn hash_asked(asked: &Asked) -> Result<Option<String>, Refusal> {
    let malformed = || bad("persistedQuery has the version 1 and the sha256Hash of a document in small hex digits.");
    let named = match asked.extensions.get("persistedQuery") {
        None | Some(Value::Null) => None,
        Some(Value::Object(named)) => {
            let (version, hash) = (named.get("version"), named.get("sha256Hash"));
            match (version, hash) {
                (Some(Value::Number(version)), Some(Value::String(hash)))
                    if version.as_u64() == Some(1) && is_hash(hash) =>
                {
                    Some(hash.clone())
                }
                _ => return Err(malformed()),
            }
        }
        Some(_) => return Err(malformed()),
    };
    let id = asked.document_id.as_deref().and_then(|id| id.strip_prefix("sha256:"));
    match id {
        Some(hash) if !is_hash(hash) => Err(bad("documentId is sha256: and small hex digits, or an id of the list.")),
        Some(hash) if named.as_deref().is_some_and(|named| named != hash) => {
            Err(bad("documentId and persistedQuery name different documents."))
        }
        Some(hash) => Ok(Some(hash.to_owned())),
        None => Ok(named),
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn bad(message: &str) -> Refusal {
    Refusal::new(Code::BadRequest, message)
}

fn not_allowed() -> Refusal {
    Refusal::new(Code::OperationNotAllowed, "Listed operations only are answered here, and this is none of them.")
}

/// In small hex digits.
pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The documents of a JSON file or a folder, by their ids and by the hashes of their texts.
fn read_list(path: &Path) -> Result<HashMap<String, Arc<str>>, ListError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error| ListError::Unreadable(path, error)
    };
    let mut listed = HashMap::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(unreadable(path))? {
            let file = entry.map_err(unreadable(path))?.path();
            if file.extension().is_some_and(|extension| extension == "graphql") {
                let text = std::fs::read_to_string(&file).map_err(unreadable(&file))?;
                add(&mut listed, None, &text, &file.display().to_string())?;
            }
        }
        return Ok(listed);
    }
    let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
    let malformed = || ListError::Malformed(path.to_owned());
    let list: Json = serde_json::from_str(&text).map_err(|_| malformed())?;
    match list.get("operations") {
        // Apollo's manifest.
        Some(Json::Array(operations)) => {
            for operation in operations {
                let (id, text) = (operation["id"].as_str(), operation["body"].as_str());
                let (id, text) = id.zip(text).ok_or_else(malformed)?;
                add(&mut listed, Some(id), text, id)?;
            }
        }
        // As Relay's compiler and GraphQL Code Generator write it.
        _ => {
            for (id, text) in list.as_object().ok_or_else(malformed)? {
                add(&mut listed, Some(id), text.as_str().ok_or_else(malformed)?, id)?;
            }
        }
    }
    Ok(listed)
}

fn add(listed: &mut HashMap<String, Arc<str>>, id: Option<&str>, text: &str, shown: &str) -> Result<(), ListError> {
    parse_query(text).map_err(|error| ListError::NoDocument(shown.to_owned(), error.to_string()))?;
    let text: Arc<str> = text.into();
    listed.insert(sha256(&text), text.clone());
    if let Some(id) = id
        && listed.insert(id.to_owned(), text.clone()).is_some_and(|other| other != text)
    {
        return Err(ListError::Duplicate(id.to_owned()));
    }
    Ok(())
}
