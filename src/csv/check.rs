//! What only shows when all rows are in: duplicates, references, rules between records (CSV binding §8).

use sqlx::PgConnection;

use super::ImportError;
use super::package::Mode;
use super::stage::{Staging, number, slots};
use crate::log::Tenant;
use crate::roster::{Code, EntityType, Kind};

/// What the checks look at.
pub struct Checks<'a> {
    pub staging: &'a Staging,
    pub tenant: &'a Tenant,
    /// The files of the set.
    pub modes: &'a [(EntityType, Mode)],
    /// Files that could not be read, or not to their end. What they would have said is not held against others.
    pub unread: &'a [EntityType],
}

impl Checks<'_> {
    /// All errors found.
    pub async fn run(&self, conn: &mut PgConnection) -> Result<Vec<ImportError>, sqlx::Error> {
        let mut errors = self.duplicates(conn).await?;
        for (number, (slot, target, tag)) in slots().into_iter().enumerate() {
            if self.mode(slot.kind).is_none() || self.unread.contains(&target) {
                continue;
            }
            let number = number as i16;
            let missing = self.missing(target);
            errors.extend(self.references(conn, number, slot, &missing, Code::DanglingReference).await?);
            if let Some(tag) = tag {
                let wrong = self.wrong_type(target, tag);
                errors.extend(self.references(conn, number, slot, &wrong, Code::ReferenceType).await?);
            }
        }
        errors.extend(self.roles(conn).await?);
        Ok(errors)
    }

    fn mode(&self, kind: EntityType) -> Option<Mode> {
        self.modes.iter().find(|m| m.0 == kind).map(|m| m.1)
    }

    async fn duplicates(&self, conn: &mut PgConnection) -> Result<Vec<ImportError>, sqlx::Error> {
        let rows = &self.staging.rows;
        let found: Vec<(i16, i64, String)> = sqlx::query_as(&format!(
            "select r.entity, r.line, r.sourced_id
               from (select entity, sourced_id, min(line) as first from {rows}
                      group by entity, sourced_id having count(*) > 1) d
                    join {rows} r on r.entity = d.entity and r.sourced_id = d.sourced_id and r.line > d.first
              order by r.entity, r.line"
        ))
        .fetch_all(conn)
        .await?;
        Ok(found
            .into_iter()
            .map(|(entity, line, id)| error(entity_of(entity), line, "sourcedId", Code::DuplicateSourcedId, &id))
            .collect())
    }

    /// SQL: no record `r.sourced_id` of the target is in the set, nor, unless the set tells all of them, in the roster.
    fn missing(&self, target: EntityType) -> String {
        let staged = format!(
            "not exists (select from {} t where t.entity = {} and t.sourced_id = r.sourced_id)",
            self.staging.rows,
            number(target)
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
                 and not exists (select from {rows} t where t.entity = {n} and t.sourced_id = r.sourced_id))",
            rows = self.staging.rows,
            n = number(target),
            staged = other("t.tag"),
            table = target.entity().table,
            live = other("c.type"),
        )
    }

    /// Rows whose reference in this slot meets the condition. The rows are searched only when there is such a reference.
    async fn references(
        &self,
        conn: &mut PgConnection,
        slot_number: i16,
        slot: super::decode::Slot,
        condition: &str,
        code: Code,
    ) -> Result<Vec<ImportError>, sqlx::Error> {
        let value = named_by(slot);
        let found: Vec<(i64, String)> = sqlx::query_as(&format!(
            "with bad as materialized (
               select distinct r.sourced_id from {refs} r where r.slot = {slot_number} and $1 <> '' and ({condition}))
             select s.line, named.id
               from {rows} s, lateral ({value}) as named(id)
              where s.entity = {entity} and s.record is not null and not s.withdrawn
                and exists (select from bad) and named.id in (select sourced_id from bad)
              order by s.line",
            refs = self.staging.refs,
            rows = self.staging.rows,
            entity = number(slot.kind),
        ))
        .bind(self.tenant.as_str())
        .fetch_all(conn)
        .await?;
        // An id is no personal data by the standard, and without it the error could not be mended.
        Ok(found.into_iter().map(|(line, id)| error(slot.kind, line, slot.column, code, &id)).collect())
    }

    /// Rules between a user, its roles and its profiles.
    async fn roles(&self, conn: &mut PgConnection) -> Result<Vec<ImportError>, sqlx::Error> {
        let mut errors = Vec::new();
        let (role, user, profile) =
            (number(EntityType::Role), number(EntityType::User), number(EntityType::UserProfile));
        let rows = &self.staging.rows;
        let live = |table: &str, kind: EntityType, columns: &str| match self.mode(kind) {
            Some(Mode::Bulk) => String::new(),
            _ => format!(
                " union all select {columns} from {table} c where c.tenant = $1 and c.status = 'active'
                  and not exists (select from {rows} t where t.entity = {} and t.sourced_id = c.sourced_id)",
                number(kind)
            ),
        };
        let roles = format!(
            "roles_after (line, user_id, org_id, role_type, profile_id) as materialized (
               select s.line, s.owner, s.record::json -> 'org' ->> 'sourcedId', s.record::json ->> 'roleType',
                      s.record::json ->> 'userProfile'
                 from {rows} s where s.entity = {role} and s.record is not null and not s.withdrawn{})",
            live(
                "roles",
                EntityType::Role,
                "null, user_sourced_id, org_sourced_id, role_type, user_profile_sourced_id"
            )
        );
        if self.mode(EntityType::Role).is_some() {
            let second = format!(
                "with {roles} select line, org_id from (
                   select line, org_id, row_number() over (partition by user_id, org_id order by line nulls first) as nth
                     from roles_after where role_type = 'primary') p
                  where nth > 1 and line is not null order by line"
            );
            self.collect(conn, &second, EntityType::Role, "roleType", Code::SecondPrimaryRole, &mut errors).await?;
            let foreign = format!(
                "with {roles},
                 owners (profile_id, user_id) as materialized (
                   select s.sourced_id, s.owner from {rows} s where s.entity = {profile} and s.record is not null{})
                 select r.line, '***' from roles_after r join owners o on o.profile_id = r.profile_id
                  where r.line is not null and o.user_id <> r.user_id order by r.line",
                live("user_profiles", EntityType::UserProfile, "sourced_id, user_sourced_id")
            );
            self.collect(conn, &foreign, EntityType::Role, "userProfileSourcedId", Code::ForeignProfile, &mut errors)
                .await?;
        }
        if self.mode(EntityType::User).is_some() && !self.unread.contains(&EntityType::Role) {
            // A role whose row was rejected is not held against its user.
            let whole = format!("not exists (select from {rows} x where x.entity = {role} and x.record is null)");
            let elsewhere = format!(
                "with {roles} select s.line, s.record::json -> 'primaryOrg' ->> 'sourcedId' from {rows} s
                  where s.entity = {user} and s.record is not null and not s.withdrawn and {whole}
                    and s.record::json -> 'primaryOrg' ->> 'sourcedId' is not null
                    and not exists (select from roles_after r where r.user_id = s.sourced_id
                                       and r.org_id = s.record::json -> 'primaryOrg' ->> 'sourcedId')
                  order by s.line"
            );
            let column = "primaryOrgSourcedId";
            self.collect(conn, &elsewhere, EntityType::User, column, Code::PrimaryOrgWithoutRole, &mut errors).await?;
            let none = format!(
                "with {roles} select s.line, s.sourced_id from {rows} s
                  where s.entity = {user} and s.record is not null and not s.withdrawn and {whole}
                    and not exists (select from roles_after r where r.user_id = s.sourced_id)
                  order by s.line"
            );
            self.collect(conn, &none, EntityType::User, "sourcedId", Code::UserWithoutRole, &mut errors).await?;
        }
        Ok(errors)
    }

    async fn collect(
        &self,
        conn: &mut PgConnection,
        sql: &str,
        kind: EntityType,
        column: &str,
        code: Code,
        errors: &mut Vec<ImportError>,
    ) -> Result<(), sqlx::Error> {
        // Every statement names the tenant, also those that need no look at the roster.
        let sql = sql.replacen("with ", "with tenant (t) as (select $1::text), ", 1);
        let found: Vec<(i64, Option<String>)> = sqlx::query_as(&sql).bind(self.tenant.as_str()).fetch_all(conn).await?;
        errors.extend(
            found.into_iter().map(|(line, value)| error(kind, line, column, code, value.as_deref().unwrap_or(""))),
        );
        Ok(())
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

fn entity_of(number: i16) -> EntityType {
    EntityType::ALL[number as usize]
}

fn error(kind: EntityType, line: i64, column: &str, code: Code, value: &str) -> ImportError {
    ImportError::new(&format!("{}.csv", kind.entity().collection), line as u64, column, code, value)
}
