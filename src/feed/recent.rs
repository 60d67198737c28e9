//! What many readers of one tenant read at once is read once: a bounded window of the log's end, filled from the log.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Change, Detail, Feed, Filter, read};
use crate::log::Tenant;

/// Changes that a window holds, and bytes, about.
const CHANGES: usize = 2_000;
const BYTES: usize = 4 << 20;
/// Changes that a reader takes at a time.
const STEP: usize = 200;
/// A window that nobody has looked into for so long is dropped.
const KEPT: Duration = Duration::from_secs(60);

/// The windows of all tenants.
#[derive(Clone)]
pub struct Recent(moka::sync::Cache<(Tenant, Detail), Arc<Window>>);

impl Default for Recent {
    fn default() -> Self {
        Self(moka::sync::Cache::builder().max_capacity(1_000).time_to_idle(KEPT).build())
    }
}

/// Every event of a range of positions, whatever the filters of its readers.
#[derive(Default)]
pub struct Window {
    held: Mutex<Held>,
    /// Held by the one reader that fills it.
    filling: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Held {
    /// The changes after `from` up to `to`, without a gap.
    from: i64,
    to: i64,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

/// What a reader goes on with.
pub struct Step {
    pub changes: VecDeque<Arc<Change>>,
    /// Looked at up to here.
    pub to: i64,
}

/// Where a window stands for a reader.
enum Look {
    Here(Step),
    /// At its end: it has to be filled.
    End,
    /// Before its beginning.
    Behind,
}

impl Window {
    fn look(&self, filter: &Filter, after: i64) -> Look {
        let held = self.held();
        if after < held.from {
            return Look::Behind;
        }
        let skip = usize::try_from(after - held.from).unwrap_or(usize::MAX);
        if skip >= held.changes.len() {
            return Look::End;
        }
        let taken = STEP.min(held.changes.len() - skip);
        let changes = held.changes.iter().skip(skip).take(taken).filter(|change| filter.passes(change)).cloned();
        Look::Here(Step { changes: changes.collect(), to: after + taken as i64 })
    }

    /// Adds what was read after `after`. A window that does not reach there begins anew.
    fn add(&self, after: i64, page: read::Page) {
        let mut held = self.held();
        if held.to != after {
            *held = Held { from: after, to: after, ..Held::default() };
        }
        held.to = page.to;
        for change in page.changes {
            held.bytes += size(&change);
            held.changes.push_back(Arc::new(change));
        }
        while held.changes.len() > CHANGES || (held.bytes > BYTES && held.changes.len() > STEP) {
            let Some(first) = held.changes.pop_front() else { break };
            held.bytes -= size(&first);
            held.from = first.position;
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that a change takes, about.
fn size(change: &Change) -> usize {
    300 + change.after.get().len() + change.before.as_ref().map_or(0, |before| before.get().len())
}

impl Feed {
    /// The next changes after `after`, where the head is known to be `head`: from the shared window when the reader is
    /// near the end, by a statement of its own when it is behind.
    pub async fn step(
        &self,
        tenant: &Tenant,
        filter: &Filter,
        detail: Detail,
        (after, head): (i64, i64),
    ) -> Result<Step, sqlx::Error> {
        if head - after <= CHANGES as i64 {
            let window = self.recent.0.get_with((tenant.clone(), detail), Arc::default);
            match window.look(filter, after) {
                Look::Here(step) => return Ok(step),
                Look::Behind => {}
                Look::End => {
                    let _filling = window.filling.lock().await;
                    // Another may have filled it meanwhile.
                    let mut look = window.look(filter, after);
                    if matches!(look, Look::End) {
                        let everything = Filter::everything();
                        let page = read::read(&self.log, tenant, &everything, detail, (after, head), STEP).await?;
                        window.add(after, page);
                        look = window.look(filter, after);
                    }
                    if let Look::Here(step) = look {
                        return Ok(step);
                    }
                }
            }
        }
        let page = read::read(&self.log, tenant, filter, detail, (after, head), STEP).await?;
        Ok(Step { changes: page.changes.into_iter().map(Arc::new).collect(), to: page.to })
    }
}
