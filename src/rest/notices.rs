//! Notices over HTTP, for those who ask for them instead of having them sent.

use std::collections::HashMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Hub;
use super::error::HubError;
use super::extract::{HubQuery, Noticed};
use super::imports::number;
use super::plans::known;
use crate::notice::{self, Kind, Notice, data};

/// One notice may have a megabyte.
const MOST: i64 = 100;
const DEFAULT: i64 = 20;

pub fn router() -> Router<Hub> {
    Router::new().route("/notices", get(list))
}

/// Notices, in the order of their numbers.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NoticePage {
    /// Those among the ones looked at that the client has the scopes for.
    notices: Vec<NoticeItem>,
    /// Number of the last one looked at: `after` of the next request.
    next: i64,
    /// Number of the last one that there is. There are more as long as `next` is less.
    head: i64,
}

/// A notice: something happened to the hub itself.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Notice", deny_unknown_fields)]
struct NoticeItem {
    /// Number of the notice: 1, 2, 3, … in the order of commits.
    number: i64,
    /// Type of the event.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = Kind::ALL.map(Kind::name)))]
    event_type: &'static str,
    /// Log position of the roster when it was told.
    position: i64,
    /// When it was told; in UTC, with milliseconds.
    #[serde(serialize_with = "data::milliseconds")]
    recorded_at: DateTime<Utc>,
    /// As the schema of the event type says, `/rosterhub/v1/webhooks/event-types/{name}`.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    data: Box<RawValue>,
}

impl From<Notice> for NoticeItem {
    fn from(Notice { number, position, kind, recorded_at, data }: Notice) -> Self {
        Self { number, event_type: kind.name(), position, recorded_at, data }
    }
}

/// `GET /notices?after=&limit=`
async fn list(
    Noticed(client): Noticed,
    State(hub): State<Hub>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Json<NoticePage>, HubError> {
    known(&query, &["after", "limit"])?;
    let after = number(&query, "after", 0)?;
    let limit = number(&query, "limit", DEFAULT)?.clamp(1, MOST);
    let mut conn = hub.log.db().acquire(&client.tenant).await?;
    let found = notice::read(&mut conn, &client.tenant, after, limit).await?;
    let head = notice::head(&mut conn, &client.tenant).await?;
    let next = found.last().map_or(after, |notice| notice.number);
    let told = |notice: &Notice| client.may_any(&[notice.kind.scope()]);
    let notices = found.into_iter().filter(told).map(NoticeItem::from).collect();
    Ok(Json(NoticePage { notices, next, head }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scopes;
    use crate::rest::extract::NOTICED;

    #[test]
    fn whoever_has_the_scope_of_a_kind_is_let_in() {
        let needed: Scopes = Kind::ALL.map(Kind::scope).into_iter().collect();
        assert_eq!(needed, NOTICED.iter().copied().collect());
    }
}
