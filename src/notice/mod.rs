//! Notices: events about the hub itself, told in the transaction that makes them so. They stand beside the log, since
//! positions count changes of the roster alone.

pub mod data;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::auth::Scope;
use crate::log::Tenant;

/// What a notice tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    ImportPlanned,
    ImportHeld,
    ImportApplied,
    ImportFailed,
    ImportReverted,
    ExportReady,
    EndpointFailing,
    EndpointDisabled,
    ClientRevoked,
    AuditFailed,
}

/// Name, and what it says. In the order of the variants.
static KINDS: [(&str, &str); 10] = [
    ("import.planned", "An import was planned only, as asked for; its plan waits for a decision."),
    ("import.held", "An import waits for a decision: its plan passes thresholds, or records changed meanwhile."),
    ("import.applied", "An import was applied; what it changed is readable."),
    ("import.failed", "An import ended and changed nothing: it failed, was cancelled, or its plan was discarded."),
    ("import.reverted", "An import was taken back by another one, which is applied."),
    ("export.ready", "A set was taken out, to its end."),
    ("endpoint.failing", "Messages to an endpoint of webhooks fail."),
    ("endpoint.disabled", "An endpoint of webhooks gets no messages any more."),
    ("client.revoked", "A client may not call any more."),
    ("audit.failed", "The daily checks found that the log or a read model is not what it was or should be."),
];

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::ImportPlanned,
        Self::ImportHeld,
        Self::ImportApplied,
        Self::ImportFailed,
        Self::ImportReverted,
        Self::ExportReady,
        Self::EndpointFailing,
        Self::EndpointDisabled,
        Self::ClientRevoked,
        Self::AuditFailed,
    ];

    /// Stable name, for example `import.applied`.
    pub fn name(self) -> &'static str {
        KINDS[self as usize].0
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The scope that a client needs to be told of it.
    pub fn scope(self) -> Scope {
        match self {
            Self::ImportPlanned
            | Self::ImportHeld
            | Self::ImportApplied
            | Self::ImportFailed
            | Self::ImportReverted => Scope::Import,
            Self::ExportReady => Scope::Export,
            Self::EndpointFailing | Self::EndpointDisabled => Scope::Webhooks,
            Self::ClientRevoked => Scope::Admin,
            Self::AuditFailed => Scope::Audit,
        }
    }

    /// What it says, in a sentence.
    pub fn doc(self) -> &'static str {
        KINDS[self as usize].1
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A notice as it stands.
#[derive(Debug)]
pub struct Notice {
    /// 1, 2, 3, … per tenant, no gaps, in commit order.
    pub number: i64,
    /// Head of the tenant's log when it was told. Never less than that of the notice before; events beyond it may be
    /// readable before the notice is.
    pub position: i64,
    pub kind: Kind,
    pub recorded_at: DateTime<Utc>,
    pub data: Box<RawValue>,
}

/// Tells of something in the transaction that makes it so, as the last statement before its commit: nobody else tells
/// of this tenant until then. `position` of the notice: the head as that transaction sees it. Gives its number.
pub async fn tell(
    conn: &mut PgConnection,
    tenant: &Tenant,
    kind: Kind,
    data: &impl Serialize,
) -> Result<i64, sqlx::Error> {
    let number: i64 = sqlx::query_scalar(
        "insert into notice_heads as h (tenant, number) values ($1, 1)
         on conflict (tenant) do update set number = h.number + 1 returning number",
    )
    .bind(tenant.as_str())
    .fetch_one(&mut *conn)
    .await?;
    // A statement of its own: it sees what was committed while the one above waited.
    sqlx::query(
        "insert into notices (tenant, number, position, kind, data, recorded_at)
         select $1, $2, head, $3, $4, date_trunc('milliseconds', clock_timestamp()) from tenants where tenant = $1",
    )
    .bind(tenant.as_str())
    .bind(number)
    .bind(kind.name())
    .bind(Json(data))
    .execute(conn)
    .await?;
    Ok(number)
}

/// The notices after number `after`, in order, at most `limit`.
pub async fn read(
    conn: &mut PgConnection,
    tenant: &Tenant,
    after: i64,
    limit: i64,
) -> Result<Vec<Notice>, sqlx::Error> {
    type Row = (i64, i64, String, DateTime<Utc>, Json<Box<RawValue>>);
    let rows: Vec<Row> = sqlx::query_as(
        "select number, position, kind, recorded_at, data from notices
          where tenant = $1 and number > $2 order by number limit $3",
    )
    .bind(tenant.as_str())
    .bind(after)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let notice = |(number, position, kind, recorded_at, Json(data)): Row| {
        let kind = Kind::from_name(&kind).ok_or_else(|| {
            let error = format!("the notice {kind} is of a newer version of the program");
            sqlx::Error::ColumnDecode { index: "kind".to_owned(), source: error.into() }
        })?;
        Ok(Notice { number, position, kind, recorded_at, data })
    };
    rows.into_iter().map(notice).collect()
}

/// Number of the last notice; 0 when there is none. Needs no tenant to be bound.
pub async fn head(conn: &mut PgConnection, tenant: &Tenant) -> Result<i64, sqlx::Error> {
    let number: Option<i64> = sqlx::query_scalar("select number from notice_heads where tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(number.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_the_variants() {
        for (n, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, n);
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::ImportReverted.name(), "import.reverted");
        assert_eq!(Kind::ClientRevoked.name(), "client.revoked");
        assert_eq!(Kind::from_name("user.changed"), None);
    }
}
