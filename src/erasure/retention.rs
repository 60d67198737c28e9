//! Who is to be erased by the board's rules, and who must not be.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{EraseError, Erasures, LONGEST_REQUEST};
use crate::csv::import::Asker;
use crate::log::Tenant;
use crate::notice::data::{milliseconds, option_milliseconds};

/// A person who left so long ago that a rule wants the erasure.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Due {
    /// Of the user.
    pub sourced_id: String,
    /// Since when the user is `tobedeleted`.
    #[serde(serialize_with = "milliseconds")]
    pub left_at: DateTime<Utc>,
}

/// A person who must not be erased.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct LegalHold {
    pub id: Uuid,
    /// Of the user.
    pub sourced_id: String,
    /// A reference, no name.
    pub reason: String,
    /// Who placed it.
    pub client: String,
    #[serde(serialize_with = "milliseconds")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "option_milliseconds", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub released_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, sourced_id, reason, client, created_at, released_at";

impl Erasures {
    /// People who have been `tobedeleted` since before `left_before`, by sourcedId, after one; nobody under a legal
    /// hold, nobody who was erased.
    pub async fn due(
        &self,
        tenant: &Tenant,
        left_before: DateTime<Utc>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Due>, sqlx::Error> {
        let mut conn = self.log.db().acquire(tenant).await?;
        sqlx::query_as(
            "select u.sourced_id, u.date_last_modified as left_at
               from users u
              where u.listed and u.tenant = $1 and u.status = 'tobedeleted' and u.sourced_id > $3
                and u.date_last_modified < $2
                and not exists (select from legal_holds h
                                 where h.tenant = $1 and h.sourced_id = u.sourced_id and h.released_at is null)
                and not exists (select from erasures e
                                 where e.tenant = $1 and e.sourced_id = u.sourced_id and e.position >= u.since)
              order by u.sourced_id limit $4",
        )
        .bind(tenant.as_str())
        .bind(left_before)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await
    }

    /// Keeps a person from being erased.
    pub async fn hold(
        &self,
        tenant: &Tenant,
        sourced_id: &str,
        reason: &str,
        asker: &Asker,
    ) -> Result<LegalHold, EraseError> {
        if reason.trim().is_empty() || reason.chars().count() > LONGEST_REQUEST {
            return Err(EraseError::BadRequest);
        }
        let mut tx = self.log.db().begin(tenant).await?;
        // Not beside an erasure, which holds the tenant's lock.
        sqlx::query("select from tenants where tenant = $1 for no key update")
            .bind(tenant.as_str())
            .execute(&mut *tx)
            .await?;
        let known: bool = sqlx::query_scalar("select exists (select from users where tenant = $1 and sourced_id = $2)")
            .bind(tenant.as_str())
            .bind(sourced_id)
            .fetch_one(&mut *tx)
            .await?;
        if !known {
            return Err(EraseError::Unknown);
        }
        let placed = sqlx::query_as(&format!(
            "insert into legal_holds (tenant, id, sourced_id, reason, client) values ($1, $2, $3, $4, $5) returning {COLUMNS}"
        ))
        .bind(tenant.as_str())
        .bind(Uuid::now_v7())
        .bind(sourced_id)
        .bind(reason)
        .bind(&asker.name)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(placed)
    }

    /// Ends a legal hold. None: there is none of this id.
    pub async fn release(&self, tenant: &Tenant, id: Uuid, asker: &Asker) -> Result<Option<LegalHold>, sqlx::Error> {
        let mut conn = self.log.db().acquire(tenant).await?;
        sqlx::query_as(&format!(
            "update legal_holds set released_at = coalesce(released_at, now()), released_by = coalesce(released_by, $3)
              where tenant = $1 and id = $2 returning {COLUMNS}"
        ))
        .bind(tenant.as_str())
        .bind(id)
        .bind(&asker.name)
        .fetch_optional(&mut *conn)
        .await
    }

    /// Legal holds that stand, and with `all` those that have ended; the latest first.
    pub async fn holds(&self, tenant: &Tenant, all: bool, limit: i64) -> Result<Vec<LegalHold>, sqlx::Error> {
        let mut conn = self.log.db().acquire(tenant).await?;
        sqlx::query_as(&format!(
            "select {COLUMNS} from legal_holds where tenant = $1 and ($2 or released_at is null)
              order by created_at desc, id limit $3"
        ))
        .bind(tenant.as_str())
        .bind(all)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await
    }
}
