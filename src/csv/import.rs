//! An import as it is handed in, waits for its turn and is read.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sqlx::pool::PoolConnection;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::conversion::Conversion;
use super::decode::{Decoded, Stopped, decode};
use super::edition::Edition;
use super::input::Upload;
use super::job::{self, Job};
use super::manifest::Mode;
use super::options::Options;
use super::package::{DataFile, Package};
use super::queue::Place;
use super::record::{Entry, JobRecord, Phases};
use super::run::{Failure, Run};
use super::stage::{Stager, Staging};
use crate::command::CommandError;
use crate::config::ImportsConfig;
use crate::db::is_unavailable;
use crate::erasure::erased;
use crate::log::{AppendError, Log};
use crate::roster::EntityType;

/// Rows, errors and references that are handed over together, and their bytes.
const BLOCK: usize = 1024;
const BLOCK_BYTES: usize = 1 << 20;

/// Times that an import tries, a second apart, to reach a database that is away.
const PATIENCE: u32 = 60;

/// How far an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub state: &'static str,
    /// Rows read or events appended.
    pub done: u64,
    /// Out of, when known.
    pub total: Option<u64>,
}

/// Where the rows come from.
pub enum Source {
    /// A set, whose files may have so many bytes, unpacked.
    Upload(File, u64),
    /// What an import did, which is taken back.
    Log(Uuid),
    /// They are staged and planned; the plan has been approved by this client.
    Plan(String),
}

/// Who asks for something: a client, or the command line.
#[derive(Clone, Debug)]
pub struct Asker {
    pub id: String,
    /// For people.
    pub name: String,
}

/// What is to be done.
pub struct Task {
    pub source: Source,
    pub file_name: String,
    pub asker: Asker,
    pub options: Options,
    pub settings: ImportsConfig,
}

/// An import that has been accepted and waits for its turn. No one else will touch its job while it lives.
pub struct Import {
    log: Log,
    record: JobRecord,
    task: Task,
    place: Place,
    progress: watch::Sender<Progress>,
    cancel: Arc<watch::Sender<bool>>,
}

impl From<Stopped> for CommandError {
    fn from(Stopped: Stopped) -> Self {
        Self::Internal("an import's other half has stopped".into())
    }
}

impl From<sqlx::Error> for CommandError {
    fn from(error: sqlx::Error) -> Self {
        AppendError::from(error).into()
    }
}

impl Import {
    /// Enters a new job, of this id.
    pub async fn accept(log: &Log, record: JobRecord, mut task: Task, place: Place) -> Result<Self, CommandError> {
        let tenant = &record.tenant;
        if log.head(tenant).await?.is_none() {
            return Err(AppendError::UnknownTenant(tenant.clone()).into());
        }
        if matches!(task.source, Source::Upload(..)) {
            task.options.rules.get_or_insert(task.settings.rules);
        }
        place.hold(log.db(), &record).await?;
        let (bytes, reverts) = match &task.source {
            Source::Upload(file, _) => (file.metadata().map_or(0, |m| m.len() as i64), None),
            Source::Log(import) => (0, Some(*import)),
            Source::Plan(_) => (0, None),
        };
        let entered = async {
            let mut conn = log.db().acquire(tenant).await?;
            let Asker { id, name } = &task.asker;
            let options = task.options;
            let entry = Entry { file_name: &task.file_name, bytes, client: name, client_id: id, options, reverts };
            record.enter(&mut conn, &entry).await
        };
        if let Err(error) = entered.await {
            place.release(&record).await;
            return Err(error.into());
        }
        Ok(Self::new(log, record, task, place))
    }

    /// Takes up a job whose plan has been approved, and which is held.
    pub fn approved(log: &Log, record: JobRecord, task: Task, place: Place) -> Self {
        Self::new(log, record, task, place)
    }

    fn new(log: &Log, record: JobRecord, task: Task, place: Place) -> Self {
        let (progress, cancel) = Default::default();
        Self { log: log.clone(), record, task, place, progress, cancel }
    }

    pub fn id(&self) -> Uuid {
        self.record.id
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// What tells it, once the job says so, that it has been cancelled.
    pub fn cancel(&self) -> Arc<watch::Sender<bool>> {
        self.cancel.clone()
    }

    /// Waits for its turn; then reads, checks, plans and applies. The outcome stands in the job.
    pub async fn run(self) -> Result<Job, CommandError> {
        let Self { log, record, task, place, progress, cancel } = self;
        let _ended = progress.clone(); // told to those who wait when the place is free again
        let arrived = Instant::now();
        let mut cancelled = cancel.subscribe();
        let turn = tokio::select! {
            turn = place.turn() => turn,
            _ = cancelled.wait_for(|cancelled| *cancelled) => None,
        };
        let conn = match &turn {
            Some(_) => patiently(|| begin(&log, &record)).await,
            None => Ok(None), // the program stops: its next start closes the job
        };
        place.release(&record).await;
        if let Some(conn) = conn? {
            let phases = Phases::from([("wait", seconds(arrived))]);
            Run::new(log.clone(), record.clone(), task, conn, progress, cancelled, phases).finish().await?;
        } else if turn.is_some() || *cancelled.borrow() {
            patiently(|| async {
                let mut conn = log.db().acquire(&record.tenant).await?;
                Staging::of(record.id).drop(&mut conn).await
            })
            .await?;
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
pub(super) async fn patiently<T, F: Future<Output = Result<T, sqlx::Error>>>(
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

pub(super) fn seconds(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e3).round() / 1e3
}

impl Run {
    /// Decodes in a thread of its own; stages what comes. Gives what was read and the number of errors.
    pub(super) async fn read(&mut self, upload: Upload) -> Result<(Read, i64), Failure> {
        let (items, mut received) = mpsc::channel::<Vec<Decoded>>(4);
        let erased = erased(&self.log, &self.record.tenant).await?;
        let reader = tokio::task::spawn_blocking(move || read_package(upload, erased, items));
        let (mut stager, blocks) = Stager::new();
        let mut rows: BTreeMap<&'static str, u64> = BTreeMap::new();
        let progress = &self.progress;
        let gather = async {
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
                progress.send_replace(Progress { state: "reading", done, total: None });
            }
            stager.finish().await
        };
        let (gathered, written) = tokio::join!(gather, blocks.write(&mut self.conn, &self.staging, &self.record));
        let errors = written?;
        gathered?;
        let mut read = reader.await.map_err(|e| CommandError::Internal(e.to_string()))?;
        let mut rows: serde_json::Map<String, serde_json::Value> =
            rows.into_iter().map(|(file, n)| (file.to_owned(), n.into())).collect();
        if read.edition == Some(Edition::V11.name()) {
            rows.remove(EntityType::Role.entity().collection); // they have no rows of their own
        }
        rows.extend(read.not_read.drain(..).map(|file| (file, serde_json::Value::Null)));
        self.record.read(&mut self.conn, read.edition, rows, &read.encodings, errors, read.sha256.take()).await?;
        self.record.conversions(&mut self.conn, &read.conversions).await?;
        Ok((read, errors))
    }
}

#[derive(Default)]
pub(super) struct Read {
    pub modes: Vec<(EntityType, Mode)>,
    not_read: Vec<String>,
    pub unread: Vec<EntityType>,
    pub edition: Option<&'static str>,
    /// By file.
    encodings: BTreeMap<String, &'static str>,
    conversions: Vec<Conversion>,
    /// Types of which nothing is withdrawn for being absent, since nobody said that the file tells all.
    pub not_withdrawn: Vec<EntityType>,
    sha256: Option<Vec<u8>>,
}

fn read_package(upload: Upload, erased: HashSet<String>, items: mpsc::Sender<Vec<Decoded>>) -> Read {
    let mut read = Read { sha256: sha256(&upload.file).ok(), ..Read::default() };
    let mut package = match Package::open(upload) {
        Ok(package) => package,
        Err(errors) => {
            let _ = items.blocking_send(errors.into_iter().map(Decoded::Error).collect());
            return read;
        }
    };
    package.erased = erased;
    read.edition = Some(package.edition.name());
    let adds_only = |f: &&DataFile| f.mode == Mode::Bulk && package.untold.contains(&f.kind);
    read.not_withdrawn = package.files.iter().filter(adds_only).map(|f| f.kind).collect();
    let planned = |f: &DataFile| if adds_only(&f) { Mode::Delta } else { f.mode };
    read.modes = package.files.iter().map(|f| (f.kind, planned(f))).collect();
    if package.edition == Edition::V11
        && let Some((_, mode)) = read.modes.iter().find(|m| m.0 == EntityType::User)
    {
        let roles = (EntityType::Role, *mode);
        read.not_withdrawn.extend(read.not_withdrawn.contains(&EntityType::User).then_some(EntityType::Role));
        read.modes.push(roles);
        read.modes.sort_by_key(|m| m.0);
    }
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
    read.encodings = package.encodings();
    read.conversions = package.conversions;
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
