//! The statements that the rows of a file come from, and how they are read: through a cursor, so that the database is
//! not asked for more than is taken, and memory does not grow with the roster.
//!
//! A bulk file comes from the read models. Their documents hold the record; parts of a user are shown inside it, so
//! that theirs is read from their last event, as projections read it. A delta comes from the log.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::members::Members;
use super::presence::{At, Presence, slots};
use crate::log::Tenant;
use crate::query::sql::{Parameters, Value};
use crate::roster::EntityType;

/// A statement with its parameters.
pub struct Statement {
    sql: String,
    parameters: Parameters,
}

/// Columns of a statement's rows. Of a bulk file there are the first two.
pub const SOURCED_ID: usize = 0;
pub const RECORD: usize = 1;
/// Whether it is to be deleted.
pub const WITHDRAWN: usize = 2;
pub const RECORDED_AT: usize = 3;
/// Its last event is one of those that the delta is about.
pub const TOUCHED: usize = 4;
/// The active record before.
pub const BEFORE: usize = 5;

/// Bytes that are fetched at a time, about, and rows.
const BLOCK: usize = 1 << 20;
const MOST_ROWS: usize = 2_000;

/// Whether the records of a type are only shown inside others.
fn is_part(kind: EntityType) -> bool {
    matches!(kind, EntityType::Role | EntityType::UserProfile)
}

/// All active records of a type, or those that belong to schools, in the order of their ids.
pub fn bulk(tenant: &Tenant, kind: EntityType, at: At, members: Option<&Members>) -> Statement {
    let mut parameters = Parameters::of(tenant.as_str());
    let record = if is_part(kind) { event_record(kind) } else { "r.doc".to_owned() };
    let belongs = members.map_or(String::new(), |members| belongs(kind, members, &mut parameters));
    let sql = format!(
        "select r.sourced_id, {record} as record from {} where {} and r.status = 'active'{belongs} order by r.sourced_id",
        at.versions(kind, "r"),
        at.stands("r")
    );
    Statement { sql, parameters }
}

fn event_record(kind: EntityType) -> String {
    format!(
        "(select (e.payload -> 'record')::text from events e
           where e.aggregate_type = '{}' and e.aggregate_id = $1 || '/' || r.sourced_id and e.sequence = r.sequence)",
        kind.name()
    )
}

fn belongs(kind: EntityType, members: &Members, parameters: &mut Parameters) -> String {
    let (column, ids) = members.condition(kind);
    format!(" and r.{column} in (select unnest({}::text[]))", parameters.add(Value::Texts(ids)))
}

/// A state of the log with what is there.
pub struct Side<'a> {
    pub at: At,
    pub presence: &'a Presence,
    pub members: Option<&'a Members>,
}

/// Every record of a type that may have changed between two states, in the order of their ids: as it stands and as it
/// stood. Those with events in between; of schools, those that belong at either; and those that name a record which is
/// there at one of both only.
pub fn delta(tenant: &Tenant, kind: EntityType, from: &Side<'_>, to: &Side<'_>) -> Statement {
    let mut parameters = Parameters::of(tenant.as_str());
    let mut candidates = Vec::new();
    for side in [from, to] {
        let rows = format!("select r.sourced_id from {} where {}", side.at.versions(kind, "r"), side.at.stands("r"));
        if let Some(members) = side.members {
            candidates.push(format!("{rows}{}", belongs(kind, members, &mut parameters)));
            continue;
        }
        for slot in slots(kind) {
            let ids = from.presence.differing(to.presence, slot.target);
            if ids.is_empty() {
                continue;
            }
            let ids = parameters.add(Value::Texts(ids));
            let names = match slot.is_list {
                true => format!("{} && {ids}::text[]", slot.named),
                false => format!("{} in (select unnest({ids}::text[]))", slot.named),
            };
            candidates.push(format!("{rows} and r.status = 'active' and {names}"));
        }
    }
    let own: Vec<String> = from.presence.excluded.symmetric_difference(&to.presence.excluded).cloned().collect();
    candidates.push(format!("select unnest({}::text[])", parameters.add(Value::Texts(own))));
    let (after, upto) = (from.at.position, to.at.position);
    if to.members.is_none() {
        candidates.push(format!(
            "select substr(e.aggregate_id, length($1) + 2) from events e
              where e.tenant = $1 and e.position > {after} and e.position <= {upto} and e.aggregate_type = '{}'",
            kind.name()
        ));
    }
    let last = |position: i64| {
        format!(
            "(select e.position, e.recorded_at, e.event_type in ('Withdrawn', 'Erased') as withdrawn, (e.payload -> 'record')::text as record
                from events e
               where e.aggregate_type = '{}' and e.aggregate_id = $1 || '/' || c.id and e.position <= {position}
               order by e.sequence desc limit 1)",
            kind.name()
        )
    };
    let sql = format!(
        "select c.id, now_.record, now_.withdrawn, now_.recorded_at, now_.position > {after} as touched,
                case when not before_.withdrawn then before_.record end as before
           from ({}) c (id), lateral {} now_ left join lateral {} before_ on true
          order by c.id collate \"C\"",
        candidates.join(" union "),
        last(upto),
        last(after)
    );
    Statement { sql, parameters }
}

/// Keys that are looked for one by one. Each that is not in use any more takes a pass over all rows.
const FEW_KEYS: usize = 20;

/// Those of the keys of `metadata` that rows of a bulk file have values for. For each one row is looked for, or for many
/// of them all rows are gone through once.
pub async fn keys_of_bulk(
    conn: &mut PgConnection,
    tenant: &Tenant,
    kind: EntityType,
    side: &Side<'_>,
    keys: Vec<String>,
) -> Result<Vec<String>, sqlx::Error> {
    let mut parameters = Parameters::of(tenant.as_str());
    let record = if is_part(kind) { event_record(kind) } else { "r.doc".to_owned() };
    let belongs = side.members.map_or(String::new(), |members| belongs(kind, members, &mut parameters));
    let mut rows = format!("{} and r.status = 'active'{belongs}", side.at.stands("r"));
    let mut values = "m.value <> ''".to_owned();
    // Rows that are left out, and values.
    let excluded = side.presence.excluded.iter().cloned().collect();
    rows += &format!(" and r.sourced_id <> all ({}::text[])", parameters.add(Value::Texts(excluded)));
    for slot in slots(kind).into_iter().filter(|slot| slot.required || slot.key.is_some()) {
        let ids = side.presence.absent(slot.target);
        if ids.is_empty() {
            continue;
        }
        let ids = parameters.add(Value::Texts(ids));
        match slot.key {
            Some(key) => values += &format!(" and not (m.key = '{key}' and m.value in (select unnest({ids}::text[])))"),
            None if slot.is_list => rows += &format!(" and not {} <@ {ids}::text[]", slot.named),
            None => rows += &format!(" and {} not in (select unnest({ids}::text[]))", slot.named),
        }
    }
    // `metadata` is the last member of a document, and nothing inside a text can look like its beginning.
    let metadata = match is_part(kind) {
        true => "(d.record::json -> 'metadata')",
        false => "left(substr(d.record, strpos(d.record, '\"metadata\":{') + 11), -1)::json",
    };
    let rows = format!("(select {record} as record from {} where {rows} offset 0) d", side.at.versions(kind, "r"));
    let found =
        format!("{rows}, lateral json_each_text({metadata}) m where d.record like '%\"metadata\":{{%' and {values}");
    let sql = match keys.len() <= FEW_KEYS {
        true => format!(
            "select k.key from unnest({}::text[]) k (key)
              where exists (select from {found} and m.key = k.key and strpos(d.record, to_json(k.key)::text || ':') > 0)",
            parameters.add(Value::Texts(keys))
        ),
        false => format!("select distinct m.key from {found}"),
    };
    list(conn, &sql, parameters).await
}

/// The keys of `metadata` that records of a delta have values for, in any order.
pub async fn keys_of_delta(
    conn: &mut PgConnection,
    Statement { sql, parameters }: Statement,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!(
        "select distinct m.key from ({sql}) d, lateral json_each_text(d.record::json -> 'metadata') m where m.value <> ''"
    );
    list(conn, &sql, parameters).await
}

async fn list(conn: &mut PgConnection, sql: &str, parameters: Parameters) -> Result<Vec<String>, sqlx::Error> {
    let rows = parameters.query(sql).persistent(false).fetch_all(conn).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Rows of a statement, a block at a time.
pub struct Rows<'c> {
    conn: &'c mut PgConnection,
    next: usize,
}

impl<'c> Rows<'c> {
    /// In the connection's transaction.
    pub async fn open(
        conn: &'c mut PgConnection,
        Statement { sql, parameters }: Statement,
    ) -> Result<Self, sqlx::Error> {
        let sql = format!("declare export no scroll cursor for {sql}");
        parameters.query(&sql).persistent(false).execute(&mut *conn).await?;
        Ok(Self { conn, next: 50 })
    }

    /// The next rows; none at the end.
    pub async fn next(&mut self) -> Result<Vec<PgRow>, sqlx::Error> {
        let sql = format!("fetch {} from export", self.next);
        let rows = sqlx::query(&sql).persistent(false).fetch_all(&mut *self.conn).await?;
        let bytes: usize =
            rows.iter().map(|row| row.try_get::<Option<&str>, _>(RECORD).ok().flatten().map_or(0, str::len)).sum();
        self.next = match bytes.checked_div(rows.len()) {
            Some(each) => (BLOCK / each.max(1)).clamp(1, MOST_ROWS).min(self.next * 4),
            None => self.next,
        };
        if rows.is_empty() {
            sqlx::query("close export").persistent(false).execute(&mut *self.conn).await?;
        }
        Ok(rows)
    }
}
