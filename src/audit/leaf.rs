//! What the tree commits to: the bytes of one event's leaf.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tlog_tiles::tlog::{Hash, record_hash};
use uuid::Uuid;

use super::base64;
use crate::log::Tenant;

/// An event with all that its leaf is made of, as it stands in the log.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaf {
    pub position: i64,
    pub unit: i64,
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: i64,
    pub event_type: String,
    pub event_version: String,
    pub recorded_at: DateTime<Utc>,
    /// JSON, byte by byte.
    pub metadata: String,
    /// JSON, byte by byte. Of an erased event: what is left.
    pub payload: String,
    /// None once the event was erased.
    pub salt: Option<Uuid>,
    /// Only of an erased event: SHA-256 of the salt and the payload that it had.
    #[serde(with = "base64::option", default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<Vec<u8>>,
}

/// Its columns, for a SELECT.
pub const COLUMNS: &str =
    "position, unit, aggregate_type, aggregate_id, sequence, event_type, event_version, recorded_at,
                           metadata::text as metadata, payload::text as payload, salt, commitment";

impl Leaf {
    /// SHA-256 of the salt (16 bytes) and the payload. It stays when both are erased.
    pub fn commitment(&self) -> Vec<u8> {
        match (&self.salt, &self.commitment) {
            (Some(salt), _) => {
                Sha256::new().chain_update(salt.as_bytes()).chain_update(&self.payload).finalize().to_vec()
            }
            (None, kept) => kept.clone().unwrap_or_default(),
        }
    }

    /// The leaf: a JSON array without blanks, in this order. `metadata` and the commitment are hashes in base64, the
    /// time has microseconds.
    pub fn bytes(&self, tenant: &Tenant) -> Vec<u8> {
        serde_json::to_vec(&(
            "rosterhub.event.v1",
            tenant.as_str(),
            self.position,
            self.unit,
            &self.aggregate_type,
            &self.aggregate_id,
            self.sequence,
            &self.event_type,
            &self.event_version,
            self.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
            base64::encode(&Sha256::digest(&self.metadata)),
            base64::encode(&self.commitment()),
        ))
        .unwrap_or_default()
    }

    /// Its hash in the tree (RFC 6962, section 2.1: SHA-256 of a zero byte and the leaf).
    pub fn hash(&self, tenant: &Tenant) -> Hash {
        record_hash(&self.bytes(tenant))
    }

    pub fn is_erased(&self) -> bool {
        self.salt.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf() -> Leaf {
        Leaf {
            position: 7,
            unit: 6,
            aggregate_type: "user".into(),
            aggregate_id: "midori/u\"1".into(),
            sequence: 2,
            event_type: "Recorded".into(),
            event_version: "1.0".into(),
            recorded_at: "2026-04-07T00:00:00.001Z".parse().unwrap(),
            metadata: "{}".into(),
            payload: r#"{"type":"Recorded"}"#.into(),
            salt: Some(Uuid::nil()),
            commitment: None,
        }
    }

    /// The bytes are for good: every proof ever given rests on them.
    #[test]
    fn golden_leaf() {
        let tenant: Tenant = "midori".parse().unwrap();
        assert_eq!(
            String::from_utf8(leaf().bytes(&tenant)).unwrap(),
            r#"["rosterhub.event.v1","midori",7,6,"user","midori/u\"1",2,"Recorded","1.0","2026-04-07T00:00:00.001000Z","RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=","HrL4DIonJ8xr6JR49dwagXsxzNGXoSYkGTweyTPvXaA="]"#
        );
    }

    #[test]
    fn erasing_changes_no_leaf_and_all_else_does() {
        let tenant: Tenant = "midori".parse().unwrap();
        let leaf = leaf();
        let hash = leaf.hash(&tenant).0;
        let erased = Leaf { salt: None, commitment: Some(leaf.commitment()), payload: "{}".into(), ..leaf.clone() };
        assert_eq!(erased.hash(&tenant).0, hash);
        let changed = [
            Leaf { position: 8, ..leaf.clone() },
            Leaf { unit: 7, ..leaf.clone() },
            Leaf { aggregate_type: "org".into(), ..leaf.clone() },
            Leaf { aggregate_id: "midori/u".into(), ..leaf.clone() },
            Leaf { sequence: 3, ..leaf.clone() },
            Leaf { event_type: "Withdrawn".into(), ..leaf.clone() },
            Leaf { event_version: "1.1".into(), ..leaf.clone() },
            Leaf { recorded_at: leaf.recorded_at + chrono::TimeDelta::microseconds(1), ..leaf.clone() },
            Leaf { metadata: "{ }".into(), ..leaf.clone() },
            Leaf { payload: "{}".into(), ..leaf.clone() },
            Leaf { salt: Some(Uuid::max()), ..leaf.clone() },
        ];
        for (n, other) in changed.iter().enumerate() {
            assert_ne!(other.hash(&tenant).0, hash, "{n}");
        }
        assert_ne!(leaf.hash(&"aoba".parse().unwrap()).0, hash);
    }
}
