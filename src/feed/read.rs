//! Reading changes by position: one statement for each page, whatever the filter.

use futures::TryStreamExt;
use sqlx::{Postgres, QueryBuilder};

use super::change::Row;
use super::{Change, Filter, Kind, person, school};
use crate::command::hub::upcasters;
use crate::log::{Log, Tenant};

/// Positions that one statement looks at, at most.
const SPAN: i64 = 20_000;
/// Bytes of changes on a page, about.
const BYTES: usize = 2 << 20;

/// What is read of each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detail {
    /// The event by itself.
    Plain,
    /// Besides, the record before.
    Values,
    /// Besides, the orgs that it belongs to: what readers with any filter look for together.
    Full,
}

/// Which changes of a range come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The oldest.
    #[default]
    Asc,
    /// The latest.
    Desc,
}

impl Order {
    /// The rest of a range of positions of which one end has been read up to `to`.
    pub fn rest(self, (after, until): (i64, i64), to: i64) -> (i64, i64) {
        match self {
            Self::Asc => (to, until),
            Self::Desc => (after, to),
        }
    }
}

/// Changes in the order of positions.
#[derive(Debug)]
pub struct Page {
    pub changes: Vec<Change>,
    /// There is no other change of the filter up to here. With [`Order::Desc`]: after here.
    pub to: i64,
    /// That the changes take, about.
    pub bytes: usize,
}

/// The changes after `after` up to `until`, at most `limit`. A page may be short, or empty, and yet not reach `until`:
/// the next one goes on after `to`.
pub async fn read(
    log: &Log,
    tenant: &Tenant,
    filter: &Filter,
    detail: Detail,
    range: (i64, i64),
    limit: usize,
) -> Result<Page, sqlx::Error> {
    read_in(Order::Asc, log, tenant, filter, detail, range, limit).await
}

/// The same in an order: with [`Order::Desc`], the next page is of the positions up to `to`.
pub async fn read_in(
    order: Order,
    log: &Log,
    tenant: &Tenant,
    filter: &Filter,
    detail: Detail,
    (after, until): (i64, i64),
    limit: usize,
) -> Result<Page, sqlx::Error> {
    // The events of one record are found by its key, however far apart they are.
    let span = if filter.names_records() || filter.passes_nothing() { until } else { SPAN };
    let (low, high, to) = match order {
        Order::Asc => (after, until.min(after + span), until.min(after + span)),
        Order::Desc => (after.max(until - span), until, after.max(until - span)),
    };
    let mut page = Page { changes: Vec::new(), to, bytes: 0 };
    if low >= high || filter.passes_nothing() {
        return Ok(page);
    }
    let mut sql = statement(tenant, filter, detail, low, high);
    sql.push(match order {
        Order::Asc => " order by e.position limit ",
        Order::Desc => " order by e.position desc limit ",
    });
    sql.push_bind(limit as i64);
    let mut conn = log.db().acquire(tenant).await?;
    let mut rows = sql.build_query_as::<Row>().fetch(&mut *conn);
    while let Some(row) = rows.try_next().await? {
        page.bytes += row.bytes();
        let change = row.change(upcasters)?;
        let position = change.position;
        page.changes.push(change);
        if page.changes.len() == limit || page.bytes > BYTES {
            page.to = if order == Order::Asc { position } else { position - 1 };
            break;
        }
    }
    Ok(page)
}

/// Position of the last change before `position`; 0 when there is none. It is looked for in growing steps backwards.
pub(super) async fn previous(log: &Log, tenant: &Tenant, filter: &Filter, position: i64) -> Result<i64, sqlx::Error> {
    let (mut upper, mut span) = (position - 1, if filter.names_records() { position } else { 1_000 });
    while upper > 0 && !filter.passes_nothing() {
        let lower = (upper - span).max(0);
        let mut sql = QueryBuilder::new("select position from (");
        select(&mut sql, tenant, filter, Detail::Plain, lower, upper);
        sql.push(" order by e.position desc limit 1) last");
        let mut conn = log.db().acquire(tenant).await?;
        if let Some(found) = sql.build_query_scalar::<i64>().fetch_optional(&mut *conn).await? {
            return Ok(found);
        }
        (upper, span) = (lower, (span * 4).min(SPAN));
    }
    Ok(0)
}

fn statement<'a>(
    tenant: &'a Tenant,
    filter: &'a Filter,
    detail: Detail,
    after: i64,
    to: i64,
) -> QueryBuilder<'a, Postgres> {
    let mut sql = QueryBuilder::default();
    select(&mut sql, tenant, filter, detail, after, to);
    sql
}

/// The record's event before. By the one index that has its key, whatever the statistics say.
const BEFORE: &str = "
  left join lateral (
    select b.position, b.payload, b.event_type, b.event_version from events b
     where b.aggregate_type = e.aggregate_type and b.aggregate_id = e.aggregate_id and b.sequence = e.sequence - 1
     limit 1) b on true";

fn select<'a>(
    sql: &mut QueryBuilder<'a, Postgres>,
    tenant: &'a Tenant,
    filter: &'a Filter,
    detail: Detail,
    after: i64,
    to: i64,
) {
    let (with_before, with_schools) = (detail != Detail::Plain, detail == Detail::Full);
    let types = || filter.types().iter().map(|kind| kind.name()).collect::<Vec<_>>();
    sql.push(
        "select e.position, e.unit, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
                e.payload, e.metadata, e.recorded_at, e.salt is null as emptied, ",
    );
    sql.push(match with_before {
        true => "b.position as before_position, b.payload as before, b.event_type as before_type, b.event_version as before_version, ",
        false => "null::bigint as before_position, null::json as before, null::text as before_type, null::text as before_version, ",
    });
    sql.push(if with_schools { "s.schools from " } else { "null::text[] as schools from " });
    match (filter.sourced_id(), filter.person()) {
        (None, None) => {
            sql.push("events e");
        }
        // Read before anything else is asked of them.
        (Some(id), _) => {
            sql.push("(select * from events where aggregate_type = any(").push_bind(types());
            sql.push(") and aggregate_id = ").push_bind(tenant.aggregate_id(id)).push(" offset 0) e");
        }
        (None, Some(id)) => bind(sql, &person::events(), |sql, name| {
            sql.push_bind(if name == "tenant" { tenant.as_str() } else { id });
        }),
    }
    if with_before {
        sql.push(BEFORE);
    }
    if with_schools {
        sql.push(school::listed());
    }
    sql.push(" where e.tenant = ").push_bind(tenant.as_str());
    sql.push(" and e.position > ").push_bind(after).push(" and e.position <= ").push_bind(to);
    if filter.types().len() < crate::roster::EntityType::ALL.len() {
        sql.push(" and e.aggregate_type = any(").push_bind(types()).push(")");
    }
    if filter.kinds().len() < Kind::ALL.len() {
        sql.push(
            " and (case e.event_type when 'Withdrawn' then 'deleted' when 'Restored' then 'restored' when 'Erased' then 'erased' else
                          case e.sequence when 1 then 'created' else 'changed' end end) = any(",
        );
        sql.push_bind(filter.kinds().iter().map(|kind| kind.word()).collect::<Vec<_>>()).push(")");
    }
    if let Some(id) = filter.person() {
        sql.push(" and ");
        bind(sql, &person::named(), |sql, _| {
            sql.push_bind(id);
        });
    }
    if let Some(actor) = filter.actor() {
        sql.push(" and e.metadata ->> 'actor' = ").push_bind(actor);
    }
    if !filter.clients().is_empty() {
        sql.push(" and e.metadata ->> 'client' = any(").push_bind(filter.clients()).push(")");
    }
    if let Some(id) = filter.school() {
        sql.push(" and ");
        bind(sql, &school::belongs(), |sql, name| {
            sql.push_bind(if name == "tenant" { tenant.as_str() } else { id });
        });
    }
}

/// Puts a condition down, its parameters in braces bound by `bind`.
pub(crate) fn bind<'a>(
    sql: &mut QueryBuilder<'a, Postgres>,
    condition: &str,
    mut bind: impl FnMut(&mut QueryBuilder<'a, Postgres>, &str),
) {
    let mut rest = condition;
    while let Some((before, after)) = rest.split_once('{') {
        sql.push(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        bind(sql, name);
        rest = after;
    }
    sql.push(rest);
}
