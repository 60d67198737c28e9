//! The imports of this process: so many run at a time, so many wait for their turn.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::record::JobRecord;
use crate::db::Db;
use crate::log::Tenant;

/// Gives imports their turn, in the order of their arrival. Those of one tenant run one after the other: each changes
/// the roster that the one before it left.
pub struct Queue {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    running: usize,
    stopped: AtomicBool,
    tenants: std::sync::Mutex<HashMap<Tenant, Arc<Mutex<()>>>>,
    waiting: Mutex<Waiting>,
}

/// The jobs that wait, and the connection that holds the locks of all of them (see [`JobRecord::hold`]): none of them
/// has a connection of its own, since there may be more of them than connections.
#[derive(Default)]
struct Waiting {
    jobs: Vec<JobRecord>,
    conn: Option<PoolConnection<Postgres>>,
}

/// A place in the queue, from the arrival of an import to its end.
pub struct Place {
    queue: Arc<Queue>,
    _permit: OwnedSemaphorePermit,
}

/// An import's turn.
pub struct Turn {
    _tenant: OwnedMutexGuard<()>,
    _permit: OwnedSemaphorePermit,
}

impl Queue {
    pub fn new(running: usize, waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(running + waiting)),
            turns: Arc::new(Semaphore::new(running)),
            running,
            stopped: AtomicBool::new(false),
            tenants: std::sync::Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// None when the queue is full.
    pub fn place(self: &Arc<Self>) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { queue: self.clone(), _permit: permit })
    }

    /// From now on no import gets its turn.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// Waits, after [`Self::stop`], for the end of the imports that run.
    pub async fn ended(&self) {
        let all = u32::try_from(self.running).unwrap_or(u32::MAX);
        // Those that stand before it are sent away one by one.
        let _ = self.turns.acquire_many(all).await;
    }
}

impl Place {
    /// Keeps a job that waits alive.
    pub async fn hold(&self, db: &Db, job: &JobRecord) -> Result<(), sqlx::Error> {
        let mut waiting = self.queue.waiting.lock().await;
        if let Some(conn) = &mut waiting.conn
            && job.hold(conn).await.is_ok()
        {
            waiting.jobs.push(job.clone());
            return Ok(());
        }
        // The first one, or the connection has been lost, and the locks of the others with it.
        let mut conn = db.pool().acquire().await?;
        conn.close_on_drop();
        for job in waiting.jobs.iter().chain([job]) {
            job.hold(&mut conn).await?;
        }
        waiting.conn = Some(conn);
        waiting.jobs.push(job.clone());
        Ok(())
    }

    /// To be called when another connection holds the job.
    pub async fn release(&self, job: &JobRecord) {
        let mut waiting = self.queue.waiting.lock().await;
        waiting.jobs.retain(|j| j.id != job.id);
        let needed = !waiting.jobs.is_empty();
        if let Some(conn) = &mut waiting.conn
            && !(needed && job.release(conn).await.is_ok())
        {
            waiting.conn = None;
        }
    }

    /// None when the queue has stopped.
    pub async fn turn(&self, tenant: &Tenant) -> Option<Turn> {
        let mutex = {
            let mut tenants = self.queue.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.entry(tenant.clone()).or_default().clone()
        };
        let _tenant = mutex.lock_owned().await;
        let _permit = self.queue.turns.clone().acquire_owned().await.ok()?;
        (!self.queue.stopped.load(Ordering::SeqCst)).then_some(Turn { _tenant, _permit })
    }
}
