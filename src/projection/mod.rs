//! Runs `projections/*.sql`: each file is a SELECT that makes the versions of one read model's rows from events;
//! how versions replace each other, and what stood before, is the same for all and stands here.
//!
//! What the runner gives a file to select from (`$1` tenant, `$2` and `$3` the positions, `($2, $3]`):
//! * `changes`: the last event of each record in each unit of work, of the types named in `-- events:`
//! * `wholes`: only with `-- parts:` or `-- edges:`; the records to make anew because they or what they are made
//!   of changed, each with its own record as it stood then. `parts` of a record show in it; an `edge` shows only
//!   when it comes, goes or leads elsewhere.

mod past;
mod rebuild;
mod replay;
mod shadow;

use sha2::{Digest, Sha256};
use sqlx::{Postgres, Transaction};

use crate::db::Db;
use crate::log::Tenant;
pub use past::Past;
pub use rebuild::{Difference, ShadowError};

/// Name and text of each file, in the order in which they are applied: what others read from comes first; the largest
/// first of all, since a rebuild makes several at a time.
const FILES: [(&str, &str); 10] = [
    ("enrollments", include_str!("../../projections/enrollments.sql")),
    ("lineage", include_str!("../../projections/lineage.sql")),
    ("roles", include_str!("../../projections/roles.sql")),
    ("user_profiles", include_str!("../../projections/user_profiles.sql")),
    ("academic_sessions", include_str!("../../projections/academic_sessions.sql")),
    ("orgs", include_str!("../../projections/orgs.sql")),
    ("courses", include_str!("../../projections/courses.sql")),
    ("classes", include_str!("../../projections/classes.sql")),
    ("users", include_str!("../../projections/users.sql")),
    ("demographics", include_str!("../../projections/demographics.sql")),
];

/// One read model and the statement that keeps it.
///
/// Rows are looked up by what the batch holds, never by the tenant alone: statistics do not know a tenant whose
/// first import is under way, and a plan that goes through all its rows for each row of the batch is quadratic.
/// An aggregate's id begins with its tenant, so events are looked up by it alone.
pub struct Projection {
    /// Of the file, and of the table.
    pub name: &'static str,
    /// Aggregate types whose events touch it.
    pub reads: Vec<&'static str>,
    /// Columns of its tables, but for generated ones.
    columns: String,
    file: &'static str,

    /// Of the events in a range of positions.
    statement: String,
    /// Of the events at the positions listed.
    replay: String,
}

/// How a statement names the events that it is about: `$2` and `$3` are positions.
const RANGE: &str = "e.position > $2 and e.position <= $3";
/// `$2` are the positions, `$3` is the last of all.
const LISTED: &str = "e.position = any($2)";

/// All projections, ready to run.
pub struct Projections {
    all: Vec<Projection>,
    fingerprint: String,
}

impl Projections {
    /// Assembles the statements; asks the database for the tables' columns.
    pub async fn load(db: &Db) -> Result<Self, sqlx::Error> {
        let mut all = Vec::with_capacity(FILES.len());
        let mut hash = Sha256::new();
        for (name, file) in FILES {
            let columns: Vec<String> = sqlx::query_scalar(
                "select quote_ident(attname) from pg_attribute
                  where attrelid = $1::regclass and attnum > 0 and not attisdropped and attname <> 'until' and attgenerated = ''
                  order by attnum",
            )
            .bind(name)
            .fetch_all(db.pool())
            .await?;
            let projection = Projection::assemble(name, file, columns);
            hash.update(&projection.statement);
            all.push(projection);
        }
        let fingerprint = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { all, fingerprint })
    }

    /// Tells apart read models made by different projections.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.all.iter().map(|p| p.name)
    }

    /// Applies the events of `(from, to]` to the read models, in the caller's transaction. `types`: the aggregate
    /// types among them, when known.
    pub async fn apply(
        &self,
        tx: &mut Transaction<'static, Postgres>,
        tenant: &Tenant,
        from: i64,
        to: i64,
        types: Option<&[&str]>,
    ) -> Result<(), sqlx::Error> {
        for projection in &self.all {
            if types.is_none_or(|types| projection.reads.iter().any(|t| types.contains(t))) {
                projection.run(tx, tenant, from, to).await?;
            }
        }
        Ok(())
    }
}

impl Projection {
    /// What stands, and what stood before.
    fn tables(&self) -> [String; 2] {
        [self.name.to_owned(), format!("{}_history", self.name)]
    }

    /// Whether its rows are made with the help of another read model's, which is then asked for what stood.
    fn reads_from(&self, other: &Self) -> bool {
        self.name != other.name && self.file.contains(&format!("{}_history", other.name))
    }

    async fn run(&self, conn: &mut sqlx::PgConnection, tenant: &Tenant, from: i64, to: i64) -> Result<(), sqlx::Error> {
        sqlx::query(&self.statement).bind(tenant.as_str()).bind(from).bind(to).execute(conn).await.map(drop)
    }

    fn assemble(name: &'static str, file: &'static str, columns: Vec<String>) -> Self {
        let own = header(file, "events");
        let parts: Vec<Part> = Part::all(file);
        let types = own.iter().map(|t| format!("'{t}'")).collect::<Vec<_>>().join(", ");
        let list = columns.join(", ");
        let statement = |events: &str| {
            let wholes = wholes(&own, &parts, events);
            format!(
                "with changes as materialized (
  select distinct on (e.aggregate_type, e.aggregate_id, e.unit)
         e.tenant, e.aggregate_type, substr(e.aggregate_id, length(e.tenant) + 2) as sourced_id,
         e.unit as since, e.sequence, {STATUS} as status,
         e.recorded_at as date_last_modified, {DIGEST} as digest, p.record
    from events e, {RECORD}
   where e.tenant = $1 and {events} and e.aggregate_type in ({types})
   order by e.aggregate_type, e.aggregate_id, e.unit, e.position desc),
{wholes}made as materialized (
{file}),
versions as materialized (
  select m.*, lead(m.since) over (partition by m.sourced_id order by m.since) as until from made m),
moved as (
  delete from {name} c
   using (select tenant, sourced_id, min(since) as since from versions group by tenant, sourced_id) v
   where c.tenant = v.tenant and c.sourced_id = v.sourced_id
  returning c.*, v.since as replaced_at),
stood as (
  insert into {name}_history ({list}, until)
  select {list}, replaced_at from moved where since < replaced_at),
passed as (
  insert into {name}_history ({list}, until) select * from versions where until is not null)
insert into {name} ({list}, until) select v.* from (select count(*) from moved) first, versions v where v.until is null"
            )
        };
        let (statement, replay) = (statement(RANGE), statement(LISTED));
        let mut reads = own;
        reads.extend(parts.iter().map(|p| p.kind));
        Self { name, reads, columns: list + ", until", file, statement, replay }
    }
}

const STATUS: &str = "case when e.event_type in ('Withdrawn', 'Erased') then 'tobedeleted' else 'active' end";
const DIGEST: &str = "sha256(convert_to(p.record::text, 'UTF8'))";
/// Out of the payload once, however often it is used.
const RECORD: &str = "lateral (select e.payload -> 'record' as record offset 0) p";

/// A record type whose `member` names the record it is shown in.
struct Part {
    kind: &'static str,
    member: &'static str,
    edge: bool,
}

impl Part {
    fn all(file: &'static str) -> Vec<Self> {
        let of = |key, edge| {
            header(file, key)
                .into_iter()
                .filter_map(|word| word.split_once('.'))
                .map(move |(kind, member)| Self { kind, member, edge })
                .collect::<Vec<_>>()
        };
        let mut parts = of("parts", false);
        parts.extend(of("edges", true));
        parts
    }

    /// Which records this part touches: the one it names, and the one it named before.
    fn touched(&self, events: &str) -> String {
        let Self { kind, member, edge } = self;
        let of = |event: &str| format!("{event}.payload -> 'record' -> '{member}' ->> 'sourcedId'");
        let visible = if *edge {
            format!(
                " and (b.position is null or {} is distinct from {}
          or (e.event_type in ('Withdrawn', 'Erased')) <> (b.event_type in ('Withdrawn', 'Erased')))",
                of("b"),
                of("e")
            )
        } else {
            String::new()
        };
        format!(
            "  select whole.sourced_id, e.unit, e.recorded_at
    from events e
         left join events b on b.aggregate_type = e.aggregate_type and b.aggregate_id = e.aggregate_id
               and b.sequence = nullif(e.sequence - 1, 0),
         lateral (values ({}), ({})) as whole(sourced_id)
   where e.tenant = $1 and {events} and e.aggregate_type = '{kind}'
     and whole.sourced_id is not null{visible}",
            of("e"),
            of("b"),
        )
    }
}

/// The CTE `wholes`, or nothing for a read model whose rows are made of one record each.
fn wholes(own: &[&str], parts: &[Part], events: &str) -> String {
    if parts.is_empty() {
        return String::new();
    }
    let kind = own.first().copied().unwrap_or_default();
    let touched = parts.iter().map(|part| part.touched(events)).collect::<Vec<_>>().join("\n  union\n");
    format!(
        "touched (sourced_id, since, date_last_modified) as materialized (
{touched}
  except
  select sourced_id, since, date_last_modified from changes),
wholes as materialized (
  select tenant, sourced_id, since, date_last_modified, sequence, status, digest, record from changes
  union all
  select $1, t.sourced_id, t.since, t.date_last_modified, own.sequence, own.status, own.digest, own.record
    from touched t,
         lateral (
           select e.sequence, {STATUS} as status, {DIGEST} as digest, p.record
             from events e, {RECORD}
            where e.aggregate_type = '{kind}' and e.aggregate_id = $1 || '/' || t.sourced_id
              and e.unit <= t.since and e.position <= $3
            order by e.sequence desc limit 1
         ) own),
"
    )
}

/// The words after `-- <key>:` at the top of a file.
fn header(file: &'static str, key: &str) -> Vec<&'static str> {
    file.lines()
        .take_while(|line| line.starts_with("--"))
        .filter_map(|line| line.strip_prefix("-- ")?.strip_prefix(key)?.strip_prefix(':'))
        .flat_map(str::split_whitespace)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_says_what_it_reads() {
        for (name, file) in FILES {
            let projection = Projection::assemble(name, file, vec!["tenant".into()]);
            assert!(!projection.reads.is_empty(), "{name}");
            for kind in &projection.reads {
                assert!(crate::roster::EntityType::from_name(kind).is_some(), "{name} reads {kind}");
            }
        }
        let users = FILES.iter().find(|f| f.0 == "users").unwrap();
        assert_eq!(header(users.1, "parts"), ["role.user", "userProfile.user"]);
    }

    #[test]
    fn what_others_read_from_comes_first() {
        let all: Vec<_> = FILES.map(|(name, file)| Projection::assemble(name, file, vec!["tenant".into()])).into();
        for (n, projection) in all.iter().enumerate() {
            assert!(!all[n..].iter().any(|later| projection.reads_from(later)), "{}", projection.name);
        }
        let named = |name: &str| all.iter().find(|p| p.name == name).unwrap();
        assert!(named("users").reads_from(named("roles")) && named("orgs").reads_from(named("lineage")));
    }
}
