//! Plans of imports over HTTP: look at one, approve, discard or cancel it, take an import back.

use std::collections::{BTreeMap, HashMap};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::address::PublicAddress;
use super::error::HubError;
use super::extract::{HubPath, HubQuery, Importer};
use super::imports::{answer, number, wait};
use super::{HUB, Hub};
use crate::access::{Asked, Entry, Seen, Via};
use crate::auth::{Client, Scope};
use crate::csv::decision::{DecisionError, GiveUp, Refused};
use crate::csv::edition::NAMES;
use crate::csv::encoding::WISHES;
use crate::csv::import::Asker;
use crate::csv::job::{self, Difference, Job};
use crate::csv::listing::{self, PlannedRecord, SchoolChanges, Selection, place};
use crate::csv::options::{APPLY, MODES, ON_CONFLICTS, ON_ERRORS, Options, named};
use crate::csv::plan::{Changes, KINDS};
use crate::csv::rules::STRICTNESSES;
use crate::csv::threshold::Passed;
use crate::roster::EntityType;

pub fn router() -> Router<Hub> {
    Router::new()
        .route("/imports/{id}/plan", get(plan))
        .route("/imports/{id}/plan/records", get(records))
        .route("/imports/{id}/approve", post(approve))
        .route("/imports/{id}/discard", giving_up(GiveUp::Discard))
        .route("/imports/{id}/cancel", giving_up(GiveUp::Cancel))
        .route("/imports/{id}/revert", post(revert))
}

/// A plan: what would become of which records.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Plan", deny_unknown_fields)]
pub struct PlanAnswer {
    /// Names the plan; an approval repeats it.
    plan: Uuid,
    /// Log position of the roster that it was made on.
    planned_at: i64,
    /// Per entity, in the whole board.
    #[schemars(with = "BTreeMap<String, Changes>")]
    changes: serde_json::Value,
    /// The same for each org. Academic sessions belong to none.
    schools: Vec<SchoolChanges>,
    /// Thresholds that it passes.
    thresholds: Vec<Passed>,
    /// Of a revert: records that changed after the import.
    conflicts: i64,
    /// How it differs from the plan that was approved.
    #[schemars(with = "Difference")]
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Difference>,
    /// A few records of each type and kind, while the plan waits for a decision.
    samples: Vec<PlannedRecord>,
}

/// Records of a plan, in the order of type and sourcedId.
#[derive(Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RecordPage {
    records: Vec<PlannedRecord>,
    /// For `after`, when there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Who asks.
pub fn asker(client: &Client) -> Asker {
    Asker { id: client.id.to_string(), name: client.name.to_string() }
}

/// Whether the client may see the values of a type: who may only hand sets in learns from a plan which members change.
pub fn sees(client: &Client) -> impl Fn(EntityType) -> bool {
    let demographics = client.may_any(&[Scope::Demographics]);
    let others = client.may_any(&[Scope::RosterCore, Scope::Roster]);
    move |kind| if kind == EntityType::Demographics { demographics } else { others }
}

/// Options among the parameters of a request.
pub fn options(query: &HashMap<String, String>) -> Result<Options, HubError> {
    let default = Options::default();
    Ok(Options {
        apply: one_of(query, "apply", &APPLY)?.unwrap_or(default.apply),
        on_errors: one_of(query, "onErrors", &ON_ERRORS)?.unwrap_or(default.on_errors),
        on_conflicts: one_of(query, "conflicts", &ON_CONFLICTS)?.unwrap_or(default.on_conflicts),
        encoding: one_of(query, "encoding", &WISHES)?.unwrap_or(default.encoding),
        mode: one_of(query, "mode", &MODES)?.unwrap_or(default.mode),
        edition: one_of(query, "edition", &NAMES)?,
        rules: one_of(query, "rules", &STRICTNESSES)?,
    })
}

/// Parameters of an import, however it is handed in; no others may be there.
pub const IMPORT: &[&str] = &["apply", "onErrors", "encoding", "mode", "edition", "rules"];

/// Options of an import, which are all that the request's parameters may be.
pub fn import_options(query: &HashMap<String, String>) -> Result<Options, HubError> {
    known(query, IMPORT)?;
    options(query)
}

fn one_of<T: DeserializeOwned>(
    query: &HashMap<String, String>,
    name: &str,
    values: &[&str],
) -> Result<Option<T>, HubError> {
    let Some(text) = query.get(name) else { return Ok(None) };
    let wrong = || HubError::bad_request(format!("{name} is one of {}.", values.join(", ")));
    named(text).ok_or_else(wrong).map(Some)
}

/// A misspelled parameter does not let an import go a way that nobody asked for.
pub fn known(query: &HashMap<String, String>, names: &[&str]) -> Result<(), HubError> {
    match query.keys().find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(_) => Err(HubError::bad_request(match names {
            [] => "This path takes no parameters.".to_owned(),
            names => format!("Parameters of this path are {}.", names.join(", ")),
        })),
    }
}

async fn find(hub: &Hub, client: &Client, id: Uuid) -> Result<Job, HubError> {
    job::find(&hub.log, &client.tenant, id).await?.ok_or_else(|| HubError::not_found("import"))
}

/// `GET /imports/{id}/plan`
async fn plan(
    Importer(client): Importer,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
) -> Result<Response, HubError> {
    let job = find(&hub, &client, id).await?;
    let (Some(plan), Some(planned_at)) = (job.plan, job.planned_at) else {
        return Err(refused(Refused::WrongState));
    };
    let samples = match job.stands() {
        true => listing::samples(&hub.log, &client.tenant, &job, sees(&client)).await?,
        false => Vec::new(),
    };
    record(&hub, &client, "getPlan", "/imports/{id}/plan", &id.to_string(), (planned_at, &samples[..]));
    let plan = PlanAnswer {
        plan,
        planned_at,
        schools: listing::schools(&hub.log, &client.tenant, &job).await?,
        changes: job.changes.0,
        thresholds: job.thresholds.0,
        conflicts: job.conflicts,
        difference: job.difference.map(|difference| difference.0),
        samples,
    };
    Ok(Json(plan).into_response())
}

/// `GET /imports/{id}/plan/records?entity=&kind=&school=&conflicts=true&after=&limit=`
async fn records(
    Importer(client): Importer,
    State(hub): State<Hub>,
    HubPath(id): HubPath<Uuid>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Response, HubError> {
    known(&query, &["entity", "kind", "school", "conflicts", "after", "limit"])?;
    let limit = number(&query, "limit", 100)?.clamp(1, 1_000);
    let wrong = |what: &str| HubError::bad_request(what);
    let selection = Selection {
        entity: match query.get("entity") {
            Some(name) => Some(EntityType::from_name(name).ok_or_else(|| wrong("entity is the name of a type."))?),
            None => None,
        },
        kind: match query.get("kind") {
            Some(name) => Some(
                KINDS
                    .into_iter()
                    .find(|kind| kind == name)
                    .ok_or_else(|| wrong(&format!("kind is one of {}.", KINDS.join(", "))))?,
            ),
            None => None,
        },
        school: query.get("school").cloned(),
        conflicts: one_of(&query, "conflicts", &["true", "false"])?.is_some_and(|text: String| text == "true"),
        after: match query.get("after") {
            Some(text) => Some(place(text).ok_or_else(|| wrong("after is the next of another page."))?),
            None => None,
        },
    };
    let job = find(&hub, &client, id).await?;
    let found = match job.stands() {
        true => listing::records(&hub.log, &client.tenant, &job, &selection, limit + 1, sees(&client)).await?,
        false => None,
    };
    let mut records = found.ok_or_else(|| refused(Refused::WrongState))?;
    let more = records.len() as i64 > limit;
    records.truncate(limit.unsigned_abs() as usize);
    let next = records.last().filter(|_| more).map(|last| format!("{}:{}", last.entity.name(), last.sourced_id));
    let told = format!("{id} {selection:?}");
    let at = (job.planned_at.unwrap_or_default(), &records[..]);
    record(&hub, &client, "getPlannedRecords", "/imports/{id}/plan/records", &told, at);
    Ok(Json(RecordPage { records, next }).into_response())
}

/// Whose values a plan shows.
pub fn see(records: &[PlannedRecord], seen: &mut Seen) {
    for PlannedRecord { entity, sourced_id, .. } in records {
        match entity {
            EntityType::User | EntityType::Demographics => seen.see(sourced_id),
            // Whose they are, only their values tell, and not all of them.
            EntityType::Enrollment | EntityType::Role | EntityType::UserProfile => seen.see_many(),
            _ => {}
        }
    }
}

fn record(
    hub: &Hub,
    client: &Client,
    operation: &str,
    route: &'static str,
    query: &str,
    (position, records): (i64, &[PlannedRecord]),
) {
    // Without the scopes of the roster, no values are shown.
    let sees = sees(client);
    if !records.iter().any(|record| sees(record.entity)) {
        return;
    }
    let Some(most) = hub.access.most() else { return };
    let mut seen = Seen::new(Some(most));
    see(records, &mut seen);
    if seen.personal {
        hub.access.record(|_| {
            let asked = Asked::new(client, Via::Rest, operation, (HUB, route), query);
            Entry::new(&client.tenant, asked, position, seen.people()).records(records.len())
        });
    }
}

/// `POST /imports/{id}/approve?plan=&conflicts=`
async fn approve(
    Importer(client): Importer,
    State(hub): State<Hub>,
    headers: HeaderMap,
    HubPath(id): HubPath<Uuid>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Response, HubError> {
    known(&query, &["plan", "conflicts"])?;
    let plan = query.get("plan").and_then(|plan| Uuid::try_parse(plan).ok());
    let plan = plan.ok_or_else(|| HubError::bad_request("plan is the id of the plan that is approved."))?;
    let conflicts = one_of(&query, "conflicts", &ON_CONFLICTS)?;
    hub.imports.approve(&client.tenant, asker(&client), id, plan, conflicts).await?;
    told(&hub, &client, id, &headers).await
}

/// `POST /imports/{id}/discard` and `…/cancel`
fn giving_up(way: GiveUp) -> MethodRouter<Hub> {
    post(
        move |Importer(client): Importer,
              State(hub): State<Hub>,
              headers: HeaderMap,
              HubPath(id): HubPath<Uuid>,
              HubQuery(query): HubQuery<HashMap<String, String>>| async move {
            known(&query, &[])?;
            hub.imports.give_up(&client.tenant, &asker(&client), id, way).await?;
            told(&hub, &client, id, &headers).await
        },
    )
}

/// `POST /imports/{id}/revert?apply=&conflicts=`: a new job.
async fn revert(
    Importer(client): Importer,
    State(hub): State<Hub>,
    address: PublicAddress,
    headers: HeaderMap,
    HubPath(id): HubPath<Uuid>,
    HubQuery(query): HubQuery<HashMap<String, String>>,
) -> Result<Response, HubError> {
    known(&query, &["apply", "conflicts"])?;
    let id = hub.imports.revert(&client.tenant, asker(&client), id, options(&query)?).await?;
    let location = format!("{address}/rosterhub/v1/imports/{id}");
    Ok(([(header::LOCATION, location)], told(&hub, &client, id, &headers).await?).into_response())
}

/// The job as it is now, or after the time that the client prefers to wait: 202 while something still happens.
pub async fn told(hub: &Hub, client: &Client, id: Uuid, headers: &HeaderMap) -> Result<Response, HubError> {
    wait(hub, id, headers).await;
    let job = find(hub, client, id).await?;
    let status = if job.rests() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, answer(&job)).into_response())
}

fn refused(refused: Refused) -> HubError {
    let status = match refused {
        Refused::Unknown => return HubError::not_found("import"),
        Refused::SameClient => StatusCode::FORBIDDEN,
        _ => StatusCode::CONFLICT,
    };
    HubError::new(status, refused.code(), refused.english())
}

impl From<DecisionError> for HubError {
    fn from(error: DecisionError) -> Self {
        match error {
            DecisionError::Refused(why) => refused(why),
            DecisionError::Start(error) => error.into(),
        }
    }
}
