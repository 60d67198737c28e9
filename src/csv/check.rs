//! What only shows when all rows are in: duplicates, references, rules between records (CSV binding §8).

use sqlx::PgConnection;

use super::manifest::Mode;
use super::record::JobRecord;
use super::rules::Level;
use super::stage::{Staging, column, number, slots};
use crate::roster::{Code, EntityType, Kind};

/// What the checks look at.
pub struct Checks<'a> {
    pub staging: &'a Staging,
    pub job: &'a JobRecord,
    /// The files of the set.
    pub modes: &'a [(EntityType, Mode)],
    /// Files that could not be read, or not to their end. What they would have said is not held against others.
    pub unread: &'a [EntityType],
    /// Rows that were rejected are left out, and the records that they name stay as they are. Otherwise they count as
    /// present, so that one fault is not reported as two.
    pub good_rows: bool,
    /// How strictly, and as which edition.
    pub level: Level,
}

/// An error that a check finds: in which column, and what kind.
#[derive(Clone, Copy)]
pub(super) struct Finding {
    pub kind: EntityType,
    pub column: &'static str,
    pub code: Code,
}

impl Checks<'_> {
    /// Adds all errors found to the job's, of which there are `errors`; gives the new count. They go from table to
    /// table, however many they are.
    pub async fn run(&self, conn: &mut PgConnection, errors: i64) -> Result<i64, sqlx::Error> {
        let mut errors = self.duplicates(conn, errors).await?;
        for (number, (slot, target, tag)) in slots().into_iter().enumerate() {
            if self.mode(slot.kind).is_none() || self.unread.contains(&target) {
                continue;
            }
            let number = number as i16;
            let missing = self.missing(target);
            errors = self.references(conn, errors, number, slot, &missing, Code::DanglingReference).await?;
            if let Some(tag) = tag {
                let wrong = self.wrong_type(target, tag);
                errors = self.references(conn, errors, number, slot, &wrong, Code::ReferenceType).await?;
            }
        }
        if self.mode(EntityType::Role).is_some() || self.mode(EntityType::User).is_some() {
            self.make_roles_after(conn).await?;
            errors = self.roles(conn, errors).await?;
            errors = self.users(conn, errors).await?;
        }
        match self.level.is_strict() {
            true => self.strict(conn, errors).await,
            false => Ok(errors),
        }
    }

    /// `found` is SQL for rows of (line, value), with `$1` the tenant.
    pub(super) async fn list(
        &self,
        conn: &mut PgConnection,
        errors: i64,
        Finding { kind, column, code }: Finding,
        found: &str,
    ) -> Result<i64, sqlx::Error> {
        let found: i64 = sqlx::query_scalar(&format!(
            "with found (line, value) as ({found}),
                  listed as (
                    insert into import_errors (tenant, job, number, file, line, \"column\", code, value)
                    select $1::text, $2, $3 + number, $4, line, $5, $6, left(coalesce(value, ''), 100)
                      from (select row_number() over (order by line) as number, line, value from found) numbered
                     where $3 + number <= $7)
             select count(*) from found"
        ))
        .bind(self.job.tenant.as_str())
        .bind(self.job.id)
        .bind(errors)
        .bind(self.level.file(kind))
        .bind(self.level.column(kind, column))
        .bind(code.as_str())
        .bind(self.staging.most_errors)
        .fetch_one(conn)
        .await?;
        Ok(errors + found)
    }

    /// SQL: the row counts as saying how the record will stand.
    fn counts(&self, row: &str) -> String {
        if self.good_rows { format!(" and {row}.record is not null") } else { String::new() }
    }

    /// In a revert: active records that refer to one that is withdrawn, and are not in the revert themselves.
    pub async fn still_referred_to(&self, conn: &mut PgConnection, mut errors: i64) -> Result<i64, sqlx::Error> {
        let rows = &self.staging.rows;
        for (slot, target, _) in slots() {
            let Some(column) = column(slot).filter(|_| self.mode(target).is_some()) else { continue };
            let (entity, kind) = (number(target), number(slot.kind));
            let named = match slot.column.ends_with('s') {
                true => format!("array[s.sourced_id] <@ c.{column}"),
                false => format!("c.{column} = s.sourced_id"),
            };
            let found = format!(
                "select 0, c.sourced_id || ' → ' || s.sourced_id
                   from {rows} s join {table} c on c.tenant = $1 and c.status = 'active' and {named}
                  where s.entity = {entity} and s.withdrawn
                    and not exists (select from {rows} t where t.entity = {kind} and t.sourced_id = c.sourced_id)
                    and (select a.status from {theirs} a
                          where a.tenant = $1 and a.sourced_id = s.sourced_id limit 1) = 'active'",
                table = slot.kind.entity().table,
                theirs = target.entity().table,
            );
            let finding = Finding { kind: slot.kind, column: slot.column, code: Code::StillReferredTo };
            errors = self.list(conn, errors, finding, &found).await?;
        }
        Ok(errors)
    }

    pub(super) fn mode(&self, kind: EntityType) -> Option<Mode> {
        self.modes.iter().find(|m| m.0 == kind).map(|m| m.1)
    }

    async fn duplicates(&self, conn: &mut PgConnection, mut errors: i64) -> Result<i64, sqlx::Error> {
        let (rows, counts) = (&self.staging.rows, self.counts("r"));
        for (kind, _) in self.modes {
            let entity = number(*kind);
            let finding = Finding { kind: *kind, column: "sourcedId", code: Code::DuplicateSourcedId };
            let again = format!(
                "select r.line, r.sourced_id
                   from (select sourced_id, min(line) as first from {rows} r where entity = {entity}{counts}
                          group by sourced_id having count(*) > 1) d
                        join {rows} r on r.entity = {entity} and r.sourced_id = d.sourced_id and r.line > d.first{counts}"
            );
            errors = self.list(conn, errors, finding, &again).await?;
        }
        Ok(errors)
    }

    /// SQL: no record `r.sourced_id` of the target is in the set, nor, unless the set tells all of them, in the roster.
    fn missing(&self, target: EntityType) -> String {
        let staged = format!(
            "not exists (select from {} t where t.entity = {} and t.sourced_id = r.sourced_id{})",
            self.staging.rows,
            number(target),
            self.counts("t")
        );
        match self.mode(target) {
            Some(Mode::Bulk) => staged,
            _ => format!(
                "{staged} and (select c.sequence from {} c where c.tenant = $1 and c.sourced_id = r.sourced_id limit 1) is null",
                target.entity().table
            ),
        }
    }

    /// SQL: the record is there, and has another type.
    fn wrong_type(&self, target: EntityType, tag: &str) -> String {
        let other = |column: &str| format!("{column} <> '{tag}' and {column} not like 'ext:%'");
        format!(
            "exists (select from {rows} t where t.entity = {n} and t.sourced_id = r.sourced_id and {staged})
             or ((select {live} from {table} c where c.tenant = $1 and c.sourced_id = r.sourced_id limit 1)
                 and not exists (select from {rows} t where t.entity = {n} and t.sourced_id = r.sourced_id{counts}))",
            rows = self.staging.rows,
            n = number(target),
            staged = other("t.tag"),
            table = target.entity().table,
            live = other("c.type"),
            counts = self.counts("t"),
        )
    }

    /// Rows whose reference in this slot meets the condition. The rows are searched only when there is such a reference.
    async fn references(
        &self,
        conn: &mut PgConnection,
        errors: i64,
        slot_number: i16,
        slot: super::decode::Slot,
        condition: &str,
        code: Code,
    ) -> Result<i64, sqlx::Error> {
        let named = format!(
            "with bad as materialized (
               select distinct r.sourced_id from {refs} r where r.slot = {slot_number} and $1 <> '' and ({condition}))
             select s.line, named.id
               from {rows} s, lateral ({value}) as named(id)
              where s.entity = {entity} and s.record is not null and not s.withdrawn
                and exists (select from bad) and named.id in (select sourced_id from bad)",
            refs = self.staging.refs,
            rows = self.staging.rows,
            value = named_by(slot),
            entity = number(slot.kind),
        );
        // An id is no personal data by the standard, and without it the error could not be mended.
        self.list(conn, errors, Finding { kind: slot.kind, column: slot.column, code }, &named).await
    }

    /// SQL: ` union all` the roster's records that stand as they are, unless the set tells all of them.
    fn left_alone(&self, kind: EntityType, columns: &str) -> String {
        match self.mode(kind) {
            Some(Mode::Bulk) => String::new(),
            _ => format!(
                " union all select {columns} from {table} c where c.tenant = $1 and c.status = 'active'
                  and not exists (select from {rows} t where t.entity = {n} and t.sourced_id = c.sourced_id{counts})",
                counts = self.counts("t"),
                table = kind.entity().table,
                rows = self.staging.rows,
                n = number(kind)
            ),
        }
    }

    /// Makes a table of the active roles as they will be, with their line when they are in the set.
    async fn make_roles_after(&self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let sql = format!(
            "insert into roles_after
             select s.line, s.owner, s.school, r.\"roleType\", r.\"userProfile\"
               from {rows} s, json_to_record(s.record::json) as r(\"roleType\" text, \"userProfile\" text)
              where s.entity = {role} and s.record is not null and not s.withdrawn and $1 <> ''{}",
            self.left_alone(
                EntityType::Role,
                "null, user_sourced_id, org_sourced_id, role_type, user_profile_sourced_id"
            ),
            rows = self.staging.rows,
            role = number(EntityType::Role),
        );
        let table = "create temp table roles_after (line bigint, user_id text collate \"C\", org_id text collate \"C\",
                     role_type text, profile_id text collate \"C\") on commit drop";
        sqlx::query("drop table if exists pg_temp.roles_after").execute(&mut *conn).await?;
        sqlx::query(table).execute(&mut *conn).await?;
        sqlx::query(&sql).bind(self.job.tenant.as_str()).execute(&mut *conn).await?;
        sqlx::query("analyze roles_after").execute(conn).await.map(drop)
    }

    /// What roles may not be.
    async fn roles(&self, conn: &mut PgConnection, errors: i64) -> Result<i64, sqlx::Error> {
        if self.mode(EntityType::Role).is_none() {
            return Ok(errors);
        }
        let finding = |column, code| Finding { kind: EntityType::Role, column, code };
        let second = "select line, org_id from (
               select line, org_id, row_number() over (partition by user_id, org_id order by line nulls first) as nth
                 from roles_after where role_type = 'primary') p
              where nth > 1 and line is not null";
        let errors = self.list(conn, errors, finding("roleType", Code::SecondPrimaryRole), second).await?;
        let foreign = format!(
            "with owners (profile_id, user_id) as materialized (
               select s.sourced_id, s.owner from {rows} s where s.entity = {profile} and s.record is not null{})
             select r.line, '***' from roles_after r join owners o on o.profile_id = r.profile_id
              where r.line is not null and o.user_id <> r.user_id",
            self.left_alone(EntityType::UserProfile, "sourced_id, user_sourced_id"),
            rows = self.staging.rows,
            profile = number(EntityType::UserProfile),
        );
        self.list(conn, errors, finding("userProfileSourcedId", Code::ForeignProfile), &foreign).await
    }

    /// What roles a user must have.
    async fn users(&self, conn: &mut PgConnection, mut errors: i64) -> Result<i64, sqlx::Error> {
        let (role, user, rows) = (number(EntityType::Role), number(EntityType::User), &self.staging.rows);
        if self.unread.contains(&EntityType::Role) {
            return Ok(errors);
        }
        // A role whose row was rejected is not held against its user.
        let whole = match self.good_rows {
            true => "true".to_owned(),
            false => format!("not exists (select from {rows} x where x.entity = {role} and x.record is null)"),
        };
        if self.mode(EntityType::User).is_some() {
            let finding = |column, code| Finding { kind: EntityType::User, column, code };
            let elsewhere = format!(
                "select s.line, s.school from {rows} s
                  where s.entity = {user} and s.record is not null and not s.withdrawn and {whole}
                    and s.school is not null
                    and not exists (select from roles_after r where r.user_id = s.sourced_id and r.org_id = s.school)"
            );
            let elsewhere_finding = finding("primaryOrgSourcedId", Code::PrimaryOrgWithoutRole);
            errors = self.list(conn, errors, elsewhere_finding, &elsewhere).await?;
            let none = format!(
                "select s.line, s.sourced_id from {rows} s
                  where s.entity = {user} and s.record is not null and not s.withdrawn and {whole}
                    and not exists (select from roles_after r where r.user_id = s.sourced_id)"
            );
            errors = self.list(conn, errors, finding("sourcedId", Code::UserWithoutRole), &none).await?;
        }
        // A user that the set leaves alone can lose its last role all the same: it is withdrawn, given to another, or
        // absent from a bulk file, which then has no line to show.
        if self.mode(EntityType::User) == Some(Mode::Bulk) || self.unread.contains(&EntityType::User) {
            return Ok(errors);
        }
        let touched = match self.mode(EntityType::Role) {
            None => return Ok(errors),
            Some(Mode::Delta) => format!(
                "{rows} s, lateral (
                   select * from roles c where c.tenant = $1 and c.sourced_id = s.sourced_id limit 1) c"
            ),
            Some(Mode::Bulk) => format!(
                "roles c left join lateral (
                   select * from {rows} s where s.entity = {role} and s.sourced_id = c.sourced_id limit 1) s on true"
            ),
        };
        let last = format!(
            "select coalesce(max(s.line), 0), c.user_sourced_id from {touched}
              where c.tenant = $1 and c.status = 'active' and coalesce(s.entity, {role}) = {role} and {whole}
                and not exists (select from roles_after r where r.user_id = c.user_sourced_id)
                and not exists (select from {rows} u
                                 where u.entity = {user} and u.sourced_id = c.user_sourced_id{counts})
                and (select u.status from users u where u.tenant = $1 and u.sourced_id = c.user_sourced_id limit 1) = 'active'
              group by c.user_sourced_id",
            counts = self.counts("u"),
        );
        let finding = Finding { kind: EntityType::Role, column: "userSourcedId", code: Code::UserWithoutRole };
        self.list(conn, errors, finding, &last).await
    }
}

/// SQL for the ids that row `s` names in the slot.
fn named_by(slot: super::decode::Slot) -> String {
    let entity = slot.kind.entity();
    if slot.column == "sourcedId" {
        return "select s.sourced_id".to_owned();
    }
    if let Some(field) = entity.fields.iter().find(|f| f.csv == slot.column) {
        let sql = match field.kind {
            Kind::GuidRefList => {
                format!("select r ->> 'sourcedId' from json_array_elements(s.record::json -> '{}') r", field.json)
            }
            Kind::GuidRef => format!("select s.record::json -> '{}' ->> 'sourcedId'", field.json),
            _ => format!("select s.record::json ->> '{}'", field.json),
        };
        return sql;
    }
    let key = slot.column.trim_start_matches("metadata.");
    format!("select s.record::json -> 'metadata' ->> '{key}'")
}
