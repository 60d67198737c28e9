//! Reading one's own writes on whichever instance: "at least position N".

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

use super::error::ImsxError;
use crate::log::{Log, Tenant};

/// Asks that the answer stands at this log position or a later one, as answers name it in `Rosterhub-Position`.
pub const AT_LEAST: HeaderName = HeaderName::from_static("rosterhub-at-least");

/// How long a request is held until the log reaches the position.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the log has reached what the client asks for; 503 when it takes too long.
pub async fn at_least(log: &Log, tenant: &Tenant, headers: &HeaderMap) -> Result<(), ImsxError> {
    let Some(asked) = headers.get(AT_LEAST) else { return Ok(()) };
    let position = asked.to_str().ok().and_then(|text| text.trim().parse::<i64>().ok()).filter(|n| *n >= 0);
    let position = position.ok_or_else(|| ImsxError::invalid_data("Rosterhub-At-Least is a log position."))?;
    match tokio::time::timeout(PATIENCE, log.wait_beyond(tenant, position - 1)).await {
        Ok(reached) => Ok(reached.map(drop)?),
        Err(_) => Err(ImsxError::behind(position)),
    }
}
