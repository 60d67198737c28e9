//! Takes sets in, from whichever gateway: into a file, a job and the queue.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, TryStreamExt};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use uuid::Uuid;

use super::import::{Asker, Import, Progress, Source, Task};
use super::options::Options;
use super::queue::{Place, Queue};
use super::record::JobRecord;
use crate::command::CommandError;
use crate::config::{Config, ImportsConfig};
use crate::log::{Log, Tenant};

/// Seconds that an answer is held at most until an import has ended.
pub const LONGEST_WAIT: u64 = 60;

/// The imports of this process.
#[derive(Clone)]
pub struct Intake {
    log: Log,
    queue: Arc<Queue>,
    running: Arc<Running>,
    folder: PathBuf,
    max_upload_bytes: u64,
    max_unpacked_bytes: u64,
    pub(super) settings: ImportsConfig,
}

/// Those that wait for their turn or have it.
#[derive(Default)]
struct Running(Mutex<HashMap<Uuid, Watched>>);

#[derive(Clone)]
struct Watched {
    progress: watch::Receiver<Progress>,
    cancel: Arc<watch::Sender<bool>>,
}

/// Why an upload was not received.
#[derive(Debug)]
pub enum ReceiveError<E> {
    /// It has more bytes than this.
    TooLarge(u64),
    /// It broke off.
    Source(E),
    /// It could not be kept.
    File(std::io::Error),
}

impl<E> From<std::io::Error> for ReceiveError<E> {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

/// Why an import was not entered.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("as many imports as allowed are running and waiting; try again soon")]
    Full,
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Intake {
    pub fn new(log: &Log, config: &Config) -> Self {
        Self {
            log: log.clone(),
            queue: Queue::new(config.max_imports, config.max_queued_imports, config.imports.per_tenant),
            running: Arc::default(),
            folder: config.data_dir().join("uploads"),
            max_upload_bytes: config.max_upload_bytes,
            max_unpacked_bytes: config.max_unpacked_bytes,
            settings: config.imports.clone(),
        }
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Starts no more of those that wait.
    pub fn stop(&self) {
        self.queue.stop();
    }

    /// Waits until those that run have ended.
    pub async fn ended(&self) {
        self.queue.ended().await;
    }

    /// Asked before an upload is sent in vain.
    pub fn is_full(&self, tenant: &Tenant) -> bool {
        self.queue.is_full(tenant)
    }

    /// Writes an upload to a file as it arrives.
    pub async fn receive<B: AsRef<[u8]>, E>(
        &self,
        mut chunks: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<File, ReceiveError<E>> {
        tokio::fs::create_dir_all(&self.folder).await?;
        // It has no name: however this program ends, nothing of it is left, and nobody else can open it.
        let file = tempfile::tempfile_in(&self.folder)?;
        let mut out = tokio::fs::File::from_std(file.try_clone()?);
        let mut size = 0;
        while let Some(chunk) = chunks.try_next().await.map_err(ReceiveError::Source)? {
            size += chunk.as_ref().len() as u64;
            if size > self.max_upload_bytes {
                return Err(ReceiveError::TooLarge(self.max_upload_bytes));
            }
            out.write_all(chunk.as_ref()).await?;
        }
        out.flush().await?;
        Ok(file)
    }

    /// Enters a job for the set and lets it run; gives its id.
    pub async fn start(
        &self,
        tenant: &Tenant,
        asker: Asker,
        file: File,
        file_name: &str,
        options: Options,
    ) -> Result<Uuid, StartError> {
        self.enter(tenant, self.task(asker, file, file_name, options)).await
    }

    /// The import of a file that has been handed in.
    pub(super) fn task(&self, asker: Asker, file: File, file_name: &str, options: Options) -> Task {
        let file_name = file_name.chars().filter(|c| !c.is_control()).take(200).collect();
        let source = Source::Upload(file, self.max_unpacked_bytes);
        Task { source, file_name, asker, options, settings: self.settings.clone() }
    }

    /// Enters a job and lets it run.
    pub(super) async fn enter(&self, tenant: &Tenant, task: Task) -> Result<Uuid, StartError> {
        let record = JobRecord { tenant: tenant.clone(), id: Uuid::now_v7() };
        self.enter_as(record, self.place(tenant)?, task).await
    }

    /// The same, with an id and a place that are there already.
    pub(super) async fn enter_as(&self, record: JobRecord, place: Place, task: Task) -> Result<Uuid, StartError> {
        let intake = self.clone();
        // In a task of its own, which goes on when the client goes away: a job that is entered is run.
        let entered = tokio::spawn(async move {
            let import = Import::accept(&intake.log, record, task, place).await?;
            Ok(intake.run(import))
        });
        entered.await.map_err(|error| CommandError::Internal(error.to_string()))?
    }

    pub(super) fn place(&self, tenant: &Tenant) -> Result<Place, StartError> {
        self.queue.place(tenant).ok_or(StartError::Full)
    }

    /// Lets a job run that has been entered.
    pub(super) fn run(&self, import: Import) -> Uuid {
        let id = import.id();
        self.running.enter(id, Watched { progress: import.progress(), cancel: import.cancel() });
        let intake = self.clone();
        tokio::spawn(async move {
            if let Err(error) = import.run().await {
                tracing::error!(%error, job = %id, "an import ended without an outcome");
            }
            intake.running.leave(id);
        });
        id
    }

    /// How far an import of this process is; none when it rests, or runs in another.
    pub fn progress(&self, id: Uuid) -> Option<watch::Receiver<Progress>> {
        self.running.get(id).map(|watched| watched.progress)
    }

    /// Tells an import of this process that its job has been cancelled.
    pub(super) fn cancelled(&self, id: Uuid) {
        if let Some(watched) = self.running.get(id) {
            watched.cancel.send_replace(true);
        }
    }

    /// Waits until an import of this process has ended or waits for a decision, no longer than [`LONGEST_WAIT`].
    pub async fn wait(&self, id: Uuid, seconds: u64) {
        if let Some(mut progress) = self.progress(id).filter(|_| seconds > 0) {
            let ended = async { while progress.changed().await.is_ok() {} };
            let _ = tokio::time::timeout(Duration::from_secs(seconds.min(LONGEST_WAIT)), ended).await;
        }
    }
}

impl Running {
    fn get(&self, id: Uuid) -> Option<Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
    fn enter(&self, id: Uuid, watched: Watched) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, watched);
    }
    fn leave(&self, id: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
