//! The imports of this process: so many run at a time, so many wait for their turn, and so many are one tenant's.

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
/// the roster that the one before it left. Only the first of each tenant stands in line for a turn, so that tenants take
/// turns.
pub struct Queue {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
    running: usize,
    per_tenant: usize,
    stopped: AtomicBool,
    lanes: std::sync::Mutex<HashMap<Tenant, Lane>>,
    waiting: Mutex<Waiting>,
}

/// What is one tenant's: places, and the turn.
#[derive(Clone)]
struct Lane {
    places: Arc<Semaphore>,
    turn: Arc<Mutex<()>>,
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
    lane: Lane,
    _permits: [OwnedSemaphorePermit; 2],
}

/// An import's turn.
pub struct Turn {
    _tenant: OwnedMutexGuard<()>,
    _permit: OwnedSemaphorePermit,
}

impl Queue {
    pub fn new(running: usize, waiting: usize, per_tenant: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(running + waiting)),
            turns: Arc::new(Semaphore::new(running)),
            running,
            per_tenant: per_tenant.max(1),
            stopped: AtomicBool::new(false),
            lanes: std::sync::Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    fn lane(&self, tenant: &Tenant) -> Lane {
        let lane = || Lane { places: Arc::new(Semaphore::new(self.per_tenant)), turn: Arc::default() };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.entry(tenant.clone()).or_insert_with(lane).clone()
    }

    /// Whether there is no place for an import of the tenant.
    pub fn is_full(&self, tenant: &Tenant) -> bool {
        self.places.available_permits() == 0 || self.lane(tenant).places.available_permits() == 0
    }

    /// None when the queue is full, or the tenant has as many imports in it as it may.
    pub fn place(self: &Arc<Self>, tenant: &Tenant) -> Option<Place> {
        let lane = self.lane(tenant);
        let own = lane.places.clone().try_acquire_owned().ok()?;
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { queue: self.clone(), lane, _permits: [own, permit] })
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
        // Two may hold the same job for a moment, as when two approve one plan.
        if let Some(held) = waiting.jobs.iter().position(|held| held.id == job.id) {
            waiting.jobs.swap_remove(held);
        }
        let needed = !waiting.jobs.is_empty();
        if let Some(conn) = &mut waiting.conn
            && !(needed && job.release(conn).await.is_ok())
        {
            waiting.conn = None;
        }
    }

    /// None when the queue has stopped.
    pub async fn turn(&self) -> Option<Turn> {
        let _tenant = self.lane.turn.clone().lock_owned().await;
        let _permit = self.queue.turns.clone().acquire_owned().await.ok()?;
        (!self.queue.stopped.load(Ordering::SeqCst)).then_some(Turn { _tenant, _permit })
    }
}
