//! Group commit: one append at a time per tenant in this process, taking along what gathered meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use super::append::{AppendError, Appended, Unit};
use super::{Log, Tenant};

/// Most units in one transaction: bounds how long the first of them waits.
const LARGEST_GROUP: usize = 256;

type Answer = oneshot::Sender<Result<Appended, AppendError>>;
type Waiting = (Unit, Answer);

/// The queues of the tenants that are being written to.
#[derive(Default)]
pub struct Queues(Mutex<HashMap<Tenant, mpsc::UnboundedSender<Waiting>>>);

impl Queues {
    pub(super) async fn append(
        self: &Arc<Self>,
        log: &Log,
        tenant: &Tenant,
        unit: Unit,
    ) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(log, tenant, (unit, answer));
        // The worker answers everyone; only a shutdown of the runtime drops it.
        answered.await.unwrap_or(Err(AppendError::Sql(sqlx::Error::WorkerCrashed)))
    }

    fn enqueue(self: &Arc<Self>, log: &Log, tenant: &Tenant, waiting: Waiting) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = match queues.get(tenant) {
            Some(queue) => match queue.send(waiting) {
                Ok(()) => return,
                Err(mpsc::error::SendError(waiting)) => waiting,
            },
            None => waiting,
        };
        let (queue, work) = mpsc::unbounded_channel();
        if queue.send(waiting).is_ok() {
            queues.insert(tenant.clone(), queue);
            tokio::spawn(drain(self.clone(), log.clone(), tenant.clone(), work));
        }
    }

    /// Ends an idle tenant's queue. Under the lock, so that nothing can be sent to a queue that has ended.
    fn retire(&self, tenant: &Tenant, work: &mut mpsc::UnboundedReceiver<Waiting>) -> bool {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = work.is_empty();
        if idle {
            queues.remove(tenant);
        }
        idle
    }
}

async fn drain(queues: Arc<Queues>, log: Log, tenant: Tenant, mut work: mpsc::UnboundedReceiver<Waiting>) {
    let mut group = Vec::new();
    loop {
        if work.is_empty() && queues.retire(&tenant, &mut work) {
            return;
        }
        if work.recv_many(&mut group, LARGEST_GROUP).await == 0 {
            return;
        }
        let (units, answers): (Vec<Unit>, Vec<Answer>) = group.drain(..).unzip();
        match commit(&log, &tenant, &units).await {
            Ok(appended) => {
                for (answer, appended) in answers.into_iter().zip(appended) {
                    let _ = answer.send(Ok(appended));
                }
            }
            // One of them is at fault: each alone, so that the others do not suffer for it.
            Err(_) if units.len() > 1 => {
                for (unit, answer) in units.iter().zip(answers) {
                    let alone = commit(&log, &tenant, std::slice::from_ref(unit)).await;
                    let _ = answer.send(alone.map(|appended| appended[0]));
                }
            }
            Err(error) => {
                if let Some(answer) = answers.into_iter().next() {
                    let _ = answer.send(Err(error));
                }
            }
        }
    }
}

async fn commit(log: &Log, tenant: &Tenant, units: &[Unit]) -> Result<Vec<Appended>, AppendError> {
    let mut tx = log.begin(tenant).await?;
    let appended = tx.append_units(units).await?;
    tx.commit().await?;
    Ok(appended)
}
