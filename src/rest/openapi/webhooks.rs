//! Webhooks, for the document of the hub's own paths.

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Value, json};

use super::document::{Access, Answer, Operation, Parameter, Place};
use super::hub::{answer, failures, number, ok, operation};
use crate::rest::deliveries::{Attempted, Deliveries, HOURS, Messages};
use crate::rest::extract::SUBSCRIBER;
use crate::rest::webhooks::answers::{Keys, List, Shown};
use crate::webhook::commands::{NewWebhook, Rotation, Since, Trial, WebhookPatch};
use crate::webhook::deliveries::STATES;
use crate::webhook::statistics::Statistics;

const ONE: &str = "/webhooks/{id}";

/// What goes with an operation: parameters, schema of the body, the answer, statuses of failures beside the common ones.
type Rest = (Vec<Parameter>, Option<Value>, Answer, &'static [u16]);

pub(super) fn webhooks(schemas: &mut SchemaGenerator) -> Vec<Operation> {
    let shown = |schemas: &mut SchemaGenerator, doc| ok::<Shown>(schemas, 200, doc, &[]);
    let table: Vec<(Operation, Rest)> = vec![
        (
            operation(
                "get",
                "/webhooks",
                "getWebhooks",
                "The endpoints of the client; with the scope `admin`, of all.",
            ),
            (vec![], None, ok::<List>(schemas, 200, "Endpoints.", &[]), &[]),
        ),
        (
            operation(
                "post",
                "/webhooks",
                "createWebhook",
                "Registers an endpoint. Nothing is sent to it before it is verified.",
            ),
            (
                vec![],
                Some(body::<NewWebhook>(schemas)),
                ok::<Shown>(schemas, 201, "The endpoint, with its secret or public key, which is shown once.", &[]),
                &[409],
            ),
        ),
        (
            operation("get", ONE, "getWebhook", "One endpoint: what it is told, and how far it is."),
            (vec![id()], None, shown(schemas, "The endpoint."), &[404]),
        ),
        (
            operation("patch", ONE, "changeWebhook", "Changes an endpoint. A new address has to be verified again."),
            (vec![id()], Some(body::<WebhookPatch>(schemas)), shown(schemas, "The endpoint as it is now."), &[404]),
        ),
        (
            operation("delete", ONE, "deleteWebhook", "Removes an endpoint, with its keys and delivery log."),
            (vec![id()], None, answer("204", "It is gone.", &[]), &[404]),
        ),
        (
            of("post", "verify", "verifyWebhook", "Sends the challenge. An address that repeats it is delivered to."),
            (vec![id()], None, ok::<Trial>(schemas, 200, "What became of it: see `ok`.", &[]), &[404]),
        ),
        (
            of("post", "test", "testWebhook", "Sends an `endpoint.test` at once, whatever state the endpoint is in."),
            (vec![id()], None, ok::<Trial>(schemas, 200, "What became of it: see `ok`.", &[]), &[404]),
        ),
        (
            of("post", "pause", "pauseWebhook", "Sends nothing for now. Nothing is lost."),
            (vec![id()], None, shown(schemas, "The endpoint as it is now."), &[404]),
        ),
        (
            of("post", "resume", "resumeWebhook", "Goes on where it stopped, paused or disabled."),
            (vec![id()], None, shown(schemas, "The endpoint as it is now."), &[404, 409]),
        ),
        (
            of("get", "secrets", "getWebhookSecrets", "The keys that messages are signed with, without what they are."),
            (vec![id()], None, ok::<Keys>(schemas, 200, "Keys.", &[]), &[404]),
        ),
        (
            of(
                "post",
                "secrets",
                "rotateWebhookSecret",
                "Signs with a new key, and for some time with the old ones too.",
            ),
            (
                vec![id()],
                Some(body::<Rotation>(schemas)),
                ok::<Keys>(schemas, 200, "Keys, with the new secret or public key, which is shown once.", &[]),
                &[404],
            ),
        ),
        (
            of("get", "statistics", "getWebhookStatistics", "How deliveries have gone, in figures."),
            (vec![id(), since()], None, ok::<Statistics>(schemas, 200, "Figures.", &[]), &[404]),
        ),
        (
            of("get", "deliveries", "getWebhookDeliveries", "The delivery log, the youngest messages first."),
            (log(), None, ok::<Deliveries>(schemas, 200, "Messages.", &[]), &[404]),
        ),
        (
            of("get", "deliveries/{message}", "getWebhookDelivery", "One message, with all attempts to deliver it."),
            (vec![id(), message()], None, ok::<Attempted>(schemas, 200, "The message.", &[]), &[404]),
        ),
        (
            of(
                "post",
                "deliveries/{message}/resend",
                "resendWebhookDelivery",
                "Sends a message once more, whatever became of it.",
            ),
            (vec![id(), message()], None, ok::<Messages>(schemas, 202, "It waits to be sent.", &[]), &[404]),
        ),
        (
            of(
                "post",
                "recover",
                "recoverWebhook",
                "Sends all messages that failed, after a position or time, once more.",
            ),
            (
                vec![id()],
                Some(body::<Since>(schemas)),
                ok::<Messages>(schemas, 202, "How many wait to be sent.", &[]),
                &[404],
            ),
        ),
        (
            of("post", "replay", "replayWebhook", "Tells everything after a position or time again, under new ids."),
            (vec![id()], Some(body::<Since>(schemas)), answer("202", "It begins soon.", &[]), &[404]),
        ),
    ];
    let written = table.into_iter().map(|(operation, (parameters, body, done, others))| {
        let mut statuses = [&[401, 403, 429, 503], others].concat();
        if body.is_some() || !parameters.is_empty() {
            statuses.push(400);
        }
        statuses.sort_unstable();
        Operation {
            access: Access::Token(SUBSCRIBER),
            parameters,
            body: body.into_iter().map(|schema| ("application/json", schema)).collect(),
            answers: [vec![done], failures(schemas, &statuses)].concat(),
            ..operation
        }
    });
    written.collect()
}

/// Below the path of one endpoint.
fn of(verb: &'static str, step: &str, id: &str, summary: &str) -> Operation {
    operation(verb, &format!("{ONE}/{step}"), id, summary)
}

/// Of what is read: members with a default may be left out, unlike in answers.
fn body<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    let mut reading = SchemaSettings::openapi3().for_deserialize().into_generator();
    let schema = reading.subschema_for::<T>().to_value();
    schemas.definitions_mut().extend(reading.take_definitions(true));
    schema
}

fn in_path(key: &str, name: &'static str, schema: Value, doc: &str) -> Parameter {
    Parameter { key: key.to_owned(), name, place: Place::Path, schema, doc: doc.to_owned() }
}

fn in_query(name: &'static str, schema: Value, doc: &str) -> Parameter {
    Parameter { key: format!("webhook.{name}"), name, place: Place::Query, schema, doc: doc.to_owned() }
}

fn id() -> Parameter {
    in_path("webhookId", "id", json!({ "type": "string", "format": "uuid" }), "Id of the endpoint.")
}

fn message() -> Parameter {
    in_path("webhookMessage", "message", json!({ "type": "string" }), "Id of the message, its `webhook-id`.")
}

fn since() -> Parameter {
    let doc = format!("Attempts from this time or day on; {HOURS} hours before now without it.");
    in_query("since", json!({ "type": "string" }), &doc)
}

/// Those of the delivery log.
fn log() -> Vec<Parameter> {
    let before = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    vec![
        id(),
        in_query("state", json!({ "type": "string", "enum": STATES }), "Only messages in this state."),
        in_query("type", json!({ "type": "string" }), "Only messages of this event type."),
        in_query("before", before, "Only messages with a `sequence` less than this: the next page."),
        Parameter { key: "webhook.limit".into(), ..number("limit", "Messages in the answer.", 100) },
    ]
}
