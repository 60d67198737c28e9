//! Entries in the database. What many entries have in common is written once: requests, and lists of people.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use uuid::Uuid;

use super::entry::{Asked, Entry};
use crate::log::{Log, Tenant};

/// How long a request or a list is used again. They are removed some time after the last entry that may name them.
const USED: Duration = Duration::from_secs(24 * 3_600);
/// Bytes of requests and lists that are remembered.
const REMEMBERED: usize = 32 << 20;

/// What became known of an entry after it was handed in.
#[derive(Clone, Debug)]
pub struct Completed {
    pub tenant: Tenant,
    pub id: Uuid,
    pub records: u64,
    pub persons: u64,
}

/// Writes entries, and remembers what was written before.
#[derive(Default)]
pub struct Store {
    tenants: HashMap<Tenant, Known>,
    bytes: usize,
    begun: Option<Instant>,
}

#[derive(Default)]
struct Known {
    requests: HashMap<Asked, Uuid>,
    lists: HashMap<String, Uuid>,
}

impl Store {
    /// Writes entries of a tenant; those that are there already stay as they are.
    pub async fn write(
        &mut self,
        log: &Log,
        tenant: &Tenant,
        entries: &[Entry],
        completed: &[Completed],
    ) -> Result<(), sqlx::Error> {
        if self.bytes > REMEMBERED || self.begun.is_none_or(|begun| begun.elapsed() > USED) {
            *self = Self { begun: Some(Instant::now()), ..Self::default() };
        }
        let known = self.tenants.entry(tenant.clone()).or_default();
        let (mut requests, mut lists): (HashMap<&Asked, Uuid>, HashMap<&str, Uuid>) = Default::default();
        let mut named = Vec::with_capacity(entries.len());
        for Entry { asked, people, .. } in entries {
            let request = known.requests.get(asked).copied();
            let request = request.unwrap_or_else(|| *requests.entry(asked).or_insert_with(Uuid::now_v7));
            let list = (!people.is_wide() && people.count() > Some(1)).then(|| {
                let known = known.lists.get(people.listed()).copied();
                known.unwrap_or_else(|| *lists.entry(people.listed()).or_insert_with(Uuid::now_v7))
            });
            named.push((request, list));
        }
        let mut tx = log.db().begin(tenant).await?;
        write_requests(&mut tx, tenant, &requests).await?;
        write_lists(&mut tx, tenant, &lists).await?;
        write_entries(&mut tx, tenant, entries, &named).await?;
        let completed: Vec<&Completed> = completed.iter().filter(|done| done.tenant == *tenant).collect();
        complete(&mut tx, tenant, &completed).await?;
        tx.commit().await?;
        self.bytes += requests.keys().map(|asked| asked.query.len() + 200).sum::<usize>();
        self.bytes += lists.keys().map(|list| list.len() + 100).sum::<usize>();
        known.requests.extend(requests.into_iter().map(|(asked, id)| (asked.clone(), id)));
        known.lists.extend(lists.into_iter().map(|(list, id)| (list.to_owned(), id)));
        Ok(())
    }
}

async fn write_requests(
    conn: &mut PgConnection,
    tenant: &Tenant,
    requests: &HashMap<&Asked, Uuid>,
) -> Result<(), sqlx::Error> {
    if requests.is_empty() {
        return Ok(());
    }
    let column = |text: fn(&Asked) -> String| requests.keys().map(|asked| text(asked)).collect::<Vec<_>>();
    sqlx::query(
        "insert into access_requests (tenant, id, client, client_name, via, operation, endpoint, query)
         select $1, u.* from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) u",
    )
    .bind(tenant.as_str())
    .bind(requests.values().copied().collect::<Vec<_>>())
    .bind(column(|asked| asked.recipient.key()))
    .bind(column(|asked| asked.recipient.name.to_string()))
    .bind(column(|asked| asked.via.name().to_owned()))
    .bind(column(|asked| asked.operation.clone()))
    .bind(column(|asked| format!("{}{}", asked.route.0, asked.route.1)))
    .bind(column(|asked| asked.query.clone()))
    .execute(conn)
    .await
    .map(drop)
}

async fn write_lists(conn: &mut PgConnection, tenant: &Tenant, lists: &HashMap<&str, Uuid>) -> Result<(), sqlx::Error> {
    if lists.is_empty() {
        return Ok(());
    }
    let rows = lists.iter().flat_map(|(list, id)| list.split_terminator('\0').map(|person| (*id, person)));
    let (lists, people): (Vec<Uuid>, Vec<&str>) = rows.unzip();
    sqlx::query("insert into access_people (tenant, list, person) select $1, u.* from unnest($2::uuid[], $3::text[]) u")
        .bind(tenant.as_str())
        .bind(lists)
        .bind(people)
        .execute(conn)
        .await
        .map(drop)
}

async fn write_entries(
    conn: &mut PgConnection,
    tenant: &Tenant,
    entries: &[Entry],
    named: &[(Uuid, Option<Uuid>)],
) -> Result<(), sqlx::Error> {
    if entries.is_empty() {
        return Ok(());
    }
    let number = |number: Option<usize>| number.and_then(|number| i64::try_from(number).ok());
    let alone =
        |entry: &Entry| entry.people.ids().next().map(str::to_owned).filter(|_| entry.people.count() == Some(1));
    sqlx::query(
        "insert into access_log (tenant, id, request, list, person, wide, position, persons, records, bytes)
         select $1, u.* from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::bool[], $7::bigint[],
                                    $8::bigint[], $9::bigint[], $10::bigint[]) u
         on conflict do nothing",
    )
    .bind(tenant.as_str())
    .bind(entries.iter().map(|entry| entry.id).collect::<Vec<_>>())
    .bind(named.iter().map(|(request, _)| *request).collect::<Vec<_>>())
    .bind(named.iter().map(|(_, list)| *list).collect::<Vec<_>>())
    .bind(entries.iter().map(alone).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.people.is_wide()).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| entry.position).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| number(entry.people.count())).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| number(entry.records)).collect::<Vec<_>>())
    .bind(entries.iter().map(|entry| number(entry.bytes)).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map(drop)
}

async fn complete(conn: &mut PgConnection, tenant: &Tenant, completed: &[&Completed]) -> Result<(), sqlx::Error> {
    if completed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "update access_log e set records = u.records, persons = u.persons
           from unnest($2::uuid[], $3::bigint[], $4::bigint[]) as u(id, records, persons)
          where e.tenant = $1 and e.id = u.id",
    )
    .bind(tenant.as_str())
    .bind(completed.iter().map(|done| done.id).collect::<Vec<_>>())
    .bind(completed.iter().map(|done| done.records as i64).collect::<Vec<_>>())
    .bind(completed.iter().map(|done| done.persons as i64).collect::<Vec<_>>())
    .execute(conn)
    .await
    .map(drop)
}
