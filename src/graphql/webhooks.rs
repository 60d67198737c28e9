//! Webhooks: endpoints, what was sent to them, and what can be told. What REST has below `/webhooks`.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::Value;
use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputValue, Object, ResolverContext, SchemaBuilder, TypeRef,
};
use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::document::{Operation, Selected};
use super::error::{Code, Refusal};
use super::import_pages::{Listed, after, argument, connection, first, nodes, page_arguments};
use super::plan::Cost;
use super::planner::{Planner, forbidden};
use super::webhook_mutations;
pub use super::webhook_mutations::{is_mutation, mutations};
use super::webhook_objects::{
    self as objects, ATTEMPT_COUNT, AsShown, DELIVERY, Shown, WEBHOOK, chosen, object, reading,
};
use crate::auth::Client;
use crate::rest::event_types::EventTypeDetail;
use crate::rest::extract::SUBSCRIBER;
use crate::rest::webhooks::answers::{Shown as ShownWebhook, ShownKey};
use crate::webhook::Webhooks;
use crate::webhook::catalogue;
use crate::webhook::commands::{Managed, WebhookError};
use crate::webhook::deliveries::{self, Selection};

/// Entries on a page: when it is not said how many, and most.
const DEFAULT: i64 = 20;
const MOST: i64 = 100;
const DEFAULT_DELIVERIES: i64 = 100;
const MOST_DELIVERIES: i64 = 1_000;
/// Attempts of a delivery, about.
const ATTEMPTS: u64 = 10;
/// Statements of a field that reads by itself: whether the client sees the endpoint, and what is asked for.
const STATEMENTS: u64 = 2;

/// An endpoint, with what REST shows of it.
pub struct Webhook {
    id: Uuid,
    shown: Json,
}

impl From<Managed> for Webhook {
    fn from(managed: Managed) -> Self {
        Self { id: managed.endpoint.id, shown: json!(ShownWebhook::from(managed)) }
    }
}

/// A message of an endpoint, as one of those that are shown together.
struct Delivery {
    sequence: i64,
    shown: Json,
    page: Arc<Page>,
}

/// Messages of an endpoint that are shown together. Their attempts are read with the first that is asked for.
struct Page {
    endpoint: Uuid,
    sequences: Vec<i64>,
    attempts: OnceCell<Result<HashMap<i64, Vec<Json>>, Refusal>>,
}

impl AsShown for Webhook {
    fn shown(&self) -> &Json {
        &self.shown
    }
}

impl AsShown for Delivery {
    fn shown(&self) -> &Json {
        &self.shown
    }
}

/// What resolvers work with, for clients that may manage webhooks.
pub fn desk<'a>(ctx: &ResolverContext<'a>) -> Result<(&'a Client, &'a Webhooks), Refusal> {
    let failed = |_| Refusal::new(Code::Internal, "The hub failed.");
    let client: &Client = ctx.data().map_err(failed)?;
    match client.may_any(SUBSCRIBER) {
        true => Ok((client, ctx.data().map_err(failed)?)),
        false => Err(forbidden(SUBSCRIBER)),
    }
}

impl From<WebhookError> for Refusal {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::Sql(error) => error.into(),
            WebhookError::Secret(_) => {
                tracing::error!("{error}");
                Self::new(Code::Internal, "The hub failed; the failure has been logged.")
            }
            error => Self::input(error.to_string()),
        }
    }
}

/// What is there, or nothing.
fn found<T>(result: Result<T, WebhookError>) -> Result<Option<T>, Refusal> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(WebhookError::Unknown(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a field shows; a refusal makes it null with an error.
pub type Resolved<'a> = Result<Option<FieldValue<'a>>, Refusal>;

pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let list = TypeRef::named_nn_list;
    let deliveries = page_arguments(
        reading!(
            "deliveries",
            TypeRef::named("WebhookDeliveryConnection"),
            "The delivery log: messages, the youngest first.",
            deliveries
        ),
        DEFAULT_DELIVERIES,
        MOST_DELIVERIES,
    );
    let webhook = object::<Webhook>("Webhook", "An endpoint that the hub posts messages to.", WEBHOOK)
        .field(reading!("counts", list("WebhookDeliveryCount"), "Messages by state.", counts))
        .field(reading!("secrets", list("WebhookSecret"), "Keys that sign at the moment, the newest first.", secrets))
        .field(
            deliveries
                .argument(argument_of("state", "WebhookDeliveryState", "Only those in this state."))
                .argument(argument_of("type", TypeRef::STRING, "Only of this event type.")),
        )
        .field(
            reading!("delivery", TypeRef::named("WebhookDelivery"), "One message of the delivery log.", delivery)
                .argument(InputValue::new("message", TypeRef::named_nn(TypeRef::ID)).description("Its `webhook-id`.")),
        );
    let delivery = object::<Delivery>("WebhookDelivery", "A message, and what became of it.", DELIVERY)
        .field(reading!("attempts", list("WebhookAttempt"), "Attempts to deliver it.", attempts));
    let schema = webhook_mutations::register(objects::register(schema)).register(webhook).register(delivery);
    connection::<Delivery>(connection::<Webhook>(schema, "Webhook"), "WebhookDelivery")
}

fn argument_of(name: &str, of: &str, doc: &str) -> InputValue {
    InputValue::new(name, TypeRef::named(of)).description(doc)
}

/// Adds the fields to `Query`.
pub fn queries(query: Object) -> Object {
    let webhooks = reading!(
        "webhooks",
        TypeRef::named("WebhookConnection"),
        "Endpoints of webhooks, in the order they were registered: the client's own, or with the scope `admin` all.",
        list
    );
    let webhook =
        reading!("webhook", TypeRef::named("Webhook"), "The endpoint of this id, if the client sees it.", single);
    let event_types =
        reading!("eventTypes", TypeRef::named_nn_list("EventType"), "What webhooks can tell of.", event_types);
    query
        .field(page_arguments(webhooks, DEFAULT, MOST))
        .field(webhook.argument(InputValue::new("id", TypeRef::named_nn(TypeRef::ID)).description("Of the endpoint.")))
        .field(event_types.argument(argument_of("name", TypeRef::STRING, "Only that of this name.")))
}

async fn list<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    let (client, webhooks) = desk(ctx)?;
    let first = first(argument(ctx, "first"), DEFAULT, MOST)?;
    let after = after::<Cursor>(ctx)?;
    let most = usize::try_from(first).unwrap_or_default() + 1;
    let (found, total) = webhooks.page(client, after.as_ref().map(|cursor| cursor.0), most).await?;
    let entry = |managed: Managed| {
        (Cursor((managed.endpoint.created_at, managed.endpoint.id)).to_string(), Webhook::from(managed))
    };
    let items = found.into_iter().map(entry).collect();
    Ok(Some(FieldValue::owned_any(Listed::new(items, first, after.is_some(), i64::try_from(total).ok()))))
}

/// The place of an endpoint among those of the tenant.
struct Cursor((DateTime<Utc>, Uuid));

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self((made, id)) = self;
        write!(f, "{}:{id}", made.timestamp_micros())
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (made, id) = text.split_once(':').ok_or(())?;
        let made = made.parse().ok().and_then(DateTime::from_timestamp_micros).ok_or(())?;
        Ok(Self((made, id.parse().map_err(drop)?)))
    }
}

async fn single<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    let id = ctx.args.get("id").and_then(|id| Uuid::try_parse(id.string().ok()?).ok());
    read(ctx, id).await
}

/// The endpoint of this id, if there is one that the client sees.
pub async fn read<'a>(ctx: &ResolverContext<'a>, id: Option<Uuid>) -> Resolved<'a> {
    let (client, webhooks) = desk(ctx)?;
    let Some(id) = id else { return Ok(None) };
    Ok(found(webhooks.single(client, id).await)?.map(Webhook::from).map(FieldValue::owned_any))
}

async fn event_types<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    desk(ctx)?;
    let name = argument(ctx, "name");
    let asked = catalogue::all().iter().filter(|event| match &name {
        Value::String(name) => *name == event.name,
        _ => true,
    });
    let shown = asked.map(|event| FieldValue::owned_any(Shown(json!(EventTypeDetail::from(event)))));
    Ok(Some(FieldValue::list(shown)))
}

fn webhook<'a>(ctx: &ResolverContext<'a>) -> Result<&'a Webhook, Refusal> {
    let failed = || Refusal::new(Code::Internal, "The hub failed.");
    ctx.parent_value.downcast_ref::<Webhook>().ok_or_else(failed)
}

fn all<'a>(shown: impl IntoIterator<Item = Json>) -> Resolved<'a> {
    Ok(Some(FieldValue::list(shown.into_iter().map(|json| FieldValue::owned_any(Shown(json))))))
}

async fn counts<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    let (client, webhooks) = desk(ctx)?;
    let counts = found(webhooks.counts(client, webhook(ctx)?.id).await)?.unwrap_or_default();
    all(counts.into_iter().map(|(state, count)| json!({ "state": state, "count": count })))
}

async fn secrets<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    let (client, webhooks) = desk(ctx)?;
    let keys = found(webhooks.secrets(client, webhook(ctx)?.id).await)?.unwrap_or_default();
    all(keys.into_iter().map(|key| json!(ShownKey::from(key))))
}

async fn deliveries<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    let (client, webhooks) = desk(ctx)?;
    let endpoint = webhook(ctx)?.id;
    let first = first(argument(ctx, "first"), DEFAULT_DELIVERIES, MOST_DELIVERIES)?;
    let before: Option<i64> = after(ctx)?;
    let r#type = match argument(ctx, "type") {
        Value::String(name) => Some(name),
        _ => None,
    };
    let state = chosen("WebhookDeliveryState", &argument(ctx, "state"));
    let selection = Selection { state, r#type, before, limit: first + 1 };
    let found = found(webhooks.deliveries(client, endpoint, &selection).await)?.unwrap_or_default();
    let items = together(endpoint, found).map(|item| (item.sequence.to_string(), item)).collect();
    Ok(Some(FieldValue::owned_any(Listed::new(items, first, before.is_some(), None))))
}

async fn delivery<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    let (client, webhooks) = desk(ctx)?;
    let endpoint = webhook(ctx)?.id;
    let Value::String(message) = argument(ctx, "message") else { return Ok(None) };
    let found = found(webhooks.delivery(client, endpoint, &message).await)?;
    Ok(found.and_then(|(listed, _)| together(endpoint, vec![listed]).next()).map(FieldValue::owned_any))
}

fn together(endpoint: Uuid, found: Vec<deliveries::Listed>) -> impl Iterator<Item = Delivery> {
    let sequences = found.iter().map(|listed| listed.sequence).collect();
    let page = Arc::new(Page { endpoint, sequences, attempts: OnceCell::new() });
    found.into_iter().map(move |listed| {
        let mut shown = json!(listed);
        shown[ATTEMPT_COUNT] = shown["attempts"].take();
        Delivery { sequence: listed.sequence, shown, page: page.clone() }
    })
}

async fn attempts<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    let Some(delivery) = ctx.parent_value.downcast_ref::<Delivery>() else { return Ok(None) };
    let (client, webhooks) = desk(ctx)?;
    let Page { endpoint, sequences, attempts } = &*delivery.page;
    let read = async || {
        let mut by_sequence: HashMap<i64, Vec<Json>> = HashMap::new();
        let found = found(webhooks.attempts(client, *endpoint, sequences).await)?;
        for (sequence, attempt) in found.into_iter().flatten() {
            by_sequence.entry(sequence).or_default().push(json!(attempt));
        }
        Ok(by_sequence)
    };
    let by_sequence = attempts.get_or_init(read).await.as_ref().map_err(Refusal::clone)?;
    all(by_sequence.get(&delivery.sequence).into_iter().flatten().cloned())
}

/// Adds what a field that shows or manages webhooks may cost.
pub fn cost(planner: &Planner, root: &Selected, cost: &mut Cost) -> Result<(), Refusal> {
    let operation = planner.operation;
    let (times, shown) = match root.name {
        "webhooks" => {
            let times = first(operation.argument(root.field(), "first"), DEFAULT, MOST)?.unsigned_abs();
            // Where each stands is read by itself.
            cost.add(Cost { records: 0, statements: times });
            (times, nodes(operation, "Webhook", root, 1)?)
        }
        "webhook" => (1, vec![(root.sets(), 2)]),
        name => match webhook_mutations::payload_of(name) {
            Some(payload) => {
                cost.add(Cost { records: 0, statements: webhook_mutations::STATEMENTS });
                let fields = operation.select(payload, &root.sets(), 2)?;
                let webhooks = fields.iter().filter(|field| field.name == "webhook");
                (1, webhooks.map(|field| (field.sets(), 3)).collect())
            }
            None => return Ok(()),
        },
    };
    cost.add(Cost { records: times, statements: STATEMENTS });
    for (sets, depth) in shown {
        for field in operation.select("Webhook", &sets, depth)? {
            of_webhook(operation, &field, depth, times, cost)?;
        }
    }
    Ok(())
}

/// What a field of one of so many endpoints may cost.
fn of_webhook(
    operation: &Operation,
    field: &Selected,
    depth: usize,
    times: u64,
    cost: &mut Cost,
) -> Result<(), Refusal> {
    let (records, shown) = match field.name {
        "counts" | "secrets" => (1, Vec::new()),
        "delivery" => (1, vec![(field.sets(), depth + 1)]),
        "deliveries" => {
            let first = first(operation.argument(field.field(), "first"), DEFAULT_DELIVERIES, MOST_DELIVERIES)?;
            (first.unsigned_abs(), nodes(operation, "WebhookDelivery", field, depth)?)
        }
        _ => return Ok(()),
    };
    cost.add(Cost { records: times * records, statements: times * STATEMENTS });
    for (sets, depth) in shown {
        let fields = operation.select("WebhookDelivery", &sets, depth)?;
        if fields.iter().any(|field| field.name == "attempts") {
            cost.add(Cost { records: times * records * ATTEMPTS, statements: times * STATEMENTS });
        }
    }
    Ok(())
}
