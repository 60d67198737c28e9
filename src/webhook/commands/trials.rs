//! Messages that are sent at once, outside an endpoint's chain: the challenge and the test.

use chrono::Utc;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{UNKNOWN, WebhookError, invalid, unusable};
use crate::auth::Client;
use crate::webhook::endpoint::{self, Endpoint, State};
use crate::webhook::sender::{Outcome, Request};
use crate::webhook::signature::sign;
use crate::webhook::{Webhooks, keys, lanes, message};

/// What became of a challenge or a test.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookTrial", deny_unknown_fields)]
pub struct Trial {
    /// It was answered as it should be.
    pub ok: bool,
    /// Of the answer, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub latency_ms: f64,
    /// The beginning of the answer.
    pub excerpt: String,
    /// Of the endpoint, now.
    pub state: State,
}

impl Trial {
    fn new(outcome: &Outcome, ok: bool, wrong: Option<&str>, state: State) -> Self {
        let failure = outcome.failure.map(|failure| match &outcome.detail {
            Some(detail) => format!("{failure}: {detail}"),
            None => failure.to_string(),
        });
        Self {
            ok,
            status: outcome.status,
            failure: failure.or_else(|| wrong.map(str::to_owned)),
            latency_ms: outcome.latency.as_secs_f64() * 1_000.0,
            excerpt: outcome.excerpt.clone(),
            state,
        }
    }
}

impl Webhooks {
    /// Sends the challenge. An address that repeats it is delivered to from now on.
    pub async fn verify(&self, client: &Client, id: Uuid) -> Result<Trial, WebhookError> {
        let endpoint = self.find(client, id).await?;
        let data = json!({ "endpoint": id, "challenge": endpoint.challenge });
        let outcome = self.aside(client, &endpoint, "endpoint.verification", &data).await?;
        if !repeats(&outcome, &endpoint.challenge) {
            let wrong = "the answer does not repeat the challenge";
            return Ok(Trial::new(&outcome, false, Some(wrong), endpoint.state));
        }
        let mut tx = self.log.db().begin(&client.tenant).await?;
        let state = endpoint::verified(&mut tx, &client.tenant, id, &endpoint.challenge).await?.ok_or(UNKNOWN)?;
        lanes::changed(&mut tx, id, state == State::Active).await?;
        tx.commit().await?;
        self.kick();
        Ok(Trial::new(&outcome, true, None, state))
    }

    /// Sends an `endpoint.test` at once, whatever state the endpoint is in.
    pub async fn test(&self, client: &Client, id: Uuid) -> Result<Trial, WebhookError> {
        let endpoint = self.find(client, id).await?;
        let outcome = self.aside(client, &endpoint, "endpoint.test", &json!({ "endpoint": id })).await?;
        Ok(Trial::new(&outcome, outcome.delivered(), None, endpoint.state))
    }

    /// Sends a message that is not part of the chain.
    async fn aside(
        &self,
        client: &Client,
        endpoint: &Endpoint,
        kind: &str,
        data: &Value,
    ) -> Result<Outcome, WebhookError> {
        let url = self.sender.check_url(&endpoint.url).map_err(|bad| invalid("url", bad))?;
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        let keys = keys::current(&mut conn, &client.tenant, &self.vault, endpoint.id).await.map_err(unusable)?;
        drop(conn);
        let headers = self.opened(endpoint)?;
        let head = self.log.head(&client.tenant).await?.unwrap_or_default();
        let (id, body) = message::aside(&client.tenant, kind, head, data);
        let timestamp = Utc::now().timestamp();
        let signature = sign(keys.iter().map(|current| &current.key), &id, timestamp, &body);
        let request = Request { url: &url, id: &id, timestamp, signature, headers: &headers, body: body.into() };
        Ok(self.sender.send(request).await)
    }
}

/// Whether an answer repeats the challenge: as JSON, `{"challenge": "…"}`, or as it is.
fn repeats(outcome: &Outcome, challenge: &str) -> bool {
    #[derive(Deserialize)]
    struct Echo {
        challenge: String,
    }
    let Some(body) = outcome.body.as_ref().filter(|_| outcome.delivered()) else { return false };
    match serde_json::from_slice::<Echo>(body) {
        Ok(echo) => echo.challenge == challenge,
        Err(_) => std::str::from_utf8(body).is_ok_and(|text| text.trim().trim_matches('"') == challenge),
    }
}
