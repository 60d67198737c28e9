//! How a refused write is answered: `{"error":{"code":…,"message":…,"faults":[…]}}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::error::HubError;
use crate::command::document::DocumentFault;
use crate::command::json::Malformed;
use crate::command::write::{MOST_FAULTS, WriteError};
use crate::roster::{Code, Language};

/// A write that was not done.
#[derive(Debug)]
pub enum Refused {
    Hub(HubError),
    /// Not JSON.
    Malformed(Malformed),
    /// What is wrong with a document, or, in a batch, with all of them.
    Rejected {
        batch: bool,
        faults: Vec<DocumentFault>,
    },
    /// 415.
    MediaType,
    /// 413: largest body in bytes.
    TooLarge(u64),
    /// An idempotency key that was used for another request.
    OtherRequest,
}

impl<E: Into<HubError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Hub(error.into())
    }
}

impl Refused {
    pub fn of(error: WriteError, batch: bool) -> Self {
        match error {
            WriteError::Rejected(faults) => Self::Rejected { batch, faults },
            WriteError::OtherRequest => Self::OtherRequest,
            WriteError::Command(error) => Self::Hub(error.into()),
        }
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        use StatusCode as S;
        match self {
            Self::Hub(error) => error.into_response(),
            Self::Malformed(at) => {
                let place = json!({ "line": at.line, "column": at.column });
                answer(S::BAD_REQUEST, "malformed_json", &at.to_string(), place)
            }
            Self::Rejected { batch, faults } => rejected(batch, &faults),
            Self::MediaType => {
                let message = "The body is application/json; for PATCH also application/merge-patch+json.";
                let mut response = answer(S::UNSUPPORTED_MEDIA_TYPE, "media_type", message, Value::Null);
                let patch = HeaderValue::from_static("application/merge-patch+json, application/json");
                response.headers_mut().insert("accept-patch", patch);
                response
            }
            Self::TooLarge(limit) => {
                let message = format!("The body has at most {limit} bytes, a batch at most 1,000 operations.");
                answer(S::PAYLOAD_TOO_LARGE, "too_large", &message, Value::Null)
            }
            Self::OtherRequest => {
                let message = "The idempotency key was used for another request.";
                answer(S::UNPROCESSABLE_ENTITY, "idempotency_mismatch", message, Value::Null)
            }
        }
    }
}

/// A document's refusal has the status of its one reason; a batch's is 422, and its faults tell the reasons.
fn rejected(batch: bool, faults: &[DocumentFault]) -> Response {
    let status = match faults {
        [only] if !batch => match only.code {
            Code::UnknownRecord => StatusCode::NOT_FOUND,
            Code::AlreadyExists => StatusCode::CONFLICT,
            Code::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        },
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let (code, message) = match faults {
        [only] if status != StatusCode::UNPROCESSABLE_ENTITY => {
            (only.code.as_str(), only.code.message(Language::English).to_owned())
        }
        _ => ("rejected", format!("Nothing was changed. Faults found: {}.", faults.len())),
    };
    let listed: Vec<Value> = faults
        .iter()
        .take(MOST_FAULTS)
        .map(|fault| {
            let mut listed = Map::new();
            if batch {
                listed.insert("operation".to_owned(), fault.operation.into());
            }
            listed.insert("field".to_owned(), fault.field.as_str().into());
            listed.insert("code".to_owned(), fault.code.as_str().into());
            listed.insert("value".to_owned(), fault.value.as_str().into());
            for (language, message, mend) in
                [(Language::English, "message", "mend"), (Language::Japanese, "messageJa", "mendJa")]
            {
                listed.insert(message.to_owned(), fault.code.message(language).into());
                listed.insert(mend.to_owned(), fault.code.mend(language).into());
            }
            listed.into()
        })
        .collect();
    answer(status, code, &message, json!({ "faults": listed }))
}

fn answer(status: StatusCode, code: &str, message: &str, further: Value) -> Response {
    let mut error = json!({ "code": code, "message": message });
    if let (Value::Object(error), Value::Object(further)) = (&mut error, further) {
        error.extend(further);
    }
    let mut response = (status, Json(json!({ "error": error }))).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reason_gives_a_document_its_status() {
        let fault = |code| DocumentFault { operation: 0, field: "sourcedId".to_owned(), code, value: "o".to_owned() };
        for (code, status) in [
            (Code::UnknownRecord, 404),
            (Code::AlreadyExists, 409),
            (Code::PreconditionFailed, 412),
            (Code::MissingRequired, 422),
        ] {
            assert_eq!(rejected(false, &[fault(code)]).status(), status);
            assert_eq!(rejected(true, &[fault(code)]).status(), 422);
        }
    }
}
