//! The headers that requests and answers have beyond what HTTP itself makes of them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::document::{Parameter, Place};
use crate::csv::intake::LONGEST_WAIT;

pub struct Header {
    pub name: &'static str,
    pub is_number: bool,
    pub doc: &'static str,
}

const fn text(name: &'static str, doc: &'static str) -> Header {
    Header { name, is_number: false, doc }
}

const fn number(name: &'static str, doc: &'static str) -> Header {
    Header { name, is_number: true, doc }
}

pub static ETAG: Header = text("ETag", "Entity tag of the answer, for If-None-Match.");
pub static POSITION: Header = number("Rosterhub-Position", "Log position of the roster that the answer shows.");
pub static SINCE: Header =
    number("Rosterhub-Since", "Log position that a delta begins after; not there in a bulk set.");
pub static CONTENT_DISPOSITION: Header = text("Content-Disposition", "Name for the file.");
pub static TOTAL_COUNT: Header = number("X-Total-Count", "Records of the whole list, on all pages.");
pub static LINK: Header = text(
    "Link",
    "Addresses of the pages `first`, `prev`, `next` and `last` (RFC 8288), as far as there are such pages.",
);
pub static LOCATION: Header = text("Location", "Address of what has been created.");
pub static TUS_RESUMABLE: Header = text("Tus-Resumable", "Version of the protocol: `1.0.0`.");
pub static TUS_VERSION: Header = text("Tus-Version", "Versions of the protocol that the hub speaks.");
pub static TUS_EXTENSION: Header = text("Tus-Extension", "Extensions of the protocol that the hub has.");
pub static TUS_MAX_SIZE: Header = number("Tus-Max-Size", "Most bytes of an upload.");
pub static UPLOAD_LENGTH: Header = number("Upload-Length", "Bytes of the whole.");
pub static UPLOAD_OFFSET: Header = number("Upload-Offset", "Bytes that are there; a piece begins at it.");
pub static UPLOAD_METADATA: Header =
    text("Upload-Metadata", "Names with values in base64, commas between; `filename` names the file.");
pub static UPLOAD_EXPIRES: Header = text("Upload-Expires", "When it is removed, if nothing comes any more.");
pub static IMPORT: Header = text("Rosterhub-Import", "Id of the import that the upload has become.");
pub static CHALLENGE: Header = text("WWW-Authenticate", "What the request lacks (RFC 6750).");
pub static RETRY_AFTER: Header = number("Retry-After", "Seconds after which to ask again.");

/// Of clients with a limit.
pub static RATE_LIMIT: [Header; 3] = [
    number("RateLimit-Limit", "Requests that the client may send at once, if it has a limit."),
    number("RateLimit-Remaining", "How many of them are left."),
    number("RateLimit-Reset", "Seconds until all are there again."),
];

pub static IF_NONE_MATCH: Header =
    text("If-None-Match", "Entity tags of answers that the client has. If the answer is among them, it is 304.");
pub static LAST_EVENT_ID: Header =
    number("Last-Event-ID", "Of events: the `id` seen last, after which they go on. It stands above `after`.");
pub static AT_LEAST: Header = number(
    "Rosterhub-At-Least",
    "Log position that the answer has to stand at, or a later one: a client reads its own writes.",
);

/// Those of an answer with this status that tells of a failure.
pub fn of_failure(status: StatusCode) -> Vec<&'static Header> {
    let own = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(&CHALLENGE),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(&RETRY_AFTER),
        _ => None,
    };
    // Limits are those of clients, and who has no valid token is none.
    let limit = RATE_LIMIT.iter().filter(|_| status != StatusCode::UNAUTHORIZED);
    own.into_iter().chain(limit).collect()
}

impl Header {
    pub fn schema(&self) -> Value {
        if self.is_number {
            json!({ "type": "integer", "format": "int64", "minimum": 0 })
        } else {
            json!({ "type": "string" })
        }
    }

    /// The header as one that a request may have.
    pub fn parameter(&self) -> Parameter {
        Parameter {
            key: self.name.to_owned(),
            name: self.name,
            place: Place::Header,
            schema: self.schema(),
            doc: self.doc.to_owned(),
        }
    }
}

/// RFC 7240.
pub fn prefer() -> Parameter {
    Parameter {
        key: "Prefer".to_owned(),
        name: "Prefer",
        place: Place::Header,
        schema: json!({ "type": "string" }),
        doc: format!(
            "`wait=30` holds the answer until the import has ended, or for so many seconds, at most {LONGEST_WAIT}."
        ),
    }
}
