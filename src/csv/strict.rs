//! What a strict import wants between the records of a set.

use sqlx::PgConnection;

use super::check::{Checks, Finding};
use super::stage::number;
use crate::roster::{Code, EntityType};

impl Checks<'_> {
    /// Adds the errors that only a strict import finds.
    pub(super) async fn strict(&self, conn: &mut PgConnection, mut errors: i64) -> Result<i64, sqlx::Error> {
        let rows = &self.staging.rows;
        let of = |kind| format!("s.entity = {} and s.record is not null and not s.withdrawn", number(kind));
        let finding = |kind, column, code| Finding { kind, column, code };
        if self.mode(EntityType::Role).is_some() {
            let lone = "select min(line), user_id from roles_after where $1 <> '' group by user_id
                        having bool_and(role_type = 'secondary') and min(line) is not null";
            let lone_finding = finding(EntityType::Role, "roleType", Code::SecondaryWithoutPrimary);
            errors = self.list(conn, errors, lone_finding, lone).await?;
        }
        if self.level.is_japan() && self.mode(EntityType::User).is_some() {
            let again = format!(
                "select line, '***' from (
                   select s.line, row_number() over (partition by u.id order by s.line) as nth
                     from {rows} s, lateral (select s.record::json ->> 'userMasterIdentifier' as id offset 0) u
                    where {} and u.id <> '') people
                  where nth > 1",
                of(EntityType::User)
            );
            let again_finding = finding(EntityType::User, "userMasterIdentifier", Code::DuplicateMasterIdentifier);
            errors = self.list(conn, errors, again_finding, &again).await?;
        }
        if self.mode(EntityType::Enrollment).is_none() {
            return Ok(errors);
        }
        // Of the set only: a delta is not held against enrollments that stand already.
        let enrollments = format!(
            "enrolled (line, class, role, primary_teacher, begins, ends) as materialized (
               select s.line, e.class ->> 'sourcedId', e.role, e.\"primary\" = 'true', e.\"beginDate\", e.\"endDate\"
                 from {rows} s, json_to_record(s.record::json) as e(
                   class json, role text, \"primary\" text, \"beginDate\" date, \"endDate\" date)
                where {})",
            of(EntityType::Enrollment)
        );
        let second = format!(
            "with {enrollments} select distinct b.line, b.class from enrolled a join enrolled b
               on a.class = b.class and a.line < b.line and a.primary_teacher and b.primary_teacher
                  and coalesce(a.begins, '-infinity') <= coalesce(b.ends, 'infinity')
                  and coalesce(b.begins, '-infinity') <= coalesce(a.ends, 'infinity')"
        );
        let second_finding = finding(EntityType::Enrollment, "primary", Code::SecondPrimaryTeacher);
        errors = self.list(conn, errors, second_finding, &second).await?;
        let outside = format!(
            "with {enrollments},
             spans (class, begins, ends) as materialized (
               select s.sourced_id, min((t.record::json ->> 'startDate')::date), max((t.record::json ->> 'endDate')::date)
                 from {rows} s, json_array_elements(s.record::json -> 'terms') term
                      join {rows} t on t.entity = {session} and t.record is not null
                           and t.sourced_id = term ->> 'sourcedId'
                where {} group by s.sourced_id)
             select e.line, coalesce(e.begins, e.ends)::text from enrolled e join spans c on c.class = e.class
              where e.begins < c.begins or e.ends > c.ends",
            of(EntityType::Class),
            session = number(EntityType::AcademicSession),
        );
        let outside_finding = finding(EntityType::Enrollment, "beginDate", Code::OutsideSession);
        self.list(conn, errors, outside_finding, &outside).await
    }
}
