//! The GraphQL gateway. A document becomes a plan (`document`, `plan`), the plan is read in one snapshot (`execution`,
//! `load`), and the fields are resolved from what was read (`resolve`). Types and fields follow from `model`.

pub mod changes;
pub mod document;
pub mod error;
pub mod execution;
pub mod http;
pub mod id;
pub mod inputs;
pub mod load;
pub mod members;
pub mod model;
pub mod page;
pub mod plan;
pub mod resolve;
pub mod roots;
pub mod schema;
pub mod sessions;
pub mod sse;
pub mod subscription;
pub mod ws;

use std::sync::Arc;

use async_graphql::dynamic::Schema;
use async_graphql::{Request, Response, value};

use crate::auth::Client;
use crate::feed::Feed;
use crate::log::Log;
use document::{Limits, Operation};
use error::{Code, Refusal};
use execution::Execution;
use plan::Planner;

/// What answers operations.
#[derive(Clone)]
pub struct Gateway {
    schema: Schema,
    log: Log,
    feed: Feed,
    settings: Settings,
}

/// Bounds of what one operation may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub limits: Limits,
    /// Records on a page.
    pub max_page: i64,
    /// Records that an operation may read, as the plan estimates.
    pub max_records: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limits: Limits { depth: 20, selections: 2_000, roots: 20 }, max_page: 1_000, max_records: 200_000 }
    }
}

impl Gateway {
    pub fn new(log: Log, settings: Settings) -> Result<Self, async_graphql::dynamic::SchemaError> {
        Ok(Self { schema: schema::build()?, feed: Feed::new(log.clone()), log, settings })
    }

    /// Answers a query or a mutation.
    pub async fn answer(&self, mut request: Request, client: &Client) -> Response {
        let execution = match self.prepare(&mut request, client) {
            Ok(execution) => Arc::new(execution),
            Err(refusal) => return refusal.into_response(),
        };
        let request = request.data(execution.clone()).data(client.clone()).data(self.feed.clone());
        let mut response = self.schema.execute(request).await;
        code_errors(&mut response);
        if let Some(read) = execution.done() {
            response.extensions.insert("position".into(), read.position.into());
            let planned = execution.plan.cost;
            let cost = value!({
                "requested": { "records": (planned.records), "statements": (planned.statements) },
                "actual": { "records": (read.records), "statements": (read.statements) },
            });
            response.extensions.insert("cost".into(), cost);
        }
        response
    }

    /// Plans an operation, and refuses what is beyond the bounds before anything is executed.
    fn prepare(&self, request: &mut Request, client: &Client) -> Result<Execution, Refusal> {
        let (name, variables) = (request.operation_name.clone(), request.variables.clone());
        let document = request.parsed_query().map_err(|error| Refusal::new(Code::ParseFailed, error.message))?;
        let operation = Operation::find(document, name.as_deref(), &variables, self.settings.limits)?;
        let planner = Planner { operation: &operation, client, max_page: self.settings.max_page };
        let plan = planner.query()?;
        if plan.cost.records > self.settings.max_records {
            return Err(Refusal::limit(format!(
                "The operation may read {} records; {} is the most. Ask for smaller pages.",
                plan.cost.records, self.settings.max_records
            )));
        }
        Ok(Execution::new(self.log.clone(), client.tenant.clone(), plan))
    }

    pub fn sdl(&self) -> String {
        schema::sdl(&self.schema)
    }
}

/// Errors without a code are those of validation, or of variables that do not fit.
fn code_errors(response: &mut Response) {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", Code::ValidationFailed.name());
        }
    }
}
