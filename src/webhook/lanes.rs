//! The rows by which instances share the work: one for each endpoint, leased to the instance that delivers to it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::message::Cursor;
use crate::auth::Scopes;
use crate::log::Tenant;

/// A lane as its owner begins with it.
#[derive(Clone, Debug)]
pub struct Claim {
    pub endpoint: Uuid,
    pub tenant: Tenant,
}

/// What the owner of a lane is told each time it renews the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub endpoint: Uuid,
    /// Moves when there is something to look at.
    pub change: i32,
    /// What the endpoint's client may see; none: it has ended.
    pub scopes: Option<Scopes>,
}

/// Endpoint, change, scopes of the client, whether it has ended.
type Row = (Uuid, i32, Vec<String>, bool);

impl From<Row> for Standing {
    fn from((endpoint, change, scopes, ended): Row) -> Self {
        let scopes = (!ended).then(|| Scopes::from_names(&scopes));
        Self { endpoint, change, scopes }
    }
}

/// Where a lane stands.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct Place {
    pub change: i32,
    pub position: i64,
    pub notice: i64,
    pub sequence: i64,
    pub last_position: i64,
    pub generation: i32,
    pub replay_from: Option<i64>,
    pub failing_since: Option<DateTime<Utc>>,
    pub warned: i32,
}

impl Place {
    pub fn cursor(&self) -> Cursor {
        let Self { position, notice, sequence, last_position, .. } = *self;
        Cursor { position, notice, sequence, last_position }
    }
}

/// Begins a lane of a new endpoint, which is told what comes after these.
pub async fn insert(
    conn: &mut PgConnection,
    tenant: &Tenant,
    (endpoint, client): (Uuid, Uuid),
    (position, notice): (i64, i64),
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into webhook_lanes (endpoint, tenant, client, wanted, position, notice) values ($1, $2, $3, false, $4, $5)",
    )
    .bind(endpoint)
    .bind(tenant.as_str())
    .bind(client)
    .bind(position)
    .bind(notice)
    .execute(conn)
    .await
    .map(drop)
}

/// Somebody changed the endpoint, or what waits for it. `wanted`: there is to be a delivery.
pub async fn changed(conn: &mut PgConnection, endpoint: Uuid, wanted: bool) -> Result<(), sqlx::Error> {
    sqlx::query("update webhook_lanes set wanted = $2, change = change + 1 where endpoint = $1")
        .bind(endpoint)
        .bind(wanted)
        .execute(conn)
        .await
        .map(drop)
}

/// What the endpoint is signed with, or what waits for it, was changed by somebody.
pub async fn touched(conn: &mut PgConnection, endpoint: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("update webhook_lanes set change = change + 1 where endpoint = $1")
        .bind(endpoint)
        .execute(conn)
        .await
        .map(drop)
}

/// The endpoint is well again: it begins without a record of failures.
pub async fn forgive(conn: &mut PgConnection, endpoint: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("update webhook_lanes set failing_since = null, warned = 0 where endpoint = $1")
        .bind(endpoint)
        .execute(conn)
        .await
        .map(drop)
}

pub async fn delete(conn: &mut PgConnection, endpoint: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from webhook_lanes where endpoint = $1").bind(endpoint).execute(conn).await.map(drop)
}

/// The hub disables an endpoint.
pub async fn disable(
    conn: &mut PgConnection,
    tenant: &Tenant,
    endpoint: Uuid,
    reason: String,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update webhook_endpoints set state = 'disabled', reason = $3, updated_at = now()
          where tenant = $1 and id = $2 and state = 'active'",
    )
    .bind(tenant.as_str())
    .bind(endpoint)
    .bind(reason)
    .execute(&mut *conn)
    .await?;
    changed(conn, endpoint, false).await
}

pub async fn place(conn: &mut PgConnection, endpoint: Uuid) -> Result<Option<Place>, sqlx::Error> {
    sqlx::query_as(
        "select change, position, notice, sequence, last_position, generation, replay_from, failing_since, warned
           from webhook_lanes where endpoint = $1",
    )
    .bind(endpoint)
    .fetch_optional(conn)
    .await
}

/// Asks that all after a position is told again.
pub async fn replay(conn: &mut PgConnection, endpoint: Uuid, position: i64) -> Result<(), sqlx::Error> {
    sqlx::query("update webhook_lanes set replay_from = $2, change = change + 1 where endpoint = $1")
        .bind(endpoint)
        .bind(position)
        .execute(conn)
        .await
        .map(drop)
}

/// Begins the replay that was asked for: what waits from before it is dropped, since it comes again. A replay after
/// what was told last skips nothing. Gives the place to go on from; none when the lane is another instance's.
pub async fn begin_replay(
    conn: &mut PgConnection,
    tenant: &Tenant,
    (endpoint, instance): (Uuid, Uuid),
    cursor: Cursor,
) -> Result<Option<Place>, sqlx::Error> {
    let place: Option<Place> = sqlx::query_as(
        "update webhook_lanes
            set position = least(replay_from, $6), sequence = $3, last_position = $4, generation = generation + 1,
                replay_from = null,
                notice = least($7, (select count(*) from notices where tenant = $5 and position <= replay_from))
          where endpoint = $1 and owner = $2 and replay_from is not null
         returning change, position, notice, sequence, last_position, generation, replay_from, failing_since, warned",
    )
    .bind(endpoint)
    .bind(instance)
    .bind(cursor.sequence)
    .bind(cursor.last_position)
    .bind(tenant.as_str())
    .bind(cursor.position)
    .bind(cursor.notice)
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(place) = &place {
        sqlx::query(
            "update webhook_deliveries set state = 'discarded', finished_at = now(), next_attempt_at = null
              where tenant = $1 and endpoint = $2 and state = 'pending' and position > $3 and generation < $4",
        )
        .bind(tenant.as_str())
        .bind(endpoint)
        .bind(place.position)
        .bind(place.generation)
        .execute(conn)
        .await?;
    }
    Ok(place)
}

/// Renews the leases of an instance, and counts the instances that are alive. Gives the lanes that are still its own
/// and wanted, and its fair share of all.
pub async fn renew(pool: &PgPool, instance: Uuid, lease: Duration) -> Result<(Vec<Standing>, usize), sqlx::Error> {
    let seconds = lease.as_secs_f64();
    let mut tx = pool.begin().await?;
    sqlx::query(
        "insert into webhook_workers values ($1, now()) on conflict (instance) do update set seen_at = excluded.seen_at",
    )
    .bind(instance)
    .execute(&mut *tx)
    .await?;
    let rows: Vec<Row> = sqlx::query_as(
        "update webhook_lanes l set lease_until = now() + make_interval(secs => $2)
           from clients c
          where l.owner = $1 and l.wanted and c.id = l.client
         returning l.endpoint, l.change, c.scopes,
                   c.revoked_at is not null or coalesce(c.expires_at <= now(), false)",
    )
    .bind(instance)
    .bind(seconds)
    .fetch_all(&mut *tx)
    .await?;
    let (lanes, instances): (i64, i64) = sqlx::query_as(
        "select (select count(*) from webhook_lanes where wanted),
                (select count(*) from webhook_workers where seen_at > now() - make_interval(secs => $1))",
    )
    .bind(seconds)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    let share = (lanes as usize).div_ceil(instances.max(1) as usize);
    Ok((rows.into_iter().map(Standing::from).collect(), share))
}

/// Takes lanes that nobody has, or whose owner has died, at most so many.
pub async fn claim(
    pool: &PgPool,
    instance: Uuid,
    lease: Duration,
    most: usize,
) -> Result<Vec<(Claim, Standing)>, sqlx::Error> {
    let rows: Vec<(String, Uuid, i32, Vec<String>, bool)> = sqlx::query_as(
        "update webhook_lanes l set owner = $1, lease_until = now() + make_interval(secs => $2)
           from (select endpoint from webhook_lanes
                  where wanted and (owner is null or lease_until < now()) limit $3 for update skip locked) free,
                clients c
          where l.endpoint = free.endpoint and c.id = l.client
         returning l.tenant, l.endpoint, l.change, c.scopes,
                   c.revoked_at is not null or coalesce(c.expires_at <= now(), false)",
    )
    .bind(instance)
    .bind(lease.as_secs_f64())
    .bind(most as i64)
    .fetch_all(pool)
    .await?;
    let claimed = |(tenant, endpoint, change, scopes, ended): (String, Uuid, i32, Vec<String>, bool)| {
        let claim = Claim { endpoint, tenant: tenant.parse().ok()? };
        Some((claim, Standing::from((endpoint, change, scopes, ended))))
    };
    Ok(rows.into_iter().filter_map(claimed).collect())
}

/// Gives lanes back.
pub async fn release(pool: &PgPool, instance: Uuid, endpoints: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query("update webhook_lanes set owner = null, lease_until = null where owner = $1 and endpoint = any($2)")
        .bind(instance)
        .bind(endpoints)
        .execute(pool)
        .await
        .map(drop)
}

/// The instance delivers no more. Forgets those that died long ago as well.
pub async fn leave(pool: &PgPool, instance: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from webhook_workers where instance = $1 or seen_at < now() - interval '1 hour'")
        .bind(instance)
        .execute(pool)
        .await
        .map(drop)
}
