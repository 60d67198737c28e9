//! Writes the answer of a query straight from what was read, in the order of its plan. Values go from the documents to
//! the answer as they stand, without being parsed. Operations that ask for more than the roster are left to the
//! executor, whose resolvers (`resolve`) answer the same.

use std::sync::Arc;

use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute};
use async_graphql::{Name, PathSegment, Pos, Response, ServerError, Value, async_trait};
use async_graphql_value::RAW_VALUE_TOKEN;

use super::error::{Code, Refusal};
use super::execution::Execution;
use super::id;
use super::load::{Connection, Item, Level, Loaded, LoadedRoot, ids, parts};
use super::members::{Members, quoted};
use super::model::{Content, Field, Ids, object_name};
use super::plan::{
    ConnectionPart, ConnectionPlan, EdgePart, FieldPlan, ObjectPlan, PagePart, RootTarget, Shown, Target,
};
use super::planner::forbidden;
use super::resolve::Fingerprint;
use crate::query::etag::record_version;
use crate::roster::EntityType;

/// Takes the place of the executor where a plan is all that is asked for.
pub struct Renderer;

impl ExtensionFactory for Renderer {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait::async_trait]
impl Extension for Renderer {
    async fn execute(&self, ctx: &ExtensionContext<'_>, name: Option<&str>, next: NextExecute<'_>) -> Response {
        let whole = ctx.data_opt::<Arc<Execution>>().filter(|execution| execution.plan.is_whole);
        let (Some(execution), Ok(fingerprint)) = (whole, ctx.data::<Fingerprint>()) else {
            return next.run(ctx, name).await;
        };
        match answer(execution, fingerprint).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }
}

async fn answer(execution: &Execution, Fingerprint(fingerprint): &Fingerprint) -> Result<Response, Refusal> {
    let mut writer = Writer { execution, fingerprint, out: String::new(), path: Vec::new(), errors: Vec::new() };
    writer.out.push('{');
    for root in &execution.plan.roots {
        writer.key(&root.key);
        match &root.target {
            RootTarget::TypeName => writer.out.push_str("\"Query\""),
            RootTarget::Nothing => {
                execution.position().await?;
                writer.out.push_str("null");
            }
            RootTarget::Refused(refusal) => writer.refused(&root.key, root.pos, refusal.clone()),
            RootTarget::One(_, plan) => {
                let LoadedRoot::One(item) = execution.root(&root.key).await? else { return Err(astray()) };
                writer.under(&root.key, |writer| writer.maybe(item.as_ref(), plan))?;
            }
            RootTarget::Connection(plan) => {
                let LoadedRoot::Connection(page) = execution.root(&root.key).await? else { return Err(astray()) };
                writer.under(&root.key, |writer| writer.connection(page, plan))?;
            }
        }
    }
    writer.out.push('}');
    // A value that serialises as the JSON that it holds.
    let data = [(Name::new(RAW_VALUE_TOKEN), Value::String(writer.out))];
    let mut response = Response::new(Value::Object(data.into_iter().collect()));
    response.errors = writer.errors;
    Ok(response)
}

/// What was read is not what was planned.
fn astray() -> Refusal {
    tracing::error!("a GraphQL answer does not fit its plan");
    Refusal::new(Code::Internal, "The hub failed; the failure has been logged.")
}

struct Writer<'a> {
    execution: &'a Execution,
    fingerprint: &'a str,
    out: String,
    /// Of the object that is being written.
    path: Vec<Step<'a>>,
    errors: Vec<ServerError>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// A record, or a part of one.
struct Object<'a> {
    kind: Option<EntityType>,
    sourced_id: &'a str,
    since: i64,
    members: &'a Members,
    level: &'a Level,
}

impl<'a> From<&'a Item> for Object<'a> {
    fn from(item: &'a Item) -> Self {
        let Item { kind, sourced_id, since, members, level, .. } = item;
        Self { kind: *kind, sourced_id, since: *since, members, level }
    }
}

type Written = Result<(), Refusal>;

impl<'a> Writer<'a> {
    /// The key of the next member.
    fn key(&mut self, key: &str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        // A name of GraphQL, which needs no escapes.
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    fn under(&mut self, key: &'a str, write: impl FnOnce(&mut Self) -> Written) -> Written {
        self.path.push(Step::Key(key));
        write(self)?;
        self.path.pop();
        Ok(())
    }

    fn list<T>(&mut self, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Self, T) -> Written) -> Written {
        self.out.push('[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.path.push(Step::Index(index));
            write(self, item)?;
            self.path.pop();
        }
        self.out.push(']');
        Ok(())
    }

    fn maybe(&mut self, item: Option<&Item>, plan: &'a ObjectPlan) -> Written {
        match item {
            Some(item) => self.object(&item.into(), plan),
            None => {
                self.out.push_str("null");
                Ok(())
            }
        }
    }

    fn object(&mut self, object: &Object, plan: &'a ObjectPlan) -> Written {
        self.out.push('{');
        for FieldPlan { key, pos, target } in &plan.fields {
            self.key(key);
            match target {
                Target::TypeName(name) => self.name(name),
                Target::Own(field) => self.own(object, field)?,
                Target::Refused(scopes) => self.refused(key, *pos, forbidden(scopes)),
                Target::Inner(..) | Target::Records(..) | Target::Connection(_) => {
                    self.under(key, |writer| writer.inside(object, target, object.level.get(key)))?;
                }
            }
        }
        self.out.push('}');
        Ok(())
    }

    /// What a field leads to.
    fn inside(&mut self, object: &Object, target: &'a Target, loaded: Option<&Loaded>) -> Written {
        match (target, loaded) {
            (Target::Inner(field, plan), Some(Loaded::Inner(level))) => {
                let part = |members| Object { kind: None, sourced_id: "", since: 0, members, level };
                let inner = parts(field, object.members);
                match (&field.content, inner.first()) {
                    (Content::Extensions { .. }, Some(members)) => self.object(&part(members), plan),
                    _ => self.list(inner.iter(), |writer, members| writer.object(&part(members), plan)),
                }
            }
            (Target::Records(link, plan), Some(Loaded::Records(records))) => {
                let found = ids(link, object.sourced_id, object.members);
                let mut found = found.iter().filter_map(|id| records.get(id));
                match link.ids {
                    Ids::Many(_) => self.list(found, |writer, item| writer.object(&item.into(), plan)),
                    _ => self.maybe(found.next(), plan),
                }
            }
            (Target::Connection(plan), Some(Loaded::Connections(pages))) => match pages.get(object.sourced_id) {
                Some(page) => self.connection(page, plan),
                None => Err(astray()),
            },
            _ => Err(astray()),
        }
    }

    fn own(&mut self, object: &Object, field: &Field) -> Written {
        match (&field.content, object.kind) {
            (Content::GlobalId, Some(kind)) => self.out.push_str(&quoted(&id::write(kind, object.sourced_id))),
            (Content::Version, Some(kind)) => {
                let tenant = &self.execution.tenant;
                self.name(&record_version(self.fingerprint, tenant, kind, object.sourced_id, object.since));
            }
            (Content::Value { member, form, .. }, _) => match object.members.json(member, *form) {
                Some(json) => self.out.push_str(&json),
                None if field.is_always_there() => return Err(astray()),
                None => self.out.push_str("null"),
            },
            _ => return Err(astray()),
        }
        Ok(())
    }

    fn connection(&mut self, page: &Connection, plan: &'a ConnectionPlan) -> Written {
        let name = object_name(plan.related.kind);
        self.out.push('{');
        for Shown { key, part } in &plan.shown {
            self.key(key);
            match part {
                ConnectionPart::TypeName => self.name(&format!("{name}Connection")),
                ConnectionPart::Total => match page.total {
                    Some(total) => self.out.push_str(&total.to_string()),
                    None => return Err(astray()),
                },
                ConnectionPart::PageInfo(shown) => self.page_info(page, shown),
                ConnectionPart::Nodes(plan) => self.under(key, |writer| {
                    writer.list(page.items.iter(), |writer, item| writer.object(&item.into(), plan))
                })?,
                ConnectionPart::Edges(shown) => self.under(key, |writer| {
                    writer.list(page.items.iter(), |writer, item| writer.edge(item, name, shown))
                })?,
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn edge(&mut self, item: &Item, name: &str, shown: &'a [Shown<EdgePart>]) -> Written {
        self.out.push('{');
        for Shown { key, part } in shown {
            self.key(key);
            match part {
                EdgePart::TypeName => self.name(&format!("{name}Edge")),
                EdgePart::Cursor => self.cursor(Some(item)),
                EdgePart::Node(plan) => self.under(key, |writer| writer.object(&item.into(), plan))?,
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn page_info(&mut self, page: &Connection, shown: &[Shown<PagePart>]) {
        self.out.push('{');
        for Shown { key, part } in shown {
            self.key(key);
            match part {
                PagePart::TypeName => self.name("PageInfo"),
                PagePart::HasNext => self.flag(page.has_next),
                PagePart::HasPrevious => self.flag(page.has_previous),
                PagePart::Start => self.cursor(page.items.first()),
                PagePart::End => self.cursor(page.items.last()),
            }
        }
        self.out.push('}');
    }

    fn cursor(&mut self, item: Option<&Item>) {
        match item.and_then(|item| item.cursor.as_deref()) {
            Some(cursor) => self.name(cursor),
            None => self.out.push_str("null"),
        }
    }

    fn flag(&mut self, flag: bool) {
        self.out.push_str(if flag { "true" } else { "false" });
    }

    /// A string that needs no escapes.
    fn name(&mut self, name: &str) {
        self.out.push('"');
        self.out.push_str(name);
        self.out.push('"');
    }

    /// A field that is null, for this.
    fn refused(&mut self, key: &str, pos: Pos, refusal: Refusal) {
        self.out.push_str("null");
        let mut error = refusal.into_error().into_server_error(pos);
        let path = self.path.iter().copied().chain([Step::Key(key)]).map(|step| match step {
            Step::Key(key) => PathSegment::Field(key.to_owned()),
            Step::Index(index) => PathSegment::Index(index),
        });
        error.path = path.collect();
        self.errors.push(error);
    }
}
