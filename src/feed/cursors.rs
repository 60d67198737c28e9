//! Named cursors of the feed: a filter, and the position up to which a client has taken it. It moves when the client
//! says so, never by reading.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::item::milliseconds;
use super::{Filter, Kind};
use crate::export::cursors::MoveError;
use crate::log::{Log, Tenant};
use crate::roster::EntityType;

/// Cursors that a client may have.
pub const MOST: i64 = 100;

/// A cursor of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FeedCursor", deny_unknown_fields)]
pub struct Cursor {
    pub name: String,
    /// Record types that it is told of; none: all.
    pub types: Vec<String>,
    /// Kinds of changes that it is told of; none: all.
    pub kinds: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub school: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sourced_id: Option<String>,
    /// The records before and after are shown.
    #[sqlx(rename = "with_values")]
    pub values: bool,
    /// Log position acknowledged last, or at which it began.
    pub position: i64,
    /// Positions from there to the head of the log, whether its filter passes what stands there or not.
    pub lag: i64,
    /// When it was acknowledged last.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_milliseconds")]
    pub acknowledged_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "milliseconds")]
    pub created_at: DateTime<Utc>,
}

fn optional_milliseconds<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// What a cursor is made with, or made anew.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    pub types: Vec<EntityType>,
    pub kinds: Vec<Kind>,
    pub school: Option<String>,
    pub sourced_id: Option<String>,
    pub values: bool,
    /// Without it, a new one begins at the head of the log and an old one stays where it is.
    pub position: Option<i64>,
}

/// The cursors of one client. Names are checked before.
pub struct Cursors<'a> {
    pub log: &'a Log,
    pub tenant: &'a Tenant,
    pub client: &'a str,
}

impl Cursor {
    /// What it passes to a client that may see demographics, or may not.
    pub fn filter(&self, demographics: bool) -> Result<Filter, sqlx::Error> {
        let types: Option<Vec<_>> = self.types.iter().map(|name| EntityType::from_name(name)).collect();
        let kinds: Option<Vec<_>> = self.kinds.iter().map(|word| Kind::from_word(word)).collect();
        // A name that is unknown here must not make the filter pass more.
        let (Some(types), Some(kinds)) = (types, kinds) else {
            return Err(sqlx::Error::Decode("a cursor names an unknown type or kind".into()));
        };
        let filter = Filter::new(&types, self.school.clone(), self.sourced_id.clone(), demographics);
        Ok(filter.of_kinds(&kinds))
    }
}

impl Cursors<'_> {
    pub async fn list(&self) -> Result<Vec<Cursor>, sqlx::Error> {
        self.read(None).await
    }

    pub async fn find(&self, name: &str) -> Result<Option<Cursor>, sqlx::Error> {
        Ok(self.read(Some(name)).await?.pop())
    }

    async fn read(&self, name: Option<&str>) -> Result<Vec<Cursor>, sqlx::Error> {
        let mut conn = self.log.db().acquire(self.tenant).await?;
        sqlx::query_as(
            "select c.name, c.types, c.kinds, c.school, c.sourced_id, c.with_values, c.position,
                    t.head - c.position as lag, c.acknowledged_at, c.created_at
               from feed_cursors c join tenants t on t.tenant = c.tenant
              where c.tenant = $1 and c.client = $2 and ($3::text is null or c.name = $3)
              order by c.name",
        )
        .bind(self.tenant.as_str())
        .bind(self.client)
        .bind(name)
        .fetch_all(&mut *conn)
        .await
    }

    /// Makes a cursor, or gives an old one another filter: true, it is new. `None`: there are [`MOST`] already. Two
    /// requests at the same moment may pass the bound by one.
    pub async fn put(&self, name: &str, definition: &Definition) -> Result<Option<bool>, sqlx::Error> {
        let mut conn = self.log.db().acquire(self.tenant).await?;
        sqlx::query_scalar(
            "insert into feed_cursors as c
               (tenant, client, name, types, kinds, school, sourced_id, with_values, position)
             select t.tenant, $2, $3, $4, $5, $6, $7, $8, coalesce($9, t.head)
               from tenants t
              where t.tenant = $1
                and (exists (select from feed_cursors where tenant = $1 and client = $2 and name = $3)
                     or (select count(*) from feed_cursors where tenant = $1 and client = $2) < $10)
             on conflict (tenant, client, name) do update
                set types = excluded.types, kinds = excluded.kinds, school = excluded.school,
                    sourced_id = excluded.sourced_id, with_values = excluded.with_values,
                    position = coalesce($9, c.position)
             returning xmax = 0",
        )
        .bind(self.tenant.as_str())
        .bind(self.client)
        .bind(name)
        .bind(definition.types.iter().map(|kind| kind.name()).collect::<Vec<_>>())
        .bind(definition.kinds.iter().map(|kind| kind.word()).collect::<Vec<_>>())
        .bind(&definition.school)
        .bind(&definition.sourced_id)
        .bind(definition.values)
        .bind(definition.position)
        .bind(MOST)
        .fetch_optional(&mut *conn)
        .await
    }

    /// Moves a cursor to a position. The same again changes nothing. False: there is none of this name.
    pub async fn acknowledge(&self, name: &str, position: i64, back: bool) -> Result<bool, MoveError> {
        if self.log.head(self.tenant).await?.is_none_or(|head| position > head) {
            return Err(MoveError::BeyondHead);
        }
        let mut conn = self.log.db().acquire(self.tenant).await?;
        let moved = sqlx::query(
            "update feed_cursors
                set position = $4,
                    acknowledged_at = case when position = $4 then coalesce(acknowledged_at, now()) else now() end
              where tenant = $1 and client = $2 and name = $3 and ($5 or position <= $4)",
        )
        .bind(self.tenant.as_str())
        .bind(self.client)
        .bind(name)
        .bind(position)
        .bind(back)
        .execute(&mut *conn)
        .await?;
        drop(conn);
        if moved.rows_affected() > 0 {
            return Ok(true);
        }
        match self.find(name).await? {
            Some(cursor) => Err(MoveError::Back(cursor.position)),
            None => Ok(false),
        }
    }

    /// False: there is none of this name.
    pub async fn delete(&self, name: &str) -> Result<bool, sqlx::Error> {
        let mut conn = self.log.db().acquire(self.tenant).await?;
        let deleted = sqlx::query("delete from feed_cursors where tenant = $1 and client = $2 and name = $3")
            .bind(self.tenant.as_str())
            .bind(self.client)
            .bind(name)
            .execute(&mut *conn)
            .await?;
        Ok(deleted.rows_affected() > 0)
    }
}
