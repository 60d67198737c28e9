//! History over HTTP: timelines of records, for auditors.

use std::time::Duration;

use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;

use super::address::{ClientAddress, PublicAddress};
use super::admission::{Refusal, bearer};
use super::changes::parameters::{DEFAULT_LIMIT, NDJSON};
use super::error::HubError;
use super::extract::Auditor;
use super::pieces::{self, Halt, Piece};
use super::{HUB, Hub, POSITION};
use crate::access::{self, Asked, People, Via};
use crate::auth::Client;
use crate::feed::Order;
use crate::feed::change::Change;
use crate::history::Reading;
use crate::history::ask::{Ask, AskError};
use crate::history::entry::Entry;
use crate::history::form::Form;
use crate::roster::EntityType;

const PATH: &str = "/audit/history";

/// Bytes gathered before they are sent.
const CHUNK: usize = 64 * 1024;

pub fn router() -> Router<Hub> {
    Router::new().route(PATH, get(history))
}

/// Events of a timeline.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct HistoryPage<'a> {
    events: Vec<Entry<'a>>,
    /// Head of the log, which the answer stands at.
    position: i64,
    /// What to give as `after`, to go on.
    next: i64,
    /// There may be more. A page may be short, or empty, and yet have a next one.
    more: bool,
}

/// `GET /audit/history`
async fn history(
    Auditor(client): Auditor,
    State(hub): State<Hub>,
    address: PublicAddress,
    ClientAddress(caller): ClientAddress,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HubError> {
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes()).into_owned().collect();
    let ask = Ask::read(&pairs)?;
    let found = ask.find(&hub.log, &client.tenant).await?;
    let head = found.head;
    let limit = ask.limit.unwrap_or(usize::MAX);
    let reading = Reading { feed: hub.feed.clone(), tenant: client.tenant.clone(), found, limit };
    let mut response = match ask.form {
        Form::Json => {
            let limit = ask.limit.unwrap_or(DEFAULT_LIMIT as usize).min(hub.config.max_page as usize);
            let (mut response, next) = page(&hub, &client, &reading, limit, shown(&pairs)).await?;
            if let Some(next) = next {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.extend_pairs(pairs.iter().filter(|pair| pair.0 != "after"));
                query.append_pair("after", &next.to_string());
                let link = format!("<{address}{}?{}>; rel=\"next\"", uri.path(), query.finish());
                response.headers_mut().extend(HeaderValue::try_from(link).ok().map(|link| (header::LINK, link)));
            }
            response
        }
        form => {
            let token = bearer(&headers).ok().flatten().ok_or_else(|| HubError::unauthorised(false))?;
            let session = hub.sessions.enter(token, &client, caller);
            // Of a file that is sent as it is read, nobody knows yet who is in it.
            let entry = |_| access::Entry::new(&client.tenant, asked(&client, shown(&pairs)), head, People::many(None));
            hub.access.record(entry);
            let patience = Duration::from_secs(hub.config.stalled_seconds);
            pieces::answer(session, "a history", kind(form), move |sender| write(reading, form, patience, sender))
                .await?
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response.headers_mut().insert(POSITION, HeaderValue::from(head));
    Ok(response)
}

/// What was asked, for the access log.
fn asked(client: &Client, query: String) -> Asked {
    Asked::new(client, Via::Rest, "getHistory", (HUB, PATH), &query)
}

fn shown(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A page, and where the next one goes on if there may be one.
async fn page(
    hub: &Hub,
    client: &Client,
    reading: &Reading,
    limit: usize,
    query: String,
) -> Result<(Response, Option<i64>), HubError> {
    let found = &reading.found;
    let page = reading.page(limit).await?;
    let (low, high) = found.order.rest(found.range, page.to);
    let next = match found.order {
        Order::Asc => page.to,
        Order::Desc => page.to + 1,
    };
    let more = low < high;
    let person = |change: &Change| match change.entity {
        EntityType::User => Some(change.sourced_id.clone()),
        _ => change.user.clone(),
    };
    let people: Vec<String> = page.told.iter().filter_map(|told| person(&told.change)).collect();
    if !people.is_empty() {
        let ids = people.iter().map(String::as_str);
        hub.access.record(|most| {
            access::Entry::new(&client.tenant, asked(client, query), found.head, People::distinct(most, ids))
                .records(page.told.len())
        });
    }
    let events = page.told.iter().map(|told| Entry::new(&told.change)).collect::<Result<_, _>>();
    let events = events.map_err(|error| {
        tracing::error!(%error, "a record of the log cannot be read");
        HubError::internal()
    })?;
    let answer = Json(HistoryPage { events, position: found.head, next, more });
    Ok((answer.into_response(), more.then_some(next)))
}

fn kind(form: Form) -> HeaderMap {
    let headers: &[(_, &'static str)] = match form {
        Form::Csv => &[
            (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"history.csv\""),
        ],
        _ => &[(header::CONTENT_TYPE, NDJSON)],
    };
    headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
}

async fn write(mut reading: Reading, form: Form, patience: Duration, sender: mpsc::Sender<Piece>) -> Result<(), Halt> {
    let mut text = form.header();
    while let Some(told) = reading.next().await? {
        for told in &told {
            form.add(&told.change, &mut text)?;
            if text.len() >= CHUNK {
                pieces::hand_on(&sender, Piece::Bytes(std::mem::take(&mut text).into()), patience).await?;
            }
        }
    }
    pieces::hand_on(&sender, Piece::Bytes(text.into()), patience).await?;
    pieces::hand_on(&sender, Piece::End, patience).await?;
    Ok(())
}

impl From<AskError> for HubError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Bad(bad) => bad.into(),
            AskError::UnknownImport => Self::not_found("import"),
            AskError::Sql(error) => error.into(),
        }
    }
}
