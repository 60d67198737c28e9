//! Changes, differences and histories as fields of `Query`. They are read from the log and not planned with the rest:
//! nothing in them leads to other records.

use std::sync::Arc;

use async_graphql::dynamic::{
    Enum, EnumItem, Field, FieldFuture, FieldValue, InputValue, Object, ResolverContext, SchemaBuilder, TypeRef,
};
use async_graphql::{Lookahead, Name, Value};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::document::Selected;
use super::error::{Code, Refusal};
use super::page::{self, Info};
use super::plan::{AsOf, Cost, Planner, as_of, forbidden, text};
use crate::auth::{Client, Scope};
use crate::feed::diff::{Comparison, Difference, Place, Scope as Whose};
use crate::feed::tail::Told;
use crate::feed::{Change, Detail, Feed, Filter, Kind, read};
use crate::log::Tenant;
use crate::roster::EntityType;

/// Enums.
pub const RECORD_TYPE: &str = "RecordType";
const CHANGE_KIND: &str = "ChangeKind";

/// Records on a page, at most.
const MAX_PAGE: usize = 1_000;
/// Statements that one page may take when its filter passes little.
const STEPS: usize = 20;

/// A page of something that has a cursor.
struct Listed<T> {
    items: Vec<(String, T)>,
    info: Info,
}

/// A value of an object's field, out of what the object is made of.
type Get<T> = for<'a> fn(&'a T) -> Option<FieldValue<'a>>;
/// Fields of an object: name, type, value, description.
type Fields<T> = [(&'static str, TypeRef, Get<T>, &'static str)];

fn object<T: Send + Sync + 'static>(name: &str, doc: &str, fields: &Fields<T>) -> Object {
    fields.iter().fold(Object::new(name).description(doc), |object, (name, of, get, doc)| {
        let get = *get;
        let field = Field::new(*name, of.clone(), move |ctx| {
            FieldFuture::Value(ctx.parent_value.downcast_ref::<T>().and_then(get))
        });
        object.field(field.description(*doc))
    })
}

fn value<'a>(value: impl Into<Value>) -> Option<FieldValue<'a>> {
    Some(FieldValue::value(value))
}

fn optional<'a>(value: Option<impl Into<Value>>) -> Option<FieldValue<'a>> {
    value.map(FieldValue::value)
}

fn token<'a>(name: &str) -> Option<FieldValue<'a>> {
    value(Value::Enum(Name::new(name)))
}

fn json<'a>(text: Option<&str>) -> Option<FieldValue<'a>> {
    text.and_then(|text| serde_json::from_str::<Value>(text).ok()).map(FieldValue::value)
}

/// A position; shown as a number.
pub const POSITION: &str = "Position";

/// Adds the types.
pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let nn = |name: &str| TypeRef::named_nn(name);
    let n = |name: &str| TypeRef::named(name);
    let types = EntityType::ALL.map(|kind| EnumItem::new(kind.name()).description(kind.entity().doc.trim()));
    let kinds = Kind::ALL.map(|(_, name, doc)| EnumItem::new(name).description(doc));
    let change: &Fields<Told> = &[
        ("position", nn(POSITION), |told| value(told.change.position), "Its place in the log."),
        (
            "previousPosition",
            nn(POSITION),
            |told| value(told.previous.unwrap_or_default()),
            "The place of the change before it in the same filter, or of the record's change before it in a history; 0 when it is the first. Who has that one has missed none.",
        ),
        (
            "unit",
            nn(POSITION),
            |told| value(told.change.unit),
            "First position of the unit of work that it belongs to.",
        ),
        (
            "recordedAt",
            nn("DateTime"),
            |told| value(told.change.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
            "When it was recorded.",
        ),
        ("recordType", nn(RECORD_TYPE), |told| token(told.change.entity.name()), "What was changed."),
        ("sourcedId", nn(TypeRef::ID), |told| value(told.change.sourced_id.as_str()), "Of the record."),
        (
            "user",
            n(TypeRef::ID),
            |told| optional(told.change.user.as_deref()),
            "The user whose role, profile, enrollment or demographics it is.",
        ),
        ("kind", nn(CHANGE_KIND), |told| token(told.change.kind.name()), "What became of it."),
        (
            "changed",
            TypeRef::named_nn_list_nn(TypeRef::STRING),
            |told| value(told.change.changed.clone()),
            "Members that changed; none when it was created or deleted.",
        ),
        (
            "before",
            n("JSON"),
            |told| json(told.change.before.as_ref().map(|record| record.get())),
            "The record as it was, as the log holds it: without sourcedId, status and time.",
        ),
        ("after", n("JSON"), |told| json(Some(told.change.after.get())), "The record as it is since then."),
        ("cause", nn("Cause"), |told| Some(FieldValue::borrowed_any(&*told.change)), "Who or what led to it."),
    ];
    let cause: &Fields<Change> = &[
        (
            "client",
            n(TypeRef::STRING),
            |change| optional(change.cause.client.as_deref()),
            "The client, as the log has it: its id for a write, its name for an import.",
        ),
        ("import", n(TypeRef::ID), |change| optional(change.cause.import.as_deref()), "The import job."),
        (
            "reverts",
            n(TypeRef::ID),
            |change| optional(change.cause.reverts.as_deref()),
            "The import that the job takes back.",
        ),
        (
            "mapping",
            n(TypeRef::STRING),
            |change| optional(change.cause.mapping.as_deref()),
            "The edition of the binding by which the set was read.",
        ),
        (
            "approvedBy",
            n(TypeRef::STRING),
            |change| optional(change.cause.approver.as_deref()),
            "Who approved the import. Needs the scope `audit`.",
        ),
        (
            "absent",
            nn(TypeRef::BOOLEAN),
            |change| value(change.cause.absent),
            "A bulk file did not name the record any more.",
        ),
        (
            "actor",
            n(TypeRef::STRING),
            |change| optional(change.cause.actor.as_deref()),
            "On whose behalf the client wrote. Needs the scope `audit`.",
        ),
        (
            "file",
            n(TypeRef::STRING),
            |change| optional(change.cause.file.as_deref()),
            "The file of the set. Needs the scope `audit`.",
        ),
        (
            "line",
            n(TypeRef::INT),
            |change| optional(change.cause.line),
            "The line of the file. Needs the scope `audit`.",
        ),
    ];
    let difference: &Fields<Difference> = &[
        ("recordType", nn(RECORD_TYPE), |d| token(d.entity.name()), "What differs."),
        ("sourcedId", nn(TypeRef::ID), |d| value(d.sourced_id.as_str()), "Of the record."),
        ("kind", nn(CHANGE_KIND), |d| token(d.kind.name()), "What became of it, all in all."),
        (
            "changed",
            TypeRef::named_nn_list_nn(TypeRef::STRING),
            |d| value(d.changed.clone()),
            "Members that differ; none when it was not there before.",
        ),
        ("before", n("JSON"), |d| json(d.before.as_deref()), "The document at `from`; none when it was not there."),
        ("after", n("JSON"), |d| json(d.after.as_deref()), "The document at `to`."),
    ];
    let schema = schema
        .register(Enum::new(RECORD_TYPE).description("Types of records, as references name them.").items(types))
        .register(Enum::new(CHANGE_KIND).description("What became of a record.").items(kinds))
        .register(object("Change", "A change of a record: one event of the log.", change))
        .register(object("Cause", "Who or what led to a change.", cause))
        .register(object("Difference", "A record that differs between two positions.", difference));
    let schema = connection::<Told>(schema, "Change");
    connection::<Difference>(schema, "Difference")
}

fn connection<T: Send + Sync + 'static>(schema: SchemaBuilder, name: &str) -> SchemaBuilder {
    let edge = format!("{name}Edge");
    let page: &Fields<Listed<T>> = &[
        (
            "edges",
            TypeRef::named_nn_list_nn(&edge),
            |page| Some(FieldValue::list(page.items.iter().map(|item| FieldValue::borrowed_any(item)))),
            "What is on it, with cursors.",
        ),
        (
            "nodes",
            TypeRef::named_nn_list_nn(name),
            |page| Some(FieldValue::list(page.items.iter().map(|item| FieldValue::borrowed_any(&item.1)))),
            "What is on it.",
        ),
        (
            "pageInfo",
            TypeRef::named_nn("PageInfo"),
            |page| Some(FieldValue::borrowed_any(&page.info)),
            "What lies beyond the page. A page may be short, or empty, and yet have a next one.",
        ),
    ];
    let edges: &Fields<(String, T)> = &[
        ("cursor", TypeRef::named_nn(TypeRef::STRING), |item| value(item.0.as_str()), "The place; for `after`."),
        ("node", TypeRef::named_nn(name), |item| Some(FieldValue::borrowed_any(&item.1)), "What is there."),
    ];
    schema.register(object(&format!("{name}Connection"), "A page.", page)).register(object(
        &edge,
        "An entry at its place in a list.",
        edges,
    ))
}

/// The arguments that make a filter.
pub fn filtered(arguments: &mut Vec<InputValue>) {
    arguments.extend([
        InputValue::new("types", TypeRef::named_nn_list(RECORD_TYPE)).description("Record types; all without it."),
        InputValue::new("school", TypeRef::named(TypeRef::ID)).description(
            "Records of this school, or other org, as they were just before or just after the change. Academic sessions are every school's.",
        ),
        InputValue::new("sourcedId", TypeRef::named(TypeRef::ID)).description("Records of this sourcedId."),
    ]);
}

/// Adds the fields to `Query`.
pub fn fields(query: Object) -> Object {
    let argument = |name: &str, of: TypeRef, doc: &'static str| InputValue::new(name.to_owned(), of).description(doc);
    let id = || TypeRef::named(TypeRef::ID);
    let pages = || {
        [
            argument("first", TypeRef::named(TypeRef::INT), "Entries on the page; 50 without it, 1,000 at most."),
            argument("after", TypeRef::named(TypeRef::STRING), "The cursor to go on from."),
        ]
    };
    let with = |field: Field, arguments: Vec<InputValue>| {
        arguments.into_iter().chain(pages()).fold(field, |field, argument| field.argument(argument))
    };
    let mut of_changes = vec![
        argument("since", TypeRef::named("AsOf"), "Changes after this; from the first one without it."),
        argument("until", TypeRef::named("AsOf"), "Changes up to this; up to the last one without it."),
    ];
    filtered(&mut of_changes);
    let changes = Field::new("changes", TypeRef::named("ChangeConnection"), |ctx| {
        FieldFuture::new(async move { Ok(shown(&ctx, changes(&ctx).await)) })
    })
    .description("What happened, in the order of the log.");
    let history = Field::new("history", TypeRef::named("ChangeConnection"), |ctx| {
        FieldFuture::new(async move { Ok(shown(&ctx, history(&ctx).await)) })
    })
    .description("What happened to one record, from its creation on.");
    let diff = Field::new("diff", TypeRef::named("DifferenceConnection"), |ctx| FieldFuture::new(async move { Ok(shown(&ctx, diff(&ctx).await)) })).description(
        "Records that differ between two positions, by type and sourcedId. At most one of school, class, user and sourcedId is given; without, the whole roster is compared.",
    );
    query
        .field(with(changes, of_changes))
        .field(with(
            history,
            vec![
                argument("recordType", TypeRef::named_nn(RECORD_TYPE), "Of the record."),
                argument("sourcedId", TypeRef::named_nn(TypeRef::ID), "Of the record."),
            ],
        ))
        .field(with(
            diff,
            vec![
                argument("from", TypeRef::named_nn("AsOf"), "As the roster stood there."),
                argument("to", TypeRef::named_nn("AsOf"), "And there, which is not earlier."),
                argument("types", TypeRef::named_nn_list(RECORD_TYPE), "Record types with documents of their own."),
                argument("school", id(), "Records of this school at one of both positions."),
                argument("class", id(), "The class, its enrollments, and who has one."),
                argument("user", id(), "The user, with demographics and enrollments."),
                argument("sourcedId", id(), "Records of this sourcedId."),
            ],
        ))
}

/// A field's value, or null with an error.
fn shown<'a, T: Send + Sync + 'static>(ctx: &ResolverContext<'a>, found: Result<T, Refusal>) -> Option<FieldValue<'a>> {
    match found {
        Ok(found) => Some(FieldValue::owned_any(found)),
        Err(refusal) => refusal.null(ctx),
    }
}

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
        match self.argument("first") {
            Value::Null => Ok(page::DEFAULT as usize),
            Value::Number(n) => match n.as_u64() {
                Some(n) if n <= MAX_PAGE as u64 => Ok(n as usize),
                Some(_) => Err(Refusal::limit(format!("first is at most {MAX_PAGE}."))),
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

fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

const NODES: &[&[&str]] = &[&["nodes"], &["edges", "node"]];

async fn changes(ctx: &ResolverContext<'_>) -> Result<Listed<Told>, Refusal> {
    let reader = Reader::of(ctx)?;
    let filter = reader.filter()?;
    let (before, previous) = reader.wanted(NODES)?;
    let detail = if before { Detail::Full } else { Detail::Plain };
    let head = reader.head().await?;
    let since = reader.position("since", head).await?.unwrap_or(0);
    let until = reader.position("until", head).await?.unwrap_or(head);
    let went_on = reader.after(|text| text.strip_prefix("change:")?.parse::<i64>().ok())?;
    let first = reader.first()?;
    let mut to = since.max(went_on.unwrap_or(0));
    let mut found = Vec::new();
    for _ in 0..STEPS {
        if to >= until || found.len() >= first {
            break;
        }
        let left = first - found.len();
        let page = read::read(reader.feed.log(), reader.tenant(), &filter, detail, (to, until), left).await?;
        found.extend(page.changes);
        to = page.to;
    }
    let mut last = None;
    let mut items = Vec::with_capacity(found.len());
    for change in found {
        let before = match (previous, last) {
            (false, _) => None,
            (true, Some(last)) => Some(last),
            (true, None) => {
                let found = reader.feed.previous(reader.tenant(), &filter, change.position).await;
                Some(found.map_err(|error| Refusal::from(&*error))?)
            }
        };
        last = Some(change.position);
        items.push((
            cursor(&format!("change:{}", change.position)),
            Told { change: Arc::new(change), previous: before },
        ));
    }
    let info = Info {
        has_next: to < until,
        has_previous: went_on.is_some(),
        start: items.first().map(|item| item.0.clone()),
        end: Some(cursor(&format!("change:{to}"))),
    };
    Ok(Listed { items, info })
}

async fn history(ctx: &ResolverContext<'_>) -> Result<Listed<Told>, Refusal> {
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
    let range = (went_on.unwrap_or(0), reader.head().await?);
    let first = reader.first()?;
    let page = read::read(reader.feed.log(), reader.tenant(), &filter, Detail::Full, range, first + 1).await?;
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

async fn diff(ctx: &ResolverContext<'_>) -> Result<Listed<Difference>, Refusal> {
    let reader = Reader::of(ctx)?;
    let head = reader.head().await?;
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
    let has_next = found.len() > first;
    found.truncate(first);
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
