//! What differs between two positions: records compared as they stood, from the read models and their history.

use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::Kind;
use super::read::bind;
use crate::log::{Log, Tenant};
use crate::query::fields::top_level;
use crate::roster::EntityType::{self, AcademicSession, Class, Course, Demographics, Enrollment, Org, User};

/// Whose records are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    School(String),
    Class(String),
    User(String),
    Record(String),
}

/// What to compare.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub scope: Scope,
    /// Record types with documents, in the order of the answer.
    pub types: Vec<EntityType>,
    /// Positions.
    pub from: i64,
    pub to: i64,
}

/// A record that differs. Documents are as clients see them, without addresses; `None`: it was not there.
#[derive(Clone, Debug)]
pub struct Difference {
    pub entity: EntityType,
    pub sourced_id: String,
    pub kind: Kind,
    /// Members in which the documents differ, `dateLastModified` aside.
    pub changed: Vec<String>,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// The place of a difference: type and sourcedId.
pub type Place = (EntityType, String);

/// Which records belong to a school, a class or a user.
struct Members {
    kind: EntityType,
    /// SQL for the sourcedIds of all that ever belonged; `{id}` is that of the school, class or user.
    ever: &'static str,
    /// SQL: whether the version `v`, which stands at the position `{at}`, belongs.
    then: &'static str,
}

const fn members(kind: EntityType, ever: &'static str, then: &'static str) -> Members {
    Members { kind, ever, then }
}

/// The record itself.
const SELF: &str = "select {id}";

const OF_SCHOOL: &[Members] = &[
    members(AcademicSession, "select sourced_id from academic_sessions where tenant = {tenant}", "true"),
    members(Org, SELF, "true"),
    members(
        Course,
        "select sourced_id from courses where org_sourced_id = {id} and tenant = {tenant}
         union select sourced_id from courses_history where org_sourced_id = {id} and tenant = {tenant}",
        "v.org_sourced_id = {id}",
    ),
    members(
        Class,
        "select sourced_id from classes where school_sourced_id = {id} and tenant = {tenant}
         union select sourced_id from classes_history where school_sourced_id = {id} and tenant = {tenant}",
        "v.school_sourced_id = {id}",
    ),
    members(User, OF_ORG, "v.role_org_sourced_ids @> array[{id}]"),
    members(
        Demographics,
        OF_ORG,
        "exists (select from (select tenant, sourced_id, since, until, role_org_sourced_ids from users
                              union all
                              select tenant, sourced_id, since, until, role_org_sourced_ids from users_history) u
                  where u.tenant = v.tenant and u.sourced_id = v.sourced_id and u.since <= {at}
                    and (u.until is null or u.until > {at}) and u.role_org_sourced_ids @> array[{id}])",
    ),
    members(
        Enrollment,
        "select sourced_id from enrollments where school_sourced_id = {id} and tenant = {tenant}
         union select sourced_id from enrollments_history where school_sourced_id = {id} and tenant = {tenant}",
        "v.school_sourced_id = {id}",
    ),
];

/// People by their roles.
const OF_ORG: &str = "select user_sourced_id from roles where org_sourced_id = {id} and tenant = {tenant}
         union select user_sourced_id from roles_history where org_sourced_id = {id} and tenant = {tenant}";

/// Users of a class: those with an enrollment in it, ended or not.
const OF_CLASS: &[Members] = &[
    members(Class, SELF, "true"),
    members(
        User,
        "select user_sourced_id from enrollments where class_sourced_id = {id} and tenant = {tenant}
         union select user_sourced_id from enrollments_history where class_sourced_id = {id} and tenant = {tenant}",
        "exists (select from (select tenant, user_sourced_id, class_sourced_id, since, until from enrollments
                              union all
                              select tenant, user_sourced_id, class_sourced_id, since, until from enrollments_history) e
                  where e.tenant = v.tenant and e.user_sourced_id = v.sourced_id and e.class_sourced_id = {id}
                    and e.since <= {at} and (e.until is null or e.until > {at}))",
    ),
    members(
        Enrollment,
        "select sourced_id from enrollments where class_sourced_id = {id} and tenant = {tenant}
         union select sourced_id from enrollments_history where class_sourced_id = {id} and tenant = {tenant}",
        "v.class_sourced_id = {id}",
    ),
];

const OF_USER: &[Members] = &[
    members(User, SELF, "true"),
    members(Demographics, SELF, "true"),
    members(
        Enrollment,
        "select sourced_id from enrollments where user_sourced_id = {id} and tenant = {tenant}
         union select sourced_id from enrollments_history where user_sourced_id = {id} and tenant = {tenant}",
        "v.user_sourced_id = {id}",
    ),
];

impl Scope {
    /// Of a type: the SQL for [`Members::ever`] and [`Members::then`], and the sourcedId in them. Without the first, any
    /// record may belong; none when the scope has no records of the type.
    fn members(&self, kind: EntityType) -> Option<(Option<&'static str>, &'static str, &str)> {
        let (all, id) = match self {
            Self::Everything => return Some((None, "true", "")),
            Self::Record(id) => return Some((Some(SELF), "true", id)),
            Self::School(id) => (OF_SCHOOL, id),
            Self::Class(id) => (OF_CLASS, id),
            Self::User(id) => (OF_USER, id),
        };
        let found = all.iter().find(|members| members.kind == kind)?;
        Some((Some(found.ever), found.then, id))
    }
}

impl Comparison {
    /// At most `limit` differences after a place, by type and sourcedId. One statement for each type, in one snapshot.
    pub async fn read(
        &self,
        log: &Log,
        tenant: &Tenant,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Difference>, sqlx::Error> {
        let mut tx = log.db().snapshot(tenant).await?;
        let begin = after.and_then(|(kind, _)| self.types.iter().position(|other| other == kind)).unwrap_or(0);
        let mut found = Vec::new();
        for kind in &self.types[begin.min(self.types.len())..] {
            let beyond = after.filter(|(of, _)| of == kind).map(|(_, id)| id.as_str());
            let left = limit - found.len();
            if left == 0 {
                break;
            }
            found.extend(self.of_kind(&mut tx, tenant, *kind, beyond, left).await?);
        }
        Ok(found)
    }

    async fn of_kind<'a>(
        &'a self,
        conn: &mut PgConnection,
        tenant: &'a Tenant,
        kind: EntityType,
        beyond: Option<&'a str>,
        limit: usize,
    ) -> Result<Vec<Difference>, sqlx::Error> {
        let Some((ever, then, id)) = self.scope.members(kind) else { return Ok(Vec::new()) };
        let table = kind.entity().table;
        let mut sql = QueryBuilder::<Postgres>::new("select c.sourced_id, b.doc, a.doc from ");
        let push = |sql: &mut QueryBuilder<'a, Postgres>, condition, at| push(sql, condition, (tenant, id, at));
        match ever {
            // Those that may belong are looked up one by one, however much has changed elsewhere.
            Some(ever) => {
                sql.push("(select distinct m.id from (");
                push(&mut sql, ever, 0);
                sql.push(") m(id) offset 0) m join ").push(table).push(" c on c.sourced_id = m.id");
            }
            // What changed after `from` has a current version that is younger: few rows, by time where there are many.
            None => {
                sql.push(table).push(" c");
            }
        }
        for (row, at) in [("b", self.from), ("a", self.to)] {
            sql.push(" left join lateral (select v.doc, (");
            push(&mut sql, then, at);
            sql.push(") as belongs from (select * from ").push(table);
            sql.push(" union all select * from ").push(table).push("_history) v");
            sql.push(" where v.tenant = c.tenant and v.sourced_id = c.sourced_id and v.since <= ").push_bind(at);
            sql.push(" and (v.until is null or v.until > ").push_bind(at);
            sql.push(") limit 1) ").push(row).push(" on true");
        }
        sql.push(" where c.listed and c.tenant = ").push_bind(tenant.as_str());
        sql.push(" and c.since > ").push_bind(self.from);
        if ever.is_none() {
            sql.push(" and c.date_last_modified >= coalesce((select recorded_at from events where tenant = ");
            sql.push_bind(tenant.as_str()).push(" and position = ").push_bind(self.from).push("), 'epoch')");
        }
        if let Some(beyond) = beyond {
            sql.push(" and c.sourced_id > ").push_bind(beyond);
        }
        sql.push(
            " and (b.belongs or a.belongs)
              and (b.doc::jsonb - 'dateLastModified') is distinct from (a.doc::jsonb - 'dateLastModified')
            order by c.sourced_id limit ",
        );
        sql.push_bind(limit as i64);
        let rows: Vec<(String, Option<String>, Option<String>)> = sql.build_query_as().fetch_all(conn).await?;
        let difference = |(sourced_id, before, after): (String, Option<String>, Option<String>)| {
            let changed = changed(before.as_deref(), after.as_deref());
            let kind_of = kind_of(before.as_deref(), after.as_deref());
            Difference { entity: kind, sourced_id, kind: kind_of, changed, before, after }
        };
        Ok(rows.into_iter().map(difference).collect())
    }
}

/// Puts a condition down, with its parameters bound.
fn push<'a>(
    sql: &mut QueryBuilder<'a, Postgres>,
    condition: &'static str,
    (tenant, id, at): (&'a Tenant, &'a str, i64),
) {
    bind(sql, condition, |sql, name| {
        match name {
            "tenant" => sql.push_bind(tenant.as_str()),
            "id" => sql.push_bind(id),
            _ => sql.push_bind(at),
        };
    });
}

fn members_of(doc: Option<&str>) -> Vec<(&str, &str)> {
    doc.map(top_level).unwrap_or_default()
}

/// Names of the members in which two documents differ; none when one of them is missing.
fn changed(before: Option<&str>, after: Option<&str>) -> Vec<String> {
    if before.is_none() || after.is_none() {
        return Vec::new();
    }
    let (before, after) = (members_of(before), members_of(after));
    let mut names: Vec<&str> = after.iter().filter(|member| !before.contains(member)).map(|member| member.0).collect();
    names.extend(before.iter().map(|member| member.0).filter(|name| !after.iter().any(|member| member.0 == *name)));
    names.retain(|name| *name != "dateLastModified");
    names.into_iter().map(str::to_owned).collect()
}

fn kind_of(before: Option<&str>, after: Option<&str>) -> Kind {
    let is_deleted =
        |doc| members_of(doc).iter().any(|(name, member)| *name == "status" && member.contains("tobedeleted"));
    match (before, is_deleted(before), is_deleted(after)) {
        (None, _, _) => Kind::Created,
        (Some(_), false, true) => Kind::Deleted,
        (Some(_), true, false) => Kind::Restored,
        _ => Kind::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_compared_member_by_member() {
        let before = r#"{"sourcedId":"c","status":"active","dateLastModified":"1","title":"a","grades":["P1"]}"#;
        let after = r#"{"sourcedId":"c","status":"tobedeleted","dateLastModified":"2","title":"a","subjects":["x"]}"#;
        assert_eq!(changed(Some(before), Some(after)), ["status", "subjects", "grades"]);
        assert_eq!(kind_of(Some(before), Some(after)), Kind::Deleted);
        assert_eq!(kind_of(Some(after), Some(before)), Kind::Restored);
        assert_eq!(kind_of(None, Some(after)), Kind::Created);
    }
}
