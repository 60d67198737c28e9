//! The access log over HTTP: who received whose data. Reading it is written down as well.

use std::collections::HashMap;

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::error::HubError;
use super::extract::{Auditor, HubQuery};
use super::follow::time;
use super::imports::number;
use super::plans::known;
use super::{HUB, Hub};
use crate::access::report::{Form, Language, Report};
use crate::access::search::{Found, Wanted, search};
use crate::access::{Asked, Entry, People, Via};
use crate::auth::Client;

/// Entries in an answer.
const MOST: i64 = 1_000;
const DEFAULT: i64 = 100;

const LIST: &str = "/audit/access";
const REPORT: &str = "/audit/access/report";
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn router() -> Router<Hub> {
    Router::new().route(LIST, get(list)).route(REPORT, get(report))
}

/// Reads of personal data, in the order of time.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AccessPage {
    entries: Vec<Found>,
    /// For `after`, when there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Uuid>,
}

const OF_LISTS: [&str; 7] = ["person", "client", "via", "since", "until", "after", "limit"];
const OF_REPORTS: [&str; 5] = ["person", "since", "until", "lang", "format"];

/// `GET /audit/access?person=&client=&via=&since=&until=&after=&limit=`
async fn list(
    Auditor(client): Auditor,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<AccessPage>, HubError> {
    known(&query, &OF_LISTS)?;
    let wanted = wanted(&query)?;
    let limit = number(&query, "limit", DEFAULT)?.clamp(1, MOST);
    settle(&hub).await?;
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let mut entries = search(&mut conn, &client.tenant, &wanted, limit + 1).await?;
    drop(conn);
    let more = entries.len() as i64 > limit;
    entries.truncate(limit.unsigned_abs() as usize);
    let next = entries.last().filter(|_| more).map(|entry| entry.id);
    let people = wanted.person.iter().chain(entries.iter().flat_map(|entry| &entry.people)).map(String::as_str);
    record(&hub, &client, "getAccessLog", LIST, shown(&query, &OF_LISTS), people, entries.len());
    Ok(Json(AccessPage { entries, next }))
}

/// `GET /audit/access/report?person=&since=&until=&lang=&format=`
async fn report(
    Auditor(client): Auditor,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Response, HubError> {
    known(&query, &OF_REPORTS)?;
    let wanted = wanted(&query)?;
    let Some(person) = wanted.person.clone().filter(|person| !person.is_empty()) else {
        return Err(HubError::bad_request("person is the sourcedId of a user."));
    };
    let get = |name: &str, default| query.get(name).map_or(default, String::as_str);
    let language = Language::find(get("lang", "en")).ok_or_else(|| HubError::bad_request("lang is en or ja."))?;
    let form = Form::find(get("format", "html"));
    let form = form.ok_or_else(|| HubError::bad_request("format is html, csv or text."))?;
    settle(&hub).await?;
    let report = Report::read(&hub.log, &client.tenant, &person, &wanted, language).await?;
    record(&hub, &client, "getAccessReport", REPORT, shown(&query, &OF_REPORTS), [&*person].into_iter(), report.len());
    let text = report.write(form).map_err(|error| {
        tracing::error!(%error, "a report could not be written");
        HubError::internal()
    })?;
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(form.media_type())),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok((headers, text).into_response())
}

/// What was read through this process so far is to be found.
async fn settle(hub: &Hub) -> Result<(), HubError> {
    match hub.access.settled().await {
        true => Ok(()),
        false => Err(HubError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The access log could not be written yet; try again soon.",
        )),
    }
}

fn wanted(query: &HashMap<String, String>) -> Result<Wanted, HubError> {
    let text = |name: &str| query.get(name).cloned();
    if query.values().any(|value| value.contains('\0')) {
        return Err(HubError::bad_request("A parameter holds a null character."));
    }
    let when = |name: &str| -> Result<Option<DateTime<Utc>>, HubError> { time(query, name) };
    let via = match query.get("via") {
        None => None,
        Some(name) => {
            let found = Via::NAMES.into_iter().find(|via| via == name);
            Some(found.ok_or_else(|| HubError::bad_request(format!("via is one of {}.", Via::NAMES.join(", "))))?)
        }
    };
    let after = match query.get("after") {
        None => None,
        Some(id) => Some(Uuid::try_parse(id).map_err(|_| HubError::bad_request("after is the next of another page."))?),
    };
    Ok(Wanted {
        person: text("person"),
        client: text("client"),
        via,
        since: when("since")?,
        until: when("until")?,
        after,
    })
}

fn shown(query: &HashMap<String, String>, names: &[&str]) -> String {
    let pairs = names.iter().filter_map(|name| Some(format!("{name}={}", query.get(*name)?)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Who looks into this log, or into the past, learns of people.
pub(super) fn record<'a>(
    hub: &Hub,
    client: &Client,
    operation: &str,
    route: &'static str,
    query: String,
    people: impl Iterator<Item = &'a str>,
    records: usize,
) {
    hub.access.record(|most| {
        let asked = Asked::new(client, Via::Rest, operation, (HUB, route), &query);
        Entry::new(&client.tenant, asked, 0, People::distinct(most, people)).records(records)
    });
}
