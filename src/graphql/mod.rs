//! The GraphQL gateway. A document becomes a plan (`document`, `planner`), the plan is read in one snapshot (`execution`,
//! `load`), and the answer is written from what was read (`render`, `resolve`). Types and fields follow from `model`.

pub mod bounds;
pub mod budget;
pub mod changes;
pub mod document;
pub mod error;
pub mod execution;
pub mod explorer;
pub mod http;
pub mod id;
mod import_figures;
mod import_objects;
mod import_pages;
pub mod import_plans;
pub mod imports;
pub mod inputs;
pub mod load;
pub mod members;
pub mod model;
pub mod mutation;
pub mod page;
pub mod persisted;
pub mod plan;
pub mod planner;
mod receipts;
pub mod render;
pub mod resolve;
pub mod roots;
pub mod schema;
pub mod sessions;
pub mod sse;
pub mod subscription;
pub mod text;
pub mod upload;
mod webhook_mutations;
mod webhook_objects;
pub mod webhooks;
pub mod ws;

use std::sync::Arc;
use std::time::Duration;

use async_graphql::dynamic::{Schema, SchemaError};
use async_graphql::parser::types::{DocumentOperations, OperationType};
use async_graphql::{Request, Response, Value, value};

use crate::access::{Access, Seen};
use crate::auth::Client;
use crate::auth::limit::Standing;
use crate::config::GraphqlConfig;
use crate::csv::intake::Intake;
use crate::feed::Feed;
use crate::log::Log;
use crate::webhook::Webhooks;
use budget::Budgets;
use document::{Limits, Operation};
use error::{Code, Refusal};
use execution::Execution;
use persisted::{Asked, ListError, Persisted};
use plan::Cost;
use planner::Planner;
use resolve::Fingerprint;
use text::TextLimits;

/// Errors that an answer lists when nothing was executed.
const MOST_ERRORS: usize = 100;

/// What answers operations.
#[derive(Clone)]
pub struct Gateway {
    schema: Schema,
    log: Log,
    settings: Settings,
    budgets: Budgets,
    persisted: Persisted,
    access: Access,
}

/// Bounds of what one operation may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub text: TextLimits,
    pub limits: Limits,
    /// Records on a page.
    pub max_page: i64,
    /// Records that an operation may read, as the plan estimates.
    pub max_records: u64,
    /// That a query may take.
    pub time: Duration,
    pub introspection: bool,
}

impl From<&GraphqlConfig> for Settings {
    fn from(config: &GraphqlConfig) -> Self {
        Self {
            text: TextLimits { bytes: config.max_document_bytes, tokens: config.max_tokens },
            limits: Limits {
                depth: config.max_depth,
                selections: config.max_selections,
                roots: config.max_roots,
                directives: config.max_directives,
            },
            max_page: config.max_page,
            max_records: config.max_records,
            time: Duration::from_secs(config.max_seconds),
            introspection: config.introspection,
        }
    }
}

/// Why the gateway cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the GraphQL schema is not sound: {0}")]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    List(#[from] ListError),
}

impl Gateway {
    pub fn new(
        log: Log,
        feed: Feed,
        imports: Intake,
        access: Access,
        webhooks: Webhooks,
        config: &GraphqlConfig,
    ) -> Result<Self, OpenError> {
        let fingerprint = Fingerprint(log.projections().fingerprint().to_owned());
        let schema = schema::builder(config.introspection)
            .extension(render::Renderer)
            .data(fingerprint)
            .data(imports)
            .data(log.clone())
            .data(feed)
            .data(webhooks);
        Ok(Self {
            schema: schema.finish()?,
            log,
            settings: config.into(),
            budgets: Budgets::new(config.records_per_minute),
            persisted: Persisted::open(config.operations.as_deref(), config.persisted_bytes)?,
            access,
        })
    }

    /// The request for what a client asks: its document is looked up, held against the bounds of a text, and parsed.
    pub fn request(&self, asked: Asked) -> Result<Request, Refusal> {
        let mut request = self.persisted.find(asked)?;
        text::check(&request.query, self.settings.text)?;
        request.parsed_query().map_err(|error| Refusal::new(Code::ParseFailed, error.message))?;
        Ok(request)
    }

    /// Answers a query or a mutation.
    pub async fn answer(&self, mut request: Request, client: &Client) -> Response {
        let reads = operation_type(&mut request) == Some(OperationType::Query);
        let (execution, budget) = match self.prepare(&mut request, client) {
            Ok(execution) => {
                let asked = execution.plan.cost;
                let budget = self.budgets.take(client.id, asked.records);
                if let Some(wait) = budget.and_then(|budget| budget.wait) {
                    let mut response = budget::exhausted(wait);
                    response.extensions.insert("cost".into(), cost(asked, None, budget));
                    return response;
                }
                (Arc::new(execution), budget)
            }
            Err(refusal) => return refusal.into_response(),
        };
        self.persisted.register(&request);
        let asked = self.access.most().map(|_| receipts::asked(&mut request, client));
        let request = request.data(execution.clone()).data(client.clone());
        let mut response = match reads {
            true => match tokio::time::timeout(self.settings.time, self.schema.execute(request)).await {
                Ok(response) => response,
                Err(_) => Refusal::timed_out().into_response(),
            },
            // What may have changed something is told.
            false => self.schema.execute(request).await,
        };
        code_errors(&mut response);
        if let Some(refusal) = execution.failed().filter(|_| reads) {
            response = refusal.clone().into_response();
        }
        let read = execution.done();
        if let Some(asked) = asked.filter(|_| response.data != Value::Null) {
            receipts::record(&self.access, asked, &execution, read.unwrap_or_default());
        }
        if let Some(read) = read {
            response.extensions.insert("position".into(), read.position.into());
        }
        let actual = read.map(|read| Cost { records: read.records, statements: read.statements });
        response.extensions.insert("cost".into(), cost(execution.plan.cost, actual, budget));
        response
    }

    /// Plans an operation, and refuses what is beyond the bounds before anything is executed.
    fn prepare(&self, request: &mut Request, client: &Client) -> Result<Execution, Refusal> {
        let (name, variables) = (request.operation_name.clone(), request.variables.clone());
        let document = request.parsed_query().map_err(|error| Refusal::new(Code::ParseFailed, error.message))?;
        bounds::check(document, self.settings.limits)?;
        let operation = Operation::find(document, name.as_deref(), &variables, self.settings.limits)?;
        if !self.settings.introspection {
            let shows = |name: &str| ["__schema", "__type"].contains(&name);
            if operation.roots()?.iter().any(|root| shows(root.name)) {
                let message = "This server does not show its schema; schema.graphql has it.";
                return Err(Refusal::new(Code::IntrospectionDisabled, message));
            }
        }
        let planner = Planner { operation: &operation, client, max_page: self.settings.max_page };
        let plan = planner.plan()?;
        if plan.cost.records > self.settings.max_records {
            return Err(Refusal::limit(format!(
                "The operation may read {} records; {} is the most. Ask for smaller pages.",
                plan.cost.records, self.settings.max_records
            )));
        }
        let Settings { max_page, time, .. } = self.settings;
        let seen = Seen::new(self.access.most());
        Ok(Execution::new(self.log.clone(), client.tenant.clone(), plan, max_page, time, seen))
    }

    pub fn sdl(&self) -> String {
        schema::sdl(&self.schema)
    }
}

/// What the operation of a request is, if it has one of that name.
pub fn operation_type(request: &mut Request) -> Option<OperationType> {
    let name = request.operation_name.clone();
    let operation = match (&request.parsed_query().ok()?.operations, name) {
        (DocumentOperations::Single(operation), _) => operation,
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name.as_str())?,
        (DocumentOperations::Multiple(operations), None) => operations.values().next()?,
    };
    Some(operation.node.ty)
}

/// `extensions.cost`.
fn cost(requested: Cost, actual: Option<Cost>, budget: Option<Standing>) -> Value {
    let told = |cost: Cost| value!({ "records": (cost.records), "statements": (cost.statements) });
    let actual = told(actual.unwrap_or_default());
    value!({ "requested": (told(requested)), "actual": actual, "budget": (budget.map(budget::told)) })
}

/// Errors without a code are those of validation, or of variables that do not fit. There may be one for each name in
/// the document: the first will do.
fn code_errors(response: &mut Response) {
    if response.errors.iter().all(|error| error.path.is_empty()) {
        response.errors.truncate(MOST_ERRORS);
    }
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", Code::ValidationFailed.name());
        }
    }
}
