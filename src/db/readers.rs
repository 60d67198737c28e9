//! Connections kept for short reads. The pool binds a connection when it hands it out and tests it when it gets it
//! back: two round trips, which cost more than a short read does. These stay bound to the tenant they served last, and
//! plan each statement once: planning costs as much again, and for what an index serves it always comes out alike.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{ACQUIRE_TIMEOUT, Db, PLANNED_ONCE};
use crate::log::Tenant;

/// A connection that has rested longer goes through the pool, which finds out whether it still lives.
const FRESH: Duration = Duration::from_secs(1);

/// This part of the pool is kept at most, so that what works long, and never reads by way of these, has the rest.
const PART: u32 = 4;

/// The connections kept, and how many reads may run on them at a time.
pub(super) struct Readers {
    places: Semaphore,
    /// The one used last stands last.
    rested: Mutex<Vec<Kept>>,
    kept: usize,
}

struct Kept {
    tenant: Tenant,
    conn: PoolConnection<Postgres>,
    since: Instant,
}

/// A connection bound to a tenant, for a read that is short for sure: no other reads as long as all are in use.
/// Dropped without [`Reader::done`], as when the read fails or its caller goes away, it goes back to the pool.
pub struct Reader<'a> {
    readers: &'a Readers,
    tenant: Tenant,
    conn: PoolConnection<Postgres>,
    _place: SemaphorePermit<'a>,
}

impl Readers {
    pub(super) fn new(max_connections: u32) -> Self {
        let kept = (max_connections / PART) as usize;
        Self { places: Semaphore::new(kept.max(1)), rested: Mutex::default(), kept }
    }

    /// A connection of this tenant that may be used as it is. Those that have rested too long go back to the pool.
    fn take(&self, tenant: &Tenant) -> Option<PoolConnection<Postgres>> {
        let mut rested = self.lock();
        rested.retain(|kept| kept.since.elapsed() <= FRESH);
        let at = rested.iter().rposition(|kept| kept.tenant == *tenant)?;
        Some(rested.remove(at).conn)
    }

    fn give(&self, tenant: Tenant, conn: PoolConnection<Postgres>) {
        let mut rested = self.lock();
        if self.kept == 0 || self.places.is_closed() {
            return; // to the pool
        }
        if rested.len() >= self.kept {
            rested.remove(0);
        }
        rested.push(Kept { tenant, conn, since: Instant::now() });
    }

    /// Gives all back to the pool.
    pub(super) fn clear(&self) {
        self.places.close();
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.rested.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Db {
    /// A connection bound to the tenant, for a read that an index serves whole.
    pub async fn reader(&self, tenant: &Tenant) -> Result<Reader<'_>, sqlx::Error> {
        let readers = &*self.readers;
        let place = tokio::time::timeout(ACQUIRE_TIMEOUT, readers.places.acquire()).await;
        let place = place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let conn = match readers.take(tenant) {
            Some(conn) => conn,
            None => PLANNED_ONCE.scope((), self.acquire(tenant)).await?,
        };
        Ok(Reader { readers, tenant: tenant.clone(), conn, _place: place })
    }
}

impl Reader<'_> {
    /// The read is over; nothing of it is left on the connection.
    pub fn done(self) {
        self.readers.give(self.tenant, self.conn);
    }
}

impl Deref for Reader<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Reader<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
