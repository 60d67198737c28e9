//! Imports as they go on: server-sent events of one, figures of many.

use std::collections::HashMap;
use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Duration, NaiveDate, Utc};
use futures::{StreamExt, stream};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::Hub;
use super::address::ClientAddress;
use super::admission::{Refusal, bearer};
use super::error::HubError;
use super::extract::{HubPath, HubQuery, Importer};
use super::plans::known;
use crate::csv::job::{self, STATES};
use crate::csv::progress::{self, Standing};
use crate::csv::statistics::statistics;

/// Days that figures are of, when nobody says which.
pub const DAYS: i64 = 30;

pub fn router() -> Router<Hub> {
    Router::new().route("/imports/statistics", get(figures)).route("/imports/{id}/progress", get(follow))
}

/// How far an import is.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ImportProgress", deny_unknown_fields)]
pub struct ProgressMessage<'a> {
    id: Uuid,
    #[schemars(extend("enum" = STATES))]
    state: &'a str,
    /// Rows read, or records applied, when it is known: by the instance that runs the import.
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
    /// Out of, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// Of those, so many in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    /// Until the end of the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<f64>,
    /// Errors found so far.
    errors: i64,
    /// Log position of the roster with the import applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
    /// Why it failed, when not for errors in the set.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
}

impl<'a> From<&'a Standing> for ProgressMessage<'a> {
    fn from(standing: &'a Standing) -> Self {
        let Standing { job, progress, pace } = standing;
        Self {
            id: job.id,
            state: standing.state(),
            done: standing.done(),
            total: progress.total,
            rate: pace.rate,
            remaining_seconds: pace.remaining,
            errors: job.errors,
            position: job.position,
            failure: job.failure.as_deref(),
        }
    }
}

/// `GET /imports/{id}/progress`: an event `progress` for each step, and at last `end`, when the import rests. The
/// stream breaks off without one when the token ends or the server stops.
async fn follow(
    Importer(client): Importer,
    State(hub): State<Hub>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    HubPath(id): HubPath<Uuid>,
) -> Result<Response, HubError> {
    if job::find(&hub.log, &client.tenant, id).await?.is_none() {
        return Err(HubError::not_found("import"));
    }
    let token = bearer(&headers).ok().flatten().ok_or_else(|| HubError::unauthorised(false))?;
    let session = hub.sessions.enter(token, &client, address);
    let standings = progress::follow(&hub.imports, &client.tenant, id).boxed();
    let events = stream::unfold((session, standings), |(mut session, mut standings)| async move {
        let standing = tokio::select! {
            _ = session.over() => None,
            standing = standings.next() => standing?.ok(),
        }?;
        let name = if standing.job.rests() { "end" } else { "progress" };
        let data = serde_json::to_string(&ProgressMessage::from(&standing)).unwrap_or_default();
        Some((Ok::<_, Infallible>(Event::default().event(name).data(data)), (session, standings)))
    });
    let unbuffered = [("x-accel-buffering", "no")]; // proxies are not to hold events back
    Ok((unbuffered, Sse::new(events).keep_alive(KeepAlive::default())).into_response())
}

/// `GET /imports/statistics?from=&to=`
async fn figures(
    Importer(client): Importer,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Response, HubError> {
    known(&query, &["from", "to"])?;
    let to = time(&query, "to")?.unwrap_or_else(Utc::now);
    let from = time(&query, "from")?.unwrap_or_else(|| to - Duration::days(DAYS));
    Ok(Json(statistics(&hub.log, &client.tenant, from, to).await?).into_response())
}

/// A time, or a day, which begins at midnight UTC.
pub(super) fn time(query: &HashMap<String, String>, name: &str) -> Result<Option<DateTime<Utc>>, HubError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    let time = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc()).ok().or_else(day);
    let wrong = || HubError::bad_request(format!("{name} is a time as 2026-04-01T00:00:00Z, or a day as 2026-04-01."));
    time.filter(|time| (0..=9_999).contains(&chrono::Datelike::year(time))).ok_or_else(wrong).map(Some)
}
