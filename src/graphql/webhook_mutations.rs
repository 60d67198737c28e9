//! Managing webhooks: fields of `Mutation` that call what REST calls, with what REST takes.

use std::sync::Arc;

use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputValue, Object, ResolverContext, SchemaBuilder, TypeRef,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::error::{Code, Refusal};
use super::execution::Execution;
use super::mutation::UserError;
use super::resolve::key;
use super::webhook_objects::{HEADERS, Members, Shown, input, reading, taken};
use super::webhooks::{Resolved, Webhook, desk, read};
use crate::auth::Client;
use crate::webhook::Webhooks;
use crate::webhook::commands::{UNKNOWN, WebhookError};

/// Statements of a mutation, about.
pub const STATEMENTS: u64 = 8;

/// A field of `Mutation`: name, members of its input, what it answers with, what it does.
struct Act {
    name: &'static str,
    input: &'static [Members],
    payload: &'static str,
    doc: &'static str,
}

const ID: Members = &[("id", "ID!", "Of the endpoint.")];
const MESSAGE: Members = &[("message", "ID!", "Its `webhook-id`.")];
const BEGIN: Members = &[
    ("after", "Position", "After this log position, which has been reached."),
    ("since", "DateTime", "Or after this time."),
];
const KEY: Members = &[
    ("secret", "String", "A secret of the receiver's own, `whsec_…`; without it, one is made."),
    ("key", "WebhookKeyKind", "Kind of the key that is made; HMAC without it."),
];
const OVERLAP: Members =
    &[("overlapHours", "Float", "For which the old keys go on to sign beside the new one; 24 without it.")];
const NEW: Members = &[
    ("url", "String!", "Where messages are posted to: https; http only where the hub allows it."),
    ("types", "[String!]!", "Event types: names, `user.*`, `*.deleted` or `*`."),
];
const CHANGE: Members = &[
    ("url", "String", "Where messages are posted to. A new address has to be verified before anything is sent to it."),
    ("types", "[String!]", "Event types: names, `user.*`, `*.deleted` or `*`."),
];
const OPTIONS: Members = &[
    ("filter", "String", "Condition on changes of records, in the grammar of OneRoster's filters."),
    ("payload", "WebhookContent", "What a message about a record holds; THIN for a new endpoint."),
    ("order", "WebhookOrder", "What waits for what; PARALLEL for a new endpoint."),
    ("imports", "WebhookImports", "How imports are told; SUMMARY for a new endpoint."),
    ("headers", HEADERS, "Headers that messages are to have besides."),
    ("rate", "Int", "Requests a second, at most."),
    ("description", "String", "Free text."),
];
const AFTER: Members =
    &[("after", "Position", "Log position after which changes are told. Without it, those to come.")];

const ACTS: [Act; 11] = [
    Act {
        name: "createWebhook",
        input: &[NEW, OPTIONS, AFTER, KEY],
        payload: "WebhookSecretPayload",
        doc: "Registers an endpoint. Nothing is sent until its address is verified.",
    },
    Act {
        name: "updateWebhook",
        input: &[ID, CHANGE, OPTIONS],
        payload: "WebhookPayload",
        doc: "Changes an endpoint of the client's own: what is absent stays, null removes `filter` and `rate`.",
    },
    Act {
        name: "deleteWebhook",
        input: &[ID],
        payload: "DeleteWebhookPayload",
        doc: "Removes an endpoint with its keys and its delivery log.",
    },
    Act {
        name: "verifyWebhook",
        input: &[ID],
        payload: "WebhookTrialPayload",
        doc: "Sends the challenge. An address that repeats it is delivered to from now on.",
    },
    Act {
        name: "testWebhook",
        input: &[ID],
        payload: "WebhookTrialPayload",
        doc: "Sends an `endpoint.test` at once, whatever state the endpoint is in.",
    },
    Act {
        name: "pauseWebhook",
        input: &[ID],
        payload: "WebhookPayload",
        doc: "Sends nothing for now; nothing is lost.",
    },
    Act {
        name: "resumeWebhook",
        input: &[ID],
        payload: "WebhookPayload",
        doc: "Goes on where it stopped, paused or disabled.",
    },
    Act {
        name: "rotateWebhookSecret",
        input: &[ID, OVERLAP, KEY],
        payload: "WebhookSecretPayload",
        doc: "Makes a key that takes the place of those there are. For an endpoint of the client's own.",
    },
    Act {
        name: "resendWebhookDelivery",
        input: &[ID, MESSAGE],
        payload: "WebhookMessagesPayload",
        doc: "Sends a message once more, whatever became of it.",
    },
    Act {
        name: "recoverWebhook",
        input: &[ID, BEGIN],
        payload: "WebhookMessagesPayload",
        doc: "Sends once more all that failed after a position or time.",
    },
    Act {
        name: "replayWebhook",
        input: &[ID, BEGIN],
        payload: "WebhookPayload",
        doc: "Tells all after a position or time again, under new ids.",
    },
];

/// What mutations answer with: name, meaning, fields besides `userErrors`.
const PAYLOADS: [(&str, &str, &[&str]); 5] = [
    ("WebhookPayload", "What managing an endpoint came to.", &["webhook"]),
    ("WebhookSecretPayload", "An endpoint with its new key.", &["webhook", "secret"]),
    ("WebhookTrialPayload", "What a challenge or a test came to.", &["webhook", "trial"]),
    ("WebhookMessagesPayload", "What sending again came to.", &["webhook", "messages"]),
    ("DeleteWebhookPayload", "What removing an endpoint came to.", &["id"]),
];

/// What a mutation came to. With errors, nothing has been done.
#[derive(Default)]
struct Done {
    /// Of the endpoint.
    id: Option<Uuid>,
    /// As it stands, when that is known; else it is read when it is asked for.
    webhook: Option<Webhook>,
    secret: Option<String>,
    trial: Option<Shown>,
    messages: Option<u64>,
    errors: Vec<UserError>,
}

fn find(name: &str) -> Option<&'static Act> {
    ACTS.iter().find(|act| act.name == name)
}

pub fn is_mutation(field: &str) -> bool {
    find(field).is_some()
}

/// The type that a field of `Mutation` answers with, if it manages webhooks.
pub fn payload_of(name: &str) -> Option<&'static str> {
    find(name).map(|act| act.payload)
}

impl Act {
    /// `CreateWebhookInput`
    fn input_name(&self) -> String {
        let (first, rest) = self.name.split_at(1);
        format!("{}{rest}Input", first.to_ascii_uppercase())
    }
}

pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let schema = ACTS.iter().fold(schema, |schema, act| {
        let members: Vec<_> = act.input.concat();
        schema.register(input(&act.input_name(), format!("For `{}`.", act.name), &members))
    });
    PAYLOADS.into_iter().fold(schema, |schema, (name, doc, fields)| {
        let object = fields.iter().fold(Object::new(name).description(doc), |object, name| object.field(part(name)));
        schema.register(object.field(user_errors()))
    })
}

/// A field of a payload.
fn part(name: &'static str) -> Field {
    let of = |of: TypeRef, value: for<'a> fn(&'a Done) -> Option<FieldValue<'a>>, doc: &str| {
        Field::new(name, of, move |ctx| FieldFuture::Value(ctx.parent_value.downcast_ref::<Done>().and_then(value)))
            .description(doc)
    };
    match name {
        "webhook" => {
            reading!(name, TypeRef::named("Webhook"), "The endpoint as it stands; null when nothing was done.", webhook)
        }
        "secret" => of(
            TypeRef::named(TypeRef::STRING),
            |done| done.secret.as_deref().map(FieldValue::value),
            "The secret, or the public key of a key pair. It is shown here and never again.",
        ),
        "trial" => of(
            TypeRef::named("WebhookTrial"),
            |done| done.trial.as_ref().map(|trial| FieldValue::borrowed_any(trial)),
            "What was answered; null when nothing was sent.",
        ),
        "messages" => of(
            TypeRef::named(TypeRef::INT),
            |done| done.messages.map(FieldValue::value),
            "How many messages are sent again; null when nothing was done.",
        ),
        _ => of(
            TypeRef::named(TypeRef::ID),
            |done| Some(FieldValue::value(done.id?.to_string())),
            "Of the endpoint that is gone; null when nothing was done.",
        ),
    }
}

fn user_errors() -> Field {
    Field::new("userErrors", TypeRef::named_nn_list_nn("UserError"), |ctx| {
        let done = ctx.parent_value.downcast_ref::<Done>();
        let errors = done.map(|done| done.errors.iter().map(|error| FieldValue::borrowed_any(error)));
        FieldFuture::Value(errors.map(FieldValue::list))
    })
    .description("What is wrong with the input; with any, nothing was done.")
}

async fn webhook<'a>(ctx: &ResolverContext<'a>) -> Resolved<'a> {
    let Some(done) = ctx.parent_value.downcast_ref::<Done>() else { return Ok(None) };
    match &done.webhook {
        Some(webhook) => Ok(Some(FieldValue::borrowed_any(webhook))),
        None => read(ctx, done.id).await,
    }
}

/// Adds the fields to `Mutation`.
pub fn mutations(mutation: Object) -> Object {
    ACTS.iter().fold(mutation, |mutation, act| {
        let field = Field::new(act.name, TypeRef::named(act.payload), move |ctx| {
            FieldFuture::new(async move { Ok(resolve(&ctx, act).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
        });
        mutation
            .field(field.description(act.doc).argument(InputValue::new("input", TypeRef::named_nn(act.input_name()))))
    })
}

async fn resolve<'a>(ctx: &ResolverContext<'a>, act: &Act) -> Resolved<'a> {
    let (client, webhooks) = desk(ctx)?;
    let execution: Result<&Arc<Execution>, _> = ctx.data();
    let input = execution.ok().and_then(|execution| execution.plan.inputs.get(key(ctx)));
    let input = input.ok_or_else(|| Refusal::new(Code::Internal, "The hub failed."))?;
    let done = match carry_out(act, (client, webhooks), as_taken(act, input)?).await {
        Ok(done) => done,
        Err(error) => Done { errors: vec![UserError::webhook(error)?], ..Done::default() },
    };
    Ok(Some(FieldValue::owned_any(done)))
}

/// The input as REST takes it. Null says nothing, but for a change, where it removes.
fn as_taken(act: &Act, input: &Json) -> Result<Map<String, Json>, Refusal> {
    let mut json = Map::new();
    for (name, of, _) in act.input.concat() {
        match input.get(name) {
            None => {}
            Some(Json::Null) if act.name != "updateWebhook" => {}
            Some(given) => {
                json.insert(name.to_owned(), taken(of, name, given)?);
            }
        }
    }
    Ok(json)
}

fn read_as<T: DeserializeOwned>(json: Map<String, Json>) -> Result<T, WebhookError> {
    serde_json::from_value(Json::Object(json))
        .map_err(|error| WebhookError::Invalid("", format!("The input is not as it should be: {error}.")))
}

async fn carry_out(
    act: &Act,
    (client, webhooks): (&Client, &Webhooks),
    mut json: Map<String, Json>,
) -> Result<Done, WebhookError> {
    if act.name == "createWebhook" {
        let (made, secret) = webhooks.register(client, read_as(json)?).await?;
        return Ok(Done { webhook: Some(made.into()), secret: Some(secret), ..Done::default() });
    }
    let mut text = |name: &str| json.shift_remove(name).and_then(|text| Some(text.as_str()?.to_owned()));
    let id = text("id").and_then(|id| Uuid::try_parse(&id).ok()).ok_or(UNKNOWN)?;
    let message = text("message").unwrap_or_default();
    let mut done = Done { id: Some(id), ..Done::default() };
    match act.name {
        "updateWebhook" => done.webhook = Some(webhooks.change(client, id, read_as(json)?).await?.into()),
        "pauseWebhook" => done.webhook = Some(webhooks.pause(client, id).await?.into()),
        "resumeWebhook" => done.webhook = Some(webhooks.resume(client, id).await?.into()),
        "verifyWebhook" => done.trial = Some(Shown(json!(webhooks.verify(client, id).await?))),
        "testWebhook" => done.trial = Some(Shown(json!(webhooks.test(client, id).await?))),
        "rotateWebhookSecret" => done.secret = Some(webhooks.rotate(client, id, read_as(json)?).await?.1),
        "resendWebhookDelivery" => done.messages = Some(webhooks.resend(client, id, &message).await?),
        "recoverWebhook" => done.messages = Some(webhooks.recover(client, id, read_as(json)?).await?),
        "replayWebhook" => webhooks.replay(client, id, read_as(json)?).await?,
        _ => webhooks.remove(client, id).await?,
    }
    Ok(done)
}
