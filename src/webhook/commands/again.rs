//! The delivery log of an endpoint, and sending again.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Since, WebhookError, invalid};
use crate::auth::Client;
use crate::webhook::deliveries::{self, Again, Attempt, Listed, Selection};
use crate::webhook::statistics::{Statistics, statistics};
use crate::webhook::{Webhooks, lanes};

impl Webhooks {
    /// Messages of an endpoint, the youngest first.
    pub async fn deliveries(
        &self,
        client: &Client,
        id: Uuid,
        selection: &Selection,
    ) -> Result<Vec<Listed>, WebhookError> {
        self.find(client, id).await?;
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        Ok(deliveries::list(&mut conn, &client.tenant, id, selection).await?)
    }

    /// One message and its attempts.
    pub async fn delivery(
        &self,
        client: &Client,
        id: Uuid,
        message: &str,
    ) -> Result<(Listed, Vec<Attempt>), WebhookError> {
        self.find(client, id).await?;
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        let found = deliveries::find(&mut conn, &client.tenant, id, message).await?;
        found.ok_or(WebhookError::Unknown("message"))
    }

    /// How deliveries to an endpoint have gone since then.
    pub async fn statistics(
        &self,
        client: &Client,
        id: Uuid,
        since: DateTime<Utc>,
    ) -> Result<Statistics, WebhookError> {
        self.find(client, id).await?;
        Ok(statistics(&self.log, &client.tenant, id, since, Utc::now()).await?)
    }

    /// Attempts to deliver messages of an endpoint, each with the message's sequence.
    pub async fn attempts(
        &self,
        client: &Client,
        id: Uuid,
        sequences: &[i64],
    ) -> Result<Vec<(i64, Attempt)>, WebhookError> {
        self.find(client, id).await?;
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        Ok(deliveries::attempts(&mut conn, &client.tenant, id, sequences).await?)
    }

    /// How many messages of an endpoint are in each state.
    pub async fn counts(&self, client: &Client, id: Uuid) -> Result<Vec<(String, i64)>, WebhookError> {
        self.find(client, id).await?;
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        Ok(deliveries::counts(&mut conn, &client.tenant, id).await?)
    }

    /// Sends a message once more, whatever became of it; how many messages that are.
    pub async fn resend(&self, client: &Client, id: Uuid, message: &str) -> Result<u64, WebhookError> {
        self.delivery(client, id, message).await?;
        self.again(client, id, Again::Message(message)).await
    }

    /// Sends what failed since a position or time once more; how many messages that are.
    pub async fn recover(&self, client: &Client, id: Uuid, since: Since) -> Result<u64, WebhookError> {
        self.find(client, id).await?;
        let after = self.begin(client, since).await?;
        self.again(client, id, Again::FailedSince(after)).await
    }

    /// Tells all after a position or time again, under new ids.
    pub async fn replay(&self, client: &Client, id: Uuid, since: Since) -> Result<(), WebhookError> {
        self.find(client, id).await?;
        let after = self.begin(client, since).await?;
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        lanes::replay(&mut conn, id, after).await?;
        drop(conn);
        self.kick();
        Ok(())
    }

    async fn begin(&self, client: &Client, since: Since) -> Result<i64, WebhookError> {
        let head = self.log.head(&client.tenant).await?.unwrap_or_default();
        match (since.after, since.since) {
            (Some(after), None) if (0..=head).contains(&after) => Ok(after),
            (None, Some(time)) => Ok(self.log.position_at(&client.tenant, time).await?),
            _ => Err(invalid("after", "Say after, a log position that has been reached, or since, a time.")),
        }
    }

    async fn again(&self, client: &Client, id: Uuid, again: Again<'_>) -> Result<u64, WebhookError> {
        let mut tx = self.log.db().begin(&client.tenant).await?;
        let messages = deliveries::again(&mut tx, &client.tenant, id, again).await?;
        lanes::touched(&mut tx, id).await?;
        tx.commit().await?;
        self.kick();
        Ok(messages)
    }
}
