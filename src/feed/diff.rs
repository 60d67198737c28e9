//! What differs between two positions: records compared as they stood, from the read models and their history.

use sqlx::{PgConnection, Postgres, QueryBuilder};

use super::Kind;
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

/// Which versions `v` belong to a school, a class or a user, as SQL by record type; `{id}` is the sourcedId, `{at}` the
/// position at which `v` stands. A type that is not named has none.
type Conditions = &'static [(EntityType, &'static str)];

const OF_SCHOOL: Conditions = &[
    (AcademicSession, "true"),
    (Org, "v.sourced_id = {id}"),
    (Course, "v.org_sourced_id = {id}"),
    (Class, "v.school_sourced_id = {id}"),
    (User, "v.role_org_sourced_ids @> array[{id}]"),
    (
        Demographics,
        "exists (select from (select tenant, sourced_id, since, until, role_org_sourced_ids from users
                              union all
                              select tenant, sourced_id, since, until, role_org_sourced_ids from users_history) u
                  where u.tenant = v.tenant and u.sourced_id = v.sourced_id and u.since <= {at}
                    and (u.until is null or u.until > {at}) and u.role_org_sourced_ids @> array[{id}])",
    ),
    (Enrollment, "v.school_sourced_id = {id}"),
];

/// Users of a class: those with an enrollment in it, ended or not.
const OF_CLASS: Conditions = &[
    (Class, "v.sourced_id = {id}"),
    (
        User,
        "exists (select from enrollments x
                  where x.user_sourced_id = v.sourced_id and x.tenant = v.tenant and x.class_sourced_id = {id})",
    ),
    (Enrollment, "v.class_sourced_id = {id}"),
];

const OF_USER: Conditions =
    &[(User, "v.sourced_id = {id}"), (Demographics, "v.sourced_id = {id}"), (Enrollment, "v.user_sourced_id = {id}")];

impl Scope {
    /// The condition for a type, and the sourcedId in it; none when the scope has no records of the type.
    fn condition(&self, kind: EntityType) -> Option<(&'static str, &str)> {
        let of = |conditions: Conditions| conditions.iter().find(|condition| condition.0 == kind).map(|found| found.1);
        match self {
            Self::Everything => Some(("true", "")),
            Self::School(id) => Some((of(OF_SCHOOL)?, id)),
            Self::Class(id) => Some((of(OF_CLASS)?, id)),
            Self::User(id) => Some((of(OF_USER)?, id)),
            Self::Record(id) => Some(("v.sourced_id = {id}", id)),
        }
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

    async fn of_kind(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        kind: EntityType,
        beyond: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Difference>, sqlx::Error> {
        let Some((condition, id)) = self.scope.condition(kind) else { return Ok(Vec::new()) };
        let table = kind.entity().table;
        let mut sql = QueryBuilder::<Postgres>::default();
        // What changed after `from` has a current version that is younger: few rows, by time where there are many.
        sql.push("select c.sourced_id, b.doc, a.doc from ").push(table).push(" c");
        for (row, at) in [("b", self.from), ("a", self.to)] {
            sql.push(" left join lateral (select v.doc, (");
            push(&mut sql, condition, id, at);
            sql.push(") as belongs from (select * from ").push(table);
            sql.push(" union all select * from ").push(table).push("_history) v");
            sql.push(" where v.tenant = c.tenant and v.sourced_id = c.sourced_id and v.since <= ").push_bind(at);
            sql.push(" and (v.until is null or v.until > ").push_bind(at);
            sql.push(") limit 1) ").push(row).push(" on true");
        }
        sql.push(" where c.listed and c.tenant = ").push_bind(tenant.as_str());
        sql.push(" and c.since > ").push_bind(self.from);
        sql.push(" and c.date_last_modified >= coalesce((select recorded_at from events where tenant = ");
        sql.push_bind(tenant.as_str()).push(" and position = ").push_bind(self.from).push("), 'epoch')");
        if condition == "v.sourced_id = {id}" {
            sql.push(" and c.sourced_id = ").push_bind(id);
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
fn push<'a>(sql: &mut QueryBuilder<'a, Postgres>, condition: &'static str, id: &'a str, at: i64) {
    let mut rest = condition;
    while let Some((before, after)) = rest.split_once('{') {
        sql.push(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        match name {
            "id" => sql.push_bind(id),
            _ => sql.push_bind(at),
        };
        rest = after;
    }
    sql.push(rest);
}

fn members(doc: Option<&str>) -> Vec<(&str, &str)> {
    doc.map(top_level).unwrap_or_default()
}

/// Names of the members in which two documents differ; none when one of them is missing.
fn changed(before: Option<&str>, after: Option<&str>) -> Vec<String> {
    if before.is_none() || after.is_none() {
        return Vec::new();
    }
    let (before, after) = (members(before), members(after));
    let mut names: Vec<&str> = after.iter().filter(|member| !before.contains(member)).map(|member| member.0).collect();
    names.extend(before.iter().map(|member| member.0).filter(|name| !after.iter().any(|member| member.0 == *name)));
    names.retain(|name| *name != "dateLastModified");
    names.into_iter().map(str::to_owned).collect()
}

fn kind_of(before: Option<&str>, after: Option<&str>) -> Kind {
    let is_deleted =
        |doc| members(doc).iter().any(|(name, member)| *name == "status" && member.contains("tobedeleted"));
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
