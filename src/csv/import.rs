//! An import from start to end: read, check, plan, apply.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sqlx::pool::PoolConnection;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::apply::apply;
use super::check::Checks;
use super::decode::{Decoded, Stopped, decode};
use super::job::{self, Job, JobRecord, Phases};
use super::manifest::Mode;
use super::package::Package;
use super::plan::plan;
use super::queue::Place;
use super::stage::{Stager, Staging};
use crate::command::CommandError;
use crate::db::is_unavailable;
use crate::log::append::AppendTransaction;
use crate::log::{AppendError, Log, Tenant};
use crate::roster::EntityType;

/// Rows, errors and references that are handed over together, and their bytes.
const BLOCK: usize = 1024;
const BLOCK_BYTES: usize = 1 << 20;

/// Times that an import tries, a second apart, to reach a database that is away.
const PATIENCE: u32 = 60;
/// Changes after which the statistics of read models are gathered anew.
const MANY: i64 = 10_000;

/// How far an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub state: &'static str,
    /// Rows read or events appended.
    pub done: u64,
    /// Out of, when known.
    pub total: Option<u64>,
}

/// What was handed in.
pub struct Upload {
    pub file: File,
    pub file_name: String,
    pub client: String,
    /// Most bytes that its files may have, unpacked.
    pub max_unpacked_bytes: u64,
}

/// An import that has been accepted and waits for its turn. No one else will touch its job while it lives.
pub struct Import {
    log: Log,
    record: JobRecord,
    upload: Upload,
    place: Place,
    progress: watch::Sender<Progress>,
}

/// An import that has its turn, and a connection of its own.
struct Run {
    log: Log,
    record: JobRecord,
    /// Until it has been read: it holds what the roster does not keep.
    file: Option<File>,
    client: String,
    max_unpacked_bytes: u64,
    staging: Staging,
    conn: PoolConnection<sqlx::Postgres>,
    progress: watch::Sender<Progress>,
    phases: Phases,
}

/// Why an import came to nothing.
enum Failure {
    /// The set has errors, which are listed.
    Errors,
    Other(CommandError),
}

impl<E: Into<CommandError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl From<sqlx::Error> for CommandError {
    fn from(error: sqlx::Error) -> Self {
        AppendError::from(error).into()
    }
}

impl Import {
    /// Enters the job.
    pub async fn accept(log: &Log, tenant: &Tenant, upload: Upload, place: Place) -> Result<Self, CommandError> {
        if log.head(tenant).await?.is_none() {
            return Err(AppendError::UnknownTenant(tenant.clone()).into());
        }
        let record = JobRecord { tenant: tenant.clone(), id: Uuid::now_v7() };
        place.hold(log.db(), &record).await?;
        let bytes = upload.file.metadata().map_or(0, |m| m.len() as i64);
        let entered = async {
            let mut conn = log.db().acquire(tenant).await?;
            record.enter(&mut conn, &upload.file_name, bytes, &upload.client).await
        };
        if let Err(error) = entered.await {
            place.release(&record).await;
            return Err(error.into());
        }
        Ok(Self { log: log.clone(), record, upload, place, progress: watch::Sender::default() })
    }

    pub fn id(&self) -> Uuid {
        self.record.id
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Waits for its turn; then reads, checks, plans and applies. The outcome stands in the job.
    pub async fn run(self) -> Result<Job, CommandError> {
        let Self { log, record, upload, place, progress } = self;
        let _ended = progress.clone(); // told to those who wait when the place is free again
        let arrived = Instant::now();
        let turn = place.turn(&record.tenant).await;
        let conn = match &turn {
            Some(_) => patiently(|| begin(&log, &record)).await,
            None => Ok(None), // the program stops: its next start closes the job
        };
        place.release(&record).await;
        if let Some(conn) = conn? {
            let run = Run {
                staging: Staging::of(record.id),
                log: log.clone(),
                record: record.clone(),
                file: Some(upload.file),
                client: upload.client,
                max_unpacked_bytes: upload.max_unpacked_bytes,
                conn,
                progress,
                phases: Phases::from([("wait", seconds(arrived))]),
            };
            run.finish().await?;
        }
        drop((turn, place));
        let job = patiently(|| job::find(&log, &record.tenant, record.id)).await?;
        job.ok_or_else(|| CommandError::Internal("the job is gone".into()))
    }
}

/// A connection that holds the job; none when another program took the job for dead, and closed it.
async fn begin(log: &Log, record: &JobRecord) -> Result<Option<PoolConnection<sqlx::Postgres>>, sqlx::Error> {
    let mut conn = log.db().acquire(&record.tenant).await?;
    conn.close_on_drop();
    record.hold(&mut conn).await?;
    Ok(record.is_open(&mut conn).await?.then_some(conn))
}

/// Tries again for a while when the database is away.
async fn patiently<T, F: Future<Output = Result<T, sqlx::Error>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, sqlx::Error> {
    for _ in 0..PATIENCE {
        match attempt().await {
            Err(sqlx::Error::PoolClosed) => break,
            Err(error) if is_unavailable(&error) => tokio::time::sleep(Duration::from_secs(1)).await,
            outcome => return outcome,
        }
    }
    attempt().await
}

fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e3).round() / 1e3
}

impl Run {
    async fn finish(mut self) -> Result<(), CommandError> {
        let outcome = self.phases().await;
        let dropped = self.staging.drop(&mut self.conn).await;
        let Err(failure) = outcome else {
            if let Err(error) = dropped {
                tracing::warn!(%error, job = %self.record.id, "staging tables are left behind");
            }
            return Ok(());
        };
        let text = match &failure {
            Failure::Errors => None,
            Failure::Other(error) => Some(error.to_string()),
        };
        let (log, record, staging, phases, text) =
            (&self.log, &self.record, &self.staging, &self.phases, text.as_deref());
        if dropped.is_ok() && record.fail(&mut self.conn, text, Some(phases)).await.is_ok() {
            return Ok(());
        }
        // The connection may be what failed; another one may serve.
        patiently(|| async move {
            let mut conn = log.db().acquire(&record.tenant).await?;
            staging.drop(&mut conn).await?;
            record.fail(&mut conn, text, Some(phases)).await
        })
        .await
        .map_err(CommandError::from)
    }

    async fn phases(&mut self) -> Result<(), Failure> {
        let mut clock = Instant::now();
        let mut lap = |phases: &mut Phases, name| {
            phases.insert(name, seconds(clock));
            clock = Instant::now();
        };
        let (record, staging) = (self.record.clone(), self.staging.clone());
        let tenant = &record.tenant;
        self.enter("reading").await?;
        self.staging.create(&mut self.conn).await?;
        let (read, errors) = self.read().await?;
        let modes = &read.modes;
        let checks = Checks { staging: &staging, job: &record, modes, unread: &read.unread };
        lap(&mut self.phases, "read");

        self.enter("planning").await?;
        self.staging.index(&mut self.conn).await?;
        let planned_at = self.log.head(tenant).await?;
        let errors = checks.run(&mut self.conn, errors).await?;
        lap(&mut self.phases, "check");
        if errors > 0 {
            self.record.errors(&mut self.conn, errors).await?;
            return Err(Failure::Errors);
        }
        let mut counts = plan(&mut self.conn, &staging, tenant, modes).await?;
        self.record.changes(&mut self.conn, &counts).await?;
        lap(&mut self.phases, "plan");

        self.enter("applying").await?;
        let mut tx = self.log.begin(tenant).await?;
        if Some(tx.head()) != planned_at {
            // The roster moved: what the set refers to and what it changes is looked at again, now under the lock.
            let errors = checks.run(&mut self.conn, 0).await?;
            if errors > 0 {
                self.record.errors(&mut self.conn, errors).await?;
                return Err(Failure::Errors);
            }
            counts = plan(&mut self.conn, &staging, tenant, modes).await?;
            self.record.changes(&mut self.conn, &counts).await?;
        }
        let total = counts.values().map(|c| c.created + c.changed + c.restored + c.withdrawn).sum::<i64>();
        let progress = self.progress.clone();
        apply(&mut self.conn, &mut tx, &staging, tenant, record.id, &self.client, |done| {
            progress.send_replace(Progress { state: "applying", done, total: Some(total as u64) });
        })
        .await?;
        lap(&mut self.phases, "apply");
        self.complete(tx).await?;
        if total >= MANY {
            self.look_at(counts.keys().filter_map(|name| EntityType::from_name(name))).await;
        }
        Ok(())
    }

    /// Lets Postgres look at the read models that have changed: what it plans for an empty table is slow in a full one,
    /// and short reads keep their plans until it has looked. That it fails takes nothing from the import.
    async fn look_at(&mut self, kinds: impl Iterator<Item = EntityType>) {
        for kind in kinds {
            let sql = format!("analyze {}", kind.entity().table);
            if let Err(error) = sqlx::query(&sql).execute(&mut *self.conn).await {
                tracing::warn!(%error, "statistics of a read model could not be gathered");
            }
        }
    }

    /// The job is completed in the very transaction that makes its events visible.
    async fn complete(&self, mut tx: AppendTransaction) -> Result<(), sqlx::Error> {
        let head = tx.head();
        self.record.complete(tx.sql(), head, &self.phases).await?;
        tx.commit().await.map(drop)
    }

    /// Decodes in a thread of its own; stages what comes. Gives what was read and the number of errors.
    async fn read(&mut self) -> Result<(Read, i64), Failure> {
        let (items, mut received) = mpsc::channel::<Vec<Decoded>>(4);
        let file = self.file.take().ok_or_else(|| CommandError::Internal("the file has been read".into()))?;
        let limit = self.max_unpacked_bytes;
        let reader = tokio::task::spawn_blocking(move || read_package(file, limit, items));
        let mut stager = Stager::new(&self.staging, &self.record.tenant, self.record.id, &mut self.conn);
        let mut rows: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut done = 0;
        while let Some(items) = received.recv().await {
            for item in items {
                match item {
                    Decoded::Row(row) => {
                        *rows.entry(row.kind.entity().collection).or_default() += 1;
                        done += 1;
                        stager.row(&row).await?;
                    }
                    Decoded::Reference(slot, id) => stager.reference(slot, &id).await?,
                    Decoded::Error(error) => stager.error(error).await?,
                }
            }
            self.progress.send_replace(Progress { state: "reading", done, total: None });
        }
        let errors = stager.finish().await?;
        let mut read = reader.await.map_err(|e| CommandError::Internal(e.to_string()))?;
        let mut rows: serde_json::Map<String, serde_json::Value> =
            rows.into_iter().map(|(file, n)| (file.to_owned(), n.into())).collect();
        rows.extend(read.not_read.drain(..).map(|file| (file, serde_json::Value::Null)));
        self.record.read(&mut self.conn, read.edition, rows, errors, read.sha256.take()).await?;
        Ok((read, errors))
    }

    async fn enter(&mut self, state: &'static str) -> Result<(), sqlx::Error> {
        self.progress.send_replace(Progress { state, ..Progress::default() });
        self.record.state(&mut self.conn, state).await
    }
}

#[derive(Default)]
struct Read {
    modes: Vec<(EntityType, Mode)>,
    not_read: Vec<String>,
    unread: Vec<EntityType>,
    edition: Option<&'static str>,
    sha256: Option<Vec<u8>>,
}

fn read_package(file: File, limit: u64, items: mpsc::Sender<Vec<Decoded>>) -> Read {
    let mut read = Read { sha256: sha256(&file).ok(), ..Read::default() };
    let mut package = match Package::open(file, limit) {
        Ok(package) => package,
        Err(errors) => {
            let _ = items.blocking_send(errors.into_iter().map(Decoded::Error).collect());
            return read;
        }
    };
    read.edition = Some(package.edition.name());
    read.modes = package.files.iter().map(|f| (f.kind, f.mode)).collect();
    read.not_read = std::mem::take(&mut package.not_read);
    let (mut block, mut bytes) = (Vec::with_capacity(BLOCK), 0);
    let sent = decode(&mut package, &mut |item| {
        bytes += item.bytes();
        block.push(item);
        if block.len() < BLOCK && bytes < BLOCK_BYTES {
            return Ok(());
        }
        bytes = 0;
        let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK));
        items.blocking_send(full).map_err(|_| Stopped)
    });
    if sent.is_ok() {
        let _ = items.blocking_send(block);
    }
    read.unread = package.unread;
    read
}

fn sha256(mut file: &File) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finalize().to_vec()),
            n => hash.update(&block[..n]),
        }
    }
}
