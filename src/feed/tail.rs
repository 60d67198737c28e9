//! Following the feed: from a position to the end, and on as the log grows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::{Stream, stream};
use tokio::sync::watch;

use super::{Change, Detail, Feed, Filter};
use crate::db::is_unavailable;
use crate::log::Tenant;

/// How long a follower waits before it asks a database again that is away.
const AWAY: Duration = Duration::from_millis(500);

/// A change as a follower is told of it.
#[derive(Clone, Debug)]
pub struct Told {
    pub change: Arc<Change>,
    /// Position of the change before it in the same filter, 0 for the first one of all; `None` unless asked for.
    pub previous: Option<i64>,
}

/// What to follow.
pub struct Tail {
    pub tenant: Tenant,
    pub filter: Filter,
    /// The records before are wanted.
    pub values: bool,
    /// The previous positions are wanted.
    pub previous: bool,
    /// Where to begin.
    pub after: i64,
    /// Set to the position up to which the follower has been told everything.
    pub reached: Arc<AtomicI64>,
}

struct Follower {
    feed: Feed,
    tail: Tail,
    detail: Detail,
    heads: watch::Receiver<i64>,
    queue: VecDeque<Arc<Change>>,
    to: i64,
    /// The change told last.
    last: Option<i64>,
}

impl Feed {
    /// Every change of the filter after a position, once and in order, without end. It reads when it is asked for the
    /// next one and holds one step of changes at most, so a slow reader costs no memory; while nothing happens it
    /// holds a watch on the head and nothing else. A database that is away is waited for.
    pub fn tail(&self, tail: Tail) -> impl Stream<Item = Result<Told, Arc<sqlx::Error>>> + Send + use<> {
        let detail = match tail.values || tail.filter.school().is_some() {
            true => Detail::Full,
            false => Detail::Plain,
        };
        let heads = self.log.heads(&tail.tenant);
        let to = tail.after;
        let follower = Follower { feed: self.clone(), tail, detail, heads, queue: VecDeque::new(), to, last: None };
        stream::try_unfold(follower, |mut follower| async move {
            let told = follower.next().await?;
            Ok(Some((told, follower)))
        })
    }
}

impl Follower {
    async fn next(&mut self) -> Result<Told, Arc<sqlx::Error>> {
        loop {
            if let Some(change) = self.queue.front().cloned() {
                let previous = match (self.tail.previous, self.last) {
                    (false, _) => None,
                    (true, Some(last)) => Some(last),
                    (true, None) => {
                        match self.feed.previous(&self.tail.tenant, &self.tail.filter, change.position).await {
                            Ok(previous) => Some(previous),
                            Err(error) => {
                                wait_out(error).await?;
                                continue;
                            }
                        }
                    }
                };
                self.queue.pop_front();
                self.last = Some(change.position);
                self.tail.reached.store(change.position, Ordering::Relaxed);
                return Ok(Told { change, previous });
            }
            self.queue = VecDeque::new(); // an idle follower keeps no room
            self.tail.reached.store(self.to, Ordering::Relaxed);
            let to = self.to;
            let head = match self.heads.wait_for(|head| *head > to).await {
                Ok(head) => *head,
                Err(_) => return Err(Arc::new(sqlx::Error::WorkerCrashed)),
            };
            match self.feed.step(&self.tail.tenant, &self.tail.filter, self.detail, (to, head)).await {
                Ok(step) => (self.queue, self.to) = (step.changes, step.to),
                Err(error) => wait_out(Arc::new(error)).await?,
            }
        }
    }
}

/// Waits a moment when the database is away; any other error is given back.
async fn wait_out(error: Arc<sqlx::Error>) -> Result<(), Arc<sqlx::Error>> {
    if !is_unavailable(&error) {
        return Err(error);
    }
    tokio::time::sleep(AWAY).await;
    Ok(())
}
