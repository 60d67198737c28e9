//! Endpoints are registered, changed, paused, resumed, removed, and given new keys.

use std::collections::BTreeMap;

use chrono::Utc;
use uuid::Uuid;

use super::{KeyName, Managed, NewWebhook, Rotation, WebhookError, WebhookPatch, invalid, unusable};
use crate::auth::Client;
use crate::notice;
use crate::webhook::endpoint::{self, Endpoint, State};
use crate::webhook::filter::RecordFilter;
use crate::webhook::headers::check_headers;
use crate::webhook::keys;
use crate::webhook::secret::seal_headers;
use crate::webhook::selection::Selection;
use crate::webhook::signature::{KeyKind, SigningKey};
use crate::webhook::{Webhooks, deliveries, lanes};

/// Hours for which an old key goes on to sign beside a new one, when nobody says.
const OVERLAP_HOURS: f64 = 24.0;
/// Most characters of a description and of a filter.
const LONGEST_TEXT: usize = 2_000;
/// Most patterns of event types.
const MOST_TYPES: usize = 100;

impl Webhooks {
    /// Registers an endpoint; with it, its secret or public key, which is not told again. Nothing is sent until the
    /// address has answered the challenge.
    pub async fn register(&self, client: &Client, new: NewWebhook) -> Result<(Managed, String), WebhookError> {
        let id = Uuid::new_v4();
        let endpoint = Endpoint {
            id,
            client: client.id,
            scopes: client.scopes,
            url: new.url,
            description: new.description,
            types: new.types,
            filter: new.filter,
            payload: new.payload,
            order: new.order,
            imports: new.imports,
            headers: self.sealed(id, &new.headers)?,
            rate: new.rate,
            state: State::Unverified,
            reason: None,
            challenge: challenge(),
            verified_at: None,
            created_at: Utc::now(),
            updated_at: Utc::now(),
        };
        self.check(&endpoint)?;
        let (key, text) = signing_key(new.secret, new.key)?;
        let tenant = &client.tenant;
        let head = self.log.head(tenant).await?.unwrap_or_default();
        let mut tx = self.log.db().begin(tenant).await?;
        let notices = notice::head(&mut tx, tenant).await?;
        let after = new.after.unwrap_or(head);
        if !(0..=head).contains(&after) {
            return Err(invalid("after", "after is a log position that has been reached."));
        }
        if endpoint::list(&mut tx, tenant, None).await?.len() as i64 >= self.most {
            return Err(WebhookError::TooMany);
        }
        endpoint::save(&mut tx, tenant, &endpoint).await?;
        lanes::insert(&mut tx, tenant, (id, client.id), (after, notices)).await?;
        keys::add(&mut tx, tenant, &self.vault, id, &key, 0.0).await.map_err(unusable)?;
        let place = lanes::place(&mut tx, id).await?;
        tx.commit().await?;
        Ok((self.managed(endpoint, place)?, text))
    }

    /// Changes an endpoint of the client's own. A new address has to be verified before anything is sent to it.
    pub async fn change(&self, client: &Client, id: Uuid, patch: WebhookPatch) -> Result<Managed, WebhookError> {
        let mut endpoint = self.own(client, id).await?;
        if let Some(url) = patch.url.filter(|url| *url != endpoint.url) {
            endpoint.url = url;
            endpoint.state = State::Unverified;
            endpoint.reason = None;
            endpoint.verified_at = None;
            endpoint.challenge = challenge();
        }
        if let Some(headers) = &patch.headers {
            endpoint.headers = self.sealed(id, headers)?;
        }
        // It may go elsewhere now, or say more: no more than this token may see.
        endpoint.scopes = endpoint.scopes.and(client.scopes);
        endpoint.types = patch.types.unwrap_or(endpoint.types);
        endpoint.filter = patch.filter.unwrap_or(endpoint.filter);
        endpoint.payload = patch.payload.unwrap_or(endpoint.payload);
        endpoint.order = patch.order.unwrap_or(endpoint.order);
        endpoint.imports = patch.imports.unwrap_or(endpoint.imports);
        endpoint.rate = patch.rate.unwrap_or(endpoint.rate);
        endpoint.description = patch.description.unwrap_or(endpoint.description);
        self.check(&endpoint)?;
        self.save(client, endpoint).await
    }

    /// Sends nothing for now; nothing is lost.
    pub async fn pause(&self, client: &Client, id: Uuid) -> Result<Managed, WebhookError> {
        let mut endpoint = self.find(client, id).await?;
        if endpoint.state == State::Active {
            endpoint.state = State::Paused;
        }
        self.save(client, endpoint).await
    }

    /// Goes on where it stopped, paused or disabled.
    pub async fn resume(&self, client: &Client, id: Uuid) -> Result<Managed, WebhookError> {
        let mut endpoint = self.find(client, id).await?;
        if endpoint.verified_at.is_none() {
            return Err(WebhookError::Unverified);
        }
        (endpoint.state, endpoint.reason) = (State::Active, None);
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        lanes::forgive(&mut conn, id).await?;
        drop(conn);
        self.save(client, endpoint).await
    }

    /// Removes an endpoint with its keys and its delivery log.
    pub async fn remove(&self, client: &Client, id: Uuid) -> Result<(), WebhookError> {
        self.find(client, id).await?;
        let mut tx = self.log.db().begin(&client.tenant).await?;
        lanes::delete(&mut tx, id).await?; // first: no more deliveries are written down
        deliveries::delete(&mut tx, &client.tenant, id).await?;
        endpoint::delete(&mut tx, &client.tenant, id).await?;
        tx.commit().await?;
        self.kick();
        Ok(())
    }

    /// Keys that sign at the moment, the newest first.
    pub async fn secrets(&self, client: &Client, id: Uuid) -> Result<Vec<keys::Listed>, WebhookError> {
        self.find(client, id).await?;
        let mut conn = self.log.db().acquire(&client.tenant).await?;
        Ok(keys::list(&mut conn, &client.tenant, id).await?)
    }

    /// A new key takes the place of those there are; what [`secrets`](Self::secrets) says then, and the new secret or
    /// public key, which is not told again.
    pub async fn rotate(
        &self,
        client: &Client,
        id: Uuid,
        rotation: Rotation,
    ) -> Result<(Vec<keys::Listed>, String), WebhookError> {
        self.own(client, id).await?;
        let overlap = rotation.overlap_hours.unwrap_or(OVERLAP_HOURS);
        if !(0.0..=8_760.0).contains(&overlap) {
            return Err(invalid("overlapHours", "overlapHours is a number from 0 to 8760."));
        }
        let (key, text) = signing_key(rotation.secret, rotation.key)?;
        let mut tx = self.log.db().begin(&client.tenant).await?;
        keys::add(&mut tx, &client.tenant, &self.vault, id, &key, overlap * 3_600.0).await.map_err(unusable)?;
        lanes::touched(&mut tx, id).await?;
        tx.commit().await?;
        self.kick();
        Ok((self.secrets(client, id).await?, text))
    }

    /// Saves an endpoint and tells the instance that delivers to it.
    async fn save(&self, client: &Client, endpoint: Endpoint) -> Result<Managed, WebhookError> {
        let mut tx = self.log.db().begin(&client.tenant).await?;
        endpoint::save(&mut tx, &client.tenant, &endpoint).await?;
        lanes::changed(&mut tx, endpoint.id, endpoint.state == State::Active).await?;
        let place = lanes::place(&mut tx, endpoint.id).await?;
        tx.commit().await?;
        self.kick();
        self.managed(endpoint, place)
    }

    fn check(&self, endpoint: &Endpoint) -> Result<(), WebhookError> {
        self.sender.check_url(&endpoint.url).map_err(|bad| invalid("url", bad))?;
        if endpoint.types.is_empty() || endpoint.types.len() > MOST_TYPES {
            return Err(invalid("types", format!("types names 1 to {MOST_TYPES} event types.")));
        }
        let selection = Selection::parse(&endpoint.types).map_err(|bad| invalid("types", format!("{bad}.")))?;
        if selection.seen_with(endpoint.scopes).is_empty() {
            return Err(WebhookError::NothingToSee);
        }
        if let Some(filter) = &endpoint.filter {
            filter.parse::<RecordFilter>().map_err(|bad| invalid("filter", format!("filter: {bad}.")))?;
        }
        let texts = [("description", Some(&endpoint.description)), ("filter", endpoint.filter.as_ref())];
        for (member, text) in texts {
            if text.is_some_and(|text| text.chars().count() > LONGEST_TEXT) {
                return Err(invalid(member, format!("A text has at most {LONGEST_TEXT} characters.")));
            }
        }
        match endpoint.rate {
            Some(rate) if rate < 1 => Err(invalid("rate", "rate is a whole number from 1.")),
            _ => Ok(()),
        }
    }

    fn sealed(&self, id: Uuid, headers: &BTreeMap<String, String>) -> Result<Option<Vec<u8>>, WebhookError> {
        let texts = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let checked = check_headers(texts).map_err(|bad| invalid("headers", bad))?;
        if checked.is_empty() {
            return Ok(None);
        }
        seal_headers(&self.vault, id, &checked).map(Some).map_err(unusable)
    }
}

fn challenge() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A key, and the text of it that is shown once: of the receiver's own secret, or made.
fn signing_key(own: Option<String>, kind: Option<KeyName>) -> Result<(SigningKey, String), WebhookError> {
    match (own, kind) {
        (Some(_), Some(KeyName::Ed25519)) => Err(invalid("secret", "A secret can only be brought for hmac.")),
        (Some(secret), _) => Ok((SigningKey::parse(&secret).map_err(|bad| invalid("secret", bad))?, secret)),
        (None, Some(KeyName::Ed25519)) => SigningKey::make(KeyKind::Ed25519).map_err(unusable),
        (None, _) => SigningKey::make(KeyKind::Hmac).map_err(unusable),
    }
}
