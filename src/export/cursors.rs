//! Named cursors: the position up to which a client has taken the roster. It moves when the client says so, never by
//! taking a set.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::log::{Log, Tenant};

/// A cursor of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ExportCursor", deny_unknown_fields)]
pub struct Cursor {
    pub name: String,
    /// Log position of the last set acknowledged.
    pub position: i64,
    /// When it was moved last.
    pub updated_at: DateTime<Utc>,
}

/// Why a cursor is not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("the position lies beyond the head of the log")]
    BeyondHead,
    #[error("the cursor stands at {0}; it moves back only when asked to")]
    Back(i64),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// The cursors of one client. Names are checked before.
pub struct Cursors<'a> {
    pub log: &'a Log,
    pub tenant: &'a Tenant,
    pub client: &'a str,
}

impl Cursors<'_> {
    pub async fn list(&self) -> Result<Vec<Cursor>, sqlx::Error> {
        let mut conn = self.log.db().acquire(self.tenant).await?;
        sqlx::query_as(
            "select name, position, updated_at from export_cursors where tenant = $1 and client = $2 order by name",
        )
        .bind(self.tenant.as_str())
        .bind(self.client)
        .fetch_all(&mut *conn)
        .await
    }

    pub async fn find(&self, name: &str) -> Result<Option<Cursor>, sqlx::Error> {
        let mut conn = self.log.db().acquire(self.tenant).await?;
        sqlx::query_as(
            "select name, position, updated_at from export_cursors where tenant = $1 and client = $2 and name = $3",
        )
        .bind(self.tenant.as_str())
        .bind(self.client)
        .bind(name)
        .fetch_optional(&mut *conn)
        .await
    }

    /// Moves a cursor to a position, and makes it if there is none. The same again changes nothing.
    pub async fn acknowledge(&self, name: &str, position: i64, back: bool) -> Result<Cursor, MoveError> {
        if self.log.head(self.tenant).await?.is_none_or(|head| position > head) {
            return Err(MoveError::BeyondHead);
        }
        let mut conn = self.log.db().acquire(self.tenant).await?;
        let moved: Option<Cursor> = sqlx::query_as(
            "insert into export_cursors as c (tenant, client, name, position) values ($1, $2, $3, $4)
             on conflict (tenant, client, name) do update
                set position = excluded.position,
                    updated_at = case when c.position = excluded.position then c.updated_at else now() end
              where $5 or c.position <= excluded.position
             returning name, position, updated_at",
        )
        .bind(self.tenant.as_str())
        .bind(self.client)
        .bind(name)
        .bind(position)
        .bind(back)
        .fetch_optional(&mut *conn)
        .await?;
        drop(conn);
        match moved {
            Some(cursor) => Ok(cursor),
            None => Err(MoveError::Back(self.find(name).await?.map_or(position, |cursor| cursor.position))),
        }
    }

    /// False: there is none of this name.
    pub async fn delete(&self, name: &str) -> Result<bool, sqlx::Error> {
        let mut conn = self.log.db().acquire(self.tenant).await?;
        let deleted = sqlx::query("delete from export_cursors where tenant = $1 and client = $2 and name = $3")
            .bind(self.tenant.as_str())
            .bind(self.client)
            .bind(name)
            .execute(&mut *conn)
            .await?;
        Ok(deleted.rows_affected() > 0)
    }
}
