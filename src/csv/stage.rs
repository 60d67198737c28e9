//! Where the rows of a set wait while it is checked and planned: unlogged tables of the job's own.

use std::fmt::Write;

use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::ImportError;
use super::decode::{Slot, StagedRow, Stopped};
use super::record::JobRecord;
use crate::log::Tenant;
use crate::roster::EntityType;

/// Types whose records belong where the person does.
pub const PEOPLE: [EntityType; 3] = [EntityType::User, EntityType::UserProfile, EntityType::Demographics];

/// SQL: the person whose row it is. (Row-level security lets an index be used for what is written so, and not for
/// `coalesce`, which might leak.)
pub fn person(row: &str) -> String {
    format!("case when {row}.owner is null then {row}.sourced_id else {row}.owner end")
}

/// Bytes gathered before they are sent.
const BLOCK: usize = 1 << 20;
const ERRORS_AT_ONCE: usize = 1_000;

/// The job's tables: `rows` (one per CSV row), `refs` (what the rows name), `homes` (the org that a person belongs to),
/// `plan` (what is to be done).
#[derive(Clone)]
pub struct Staging {
    pub(super) job: Uuid,
    pub rows: String,
    pub refs: String,
    pub homes: String,
    pub plan: String,
    /// Errors that are listed at most; beyond them they are counted.
    pub most_errors: i64,
}

impl Staging {
    pub fn of(job: Uuid) -> Self {
        let id = job.simple();
        Self {
            job,
            most_errors: i64::MAX,
            rows: format!("staging.rows_{id}"),
            refs: format!("staging.refs_{id}"),
            homes: format!("staging.homes_{id}"),
            plan: format!("staging.plan_{id}"),
        }
    }

    /// The connection is the job's own: sorts and groups of a whole set stay in memory.
    pub async fn room(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        for statement in ["set work_mem = '64MB'", "set maintenance_work_mem = '128MB'"] {
            sqlx::query(statement).execute(&mut *conn).await?;
        }
        Ok(())
    }

    fn tables(&self) -> [&str; 4] {
        [&self.rows, &self.refs, &self.homes, &self.plan]
    }

    async fn create(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Self { rows, refs, homes, plan, .. } = self;
        for statement in [
            format!(
                "create unlogged table {rows} (entity smallint not null, line bigint not null,
                 sourced_id text collate \"C\" not null, withdrawn boolean not null, tag text,
                 owner text collate \"C\", record text, digest bytea, school text collate \"C\",
                 expected bigint)"
            ),
            // No plan asks for them, and statistics would keep what is erased.
            format!("alter table {rows} alter record set statistics 0"),
            format!("create unlogged table {refs} (slot smallint not null, sourced_id text collate \"C\" not null)"),
            format!("create unlogged table {homes} (person text collate \"C\" primary key, school text collate \"C\")"),
            format!(
                "create unlogged table {plan} (entity smallint not null, sourced_id text collate \"C\" not null,
                 line bigint not null, withdraw boolean not null, sequence bigint not null, withdrawn boolean,
                 owner text collate \"C\", school text collate \"C\", conflict boolean not null)"
            ),
        ] {
            sqlx::query(&statement).execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// After all rows are in: people belong to their primary org, else to the first org of their roles, and what is
    /// theirs with them.
    pub async fn place(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<(), sqlx::Error> {
        let Self { rows, homes, .. } = self;
        let (user, role) = (number(EntityType::User), number(EntityType::Role));
        sqlx::query(&format!(
            "insert into {homes} (person, school)
             select id, coalesce(min(school) filter (where first), min(school))
               from (select sourced_id, school, true from {rows} where entity = {user}
                     union all
                     select owner, school, false from {rows} where entity = {role} and not withdrawn) named (id, school, first)
              where school is not null group by id order by id"
        ))
        .execute(&mut *conn)
        .await?;
        sqlx::query(&format!("analyze {homes}")).execute(&mut *conn).await?;
        sqlx::query(&format!(
            "insert into {homes} (person, school)
             select s.person, (select {} from users c where c.tenant = $1 and c.sourced_id = s.person limit 1)
               from (select distinct {person} as person from {rows} s where entity = any($2)) s
              where not exists (select from {homes} h where h.person = s.person)",
            school_of(EntityType::User),
            person = person("s")
        ))
        .bind(tenant.as_str())
        .bind(&PEOPLE.map(number)[..])
        .execute(conn)
        .await
        .map(drop)
    }

    /// SQL for the org that a row of a type belongs to.
    pub fn school(&self, kind: EntityType, row: &str) -> String {
        match PEOPLE.contains(&kind) {
            true => format!("(select h.school from {} h where h.person = {})", self.homes, person(row)),
            false => format!("{row}.school"),
        }
    }

    /// After all rows are in: what the checks and the plan look things up by, and row-level security, under which COPY
    /// does not work. The policy knows the tenant from the job.
    pub async fn index(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Self { job, rows, refs, .. } = self;
        let mut statements = vec![
            format!("create index on {rows} (entity, sourced_id)"),
            format!("analyze {rows}"),
            format!("analyze {refs}"),
        ];
        for table in self.tables() {
            statements.push(format!("alter table {table} enable row level security, force row level security"));
            statements.push(format!(
                "create policy tenant on {table} using (
                   (select j.tenant = current_tenant() from import_jobs j where j.id = '{job}' and j.finished_at is null))"
            ));
        }
        for statement in statements {
            sqlx::query(&statement).execute(&mut *conn).await?;
        }
        Ok(())
    }

    /// Before a plan waits for a decision: it outlives a crash of the database, which empties unlogged tables, and can
    /// be looked through.
    pub async fn keep(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let (name, plan) = (self.plan_index(), &self.plan);
        sqlx::query(&format!("create index if not exists {name} on {plan} (entity, sourced_id)"))
            .execute(&mut *conn)
            .await?;
        for table in self.tables() {
            sqlx::query(&format!("alter table {table} set logged")).execute(&mut *conn).await?;
        }
        Ok(())
    }

    fn plan_index(&self) -> String {
        format!("plan_{}_listed", self.job.simple())
    }

    pub async fn drop(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(&format!("drop table if exists {}", self.tables().join(", "))).execute(conn).await.map(drop)
    }
}

/// Number of an entity in the staging tables: its place in the order of recording.
pub fn number(kind: EntityType) -> i16 {
    kind as i16
}

/// SQL for the org that a row `c` of the type's read model belongs to; people belong to their primary org, else to the
/// first of their roles'.
pub fn school_of(kind: EntityType) -> String {
    let of_user = "coalesce(c.primary_org_sourced_id, c.role_org_sourced_ids[1])";
    let lookup = |id: &str| {
        let of_user = of_user.replace("c.", "u.");
        format!("(select {of_user} from users u where u.tenant = c.tenant and u.sourced_id = c.{id} limit 1)")
    };
    match kind {
        EntityType::AcademicSession => "null::text".to_owned(),
        EntityType::Org => "c.sourced_id".to_owned(),
        EntityType::Course | EntityType::Role => "c.org_sourced_id".to_owned(),
        EntityType::Class | EntityType::Enrollment => "c.school_sourced_id".to_owned(),
        EntityType::User => of_user.to_owned(),
        EntityType::UserProfile => lookup("user_sourced_id"),
        EntityType::Demographics => lookup("sourced_id"),
    }
}

/// Column of a slot's read model: `classSourcedId` is `class_sourced_id`. Extensions have none.
pub fn column(slot: Slot) -> Option<String> {
    let mut column = String::new();
    for c in slot.column.chars() {
        match c {
            '.' => return None,
            c if c.is_ascii_uppercase() => column.extend(['_', c.to_ascii_lowercase()]),
            c => column.push(c),
        }
    }
    Some(column)
}

/// All fields that refer to other records, numbered by their place.
pub fn slots() -> Vec<(Slot, EntityType, Option<&'static str>)> {
    let mut slots = Vec::new();
    for kind in EntityType::ALL {
        let entity = kind.entity();
        let extensions = crate::roster::japan::EXTENSIONS.iter().filter(|e| e.entity == kind).map(|e| &e.field);
        for field in entity.fields.iter().chain(extensions) {
            if let Some(reference) = field.reference {
                slots.push((Slot { kind, column: field.csv }, reference.target, reference.tag));
            }
        }
        if let Some(target) = entity.identified_by {
            slots.push((Slot { kind, column: "sourcedId" }, target, None));
        }
    }
    slots
}

/// What is staged together.
enum Block {
    /// In COPY's text format.
    Rows(String),
    Refs(String),
    Errors(Vec<ImportError>),
}

impl Block {
    fn is_empty(&self) -> bool {
        match self {
            Self::Rows(text) | Self::Refs(text) => text.is_empty(),
            Self::Errors(errors) => errors.is_empty(),
        }
    }
}

/// Takes what [`Stager`] gathers.
pub struct Blocks(mpsc::Receiver<Block>);

/// Gathers rows, references and errors into blocks.
pub struct Stager {
    slots: Vec<Slot>,
    rows: String,
    refs: String,
    errors: Vec<ImportError>,
    out: mpsc::Sender<Block>,
}

impl Stager {
    pub fn new() -> (Self, Blocks) {
        let (out, blocks) = mpsc::channel(2);
        let slots = slots().into_iter().map(|s| s.0).collect();
        let (rows, refs) = (String::with_capacity(BLOCK + 4096), String::with_capacity(BLOCK + 4096));
        (Self { slots, rows, refs, errors: Vec::new(), out }, Blocks(blocks))
    }

    pub async fn row(&mut self, row: &StagedRow) -> Result<(), Stopped> {
        let out = &mut self.rows;
        let _ = write!(out, "{}\t{}\t", number(row.kind), row.line);
        escape(out, &row.sourced_id);
        out.push_str(if row.withdrawn { "\tt\t" } else { "\tf\t" });
        optional(out, row.tag.as_deref());
        out.push('\t');
        optional(out, row.owner.as_deref());
        out.push('\t');
        match &row.record {
            Some((record, digest)) => {
                escape_json(out, record);
                out.push_str("\t\\\\x");
                for nibble in digest.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
                    out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
                }
                out.push('\t');
            }
            None => out.push_str("\\N\t\\N\t"),
        }
        optional(out, row.school.as_deref());
        out.push('\t');
        optional(out, row.expected.map(|n| n.to_string()).as_deref());
        out.push('\n');
        if self.rows.len() >= BLOCK {
            self.send_rows().await?;
        }
        Ok(())
    }

    pub async fn reference(&mut self, slot: Slot, id: &str) -> Result<(), Stopped> {
        if let Some(number) = self.slots.iter().position(|s| *s == slot) {
            let _ = write!(self.refs, "{number}\t");
            escape(&mut self.refs, id);
            self.refs.push('\n');
        }
        if self.refs.len() >= BLOCK {
            self.send_refs().await?;
        }
        Ok(())
    }

    pub async fn error(&mut self, error: ImportError) -> Result<(), Stopped> {
        self.errors.push(error);
        if self.errors.len() >= ERRORS_AT_ONCE {
            self.send_errors().await?;
        }
        Ok(())
    }

    pub async fn finish(mut self) -> Result<(), Stopped> {
        self.send_rows().await?;
        self.send_refs().await?;
        self.send_errors().await
    }

    async fn send_rows(&mut self) -> Result<(), Stopped> {
        let rows = std::mem::replace(&mut self.rows, String::with_capacity(BLOCK + 4096));
        self.send(Block::Rows(rows)).await
    }

    async fn send_refs(&mut self) -> Result<(), Stopped> {
        let refs = std::mem::replace(&mut self.refs, String::with_capacity(BLOCK + 4096));
        self.send(Block::Refs(refs)).await
    }

    async fn send_errors(&mut self) -> Result<(), Stopped> {
        let errors = std::mem::take(&mut self.errors);
        self.send(Block::Errors(errors)).await
    }

    async fn send(&self, block: Block) -> Result<(), Stopped> {
        if block.is_empty() {
            return Ok(());
        }
        self.out.send(block).await.map_err(|_| Stopped)
    }
}

impl Blocks {
    /// Makes the tables, writes all that is gathered, and gives the number of errors. Blocks of rows that follow each
    /// other are one COPY, so that gathering and writing go on at the same time. In the transaction that makes a table,
    /// its rows can be written as visible to all, and need not be looked at for it ever after.
    pub async fn write(
        mut self,
        conn: &mut PgConnection,
        staging: &Staging,
        job: &JobRecord,
    ) -> Result<i64, sqlx::Error> {
        let mut tx = conn.begin().await?;
        staging.create(&mut tx).await?;
        let mut errors = 0;
        let mut next = self.0.recv().await;
        while let Some(block) = next {
            next = match block {
                Block::Rows(rows) => self.copy(&mut tx, &staging.rows, rows).await?,
                Block::Refs(refs) => {
                    let mut copy = tx.copy_in_raw(&format!("copy {} from stdin (freeze)", staging.refs)).await?;
                    copy.send(refs.as_bytes()).await?;
                    copy.finish().await?;
                    self.0.recv().await
                }
                Block::Errors(found) => {
                    let room = usize::try_from(staging.most_errors - errors).unwrap_or_default();
                    write_errors(&mut tx, job, errors, &found[..found.len().min(room)]).await?;
                    errors += found.len() as i64;
                    self.0.recv().await
                }
            }
        }
        tx.commit().await?;
        Ok(errors)
    }

    /// Writes these rows and those that follow. Gives the next block that holds something else.
    async fn copy(&mut self, conn: &mut PgConnection, table: &str, rows: String) -> Result<Option<Block>, sqlx::Error> {
        let mut copy = conn.copy_in_raw(&format!("copy {table} from stdin (freeze)")).await?;
        let mut next = Some(Block::Rows(rows));
        while let Some(Block::Rows(rows)) = &next {
            copy.send(rows.as_bytes()).await?;
            next = self.0.recv().await;
        }
        copy.finish().await?;
        Ok(next)
    }
}

/// COPY's text format.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
}

/// The same for JSON, in which control characters stand escaped already.
fn escape_json(out: &mut String, json: &str) {
    let mut rest = json;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..=at]);
        out.push('\\');
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

fn optional(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => escape(out, text),
        None => out.push_str("\\N"),
    }
}

/// Adds errors to the job's list, numbered from `before` on.
async fn write_errors(
    conn: &mut PgConnection,
    job: &JobRecord,
    before: i64,
    errors: &[ImportError],
) -> Result<(), sqlx::Error> {
    for (i, chunk) in errors.chunks(ERRORS_AT_ONCE).enumerate() {
        sqlx::query(
            "insert into import_errors (tenant, job, number, file, line, \"column\", code, value)
             select $1, $2, $3 + ordinal, file, line, col, code, value
               from unnest($4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[]) with ordinality
                    as e(file, line, col, code, value, ordinal)",
        )
        .bind(job.tenant.as_str())
        .bind(job.id)
        .bind(before + (i * ERRORS_AT_ONCE) as i64)
        .bind(chunk.iter().map(|e| e.file.as_str()).collect::<Vec<_>>())
        .bind(chunk.iter().map(|e| e.line as i64).collect::<Vec<_>>())
        .bind(chunk.iter().map(|e| e.column.as_str()).collect::<Vec<_>>())
        .bind(chunk.iter().map(|e| e.code.as_str()).collect::<Vec<_>>())
        .bind(chunk.iter().map(|e| e.value.as_str()).collect::<Vec<_>>())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
