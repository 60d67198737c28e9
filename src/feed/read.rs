//! Reading changes by position: one statement for each page, whatever the filter.

use futures::TryStreamExt;
use sqlx::{Postgres, QueryBuilder};

use super::change::Row;
use super::filter::PLACES;
use super::{Change, Filter};
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
    /// Besides, the record before, and the orgs that it belongs to.
    Full,
}

/// Changes in the order of positions.
#[derive(Debug)]
pub struct Page {
    pub changes: Vec<Change>,
    /// There is no other change of the filter up to here.
    pub to: i64,
}

/// The changes after `after` up to `until`, at most `limit`. A page may be short, or empty, and yet not reach `until`:
/// the next one goes on after `to`.
pub async fn read(
    log: &Log,
    tenant: &Tenant,
    filter: &Filter,
    detail: Detail,
    (after, until): (i64, i64),
    limit: usize,
) -> Result<Page, sqlx::Error> {
    // The events of one record are found by its key, however far apart they are.
    let to = if filter.sourced_id().is_some() { until } else { until.min(after + SPAN) };
    let mut page = Page { changes: Vec::new(), to };
    if filter.types().is_empty() || after >= to {
        return Ok(page);
    }
    let mut sql = statement(tenant, filter, detail, after, to);
    sql.push(" order by e.position limit ").push_bind(limit as i64);
    let mut conn = log.db().acquire(tenant).await?;
    let mut rows = sql.build_query_as::<Row>().fetch(&mut *conn);
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        bytes += row.bytes();
        let change = row.change(upcasters)?;
        let position = change.position;
        page.changes.push(change);
        if page.changes.len() == limit || bytes > BYTES {
            page.to = position;
            break;
        }
    }
    Ok(page)
}

/// Position of the last change before `position`; 0 when there is none. It is looked for in growing steps backwards.
pub(super) async fn previous(log: &Log, tenant: &Tenant, filter: &Filter, position: i64) -> Result<i64, sqlx::Error> {
    let (mut upper, mut span) = (position - 1, if filter.sourced_id().is_some() { position } else { 1_000 });
    while upper > 0 && !filter.types().is_empty() {
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

/// The orgs that a change belongs to, as things stood just before and just after its unit of work: an org to itself,
/// other records to the org that they name, people and what is theirs to the orgs of their active roles.
fn schools() -> String {
    let list = |kinds: &[&str]| kinds.iter().map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ");
    let places: String =
        PLACES.iter().map(|(kind, member)| format!(" when '{}' then '{member}'", kind.name())).collect();
    let named = list(&PLACES.map(|(kind, _)| kind.name()));
    let versions = "(values (e.payload -> 'record'), (b.payload -> 'record')) v(record)";
    format!(
        "
  cross join lateral (
    select coalesce(array_agg(distinct found.org), '{{}}') as schools
      from (select substr(e.aggregate_id, length(e.tenant) + 2) where e.aggregate_type = 'org'
            union all
            select v.record -> (case e.aggregate_type{places} end) ->> 'sourcedId' from {versions}
             where e.aggregate_type in ({named})
            union all
            select r.org_sourced_id
              from (select substr(e.aggregate_id, length(e.tenant) + 2) where e.aggregate_type in ('user', 'demographics')
                    union all
                    select v.record -> 'user' ->> 'sourcedId' from {versions} where e.aggregate_type = 'userProfile')
                   person(id),
                   lateral (
                     select org_sourced_id, status, since, until from roles
                      where user_sourced_id = person.id and tenant = e.tenant
                     union all
                     select org_sourced_id, status, since, until from roles_history
                      where user_sourced_id = person.id and tenant = e.tenant) r
             where r.status = 'active' and r.since <= e.unit and (r.until is null or r.until >= e.unit)) found(org)
     where found.org is not null) s"
    )
}

fn select<'a>(
    sql: &mut QueryBuilder<'a, Postgres>,
    tenant: &'a Tenant,
    filter: &'a Filter,
    detail: Detail,
    after: i64,
    to: i64,
) {
    let full = detail == Detail::Full;
    let with_schools = full || filter.school().is_some();
    let types = || filter.types().iter().map(|kind| kind.name()).collect::<Vec<_>>();
    sql.push(
        "select e.position, e.unit, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
                e.payload, e.metadata, e.recorded_at, ",
    );
    sql.push(match with_schools {
        true => "b.position as before_position, s.schools, ",
        false => "null::bigint as before_position, null::text[] as schools, ",
    });
    sql.push(match full {
        true => "b.payload as before, b.event_type as before_type, b.event_version as before_version from ",
        false => "null::json as before, null::text as before_type, null::text as before_version from ",
    });
    match filter.sourced_id() {
        None => {
            sql.push("events e");
        }
        // Read before anything else is asked of them.
        Some(id) => {
            sql.push("(select * from events where aggregate_type = any(").push_bind(types());
            sql.push(") and aggregate_id = ").push_bind(tenant.aggregate_id(id)).push(" offset 0) e");
        }
    }
    if with_schools {
        sql.push(BEFORE).push(schools());
    }
    sql.push(" where e.tenant = ").push_bind(tenant.as_str());
    sql.push(" and e.position > ").push_bind(after).push(" and e.position <= ").push_bind(to);
    if filter.types().len() < crate::roster::EntityType::ALL.len() {
        sql.push(" and e.aggregate_type = any(").push_bind(types()).push(")");
    }
    if let Some(school) = filter.school() {
        sql.push(" and (e.aggregate_type = 'academicSession' or ").push_bind(school).push(" = any(s.schools))");
    }
}
