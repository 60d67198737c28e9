//! What else may repeat a person's data: cleared where the record is named, or where one of the texts stands.

use sqlx::PgConnection;

use crate::log::Tenant;
use crate::roster::EntityType;

/// Columns of free text: table, column, and what stands there afterwards.
const FREE: [(&str, &str, &str); 5] = [
    // Who received the data stays known: the ids in `access_log` and `access_people` are not texts of the person.
    ("access_requests", "query", "***"),
    ("import_errors", "value", "***"),
    ("import_jobs", "failure", "***"),
    ("import_jobs", "file_name", "***"),
    ("webhook_attempts", "excerpt", ""),
];

pub async fn everywhere(
    conn: &mut PgConnection,
    tenant: &Tenant,
    person: &str,
    texts: &[String],
    records: &[(EntityType, String)],
) -> Result<(), sqlx::Error> {
    for (table, column, cleared) in FREE {
        sqlx::query(&format!(
            "update {table} set {column} = $3
              where tenant = $1 and exists (select from unnest($2::text[]) t where strpos({column}, t) > 0)"
        ))
        .bind(tenant.as_str())
        .bind(texts)
        .bind(cleared)
        .execute(&mut *conn)
        .await?;
    }
    // Answers of receivers to messages about the person, whatever they say.
    sqlx::query(
        "update webhook_attempts a set excerpt = ''
           from webhook_deliveries d
          where d.tenant = $1 and d.record = 'user/' || $2 and a.tenant = $1 and a.endpoint = d.endpoint
            and a.sequence = d.sequence and a.excerpt <> ''",
    )
    .bind(tenant.as_str())
    .bind(person)
    .execute(&mut *conn)
    .await?;
    staged(conn, tenant, person, records).await
}

/// Rows of plans that wait for a decision, also those of records that are not in the log yet: they are not to bring the
/// person back, once approved.
async fn staged(
    conn: &mut PgConnection,
    tenant: &Tenant,
    person: &str,
    records: &[(EntityType, String)],
) -> Result<(), sqlx::Error> {
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select format('staging.%I', c.relname), replace(format('staging.%I', c.relname), 'rows_', 'plan_')
           from import_jobs j join pg_class c on c.relname = 'rows_' || replace(j.id::text, '-', '')
                                             and c.relnamespace = 'staging'::regnamespace
          where j.tenant = $1 and j.finished_at is null",
    )
    .bind(tenant.as_str())
    .fetch_all(&mut *conn)
    .await?;
    let (kinds, ids): (Vec<i16>, Vec<&str>) = records.iter().map(|(kind, id)| (*kind as i16, id.as_str())).unzip();
    for (rows, plan) in tables {
        for table in [rows, plan] {
            sqlx::query(&format!(
                "delete from {table} s
                  where s.owner = $3
                     or (s.entity, s.sourced_id) in (select * from unnest($1::smallint[], $2::text[]))"
            ))
            .bind(&kinds)
            .bind(&ids)
            .bind(person)
            .execute(&mut *conn)
            .await?;
        }
    }
    Ok(())
}
