//! An example of a message of each type. Nobody in them is real.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::catalogue::{Message, Of};
use crate::audit::verify::{self, Finding};
use crate::feed;
use crate::notice::Kind;
use crate::notice::data::{
    AuditFailed, ClientRevoked, Counts, Disabled, EndpointDisabled, EndpointFailing, ExportReady, ImportApplied,
    ImportFailed, ImportJob, ImportReverted, ImportWaits, Positions, Reason, School, Threshold, Waits,
};
use crate::roster::EntityType;

const POSITION: i64 = 120_345;
const IMPORT: Uuid = Uuid::from_u128(0x0193_62a1_4c5e_7b3d_9f02_8a6b_1c2d_3e4f);
const REVERT: Uuid = Uuid::from_u128(0x0193_62b7_90aa_7c11_8d4e_5f60_7182_93a4);
const PLAN: Uuid = Uuid::from_u128(0x0193_62a1_7d20_7a55_b1c2_d3e4_f506_1728);
const ENDPOINT: Uuid = Uuid::from_u128(0x0193_5f00_1111_7222_8333_4444_5555_6666);
const CLIENT: Uuid = Uuid::from_u128(0x3f2b_8c1e_5a6d_4e7f_9a0b_1c2d_3e4f_5a6b);

/// 2026-04-01T00:02:03.456Z
const TIME: DateTime<Utc> = DateTime::from_timestamp_millis(1_775_001_723_456).unwrap();

/// The message as JSON.
pub fn message(of: Of, name: &str) -> Value {
    let data = match of {
        Of::Record(entity, kind) => record(entity, kind),
        Of::Hub(kind) => hub(kind),
    };
    value(&Message {
        id: "msg_2jZy0kV7bq4nRw8sT1uXcE",
        event_type: name,
        timestamp: TIME,
        tenant: "midori",
        sequence: 17,
        position: POSITION,
        previous_position: POSITION - 3,
        data,
    })
}

/// Only types that serialize are at hand.
fn value(data: &impl Serialize) -> Value {
    serde_json::to_value(data).unwrap_or_default()
}

fn record(entity: EntityType, kind: feed::Kind) -> Value {
    let member = entity.entity().fields.first().map(|field| field.json);
    let changed: Vec<_> = member.into_iter().filter(|_| kind == feed::Kind::Changed).collect();
    let mut data = json!({
        "position": POSITION,
        "unit": POSITION - 1,
        "recordedAt": value(&TIME.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()),
        "recordType": entity.name(),
        "sourcedId": format!("{}-1042", entity.name()),
        "kind": kind.word(),
        "changed": changed,
        "cause": { "client": "School affairs", "import": IMPORT, "mapping": "1.2.1" },
    });
    use EntityType::{Demographics, Enrollment, Role, UserProfile};
    if [Role, UserProfile, Demographics, Enrollment].contains(&entity) {
        data["user"] = "user-1042".into();
    }
    data
}

fn import(kind: &str) -> ImportJob {
    let reverts = (kind == "revert").then_some(IMPORT);
    ImportJob {
        id: if reverts.is_some() { REVERT } else { IMPORT },
        kind: kind.to_owned(),
        reverts,
        client: "School affairs".to_owned(),
        edition: reverts.is_none().then(|| "1.2.1".to_owned()),
        modes: BTreeMap::from([("user", "bulk"), ("enrollment", "bulk")]),
    }
}

fn hub(kind: Kind) -> Value {
    let counts = || {
        let users = Counts { created: 310, changed: 42, deleted: 305, restored: 1, unchanged: 11_200 };
        let enrollments = Counts { created: 4_100, deleted: 4_020, unchanged: 88_000, ..Counts::default() };
        BTreeMap::from([("user", users), ("enrollment", enrollments)])
    };
    let positions = Some(Positions { first: POSITION - 8_777, last: POSITION });
    let waits = |reasons| ImportWaits {
        import: import("import"),
        plan: PLAN,
        planned_at: POSITION,
        expires_at: TIME + TimeDelta::days(7),
        reasons,
        thresholds: Vec::new(),
        conflicts: 0,
        counts: counts(),
        errors: 0,
    };
    match kind {
        Kind::ImportPlanned => value(&waits(vec![Waits::Asked])),
        Kind::ImportHeld => {
            let school = Some("org-31".to_owned());
            let (records, active) = (305, 700);
            let passed = Threshold { record_type: "user", school, kind: "deleted", records, active, limit: 20.0 };
            value(&ImportWaits { thresholds: vec![passed], ..waits(vec![Waits::Thresholds]) })
        }
        Kind::ImportApplied => {
            let types = vec!["user", "enrollment"];
            let school =
                School { school: "org-31".to_owned(), created: 120, changed: 9, deleted: 88, restored: 1, types };
            value(&ImportApplied {
                import: import("import"),
                approved_by: Some("Board office".to_owned()),
                positions,
                time: Some(TIME),
                counts: counts(),
                schools: vec![school],
                schools_omitted: 0,
                errors: 0,
            })
        }
        Kind::ImportFailed => value(&ImportFailed {
            import: import("import"),
            state: "failed".to_owned(),
            reason: Reason::Errors,
            by: None,
            errors: 3,
            errors_by_code: BTreeMap::from([("dangling_reference".to_owned(), 2), ("missing_required".to_owned(), 1)]),
        }),
        Kind::ImportReverted => value(&ImportReverted { reverted: IMPORT, import: import("revert"), positions }),
        Kind::ExportReady => value(&ExportReady {
            client: "Reading app".to_owned(),
            position: POSITION,
            since: Some(POSITION - 8_778),
            edition: "1.2.1".to_owned(),
            schools: vec!["org-31".to_owned()],
            rows: BTreeMap::from([("users".to_owned(), 217), ("enrollments".to_owned(), 912)]),
            losses: 0,
        }),
        Kind::EndpointFailing => value(&EndpointFailing {
            endpoint: ENDPOINT,
            failing_since: TIME - TimeDelta::hours(2),
            last_status: Some(503),
            last_error: None,
            disables_at: TIME + TimeDelta::hours(118),
        }),
        Kind::EndpointDisabled => value(&EndpointDisabled {
            endpoint: ENDPOINT,
            reason: Disabled::Failures,
            failing_since: Some(TIME - TimeDelta::hours(120)),
            last_status: None,
            last_error: Some("timeout".to_owned()),
        }),
        Kind::AuditFailed => value(&AuditFailed {
            position: POSITION,
            findings: 1,
            history: vec![Finding { kind: verify::Kind::Changed, from: POSITION - 17, to: POSITION - 17 }],
            read_models: None,
        }),
        Kind::ClientRevoked => value(&ClientRevoked { client: CLIENT, name: "Reading app".to_owned() }),
    }
}
