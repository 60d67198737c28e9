//! What lanes read of the log and of the notices.

use std::collections::HashMap;
use std::sync::Arc;

use super::filter::person;
use super::message::{Content, Message};
use crate::feed::{Change, Detail, Filter, read};
use crate::log::{Log, Tenant};
use crate::notice::{self, Notice};

/// Notices read at a time.
pub const NOTICES: usize = 100;

pub async fn notices(log: &Log, tenant: &Tenant, after: i64) -> Result<Vec<Notice>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    notice::read(&mut conn, tenant, after, NOTICES as i64).await
}

/// What a message tells, read again: none when it is not there, which does not happen.
pub async fn read_again(
    log: &Log,
    tenant: &Tenant,
    message: &Message,
    detail: Detail,
) -> Result<Option<Content>, sqlx::Error> {
    if let Some(number) = message.notice {
        let mut conn = log.db().acquire(tenant).await?;
        let found = notice::read(&mut conn, tenant, number - 1, 1).await?.pop();
        return Ok(found.map(|notice| Content::Notice(Arc::new(notice))));
    }
    let range = (message.position - 1, message.position);
    let page = read::read(log, tenant, &Filter::everything(), detail, range, 1).await?;
    Ok(page.changes.into_iter().next().map(|change| Content::Change(Arc::new(change))))
}

/// Last position of the import that is this unit of work; none when no notice tells of it, as of imports before there
/// were notices.
pub async fn end_of_import(log: &Log, tenant: &Tenant, unit: i64) -> Result<Option<i64>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    sqlx::query_scalar(
        "select e.position
           from (select position from notices
                  where tenant = $1 and position >= $2 and kind in ('import.applied', 'import.reverted')
                  order by position limit 1) n
           join events e on e.tenant = $1 and e.position = n.position
          where e.unit = $2",
    )
    .bind(tenant.as_str())
    .bind(unit)
    .fetch_optional(&mut *conn)
    .await
}

/// The active roles of the people that changes are of, as they stand now.
pub async fn roles(
    log: &Log,
    tenant: &Tenant,
    changes: &[Arc<Change>],
) -> Result<HashMap<String, Vec<String>>, sqlx::Error> {
    let people: Vec<&str> = changes.iter().filter_map(|change| person(change)).collect();
    if people.is_empty() {
        return Ok(HashMap::new());
    }
    let mut conn = log.db().acquire(tenant).await?;
    let rows: Vec<(String, Vec<String>)> = sqlx::query_as(
        "select user_sourced_id, array_agg(distinct role) from roles
          where tenant = $1 and user_sourced_id = any($2) and status = 'active' group by user_sourced_id",
    )
    .bind(tenant.as_str())
    .bind(&people)
    .fetch_all(&mut *conn)
    .await?;
    Ok(rows.into_iter().collect())
}
