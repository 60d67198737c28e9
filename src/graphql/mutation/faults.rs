//! What is wrong with a request of a client, as data: `userErrors`.

use std::borrow::Cow;

use async_graphql::Value;
use async_graphql::dynamic::{Enum, EnumItem, Field, FieldFuture, FieldValue, Object, SchemaBuilder, TypeRef};

use super::inputs::EXTENSION;
use crate::command::document::DocumentFault;
use crate::command::write::{MOST_FAULTS, WriteError};
use crate::command::{CommandError, Rejected};
use crate::csv::decision::Refused;
use crate::graphql::error::{Code as ErrorCode, Refusal};
use crate::roster::Language::{English, Japanese};
use crate::roster::japan::extension_of_column;
use crate::roster::{Code, EntityType};
use crate::webhook::commands::WebhookError;

/// Faults of a request that are none of a document: code, English, Japanese.
const FURTHER: [(&str, &str, &str); 3] = [
    (
        "IDEMPOTENCY_MISMATCH",
        "The idempotency key was used for another request.",
        "このidempotencyKeyは別のリクエストで使用済みです。",
    ),
    (
        "CONFLICT",
        "Others changed the record again and again meanwhile. Try again.",
        "ほかの変更と繰り返し競合しました。もう一度試してください。",
    ),
    (
        "ERASED",
        "The person was erased. Who has come back is recorded again after the erasure has been lifted.",
        "この人物のデータは消去済みです。復帰した場合は、消去の解除後に再び登録できます。",
    ),
];

/// What may be wrong with managing a webhook: code of REST in capitals, English in general, Japanese.
const WEBHOOKS: [(&str, &str, &str); 6] = [
    ("BAD_REQUEST", "A member of the input is not as it should be.", "入力の項目に誤りがあります。"),
    ("NOT_FOUND", "There is no webhook, or no message, of this id.", "このIDのWebhookまたはメッセージはありません。"),
    (
        "FORBIDDEN",
        "Only the client that registered a webhook may change it.",
        "Webhookを変更できるのは、登録したクライアントだけです。",
    ),
    (
        "INSUFFICIENT_SCOPE",
        "The client has no scope for any of these event types.",
        "指定したイベント種別のいずれにも、必要なスコープがありません。",
    ),
    (
        "TOO_MANY",
        "As many webhooks as allowed are registered; delete one first.",
        "登録できるWebhookの上限に達しています。先に1つ削除してください。",
    ),
    (
        "UNVERIFIED",
        "The address has not answered the challenge yet: verify it.",
        "送信先の確認が済んでいません。先に確認（verify）してください。",
    ),
];

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserError {
    /// Steps from the field's arguments to the input that is meant.
    pub field: Option<Vec<String>>,
    pub code: String,
    pub message: Cow<'static, str>,
    pub message_ja: &'static str,
    /// How to mend it, in English and Japanese; none when the message says all.
    pub mend: Option<[&'static str; 2]>,
    /// Masked where it is personal.
    pub value: Option<String>,
    /// Place in the batch, from 0.
    pub operation: Option<usize>,
}

/// Where the input of an operation stands.
#[derive(Clone, Debug)]
pub struct Place {
    pub kind: EntityType,
    /// Steps from the field's arguments.
    pub path: Vec<String>,
    /// Extensions that it names as fields.
    pub extensions: Vec<String>,
}

/// The name of a fault, as the enum has it.
pub fn code_name(code: Code) -> String {
    code.as_str().to_ascii_uppercase()
}

/// The errors that a refused write is answered with; what is the machine's fault is no such error.
pub fn user_errors(error: WriteError, places: &[Place], batch: bool) -> Result<Vec<UserError>, Refusal> {
    Ok(match error {
        WriteError::Rejected(faults) => {
            faults.iter().take(MOST_FAULTS).map(|fault| UserError::of(fault, places, batch)).collect()
        }
        WriteError::OtherRequest => vec![further(0, Some("idempotencyKey"))],
        WriteError::Command(CommandError::Conflict) => vec![further(1, None)],
        WriteError::Command(CommandError::Erased) => vec![further(2, None)],
        WriteError::Command(error) => return Err(error.into()),
    })
}

fn further(which: usize, field: Option<&str>) -> UserError {
    let (code, message, message_ja) = FURTHER[which];
    let field = field.map(|field| vec!["input".to_owned(), field.to_owned()]);
    UserError {
        field,
        code: code.to_owned(),
        message: message.into(),
        message_ja,
        mend: None,
        value: None,
        operation: None,
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unavailable(_) => Self::new(ErrorCode::Unavailable, "The database is away; ask again."),
            // The documents have been checked before; what is left is no mistake of the client.
            CommandError::Conflict
            | CommandError::Erased
            | CommandError::Rejected(Rejected(_))
            | CommandError::Internal(_) => {
                tracing::error!(%error, "a mutation failed");
                Self::new(ErrorCode::Internal, "The hub failed; the failure has been logged.")
            }
        }
    }
}

impl UserError {
    fn of(fault: &DocumentFault, places: &[Place], batch: bool) -> Self {
        let place = places.get(fault.operation);
        Self {
            field: place.map(|place| place.of(fault)),
            value: Some(fault.value.clone()),
            operation: batch.then_some(fault.operation),
            ..Self::coded(fault.code)
        }
    }

    /// A decision on an import that is not carried out.
    pub fn decision(why: Refused, field: &str) -> Self {
        Self {
            field: Some(vec!["input".to_owned(), field.to_owned()]),
            code: why.code().to_ascii_uppercase(),
            message: why.english().into(),
            message_ja: why.japanese(),
            mend: None,
            value: None,
            operation: None,
        }
    }

    /// Why a webhook cannot be managed so; what is the machine's fault is no such error.
    pub fn webhook(error: WebhookError) -> Result<Self, Refusal> {
        let member = match &error {
            WebhookError::Sql(_) | WebhookError::Secret(_) => return Err(error.into()),
            WebhookError::Invalid(member, _) => Some(*member).filter(|member| !member.is_empty()),
            WebhookError::Unknown("message") => Some("message"),
            WebhookError::Unknown(_) | WebhookError::OfAnother | WebhookError::Unverified => Some("id"),
            WebhookError::NothingToSee => Some("types"),
            WebhookError::TooMany => None,
        };
        let code = error.code().to_ascii_uppercase();
        let known = WEBHOOKS.iter().find(|known| known.0 == code);
        Ok(Self {
            field: member.map(|member| vec!["input".to_owned(), member.to_owned()]),
            message: error.to_string().into(),
            message_ja: known.map_or("", |known| known.2),
            code,
            mend: None,
            value: None,
            operation: None,
        })
    }

    /// A fault of one input, besides those of documents.
    pub fn input(code: Code, field: &str) -> Self {
        Self { field: Some(vec!["input".to_owned(), field.to_owned()]), ..Self::coded(code) }
    }

    fn coded(code: Code) -> Self {
        Self {
            field: None,
            code: code_name(code),
            message: code.message(English).into(),
            message_ja: code.message(Japanese),
            mend: Some([English, Japanese].map(|language| code.mend(language))),
            value: None,
            operation: None,
        }
    }
}

impl Place {
    /// Where the input stands that a fault of its document is about.
    fn of(&self, fault: &DocumentFault) -> Vec<String> {
        let mut path = self.path.clone();
        let mut step = |step: &str| path.push(step.to_owned());
        match (fault.code, fault.field.as_str()) {
            (Code::PreconditionFailed, _) => step("ifVersion"),
            (_, "sourcedId") => step("sourcedId"),
            (_, field) => {
                step(self.kind.name());
                match field.strip_prefix("metadata.") {
                    // Keys of metadata have dots.
                    Some(key) => match self.extension(field) {
                        Some(extension) => [EXTENSION, extension].into_iter().for_each(step),
                        None => ["metadata", key].into_iter().for_each(step),
                    },
                    None => steps(field).for_each(step),
                }
            }
        }
        path
    }

    /// The extension of this column, if the input names it as a field.
    fn extension(&self, column: &str) -> Option<&'static str> {
        let name = extension_of_column(self.kind, column)?.field.json.split_once('.')?.1;
        self.extensions.iter().any(|extension| extension == name).then_some(name)
    }
}

/// `roles[0].org.sourcedId` is `roles`, `0`, `org`: references are ids.
fn steps(field: &str) -> impl Iterator<Item = &str> {
    let field = field.strip_suffix(".sourcedId").unwrap_or(field);
    field.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty())
}

pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let describe = |code: &Code| format!("{} {}", code.message(English), code.mend(English));
    let codes = Code::ALL.iter().map(|code| EnumItem::new(code_name(*code)).description(describe(code)));
    // TOO_MANY is a code of documents, too.
    let webhooks = WEBHOOKS.iter().filter(|(name, ..)| Code::from_name(&name.to_ascii_lowercase()).is_none());
    let further = FURTHER.iter().chain(webhooks).map(|(name, message, _)| EnumItem::new(*name).description(*message));
    let refusals = Refused::ALL.map(|why| EnumItem::new(why.code().to_ascii_uppercase()).description(why.english()));
    let doc = "What can be wrong with what a client sends. The list only grows.";
    schema
        .register(Enum::new("UserErrorCode").description(doc).items(codes).items(further).items(refusals))
        .register(object())
}

fn object() -> Object {
    let string = || TypeRef::named(TypeRef::STRING);
    let fields: [(&'static str, TypeRef, &str); 8] = [
        (
            "field",
            TypeRef::named_nn_list(TypeRef::STRING),
            "The input that is meant: steps from the mutation's arguments, such as `input`, `user`, `roles`, `0`, `org`. \
             Null when it is none.",
        ),
        ("code", TypeRef::named_nn("UserErrorCode"), "What is wrong."),
        ("message", TypeRef::named_nn(TypeRef::STRING), "What is wrong."),
        ("messageJa", string(), "The same in Japanese."),
        ("mend", string(), "How to mend it; null when the message says all."),
        ("mendJa", string(), "The same in Japanese."),
        ("value", string(), "The value that is wrong; `***` where it is personal."),
        ("operation", TypeRef::named(TypeRef::INT), "In a batch: the place of the operation, from 0."),
    ];
    let object = Object::new("UserError").description("Something that is wrong with what a client sent.");
    fields.into_iter().fold(object, |object, (name, of, doc)| {
        object.field(
            Field::new(name, of, move |ctx| {
                let Some(error) = ctx.parent_value.downcast_ref::<UserError>() else {
                    return FieldFuture::Value(None);
                };
                FieldFuture::Value(value(error, name).map(FieldValue::value))
            })
            .description(doc),
        )
    })
}

fn value(error: &UserError, field: &str) -> Option<Value> {
    Some(match field {
        "field" => error.field.clone()?.into(),
        "code" => error.code.as_str().into(),
        "message" => error.message.as_ref().into(),
        "messageJa" => error.message_ja.into(),
        "mend" => error.mend?[0].into(),
        "mendJa" => error.mend?[1].into(),
        "value" => error.value.as_deref()?.into(),
        _ => error.operation?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_where_the_input_stands() {
        let place =
            Place { kind: EntityType::User, path: vec!["input".into()], extensions: vec!["kanaGivenName".into()] };
        let of = |field: &str, code| {
            let fault = DocumentFault { operation: 0, field: field.into(), code, value: String::new() };
            place.of(&fault).join("/")
        };
        for (field, path) in [
            ("", "input/user"),
            ("sourcedId", "input/sourcedId"),
            ("familyName", "input/user/familyName"),
            ("primaryOrg.sourcedId", "input/user/primaryOrg"),
            ("roles[0].org.sourcedId", "input/user/roles/0/org"),
            ("agents[12].sourcedId", "input/user/agents/12"),
            ("userProfiles[0].credentials[0].type", "input/user/userProfiles/0/credentials/0/type"),
            ("metadata.a.b", "input/user/metadata/a.b"),
            ("metadata.jp.kanaGivenName", "input/user/jp/kanaGivenName"),
            ("metadata.jp.kanaFamilyName", "input/user/metadata/jp.kanaFamilyName"),
            ("jp.kanaGivenName", "input/user/jp/kanaGivenName"),
        ] {
            assert_eq!(of(field, Code::MissingRequired), path);
        }
        assert_eq!(of("sourcedId", Code::PreconditionFailed), "input/ifVersion");
    }
    #[test]
    fn every_refusal_about_a_webhook_has_a_code_and_a_japanese_message() {
        use WebhookError::*;
        let refusals = [Invalid("url", "x".into()), Unknown("webhook"), OfAnother, NothingToSee, TooMany, Unverified];
        for error in refusals {
            let told = UserError::webhook(error).unwrap();
            assert!(WEBHOOKS.iter().any(|known| known.0 == told.code) && !told.message_ja.is_empty(), "{told:?}");
        }
    }
}
