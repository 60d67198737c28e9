//! An import from start to end, and the record that is kept of it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use sqlx::types::Json;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::apply::apply;
use super::check::Checks;
use super::decode::{Decoded, decode};
use super::package::{Mode, Package, Stopped};
use super::plan::{ChangeCounts, Changes, plan};
use super::stage::{Stager, Staging, write_errors};
use crate::command::CommandError;
use crate::log::{AppendError, Log, Tenant};
use crate::roster::EntityType;

/// The states of an import, in their order; the last two are its ends.
pub const STATES: [&str; 6] = ["queued", "reading", "planning", "applying", "completed", "failed"];

/// What is kept of an import.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Import", deny_unknown_fields)]
pub struct Job {
    pub id: Uuid,
    /// How far it is.
    #[schemars(extend("enum" = STATES))]
    pub state: String,
    pub file_name: String,
    pub bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edition: Option<String>,
    pub client: String,
    /// Rows read per file; null for files of services that are not read yet.
    #[schemars(with = "BTreeMap<String, Option<u64>>")]
    pub rows: Json<serde_json::Value>,
    /// Per entity: created, changed, restored, withdrawn, unchanged. What was done, or would have been.
    #[schemars(with = "BTreeMap<String, Changes>")]
    pub changes: Json<serde_json::Value>,
    /// Seconds per phase.
    #[schemars(with = "BTreeMap<String, f64>")]
    pub phases: Json<serde_json::Value>,
    pub errors: i64,
    /// Why it failed, when not for errors in the set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Log position of the roster with the import applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    pub created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<DateTime<Utc>>,
}

/// An error as it is kept.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct JobError {
    pub number: i64,
    pub file: String,
    pub line: i64,
    pub column: String,
    pub code: String,
    pub value: String,
}

const JOB_COLUMNS: &str = "id, state, file_name, bytes, edition, client, rows, changes, phases, errors, failure, \
                           position, created_at, finished_at";

/// How far an import is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub state: &'static str,
    /// Rows read or events appended.
    pub done: u64,
    /// Out of, when known.
    pub total: Option<u64>,
}

/// What was handed in.
pub struct Upload {
    pub path: PathBuf,
    pub file_name: String,
    pub client: String,
}

/// An import that has been accepted and holds its place: no one else will touch its job while it lives.
pub struct Import {
    log: Log,
    tenant: Tenant,
    pub id: Uuid,
    upload: Upload,
    staging: Staging,
    conn: PoolConnection<sqlx::Postgres>,
    progress: watch::Sender<Progress>,
    phases: BTreeMap<&'static str, f64>,
}

/// Why an import came to nothing.
enum Failure {
    /// The set has errors, which are listed.
    Errors,
    Other(CommandError),
}

impl<E: Into<CommandError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl From<sqlx::Error> for CommandError {
    fn from(error: sqlx::Error) -> Self {
        AppendError::from(error).into()
    }
}

impl Import {
    /// Enters the job. The connection's lock tells that the job is alive.
    pub async fn accept(log: &Log, tenant: &Tenant, upload: Upload) -> Result<Self, CommandError> {
        if log.head(tenant).await?.is_none() {
            return Err(AppendError::UnknownTenant(tenant.clone()).into());
        }
        let id = Uuid::now_v7();
        let mut conn = log.db().acquire(tenant).await?;
        conn.close_on_drop();
        sqlx::query("select pg_advisory_lock($1)").bind(lock_key(id)).execute(&mut *conn).await?;
        let bytes = std::fs::metadata(&upload.path).map_or(0, |m| m.len() as i64);
        sqlx::query(
            "insert into import_jobs (tenant, id, state, file_name, bytes, client) values ($1, $2, 'queued', $3, $4, $5)",
        )
        .bind(tenant.as_str())
        .bind(id)
        .bind(&upload.file_name)
        .bind(bytes)
        .bind(&upload.client)
        .execute(&mut *conn)
        .await?;
        Ok(Self {
            log: log.clone(),
            tenant: tenant.clone(),
            id,
            upload,
            staging: Staging::of(id),
            conn,
            progress: watch::Sender::default(),
            phases: BTreeMap::new(),
        })
    }

    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Reads, checks, plans and applies. The outcome stands in the job.
    pub async fn run(mut self) -> Result<Job, CommandError> {
        let outcome = self.phases().await;
        let dropped = self.staging.drop(&mut self.conn).await;
        if let Err(failure) = outcome {
            let text = match &failure {
                Failure::Errors => None,
                Failure::Other(error) => Some(error.to_string()),
            };
            // The connection may be what failed; another one may serve.
            let mut conn = self.log.db().acquire(&self.tenant).await?;
            if dropped.is_err() {
                self.staging.drop(&mut conn).await?;
            }
            let phases = Json(&self.phases);
            fail(&mut conn, &self.tenant, self.id, text.as_deref(), Some(phases)).await?;
        } else if let Err(error) = dropped {
            tracing::warn!(%error, job = %self.id, "staging tables are left behind");
        }
        let job = find(&self.log, &self.tenant, self.id).await?;
        job.ok_or_else(|| CommandError::Internal("the job is gone".into()))
    }

    async fn phases(&mut self) -> Result<(), Failure> {
        let mut clock = Instant::now();
        let mut lap = |phases: &mut BTreeMap<&'static str, f64>, name| {
            phases.insert(name, (clock.elapsed().as_secs_f64() * 1e3).round() / 1e3);
            clock = Instant::now();
        };
        self.state("reading").await?;
        self.staging.create(&mut self.conn).await?;
        let (modes, mut errors) = self.read().await?;
        lap(&mut self.phases, "read");

        self.state("planning").await?;
        self.staging.index(&mut self.conn).await?;
        let planned_at = self.log.head(&self.tenant).await?;
        let found = checks_of(&self.staging, &self.tenant, &modes).run(&mut self.conn).await?;
        errors = write_errors(&mut self.conn, &self.tenant, self.id, errors, &found).await?;
        lap(&mut self.phases, "check");
        if errors > 0 {
            return self.refuse(errors).await;
        }
        let mut counts = plan(&mut self.conn, &self.staging, &self.tenant, &modes).await?;
        self.count(&counts).await?;
        lap(&mut self.phases, "plan");

        self.state("applying").await?;
        let mut tx = self.log.begin(&self.tenant).await?;
        if Some(tx.head()) != planned_at {
            // The roster moved: what the set refers to and what it changes is looked at again, now under the lock.
            let found = checks_of(&self.staging, &self.tenant, &modes).run(&mut self.conn).await?;
            if !found.is_empty() {
                let errors = write_errors(&mut self.conn, &self.tenant, self.id, 0, &found).await?;
                return self.refuse(errors).await;
            }
            counts = plan(&mut self.conn, &self.staging, &self.tenant, &modes).await?;
            self.count(&counts).await?;
        }
        let total = counts.values().map(|c| c.created + c.changed + c.restored + c.withdrawn).sum::<i64>();
        let progress = self.progress.clone();
        let (staging, client) = (&self.staging, &self.upload.client);
        apply(&mut self.conn, &mut tx, staging, &self.tenant, self.id, client, |done| {
            progress.send_replace(Progress { state: "applying", done, total: Some(total as u64) });
        })
        .await?;
        lap(&mut self.phases, "apply");
        self.complete(tx).await?;
        Ok(())
    }

    async fn refuse(&mut self, errors: i64) -> Result<(), Failure> {
        sqlx::query("update import_jobs set errors = $3 where tenant = $1 and id = $2")
            .bind(self.tenant.as_str())
            .bind(self.id)
            .bind(errors)
            .execute(&mut *self.conn)
            .await?;
        Err(Failure::Errors)
    }

    /// The job is completed in the very transaction that makes its events visible.
    async fn complete(&self, mut tx: crate::log::append::AppendTransaction) -> Result<(), sqlx::Error> {
        let head = tx.head();
        sqlx::query(
            "update import_jobs set state = 'completed', position = $3, phases = $4, finished_at = now()
              where tenant = $1 and id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(head)
        .bind(Json(&self.phases))
        .execute(&mut **tx.sql())
        .await?;
        tx.commit().await.map(drop)
    }

    /// Decodes in a thread of its own; stages what comes. Gives the files' modes and the number of errors.
    async fn read(&mut self) -> Result<(Vec<(EntityType, Mode)>, i64), Failure> {
        let (items, mut received) = mpsc::channel::<Vec<Decoded>>(4);
        let path = self.upload.path.clone();
        let reader = tokio::task::spawn_blocking(move || read_package(&path, items));
        let mut stager = Stager::new(&self.staging, &self.tenant, self.id, &mut self.conn);
        let mut rows: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut done = 0;
        while let Some(items) = received.recv().await {
            for item in items {
                match item {
                    Decoded::Row(row) => {
                        *rows.entry(row.kind.entity().collection).or_default() += 1;
                        done += 1;
                        stager.row(&row).await?;
                    }
                    Decoded::Reference(slot, id) => stager.reference(slot, &id).await?,
                    Decoded::Error(error) => stager.error(error).await?,
                }
            }
            self.progress.send_replace(Progress { state: "reading", done, total: None });
        }
        let errors = stager.finish().await?;
        let read = reader.await.map_err(|e| CommandError::Internal(e.to_string()))?;
        let mut rows: serde_json::Map<String, serde_json::Value> =
            rows.into_iter().map(|(file, n)| (file.to_owned(), n.into())).collect();
        rows.extend(read.not_read.into_iter().map(|file| (file, serde_json::Value::Null)));
        sqlx::query(
            "update import_jobs set edition = $3, rows = $4, errors = $5, sha256 = $6 where tenant = $1 and id = $2",
        )
        .bind(self.tenant.as_str())
        .bind(self.id)
        .bind(read.edition)
        .bind(Json(rows))
        .bind(errors)
        .bind(read.sha256)
        .execute(&mut *self.conn)
        .await?;
        Ok((read.modes, errors))
    }

    async fn state(&mut self, state: &'static str) -> Result<(), sqlx::Error> {
        self.progress.send_replace(Progress { state, ..Progress::default() });
        sqlx::query("update import_jobs set state = $3 where tenant = $1 and id = $2")
            .bind(self.tenant.as_str())
            .bind(self.id)
            .bind(state)
            .execute(&mut *self.conn)
            .await
            .map(drop)
    }

    async fn count(&mut self, counts: &ChangeCounts) -> Result<(), sqlx::Error> {
        sqlx::query("update import_jobs set changes = $3 where tenant = $1 and id = $2")
            .bind(self.tenant.as_str())
            .bind(self.id)
            .bind(Json(counts))
            .execute(&mut *self.conn)
            .await
            .map(drop)
    }
}

fn checks_of<'a>(staging: &'a Staging, tenant: &'a Tenant, modes: &'a [(EntityType, Mode)]) -> Checks<'a> {
    Checks { staging, tenant, modes }
}

struct Read {
    modes: Vec<(EntityType, Mode)>,
    not_read: Vec<String>,
    edition: Option<&'static str>,
    sha256: Option<Vec<u8>>,
}

fn read_package(path: &Path, items: mpsc::Sender<Vec<Decoded>>) -> Read {
    let mut read = Read { modes: Vec::new(), not_read: Vec::new(), edition: None, sha256: sha256(path).ok() };
    let mut package = match Package::open(path) {
        Ok(package) => package,
        Err(errors) => {
            let _ = items.blocking_send(errors.into_iter().map(Decoded::Error).collect());
            return read;
        }
    };
    read.edition = Some(package.edition.name());
    read.modes = package.files.iter().map(|f| (f.kind, f.mode)).collect();
    read.not_read = std::mem::take(&mut package.not_read);
    let mut block = Vec::with_capacity(1024);
    let sent = decode(&mut package, &mut |item| {
        block.push(item);
        if block.len() < 1024 {
            return Ok(());
        }
        let full = std::mem::replace(&mut block, Vec::with_capacity(1024));
        items.blocking_send(full).map_err(|_| Stopped)
    });
    if sent.is_ok() {
        let _ = items.blocking_send(block);
    }
    read
}

fn sha256(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 16];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finalize().to_vec()),
            n => hash.update(&block[..n]),
        }
    }
}

fn lock_key(job: Uuid) -> i64 {
    // The random half of a version 7 UUID.
    job.as_u64_pair().1 as i64
}

async fn fail(
    conn: &mut PgConnection,
    tenant: &Tenant,
    id: Uuid,
    why: Option<&str>,
    phases: Option<Json<&BTreeMap<&'static str, f64>>>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update import_jobs set state = 'failed', failure = $3, phases = coalesce($4::json, phases), finished_at = now()
          where tenant = $1 and id = $2 and finished_at is null",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(why)
    .bind(phases)
    .execute(conn)
    .await
    .map(drop)
}

/// Closes the jobs of programs that ended in the middle. Their events were never committed.
pub async fn close_interrupted(log: &Log) -> Result<u64, sqlx::Error> {
    let mut closed = 0;
    for tenant in log.tenants().await? {
        let mut conn = log.db().acquire(&tenant).await?;
        let unfinished: Vec<Uuid> =
            sqlx::query_scalar("select id from import_jobs where tenant = $1 and finished_at is null")
                .bind(tenant.as_str())
                .fetch_all(&mut *conn)
                .await?;
        for id in unfinished {
            let dead: bool =
                sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(lock_key(id)).fetch_one(&mut *conn).await?;
            if dead {
                let why = "interrupted: the program ended before the import was applied; nothing was changed";
                fail(&mut conn, &tenant, id, Some(why), None).await?;
                Staging::of(id).drop(&mut conn).await?;
                sqlx::query("select pg_advisory_unlock($1)").bind(lock_key(id)).execute(&mut *conn).await?;
                closed += 1;
            }
        }
    }
    Ok(closed)
}

/// The job of this id.
pub async fn find(log: &Log, tenant: &Tenant, id: Uuid) -> Result<Option<Job>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    sqlx::query_as(&format!("select {JOB_COLUMNS} from import_jobs where tenant = $1 and id = $2"))
        .bind(tenant.as_str())
        .bind(id)
        .fetch_optional(&mut *conn)
        .await
}

/// The latest jobs, newest first.
pub async fn list(log: &Log, tenant: &Tenant, limit: i64, offset: i64) -> Result<Vec<Job>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    sqlx::query_as(&format!(
        "select {JOB_COLUMNS} from import_jobs where tenant = $1 order by created_at desc, id limit $2 offset $3"
    ))
    .bind(tenant.as_str())
    .bind(limit)
    .bind(offset)
    .fetch_all(&mut *conn)
    .await
}

/// A job's errors after number `after`, in the order found.
pub async fn errors(
    log: &Log,
    tenant: &Tenant,
    id: Uuid,
    after: i64,
    limit: i64,
) -> Result<Vec<JobError>, sqlx::Error> {
    let mut conn = log.db().acquire(tenant).await?;
    sqlx::query_as(
        "select number, file, line, \"column\", code, value from import_errors
          where tenant = $1 and job = $2 and number > $3 order by number limit $4",
    )
    .bind(tenant.as_str())
    .bind(id)
    .bind(after)
    .bind(limit)
    .fetch_all(&mut *conn)
    .await
}
