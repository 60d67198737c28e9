//! The change feed: what happened to the roster, event by event, read from the log from a position on. Nothing is fed
//! from memory alone: what readers share is a window of what was read from the log.

pub mod change;
pub mod cursors;
pub mod diff;
pub mod filter;
pub mod item;
pub mod page;
mod person;
pub mod read;
pub mod recent;
mod school;
pub mod tail;

use std::sync::Arc;
use std::time::Duration;

use crate::log::{Log, Tenant};

pub use change::{Cause, Change, Kind};
pub use filter::Filter;
pub use item::{Item, Shown};
pub use page::{Asked, ToldPage};
pub use read::{Detail, Order, Page};

/// How long a looked-up previous position is remembered: long enough for all that ask at the same event.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What reads the feed. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    log: Log,
    recent: recent::Recent,
    /// Position of the change before another one, by tenant, filter and position.
    before: moka::future::Cache<(Tenant, Filter, i64), i64>,
}

impl Feed {
    pub fn new(log: Log) -> Self {
        let before = moka::future::Cache::builder().max_capacity(10_000).time_to_live(REMEMBERED).build();
        Self { log, recent: recent::Recent::default(), before }
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Position of the last change before `position` in this filter; 0 when there is none. Those who ask for the same
    /// at once are answered by one statement.
    pub async fn previous(&self, tenant: &Tenant, filter: &Filter, position: i64) -> Result<i64, Arc<sqlx::Error>> {
        if filter.is_everything() {
            return Ok(position - 1);
        }
        let key = (tenant.clone(), filter.clone(), position);
        self.before.try_get_with(key, read::previous(&self.log, tenant, filter, position)).await
    }
}
