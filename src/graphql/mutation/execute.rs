//! Carries a planned write out, and reads what it left behind.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dynamic::{FieldFuture, FieldValue, ResolverContext};

use super::faults::user_errors;
use super::payload::{Items, Payload};
use super::{Call, RecordPlan, Write};
use crate::command::Commands;
use crate::command::write::{Written, WrittenRecord};
use crate::graphql::error::{Code, Refusal};
use crate::graphql::execution::{Done, Execution};
use crate::graphql::load::Loader;
use crate::graphql::resolve;
use crate::query::related::Snapshot;
use crate::roster::EntityType;

/// The value of a field of `Mutation`.
pub fn field(ctx: ResolverContext<'_>) -> FieldFuture<'_> {
    FieldFuture::new(async move {
        let execution = ctx.data::<Arc<Execution>>()?;
        Ok(match write(execution, resolve::key(&ctx)).await {
            Ok(payload) => Some(FieldValue::owned_any(Arc::new(payload))),
            Err(refusal) => refusal.null(&ctx),
        })
    })
}

async fn write(execution: &Execution, key: &str) -> Result<Payload, Refusal> {
    let plan = execution.plan.writes.iter().find(|plan| plan.key == key).map(|plan| &plan.call);
    let write = match plan {
        Some(Call::Write(write)) => write,
        Some(Call::Refused(refusal)) => return Err(refusal.clone()),
        None => return Err(Refusal::new(Code::Internal, "The hub failed.")),
    };
    let Write { request, places, batch, records } = write.as_ref();
    let commands = Commands::new(&execution.log, &execution.tenant);
    match commands.write(request.clone()).await {
        Ok(written) => read(execution, written, records).await,
        Err(error) => Ok(Payload { errors: user_errors(error, places, *batch)?, ..Payload::default() }),
    }
}

/// The written records as they stood at the position of the write, whatever has happened since.
async fn read(execution: &Execution, written: Written, plans: &[RecordPlan]) -> Result<Payload, Refusal> {
    let mut done = Done { position: written.position, records: written.records.len() as u64, ..Done::default() };
    let mut records = HashMap::with_capacity(plans.len());
    if !plans.is_empty() {
        let mut tx = execution.log.db().snapshot(&execution.tenant).await?;
        let head: i64 = sqlx::query_scalar("select head from tenants where tenant = $1")
            .bind(execution.tenant.as_str())
            .fetch_one(&mut *tx)
            .await?;
        let as_of = (written.position < head).then_some(written.position);
        let mut loader = Loader::new(Snapshot { conn: &mut tx, tenant: &execution.tenant, as_of }, execution.seen());
        for RecordPlan { key, plans } in plans {
            let mut shown: Result<Items, Refusal> = Ok(Items::new());
            for (kind, plan) in plans {
                match (&mut shown, plan) {
                    (Ok(shown), Ok(plan)) => {
                        let ids = ids(&written.records, *kind);
                        let items = loader.records(*kind, &ids, plan).await?;
                        shown.extend(items.into_iter().map(|(id, item)| ((*kind, id), item)));
                    }
                    (_, Err(refusal)) => shown = Err(refusal.clone()),
                    (Err(_), Ok(_)) => {}
                }
            }
            records.insert(key.clone(), shown);
        }
        done.statements = loader.statements;
        done.records += loader.records;
        execution.saw(|seen| seen.and(loader.seen));
    }
    execution.add(done);
    Ok(Payload { position: Some(written.position), written: written.records, records, errors: Vec::new() })
}

fn ids(written: &[WrittenRecord], kind: EntityType) -> Vec<&str> {
    written.iter().filter(|record| record.kind == kind).map(|record| record.sourced_id.as_str()).collect()
}
