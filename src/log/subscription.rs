//! Named readers of the log with a stored checkpoint: at least once, resumable, one instance at a time.

use std::future::Future;

use super::{Log, RecordedEvent, Tenant};

/// A named reader of one tenant's log.
#[derive(Clone)]
pub struct Subscription {
    log: Log,
    tenant: Tenant,
    name: String,
}

/// What became of an attempt to handle a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Handled {
    /// A batch was handled; the checkpoint stands at this position.
    UpTo(i64),
    /// Nothing new: the checkpoint is the head.
    Idle(i64),
    /// Another instance holds the subscription at the moment.
    Elsewhere,
}

impl Log {
    /// The subscription of this name; it begins at `start` if it has never been seen.
    pub async fn subscription(&self, tenant: &Tenant, name: &str, start: i64) -> Result<Subscription, sqlx::Error> {
        let mut conn = self.db.acquire(tenant).await?;
        sqlx::query("insert into subscriptions (tenant, name, position) values ($1, $2, $3) on conflict do nothing")
            .bind(tenant.as_str())
            .bind(name)
            .bind(start)
            .execute(&mut *conn)
            .await?;
        Ok(Subscription { log: self.clone(), tenant: tenant.clone(), name: name.to_owned() })
    }
}

impl Subscription {
    /// Handles the next batch, if there is one and no other instance is at it. The checkpoint moves when the
    /// handler has succeeded; if it fails, or the process dies, the same events come again.
    pub async fn handle<F, Fut, E>(&self, limit: i64, handler: F) -> Result<Handled, E>
    where
        F: FnOnce(Vec<RecordedEvent>) -> Fut,
        Fut: Future<Output = Result<(), E>>,
        E: From<sqlx::Error>,
    {
        let mut tx = self.log.db.begin(&self.tenant).await?;
        let position: Option<i64> = sqlx::query_scalar(
            "select position from subscriptions where tenant = $1 and name = $2 for update skip locked",
        )
        .bind(self.tenant.as_str())
        .bind(&self.name)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(position) = position else {
            return Ok(Handled::Elsewhere);
        };
        let events = super::read::read(&mut tx, &self.tenant, position, limit).await?;
        let Some(last) = events.last().map(|e| e.position) else {
            return Ok(Handled::Idle(position));
        };
        handler(events).await?;
        sqlx::query("update subscriptions set position = $3, updated_at = now() where tenant = $1 and name = $2")
            .bind(self.tenant.as_str())
            .bind(&self.name)
            .bind(last)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Handled::UpTo(last))
    }

    /// Waits until there is something after `position`.
    pub async fn wait(&self, position: i64) -> Result<i64, sqlx::Error> {
        self.log.wait_beyond(&self.tenant, position).await
    }
}
