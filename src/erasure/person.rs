//! What the log holds of a person.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::PgConnection;

use crate::log::Tenant;
use crate::roster::EntityType;
use crate::roster::erase::{personal_texts, what_is_left};

/// Records of these types are about the user that they name.
pub const NAMING: [EntityType; 3] = [EntityType::Role, EntityType::UserProfile, EntityType::Enrollment];

/// An event of one of the records.
pub struct Stored {
    pub position: i64,
    pub kind: EntityType,
    pub sourced_id: String,
    pub sequence: i64,
    event_type: String,
    payload: String,
    emptied: bool,
    /// It is about the person, and not about another whom the record named at another time.
    own: bool,
}

impl Stored {
    pub fn record(&self) -> Result<Value, serde_json::Error> {
        Ok(serde_json::from_str::<Value>(&self.payload)?["record"].take())
    }

    /// The payload that stays.
    pub fn left(&self) -> Result<Value, serde_json::Error> {
        let mut payload: Value = serde_json::from_str(&self.payload)?;
        let record = what_is_left(self.kind.entity(), &payload["record"]);
        payload["record"] = Value::Object(record);
        Ok(payload)
    }

    pub fn recorded_after(&self, position: i64) -> bool {
        self.position > position
    }
}

/// All events of the person's records, and of others' that share a record with the person (a role that was handed on):
/// their rows are made anew together.
pub struct Person {
    records: Vec<(EntityType, String)>,
    /// In the order of positions.
    events: Vec<Stored>,
}

impl Person {
    pub async fn find(conn: &mut PgConnection, tenant: &Tenant, sourced_id: &str) -> Result<Self, sqlx::Error> {
        let mut people = BTreeSet::from([sourced_id.to_owned()]);
        loop {
            let records = records(conn, tenant, &people).await?;
            let events = events(conn, tenant, &records, sourced_id, 0).await?;
            let named: BTreeSet<String> = events
                .iter()
                .filter(|event| [EntityType::Role, EntityType::UserProfile].contains(&event.kind))
                .filter_map(|event| user(&event.payload))
                .chain(people.iter().cloned())
                .collect();
            if named == people {
                return Ok(Self { records, events });
            }
            people = named;
        }
    }

    /// Adds the events after a position.
    pub async fn extend(&mut self, conn: &mut PgConnection, tenant: &Tenant, after: i64) -> Result<(), sqlx::Error> {
        self.events.extend(events(conn, tenant, &self.records, "", after).await?);
        Ok(())
    }

    pub fn records(&self) -> &[(EntityType, String)] {
        &self.records
    }

    /// Those that are the person's own.
    pub fn own_records(&self) -> Vec<(EntityType, String)> {
        let own = self.events.iter().filter(|event| event.own).map(|event| (event.kind, event.sourced_id.clone()));
        own.collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub fn own_positions(&self) -> Vec<i64> {
        self.events.iter().filter(|event| event.own).map(|event| event.position).collect()
    }

    pub fn positions(&self) -> Vec<i64> {
        self.events.iter().map(|event| event.position).collect()
    }

    /// Events with something to erase.
    pub fn to_erase(&self) -> impl Iterator<Item = &Stored> {
        self.events.iter().filter(|event| event.own && !event.emptied && event.event_type != "Erased")
    }

    pub fn last(&self, kind: EntityType, sourced_id: &str) -> Option<&Stored> {
        self.events.iter().rev().find(|event| event.kind == kind && event.sourced_id == sourced_id)
    }

    /// Last events of the person's records that are active, but for the user.
    pub fn standing(&self) -> impl Iterator<Item = &Stored> {
        let mut last: BTreeMap<(EntityType, &str), &Stored> = BTreeMap::new();
        for event in &self.events {
            last.insert((event.kind, &event.sourced_id), event);
        }
        last.into_values().filter(|event| {
            event.own && event.kind != EntityType::User && !["Withdrawn", "Erased"].contains(&event.event_type.as_str())
        })
    }

    /// What the person could be recognised by.
    pub fn texts(&self) -> Result<Vec<String>, serde_json::Error> {
        let mut texts = BTreeSet::new();
        for event in self.to_erase().filter(|event| event.kind != EntityType::Enrollment) {
            texts.extend(personal_texts(event.kind.entity(), &event.record()?));
        }
        Ok(texts.into_iter().collect())
    }
}

/// The user that a record names.
fn user(payload: &str) -> Option<String> {
    let payload: Value = serde_json::from_str(payload).ok()?;
    payload["record"]["user"]["sourcedId"].as_str().map(str::to_owned)
}

/// The records that are, or ever were, about these people.
async fn records(
    conn: &mut PgConnection,
    tenant: &Tenant,
    people: &BTreeSet<String>,
) -> Result<Vec<(EntityType, String)>, sqlx::Error> {
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    let mut records: Vec<(EntityType, String)> = Vec::new();
    for id in &people {
        records.extend([EntityType::User, EntityType::Demographics].map(|kind| (kind, (*id).to_owned())));
    }
    for kind in NAMING {
        let table = kind.entity().table;
        let ids: Vec<String> = sqlx::query_scalar(&format!(
            "select sourced_id from {table} where tenant = $1 and user_sourced_id = any($2)
             union select sourced_id from {table}_history where tenant = $1 and user_sourced_id = any($2)"
        ))
        .bind(tenant.as_str())
        .bind(&people)
        .fetch_all(&mut *conn)
        .await?;
        records.extend(ids.into_iter().map(|id| (kind, id)));
    }
    Ok(records)
}

async fn events(
    conn: &mut PgConnection,
    tenant: &Tenant,
    records: &[(EntityType, String)],
    person: &str,
    after: i64,
) -> Result<Vec<Stored>, sqlx::Error> {
    let (kinds, ids): (Vec<&str>, Vec<String>) =
        records.iter().map(|(kind, id)| (kind.name(), tenant.aggregate_id(id))).unzip();
    let rows: Vec<(i64, String, String, i64, String, String, bool)> = sqlx::query_as(
        "select e.position, e.aggregate_type, substr(e.aggregate_id, length($1) + 2), e.sequence, e.event_type,
                e.payload::text, e.salt is null
           from unnest($2::text[], $3::text[]) as r(aggregate_type, aggregate_id)
                join events e on e.aggregate_type = r.aggregate_type and e.aggregate_id = r.aggregate_id
          where e.tenant = $1 and e.position > $4
          order by e.position",
    )
    .bind(tenant.as_str())
    .bind(kinds)
    .bind(ids)
    .bind(after)
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(position, kind, sourced_id, sequence, event_type, payload, emptied)| {
            let kind = EntityType::from_name(&kind)?;
            let own = match NAMING.contains(&kind) {
                true => user(&payload).as_deref() == Some(person),
                false => sourced_id == person,
            };
            Some(Stored { position, kind, sourced_id, sequence, event_type, payload, emptied, own })
        })
        .collect())
}
