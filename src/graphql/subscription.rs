//! Subscriptions: changes as they happen, and how far an import is.

use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputValue, Object, ResolverContext, SchemaBuilder, Subscription,
    SubscriptionField, SubscriptionFieldFuture, TypeRef,
};
use async_graphql::parser::types::OperationType;
use async_graphql::{Name, Request, Response, Value};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use uuid::Uuid;

use super::changes::{POSITION, Reader, filtered};
use super::document::Operation;
use super::error::{Code, Refusal};
use super::planner::{position, text};
use super::{Gateway, bounds, code_errors};
use crate::access::Following;
use crate::auth::{Client, Scope};
use crate::csv::intake::Intake;
use crate::csv::job;
use crate::csv::progress::{self, Standing};
use crate::feed::tail::{Tail, Told};
use crate::rest::events::Reached;

/// Answers to one operation, and how far they are.
pub struct Answers {
    pub responses: BoxStream<'static, Response>,
    pub reached: Reached,
}

/// Where a subscriber goes on who has lost its connection; it stands above the argument `after`.
struct Resume(Option<i64>);

impl Gateway {
    /// Answers any operation: a query once, a subscription as long as it goes on.
    pub fn answers(&self, mut request: Request, client: &Client, resume: Option<i64>) -> Result<Answers, Refusal> {
        let reached = Reached::default();
        if !self.is_subscription(&mut request)? {
            let (gateway, client) = (self.clone(), client.clone());
            let responses = stream::once(async move { gateway.answer(request, &client).await }).boxed();
            return Ok(Answers { responses, reached });
        }
        self.persisted.register(&request);
        let following = self.access.follow(&client.tenant, super::receipts::asked(&mut request, client));
        let request = request.data(client.clone()).data(Resume(resume)).data(reached.clone()).data(following);
        let at = reached.clone();
        let responses = self.schema.execute_stream(request).map(move |mut response| {
            code_errors(&mut response);
            if let Some(position) = at.position().filter(|_| response.errors.is_empty()) {
                response.extensions.insert("position".into(), position.into());
            }
            response
        });
        Ok(Answers { responses: responses.boxed(), reached })
    }

    /// Whether the operation is one; if so, it has one field and is within the bounds.
    fn is_subscription(&self, request: &mut Request) -> Result<bool, Refusal> {
        let (name, variables) = (request.operation_name.clone(), request.variables.clone());
        let document = request.parsed_query().map_err(|error| Refusal::new(Code::ParseFailed, error.message))?;
        bounds::check(document, self.settings.limits)?;
        let operation = Operation::find(document, name.as_deref(), &variables, self.settings.limits)?;
        if operation.definition.ty != OperationType::Subscription {
            return Ok(false);
        }
        match operation.roots()?.len() {
            1 => Ok(true),
            _ => Err(Refusal::new(Code::ValidationFailed, "A subscription has one field.")),
        }
    }
}

/// Adds `Subscription` and its types.
pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let after = InputValue::new("after", TypeRef::named(POSITION))
        .description("Changes after this position, those that have happened first; without it, those to come.");
    let mut arguments = vec![after];
    filtered(&mut arguments);
    let changes = SubscriptionField::new("changes", TypeRef::named_nn("Change"), |ctx| {
        future(async move { changes(&ctx).await })
    })
    .description(
        "Each change, once and in the order of the log. Every message names its position in `extensions`, too.",
    );
    let changes = arguments.into_iter().fold(changes, SubscriptionField::argument);
    let progress = SubscriptionField::new("importProgress", TypeRef::named_nn("ImportProgress"), |ctx| {
        future(async move { import_progress(&ctx).await })
    })
    .description("How far an import is, until it has ended or waits for a decision. Needs the scope `import`.")
    .argument(InputValue::new("id", TypeRef::named_nn(TypeRef::ID)).description("Of the import job."));
    let subscription = Subscription::new("Subscription").description("What is told as it happens.");
    schema.register(import_progress_object()).register(subscription.field(changes).field(progress))
}

fn future<'a, S, T>(answer: impl Future<Output = Result<S, Refusal>> + Send + 'a) -> SubscriptionFieldFuture<'a>
where
    S: Stream<Item = async_graphql::Result<T>> + Send + 'a,
    T: Send + Sync + 'static,
{
    SubscriptionFieldFuture::new(async move {
        let told = answer.await.map_err(Refusal::into_error)?;
        Ok(told.map_ok(|item| FieldValue::owned_any(item)))
    })
}

async fn changes(
    ctx: &ResolverContext<'_>,
) -> Result<impl Stream<Item = async_graphql::Result<Told>> + use<>, Refusal> {
    let reader = Reader::of(ctx)?;
    let missing = |_| Refusal::new(Code::Internal, "The hub failed.");
    let filter = reader.filter()?;
    let (values, previous) = reader.wanted(&[&[]])?;
    let head = reader.head().await?;
    let after = match ctx.data::<Resume>().map_err(missing)?.0 {
        Some(position) => Some(position),
        None => position(&reader.argument("after"))?,
    };
    if let Some(after) = after.filter(|after| *after > head) {
        return Err(Refusal::input(format!("The log has not reached position {after}.")));
    }
    let reached = ctx.data::<Reached>().map_err(missing)?.0.clone();
    let after = after.unwrap_or(head);
    let tail = Tail { tenant: reader.tenant().clone(), filter, values, previous, after, reached };
    let following = ctx.data::<Following>().map_err(missing)?.clone();
    let told = reader.feed.tail(tail);
    let told = told.inspect_ok(move |told| following.told(told.change.person(), told.change.position));
    Ok(told.map_err(|error| Refusal::from(&*error).into_error()))
}

fn import_progress_object() -> Object {
    let field = |name: &'static str, of: TypeRef, doc: &str| {
        Field::new(name, of, move |ctx| {
            let Some(standing) = ctx.parent_value.downcast_ref::<Standing>() else {
                return FieldFuture::Value(None);
            };
            let Standing { job, progress, pace } = standing;
            FieldFuture::from_value(match name {
                "id" => Some(Value::from(job.id.to_string())),
                "state" => Some(Value::Enum(Name::new(standing.state().to_ascii_uppercase()))),
                "done" => standing.done().map(Value::from),
                "total" => progress.total.map(Value::from),
                "rate" => pace.rate.map(Value::from),
                "remainingSeconds" => pace.remaining.map(Value::from),
                "errors" => Some(job.errors.into()),
                "position" => job.position.map(Value::from),
                _ => job.failure.clone().map(Value::from),
            })
        })
        .description(doc)
    };
    Object::new("ImportProgress")
        .description("How far an import is. What a slow reader misses is passed over; the end is always told.")
        .field(field("id", TypeRef::named_nn(TypeRef::ID), "Of the import job."))
        .field(field("state", TypeRef::named_nn("ImportState"), "Where it is."))
        .field(field("done", TypeRef::named(TypeRef::INT), "Rows read, or records applied; none when it is not known."))
        .field(field("total", TypeRef::named(TypeRef::INT), "Out of, when it is known."))
        .field(field("rate", TypeRef::named(TypeRef::FLOAT), "Of those, so many in a second, when it is known."))
        .field(field(
            "remainingSeconds",
            TypeRef::named(TypeRef::FLOAT),
            "Until the end of the state, when it is known.",
        ))
        .field(field("errors", TypeRef::named_nn(TypeRef::INT), "Errors found so far."))
        .field(field("position", TypeRef::named(POSITION), "The log position of the roster with the import applied."))
        .field(field("failure", TypeRef::named(TypeRef::STRING), "Why it failed, when not for errors in the set."))
}

async fn import_progress(
    ctx: &ResolverContext<'_>,
) -> Result<impl Stream<Item = async_graphql::Result<Standing>> + use<>, Refusal> {
    let missing = |_| Refusal::new(Code::Internal, "The hub failed.");
    let client: &Client = ctx.data().map_err(missing)?;
    if !client.may_any(&[Scope::Import]) {
        return Err(super::planner::forbidden(&[Scope::Import]));
    }
    let feed: &crate::feed::Feed = ctx.data().map_err(missing)?;
    let intake: &Intake = ctx.data().map_err(missing)?;
    let given = ctx.args.get("id").and_then(|id| text(id.as_value())).and_then(|id| Uuid::try_parse(&id).ok());
    let job = match given {
        Some(id) => job::find(feed.log(), &client.tenant, id).await?,
        None => None,
    };
    let job = job.ok_or_else(|| Refusal::input("There is no such import."))?;
    let standings = progress::follow(intake, &client.tenant, job.id);
    Ok(standings.map_err(|error| Refusal::from(error).into_error()))
}
