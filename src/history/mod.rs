//! History for auditors: the life of records as a timeline, and past rosters made anew from the events alone.
//!
//! `ask` reads what is asked for, `entry` makes an event of the timeline, `form` its text; `replay` copies a log up to a
//! position. See docs/history.md.

pub mod ask;
pub mod entry;
pub mod form;
pub mod replay;

use std::sync::Arc;

use crate::feed::tail::Told;
use crate::feed::{Asked, Feed, ToldPage};
use crate::log::Tenant;
use ask::Found;

/// Events read at a time where all are asked for.
const STEP: usize = 500;

/// Reads a timeline to its end, a step at a time.
pub struct Reading {
    pub feed: Feed,
    pub tenant: Tenant,
    pub found: Found,
    /// Events that are still wanted.
    pub limit: usize,
}

impl Reading {
    /// Events of the timeline, at most `limit`. A page may be short, or empty, and yet have a next one.
    pub async fn page(&self, limit: usize) -> Result<ToldPage, Arc<sqlx::Error>> {
        let Found { filter, range, order, .. } = &self.found;
        let asked = Asked {
            tenant: &self.tenant,
            filter,
            values: true,
            previous: false,
            range: *range,
            limit,
            order: *order,
            last: None,
        };
        self.feed.page(&asked).await
    }

    /// The next events; none when all have been read.
    pub async fn next(&mut self) -> Result<Option<Vec<Told>>, Arc<sqlx::Error>> {
        if self.found.range.0 >= self.found.range.1 || self.limit == 0 {
            return Ok(None);
        }
        let page = self.page(self.limit.min(STEP)).await?;
        self.found.range = self.found.order.rest(self.found.range, page.to);
        self.limit -= page.told.len();
        Ok(Some(page.told))
    }
}
