//! The change feed over HTTP: page by page, held until something comes, as events without end, or in bulk.

pub mod cursors;
mod lines;
pub mod parameters;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{OriginalUri, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::StreamExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::address::{ClientAddress, PublicAddress};
use super::admission::{Refusal, bearer};
use super::error::HubError;
use super::events::{self, BadEventId, Message, Reached, last_event_id};
use super::extract::Follower;
use super::{HUB, Hub, POSITION};
use crate::access::{Asked as AccessAsked, Entry, Following, People, Via};
use crate::auth::{Client, Scope};
use crate::feed::tail::{Tail, Told};
use crate::feed::{Asked, Item, Order, Shown, ToldPage};
use crate::graphql::sessions::Session;
use parameters::{Form, Pairs, Wish};

/// The name of events that tell of a change.
const CHANGE: &str = "change";

pub fn router() -> Router<Hub> {
    Router::new().route("/changes", get(changes)).merge(cursors::router())
}

/// Changes in the order of the log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChangePage", deny_unknown_fields)]
pub struct ChangePage<'a> {
    changes: Vec<Item<'a>>,
    /// Head of the log, which the answer stands at.
    position: i64,
    /// The position to go on after. It has moved even when the page is empty.
    next: i64,
    /// There may be more before the head, or before `until`. A page may be short, or empty, and yet have a next one.
    more: bool,
}

/// The last line of what is sent in bulk. Without it, the answer was cut off.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChangesEnd", deny_unknown_fields)]
pub struct LastLine {
    /// The position to go on after.
    position: i64,
    end: bool,
}

/// `GET /changes`
async fn changes(
    Follower(client): Follower,
    State(hub): State<Hub>,
    address: PublicAddress,
    ClientAddress(caller): ClientAddress,
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, HubError> {
    let form = Form::of(&headers);
    let pairs = Pairs::read(query.as_deref().unwrap_or_default(), form, false, hub.config.ignore_unknown_parameters)?;
    let resume = match form {
        Form::Events => last_event_id(&headers).map_err(|BadEventId| HubError::bad_request(BadEventId::TEXT))?,
        _ => None,
    };
    let request = Request::begin(&hub, client, &headers, caller).await?;
    let mut request = request;
    request.source.query = pairs.shown();
    let wish = pairs.wish(&hub, &request.source.client, request.head, resume).await?;
    let next = |after: i64| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.0.iter().filter(|pair| !["after", "wait"].contains(&pair.0.as_str())));
        query.append_pair("after", &after.to_string());
        format!("<{address}{}?{}>; rel=\"next\"", uri.path(), query.finish())
    };
    let mut response = request.answer(form, &pairs, wish).await?;
    let told = response.extensions_mut().remove::<Next>();
    if let Some(Next { after, more: true }) = told
        && let Ok(link) = HeaderValue::try_from(next(after))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// Where a page's reader goes on.
#[derive(Clone, Copy)]
struct Next {
    after: i64,
    more: bool,
}

/// A request of a client that may follow changes.
struct Request {
    source: Source,
    session: Session,
    /// Head of the log as the request began.
    head: i64,
}

/// What a client reads from.
struct Source {
    hub: Hub,
    client: Client,
    /// What was asked, for the access log.
    query: String,
}

impl Source {
    fn shown(&self, wish: &Wish) -> Shown {
        Shown { values: wish.values, audit: self.client.may_any(&[Scope::Audit]) }
    }

    fn asked(&self, operation: &str) -> AccessAsked {
        AccessAsked::new(&self.client, Via::Feed, operation, (HUB, "/changes"), &self.query)
    }

    /// Writes down whose changes are told, if there are any.
    fn record(&self, page: &ToldPage) {
        let people = || page.told.iter().filter_map(|told| told.change.person());
        if people().next().is_some() {
            self.hub.access.record(|most| {
                let people = People::distinct(most, people());
                Entry::new(&self.client.tenant, self.asked("getChanges"), page.to, people).records(page.told.len())
            });
        }
    }

    /// The access log of a stream.
    fn follow(&self) -> Following {
        self.hub.access.follow(&self.client.tenant, self.asked("followChanges"))
    }

    /// `last`: position of the filter's last change before the range, where it is known.
    async fn read(
        &self,
        wish: &Wish,
        range: (i64, i64),
        limit: usize,
        last: Option<i64>,
    ) -> Result<ToldPage, Arc<sqlx::Error>> {
        let (tenant, filter) = (&self.client.tenant, &wish.filter);
        let asked =
            Asked { tenant, filter, values: wish.values, previous: true, range, limit, order: Order::Asc, last };
        self.hub.feed.page(&asked).await
    }
}

impl Request {
    async fn begin(hub: &Hub, client: Client, headers: &HeaderMap, caller: Option<IpAddr>) -> Result<Self, HubError> {
        let token = bearer(headers).ok().flatten().ok_or_else(|| HubError::unauthorised(false))?;
        let session = hub.sessions.enter(token, &client, caller);
        let head = hub.log.head(&client.tenant).await?.unwrap_or_default();
        let source = Source { hub: hub.clone(), client, query: String::new() };
        Ok(Self { source, session, head })
    }

    /// Sends what is asked for in the form that the client accepts.
    async fn answer(self, form: Form, pairs: &Pairs, wish: Wish) -> Result<Response, HubError> {
        let mut response = match form {
            Form::Page => {
                let (limit, wait) = (pairs.limit(self.source.hub.config.max_page)?, pairs.wait()?);
                self.page(wish, limit, wait).await?
            }
            Form::Events => self.events(wish),
            Form::Lines(media) => lines::answer(self, wish, media).await?,
        };
        let own = [(header::VARY, "accept"), (header::CACHE_CONTROL, "private, no-cache")];
        response
            .headers_mut()
            .extend(own.map(|(name, value): (HeaderName, _)| (name, HeaderValue::from_static(value))));
        Ok(response)
    }

    async fn page(mut self, wish: Wish, limit: usize, wait: Duration) -> Result<Response, HubError> {
        let mut heads = self.source.hub.log.heads(&self.source.client.tenant);
        let end = Instant::now() + wait;
        let (mut after, mut head) = (wish.after, self.head);
        let page = loop {
            let page = self.source.read(&wish, (after, wish.until.unwrap_or(head)), limit, None).await?;
            after = page.to;
            // A page that was cut short is answered as it is, so that no request reads without bounds.
            let waits = page.told.is_empty() && wish.until.is_none() && after >= head;
            if !waits || Instant::now() >= end {
                break page;
            }
            tokio::select! {
                // The server stops, or the client may not any more: it asks again, and is refused then.
                _ = self.session.over() => break page,
                grown = tokio::time::timeout_at(end.into(), heads.wait_for(|now| *now > head)) => match grown {
                    Ok(Ok(now)) => head = *now,
                    Ok(Err(_)) => return Err(HubError::unavailable()),
                    Err(_) => break page,
                },
            }
        };
        self.source.record(&page);
        let shown = self.source.shown(&wish);
        let more = page.to < wish.until.unwrap_or(head);
        let changes = page.told.iter().map(|told| Item::new(&told.change, told.previous, shown)).collect();
        let answer = Json(ChangePage { changes, position: head, next: page.to, more });
        let mut response = ([(POSITION, HeaderValue::from(head))], answer).into_response();
        response.extensions_mut().insert(Next { after: page.to, more });
        Ok(response)
    }

    fn events(self, wish: Wish) -> Response {
        let reached = Reached::default();
        let (shown, following) = (self.source.shown(&wish), self.source.follow());
        let told = self.source.hub.feed.tail(Tail {
            tenant: self.source.client.tenant.clone(),
            filter: wish.filter,
            values: wish.values,
            previous: true,
            after: wish.after,
            reached: reached.0.clone(),
        });
        // An error that does not pass ends the stream: the client comes back.
        let messages = told.take_while(|told| std::future::ready(told.is_ok())).filter_map(move |told| {
            let message = told.ok().and_then(|Told { change, previous }| {
                following.told(change.person(), change.position);
                let data = serde_json::to_string(&Item::new(&change, previous, shown)).ok()?;
                Some(Message { name: CHANGE, data })
            });
            std::future::ready(message)
        });
        let mut response = events::answer(self.session, messages.boxed(), reached);
        response.headers_mut().insert(POSITION, HeaderValue::from(self.head));
        response
    }
}
