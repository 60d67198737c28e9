//! From a document to what has to be read: for each object that is asked for, which other records it leads to. One
//! statement will serve each link of the plan, however many records it starts from.

use std::borrow::Cow;

use async_graphql::Value;
use async_graphql::parser::types::Field as AstField;

use super::changes;
use super::document::{Operation, Selected};
use super::error::{Code, Refusal};
use super::id;
use super::imports;
use super::inputs;
use super::model::{Content, Field, Link, MODEL, Object, object_name};
use super::mutation::{self, WritePlan};
use super::page::Page;
use super::roots::Root;
use crate::auth::{Client, Scope};
use crate::query::related::Related;
use crate::query::sql::time;
use crate::roster::EntityType;

/// What an object of the answer needs besides its own document.
#[derive(Default)]
pub struct ObjectPlan {
    pub links: Vec<LinkPlan>,
}

impl ObjectPlan {
    /// Whether other records are asked for.
    pub fn leads_away(&self) -> bool {
        self.links.iter().any(|link| match &link.target {
            Target::Inner(_, plan) => plan.leads_away(),
            Target::Records(..) | Target::Connection(_) => true,
        })
    }
}

/// A field that leads away from its object.
pub struct LinkPlan {
    /// Of the answer.
    pub key: String,
    pub target: Target,
}

pub enum Target {
    /// Objects inside the document (`roles`), or the document seen otherwise (`jp`).
    Inner(&'static Field, ObjectPlan),
    Records(&'static Link, ObjectPlan),
    Connection(Box<ConnectionPlan>),
}

pub struct ConnectionPlan {
    pub related: Related,
    pub page: Page,
    /// Whether rows are asked for, and whether their number is.
    pub rows: bool,
    pub total: bool,
    pub nodes: ObjectPlan,
}

/// A field of `Query` that reads the roster.
pub struct RootPlan {
    pub key: String,
    /// The records asked for by `node`, `nodes` or a single-record field.
    pub sourced_id: String,
    pub target: RootTarget,
}

pub enum RootTarget {
    Connection(Box<ConnectionPlan>),
    /// One record: which, by condition, and what it needs.
    One(Related, ObjectPlan),
    /// Refused before anything is read: the field answers with this.
    Refused(Refusal),
    /// An id that is none.
    Nothing,
}

/// When an operation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    Position(i64),
    Time(chrono::DateTime<chrono::Utc>),
}

/// Everything that a query reads from the roster.
#[derive(Default)]
pub struct Plan {
    pub roots: Vec<RootPlan>,
    /// Fields of `Mutation` that write records.
    pub writes: Vec<WritePlan>,
    pub as_of: Option<AsOf>,
    pub at_least: Option<i64>,
    pub cost: Cost,
}

/// What an operation may cost: records read and statements run, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub records: u64,
    pub statements: u64,
}

/// Makes plans for one operation of one client.
pub struct Planner<'a> {
    pub operation: &'a Operation<'a>,
    pub client: &'a Client,
    pub max_page: i64,
}

impl Planner<'_> {
    /// The plan of an operation.
    pub fn plan(&self) -> Result<Plan, Refusal> {
        match self.operation.is_mutation() {
            true => mutation::plan(self),
            false => self.query(),
        }
    }

    /// The plan of a query.
    pub fn query(&self) -> Result<Plan, Refusal> {
        let mut plan = Plan::default();
        for root in self.operation.roots()? {
            let mut cost = Cost::default();
            let planned = self.snapshot(root.field(), &mut plan).and_then(|()| self.read(&root, &mut cost));
            let (sourced_id, target) = match planned {
                Ok(Some(planned)) => planned,
                Ok(None) => {
                    plan.cost.add(cost);
                    continue;
                }
                // The field answers with it, if the document is valid at all.
                Err(refusal) if refusal.code == Code::BadUserInput => (String::new(), RootTarget::Refused(refusal)),
                Err(refusal) => return Err(refusal),
            };
            plan.cost.add(cost);
            plan.roots.push(RootPlan { key: root.key.to_owned(), sourced_id, target });
        }
        Ok(plan)
    }

    /// What a field of `Query` reads of the roster, if it does.
    fn read(&self, root: &Selected, cost: &mut Cost) -> Result<Option<(String, RootTarget)>, Refusal> {
        match (root.name, Root::find(root.name)) {
            ("node", _) => self.node(root, cost).map(Some),
            (_, Some(found)) => self.root(root, found, cost).map(Some),
            _ => {
                changes::cost(self, root, cost);
                imports::cost(self, root, cost).map(|()| None)
            }
        }
    }

    /// Reads `asOf`, which is the same wherever it is given, and `atLeast`, of which the largest counts.
    fn snapshot(&self, field: &AstField, plan: &mut Plan) -> Result<(), Refusal> {
        let differ = |name: &str| {
            Refusal::input(format!("An operation reads at one position: {name} is the same in all its fields."))
        };
        if let Some(asked) = as_of(&self.operation.argument(field, "asOf"))?
            && plan.as_of.replace(asked).is_some_and(|other| other != asked)
        {
            return Err(differ("asOf"));
        }
        if let Some(asked) = position(&self.operation.argument(field, "atLeast"))? {
            plan.at_least = plan.at_least.max(Some(asked));
        }
        Ok(())
    }

    fn node(&self, root: &Selected, cost: &mut Cost) -> Result<(String, RootTarget), Refusal> {
        let Some((kind, sourced_id)) = text(&self.operation.argument(root.field(), "id")).and_then(|id| id::read(&id))
        else {
            return Ok((String::new(), RootTarget::Nothing));
        };
        Ok((sourced_id, self.record(kind, root, cost)?))
    }

    /// One record of a type, whatever it is reached by.
    pub fn record(&self, kind: EntityType, selected: &Selected, cost: &mut Cost) -> Result<RootTarget, Refusal> {
        if let Some(refused) = self.forbidden(super::model::scopes(kind)) {
            return Ok(RootTarget::Refused(refused));
        }
        let condition = Cow::Borrowed("r.sourced_id = {1}");
        let related = Related { kind, condition, predicate: None, sort: None };
        Ok(RootTarget::One(related, self.of_kind(kind, &[selected], 2, 1, cost)?))
    }

    fn root(&self, selected: &Selected, root: &Root, cost: &mut Cost) -> Result<(String, RootTarget), Refusal> {
        if let Some(refused) = self.forbidden(root.endpoint.scopes) {
            return Ok((String::new(), RootTarget::Refused(refused)));
        }
        if root.endpoint.is_single {
            let sourced_id = text(&self.operation.argument(selected.field(), "sourcedId")).unwrap_or_default();
            let nodes = self.of_kind(root.endpoint.kind, &[selected], 2, 1, cost)?;
            return Ok((sourced_id, RootTarget::One(root.related(), nodes)));
        }
        let connection = self.connection(root.related(), selected, 1, 1, cost)?;
        Ok((String::new(), RootTarget::Connection(Box::new(connection))))
    }

    fn forbidden(&self, scopes: &'static [Scope]) -> Option<Refusal> {
        (!scopes.is_empty() && !self.client.may_any(scopes)).then(|| forbidden(scopes))
    }

    /// `times`: how many records of the type there may be.
    pub fn of_kind(
        &self,
        kind: EntityType,
        selected: &[&Selected],
        depth: usize,
        times: u64,
        cost: &mut Cost,
    ) -> Result<ObjectPlan, Refusal> {
        cost.statements += 1;
        cost.records = cost.records.saturating_add(times);
        match MODEL.object(object_name(kind)) {
            Some(object) => self.object(object, selected, depth, times, cost),
            None => Ok(ObjectPlan::default()),
        }
    }

    fn object(
        &self,
        object: &'static Object,
        selected: &[&Selected],
        depth: usize,
        times: u64,
        cost: &mut Cost,
    ) -> Result<ObjectPlan, Refusal> {
        let sets: Vec<_> = selected.iter().flat_map(|s| s.sets()).collect();
        let mut links = Vec::new();
        for selected in self.operation.select(object.name, &sets, depth)? {
            let Some(field) = object.field(selected.name) else { continue };
            let target = match &field.content {
                Content::GlobalId | Content::Version | Content::Value { .. } => continue,
                Content::Parts { object, .. } | Content::Extensions { object } => {
                    let Some(inner) = MODEL.object(object) else { continue };
                    Target::Inner(field, self.object(inner, &[&selected], depth + 1, times, cost)?)
                }
                // The field itself tells that it is refused.
                Content::Link(link) if self.forbidden(link.scopes).is_some() => continue,
                Content::Connection(relation) if self.forbidden(relation.scopes).is_some() => continue,
                Content::Link(link) => {
                    Target::Records(link, self.of_kind(link.kind, &[&selected], depth + 1, times, cost)?)
                }
                Content::Connection(relation) => {
                    let condition = Cow::Borrowed(relation.condition);
                    let related = Related { kind: relation.kind, condition, predicate: None, sort: None };
                    Target::Connection(Box::new(self.connection(related, &selected, depth, times, cost)?))
                }
            };
            links.push(LinkPlan { key: selected.key.to_owned(), target });
        }
        Ok(ObjectPlan { links })
    }

    /// `times`: how many records have this collection.
    fn connection(
        &self,
        mut related: Related,
        selected: &Selected,
        depth: usize,
        times: u64,
        cost: &mut Cost,
    ) -> Result<ConnectionPlan, Refusal> {
        let kind = related.kind;
        let argument = |name: &str| self.operation.argument(selected.field(), name);
        related.predicate = inputs::filter(kind, &argument("filter"))?;
        related.sort = inputs::sort(kind, &argument("orderBy"))?;
        let page = Page::read(related.sort.as_ref(), argument, self.max_page)?;
        let connection = format!("{}Connection", object_name(kind));
        let (mut rows, mut total, mut nodes) = (false, false, Vec::new());
        let inner = self.operation.select(&connection, &selected.sets(), depth + 1)?;
        let mut edges = Vec::new();
        for field in &inner {
            rows |= ["edges", "nodes", "pageInfo"].contains(&field.name);
            total |= field.name == "totalCount";
            if field.name == "edges" {
                edges = self.operation.select(&format!("{}Edge", object_name(kind)), &field.sets(), depth + 2)?;
            }
        }
        nodes.extend(inner.iter().filter(|field| field.name == "nodes"));
        nodes.extend(edges.iter().filter(|field| field.name == "node"));
        cost.statements += u64::from(total);
        cost.records = cost.records.saturating_add(if total { times } else { 0 });
        let times = times.saturating_mul(page.limit.unsigned_abs());
        let nodes = match rows {
            true => self.of_kind(kind, &nodes, depth + 2, times, cost)?,
            false => ObjectPlan::default(),
        };
        Ok(ConnectionPlan { related, page, rows, total, nodes })
    }
}

impl Cost {
    pub fn add(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.statements += other.statements;
    }
}

/// The client has none of the scopes.
pub fn forbidden(scopes: &[Scope]) -> Refusal {
    let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
    Refusal::new(Code::Forbidden, format!("This needs a token with one of the scopes {}.", names.join(", ")))
}

pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.contains('\0') => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A log position, as a number or its digits.
pub fn position(value: &Value) -> Result<Option<i64>, Refusal> {
    if *value == Value::Null {
        return Ok(None);
    }
    let position = text(value).and_then(|text| text.parse::<i64>().ok()).filter(|position| *position >= 0);
    position.map(Some).ok_or_else(|| Refusal::input(format!("{value} is no log position.")))
}

/// A log position or a time.
pub fn as_of(value: &Value) -> Result<Option<AsOf>, Refusal> {
    if *value == Value::Null {
        return Ok(None);
    }
    if let Ok(Some(position)) = position(value) {
        return Ok(Some(AsOf::Position(position)));
    }
    match text(value).and_then(|text| time(&text)) {
        Some(at) if at > chrono::Utc::now() => Err(Refusal::input("asOf lies in the future.")),
        Some(at) => Ok(Some(AsOf::Time(at))),
        None => Err(Refusal::input("asOf is a log position or a time.")),
    }
}
