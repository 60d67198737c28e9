//! A plan that waits for a decision, as people look at it: record by record, with what it was and will be.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::job::Job;
use super::plan::{ChangeCounts, KIND, with_records};
use super::stage::{Staging, number};
use crate::command::hub::{present_payload, upcasters};
use crate::log::{Log, Tenant};
use crate::roster::EntityType;

/// Records of each type and kind that a plan shows unasked.
const SAMPLES: i64 = 3;
/// Later changes of a record that are told.
const LATER: i64 = 10;

/// Which records of a plan.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub entity: Option<EntityType>,
    /// One of `KINDS`.
    pub kind: Option<&'static str>,
    /// Org.
    pub school: Option<String>,
    /// Only those that changed after the import that is taken back.
    pub conflicts: bool,
    /// Place after which to begin.
    pub after: Option<(EntityType, String)>,
}

/// A place in a listing: type and sourcedId.
pub fn place(text: &str) -> Option<(EntityType, String)> {
    let (kind, id) = text.split_once(':')?;
    Some((EntityType::from_name(kind)?, id.to_owned()))
}

/// A record of a plan.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PlannedRecord {
    /// Type of the record, as references name it.
    #[schemars(with = "String")]
    pub entity: EntityType,
    pub sourced_id: String,
    /// What would become of it.
    #[schemars(extend("enum" = super::plan::KINDS))]
    pub kind: String,
    /// The org that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub school: Option<String>,
    /// Its row in the set; none when a bulk file does not name it any more, and in a revert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<i64>,
    /// Members that would differ. Of a record that is withdrawn, all that it has.
    pub members: Vec<Member>,
    /// In a revert: what changed after the import, the latest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<LaterChange>,
}

/// A member of a record, before and after.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Member {
    pub name: String,
    /// Absent when it is not there, or not for the client to see.
    #[schemars(with = "Value")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[schemars(with = "Value")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A change of a record after the import that is taken back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct LaterChange {
    /// In the log.
    pub position: i64,
    pub recorded_at: DateTime<Utc>,
    /// Names of the members that changed.
    #[serde(default, deserialize_with = "or_none")]
    pub changed: Vec<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Import that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<Uuid>,
}

fn or_none<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    Option::<Vec<String>>::deserialize(value).map(Option::unwrap_or_default)
}

/// What a plan does to an org's records.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SchoolChanges {
    /// sourcedId of the org.
    pub school: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Per entity.
    #[schemars(with = "BTreeMap<String, super::plan::Changes>")]
    pub changes: ChangeCounts,
}

#[derive(sqlx::FromRow)]
struct Row {
    entity: i16,
    sourced_id: String,
    line: i64,
    kind: String,
    school: Option<String>,
    record: Option<String>,
    last: Option<String>,
    event_type: Option<String>,
    event_version: Option<String>,
    later: Option<Json<Vec<LaterChange>>>,
}

/// At most `limit` records of the plan, in the order of type and sourcedId; none when it does not wait any more.
/// `shown`: whether the values of a type may be shown.
pub async fn records(
    log: &Log,
    tenant: &Tenant,
    job: &Job,
    selection: &Selection,
    limit: i64,
    shown: impl Fn(EntityType) -> bool,
) -> Result<Option<Vec<PlannedRecord>>, sqlx::Error> {
    let staging = Staging::of(job.id);
    let chosen = format!(
        "select p.*, {KIND} as kind from {} p
          where ($2::smallint is null or p.entity = $2) and ($3::text is null or {KIND} = $3)
            and ($4::text is null or p.school = $4) and (p.conflict or not $5)
            and (p.entity, p.sourced_id) > ($6, $7)
          order by p.entity, p.sourced_id limit $8",
        staging.plan
    );
    let names = EntityType::ALL.map(|k| format!(" when {} then '{}'", number(k), k.name())).concat();
    let sql = format!(
        "select d.entity, d.sourced_id, d.line, d.kind, d.school, d.record, d.last, d.event_type, d.event_version,
                case when d.conflict then later.changes end as later
           from ({}) d
                left join lateral (
                  select json_agg(json_build_object(
                           'position', e.position, 'recordedAt', e.recorded_at, 'changed', e.payload -> 'changed',
                           'client', e.metadata ->> 'client', 'import', e.metadata ->> 'import')
                         order by e.position desc) as changes
                    from (select * from events e
                           where d.conflict and e.aggregate_type = case d.entity{names} end
                             and e.aggregate_id = $1 || '/' || d.sourced_id and e.sequence > d.expected
                           order by e.sequence desc limit {LATER}) e) later on true
          order by d.entity, d.sourced_id",
        with_records(&staging, &chosen)
    );
    let (after, id) = selection.after.as_ref().map_or((-1, ""), |(kind, id)| (number(*kind), id.as_str()));
    let mut conn = log.db().acquire(tenant).await?;
    let rows = sqlx::query_as::<_, Row>(&sql)
        .bind(tenant.as_str())
        .bind(selection.entity.map(number))
        .bind(selection.kind)
        .bind(&selection.school)
        .bind(selection.conflicts)
        .bind(after)
        .bind(id)
        .bind(limit)
        .fetch_all(&mut *conn)
        .await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    rows.into_iter().map(|row| row.planned(job.is_revert(), &shown)).collect::<Result<_, _>>().map(Some)
}

/// The staging tables have been dropped meanwhile.
fn is_gone(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("42P01")
}

impl Row {
    fn planned(self, is_revert: bool, shown: impl Fn(EntityType) -> bool) -> Result<PlannedRecord, sqlx::Error> {
        let decode = |error: serde_json::Error| sqlx::Error::Decode(error.into());
        let entity = EntityType::ALL[self.entity as usize];
        let before = match (&self.last, &self.event_type, &self.event_version) {
            (Some(payload), Some(kind), Some(version)) => {
                let payload = present_payload(upcasters, entity, kind, version, payload).map_err(decode)?;
                serde_json::from_str::<Value>(&payload).map_err(decode)?["record"].take()
            }
            _ => Value::Null,
        };
        let after = match &self.record {
            Some(record) if self.kind != "withdrawn" => serde_json::from_str(record).map_err(decode)?,
            _ => Value::Null,
        };
        let in_set = self.line > 0 && !is_revert;
        Ok(PlannedRecord {
            entity,
            sourced_id: self.sourced_id,
            kind: self.kind,
            school: self.school,
            file: in_set.then(|| format!("{}.csv", entity.entity().collection)),
            line: in_set.then_some(self.line),
            members: members(&before, &after, shown(entity)),
            later: self.later.map(|later| later.0).unwrap_or_default(),
        })
    }
}

/// The members in which two records differ.
fn members(before: &Value, after: &Value, shown: bool) -> Vec<Member> {
    let names: BTreeSet<&String> =
        [before, after].into_iter().filter_map(Value::as_object).flat_map(|record| record.keys()).collect();
    let differing = names.into_iter().filter(|name| before.get(name) != after.get(name));
    let value = |record: &Value, name: &str| record.get(name).filter(|_| shown).cloned();
    differing
        .map(|name| Member { name: name.clone(), before: value(before, name), after: value(after, name) })
        .collect()
}

/// A few records of each type and kind.
pub async fn samples(
    log: &Log,
    tenant: &Tenant,
    job: &Job,
    shown: impl Fn(EntityType) -> bool,
) -> Result<Vec<PlannedRecord>, sqlx::Error> {
    let counts: ChangeCounts = serde_json::from_value(job.changes.0.clone()).unwrap_or_default();
    let mut samples = Vec::new();
    for (entity, changes) in counts {
        let of_kind = [changes.created, changes.changed, changes.restored, changes.withdrawn];
        for (kind, _) in super::plan::KINDS.into_iter().zip(of_kind).filter(|(_, count)| *count > 0) {
            let selection = Selection { entity: Some(entity), kind: Some(kind), ..Selection::default() };
            samples.extend(records(log, tenant, job, &selection, SAMPLES, &shown).await?.unwrap_or_default());
        }
    }
    Ok(samples)
}

/// What the plan does to each org, with the names of orgs as far as they are known.
pub async fn schools(log: &Log, tenant: &Tenant, job: &Job) -> Result<Vec<SchoolChanges>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    let counts: Option<Json<BTreeMap<String, ChangeCounts>>> =
        sqlx::query_scalar("select schools from import_jobs where tenant = $1 and id = $2 and plan is not null")
            .bind(tenant.as_str())
            .bind(job.id)
            .fetch_optional(&mut *conn)
            .await?;
    let counts = counts.map(|counts| counts.0).unwrap_or_default();
    let ids: Vec<&str> = counts.keys().map(String::as_str).collect();
    let mut names = names(&mut conn, tenant, job, &ids).await?;
    let school =
        |(school, changes): (String, ChangeCounts)| SchoolChanges { name: names.remove(&school), school, changes };
    Ok(counts.into_iter().map(school).collect())
}

async fn names(
    conn: &mut PgConnection,
    tenant: &Tenant,
    job: &Job,
    ids: &[&str],
) -> Result<BTreeMap<String, String>, sqlx::Error> {
    let mut sql =
        QueryBuilder::<Postgres>::new("select o.sourced_id, o.doc::json ->> 'name' from orgs o where o.tenant = ");
    sql.push_bind(tenant.as_str()).push(" and o.sourced_id = any(").push_bind(ids).push(")");
    let mut found: Vec<(String, Option<String>)> = sql.build_query_as().fetch_all(&mut *conn).await?;
    if job.stands() {
        let staged = format!(
            "select sourced_id, record::json ->> 'name' from {} where entity = {} and sourced_id = any($1)",
            Staging::of(job.id).rows,
            number(EntityType::Org)
        );
        match sqlx::query_as(&staged).bind(ids).fetch_all(conn).await {
            Ok(staged) => found.extend(staged),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found.into_iter().filter_map(|(id, name)| Some((id, name?))).collect())
}
