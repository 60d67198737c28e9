//! Idempotency keys: a unit of work sent again is not carried out again. Kept in the transaction of the unit.

use std::collections::HashMap;

use sqlx::{PgConnection, Postgres, Transaction};

use super::Tenant;
use super::append::{IdempotencyKey, Unit};

/// Keys are honoured at least as long.
const KEPT: &str = "48 hours";

/// Keys of the past dropped along with each new one: more than one, so that they do not gather.
const DROPPED_PER_KEY: i64 = 4;

/// What is known of a key that has been used.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Used {
    pub first_position: i64,
    pub last_position: i64,
    /// Digest of the first request, and what was kept for the answer.
    pub request: Vec<u8>,
    pub answer: String,
}

impl IdempotencyKey {
    /// What the key has been used for.
    pub async fn used(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<Option<Used>, sqlx::Error> {
        sqlx::query_as(
            "select first_position, last_position, request, answer::text
               from idempotency_keys where tenant = $1 and client = $2 and key = $3",
        )
        .bind(tenant.as_str())
        .bind(&self.client)
        .bind(&self.key)
        .fetch_optional(conn)
        .await
    }
}

/// First and last position by client and key, of those keys of the units that have been used.
pub(super) async fn used(
    tx: &mut Transaction<'static, Postgres>,
    tenant: &Tenant,
    units: &[Unit],
) -> Result<HashMap<(String, String), (i64, i64)>, sqlx::Error> {
    let keys: Vec<&IdempotencyKey> = units.iter().filter_map(|unit| unit.idempotency.as_ref()).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, String, i64, i64)> = sqlx::query_as(
        "select k.client, k.key, k.first_position, k.last_position
           from unnest($2::text[], $3::text[]) as asked(client, key)
                join idempotency_keys k on k.tenant = $1 and k.client = asked.client and k.key = asked.key",
    )
    .bind(tenant.as_str())
    .bind(keys.iter().map(|k| k.client.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|k| k.key.as_str()).collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|(client, key, first, last)| ((client, key), (first, last))).collect())
}

/// Stores new keys with their positions, and drops some of those that are too old.
pub(super) async fn remember(
    tx: &mut Transaction<'static, Postgres>,
    tenant: &Tenant,
    keys: &[(&IdempotencyKey, i64, i64)],
) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "with old as (
           delete from idempotency_keys k
            using (select client, key from idempotency_keys
                    where tenant = $1 and created_at < now() - $2::interval
                    order by created_at limit $3) o
            where k.tenant = $1 and k.client = o.client and k.key = o.key)
         insert into idempotency_keys (tenant, client, key, request, answer, first_position, last_position)
         select $1, n.client, n.key, n.request, n.answer::json, n.first, n.last
           from unnest($4::text[], $5::text[], $6::bytea[], $7::text[], $8::bigint[], $9::bigint[])
                as n(client, key, request, answer, first, last)",
    )
    .bind(tenant.as_str())
    .bind(KEPT)
    .bind(keys.len() as i64 * DROPPED_PER_KEY)
    .bind(keys.iter().map(|(k, ..)| k.client.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|(k, ..)| k.key.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|(k, ..)| k.request.as_slice()).collect::<Vec<_>>())
    .bind(keys.iter().map(|(k, ..)| k.answer.as_str()).collect::<Vec<_>>())
    .bind(keys.iter().map(|(_, first, _)| *first).collect::<Vec<_>>())
    .bind(keys.iter().map(|(.., last)| *last).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await
    .map(drop)
}
