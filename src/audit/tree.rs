//! The stored tree: grown from the log, in position order, by whichever instance is at it.

use std::collections::HashMap;

use sqlx::PgConnection;
use tlog_tiles::tlog::Hash;

use super::leaf::{self, Leaf};
use super::tiles::{Edge, TileId};
use super::{Audit, AuditError};
use crate::log::Tenant;

/// Events that are taken into the tree by one transaction.
const BATCH: i64 = 5_000;

/// What became of an attempt to grow a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grown {
    /// It now holds so many events; there may be more.
    To(i64),
    /// It holds all events.
    Whole(i64),
    /// Another instance is at it.
    Elsewhere,
}

impl Audit {
    /// Takes the next events into the tree.
    pub async fn grow(&self, tenant: &Tenant) -> Result<Grown, AuditError> {
        let mut tx = self.log.db().begin(tenant).await?;
        sqlx::query("insert into audit_trees (tenant, size, root) values ($1, 0, sha256('')) on conflict do nothing")
            .bind(tenant.as_str())
            .execute(&mut *tx)
            .await?;
        let size: Option<i64> =
            sqlx::query_scalar("select size from audit_trees where tenant = $1 for update skip locked")
                .bind(tenant.as_str())
                .fetch_optional(&mut *tx)
                .await?;
        let Some(size) = size else { return Ok(Grown::Elsewhere) };
        let events = leaves(&mut tx, tenant, size, BATCH).await?;
        if events.is_empty() {
            return Ok(Grown::Whole(size));
        }
        let wanted: Vec<TileId> = Edge::of(size as u64).into_iter().map(|(tile, _)| tile).collect();
        let stored = tiles(&mut tx, tenant, &wanted).await?;
        let mut edge =
            Edge::resume(size as u64, &stored).ok_or_else(|| AuditError::Damaged(format!("its size {size}")))?;
        for (event, expected) in events.iter().zip(size + 1..) {
            if event.position != expected {
                // Whoever removed it is found by `audit verify`; a tree without its leaf would hide it.
                return Err(AuditError::Damaged(format!("position {expected}, which the log does not have")));
            }
            edge.push(event.hash(tenant));
        }
        store(&mut tx, tenant, &mut edge).await?;
        tx.commit().await?;
        Ok(Grown::To(edge.size() as i64))
    }
}

/// Events after a position with what their leaves are made of, in order.
pub async fn leaves(
    conn: &mut PgConnection,
    tenant: &Tenant,
    after: i64,
    limit: i64,
) -> Result<Vec<Leaf>, sqlx::Error> {
    sqlx::query_as(&format!(
        "select {} from events where tenant = $1 and position > $2 and position <= $2 + $3 order by position",
        leaf::COLUMNS
    ))
    .bind(tenant.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await
}

/// The stored tiles of these numbers, those that there are.
pub async fn tiles(
    conn: &mut PgConnection,
    tenant: &Tenant,
    ids: &[TileId],
) -> Result<HashMap<TileId, Vec<u8>>, sqlx::Error> {
    let (levels, numbers): (Vec<i16>, Vec<i64>) =
        ids.iter().map(|(level, number)| (i16::from(*level), *number as i64)).unzip();
    let rows: Vec<(i16, i64, Vec<u8>)> = sqlx::query_as(
        "select t.level, t.number, t.hashes
           from unnest($2::smallint[], $3::bigint[]) as w(level, number)
                join audit_tiles t on t.tenant = $1 and t.level = w.level and t.number = w.number",
    )
    .bind(tenant.as_str())
    .bind(levels)
    .bind(numbers)
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|(level, number, hashes)| ((level as u8, number as u64), hashes)).collect())
}

/// Writes the tiles that changed, and the size and root that they make.
async fn store(conn: &mut PgConnection, tenant: &Tenant, edge: &mut Edge) -> Result<(), sqlx::Error> {
    let Hash(root) = edge.root();
    let (mut levels, mut numbers, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for ((level, number), bytes) in edge.take_tiles() {
        levels.push(i16::from(level));
        numbers.push(number as i64);
        hashes.push(bytes);
    }
    sqlx::query(
        "insert into audit_tiles (tenant, level, number, hashes)
         select $1, t.level, t.number, t.hashes from unnest($2::smallint[], $3::bigint[], $4::bytea[]) as t(level, number, hashes)
         on conflict (tenant, level, number) do update set hashes = excluded.hashes",
    )
    .bind(tenant.as_str())
    .bind(levels)
    .bind(numbers)
    .bind(hashes)
    .execute(&mut *conn)
    .await?;
    sqlx::query("update audit_trees set size = $2, root = $3 where tenant = $1")
        .bind(tenant.as_str())
        .bind(edge.size() as i64)
        .bind(root.as_slice())
        .execute(conn)
        .await
        .map(drop)
}
