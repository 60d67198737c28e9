//! OneRoster 1.2 Rostering: one handler for lists and one for single records serve all operations.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{OriginalUri, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::address::PublicAddress;
use super::admission::require;
use super::answer::{Answer, Envelope};
use super::error::ImsxError;
use super::parameters::{AsOf, Leniency, Parameters};
use super::{Hub, ROSTERING, wait};
use crate::access::{Asked, Entry, People, Via};
use crate::auth::Client;
use crate::log::Tenant;
use crate::query::cursor::{Cursor, Key, Start};
use crate::query::endpoint::{ENDPOINTS, Endpoint};
use crate::query::etag::record_etag;
use crate::query::list::{Line, Page, Single};
use crate::roster::EntityType;

pub const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
/// What the templates of routes begin with in the access log.
const ROUTE: &str = "/ims/oneroster/rostering/v1p2/";
/// Pages of more rows are sent as they are read.
const STREAMED_FROM: i64 = 1_000;

/// The operations as paths.
pub fn router() -> Router<Hub> {
    ENDPOINTS.iter().fold(Router::new(), |router, endpoint| {
        let handler = get(async move |state, client, address, uri, query, path, headers: HeaderMap| {
            let request = Request::new(endpoint, state, client, address, uri, query, path, headers)?;
            if endpoint.is_single { request.single().await } else { request.list().await }
        });
        router.route(&format!("/{}", endpoint.path), handler)
    })
}

/// A request that may be answered.
struct Request {
    endpoint: &'static Endpoint,
    hub: Hub,
    client: Client,
    tenant: Tenant,
    address: PublicAddress,
    uri: OriginalUri,
    headers: HeaderMap,
    parameters: Parameters,
}

impl Request {
    #[expect(clippy::too_many_arguments, reason = "what axum extracts")]
    fn new(
        endpoint: &'static Endpoint,
        State(hub): State<Hub>,
        client: Client,
        address: PublicAddress,
        uri: OriginalUri,
        RawQuery(query): RawQuery,
        path: Result<Path<Vec<(String, String)>>, PathRejection>,
        headers: HeaderMap,
    ) -> Result<Self, ImsxError> {
        require::<ImsxError>(&client, endpoint.scopes)?;
        // What cannot be an id names nothing.
        let Path(path) = path.map_err(|_| ImsxError::unknown_object(endpoint.kind.name()))?;
        let path: Vec<String> = path.into_iter().map(|parameter| parameter.1).collect();
        if path.iter().any(|id| id.contains('\0')) {
            return Err(ImsxError::unknown_object(endpoint.kind.name()));
        }
        let config = &hub.config;
        let leniency = Leniency {
            parameters: config.ignore_unknown_parameters,
            fields: config.ignore_unknown_fields,
            max_page: i64::from(config.max_page),
        };
        let parameters = Parameters::read(endpoint, path, query.as_deref().unwrap_or(""), leniency)?;
        Ok(Self { endpoint, tenant: client.tenant.clone(), client, hub, address, uri, headers, parameters })
    }

    async fn single(self) -> Result<Response, ImsxError> {
        wait::at_least(&self.hub.log, &self.tenant, &self.headers).await?;
        if let Some(unchanged) = self.unchanged() {
            return Ok(unchanged);
        }
        let as_of = self.as_of().await?;
        let mut reader = self.hub.log.db().reader(&self.tenant).await?;
        let (head, version) = self.parameters.query.single(&mut reader, &self.tenant, as_of).await?;
        reader.done();
        reached(as_of, head)?;
        let Single { since, doc, person } =
            version.ok_or_else(|| ImsxError::unknown_object(self.endpoint.kind.name()))?;
        let fingerprint = self.hub.log.projections().fingerprint();
        let etag =
            record_etag(fingerprint, &self.tenant, self.endpoint.kind, &self.parameters.query.parameters[0], since);
        let answer = self.answer(etag, as_of.unwrap_or(head));
        if answer.is_known(&self.headers) {
            return Ok(answer.not_modified());
        }
        let mut body = self.envelope().begin();
        self.envelope().record(doc.as_bytes(), &mut body);
        self.envelope().end(&mut body);
        self.record(as_of.unwrap_or(head), 1, Some(body.len()), |_| person.as_deref().map(People::one));
        Ok(answer.with_body(body))
    }

    /// Writes down whose data is in the answer. `people`: of the records, listed up to a number; none: not of people.
    fn record(
        &self,
        position: i64,
        records: usize,
        bytes: Option<usize>,
        people: impl FnOnce(usize) -> Option<People>,
    ) {
        if !self.endpoint.is_personal() {
            return;
        }
        self.hub.access.record(|most| {
            let (endpoint, parameters) = (self.endpoint, &self.parameters);
            let of_one = || People::one(parameters.query.parameters.first().map_or("", String::as_str));
            let people = people(most).unwrap_or_else(of_one);
            let query = parameters.shown();
            let asked = Asked::new(&self.client, Via::Rest, endpoint.operation_id, (ROUTE, endpoint.path), &query);
            Entry { records: Some(records), bytes, ..Entry::new(&self.tenant, asked, position, people) }
        });
    }

    fn record_page(&self, page: &Page, bytes: Option<usize>) {
        self.record(page.position, page.rows.len(), bytes, |most| match self.endpoint.kind {
            EntityType::Enrollment => Some(People::distinct(most, page.rows.iter().map(Line::person))),
            _ if self.endpoint.is_of_people() => Some(People::of(most, page.rows.iter().map(Line::sourced_id))),
            _ => None,
        });
    }

    async fn list(self) -> Result<Response, ImsxError> {
        wait::at_least(&self.hub.log, &self.tenant, &self.headers).await?;
        if let Some(unchanged) = self.unchanged() {
            return Ok(unchanged);
        }
        let as_of = match &self.parameters.cursor {
            Some(cursor) => Some(cursor.position),
            None => self.as_of().await?,
        };
        let (start, offset) = self.parameters.start();
        let (limit, query) = (self.parameters.limit, &self.parameters.query);
        // Rows at the end come last first, and are turned round before they are sent.
        let streamed = limit > STREAMED_FROM && matches!(start, Start::Offset(_) | Start::After(_));
        let (mut tx, page);
        if streamed {
            let mut begun = self.hub.log.db().begin(&self.tenant).await?;
            sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *begun).await?;
            page = query.page(&mut begun, &self.tenant, as_of, &start, limit, false).await?;
            tx = Some(begun);
        } else if query.is_short() && !matches!(start, Start::Offset(1..)) {
            let mut reader = self.hub.log.db().reader(&self.tenant).await?;
            page = query.page(&mut reader, &self.tenant, as_of, &start, limit, true).await?;
            reader.done();
            tx = None;
        } else {
            let mut conn = self.hub.log.db().acquire(&self.tenant).await?;
            page = query.page(&mut conn, &self.tenant, as_of, &start, limit, true).await?;
            tx = None;
        }
        reached(as_of, page.position)?;
        if !page.found {
            return Err(ImsxError::unknown_object("a record that the path names is not there"));
        }
        let mark = &self.parameters.mark;
        let (counts, position) = (&self.hub.counts, page.position);
        let total = match &mut tx {
            Some(tx) => counts.count_on(tx, query, mark, &self.tenant, position, as_of).await?,
            None => counts.count(query, mark, &self.tenant, position, as_of.is_none()).await?,
        };
        let mut answer = self.answer(self.list_etag(&page, total), page.position);
        answer.headers.insert(TOTAL_COUNT, HeaderValue::from(total));
        if let Some(links) = self.links(&page, offset, total) {
            answer.headers.insert(header::LINK, links);
        }
        if answer.is_known(&self.headers) {
            return Ok(answer.not_modified());
        }
        let envelope = self.envelope();
        match tx.take() {
            Some(tx) => {
                self.record_page(&page, None);
                let (sql, bound) = query.statement(&self.tenant, as_of, &start, limit, true);
                let patience = std::time::Duration::from_secs(self.hub.config.stalled_seconds);
                Ok(answer.with_stream(envelope.stream(tx, sql, bound, patience)))
            }
            None => {
                let mut body = envelope.begin();
                body.reserve(page.rows.iter().map(|row| row.doc().len() * 5 / 4).sum()); // with addresses
                envelope.records(page.rows.iter().map(Line::doc), &mut body);
                envelope.end(&mut body);
                self.record_page(&page, Some(body.len()));
                Ok(answer.with_body(body))
            }
        }
    }

    /// The position that `asOf` means.
    async fn as_of(&self) -> Result<Option<i64>, ImsxError> {
        match self.parameters.as_of {
            None => Ok(None),
            Some(AsOf::Position(position)) => Ok(Some(position)),
            Some(AsOf::Time(time)) if time > chrono::Utc::now() => {
                Err(ImsxError::invalid_data("asOf lies in the future."))
            }
            Some(AsOf::Time(time)) => Ok(Some(self.hub.log.position_at(&self.tenant, time).await?)),
        }
    }

    /// 304 without asking the database, when the client has what this process sent last and nothing has been written
    /// since. What stood at a past position never changes.
    fn unchanged(&self) -> Option<Response> {
        let tags = super::answer::if_none_match(&self.headers)?;
        let (etag, position) = self.hub.validators.get(&self.validator())?;
        let past = self.parameters.cursor.is_some() || self.parameters.as_of.is_some();
        let current = past || self.hub.log.known_head(&self.tenant) == Some(position);
        let answer = Answer::new(etag, position);
        (current && tags.match_weakly(Some(&answer.etag))).then(|| answer.not_modified())
    }

    fn validator(&self) -> String {
        format!("{}\n{}\n{}", self.tenant, self.address, self.uri.0)
    }

    fn answer(&self, etag: String, position: i64) -> Answer {
        // From here on the head is watched, so that it is known when the client asks again.
        self.hub.log.known_head(&self.tenant);
        self.hub.validators.insert(self.validator(), (etag.clone(), position));
        Answer::new(etag, position)
    }

    /// Changes when a row, the number of rows or an address in the answer changes.
    fn list_etag(&self, page: &Page, total: i64) -> String {
        let mut hash = Sha256::new();
        hash.update(self.hub.log.projections().fingerprint());
        hash.update(self.validator());
        hash.update(total.to_be_bytes());
        for row in &page.rows {
            hash.update(row.since().to_be_bytes());
            hash.update(row.sourced_id());
            hash.update([0]);
        }
        format!("\"{}\"", hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    fn envelope(&self) -> Envelope {
        Envelope {
            member: self.endpoint.member(),
            is_list: !self.endpoint.is_single,
            base: format!("{}{ROSTERING}", self.address),
            fields: self.parameters.fields.clone(),
        }
    }

    /// `first`, `prev`, `next`, `last`. All but the first walk the list as it stands at the page's position, so that a
    /// client that follows them sees each row once, whatever is written meanwhile.
    fn links(&self, page: &Page, offset: i64, total: i64) -> Option<HeaderValue> {
        if total == 0 {
            return None;
        }
        let limit = self.parameters.limit;
        let cursor = |start: Start, offset: i64| Cursor {
            position: page.position,
            start,
            offset,
            request: self.parameters.mark.clone(),
        };
        let key = |row: &Line| Key { sorted_by: row.key().map(str::to_owned), sourced_id: row.sourced_id().to_owned() };
        let before_last = (total - 1) / limit * limit;
        let mut links = vec![("first", None)];
        match page.rows.first() {
            Some(first) if offset >= limit => {
                links.push(("prev", Some(cursor(Start::Before(key(first)), offset - limit))))
            }
            _ if offset > 0 && offset < limit => links.push(("prev", Some(cursor(Start::Offset(0), 0)))),
            _ if offset > 0 => links.push(("prev", Some(cursor(Start::Last(total - before_last), before_last)))),
            _ => {}
        }
        let seen = offset + page.rows.len() as i64;
        if let Some(last) = page.rows.last().filter(|_| seen < total) {
            links.push(("next", Some(cursor(Start::After(key(last)), seen))));
        }
        links.push(("last", Some(cursor(Start::Last(total - before_last), before_last))));
        let path = format!("{}{}", self.address, self.uri.path());
        let written: Vec<String> = links
            .iter()
            .map(|(relation, cursor)| {
                let query = self.parameters.with_cursor(cursor.as_ref());
                let mark = if query.is_empty() { "" } else { "?" };
                format!("<{path}{mark}{query}>; rel=\"{relation}\"")
            })
            .collect();
        HeaderValue::from_str(&written.join(", ")).ok()
    }
}

/// A position that the log has not reached cannot be read at.
fn reached(as_of: Option<i64>, head: i64) -> Result<(), ImsxError> {
    match as_of {
        Some(position) if position > head => {
            Err(ImsxError::invalid_data(format!("The log has not reached position {position}.")))
        }
        _ => Ok(()),
    }
}

impl From<std::sync::Arc<sqlx::Error>> for ImsxError {
    fn from(error: std::sync::Arc<sqlx::Error>) -> Self {
        Self::of_database(&error)
    }
}
