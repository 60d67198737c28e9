//! A page of the feed, each change with the one before it: what GraphQL and REST answer with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tail::Told;
use super::{Detail, Feed, Filter, Order, read};
use crate::log::Tenant;

/// Statements that one page may take when its filter passes little.
const STEPS: u64 = 20;
/// No further statement is begun after this time.
const TIME: Duration = Duration::from_secs(2);
/// Changes of a page take about so many bytes at most.
const BYTES: usize = 8 << 20;

/// What a page is asked for.
pub struct Asked<'a> {
    pub tenant: &'a Tenant,
    pub filter: &'a Filter,
    /// The records before are wanted.
    pub values: bool,
    /// The previous positions are wanted.
    pub previous: bool,
    /// After this position, up to that one, which the log has reached.
    pub range: (i64, i64),
    pub limit: usize,
    /// Which of them come first. Previous positions are for [`Order::Asc`].
    pub order: Order,
    /// Position of the filter's last change up to the beginning of the range, where it is known.
    pub last: Option<i64>,
}

/// Changes in the order of positions.
#[derive(Debug, Default)]
pub struct ToldPage {
    pub told: Vec<Told>,
    /// There is no other change of the filter up to here: the next page goes on after it. It is the end of the range
    /// unless the page was cut short, by its limit or by what one page may cost. With [`Order::Desc`], there is none
    /// after here, and the next page is of the positions up to it.
    pub to: i64,
    /// Statements that it took.
    pub statements: u64,
}

impl Feed {
    /// The changes of a range, at most `limit`. A page may be short, or empty, and yet not reach the range's end.
    pub async fn page(&self, asked: &Asked<'_>) -> Result<ToldPage, Arc<sqlx::Error>> {
        let detail = if asked.values { Detail::Values } else { Detail::Plain };
        let mut left = asked.range;
        let mut page = ToldPage { to: if asked.order == Order::Asc { left.0 } else { left.1 }, ..ToldPage::default() };
        let (begin, mut bytes, mut last) = (Instant::now(), 0, asked.last);
        let within = |page: &ToldPage, left: (i64, i64), bytes| {
            left.0 < left.1
                && page.told.len() < asked.limit
                && page.statements < STEPS
                && bytes < BYTES
                && begin.elapsed() < TIME
        };
        while within(&page, left, bytes) {
            let room = asked.limit - page.told.len();
            page.statements += 1;
            let step = read::read_in(asked.order, &self.log, asked.tenant, asked.filter, detail, left, room).await?;
            page.to = step.to;
            left = asked.order.rest(left, step.to);
            bytes += step.bytes;
            for change in step.changes {
                let previous = match (asked.previous, last) {
                    (false, _) => None,
                    (true, Some(last)) => Some(last),
                    (true, None) => {
                        page.statements += 1;
                        Some(self.previous(asked.tenant, asked.filter, change.position).await?)
                    }
                };
                last = Some(change.position);
                page.told.push(Told { change: Arc::new(change), previous });
            }
        }
        Ok(page)
    }
}
