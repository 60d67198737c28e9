//! The background projection that keeps the trees: it follows the log of every tenant, and signs checkpoints.

use std::time::Duration;

use tokio::sync::watch;

use super::tree::Grown;
use super::{Audit, AuditError};
use crate::csv::care::pause;
use crate::log::Tenant;

/// How long to wait for another instance that is at the tree.
const ELSEWHERE: Duration = Duration::from_millis(20);

impl Audit {
    /// Follows all logs until told to stop. Several instances may do so: one at a time is at a tree.
    pub async fn keep(self, seconds: f64, mut stop: watch::Receiver<bool>) {
        let period = Duration::from_secs_f64(seconds.max(0.01));
        while pause(period, &mut stop).await {
            let tenants = match self.behind().await {
                Ok(tenants) => tenants,
                Err(error) => {
                    tracing::warn!(%error, "audit trees could not be looked at");
                    continue;
                }
            };
            for tenant in tenants {
                if let Err(error) = self.follow(&tenant, &stop).await {
                    tracing::error!(%tenant, %error, "the audit tree cannot grow");
                }
            }
        }
    }

    /// Tenants with events that their trees do not hold, or with trees of which there is no checkpoint.
    async fn behind(&self) -> Result<Vec<Tenant>, sqlx::Error> {
        let names: Vec<String> = sqlx::query_scalar(
            "select t.tenant from tenants t left join audit_trees a on a.tenant = t.tenant
              where t.head > 0 and (a.size is null or a.size < t.head or a.size > a.signed)
              order by t.tenant",
        )
        .fetch_all(self.log.db().pool())
        .await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Grows a tree up to the head, then signs.
    async fn follow(&self, tenant: &Tenant, stop: &watch::Receiver<bool>) -> Result<(), AuditError> {
        loop {
            match self.grow(tenant).await? {
                Grown::To(_) if *stop.borrow() => return Ok(()),
                Grown::To(_) => {}
                Grown::Whole(_) => return self.sign(tenant, true).await.map(drop),
                Grown::Elsewhere => return Ok(()),
            }
        }
    }

    /// Grows a tree up to the head as it stands, and signs it.
    pub async fn catch_up(&self, tenant: &Tenant) -> Result<(), AuditError> {
        let head = self.log.head(tenant).await?.unwrap_or(0);
        while self.size(tenant).await? < head {
            match self.grow(tenant).await? {
                Grown::Elsewhere => tokio::time::sleep(ELSEWHERE).await,
                // Events are missing at the end of the log.
                Grown::Whole(size) if size < head => return Err(AuditError::NotYet { position: head, size }),
                Grown::To(_) | Grown::Whole(_) => {}
            }
        }
        self.sign(tenant, false).await.map(drop)
    }
}
