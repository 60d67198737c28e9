//! Makes the plan of an operation: what has to be read, and what it may cost.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::Value;
use async_graphql::parser::types::Field as AstField;

use super::changes;
use super::document::{Operation, Selected};
use super::error::{Code, Refusal};
use super::id;
use super::imports;
use super::inputs;
use super::model::{Content, MODEL, Object, object_name};
use super::mutation;
use super::page::Page;
use super::plan::{
    AsOf, ConnectionPart, ConnectionPlan, Cost, EdgePart, FieldPlan, ObjectPlan, PagePart, Plan, RootPlan, RootTarget,
    Shown, Target,
};
use super::roots::Root;
use super::webhooks;
use crate::auth::{Client, Scope};
use crate::query::related::Related;
use crate::query::sql::time;
use crate::roster::EntityType;

const TYPE_NAME: &str = "__typename";

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
        let mut plan = Plan { is_whole: true, ..Plan::default() };
        for root in self.operation.roots()? {
            let mut cost = Cost::default();
            let planned = self.snapshot(root.field(), &mut plan).and_then(|()| self.read(&root, &mut cost));
            let (sourced_id, target) = match planned {
                Ok(Some(planned)) => planned,
                Ok(None) => {
                    plan.cost.add(cost);
                    plan.is_whole = false;
                    continue;
                }
                // The field answers with it, if the document is valid at all.
                Err(refusal) if refusal.code == Code::BadUserInput => (String::new(), RootTarget::Refused(refusal)),
                Err(refusal) => return Err(refusal),
            };
            plan.cost.add(cost);
            plan.roots.push(RootPlan { key: root.key.to_owned(), pos: root.pos, sourced_id, target });
        }
        Ok(plan)
    }

    /// What a field of `Query` reads of the roster, if it does.
    fn read(&self, root: &Selected, cost: &mut Cost) -> Result<Option<(String, RootTarget)>, Refusal> {
        match (root.name, Root::find(root.name)) {
            ("node", _) => self.node(root, cost).map(Some),
            (TYPE_NAME, _) => Ok(Some((String::new(), RootTarget::TypeName))),
            (_, Some(found)) => self.root(root, found, cost).map(Some),
            _ => {
                changes::cost(self, root, cost);
                imports::cost(self, root, cost)?;
                webhooks::cost(self, root, cost).map(|()| None)
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
        let Some((kind, sourced_id)) = id::read(&self.id(root, "id")?) else {
            return Ok((String::new(), RootTarget::Nothing));
        };
        Ok((sourced_id, self.record(kind, root, cost)?))
    }

    /// An argument that has to be there: a nullable variable may have left it out.
    fn id(&self, root: &Selected, name: &str) -> Result<String, Refusal> {
        match self.operation.argument(root.field(), name) {
            Value::Null => Err(Refusal::input(format!("{name} is missing."))),
            // No record has an id that is none.
            given => Ok(text(&given).unwrap_or_default()),
        }
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
            let sourced_id = self.id(selected, "sourcedId")?;
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
        let mut fields = Vec::new();
        for selected in self.operation.select(object.name, &sets, depth)? {
            if let Some(target) = self.field(object, &selected, depth, times, cost)? {
                fields.push(FieldPlan { key: selected.key.to_owned(), pos: selected.pos, target });
            }
        }
        Ok(ObjectPlan { fields })
    }

    /// None when the object has no such field.
    fn field(
        &self,
        object: &'static Object,
        selected: &Selected,
        depth: usize,
        times: u64,
        cost: &mut Cost,
    ) -> Result<Option<Target>, Refusal> {
        if selected.name == TYPE_NAME {
            return Ok(Some(Target::TypeName(object.name)));
        }
        let Some(field) = object.field(selected.name) else { return Ok(None) };
        Ok(Some(match &field.content {
            Content::GlobalId | Content::Version | Content::Value { .. } => Target::Own(field),
            Content::Parts { object, .. } | Content::Extensions { object } => {
                let Some(inner) = MODEL.object(object) else { return Ok(None) };
                Target::Inner(field, self.object(inner, &[selected], depth + 1, times, cost)?)
            }
            Content::Link(link) if self.forbidden(link.scopes).is_some() => Target::Refused(link.scopes),
            Content::Connection(relation) if self.forbidden(relation.scopes).is_some() => {
                Target::Refused(relation.scopes)
            }
            Content::Link(link) => Target::Records(link, self.of_kind(link.kind, &[selected], depth + 1, times, cost)?),
            Content::Connection(relation) => {
                let condition = Cow::Borrowed(relation.condition);
                let related = Related { kind: relation.kind, condition, predicate: None, sort: None };
                Target::Connection(Box::new(self.connection(related, selected, depth, times, cost)?))
            }
        }))
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
        let edge = format!("{}Edge", object_name(kind));
        let fields = self.operation.select(&connection, &selected.sets(), depth + 1)?;
        let mut edges = Vec::new();
        for field in fields.iter().filter(|field| field.name == "edges") {
            edges.push((field.key, self.operation.select(&edge, &field.sets(), depth + 2)?));
        }
        let mut nodes: Vec<&Selected> = fields.iter().filter(|field| field.name == "nodes").collect();
        nodes.extend(edges.iter().flat_map(|(_, fields)| fields).filter(|field| field.name == "node"));
        let rows = fields.iter().any(|field| ["edges", "nodes", "pageInfo"].contains(&field.name));
        let total = fields.iter().any(|field| field.name == "totalCount");
        let in_edges = edges.iter().flat_map(|(_, fields)| fields).any(|field| field.name == "cursor");
        let cursors = in_edges || fields.iter().any(|field| field.name == "pageInfo");
        cost.statements += u64::from(total);
        cost.records = cost.records.saturating_add(if total { times } else { 0 });
        let times = times.saturating_mul(page.limit.unsigned_abs());
        let all = Arc::new(match rows {
            true => self.of_kind(kind, &nodes, depth + 2, times, cost)?,
            false => ObjectPlan::default(),
        });
        // What is shown at one place is less than all when it is shown at several.
        let several = nodes.len() > 1;
        let node = |selected: &Selected| match several {
            true => self.of_kind(kind, &[selected], depth + 2, 0, &mut Cost::default()).map(Arc::new),
            false => Ok(all.clone()),
        };
        let mut shown = Vec::with_capacity(fields.len());
        for field in &fields {
            let part = match field.name {
                TYPE_NAME => ConnectionPart::TypeName,
                "totalCount" => ConnectionPart::Total,
                "nodes" => ConnectionPart::Nodes(node(field)?),
                "pageInfo" => ConnectionPart::PageInfo(self.page_info(field, depth + 2)?),
                "edges" => {
                    let inner = edges.iter().find(|(key, _)| *key == field.key).map_or(&[][..], |(_, inner)| inner);
                    let mut parts = Vec::with_capacity(inner.len());
                    for field in inner {
                        let part = match field.name {
                            TYPE_NAME => EdgePart::TypeName,
                            "cursor" => EdgePart::Cursor,
                            "node" => EdgePart::Node(node(field)?),
                            _ => continue,
                        };
                        parts.push(Shown { key: field.key.to_owned(), part });
                    }
                    ConnectionPart::Edges(parts)
                }
                _ => continue,
            };
            shown.push(Shown { key: field.key.to_owned(), part });
        }
        Ok(ConnectionPlan { related, page, rows, total, cursors, nodes: all, shown })
    }

    fn page_info(&self, selected: &Selected, depth: usize) -> Result<Vec<Shown<PagePart>>, Refusal> {
        let fields = self.operation.select("PageInfo", &selected.sets(), depth)?;
        let shown = fields.iter().filter_map(|field| {
            let part = match field.name {
                TYPE_NAME => PagePart::TypeName,
                "hasNextPage" => PagePart::HasNext,
                "hasPreviousPage" => PagePart::HasPrevious,
                "startCursor" => PagePart::Start,
                "endCursor" => PagePart::End,
                _ => return None,
            };
            Some(Shown { key: field.key.to_owned(), part })
        });
        Ok(shown.collect())
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
