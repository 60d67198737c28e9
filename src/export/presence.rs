//! Which records a set holds, so that whoever reads it finds every record that another one names.
//!
//! A record that is to be deleted can still be named by active ones. In a set it is not there: a record that cannot do
//! without it is not there either, and other references to it are left out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::PgConnection;

use super::members::Members;
use crate::log::Tenant;
use crate::query::list::{source, stood};
use crate::roster::japan::EXTENSIONS;
use crate::roster::{EntityType, Kind};

pub type Ids = HashSet<String>;

/// The order in which files are written: what is named by others comes first.
pub const ORDER: [EntityType; 9] = [
    EntityType::AcademicSession,
    EntityType::Org,
    EntityType::Course,
    EntityType::Class,
    EntityType::User,
    EntityType::UserProfile,
    EntityType::Role,
    EntityType::Demographics,
    EntityType::Enrollment,
];

/// A state of the log that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub position: i64,
    /// It is the head: the current tables alone tell it.
    pub current: bool,
}

impl At {
    fn placeholder(self) -> Option<String> {
        (!self.current).then(|| self.position.to_string())
    }

    /// SQL: the versions of this type that stand, as `row`, for `from`.
    pub fn versions(self, kind: EntityType, row: &str) -> String {
        format!("{} {row}", source(kind.entity().table, self.placeholder().as_deref()))
    }

    /// SQL: `row` is such a version of the tenant `$1`.
    pub fn stands(self, row: &str) -> String {
        format!("{row}.tenant = $1{}", stood(row, self.placeholder().as_deref()))
    }
}

/// A place in which records of a type name others.
pub struct Slot {
    pub target: EntityType,
    /// SQL on the read model's row `r`: an id, or a list of ids.
    pub named: String,
    pub is_list: bool,
    /// The record cannot do without.
    pub required: bool,
    /// Key in `metadata`, if that is where it stands.
    pub key: Option<&'static str>,
}

/// Where records of a type name others; by their own id, too.
pub fn slots(kind: EntityType) -> Vec<Slot> {
    let entity = kind.entity();
    let fields = entity.fields.iter().filter_map(|field| {
        let (target, is_list) = (field.reference?.target, matches!(field.kind, Kind::GuidRefList));
        Some(Slot { target, named: format!("r.{}", field.column()), is_list, required: field.required, key: None })
    });
    let own = entity.identified_by.map(|target| Slot {
        target,
        named: "r.sourced_id".to_owned(),
        is_list: false,
        required: true,
        key: None,
    });
    let extensions = EXTENSIONS.iter().filter(|extension| extension.entity == kind).filter_map(|extension| {
        // As it stands in the document; inside a text its quotes would be escaped.
        let key = extension.field.json;
        let named = format!("substring(r.doc from '\"{}\":\"([^\"]*)\"')", key.replace('.', "\\."));
        Some(Slot { target: extension.field.reference?.target, named, is_list: false, required: false, key: Some(key) })
    });
    fields.chain(own).chain(extensions).collect()
}

/// What of the records that a type names is not there at a state of the log.
#[derive(Default)]
pub struct Presence {
    absent: HashMap<EntityType, Ids>,
    /// Records of the type itself that cannot be there though they are active.
    pub excluded: Ids,
    members: Option<Arc<Members>>,
}

impl Presence {
    /// Everything is there.
    pub fn is_complete(&self) -> bool {
        self.members.is_none() && self.excluded.is_empty() && self.absent.values().all(Ids::is_empty)
    }

    pub fn holds(&self, kind: EntityType, id: &str) -> bool {
        !self.absent.get(&kind).is_some_and(|ids| ids.contains(id))
            && self.members.as_ref().is_none_or(|members| members.hold(kind, id))
    }

    /// Whether a record of the type `kind` may name this one as what it cannot do without.
    pub fn supports(&self, kind: EntityType, target: EntityType, id: &str) -> bool {
        self.holds(target, id) && self.members.as_ref().is_none_or(|members| members.own(kind, target, id))
    }

    /// Ids of the type that are not there.
    pub fn absent(&self, kind: EntityType) -> Vec<String> {
        self.absent.get(&kind).into_iter().flatten().cloned().collect()
    }

    /// Ids of the type that are not there in one of both.
    pub fn differing(&self, other: &Self, kind: EntityType) -> Vec<String> {
        let only = |one: &Self, other: &Self| -> Vec<String> {
            let mut ids = one.absent(kind);
            ids.retain(|id| !other.absent.get(&kind).is_some_and(|ids| ids.contains(id)));
            ids
        };
        [only(self, other), only(other, self)].concat()
    }
}

/// Finds out, type by type in [`ORDER`], what is there at a state of the log.
pub struct Survey {
    pub at: At,
    pub members: Option<Arc<Members>>,
    excluded: HashMap<EntityType, Ids>,
    /// All records that are to be deleted, of the types that were asked for.
    deleted: HashMap<EntityType, Vec<String>>,
}

impl Survey {
    pub fn new(at: At, members: Option<Members>) -> Self {
        Self { at, members: members.map(Arc::new), excluded: HashMap::new(), deleted: HashMap::new() }
    }

    /// What is there for records of this type. To be asked for the types in their order.
    pub async fn presence(
        &mut self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        kind: EntityType,
    ) -> Result<Presence, sqlx::Error> {
        let mut absent: HashMap<EntityType, Ids> = HashMap::new();
        for slot in slots(kind) {
            let ids = absent.entry(slot.target).or_default();
            ids.extend(self.withdrawn(conn, tenant, kind, &slot).await?);
            ids.extend(self.excluded.get(&slot.target).into_iter().flatten().cloned());
        }
        let excluded = self.excluded(conn, tenant, kind, &absent).await?;
        if let Some(ids) = absent.get_mut(&kind) {
            ids.extend(excluded.iter().cloned());
        }
        self.excluded.insert(kind, excluded.clone());
        Ok(Presence { absent, excluded, members: self.members.clone() })
    }

    /// Records to be deleted that active ones name. Often there are none, or few: each is looked up by its index.
    async fn withdrawn(
        &mut self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        kind: EntityType,
        slot: &Slot,
    ) -> Result<Vec<String>, sqlx::Error> {
        if !self.deleted.contains_key(&slot.target) {
            let sql = format!(
                "select t.sourced_id from {} where t.listed and {} and t.status = 'tobedeleted'",
                self.at.versions(slot.target, "t"),
                self.at.stands("t")
            );
            let ids = sqlx::query_scalar(&sql).bind(tenant.as_str()).fetch_all(&mut *conn).await?;
            self.deleted.insert(slot.target, ids);
        }
        let Some(deleted) = self.deleted.get(&slot.target).filter(|ids| !ids.is_empty()) else { return Ok(Vec::new()) };
        let (rows, stands) = (self.at.versions(kind, "r"), self.at.stands("r"));
        let sql = match slot.is_list {
            // In one pass: an index on lists would not be used, as a look into a list might leak rows of others.
            true => format!(
                "select distinct named.id from {rows}, lateral unnest({0}) named (id)
                  where {stands} and r.status = 'active' and {0} <> '{{}}' and {0} && $2::text[] and named.id = any ($2::text[])",
                slot.named
            ),
            false => format!(
                "select distinct t.sourced_id from unnest($2::text[]) t (sourced_id) join {rows} on {} = t.sourced_id
                  where {stands} and r.status = 'active'",
                slot.named
            ),
        };
        sqlx::query_scalar(&sql).bind(tenant.as_str()).bind(deleted).fetch_all(conn).await
    }

    /// Active records of the type that cannot do without one that is not there. Asked for the types that others name.
    async fn excluded(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        kind: EntityType,
        absent: &HashMap<EntityType, Ids>,
    ) -> Result<Ids, sqlx::Error> {
        let mut excluded = Ids::new();
        let lacking = |target: &EntityType| absent.get(target).filter(|ids| !ids.is_empty());
        let is_named = ORDER.iter().any(|other| slots(*other).iter().any(|slot| slot.target == kind));
        for slot in slots(kind).iter().filter(|slot| slot.required && is_named) {
            let Some(ids) = lacking(&slot.target) else { continue };
            let all_lack = if slot.is_list {
                format!("{0} <@ $2::text[] and {0} <> '{{}}'", slot.named)
            } else {
                format!("{} in (select unnest($2::text[]))", slot.named)
            };
            let sql = format!(
                "select r.sourced_id from {} where {} and r.status = 'active' and {all_lack}",
                self.at.versions(kind, "r"),
                self.at.stands("r")
            );
            let ids: Vec<&String> = ids.iter().collect();
            excluded.extend(
                sqlx::query_scalar::<_, String>(&sql).bind(tenant.as_str()).bind(ids).fetch_all(&mut *conn).await?,
            );
        }
        if kind == EntityType::User {
            excluded.extend(self.without_roles(conn, tenant).await?);
        }
        Ok(excluded)
    }

    /// Active users whose roles are all at orgs to be deleted: a user has a role at least.
    async fn without_roles(&self, conn: &mut PgConnection, tenant: &Tenant) -> Result<Vec<String>, sqlx::Error> {
        let sql = format!(
            "select distinct r.user_sourced_id from {orgs} join {rows} on r.tenant = t.tenant and r.org_sourced_id = t.sourced_id
              where {org_there} and t.status = 'tobedeleted' and {stands} and r.status = 'active'
                and not exists (
                  select from {others} join {their} on h.tenant = o.tenant and h.sourced_id = o.org_sourced_id
                   where {others_stand} and o.status = 'active' and o.user_sourced_id = r.user_sourced_id
                     and {their_stand} and h.status = 'active')",
            orgs = self.at.versions(EntityType::Org, "t"),
            rows = self.at.versions(EntityType::Role, "r"),
            org_there = self.at.stands("t"),
            stands = self.at.stands("r"),
            others = self.at.versions(EntityType::Role, "o"),
            their = self.at.versions(EntityType::Org, "h"),
            others_stand = self.at.stands("o"),
            their_stand = self.at.stands("h"),
        );
        sqlx::query_scalar(&sql).bind(tenant.as_str()).fetch_all(conn).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_comes_first() {
        for (n, kind) in ORDER.iter().enumerate() {
            let targets = slots(*kind).into_iter().map(|slot| slot.target).filter(|target| target != kind);
            for target in targets {
                assert!(ORDER[..n].contains(&target), "{kind:?} names {target:?}");
            }
        }
        assert_eq!(ORDER.iter().collect::<HashSet<_>>().len(), EntityType::ALL.len());
    }
}
