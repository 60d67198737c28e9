//! Deliveries to one endpoint, by the instance that has its lease: from the log to the endpoint, in its order, again
//! and again where it fails. One lane never waits for another.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::Url;
use tokio::sync::watch;
use uuid::Uuid;

use super::endpoint::{self, Endpoint, Imports, Order, Payload, State};
use super::filter::{RecordFilter, own_role, person};
use super::headers::Headers;
use super::lanes::{self, Claim, Standing};
use super::message::{Content, Cursor, Message};
use super::pace::Pace;
use super::queue::Queue;
use super::recorder::{Attempt, Delivery, Recorder, Report, Telling};
use super::selection::Selection;
use super::sender::{Outcome, Request, Sender};
use super::signature::sign;
use super::{catalogue, deliveries, keys, secret, source};
use crate::access::{Access, Asked, Following, Recipient, Via};
use crate::auth::{Scope, Scopes, Vault};
use crate::config::WebhooksConfig;
use crate::feed::{Change, Detail, Feed, Shown};
use crate::log::Tenant;
use crate::notice::data::{Disabled, EndpointDisabled, EndpointFailing};

/// Messages read ahead of what is sent.
const AHEAD: usize = 256;
/// A message under way for longer does not hold the place of its endpoint.
const SLOW: Duration = Duration::from_millis(500);
/// How often the place is written down while nothing is sent.
const IDLE: Duration = Duration::from_secs(5);
/// How long to wait when the database is away.
const AWAY: Duration = Duration::from_millis(500);
/// Parts of the time until an endpoint is disabled, after which its failing is told.
const WARNINGS: [f64; 3] = [0.2, 0.6, 0.8];

/// What lanes work with.
#[derive(Clone)]
pub struct World {
    pub instance: Uuid,
    pub feed: Feed,
    pub sender: Sender,
    pub vault: Arc<Vault>,
    pub settings: Arc<WebhooksConfig>,
    pub access: Access,
    pub recorder: Recorder,
    /// Until when this instance may send.
    pub lease: watch::Receiver<Instant>,
    /// Moves when there may be new notices.
    pub notices: watch::Receiver<()>,
}

/// An endpoint, opened.
struct Target {
    endpoint: Endpoint,
    url: Url,
    headers: Headers,
    keys: Vec<keys::Current>,
    scopes: Scopes,
    selection: Selection,
    filter: Option<RecordFilter>,
    feed: crate::feed::Filter,
    detail: Detail,
    shown: Shown,
    /// Of payloads that hold records.
    receipts: Option<Following>,
}

struct Lane {
    world: World,
    tenant: Tenant,
    id: Uuid,
    target: Arc<Target>,
    queue: Queue,
    pace: Pace,
    generation: i32,
    /// What has been read.
    read: Cursor,
    /// Messages that were recorded beyond the place before this instance began: they are not sent again.
    known: HashSet<String>,
    failing_since: Option<DateTime<Utc>>,
    warned: i32,
    /// What is to be reported.
    deliveries: Vec<Delivery>,
    attempts: Vec<Attempt>,
    telling: Option<Telling>,
    /// Of the last failure: status, and code of what went wrong without one.
    last: (Option<u16>, Option<String>),
    /// Where the place was when it was last reported, and when that was.
    reported: Cursor,
    reported_at: Instant,
    /// What is under way, and since when.
    under_way: BTreeMap<i64, (Instant, Message)>,
    /// The import met last: its unit of work, and its last position.
    import: Option<(i64, Option<i64>)>,
    /// The hub has disabled the endpoint.
    disabled: bool,
}

type Sent = (Message, DateTime<Utc>, Outcome);
type Sending = futures::future::BoxFuture<'static, Result<Sent, (Message, Unsent)>>;

/// Why no attempt was made.
enum Unsent {
    Sql(sqlx::Error),
    /// The endpoint may not be told of it any more.
    Hidden,
}

/// Delivers until told to stop: `standing` is closed, or says that the client has ended.
pub async fn run(world: World, claim: Claim, mut standing: watch::Receiver<Standing>) {
    let now = standing.borrow_and_update().clone();
    let mut lane = loop {
        match Lane::open(world.clone(), &claim, &now).await {
            Ok(Some(lane)) => break lane,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(endpoint = %claim.endpoint, %error, "an endpoint could not be opened; trying again");
                tokio::select! {
                    () = tokio::time::sleep(AWAY) => {}
                    changed = standing.changed() => if changed.is_err() { return },
                }
            }
        }
    };
    lane.deliver(standing).await;
}

impl Target {
    /// `scopes`: of its client.
    async fn open(world: &World, tenant: &Tenant, id: Uuid, scopes: Scopes) -> Result<Option<Self>, OpenError> {
        let mut conn = world.feed.log().db().acquire(tenant).await?;
        let Some(endpoint) = endpoint::find(&mut conn, tenant, None, id).await? else { return Ok(None) };
        if endpoint.state != State::Active {
            return Ok(None);
        }
        let keys = keys::current(&mut conn, tenant, &world.vault, id).await?;
        let receipts = match endpoint.payload {
            Payload::Full => Some(receipts(&mut conn, world, tenant, &endpoint).await?),
            Payload::Thin => None,
        };
        drop(conn);
        let headers = match &endpoint.headers {
            Some(sealed) => secret::open_headers(&world.vault, id, sealed)?,
            None => Headers::new(),
        };
        let scopes = scopes.and(endpoint.scopes);
        let url = Url::parse(&endpoint.url).map_err(|_| OpenError::Damaged)?;
        let selection = Selection::parse(&endpoint.types).map_err(|_| OpenError::Damaged)?.seen_with(scopes);
        let filter: Option<RecordFilter> =
            endpoint.filter.as_deref().map(str::parse).transpose().map_err(|_| OpenError::Damaged)?;
        let full = endpoint.payload == Payload::Full;
        let with_schools = filter.as_ref().is_some_and(RecordFilter::asks_for_schools);
        Ok(Some(Self {
            url,
            headers,
            keys,
            scopes,
            feed: selection.filter(),
            selection,
            filter,
            detail: if full || with_schools { Detail::Full } else { Detail::Plain },
            receipts,
            shown: Shown { values: full, audit: scopes.has_any(&[Scope::Audit]) },
            endpoint,
        }))
    }

    /// Whether it may be told of events of this type.
    fn may_see(&self, kind: &str) -> bool {
        catalogue::find(kind).is_some_and(|event| self.scopes.has_any(&[event.scope()]))
    }

    fn passes(&self, change: &Change, roles: &[String]) -> bool {
        self.selection.has_change(change) && self.filter.as_ref().is_none_or(|filter| filter.passes(change, roles))
    }
}

/// The access log of an endpoint.
async fn receipts(
    conn: &mut sqlx::PgConnection,
    world: &World,
    tenant: &Tenant,
    endpoint: &Endpoint,
) -> Result<Following, sqlx::Error> {
    let name: Option<String> =
        sqlx::query_scalar("select name from clients where id = $1").bind(endpoint.client).fetch_optional(conn).await?;
    let recipient = Recipient { id: Some(endpoint.client), name: name.unwrap_or_default().into() };
    let mut query = format!("endpoint={}&types={}", endpoint.id, endpoint.types.join(","));
    if let Some(filter) = &endpoint.filter {
        query += &format!("&filter={filter}");
    }
    let asked = Asked::new(recipient, Via::Webhook, "deliver", (crate::rest::HUB, "/webhooks/{id}"), &query);
    Ok(world.access.follow(tenant, asked))
}

/// Why an endpoint cannot be delivered to.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Secret(#[from] secret::SecretError),
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    #[error("what is written down of it is damaged")]
    Damaged,
}

impl Lane {
    async fn open(world: World, claim: &Claim, standing: &Standing) -> Result<Option<Self>, OpenError> {
        let (tenant, id) = (claim.tenant.clone(), claim.endpoint);
        let scopes = standing.scopes.unwrap_or_default();
        let Some(target) = Target::open(&world, &tenant, id, scopes).await? else { return Ok(None) };
        let mut conn = world.feed.log().db().acquire(&tenant).await?;
        let Some(place) = lanes::place(&mut conn, id).await? else { return Ok(None) };
        drop(conn);
        let mut lane = Self {
            queue: Queue::new(target.endpoint.order),
            pace: Pace::new(&world.settings, target.endpoint.order, target.endpoint.rate),
            target: Arc::new(target),
            generation: place.generation,
            read: place.cursor(),
            known: HashSet::new(),
            failing_since: place.failing_since,
            warned: place.warned,
            deliveries: Vec::new(),
            attempts: Vec::new(),
            reported: place.cursor(),
            reported_at: Instant::now(),
            telling: None,
            last: (None, None),
            under_way: BTreeMap::new(),
            import: None,
            disabled: false,
            world,
            tenant,
            id,
        };
        lane.restore().await?;
        Ok(Some(lane))
    }

    /// Takes up what waits in the delivery log, and the replay that was asked for.
    async fn restore(&mut self) -> Result<(), sqlx::Error> {
        let mut tx = self.world.feed.log().db().begin(&self.tenant).await?;
        let at = (self.id, self.world.instance);
        if let Some(place) = lanes::begin_replay(&mut tx, &self.tenant, at, self.read).await? {
            self.queue = Queue::new(self.queue.order());
            self.read = place.cursor();
            self.generation = place.generation;
            self.known.clear();
        }
        let waiting = deliveries::pending(&mut tx, &self.tenant, self.id).await?;
        self.known.extend(deliveries::beyond(&mut tx, &self.tenant, self.id, self.read.sequence).await?);
        tx.commit().await?;
        let (now, time) = (Instant::now(), Utc::now());
        for message in waiting {
            if !self.queue.holds(message.sequence) && !self.under_way.contains_key(&message.sequence) {
                let wait = message.next_attempt_at.and_then(|at| (at - time).to_std().ok()).unwrap_or_default();
                self.queue.restore(message, now + wait);
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, mut standing: watch::Receiver<Standing>) {
        let mut heads = self.world.feed.log().heads(&self.tenant);
        let mut notices = self.world.notices.clone();
        let mut under_way: FuturesUnordered<Sending> = FuturesUnordered::new();
        let mut look_at_notices = true;
        loop {
            let lease = *self.world.lease.borrow();
            if self.wants_more() {
                let head = *heads.borrow_and_update();
                if head > self.read.position || look_at_notices {
                    let before = self.read;
                    match self.read(head, look_at_notices).await {
                        Ok(left) => {
                            // Notices that stand beyond what was read wait for the head to be seen; others go on.
                            look_at_notices = left;
                            if left && self.read.notice > before.notice {
                                continue;
                            }
                        }
                        Err(error) => {
                            tracing::warn!(endpoint = %self.id, %error, "the log could not be read; trying again");
                            tokio::time::sleep(AWAY).await;
                        }
                    }
                }
            }
            let now = Instant::now();
            while now < lease && !self.disabled && under_way.len() < self.pace.at_a_time() && self.pace.may_send(now) {
                let most = self.world.settings.max_pending;
                let message = if self.pace.is_open() { self.queue.probe(most) } else { self.queue.take(now, most) };
                let Some(message) = message else { break };
                self.pace.sent(now);
                self.under_way.insert(message.sequence, (now, Message { content: None, ..message.clone() }));
                under_way.push(self.send(message));
            }
            self.judge();
            self.report(now).await;
            if self.disabled && under_way.is_empty() {
                return self.world.recorder.settled().await;
            }
            let more = self.wants_more() && *heads.borrow() > self.read.position;
            if more && under_way.is_empty() {
                continue; // nothing passed, or the order has it wait
            }
            let wake = self.wake(now, lease);
            let wants_more = self.wants_more();
            tokio::select! {
                Some(sent) = under_way.next(), if !under_way.is_empty() => self.came_back(sent),
                changed = heads.changed(), if wants_more => if changed.is_err() { break },
                _ = notices.changed() => look_at_notices = true,
                changed = standing.changed() => {
                    if changed.is_err() {
                        break; // given up, or stopping
                    }
                    let now = standing.borrow_and_update().clone();
                    if !self.look_again(&now).await {
                        break;
                    }
                    look_at_notices = true;
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
        // What is under way ends within its timeout.
        while let Some(sent) = under_way.next().await {
            self.came_back(sent);
        }
        self.report(Instant::now()).await;
        self.world.recorder.settled().await;
    }

    /// When there may be something to do, though nothing has come.
    fn wake(&self, now: Instant, lease: Instant) -> Instant {
        let idle = now + if self.under_way.is_empty() { IDLE } else { SLOW };
        if lease <= now {
            return now + AWAY;
        }
        let waiting = match self.pace.may_send(now) {
            _ if self.disabled || self.under_way.len() >= self.pace.at_a_time() => None,
            true => self.queue.next_due(),
            false => self.pace.next(),
        };
        waiting.map_or(idle, |at| at.min(idle)).max(now + Duration::from_millis(1))
    }

    /// Hands in what has become of messages, and where the endpoint stands.
    async fn report(&mut self, now: Instant) {
        let slow: Vec<i64> = self
            .under_way
            .iter()
            .filter(|(_, (since, message))| !message.recorded && now - *since >= SLOW)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in slow {
            if let Some((_, message)) = self.under_way.get_mut(&sequence) {
                message.recorded = true;
                self.deliveries.push(Delivery { message: message.clone(), state: "pending" });
            }
        }
        if self.deliveries.is_empty() && self.attempts.is_empty() && self.telling.is_none() {
            let cursor = self.queue.cursor(self.read);
            if cursor == self.reported || now - self.reported_at < IDLE {
                return;
            }
        }
        // What waits behind others is written down with the place that passes it.
        let behind: Vec<Message> = self.queue.unrecorded().cloned().collect();
        self.deliveries.extend(behind.into_iter().map(|message| Delivery { message, state: "pending" }));
        for delivery in &self.deliveries {
            self.queue.recorded(delivery.message.sequence);
        }
        (self.reported, self.reported_at) = (self.queue.cursor(self.read), now);
        let report = Report {
            tenant: self.tenant.clone(),
            endpoint: self.id,
            cursor: self.reported,
            deliveries: std::mem::take(&mut self.deliveries),
            attempts: std::mem::take(&mut self.attempts),
            failing_since: self.failing_since,
            warned: self.warned,
            telling: self.telling.take(),
        };
        self.world.recorder.report(report).await;
    }

    fn wants_more(&self) -> bool {
        // An endpoint that takes nothing leaves all in the log but what it is tried with.
        let ahead = if self.pace.is_open() { 1 } else { AHEAD };
        let room = self.queue.fresh() < ahead && self.queue.waiting() < self.world.settings.max_pending;
        room && !self.disabled
    }

    /// Somebody changed the endpoint, or its client. False: there is nothing more to do.
    async fn look_again(&mut self, standing: &Standing) -> bool {
        let Some(scopes) = standing.scopes else {
            self.disable(Disabled::ClientEnded);
            return false;
        };
        loop {
            match Target::open(&self.world, &self.tenant, self.id, scopes).await {
                Ok(None) => return false,
                Ok(Some(target)) => {
                    // What is not sent is read again, by the endpoint as it is now.
                    self.read = self.queue.rewind().unwrap_or(self.read);
                    if target.endpoint.order != self.queue.order() {
                        // It begins anew with what waits in the delivery log; the lease stays.
                        return false;
                    }
                    self.pace.set_rate(target.endpoint.rate);
                    self.target = Arc::new(target);
                    // So that what is done with is not taken up again.
                    self.world.recorder.settled().await;
                    match self.restore().await {
                        Ok(()) => return true,
                        Err(error) => tracing::warn!(endpoint = %self.id, %error, "trying again"),
                    }
                }
                Err(error) => tracing::warn!(endpoint = %self.id, %error, "trying again"),
            }
            tokio::time::sleep(AWAY).await;
        }
    }

    /// Reads on, and makes messages of what passes. Says whether there are notices that were not taken yet.
    async fn read(&mut self, head: i64, notices: bool) -> Result<bool, sqlx::Error> {
        let target = self.target.clone();
        let mut changes = Vec::new();
        let (mut to, mut notices) = (self.read.position, notices);
        if head > to {
            let step = self.world.feed.step(&self.tenant, &target.feed, target.detail, (to, head)).await?;
            to = step.to;
            for change in step.changes {
                if change.cause.import.is_none() {
                    changes.push(change);
                    continue;
                }
                // An import is told by its notice, which stands at its last position.
                notices = true;
                if target.endpoint.imports == Imports::Records {
                    changes.push(change);
                } else if let Some(end) = self.end_of_import(change.unit).await?
                    && end > to
                {
                    to = end;
                    break;
                }
            }
        }
        changes.retain(|change| target.selection.has_change(change));
        let roles = match target.filter.as_ref().is_some_and(RecordFilter::asks_for_roles) {
            true => source::roles(self.world.feed.log(), &self.tenant, &changes).await?,
            false => Default::default(),
        };
        let mut contents: Vec<Content> = Vec::new();
        for change in changes {
            let of_person = person(&change).filter(|_| own_role(&change).is_none());
            let roles = of_person.and_then(|id| roles.get(id)).map_or(&[][..], Vec::as_slice);
            if target.passes(&change, roles) {
                contents.push(Content::Change(change));
            }
        }
        let (mut last_notice, mut left) = (self.read.notice, false);
        if notices {
            let found = source::notices(self.world.feed.log(), &self.tenant, self.read.notice).await?;
            left = found.len() == source::NOTICES;
            for notice in found {
                if notice.position > to {
                    left = true; // after the changes before it
                    break;
                }
                last_notice = notice.number;
                if target.selection.has_notice(notice.kind) {
                    contents.push(Content::Notice(Arc::new(notice)));
                }
            }
            contents.sort_by_key(Content::position); // stable: a notice after the change that it stands at
        }
        for content in contents {
            let message = Message::next(self.id, self.generation, &mut self.read, content);
            if !self.known.remove(&message.id) {
                self.queue.push(message);
            }
        }
        self.read.position = to;
        self.read.notice = last_notice;
        Ok(left)
    }

    /// Last position of the import that is this unit of work, if a notice tells of it. Asked for once for each.
    async fn end_of_import(&mut self, unit: i64) -> Result<Option<i64>, sqlx::Error> {
        match self.import {
            Some((known, end)) if known == unit => Ok(end),
            _ => {
                let end = source::end_of_import(self.world.feed.log(), &self.tenant, unit).await?;
                self.import = Some((unit, end));
                Ok(end)
            }
        }
    }

    /// One attempt.
    fn send(&self, mut message: Message) -> Sending {
        let (world, tenant, target) = (self.world.clone(), self.tenant.clone(), self.target.clone());
        Box::pin(async move {
            let content = match message.content.take() {
                Some(content) => content,
                // It was recorded while the scopes were others.
                None if !target.may_see(&message.kind) => return Err((message, Unsent::Hidden)),
                None => match source::read_again(world.feed.log(), &tenant, &message, target.detail).await {
                    Ok(Some(content)) => content,
                    Ok(None) => return Err((message, Unsent::Sql(sqlx::Error::RowNotFound))),
                    Err(error) => return Err((message, Unsent::Sql(error))),
                },
            };
            let body = message.body(&tenant, &content, target.shown);
            // Before it is sent: an attempt that fails may have been read all the same.
            if let (Content::Change(change), Some(receipts)) = (&content, &target.receipts) {
                receipts.told(change.person(), change.position);
            }
            let at = Utc::now();
            let timestamp = at.timestamp();
            let keys = target.keys.iter().filter(|current| current.holds(at)).map(|current| &current.key);
            let signature = sign(keys, &message.id, timestamp, &body);
            let (url, headers, id) = (&target.url, &target.headers[..], message.id.as_str());
            let outcome =
                world.sender.send(Request { url, id, timestamp, signature, headers, body: Bytes::from(body) }).await;
            Ok((message, at, outcome))
        })
    }

    /// What became of an attempt.
    fn came_back(&mut self, sent: Result<Sent, (Message, Unsent)>) {
        let now = Instant::now();
        let (mut message, at, outcome) = match sent {
            Ok(sent) => sent,
            Err((message, Unsent::Hidden)) => {
                self.under_way.remove(&message.sequence);
                return self.finish(message, "discarded", now);
            }
            Err((message, Unsent::Sql(error))) => {
                self.under_way.remove(&message.sequence);
                tracing::warn!(endpoint = %self.id, %error, "a message could not be read; trying again");
                return self.queue.retry(message, now + AWAY);
            }
        };
        self.under_way.remove(&message.sequence);
        message.attempts += 1;
        message.first_attempt_at.get_or_insert(at);
        self.attempts.push(Attempt {
            sequence: message.sequence,
            attempt: message.attempts,
            at,
            status: outcome.status.and_then(|status| i16::try_from(status).ok()),
            failure: outcome.failure.map(|failure| failure.name().to_owned()),
            latency_ms: outcome.latency.as_secs_f32() * 1_000.0,
            excerpt: outcome.excerpt.clone(),
        });
        let is_back = self.pace.came_back(now, &outcome);
        if is_back {
            self.queue.hasten(now);
        }
        if outcome.delivered() {
            (self.failing_since, self.warned) = (None, 0);
            return self.finish(message, "delivered", now);
        }
        // Not by the order in which answers come: what was sent at a time failed together.
        let since = self.failing_since.map_or(at, |since| since.min(at));
        self.failing_since = Some(since);
        let error = outcome.failure.filter(|_| outcome.status.is_none()).map(|failure| failure.name().to_owned());
        self.last = (outcome.status, error);
        let schedule = &self.world.settings.retry_seconds;
        let nth = usize::try_from(message.attempts - 1).unwrap_or_default();
        // A message is given up when others get through: an endpoint that takes nothing loses nothing.
        let others_pass = message.first_attempt_at.is_some_and(|first| since > first);
        if nth >= schedule.len() && others_pass && self.queue.order() != Order::Fifo {
            return self.finish(message, "failed", now);
        }
        let wait = super::pace::jittered(schedule.get(nth).or(schedule.last()).copied().unwrap_or(5.0));
        let wait = wait.max(outcome.retry_after.unwrap_or_default());
        message.next_attempt_at = Some(Utc::now() + wait);
        message.content = None;
        self.deliveries.push(Delivery { message: message.clone(), state: "pending" });
        self.queue.retry(message, now + wait);
        if outcome.gone() {
            self.disable(Disabled::Gone);
        }
    }

    fn finish(&mut self, mut message: Message, state: &'static str, now: Instant) {
        message.next_attempt_at = None;
        message.content = None;
        self.queue.done(&message, now);
        self.deliveries.push(Delivery { message, state });
    }

    fn disable(&mut self, reason: Disabled) {
        if !self.disabled {
            self.disabled = true;
            self.telling = Some(Telling::Disabled(EndpointDisabled {
                endpoint: self.id,
                reason,
                failing_since: self.failing_since,
                last_status: self.last.0,
                last_error: self.last.1.clone(),
            }));
        }
    }

    /// Tells of an endpoint that fails for long, and disables it in the end. Not before it has failed here: time in which
    /// nobody tried is not its fault.
    fn judge(&mut self) {
        let tried = self.last != (None, None);
        let Some(since) = self.failing_since.filter(|_| tried && !self.disabled) else { return };
        let most = self.world.settings.disable_hours * 3_600.0;
        let failing = (Utc::now() - since).as_seconds_f64();
        if failing >= most {
            return self.disable(Disabled::Failures);
        }
        let passed = WARNINGS.iter().filter(|part| failing >= *part * most).count() as i32;
        if passed > self.warned {
            self.warned = passed;
            self.telling = Some(Telling::Failing(EndpointFailing {
                endpoint: self.id,
                failing_since: since,
                last_status: self.last.0,
                last_error: self.last.1.clone(),
                disables_at: since + Duration::from_secs_f64(most),
            }));
        }
    }
}
