//! Leaving out the rows with errors: they and what rests on them stay as they are in the roster.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::check::Checks;
use super::manifest::Mode;
use super::record::JobRecord;
use super::rules::Level;
use super::stage::{Staging, column, number, slots};
use crate::roster::EntityType;

/// What is left when the rows with errors have been left out.
#[derive(Debug, Default)]
pub struct Left {
    /// Errors listed, all in all.
    pub errors: i64,
    /// Some of them are none of a row, so that nothing can be applied.
    pub beyond_rows: bool,
    /// Rows left out, by file without `.csv`.
    pub rows: BTreeMap<&'static str, i64>,
}

/// Checks, leaves out what has errors, and checks again, until nothing more is found: a row that refers to a row left
/// out has an error as well. The `modes` become `Delta` for types of which nothing may be withdrawn as absent.
pub async fn leave_bad_rows(
    conn: &mut PgConnection,
    staging: &Staging,
    job: &JobRecord,
    level: Level,
    modes: &mut [(EntityType, Mode)],
    errors: i64,
) -> Result<Left, sqlx::Error> {
    let mut left = Left { errors, ..Left::default() };
    let mut seen = 0;
    loop {
        let files: Vec<String> = modes.iter().map(|m| level.file(m.0)).collect();
        left.beyond_rows = sqlx::query_scalar(
            "select exists (select from import_errors
                             where tenant = $1 and job = $2 and number > $3 and (line < 2 or file <> all($4)))",
        )
        .bind(job.tenant.as_str())
        .bind(job.id)
        .bind(seen)
        .bind(files)
        .fetch_one(&mut *conn)
        .await?;
        // Errors that are not listed do not say which rows they are of.
        left.beyond_rows |= left.errors > staging.most_errors;
        if left.beyond_rows {
            // The set is refused; what the checks find is listed all the same.
            if seen == 0 {
                let checks = Checks { staging, job, modes, unread: &[], good_rows: false, level };
                left.errors = checks.run(conn, errors).await?;
            }
            return Ok(left);
        }
        for (kind, _) in modes.iter() {
            reject(conn, staging, job, level, *kind, seen).await?;
        }
        left.rows = rejected(conn, staging, job, modes).await?;
        keep_absent(conn, staging, job, modes, &left.rows).await?;
        seen = left.errors;
        let checks = Checks { staging, job, modes, unread: &[], good_rows: true, level };
        left.errors = checks.run(conn, seen).await?;
        if left.errors == seen {
            return Ok(left);
        }
    }
}

/// Rejects the rows that errors after number `seen` name, and others of the same id: none of them can be trusted.
async fn reject(
    conn: &mut PgConnection,
    Staging { rows, .. }: &Staging,
    job: &JobRecord,
    level: Level,
    kind: EntityType,
    seen: i64,
) -> Result<(), sqlx::Error> {
    let entity = number(kind);
    let named = format!(
        "update {rows} r set record = null from import_errors e
          where e.tenant = $1 and e.job = $2 and e.number > $3 and e.file = $4
            and r.entity = {entity} and r.line = e.line and r.record is not null"
    );
    sqlx::query(&named)
        .bind(job.tenant.as_str())
        .bind(job.id)
        .bind(seen)
        .bind(level.file(kind))
        .execute(&mut *conn)
        .await?;
    let same = format!(
        "update {rows} r set record = null
          where r.entity = {entity} and r.record is not null
            and r.sourced_id in (select sourced_id from {rows} where entity = {entity} and record is null)"
    );
    sqlx::query(&same).execute(conn).await.map(drop)
}

/// Rows left out of each file that lacks some, also those whose id could not be read.
async fn rejected(
    conn: &mut PgConnection,
    Staging { rows, .. }: &Staging,
    job: &JobRecord,
    modes: &[(EntityType, Mode)],
) -> Result<BTreeMap<&'static str, i64>, sqlx::Error> {
    let mut found = BTreeMap::new();
    for (kind, _) in modes {
        let file = kind.entity().collection;
        let count: i64 = sqlx::query_scalar(&format!(
            "select count(*) from (
               select line from {rows} where entity = {} and record is null
               union
               select line from import_errors where tenant = $1 and job = $2 and file = $3) bad",
            number(*kind)
        ))
        .bind(job.tenant.as_str())
        .bind(job.id)
        .bind(format!("{file}.csv"))
        .fetch_one(&mut *conn)
        .await?;
        if count > 0 {
            found.insert(file, count);
        }
    }
    Ok(found)
}

/// Nothing is withdrawn as absent of a type that lacks rows, nor of a type that what stays refers to.
async fn keep_absent(
    conn: &mut PgConnection,
    staging: &Staging,
    job: &JobRecord,
    modes: &mut [(EntityType, Mode)],
    rejected: &BTreeMap<&'static str, i64>,
) -> Result<(), sqlx::Error> {
    let is_bulk = |modes: &[(EntityType, Mode)], kind| modes.contains(&(kind, Mode::Bulk));
    let keep = |modes: &mut [(EntityType, Mode)], kind| {
        modes.iter_mut().filter(|m| m.0 == kind).for_each(|m| m.1 = Mode::Delta);
    };
    let mut incomplete: Vec<EntityType> =
        modes.iter().map(|m| m.0).filter(|kind| rejected.contains_key(kind.entity().collection)).collect();
    let mut next = 0;
    while let Some(kind) = incomplete.get(next).copied() {
        next += 1;
        keep(modes, kind);
        // A user who stays keeps roles and profiles.
        let parts = [EntityType::Role, EntityType::UserProfile].into_iter().filter(|_| kind == EntityType::User);
        for part in parts.filter(|part| is_bulk(modes, *part)).collect::<Vec<_>>() {
            keep(modes, part);
            incomplete.push(part);
        }
        for (slot, target, _) in slots().into_iter().filter(|(slot, ..)| slot.kind == kind) {
            let Some(column) = column(slot).filter(|_| is_bulk(modes, target)) else { continue };
            if refers_to_absent(conn, staging, job, kind, &column, target).await? {
                keep(modes, target);
                incomplete.push(target);
            }
        }
    }
    Ok(())
}

/// Whether a record that stays as it is refers to one that would be withdrawn as absent.
async fn refers_to_absent(
    conn: &mut PgConnection,
    Staging { rows, .. }: &Staging,
    job: &JobRecord,
    kind: EntityType,
    column: &str,
    target: EntityType,
) -> Result<bool, sqlx::Error> {
    let named = match column.ends_with('s') {
        true => format!("lateral unnest(c.{column})"),
        false => format!("lateral (select c.{column})"),
    };
    sqlx::query_scalar(&format!(
        "select exists (
           select from {table} c, {named} as named(id)
            where c.tenant = $1 and c.status = 'active'
              and not exists (select from {rows} s where s.entity = {kind} and s.sourced_id = c.sourced_id
                                 and s.record is not null)
              and not exists (select from {rows} t where t.entity = {theirs} and t.sourced_id = named.id)
              and (select t.status from {targets} t
                    where t.tenant = $1 and t.sourced_id = named.id limit 1) = 'active')",
        table = kind.entity().table,
        targets = target.entity().table,
        kind = number(kind),
        theirs = number(target),
    ))
    .bind(job.tenant.as_str())
    .fetch_one(conn)
    .await
}
