//! Figures of imports in a span of time. What REST has at `/imports/statistics`.

use std::collections::BTreeMap;

use async_graphql::dynamic::{
    Field, FieldFuture, FieldValue, InputValue, Object, ResolverContext, SchemaBuilder, TypeRef,
};
use async_graphql::{Name, Value};
use chrono::{DateTime, Duration, Utc};

use super::error::Refusal;
use super::import_objects::{Fields, object};
use super::import_pages::argument;
use super::imports::desk;
use super::mutation::code_name;
use crate::csv::statistics::{PhaseTimes, Statistics, statistics};
use crate::rest::follow::DAYS;
use crate::roster::Code;

type Counted = (String, i64);

pub fn register(schema: SchemaBuilder) -> SchemaBuilder {
    let int = || TypeRef::named_nn(TypeRef::INT);
    let states: Fields<Counted> = vec![
        ("state", TypeRef::named_nn("ImportState"), |s| Some(Value::Enum(Name::new(s.0.to_ascii_uppercase()))), "It."),
        ("count", int(), |s| Some(s.1.into()), "Imports that are in it."),
    ];
    let codes: Fields<Counted> = vec![
        (
            "code",
            TypeRef::named("UserErrorCode"),
            |e| Some(code_name(Code::from_name(&e.0)?).into()),
            "What is wrong; null for one that this version does not know.",
        ),
        ("count", int(), |e| Some(e.1.into()), "Errors of this code that were listed."),
    ];
    let seconds = || TypeRef::named_nn(TypeRef::FLOAT);
    let phases: Fields<(String, PhaseTimes)> = vec![
        ("name", TypeRef::named_nn(TypeRef::STRING), |p| Some(p.0.as_str().into()), "Of the phase."),
        ("count", int(), |p| Some(p.1.count.into()), "Imports that went through it."),
        ("p50", seconds(), |p| Some(p.1.p50.into()), "Half of them took no longer, in seconds."),
        ("p95", seconds(), |p| Some(p.1.p95.into()), "95 % of them took no longer, in seconds."),
    ];
    schema
        .register(statistics_object())
        .register(object("ImportStateCount", "How many imports are in a state.", states))
        .register(object("ImportErrorCount", "How often errors have a code.", codes))
        .register(object("ImportPhaseTimes", "How long a phase took.", phases))
}

fn statistics_object() -> Object {
    let fields: Fields<Statistics> = vec![
        (
            "from",
            TypeRef::named_nn("DateTime"),
            |s| Some(s.from.to_rfc3339().into()),
            "Imports handed in from then on.",
        ),
        ("to", TypeRef::named_nn("DateTime"), |s| Some(s.to.to_rfc3339().into()), "Imports handed in before."),
    ];
    let parts =
        |name: &'static str, of: &str, doc: &'static str, parts: fn(&Statistics) -> Vec<FieldValue<'static>>| {
            Field::new(name, TypeRef::named_nn_list_nn(of), move |ctx| {
                FieldFuture::Value(ctx.parent_value.downcast_ref::<Statistics>().map(|of| FieldValue::list(parts(of))))
            })
            .description(doc)
        };
    object("ImportStatistics", "Figures of the imports in a span of time.", fields)
        .field(parts("states", "ImportStateCount", "By state.", |s| entries(&s.jobs)))
        .field(parts("rows", "ImportRows", "Rows read, by file.", |s| {
            s.rows.iter().map(|(file, rows)| FieldValue::owned_any((file.clone(), Some(*rows)))).collect()
        }))
        .field(parts("changes", "ImportChanges", "What the completed ones did, by type of record.", |s| {
            entries(&s.changes)
        }))
        .field(parts("phases", "ImportPhaseTimes", "Times taken, by phase.", |s| entries(&s.phases)))
        .field(parts("errors", "ImportErrorCount", "By code.", |s| entries(&s.errors)))
}

fn entries<T: Clone + Send + Sync + 'static>(of: &BTreeMap<String, T>) -> Vec<FieldValue<'static>> {
    of.iter().map(|(name, value)| FieldValue::owned_any((name.clone(), value.clone()))).collect()
}

/// Adds the field to `Query`.
pub fn queries(query: Object) -> Object {
    let field = Field::new("importStatistics", TypeRef::named("ImportStatistics"), |ctx| {
        FieldFuture::new(async move { Ok(read(&ctx).await.unwrap_or_else(|refusal| refusal.null(&ctx))) })
    });
    let time = |name, doc: String| InputValue::new(name, TypeRef::named("DateTime")).description(doc);
    query.field(
        field
            .description("Figures of the imports in a span of time. Needs the scope `import`.")
            .argument(time("from", format!("Imports handed in from then on; {DAYS} days before `to` without it.")))
            .argument(time("to", "Imports handed in before; now without it.".to_owned())),
    )
}

async fn read<'a>(ctx: &ResolverContext<'a>) -> Result<Option<FieldValue<'a>>, Refusal> {
    let desk = desk(ctx)?;
    let to = time(ctx, "to")?.unwrap_or_else(Utc::now);
    let from = time(ctx, "from")?.unwrap_or_else(|| to - Duration::days(DAYS));
    let figures = statistics(desk.log, &desk.client.tenant, from, to).await?;
    Ok(Some(FieldValue::owned_any(figures)))
}

fn time(ctx: &ResolverContext<'_>, name: &str) -> Result<Option<DateTime<Utc>>, Refusal> {
    let text = match argument(ctx, name) {
        Value::Null => return Ok(None),
        Value::String(text) => text,
        _ => String::new(),
    };
    let time = DateTime::parse_from_rfc3339(&text).ok().map(|time| time.to_utc());
    let time = time.filter(|time| (0..=9_999).contains(&chrono::Datelike::year(time)));
    time.ok_or_else(|| Refusal::input(format!("{name} is a time with its offset."))).map(Some)
}
