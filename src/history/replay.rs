//! A past log in a database of its own: the events up to a position are copied as they are, and the read models are made
//! from them.

use futures::TryStreamExt;
use sqlx::PgConnection;

use crate::audit::leaf::{self, Leaf};
use crate::log::{Log, Tenant};
use crate::projection::ShadowError;

/// Events in one statement, and bytes of their payloads, about.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 2 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("there is a tenant {0} already; name a database that is to be filled")]
    NotEmpty(Tenant),
    #[error("the log has {found} of the {expected} events up to this position; `rosterhub audit verify` tells more")]
    Incomplete { found: i64, expected: i64 },
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// The last position of the unit of work that a position belongs to: readers of the past see no unit by halves.
pub async fn unit_end(log: &Log, tenant: &Tenant, position: i64) -> Result<i64, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    let next: Option<i64> = sqlx::query_scalar(
        "select position from events where tenant = $1 and position > $2 and unit > $2 order by position limit 1",
    )
    .bind(tenant.as_str())
    .bind(position)
    .fetch_optional(&mut *conn)
    .await?;
    match next {
        Some(next) => Ok(next - 1),
        None => {
            sqlx::query_scalar("select head from tenants where tenant = $1")
                .bind(tenant.as_str())
                .fetch_one(&mut *conn)
                .await
        }
    }
}

/// Copies the tenant and its events up to a position into another database, which does not know the tenant, and makes
/// the read models there. All or nothing of the events comes there. `progress` hears events done and in all: first
/// copied, then projected, summed over the read models.
pub async fn copy(
    from: &Log,
    into: &Log,
    tenant: &Tenant,
    position: i64,
    progress: impl Fn(&'static str, i64, i64) + Sync,
) -> Result<(), ReplayError> {
    let mut source = from.db().snapshot(tenant).await?;
    let mut target = into.db().begin(tenant).await?;
    let name: String = sqlx::query_scalar("select name from tenants where tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(&mut *source)
        .await?;
    let made = sqlx::query("insert into tenants (tenant, name) values ($1, $2) on conflict do nothing")
        .bind(tenant.as_str())
        .bind(name)
        .execute(&mut *target)
        .await?;
    if made.rows_affected() == 0 {
        return Err(ReplayError::NotEmpty(tenant.clone()));
    }
    let sql = format!("select {} from events where tenant = $1 and position <= $2 order by position", leaf::COLUMNS);
    let mut events = sqlx::query_as::<_, Leaf>(&sql).bind(tenant.as_str()).bind(position).fetch(&mut *source);
    let (mut batch, mut bytes, mut found) = (Vec::with_capacity(BATCH), 0, 0);
    loop {
        let event = events.try_next().await?;
        let is_last = event.is_none();
        if let Some(event) = event {
            bytes += event.payload.len() + event.metadata.len();
            batch.push(event);
        }
        if batch.len() >= BATCH || bytes >= BATCH_BYTES || is_last {
            found += batch.len() as i64;
            insert(&mut target, tenant, &batch).await?;
            progress("copying", found, position);
            batch.clear();
            bytes = 0;
        }
        if is_last {
            break;
        }
    }
    if found != position {
        return Err(ReplayError::Incomplete { found, expected: position });
    }
    sqlx::query(
        "update tenants
            set head = $2, recorded_at = coalesce((select recorded_at from events where tenant = $1 and position = $2), 'epoch')
          where tenant = $1",
    )
    .bind(tenant.as_str())
    .bind(position)
    .execute(&mut *target)
    .await?;
    target.commit().await?;
    into.projections().rebuild(into.db(), tenant, None, |done, total| progress("projecting", done, total)).await?;
    Ok(())
}

/// Every column as it was: positions, times, salts and what erased events committed to, so that the same tree grows.
async fn insert(conn: &mut PgConnection, tenant: &Tenant, events: &[Leaf]) -> Result<(), sqlx::Error> {
    let texts = |column: fn(&Leaf) -> &String| events.iter().map(|event| column(event).as_str()).collect::<Vec<_>>();
    let numbers = |column: fn(&Leaf) -> i64| events.iter().map(column).collect::<Vec<_>>();
    sqlx::query(
        "insert into events (tenant, position, unit, sequence, aggregate_type, aggregate_id, event_type, event_version,
                             metadata, payload, recorded_at, salt, commitment)
         select $1, e.position, e.unit, e.sequence, e.aggregate_type, e.aggregate_id, e.event_type, e.event_version,
                e.metadata::json, e.payload::json, e.recorded_at, e.salt, e.commitment
           from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[],
                       $9::text[], $10::text[], $11::timestamptz[], $12::uuid[], $13::bytea[])
                as e(position, unit, sequence, aggregate_type, aggregate_id, event_type, event_version, metadata,
                     payload, recorded_at, salt, commitment)",
    )
    .bind(tenant.as_str())
    .bind(numbers(|event| event.position))
    .bind(numbers(|event| event.unit))
    .bind(numbers(|event| event.sequence))
    .bind(texts(|event| &event.aggregate_type))
    .bind(texts(|event| &event.aggregate_id))
    .bind(texts(|event| &event.event_type))
    .bind(texts(|event| &event.event_version))
    .bind(texts(|event| &event.metadata))
    .bind(texts(|event| &event.payload))
    .bind(events.iter().map(|event| event.recorded_at).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.salt).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.commitment.as_deref()).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map(drop)
}
