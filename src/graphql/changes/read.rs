//! Reads changes, differences and histories for fields of `Query`.

use std::sync::Arc;

use async_graphql::dynamic::ResolverContext;
use async_graphql::{Lookahead, Value};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Listed;
use crate::auth::{Client, Scope};
use crate::feed::diff::{Comparison, Difference, Place, Scope as Whose};
use crate::feed::tail::Told;
use crate::feed::{Asked, Change, Detail, Feed, Filter, Order, read};
use crate::graphql::document::Selected;
use crate::graphql::error::{Code, Refusal};
use crate::graphql::execution::{Done, Execution};
use crate::graphql::page::{self, Info};
use crate::graphql::plan::{AsOf, Cost};
use crate::graphql::planner::{Planner, as_of, forbidden, text};
use crate::log::Tenant;
use crate::rest::writes::user_of;
use crate::roster::EntityType;

/// Adds what a field that shows changes may cost.
pub fn cost(planner: &Planner, root: &Selected, cost: &mut Cost) {
    if ["changes", "history", "diff"].contains(&root.name) {
        let first = match planner.operation.argument(root.field(), "first") {
            Value::Number(first) => first.as_u64().unwrap_or_default(),
            _ => page::DEFAULT.unsigned_abs(),
        };
        cost.add(Cost { records: first, statements: 1 });
    }
}

/// What resolvers of the feed work with.
pub struct Reader<'a, 'c> {
    pub ctx: &'a ResolverContext<'c>,
    pub feed: &'a Feed,
    pub client: &'a Client,
}

impl<'a, 'c> Reader<'a, 'c> {
    /// Of a client that may read the feed.
    pub fn of(ctx: &'a ResolverContext<'c>) -> Result<Self, Refusal> {
        let missing = |_| Refusal::new(Code::Internal, "The hub failed.");
        let reader = Self { ctx, feed: ctx.data().map_err(missing)?, client: ctx.data().map_err(missing)? };
        reader.require(&[Scope::Roster])?;
        Ok(reader)
    }

    fn execution(&self) -> Result<&'a Execution, Refusal> {
        let execution = self.ctx.data::<Arc<Execution>>();
        execution.map(AsRef::as_ref).map_err(|_| Refusal::new(Code::Internal, "The hub failed."))
    }

    /// The position at which the operation reads.
    async fn read_at(&self) -> Result<i64, Refusal> {
        self.execution()?.position().await
    }

    /// Adds to what the operation has cost.
    fn spent(&self, statements: u64, records: usize) -> Result<(), Refusal> {
        self.execution()?.add(Done { position: 0, statements, records: records as u64 });
        Ok(())
    }

    /// Writes down whose changes are told.
    fn saw<'p>(&self, people: impl Iterator<Item = &'p str>) -> Result<(), Refusal> {
        self.execution()?.saw(|seen| people.for_each(|person| seen.see(person)));
        Ok(())
    }

    pub fn require(&self, scopes: &[Scope]) -> Result<(), Refusal> {
        if self.client.may_any(scopes) { Ok(()) } else { Err(forbidden(scopes)) }
    }

    pub fn tenant(&self) -> &'a Tenant {
        &self.client.tenant
    }

    /// An argument; null when it is absent.
    pub fn argument(&self, name: &str) -> Value {
        self.ctx.args.get(name).map_or(Value::Null, |value| value.as_value().clone())
    }

    fn id(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.argument(name) {
            Value::Null => Ok(None),
            given => text(&given).map(Some).ok_or_else(|| Refusal::input(format!("{name} is a sourcedId."))),
        }
    }

    fn types(&self) -> Vec<EntityType> {
        let name = |value: &Value| match value {
            Value::Enum(name) => EntityType::from_name(name),
            Value::String(name) => EntityType::from_name(name),
            _ => None,
        };
        match self.argument("types") {
            Value::List(types) => types.iter().filter_map(name).collect(),
            one => name(&one).into_iter().collect(),
        }
    }

    pub fn filter(&self) -> Result<Filter, Refusal> {
        let (school, sourced_id) = (self.id("school")?, self.id("sourcedId")?);
        Ok(Filter::new(&self.types(), school, sourced_id, self.client.may_any(&[Scope::Demographics])))
    }

    /// What is asked of each change: whether the record before, and the previous position. `path`: the fields that
    /// lead to changes. Refuses details of causes to those who may not audit.
    pub fn wanted(&self, paths: &[&[&str]]) -> Result<(bool, bool), Refusal> {
        let (mut before, mut previous) = (false, false);
        for path in paths {
            let node = path.iter().fold(self.ctx.look_ahead(), |ahead, field| ahead.field(field));
            let has = |ahead: &Lookahead, field: &str| ahead.field(field).exists();
            let cause = node.field("cause");
            if ["actor", "file", "line", "approvedBy"].iter().any(|field| has(&cause, field)) {
                self.require(&[Scope::Audit])?;
            }
            before |= has(&node, "before");
            previous |= has(&node, "previousPosition");
        }
        Ok((before, previous))
    }

    fn first(&self) -> Result<usize, Refusal> {
        let most = self.execution()?.max_page.unsigned_abs();
        match self.argument("first") {
            Value::Null => Ok(page::DEFAULT as usize),
            Value::Number(n) => match n.as_u64() {
                Some(n) if n <= most => Ok(n as usize),
                Some(_) => Err(Refusal::limit(format!("first is at most {most}."))),
                None => Err(Refusal::input("first is a whole number from 0 on.")),
            },
            _ => Err(Refusal::input("first is a whole number from 0 on.")),
        }
    }

    /// The cursor to go on from.
    fn after<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        let cursor = match self.argument("after") {
            Value::Null => return Ok(None),
            Value::String(text) => URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()),
            _ => None,
        };
        let cursor = cursor.and_then(|text| read(&text)).map(Some);
        cursor.ok_or_else(|| Refusal::input("after is not a cursor of this list."))
    }

    /// The position that an argument means; none when it is absent.
    async fn position(&self, name: &str, head: i64) -> Result<Option<i64>, Refusal> {
        Ok(match as_of(&self.argument(name))? {
            None => None,
            Some(AsOf::Position(position)) if position > head => {
                return Err(Refusal::input(format!("The log has not reached position {position}.")));
            }
            Some(AsOf::Position(position)) => Some(position),
            Some(AsOf::Time(time)) => Some(self.feed.log().position_at(self.tenant(), time).await?),
        })
    }

    pub async fn head(&self) -> Result<i64, Refusal> {
        Ok(self.feed.log().head(self.tenant()).await?.unwrap_or_default())
    }
}

/// The person that a record which differs is of.
fn person(Difference { entity, sourced_id, before, after, .. }: &Difference) -> Option<String> {
    match entity {
        EntityType::User | EntityType::Demographics => Some(sourced_id.clone()),
        EntityType::Enrollment => Some(user_of(after.as_deref().or(before.as_deref())?)),
        _ => None,
    }
}

fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

const NODES: &[&[&str]] = &[&["nodes"], &["edges", "node"]];

pub async fn changes(ctx: &ResolverContext<'_>) -> Result<Listed<Told>, Refusal> {
    let reader = Reader::of(ctx)?;
    let filter = reader.filter()?;
    let (before, previous) = reader.wanted(NODES)?;
    let head = reader.read_at().await?;
    let since = reader.position("since", head).await?.unwrap_or(0);
    let until = reader.position("until", head).await?.unwrap_or(head);
    let went_on = reader.after(|text| text.strip_prefix("change:")?.parse::<i64>().ok())?;
    let asked = Asked {
        tenant: reader.tenant(),
        filter: &filter,
        values: before,
        previous,
        range: (since.max(went_on.unwrap_or(0)), until),
        limit: reader.first()?,
        order: Order::Asc,
        last: None,
    };
    let page = reader.feed.page(&asked).await.map_err(|error| Refusal::from(&*error))?;
    reader.saw(page.told.iter().filter_map(|told| told.change.person()))?;
    let item = |told: Told| (cursor(&format!("change:{}", told.change.position)), told);
    let items: Vec<_> = page.told.into_iter().map(item).collect();
    reader.spent(page.statements, items.len())?;
    let info = Info {
        has_next: page.to < until,
        has_previous: went_on.is_some(),
        start: items.first().map(|item| item.0.clone()),
        end: Some(cursor(&format!("change:{}", page.to))),
    };
    Ok(Listed { items, info })
}

pub async fn history(ctx: &ResolverContext<'_>) -> Result<Listed<Told>, Refusal> {
    let reader = Reader::of(ctx)?;
    let kind = match reader.argument("recordType") {
        Value::Enum(name) => EntityType::from_name(&name),
        Value::String(name) => EntityType::from_name(&name),
        _ => None,
    };
    let kind = kind.ok_or_else(|| Refusal::input("recordType is a record type."))?;
    if kind == EntityType::Demographics {
        reader.require(&[Scope::Demographics])?;
    }
    reader.wanted(NODES)?;
    let filter = Filter::new(&[kind], None, reader.id("sourcedId")?, true);
    let went_on = reader.after(|text| text.strip_prefix("change:")?.parse::<i64>().ok())?;
    let range = (went_on.unwrap_or(0), reader.read_at().await?);
    let first = reader.first()?;
    let page = read::read(reader.feed.log(), reader.tenant(), &filter, Detail::Values, range, first + 1).await?;
    reader.spent(1, page.changes.len())?;
    reader.saw(page.changes.iter().filter_map(Change::person))?;
    // Another page may be there when this one was cut short by its bytes, too.
    let has_next = page.changes.len() > first || page.to < range.1;
    let told = |change: Change| {
        let previous = Some(change.record_previous.unwrap_or(0));
        (cursor(&format!("change:{}", change.position)), Told { change: Arc::new(change), previous })
    };
    let items: Vec<_> = page.changes.into_iter().take(first).map(told).collect();
    let info = Info {
        has_next,
        has_previous: went_on.is_some(),
        start: items.first().map(|item| item.0.clone()),
        end: items.last().map(|item| item.0.clone()),
    };
    Ok(Listed { items, info })
}

pub async fn diff(ctx: &ResolverContext<'_>) -> Result<Listed<Difference>, Refusal> {
    let reader = Reader::of(ctx)?;
    let head = reader.read_at().await?;
    let (from, to) = (reader.position("from", head).await?, reader.position("to", head).await?);
    let (from, to) = (from.unwrap_or(0), to.unwrap_or(head));
    if from > to {
        return Err(Refusal::input("from is not later than to."));
    }
    let mut scopes = Vec::new();
    type Of = fn(String) -> Whose;
    let whose: [(&str, Of); 4] =
        [("school", Whose::School), ("class", Whose::Class), ("user", Whose::User), ("sourcedId", Whose::Record)];
    for (name, scope) in whose {
        scopes.extend(reader.id(name)?.map(scope));
    }
    if scopes.len() > 1 {
        return Err(Refusal::input("At most one of school, class, user and sourcedId is given."));
    }
    let filter = Filter::new(&reader.types(), None, None, reader.client.may_any(&[Scope::Demographics]));
    let types = filter.types().iter().copied().filter(|kind| kind.nesting().is_none()).collect();
    let comparison = Comparison { scope: scopes.pop().unwrap_or(Whose::Everything), types, from, to };
    let after = reader.after(|text| {
        let (kind, id) = text.strip_prefix("difference:")?.split_once(':')?;
        Some((EntityType::from_name(kind).filter(|kind| comparison.types.contains(kind))?, id.to_owned()) as Place)
    })?;
    let first = reader.first()?;
    let mut found = comparison.read(reader.feed.log(), reader.tenant(), after.as_ref(), first + 1).await?;
    reader.spent(comparison.types.len() as u64, found.len())?;
    let has_next = found.len() > first;
    found.truncate(first);
    let people: Vec<String> = found.iter().filter_map(person).collect();
    reader.saw(people.iter().map(String::as_str))?;
    let place = |d: &Difference| cursor(&format!("difference:{}:{}", d.entity.name(), d.sourced_id));
    let items: Vec<_> = found.into_iter().map(|difference| (place(&difference), difference)).collect();
    let info = Info {
        has_next,
        has_previous: after.is_some(),
        start: items.first().map(|item| item.0.clone()),
        end: items.last().map(|item| item.0.clone()),
    };
    Ok(Listed { items, info })
}
