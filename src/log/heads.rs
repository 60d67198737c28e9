//! Waiting for the log to grow: woken at once by appends in this process, and within a poll by other instances'.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Log, Tenant};
use crate::db::Db;

/// How soon an append of another instance is noticed. One indexed query for all tenants waited for;
/// a NOTIFY in every commit would make all commits queue up behind each other.
const POLL: Duration = Duration::from_millis(100);

/// A head is told from memory when it was asked for no longer ago than this.
const FRESH: Duration = POLL.saturating_mul(3);
/// How long a tenant's head is watched after it was last told.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The heads somebody waits for, or has asked for lately.
pub struct Heads {
    watched: Mutex<HashMap<Tenant, watch::Sender<i64>>>,
    told: moka::sync::Cache<Tenant, watch::Receiver<i64>>,
    /// When all heads were last asked for.
    asked: Mutex<Option<Instant>>,
}

impl Heads {
    pub(super) fn start(db: Db) -> Arc<Self> {
        let told = moka::sync::Cache::builder().time_to_idle(REMEMBERED).build();
        let heads = Arc::new(Self { watched: Mutex::default(), told, asked: Mutex::default() });
        tokio::spawn(poll(Arc::downgrade(&heads), db));
        heads
    }

    /// Tells that a tenant's log has grown to `head`.
    pub(super) fn moved(&self, tenant: &Tenant, head: i64) {
        if let Some(watched) = self.lock().get(tenant) {
            watched.send_if_modified(|known| {
                let grown = head > *known;
                *known = head.max(*known);
                grown
            });
        }
    }

    fn watch(&self, tenant: &Tenant) -> watch::Receiver<i64> {
        self.lock().entry(tenant.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    fn asked(&self, at: Instant) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn is_fresh(&self) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() <= FRESH)
    }

    fn waited_for(&self) -> Vec<String> {
        let mut watched = self.lock();
        watched.retain(|_, sender| sender.receiver_count() > 0);
        watched.keys().map(|t| t.as_str().to_owned()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Tenant, watch::Sender<i64>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn poll(heads: Weak<Heads>, db: Db) {
    let mut ticks = tokio::time::interval(POLL);
    loop {
        ticks.tick().await;
        let before = Instant::now();
        let Some(heads) = heads.upgrade() else { return };
        let tenants = heads.waited_for();
        if tenants.is_empty() {
            continue;
        }
        let moved: Result<Vec<(String, i64)>, _> =
            sqlx::query_as("select tenant, head from tenants where tenant = any($1)")
                .bind(&tenants)
                .fetch_all(db.pool())
                .await;
        if moved.is_ok() {
            heads.asked(before);
        }
        // A database that is away is noticed by those who ask it for something; here the next tick tries again.
        for (tenant, head) in moved.unwrap_or_default() {
            if let Ok(tenant) = tenant.parse() {
                heads.moved(&tenant, head);
            }
        }
    }
}

impl Log {
    /// The head from memory, without asking the database: appends of this process are in it at once, those of others
    /// within [`FRESH`]. `None` when it is not known so well.
    pub fn known_head(&self, tenant: &Tenant) -> Option<i64> {
        let watched = self.heads.told.get_with_by_ref(tenant, || self.heads.watch(tenant));
        let head = *watched.borrow();
        (head > 0 && self.heads.is_fresh()).then_some(head)
    }

    /// The head as it is seen to grow; 0 until it was first seen, which takes a poll at the most. While it is held the
    /// tenant is watched.
    pub fn heads(&self, tenant: &Tenant) -> watch::Receiver<i64> {
        self.heads.watch(tenant)
    }

    /// Waits until the log has passed `position`; gives the head that was seen.
    pub async fn wait_beyond(&self, tenant: &Tenant, position: i64) -> Result<i64, sqlx::Error> {
        let mut watched = self.heads.watch(tenant);
        // Subscribed before asking, so that an append in between is not missed.
        if let Some(head) = self.head(tenant).await?
            && head > position
        {
            return Ok(head);
        }
        match watched.wait_for(|head| *head > position).await {
            Ok(head) => Ok(*head),
            Err(_) => Err(sqlx::Error::WorkerCrashed),
        }
    }
}
