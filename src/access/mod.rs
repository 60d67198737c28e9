//! The access log: who received whose personal data, when, by which query. Gateways hand entries in; a task in the
//! background writes them. See docs/access.md.

pub mod care;
pub mod entry;
mod recorder;
pub mod report;
pub mod search;
mod store;

use std::sync::Arc;

use tokio::sync::watch;
use uuid::Uuid;

use crate::config::AccessConfig;
use crate::log::{Log, Tenant};
pub use entry::{Asked, Entry, People, Recipient, Seen, Via};
use recorder::Recorder;
use store::Completed;

/// What gateways record reads with. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    log: Log,
    settings: Arc<AccessConfig>,
    /// None: the log is off.
    recorder: Option<Arc<Recorder>>,
}

impl Access {
    pub fn new(log: Log, settings: &AccessConfig) -> Self {
        let recorder = settings.log.then(|| Arc::new(Recorder::new(settings)));
        Self { log, settings: Arc::new(settings.clone()), recorder }
    }

    /// People that an entry lists, at most. None: the log is off, and nothing needs to be found out for it.
    pub fn most(&self) -> Option<usize> {
        self.recorder.as_ref().map(|_| self.settings.people)
    }

    /// Hands an entry in, which is made only if the log is on, for so many people at most. Never waits.
    pub fn record(&self, entry: impl FnOnce(usize) -> Entry) {
        if let Some(recorder) = &self.recorder {
            recorder.record(entry(self.settings.people));
        }
    }

    /// What was not known when an entry was handed in: records, people.
    pub fn complete(&self, tenant: &Tenant, id: Uuid, records: u64, persons: u64) {
        if let Some(recorder) = &self.recorder {
            recorder.complete(Completed { tenant: tenant.clone(), id, records, persons });
        }
    }

    /// A reader who is told of one change after the other.
    pub fn follow(&self, tenant: &Tenant, asked: Asked) -> Following {
        Following {
            recorder: self.recorder.clone(),
            id: Uuid::now_v7(),
            tenant: tenant.clone(),
            asked: Arc::new(asked),
        }
    }

    /// Waits until all that was handed in is written. False: it took too long.
    pub async fn settled(&self) -> bool {
        match &self.recorder {
            Some(recorder) => recorder.settled().await,
            None => true,
        }
    }

    /// Writes what is handed in, until told to stop; then what is left.
    pub async fn write(self, stop: watch::Receiver<bool>) {
        if let Some(recorder) = &self.recorder {
            recorder.run(&self.log, stop).await;
        }
    }

    /// Writes one entry, of a program that does nothing else.
    pub async fn write_now(log: &Log, settings: &AccessConfig, entry: Entry) -> Result<(), sqlx::Error> {
        match settings.log {
            true => store::Store::default().write(log, &entry.tenant.clone(), &[entry], &[]).await,
            false => Ok(()),
        }
    }
}

/// A reader of a stream. What it is told within a second or so is one entry.
#[derive(Clone)]
pub struct Following {
    recorder: Option<Arc<Recorder>>,
    id: Uuid,
    tenant: Tenant,
    asked: Arc<Asked>,
}

impl Following {
    /// It is told something at a position; none: that is not of a person.
    pub fn told(&self, person: Option<&str>, position: i64) {
        if let (Some(recorder), Some(person)) = (&self.recorder, person) {
            recorder.told(self, person, position);
        }
    }
}
