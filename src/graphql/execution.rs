//! One operation being answered: its plan, and the snapshot it reads.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::error::{Code, Refusal};
use super::load::{LoadedRoot, Loader};
use super::plan::{AsOf, Plan, RootTarget};
use crate::access::Seen;
use crate::log::{Log, Tenant};
use crate::query::related::Snapshot;

/// How long an operation is held until the log reaches the position it asks for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What resolvers find in their context.
pub struct Execution {
    pub log: Log,
    pub tenant: Tenant,
    pub plan: Plan,
    /// Entries on a page.
    pub max_page: i64,
    /// How long a statement may take.
    time: Duration,
    read: OnceCell<Result<Read, Refusal>>,
    /// What fields have done by themselves.
    besides: Mutex<Option<Done>>,
    /// Whose data fields were given.
    seen: Mutex<Seen>,
}

/// What was read.
struct Read {
    done: Done,
    roots: HashMap<String, LoadedRoot>,
}

/// What an operation has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Of the roster that it read, or left behind.
    pub position: i64,
    pub statements: u64,
    pub records: u64,
}

impl Done {
    fn and(self, other: Self) -> Self {
        Self {
            position: self.position.max(other.position),
            statements: self.statements + other.statements,
            records: self.records + other.records,
        }
    }
}

impl Execution {
    /// Statements that take longer than `time` are ended, unless it is zero.
    /// `seen`: where people are gathered.
    pub fn new(log: Log, tenant: Tenant, plan: Plan, max_page: i64, time: Duration, seen: Seen) -> Self {
        let (read, besides) = (OnceCell::new(), Mutex::default());
        Self { log, tenant, plan, max_page, time, read, besides, seen: Mutex::new(seen) }
    }

    /// A field of `Query`, by its key. All are read with the first.
    pub async fn root(&self, key: &str) -> Result<&LoadedRoot, Refusal> {
        if let Some(RootTarget::Refused(refusal)) = self.plan.roots.iter().find(|r| r.key == key).map(|r| &r.target) {
            return Err(refusal.clone());
        }
        self.read().await?.roots.get(key).ok_or_else(|| Refusal::new(Code::Internal, "The hub failed."))
    }

    /// The position at which the operation reads. What fields read from the log and its history up to there stands for
    /// good, so it needs no transaction to be of one snapshot with the rest.
    pub async fn position(&self) -> Result<i64, Refusal> {
        Ok(self.read().await?.done.position)
    }

    async fn read(&self) -> Result<&Read, Refusal> {
        self.read.get_or_init(|| self.read_all()).await.as_ref().map_err(Refusal::clone)
    }

    /// What was read or written, if anything was.
    pub fn done(&self) -> Option<Done> {
        let read = self.read.get().and_then(|read| Some(read.as_ref().ok()?.done));
        let besides = *self.besides.lock().unwrap_or_else(PoisonError::into_inner);
        match (read, besides) {
            (Some(read), Some(besides)) => Some(read.and(besides)),
            (read, besides) => read.or(besides),
        }
    }

    /// Adds what a field has done by itself: one of `Mutation`, or one that reads the log.
    pub fn add(&self, done: Done) {
        let mut besides = self.besides.lock().unwrap_or_else(PoisonError::into_inner);
        *besides = Some(besides.unwrap_or_default().and(done));
    }

    /// Whose data was read so far.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds whose data a field has read.
    pub fn saw(&self, saw: impl FnOnce(&mut Seen)) {
        saw(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Why nothing could be read.
    pub fn failed(&self) -> Option<&Refusal> {
        self.read.get()?.as_ref().err()
    }

    async fn read_all(&self) -> Result<Read, Refusal> {
        if let Some(position) = self.plan.at_least {
            let reached = self.log.wait_beyond(&self.tenant, position - 1);
            match tokio::time::timeout(PATIENCE, reached).await {
                Ok(head) => head.map(drop)?,
                Err(_) => {
                    let message = format!("The log has not reached position {position} yet; ask again.");
                    return Err(Refusal::new(Code::PositionNotReached, message));
                }
            }
        }
        let asked = match self.plan.as_of {
            None => None,
            Some(AsOf::Position(position)) => Some(position),
            Some(AsOf::Time(time)) => Some(self.log.position_at(&self.tenant, time).await?),
        };
        let mut tx = self.log.db().snapshot(&self.tenant).await?;
        let sql = "select head, set_config('statement_timeout', $2, true) from tenants where tenant = $1";
        let (head, _): (i64, String) = sqlx::query_as(sql)
            .bind(self.tenant.as_str())
            .bind(self.time.as_millis().to_string())
            .fetch_one(&mut *tx)
            .await?;
        if let Some(position) = asked.filter(|position| *position > head) {
            return Err(Refusal::input(format!("The log has not reached position {position}.")));
        }
        let as_of = asked.filter(|position| *position < head);
        let mut loader = Loader::new(Snapshot { conn: &mut tx, tenant: &self.tenant, as_of }, self.seen());
        let roots = loader.plan(&self.plan).await?;
        let (statements, records) = (loader.statements, loader.records);
        let found = loader.seen;
        self.saw(|seen| seen.and(found));
        Ok(Read { done: Done { position: as_of.unwrap_or(head), statements, records }, roots })
    }
}
