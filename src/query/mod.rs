//! Reading the roster: one statement an answer, so that rows and position are of one snapshot.

pub mod etag;
pub mod href;
pub mod versions;

use futures::TryStreamExt;

use crate::db::Db;
use crate::log::Tenant;
use crate::roster::{Entity, EntityType};

/// A collection of OneRoster's REST binding: an entity, or some of its records.
pub struct Collection {
    /// Last part of the path (`schools`).
    pub path: &'static str,
    pub kind: EntityType,
    /// Member name of a single record (`org`).
    pub single: &'static str,
    /// Further condition, for the virtual collections.
    condition: &'static str,
    /// Scope of ours that a token needs.
    pub scope: &'static str,
}

const fn collection(path: &'static str, kind: EntityType, single: &'static str, condition: &'static str) -> Collection {
    Collection { path, kind, single, condition, scope: "roster" }
}

const fn of_demographics(mut collection: Collection) -> Collection {
    collection.scope = "demographics";
    collection
}

/// The collections of the Rostering service (REST binding, 22 core operations and demographics).
pub static COLLECTIONS: [Collection; 12] = [
    collection("academicSessions", EntityType::AcademicSession, "academicSession", ""),
    collection("terms", EntityType::AcademicSession, "academicSession", " and type = 'term'"),
    collection("gradingPeriods", EntityType::AcademicSession, "academicSession", " and type = 'gradingPeriod'"),
    collection("orgs", EntityType::Org, "org", ""),
    collection("schools", EntityType::Org, "org", " and type = 'school'"),
    collection("courses", EntityType::Course, "course", ""),
    collection("classes", EntityType::Class, "class", ""),
    collection("users", EntityType::User, "user", ""),
    collection("students", EntityType::User, "user", " and roles @> '{student}'"),
    collection("teachers", EntityType::User, "user", " and roles @> '{teacher}'"),
    collection("enrollments", EntityType::Enrollment, "enrollment", ""),
    of_demographics(collection("demographics", EntityType::Demographics, "demographics", "")),
];

/// Documents as they are stored, without addresses, and the log position they stand at.
pub struct Page {
    pub position: i64,
    pub docs: Vec<String>,
}

impl Collection {
    pub fn by_path(path: &str) -> Option<&'static Self> {
        COLLECTIONS.iter().find(|c| c.path == path)
    }

    pub fn entity(&self) -> &'static Entity {
        self.kind.entity()
    }

    /// A page in the order of sourcedIds.
    pub async fn list(&self, db: &Db, tenant: &Tenant, limit: i64, offset: i64) -> Result<Page, sqlx::Error> {
        let sql = format!(
            "select t.head, page.doc
               from tenants t
                    left join lateral (
                      select doc, sourced_id from {} where tenant = $1{} order by sourced_id limit $2 offset $3
                    ) page on true
              where t.tenant = $1 order by page.sourced_id",
            self.entity().table,
            self.condition
        );
        let mut conn = db.acquire(tenant).await?;
        let mut rows = sqlx::query_as::<_, (i64, Option<String>)>(&sql)
            .bind(tenant.as_str())
            .bind(limit)
            .bind(offset)
            .fetch(&mut *conn);
        let mut page = Page { position: 0, docs: Vec::with_capacity(limit.clamp(0, 1_000) as usize) };
        while let Some((position, doc)) = rows.try_next().await? {
            page.position = position;
            page.docs.extend(doc);
        }
        Ok(page)
    }

    /// One record by its sourcedId.
    pub async fn single(
        &self,
        db: &Db,
        tenant: &Tenant,
        sourced_id: &str,
    ) -> Result<(i64, Option<String>), sqlx::Error> {
        let sql = format!(
            "select t.head, r.doc from tenants t
                    left join {} r on r.tenant = $1 and r.sourced_id = $2{}
              where t.tenant = $1",
            self.entity().table,
            self.condition
        );
        let mut conn = db.acquire(tenant).await?;
        sqlx::query_as(&sql).bind(tenant.as_str()).bind(sourced_id).fetch_one(&mut *conn).await
    }

    /// Records there are, those to be deleted included; of the same snapshot as the position.
    pub async fn count(&self, db: &Db, tenant: &Tenant) -> Result<(i64, i64), sqlx::Error> {
        let sql = format!(
            "select t.head, (select count(*) from {} where tenant = $1{}) from tenants t where t.tenant = $1",
            self.entity().table,
            self.condition
        );
        let mut conn = db.acquire(tenant).await?;
        sqlx::query_as(&sql).bind(tenant.as_str()).fetch_one(&mut *conn).await
    }
}
