//! Subject access: everything that is held about one person, in one archive (開示請求, GDPR art. 15).

use std::io::{Seek, Write};

use serde_json::{Value, json};
use sqlx::PgConnection;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::access::search::{Wanted, search};
use crate::erasure::person::{NAMING, Person};
use crate::log::{Log, Tenant};
use crate::roster::EntityType;

/// Entries of the access log that are read at a time.
const ENTRIES: i64 = 1_000;

/// What the archive says of itself.
const README: &str = "\
ABOUT THIS ARCHIVE / この資料について

records.json     the person's records as they stand / 現在のレコード
history.jsonl    every event about the person, with its content, time and cause / すべての履歴（内容・日時・経緯）
named_by.json    records of others that name the person / この人を参照する他のレコード
deliveries.jsonl messages about the person that were sent to subscribers / 購読者へ送られた通知
access.jsonl     who has received the person's data, when; `possible`: too many people to list / 提供先と日時の記録
erasures.jsonl   erasures and legal holds / 消去と保全

All files are UTF-8. Times are UTC. Log positions count the board's changes: 1, 2, 3, ….
";

#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    #[error("there is no user of this sourcedId")]
    Unknown,
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Zip(#[from] zip::result::ZipError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Writes the archive, as everything stood at one moment.
pub async fn archive(log: &Log, tenant: &Tenant, person: &str, out: impl Write + Seek) -> Result<i64, SubjectError> {
    let mut tx = log.db().snapshot(tenant).await?;
    let head: i64 = sqlx::query_scalar("select head from tenants where tenant = $1")
        .bind(tenant.as_str())
        .fetch_one(&mut *tx)
        .await?;
    let found = Person::find(&mut tx, tenant, person).await?;
    if found.last(EntityType::User, person).is_none() {
        return Err(SubjectError::Unknown);
    }
    let mut zip = ZipWriter::new(out);
    let mut file = |name: &str, text: String| -> Result<(), SubjectError> {
        zip.start_file(name, SimpleFileOptions::default())?;
        zip.write_all(text.as_bytes())?;
        Ok(())
    };
    file("README.txt", README.to_owned())?;
    let about = json!({ "person": person, "tenant": tenant.as_str(), "position": head, "records": records(&mut tx, tenant, person).await? });
    file("records.json", serde_json::to_string_pretty(&about)?)?;
    file("history.jsonl", history(&mut tx, tenant, &found).await?)?;
    file("named_by.json", serde_json::to_string_pretty(&named_by(&mut tx, tenant, person).await?)?)?;
    file("access.jsonl", access(&mut tx, tenant, person).await?)?;
    file("deliveries.jsonl", lines(&mut tx, DELIVERIES, tenant, person).await?)?;
    file("erasures.jsonl", lines(&mut tx, ERASURES, tenant, person).await?)?;
    zip.finish()?;
    Ok(head)
}

/// Documents as clients see them, without addresses.
async fn records(conn: &mut PgConnection, tenant: &Tenant, person: &str) -> Result<Vec<Value>, SubjectError> {
    let mut all = Vec::new();
    for kind in [EntityType::User, EntityType::Demographics] {
        all.extend(documents(conn, kind, "sourced_id", tenant, person).await?);
    }
    for kind in NAMING {
        all.extend(documents(conn, kind, "user_sourced_id", tenant, person).await?);
    }
    Ok(all)
}

async fn documents(
    conn: &mut PgConnection,
    kind: EntityType,
    column: &str,
    tenant: &Tenant,
    person: &str,
) -> Result<Vec<Value>, SubjectError> {
    let texts: Vec<String> = sqlx::query_scalar(&format!(
        "select doc from {} where tenant = $1 and {column} = $2 order by sourced_id",
        kind.entity().table
    ))
    .bind(tenant.as_str())
    .bind(person)
    .fetch_all(conn)
    .await?;
    texts
        .into_iter()
        .map(|text| {
            // Parts of a user are kept as the member that the user shows.
            let document = serde_json::from_str(&text).unwrap_or(Value::String(text));
            Ok(json!({ "type": kind.name(), "record": document }))
        })
        .collect()
}

/// The person's own events, one a line.
async fn history(conn: &mut PgConnection, tenant: &Tenant, person: &Person) -> Result<String, SubjectError> {
    let events: Vec<(String,)> = sqlx::query_as(
        "select json_build_object('position', e.position, 'recordedAt', e.recorded_at, 'type', e.aggregate_type,
                  'sourcedId', substr(e.aggregate_id, length($1) + 2), 'event', e.event_type, 'cause', e.metadata,
                  'content', e.payload)::text
           from events e where e.tenant = $1 and e.position = any($2) order by e.position",
    )
    .bind(tenant.as_str())
    .bind(person.own_positions())
    .fetch_all(conn)
    .await?;
    Ok(events.into_iter().map(|(line,)| line.replace('\n', " ") + "\n").collect())
}

/// Users that name the person, as pupils name guardians.
async fn named_by(conn: &mut PgConnection, tenant: &Tenant, person: &str) -> Result<Value, SubjectError> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select sourced_id from users where tenant = $1 and agent_sourced_ids @> array[$2] order by sourced_id",
    )
    .bind(tenant.as_str())
    .bind(person)
    .fetch_all(conn)
    .await?;
    Ok(json!({ "users": ids, "as": "agents" }))
}

/// Who has received the person's data: the whole access log, as far as it is kept.
async fn access(conn: &mut PgConnection, tenant: &Tenant, person: &str) -> Result<String, SubjectError> {
    let mut wanted = Wanted { person: Some(person.to_owned()), ..Wanted::default() };
    let mut text = String::new();
    loop {
        let mut found = search(conn, tenant, &wanted, ENTRIES).await?;
        wanted.after = found.last().map(|entry| entry.id);
        let whole = (found.len() as i64) < ENTRIES;
        for entry in &mut found {
            entry.people.retain(|id| id == person); // others are none of this person's business
            text.push_str(&serde_json::to_string(entry)?);
            text.push('\n');
        }
        if whole {
            return Ok(text);
        }
    }
}

const DELIVERIES: &str =
    "select json_build_object('message', d.message, 'type', d.type, 'endpoint', e.url, 'client', e.client,
         'position', d.position, 'state', d.state, 'at', d.finished_at)::text
    from webhook_deliveries d join webhook_endpoints e on e.tenant = d.tenant and e.id = d.endpoint
   where d.tenant = $1 and d.record = 'user/' || $2 order by d.created_at, d.sequence";

const ERASURES: &str = "select json_build_object('kind', kind, 'id', id, 'reference', reference, 'at', at, 'ended', ended)::text
    from (select 'erasure' as kind, id, request as reference, created_at as at, lifted_at as ended
            from erasures where tenant = $1 and sourced_id = $2
          union all
          select 'legalHold', id, reason, created_at, released_at from legal_holds where tenant = $1 and sourced_id = $2) each
   order by at";

/// One JSON object a line.
async fn lines(conn: &mut PgConnection, sql: &str, tenant: &Tenant, person: &str) -> Result<String, SubjectError> {
    let found: Vec<String> = sqlx::query_scalar(sql).bind(tenant.as_str()).bind(person).fetch_all(conn).await?;
    Ok(found.into_iter().map(|line| line + "\n").collect())
}
