//! Runs a plan: level by level, one statement for each link, whatever the number of records it starts from.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::future::BoxFuture;

use super::members::Members;
use super::model::{Content, Field, Ids, Link};
use super::page::Page;
use super::plan::{ConnectionPlan, FieldPlan, ObjectPlan, Plan, RootPlan, RootTarget, Target};
use crate::access::Seen;
use crate::query::related::{Row, Snapshot};
use crate::roster::EntityType;

/// An object of the answer: a record, or a part of one.
#[derive(Debug)]
pub struct Item {
    /// None for parts.
    pub kind: Option<EntityType>,
    /// Of the record; empty for parts.
    pub sourced_id: String,
    pub since: i64,
    /// Of the record's place in its connection.
    pub cursor: Option<String>,
    pub members: Members,
    pub level: Arc<Level>,
}

/// What the objects of one plan lead to, by the key of the answer.
#[derive(Debug, Default)]
pub struct Level(HashMap<String, Loaded>);

#[derive(Debug)]
pub enum Loaded {
    Inner(Arc<Level>),
    /// By sourcedId.
    Records(HashMap<String, Item>),
    /// By the sourcedId of the record they belong to.
    Connections(HashMap<String, Connection>),
}

/// A page of a collection.
#[derive(Debug)]
pub struct Connection {
    pub items: Vec<Item>,
    pub has_previous: bool,
    pub has_next: bool,
    pub total: Option<i64>,
}

/// A root that was read.
#[derive(Debug)]
pub enum LoadedRoot {
    One(Option<Item>),
    Connection(Connection),
}

impl Level {
    pub fn get(&self, key: &str) -> Option<&Loaded> {
        self.0.get(key)
    }
}

/// Reads for one operation, on one snapshot.
pub struct Loader<'c> {
    pub snapshot: Snapshot<'c>,
    /// What it has cost so far.
    pub statements: u64,
    pub records: u64,
    /// Whose data was read.
    pub seen: Seen,
}

impl<'c> Loader<'c> {
    /// `seen`: where people are gathered.
    pub fn new(snapshot: Snapshot<'c>, seen: Seen) -> Self {
        Self { snapshot, statements: 0, records: 0, seen }
    }

    /// Everything a query reads, by the keys of its roots.
    pub async fn plan(&mut self, plan: &Plan) -> Result<HashMap<String, LoadedRoot>, sqlx::Error> {
        let mut roots = HashMap::new();
        for root in &plan.roots {
            if let Some(loaded) = self.root(root).await? {
                roots.insert(root.key.clone(), loaded);
            }
        }
        Ok(roots)
    }

    pub async fn root(&mut self, root: &RootPlan) -> Result<Option<LoadedRoot>, sqlx::Error> {
        Ok(match &root.target {
            RootTarget::Refused(_) | RootTarget::TypeName => None,
            RootTarget::Nothing => Some(LoadedRoot::One(None)),
            RootTarget::Connection(plan) => {
                let pages = self.connections(plan, &[""]).await?;
                pages.into_values().next().map(LoadedRoot::Connection)
            }
            RootTarget::One(related, nodes) => {
                self.statements += 1;
                let first = crate::query::cursor::Start::Offset(0);
                let mut pages = self.snapshot.pages(related, &[&root.sourced_id], &first, 1).await?;
                let rows = pages.remove(&root.sourced_id).unwrap_or_default();
                let items = self.items(related.kind, rows, nodes, None).await?;
                Some(LoadedRoot::One(items.into_iter().next()))
            }
        })
    }

    /// The records of these sourcedIds that are there, by sourcedId, with all that they lead to.
    pub async fn records(
        &mut self,
        kind: EntityType,
        ids: &[&str],
        plan: &ObjectPlan,
    ) -> Result<HashMap<String, Item>, sqlx::Error> {
        let mut rows = Vec::new();
        if !ids.is_empty() {
            self.statements += 1;
            rows = self.snapshot.records(kind, ids).await?;
        }
        let items = self.items(kind, rows, plan, None).await?;
        Ok(items.into_iter().map(|item| (item.sourced_id.clone(), item)).collect())
    }

    /// Turns rows into objects, with all that they lead to.
    fn items<'a>(
        &'a mut self,
        kind: EntityType,
        rows: Vec<Row>,
        plan: &'a ObjectPlan,
        page: Option<&'a Page>,
    ) -> BoxFuture<'a, Result<Vec<Item>, sqlx::Error>> {
        Box::pin(async move {
            self.records += rows.len() as u64;
            self.see(kind, &rows);
            let mut items: Vec<Item> = rows
                .into_iter()
                .map(|row| {
                    let cursor = page.map(|page| page.cursor(&row));
                    let Row { sourced_id, since, doc, .. } = row;
                    let members = Members::new(doc);
                    Item { kind: Some(kind), sourced_id, since, cursor, members, level: Arc::default() }
                })
                .collect();
            let level = {
                let holders: Vec<Holder> =
                    items.iter().map(|item| Holder { sourced_id: &item.sourced_id, members: &item.members }).collect();
                self.level(plan, &holders).await?
            };
            items.iter_mut().for_each(|item| item.level = level.clone());
            Ok(items)
        })
    }

    fn see(&mut self, kind: EntityType, rows: &[Row]) {
        if matches!(kind, EntityType::User | EntityType::Demographics | EntityType::Enrollment) {
            self.seen.personal = true;
            for Row { sourced_id, person, .. } in rows {
                self.seen.see(person.as_deref().unwrap_or(sourced_id));
            }
        }
    }

    fn level<'a>(
        &'a mut self,
        plan: &'a ObjectPlan,
        holders: &'a [Holder<'a>],
    ) -> BoxFuture<'a, Result<Arc<Level>, sqlx::Error>> {
        Box::pin(async move {
            let mut level = HashMap::new();
            if !holders.is_empty() {
                for FieldPlan { key, target, .. } in &plan.fields {
                    if let Some(loaded) = self.field(target, holders).await? {
                        level.insert(key.clone(), loaded);
                    }
                }
            }
            Ok(Arc::new(Level(level)))
        })
    }

    /// What a field leads to; none when it leads nowhere.
    async fn field(&mut self, target: &Target, holders: &[Holder<'_>]) -> Result<Option<Loaded>, sqlx::Error> {
        Ok(Some(match target {
            Target::TypeName(_) | Target::Own(_) | Target::Refused(_) => return Ok(None),
            Target::Inner(field, plan) => {
                let inner: Vec<Members> = holders.iter().flat_map(|holder| parts(field, holder.members)).collect();
                let inner: Vec<Holder> = inner.iter().map(|members| Holder { sourced_id: "", members }).collect();
                Loaded::Inner(self.level(plan, &inner).await?)
            }
            Target::Records(link, plan) => {
                let ids: BTreeSet<String> =
                    holders.iter().flat_map(|holder| ids(link, holder.sourced_id, holder.members)).collect();
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                Loaded::Records(self.records(link.kind, &ids, plan).await?)
            }
            Target::Connection(plan) => {
                let of: BTreeSet<&str> = holders.iter().map(|holder| holder.sourced_id).collect();
                let of: Vec<&str> = of.into_iter().collect();
                Loaded::Connections(self.connections(plan, &of).await?)
            }
        }))
    }

    /// A page for each of these records.
    async fn connections(
        &mut self,
        plan: &ConnectionPlan,
        of: &[&str],
    ) -> Result<HashMap<String, Connection>, sqlx::Error> {
        let ConnectionPlan { related, page, .. } = plan;
        let mut pages = HashMap::new();
        if plan.rows && page.limit > 0 {
            self.statements += 1;
            // One more than asked for tells whether there are more.
            pages = self.snapshot.pages(related, of, &page.start, page.limit + 1).await?;
        }
        let mut totals = HashMap::new();
        if plan.total {
            self.statements += 1;
            totals = self.snapshot.counts(related, of).await?;
        }
        // All rows together, so that what they lead to is read at once.
        let mut rows = Vec::new();
        let mut shares = Vec::with_capacity(of.len());
        for id in of {
            let mut page_rows = pages.remove(*id).unwrap_or_default();
            let more = page_rows.len() as i64 > page.limit;
            if more {
                let surplus = if page.backward { 0 } else { page_rows.len() - 1 };
                page_rows.remove(surplus);
            }
            shares.push((*id, page_rows.len(), more));
            rows.append(&mut page_rows);
        }
        let mut items = self.items(related.kind, rows, &plan.nodes, plan.cursors.then_some(page)).await?.into_iter();
        let connection = |(id, share, more): (&str, usize, bool)| {
            let (has_previous, has_next) = page.neighbours(more);
            let items = items.by_ref().take(share).collect();
            (id.to_owned(), Connection { items, has_previous, has_next, total: totals.get(id).copied() })
        };
        Ok(shares.into_iter().map(connection).collect())
    }
}

/// A document, and whose it is.
struct Holder<'a> {
    sourced_id: &'a str,
    members: &'a Members,
}

/// The objects that a field holds.
pub fn parts(field: &Field, members: &Members) -> Vec<Members> {
    match &field.content {
        Content::Parts { member, .. } => members.objects(member),
        Content::Extensions { .. } => vec![members.object("metadata")],
        _ => Vec::new(),
    }
}

/// The sourcedIds that a link leads to.
pub fn ids(link: &Link, own: &str, members: &Members) -> Vec<String> {
    match link.ids {
        Ids::One(member) => members.reference(member).into_iter().collect(),
        Ids::Many(member) => members.references(member),
        Ids::Bare(member) => members.get(member).into_iter().collect(),
        Ids::Own => vec![own.to_owned()],
    }
}
