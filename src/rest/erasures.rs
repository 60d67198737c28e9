//! Erasing people over HTTP, legal holds, and who is due by the board's rules.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Months, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Hub;
use super::error::HubError;
use super::extract::{Eraser, HubPath, HubQuery};
use super::imports::number;
use super::plans::known;
use super::webhooks::body;
use crate::auth::Client;
use crate::csv::import::Asker;
use crate::erasure::acknowledged::Acknowledgement;
use crate::erasure::retention::{Due, LegalHold};
use crate::erasure::{EraseError, Erasure};
use crate::notice::data::milliseconds;

const MOST: i64 = 1_000;
const DEFAULT: i64 = 100;
/// People who are erased by one request.
const AT_ONCE: i64 = 100;

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/erasures", get(list).post(erase))
        .route("/erasures/due", get(due).post(erase_due))
        .route("/erasures/{id}", get(receipt))
        .route("/erasures/{id}/lift", post(lift))
        .route("/legal-holds", get(holds).post(hold))
        .route("/legal-holds/{id}/release", post(release))
}

/// Whom to erase, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErasureRequest {
    /// Of the user.
    sourced_id: String,
    /// What asked for it: a reference such as the number of the application, no name. 1 to 500 characters. It stays.
    request: String,
}

/// Erasures, the latest first.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ErasureList {
    erasures: Vec<Erasure>,
}

/// An erasure, and who has taken note of it.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ErasureReceipt {
    erasure: Erasure,
    subscribers: Vec<Acknowledgement>,
}

/// People whom the rule wants erased; nothing has been done.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct DueList {
    /// They left before this time.
    #[serde(serialize_with = "milliseconds")]
    left_before: DateTime<Utc>,
    people: Vec<Due>,
}

/// The rule, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DueRequest {
    /// Years since the user became `tobedeleted`.
    years: u32,
    /// What asked for it: a reference, no name.
    request: String,
}

/// What the rule led to.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct DueDone {
    erasures: Vec<Erasure>,
    /// There are others that are due: ask again.
    more: bool,
}

/// Whom to keep, and why.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HoldRequest {
    /// Of the user.
    sourced_id: String,
    /// A reference, no name. 1 to 500 characters.
    reason: String,
}

/// Legal holds, the latest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HoldList {
    legal_holds: Vec<LegalHold>,
}

fn asker(client: &Client) -> Asker {
    Asker { id: client.id.to_string(), name: client.name.to_string() }
}

/// `POST /erasures`
async fn erase(
    Eraser(client): Eraser,
    State(hub): State<Hub>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Erasure>), HubError> {
    let wanted: ErasureRequest = body(&bytes)?;
    hub.access.settled().await; // what it is to clear must be there
    let done = hub.erasures.erase(&client.tenant, &wanted.sourced_id, &wanted.request, &asker(&client)).await?;
    clean(&hub, &client);
    Ok((StatusCode::CREATED, Json(done)))
}

/// The space is freed behind the answer, which the receipt tells of.
fn clean(hub: &Hub, client: &Client) {
    let (erasures, tenant) = (hub.erasures.clone(), client.tenant.clone());
    tokio::spawn(async move {
        if let Err(error) = erasures.clean(&tenant).await {
            tracing::warn!(%tenant, %error, "the space of what was erased could not be freed");
        }
    });
}

/// `GET /erasures?sourcedId=&limit=`
async fn list(
    Eraser(client): Eraser,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<ErasureList>, HubError> {
    known(&query, &["sourcedId", "limit"])?;
    let limit = number(&query, "limit", DEFAULT)?.clamp(1, MOST);
    let person = query.get("sourcedId").map(String::as_str);
    Ok(Json(ErasureList { erasures: hub.erasures.list(&client.tenant, person, limit).await? }))
}

/// `GET /erasures/{id}`
async fn receipt(
    Eraser(client): Eraser,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<ErasureReceipt>, HubError> {
    let found = hub.erasures.find(&client.tenant, id).await?.ok_or_else(|| HubError::not_found("erasure"))?;
    let subscribers = hub.erasures.acknowledged(&client.tenant, found.position).await?;
    Ok(Json(ErasureReceipt { erasure: found, subscribers }))
}

/// `POST /erasures/{id}/lift`: the person may be recorded again.
async fn lift(
    Eraser(client): Eraser,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<Erasure>, HubError> {
    let unknown = || HubError::not_found("erasure");
    let found = hub.erasures.find(&client.tenant, id).await?.ok_or_else(unknown)?;
    hub.erasures.lift(&client.tenant, &found.sourced_id, &asker(&client)).await?;
    Ok(Json(hub.erasures.find(&client.tenant, id).await?.ok_or_else(unknown)?))
}

fn left_before(years: u32) -> Result<DateTime<Utc>, HubError> {
    let months = years.checked_mul(12).filter(|_| years > 0).map(Months::new);
    months
        .and_then(|months| Utc::now().checked_sub_months(months))
        .ok_or_else(|| HubError::bad_request("years is a whole number from 1."))
}

/// `GET /erasures/due?years=&after=&limit=`: who would be erased.
async fn due(
    Eraser(client): Eraser,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<DueList>, HubError> {
    known(&query, &["years", "after", "limit"])?;
    let years = u32::try_from(number(&query, "years", 0)?).unwrap_or(0);
    let left_before = left_before(years)?;
    let limit = number(&query, "limit", DEFAULT)?.clamp(1, MOST);
    let after = query.get("after").map_or("", String::as_str);
    let people = hub.erasures.due(&client.tenant, left_before, after, limit).await?;
    Ok(Json(DueList { left_before, people }))
}

/// `POST /erasures/due`: erases those who are due, some at a time.
async fn erase_due(Eraser(client): Eraser, State(hub): State<Hub>, bytes: Bytes) -> Result<Json<DueDone>, HubError> {
    let rule: DueRequest = body(&bytes)?;
    let people = hub.erasures.due(&client.tenant, left_before(rule.years)?, "", AT_ONCE + 1).await?;
    let more = people.len() as i64 > AT_ONCE;
    let mut erasures = Vec::new();
    hub.access.settled().await;
    for person in people.iter().take(AT_ONCE as usize) {
        erasures.push(hub.erasures.erase(&client.tenant, &person.sourced_id, &rule.request, &asker(&client)).await?);
    }
    if !erasures.is_empty() {
        clean(&hub, &client);
    }
    Ok(Json(DueDone { erasures, more }))
}

/// `POST /legal-holds`
async fn hold(
    Eraser(client): Eraser,
    State(hub): State<Hub>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<LegalHold>), HubError> {
    let wanted: HoldRequest = body(&bytes)?;
    let placed = hub.erasures.hold(&client.tenant, &wanted.sourced_id, &wanted.reason, &asker(&client)).await?;
    Ok((StatusCode::CREATED, Json(placed)))
}

/// `GET /legal-holds?all=&limit=`
async fn holds(
    Eraser(client): Eraser,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<HoldList>, HubError> {
    known(&query, &["all", "limit"])?;
    let all = match query.get("all").map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(HubError::bad_request("all is true or false.")),
    };
    let limit = number(&query, "limit", DEFAULT)?.clamp(1, MOST);
    Ok(Json(HoldList { legal_holds: hub.erasures.holds(&client.tenant, all, limit).await? }))
}

/// `POST /legal-holds/{id}/release`
async fn release(
    Eraser(client): Eraser,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Json<LegalHold>, HubError> {
    let released = hub.erasures.release(&client.tenant, id, &asker(&client)).await?;
    Ok(Json(released.ok_or_else(|| HubError::not_found("legal hold"))?))
}

impl From<EraseError> for HubError {
    fn from(error: EraseError) -> Self {
        let text = format!("{error}.");
        match error {
            EraseError::Unknown => Self::not_found("user"),
            EraseError::Held(_) => Self::new(StatusCode::CONFLICT, "on_hold", text),
            EraseError::ImportUnderWay => Self::new(StatusCode::CONFLICT, "import_under_way", text),
            EraseError::Conflict => Self::new(StatusCode::CONFLICT, "conflict", text),
            EraseError::BadRequest => Self::bad_request(text),
            EraseError::Append(error) => crate::command::CommandError::from(error).into(),
            EraseError::Sql(error) => error.into(),
            EraseError::Event(error) => {
                tracing::error!(%error, "an event could not be read");
                Self::internal()
            }
        }
    }
}
