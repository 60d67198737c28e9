//! What belongs to schools: the records of a set for some of them, with all that these name.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

use super::presence::{At, Ids, Slot, slots};
use crate::log::Tenant;
use crate::roster::EntityType::{
    self, AcademicSession, Class, Course, Demographics, Enrollment, Org, Role, User, UserProfile,
};

/// The types whose members are known by their ids.
const HELD: [EntityType; 5] = [AcademicSession, Org, Course, Class, User];

/// The records of a set for some schools.
#[derive(Debug, Default)]
pub struct Members {
    held: HashMap<EntityType, Ids>,
    /// Classes of the schools themselves, whose enrollments belong; not those that a member merely names.
    own_classes: Ids,
}

/// The column by which records of a type belong, and to which members.
fn owner(kind: EntityType) -> (&'static str, EntityType) {
    match kind {
        Role | UserProfile => ("user_sourced_id", User),
        Demographics => ("sourced_id", User),
        Enrollment => ("class_sourced_id", Class),
        _ => ("sourced_id", kind),
    }
}

impl Members {
    /// Those of the orgs with these ids and of the orgs below them, at a state of the log: their classes, whoever has a
    /// role there or is enrolled in such a class, their courses; then all that is named by these, again and again.
    pub async fn read(
        conn: &mut PgConnection,
        tenant: &Tenant,
        at: At,
        schools: &[String],
    ) -> Result<Self, sqlx::Error> {
        let mut members = Self::default();
        let own: Vec<String> = query(conn, tenant, schools, &below(at)).await?;
        let of_own = |kind: EntityType, wanted: &str, column: &str| {
            format!(
                "select distinct {wanted} from {} where {} and r.status = 'active' and r.{column} in (select unnest($2::text[]))",
                at.versions(kind, "r"),
                at.stands("r")
            )
        };
        let classes = query(conn, tenant, &own, &of_own(Class, "r.sourced_id", "school_sourced_id")).await?;
        let courses = query(conn, tenant, &own, &of_own(Course, "r.sourced_id", "org_sourced_id")).await?;
        let mut users = query(conn, tenant, &own, &of_own(Role, "r.user_sourced_id", "org_sourced_id")).await?;
        users
            .extend(query(conn, tenant, &classes, &of_own(Enrollment, "r.user_sourced_id", "class_sourced_id")).await?);
        members.own_classes = classes.iter().cloned().collect();
        let mut found = HashMap::from([(Org, own), (Class, classes), (Course, courses), (User, users)]);
        let enrolled = members.own_classes.iter().cloned().collect::<Vec<_>>();
        members.named(conn, tenant, at, Enrollment, &enrolled, &mut found).await?;
        while let Some(kind) = found.keys().copied().next() {
            let ids = found.remove(&kind).unwrap_or_default();
            let new = members.add(conn, tenant, at, kind, ids).await?;
            if new.is_empty() {
                continue;
            }
            members.named(conn, tenant, at, kind, &new, &mut found).await?;
            if kind == User {
                members.named(conn, tenant, at, Role, &new, &mut found).await?;
            }
        }
        Ok(members)
    }

    /// Takes in those of the ids that are active records and not members yet; gives these.
    async fn add(
        &mut self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        at: At,
        kind: EntityType,
        ids: Vec<String>,
    ) -> Result<Vec<String>, sqlx::Error> {
        let held = self.held.entry(kind).or_default();
        let unknown: HashSet<String> = ids.into_iter().filter(|id| !held.contains(id)).collect();
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "select r.sourced_id from {} where {} and r.status = 'active' and r.sourced_id in (select unnest($2::text[]))",
            at.versions(kind, "r"),
            at.stands("r")
        );
        let new = query(conn, tenant, &unknown.into_iter().collect::<Vec<_>>(), &sql).await?;
        held.extend(new.iter().cloned());
        Ok(new)
    }

    /// Adds the ids that records of a type, those of these owners, name to what was found.
    async fn named(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        at: At,
        kind: EntityType,
        owners: &[String],
        found: &mut HashMap<EntityType, Vec<String>>,
    ) -> Result<(), sqlx::Error> {
        let (column, _) = owner(kind);
        for Slot { target, named, is_list, .. } in slots(kind).into_iter().filter(|slot| HELD.contains(&slot.target)) {
            let value = if is_list { format!("unnest({named})") } else { named };
            let sql = format!(
                "select distinct id from (
                   select {value} as id from {} where {} and r.status = 'active' and r.{column} in (select unnest($2::text[])))
                 named where id is not null",
                at.versions(kind, "r"),
                at.stands("r")
            );
            let ids = query(conn, tenant, owners, &sql).await?;
            if !ids.is_empty() {
                found.entry(target).or_default().extend(ids);
            }
        }
        Ok(())
    }

    pub fn hold(&self, kind: EntityType, id: &str) -> bool {
        !HELD.contains(&kind) || self.held.get(&kind).is_some_and(|ids| ids.contains(id))
    }

    /// Whether a record of the type `kind` belongs by naming this one.
    pub fn own(&self, kind: EntityType, target: EntityType, id: &str) -> bool {
        (kind, target) != (Enrollment, Class) || self.own_classes.contains(id)
    }

    /// SQL column by which records of the type belong, and the values it then has.
    pub fn condition(&self, kind: EntityType) -> (&'static str, Vec<String>) {
        let (column, of) = owner(kind);
        let ids = if kind == Enrollment { Some(&self.own_classes) } else { self.held.get(&of) };
        (column, ids.into_iter().flatten().cloned().collect())
    }
}

async fn query(
    conn: &mut PgConnection,
    tenant: &Tenant,
    ids: &[String],
    sql: &str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(sql).bind(tenant.as_str()).bind(ids).fetch_all(conn).await
}

/// SQL: the active orgs `$2` and those below them.
fn below(at: At) -> String {
    let orgs = format!("select r.sourced_id from {}", at.versions(Org, "r"));
    let active = format!("{} and r.status = 'active'", at.stands("r"));
    format!(
        "with recursive own (id) as (
           {orgs} where {active} and r.sourced_id in (select unnest($2::text[]))
           union
           {orgs} join own on r.parent_sourced_id = own.id where {active})
         select id from own"
    )
}
