//! Writes down what became of messages: of all endpoints together, in as few statements as there are tenants. What is
//! told while one is written goes into the next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::endpoint::{Reason, word};
use super::message::{Cursor, Message};
use crate::log::{Log, Tenant};
use crate::notice;

/// How long to wait when the database is away.
const AWAY: Duration = Duration::from_millis(500);
/// Reports that may wait: then endpoints wait too, so that little is sent again after a crash.
const WAITING: usize = 1_024;

/// What has become of an endpoint's messages since its last report.
#[derive(Debug)]
pub struct Report {
    pub tenant: Tenant,
    pub endpoint: Uuid,
    pub cursor: Cursor,
    pub deliveries: Vec<Delivery>,
    pub attempts: Vec<Attempt>,
    pub failing_since: Option<DateTime<Utc>>,
    pub warned: i32,
    pub telling: Option<Telling>,
}

/// What subscribers are told of an endpoint.
#[derive(Debug)]
pub enum Telling {
    Failing(EndpointFailing),
    Disabled(EndpointDisabled),
}

/// Data of `endpoint.failing`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointFailing {
    pub endpoint: Uuid,
    pub failing_since: DateTime<Utc>,
    pub disables_at: DateTime<Utc>,
}

/// Data of `endpoint.disabled`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointDisabled {
    pub endpoint: Uuid,
    pub reason: Reason,
}

/// A message as the delivery log has it.
#[derive(Debug)]
pub struct Delivery {
    pub message: Message,
    pub state: &'static str,
}

#[derive(Debug)]
pub struct Attempt {
    pub sequence: i64,
    pub attempt: i32,
    pub at: DateTime<Utc>,
    pub status: Option<i16>,
    pub failure: Option<String>,
    pub latency_ms: f32,
    pub excerpt: String,
}

/// Takes reports.
#[derive(Clone)]
pub struct Recorder(mpsc::Sender<Entry>);

enum Entry {
    Report(Box<Report>),
    /// Answered when all before is written.
    Settled(oneshot::Sender<()>),
}

impl Recorder {
    /// Begins to write. `lost` is given endpoints that another instance has taken over. It ends when all are dropped
    /// that could report.
    pub fn start(log: Log, instance: Uuid, lost: mpsc::UnboundedSender<Uuid>) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, mut reports) = mpsc::channel(WAITING);
        let writing = tokio::spawn(async move {
            let mut batch = Vec::with_capacity(WAITING);
            while reports.recv_many(&mut batch, WAITING).await > 0 {
                let mut tenants: HashMap<Tenant, Vec<Report>> = HashMap::new();
                let mut waiting = Vec::new();
                for entry in batch.drain(..) {
                    match entry {
                        Entry::Report(report) => tenants.entry(report.tenant.clone()).or_default().push(*report),
                        Entry::Settled(waits) => waiting.push(waits),
                    }
                }
                for (tenant, reports) in tenants {
                    loop {
                        match write(&log, instance, &tenant, &reports).await {
                            Ok(kept) => {
                                let of = reports.iter().map(|report| report.endpoint).collect::<HashSet<_>>();
                                of.difference(&kept).for_each(|endpoint| _ = lost.send(*endpoint));
                                break;
                            }
                            Err(error) => {
                                tracing::warn!(%error, "deliveries could not be written down; trying again");
                                tokio::time::sleep(AWAY).await;
                            }
                        }
                    }
                }
                waiting.into_iter().for_each(|waits| _ = waits.send(()));
            }
        });
        (Self(sender), writing)
    }

    /// Hands a report in. Waits while too many do.
    pub async fn report(&self, report: Report) {
        let _ = self.0.send(Entry::Report(Box::new(report))).await;
    }

    /// Waits until all that was reported is written.
    pub async fn settled(&self) {
        let (sender, written) = oneshot::channel();
        let _ = self.0.send(Entry::Settled(sender)).await;
        let _ = written.await;
    }
}

/// Writes reports of one tenant; the endpoints that are still this instance's.
async fn write(log: &Log, instance: Uuid, tenant: &Tenant, reports: &[Report]) -> Result<HashSet<Uuid>, sqlx::Error> {
    let mut tx = log.db().begin(tenant).await?;
    // The last report of an endpoint says where it stands.
    let last: BTreeMap<Uuid, &Report> = reports.iter().map(|report| (report.endpoint, report)).collect();
    let column = |f: fn(&Cursor) -> i64| last.values().map(|report| f(&report.cursor)).collect::<Vec<_>>();
    let kept: Vec<Uuid> = sqlx::query_scalar(
        "update webhook_lanes l
            set position = u.position, notice = u.notice, sequence = u.sequence, last_position = u.last_position,
                failing_since = u.failing_since, warned = u.warned
           from unnest($2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::int[])
                as u(endpoint, position, notice, sequence, last_position, failing_since, warned)
          where l.endpoint = u.endpoint and l.owner = $1
         returning l.endpoint",
    )
    .bind(instance)
    .bind(last.keys().copied().collect::<Vec<_>>())
    .bind(column(|cursor| cursor.position))
    .bind(column(|cursor| cursor.notice))
    .bind(column(|cursor| cursor.sequence))
    .bind(column(|cursor| cursor.last_position))
    .bind(last.values().map(|report| report.failing_since).collect::<Vec<_>>())
    .bind(last.values().map(|report| report.warned).collect::<Vec<_>>())
    .fetch_all(&mut *tx)
    .await?;
    let kept: HashSet<Uuid> = kept.into_iter().collect();
    let ours = || reports.iter().filter(|report| kept.contains(&report.endpoint));
    let deliveries: BTreeMap<(Uuid, i64), &Delivery> = ours()
        .flat_map(|report| report.deliveries.iter().map(|d| ((report.endpoint, d.message.sequence), d)))
        .collect();
    write_deliveries(&mut tx, tenant, &deliveries).await?;
    let attempts = ours().flat_map(|report| report.attempts.iter().map(|attempt| (report.endpoint, attempt)));
    write_attempts(&mut tx, tenant, &attempts.collect::<Vec<_>>()).await?;
    for report in ours() {
        match &report.telling {
            None => {}
            Some(Telling::Failing(data)) => {
                notice::tell(&mut tx, tenant, notice::Kind::EndpointFailing, data).await?;
            }
            Some(Telling::Disabled(data)) => {
                super::lanes::disable(&mut tx, tenant, report.endpoint, word(data.reason)).await?;
                notice::tell(&mut tx, tenant, notice::Kind::EndpointDisabled, data).await?;
            }
        }
    }
    tx.commit().await?;
    Ok(kept)
}

async fn write_deliveries(
    conn: &mut sqlx::PgConnection,
    tenant: &Tenant,
    deliveries: &BTreeMap<(Uuid, i64), &Delivery>,
) -> Result<(), sqlx::Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    fn column<'a, T>(all: &BTreeMap<(Uuid, i64), &'a Delivery>, f: impl Fn(&'a Message) -> T) -> Vec<T> {
        all.values().map(|delivery| f(&delivery.message)).collect()
    }
    sqlx::query(
        "insert into webhook_deliveries (tenant, endpoint, sequence, message, type, position, previous_position, notice,
                                         generation, record, state, attempts, first_attempt_at, next_attempt_at,
                                         finished_at, created_at)
         select $1, u.endpoint, u.sequence, u.message, u.type, u.position, u.previous_position, u.notice, u.generation,
                u.record, u.state, u.attempts, u.first_attempt_at, u.next_attempt_at,
                case when u.state <> 'pending' then now() end, u.created_at
           from unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
                       $9::int[], $10::text[], $11::text[], $12::int[], $13::timestamptz[], $14::timestamptz[],
                       $15::timestamptz[])
                as u(endpoint, sequence, message, type, position, previous_position, notice, generation, record, state,
                     attempts, first_attempt_at, next_attempt_at, created_at)
         on conflict (tenant, endpoint, sequence) do update
            set message = excluded.message, type = excluded.type, position = excluded.position,
                previous_position = excluded.previous_position, notice = excluded.notice,
                generation = excluded.generation, record = excluded.record, state = excluded.state,
                attempts = excluded.attempts, first_attempt_at = excluded.first_attempt_at,
                next_attempt_at = excluded.next_attempt_at, finished_at = excluded.finished_at",
    )
    .bind(tenant.as_str())
    .bind(deliveries.keys().map(|key| key.0).collect::<Vec<_>>())
    .bind(deliveries.keys().map(|key| key.1).collect::<Vec<_>>())
    .bind(column(deliveries, |m| m.id.as_str()))
    .bind(column(deliveries, |m| m.kind.as_str()))
    .bind(column(deliveries, |m| m.position))
    .bind(column(deliveries, |m| m.previous_position))
    .bind(column(deliveries, |m| m.notice))
    .bind(column(deliveries, |m| m.generation))
    .bind(column(deliveries, |m| m.record.as_deref()))
    .bind(deliveries.values().map(|delivery| delivery.state).collect::<Vec<_>>())
    .bind(column(deliveries, |m| m.attempts))
    .bind(column(deliveries, |m| m.first_attempt_at))
    .bind(column(deliveries, |m| m.next_attempt_at))
    .bind(column(deliveries, |m| m.created_at))
    .execute(conn)
    .await
    .map(drop)
}

async fn write_attempts(
    conn: &mut sqlx::PgConnection,
    tenant: &Tenant,
    attempts: &[(Uuid, &Attempt)],
) -> Result<(), sqlx::Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into webhook_attempts (tenant, endpoint, sequence, attempt, at, status, failure, latency_ms, excerpt)
         select $1, u.* from unnest($2::uuid[], $3::bigint[], $4::int[], $5::timestamptz[], $6::smallint[], $7::text[],
                                    $8::real[], $9::text[]) u
         on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(attempts.iter().map(|(endpoint, _)| *endpoint).collect::<Vec<_>>())
    .bind(attempts.iter().map(|(_, a)| a.sequence).collect::<Vec<_>>())
    .bind(attempts.iter().map(|(_, a)| a.attempt).collect::<Vec<_>>())
    .bind(attempts.iter().map(|(_, a)| a.at).collect::<Vec<_>>())
    .bind(attempts.iter().map(|(_, a)| a.status).collect::<Vec<_>>())
    .bind(attempts.iter().map(|(_, a)| a.failure.as_deref()).collect::<Vec<_>>())
    .bind(attempts.iter().map(|(_, a)| a.latency_ms).collect::<Vec<_>>())
    .bind(attempts.iter().map(|(_, a)| a.excerpt.as_str()).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map(drop)
}
