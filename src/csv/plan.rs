//! What a set would change: the staged rows against the roster as it stands.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::manifest::Mode;
use super::stage::{PEOPLE, Staging, number, person, school_of};
use crate::log::Tenant;
use crate::roster::EntityType;

/// What becomes of the records of one entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Changes {
    pub created: i64,
    pub changed: i64,
    pub restored: i64,
    pub withdrawn: i64,
    pub unchanged: i64,
}

impl Changes {
    /// Records that do not stay as they are.
    pub fn planned(&self) -> i64 {
        self.created + self.changed + self.restored + self.withdrawn
    }
}

impl Changes {
    /// The count of this name; what is none of the others is unchanged.
    pub fn of(&mut self, name: &str) -> &mut i64 {
        match name {
            "created" => &mut self.created,
            "changed" => &mut self.changed,
            "restored" => &mut self.restored,
            "withdrawn" => &mut self.withdrawn,
            _ => &mut self.unchanged,
        }
    }
}

impl AddAssign for Changes {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.changed += other.changed;
        self.restored += other.restored;
        self.withdrawn += other.withdrawn;
        self.unchanged += other.unchanged;
    }
}

/// By entity.
pub type ChangeCounts = BTreeMap<EntityType, Changes>;

/// SQL: what a row `p` of the plan does.
pub const KIND: &str = "case when p.withdraw then 'withdrawn' when p.sequence = 0 then 'created'
                             when p.withdrawn then 'restored' else 'changed' end";
pub const KINDS: [&str; 4] = ["created", "changed", "restored", "withdrawn"];

/// What a plan does, counted.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub all: ChangeCounts,
    /// By org. Records that belong to none are not among them.
    pub schools: BTreeMap<String, ChangeCounts>,
    /// In a revert: records that changed since.
    pub conflicts: i64,
}

/// Computes the plan anew. Within a transaction of the caller's: until it commits, the former plan stands.
pub async fn plan(
    conn: &mut PgConnection,
    staging: &Staging,
    tenant: &Tenant,
    modes: &[(EntityType, Mode)],
) -> Result<Counts, sqlx::Error> {
    let plan = &staging.plan;
    sqlx::query(&format!("truncate {plan}")).execute(&mut *conn).await?;
    for (kind, mode) in modes {
        let found = match mode {
            Mode::Bulk => differing(staging, *kind),
            Mode::Delta => looked_up(staging, *kind),
        };
        if *mode == Mode::Bulk {
            sqlx::query(JOINED).execute(&mut *conn).await?;
        }
        sqlx::query(&format!(
            "insert into {plan} (entity, sourced_id, line, withdraw, sequence, withdrawn, owner, school, conflict) {found}"
        ))
        .bind(tenant.as_str())
        .execute(&mut *conn)
        .await?;
        if *mode == Mode::Bulk {
            sqlx::query(LOOKED_UP).execute(&mut *conn).await?;
        }
    }
    sqlx::query(&format!("analyze {plan}")).execute(&mut *conn).await?;
    let mut counts = count(conn, staging).await?;
    for (kind, _) in modes {
        counts.all.entry(*kind).or_default();
    }
    Ok(counts)
}

/// For a statement that goes through all records of a type once, whatever the statistics say of the tenant.
const JOINED: &str = "select set_config('enable_nestloop', 'off', true), set_config('enable_seqscan', 'off', true)";
const LOOKED_UP: &str = "select set_config('enable_nestloop', 'on', true), set_config('enable_seqscan', 'on', true)";

/// SQL: rows of a plan, of a file that tells all records of a type: those that the roster does not say the same of
/// already, and its active records that the file does not name. Rows that were rejected name theirs. A revert, the
/// only one to have conflicts, tells no type whole.
fn differing(staging: &Staging, kind: EntityType) -> String {
    let table = kind.entity().table;
    let owner = match kind {
        EntityType::Role | EntityType::UserProfile => "c.user_sourced_id",
        _ => "c.sourced_id",
    };
    // What the join does not need is looked up after it: it holds a whole type in memory, or on disk.
    let absent = |wanted: &str| {
        format!("(select {wanted} from {table} c where c.tenant = $1 and c.sourced_id = d.sourced_id limit 1)")
    };
    format!(
        "select {entity}, d.sourced_id, coalesce(d.line, 0), d.withdrawn is not false, d.sequence, d.was_withdrawn,
                case when d.line is null then {owner} else d.owner end,
                case when d.line is null then {school_of} else {school} end, false
           from (select coalesce(s.sourced_id, c.sourced_id) as sourced_id, s.line, s.withdrawn, s.owner, s.school,
                        coalesce(c.sequence, 0) as sequence,
                        s.line is not null and c.status <> 'active' as was_withdrawn
                   from (select sourced_id, line, withdrawn, owner, school, digest, record is null as rejected
                           from {rows} where entity = {entity} offset 0) s
                        full join (select sourced_id, sequence, status, digest from {table} where tenant = $1 offset 0) c
                               on c.sourced_id = s.sourced_id
                  where case when s.line is null then c.status = 'active'
                             when s.rejected then false
                             when s.withdrawn then c.status = 'active'
                             else c.sourced_id is null or c.status <> 'active' or c.digest <> s.digest end
                 offset 0) d",
        entity = number(kind),
        owner = absent(owner),
        school_of = absent(&school_of(kind)),
        school = staging.school(kind, "d"),
        rows = staging.rows,
    )
}

/// SQL: rows of a plan, of a file that tells some records, each looked up by its key (a join's plan would hang on
/// statistics that do not know the tenant yet).
fn looked_up(staging: &Staging, kind: EntityType) -> String {
    format!(
        "select s.entity, s.sourced_id, s.line, s.withdrawn, coalesce(c.sequence, 0), c.status <> 'active', s.owner,
                {school}, coalesce(c.sequence <> s.expected, false)
           from {rows} s
                left join lateral (select * from {table} c
                                    where c.tenant = $1 and c.sourced_id = s.sourced_id limit 1) c on true
          where s.entity = {entity} and s.record is not null
            and case when s.withdrawn then c.status = 'active'
                     else c.sourced_id is null or c.status <> 'active' or c.digest <> s.digest end",
        school = staging.school(kind, "s"),
        rows = staging.rows,
        table = kind.entity().table,
        entity = number(kind),
    )
}

/// One statement, however many orgs there are.
async fn count(conn: &mut PgConnection, Staging { rows, homes, plan, .. }: &Staging) -> Result<Counts, sqlx::Error> {
    let (people, person) = (PEOPLE.map(|kind| number(kind).to_string()).join(", "), person("s"));
    type Row = (i16, Option<String>, i64, i64, i64, i64, i64, i64);
    let found: Vec<Row> = sqlx::query_as(&format!(
        "select entity, school, count(*) filter (where kind = 'created'), count(*) filter (where kind = 'changed'),
                count(*) filter (where kind = 'restored'), count(*) filter (where kind = 'withdrawn'),
                count(*) filter (where kind = 'staged') - count(*) filter (where kind <> 'staged' and line > 0),
                count(*) filter (where conflict)
           from (select p.entity, p.school, p.line, p.conflict, {KIND} as kind from {plan} p
                 union all
                 select s.entity, coalesce(s.school, h.school), s.line, false, 'staged'
                   from {rows} s
                        left join {homes} h
                               on h.person = case when s.entity in ({people}) then {person} end
                  where s.record is not null) each
          group by entity, school"
    ))
    .fetch_all(conn)
    .await?;
    let mut counts = Counts::default();
    for (entity, school, created, changed, restored, withdrawn, unchanged, conflicts) in found {
        let kind = EntityType::ALL[entity as usize];
        let changes = Changes { created, changed, restored, withdrawn, unchanged };
        *counts.all.entry(kind).or_default() += changes;
        counts.conflicts += conflicts;
        if let Some(school) = school {
            *counts.schools.entry(school).or_default().entry(kind).or_default() += changes;
        }
    }
    Ok(counts)
}

/// SQL: rows of the plan with what each becomes (`record`) and, of what it has been, the last event (`last`). `chosen`
/// is SQL for the rows, with `$1` the tenant. They are looked up one by one, so that the first are there at once.
pub fn with_records(Staging { rows, .. }: &Staging, chosen: &str) -> String {
    let names = EntityType::ALL.map(|k| format!(" when {} then '{}'", number(k), k.name())).concat();
    format!(
        "select p.*, s.record, s.expected, e.payload::text as last, e.event_type, e.event_version
           from ({chosen} offset 0) p
                left join lateral (
                  select s.record, s.expected from {rows} s
                   where s.entity = p.entity and s.sourced_id = p.sourced_id limit 1) s on true
                left join lateral (
                  select e.payload, e.event_type, e.event_version from events e
                   where p.sequence > 0 and e.aggregate_type = case p.entity{names} end
                     and e.aggregate_id = $1 || '/' || p.sourced_id and e.sequence = p.sequence limit 1) e on true"
    )
}
