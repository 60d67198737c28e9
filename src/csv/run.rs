//! An import that has its turn: prepared, checked and planned, then applied or kept for a decision.

use std::collections::BTreeMap;
use std::time::Instant;

use sqlx::pool::PoolConnection;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::watch;
use uuid::Uuid;

use super::apply::{Origin, apply};
use super::check::Checks;
use super::edition::Edition;
use super::good_rows::{Left, leave_bad_rows};
use super::import::{Progress, Source, Task, patiently, seconds};
use super::input::Upload;
use super::job::{self, Difference};
use super::manifest::Mode;
use super::options::{Apply, OnConflicts, OnErrors, Options};
use super::plan::{ChangeCounts, Changes, Counts, plan};
use super::record::{JobRecord, Phases, Planned};
use super::rules::Level;
use super::stage::{Stager, Staging};
use super::{revert, threshold};
use crate::command::CommandError;
use crate::log::Log;
use crate::log::append::AppendTransaction;
use crate::notice::data::Reason;
use crate::roster::EntityType;

/// Changes after which the statistics of read models are gathered anew.
const MANY: i64 = 10_000;

/// An import that has its turn, and a connection of its own.
pub(super) struct Run {
    pub log: Log,
    pub record: JobRecord,
    task: Task,
    pub staging: Staging,
    pub conn: PoolConnection<sqlx::Postgres>,
    pub progress: watch::Sender<Progress>,
    cancelled: watch::Receiver<bool>,
    phases: Phases,
    clock: Instant,
    edition: Option<String>,
    /// Files that could not be read, or not to their end.
    unread: Vec<EntityType>,
    /// Of a revert: the import that it takes back.
    reverts: Option<Uuid>,
}

/// How an import's turn ends when it does not fail.
enum End {
    Applied,
    /// Its plan waits for a decision.
    Stands,
}

/// Why an import came to nothing.
pub(super) enum Failure {
    /// The set has errors, which are listed.
    Errors,
    /// The job has ended already: it was cancelled.
    Ended,
    Other(CommandError),
}

impl<E: Into<CommandError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// What is to be done with a job that came to nothing.
struct Closing {
    record: JobRecord,
    staging: Staging,
    phases: Phases,
    /// If its plan was approved, it waits for a decision again.
    stands: bool,
}

impl Closing {
    async fn close(&self, conn: &mut PgConnection, why: Option<&str>) -> Result<(), sqlx::Error> {
        if self.stands {
            let mut tx = conn.begin().await?;
            if self.record.stand_again(&mut tx).await? {
                return tx.commit().await;
            }
        }
        self.staging.drop(conn).await?;
        let mut tx = conn.begin().await?;
        let reason = if why.is_some() { Reason::Failure } else { Reason::Errors };
        self.record.fail(&mut tx, reason, why, Some(&self.phases)).await?;
        tx.commit().await
    }
}

impl Run {
    pub fn new(
        log: Log,
        record: JobRecord,
        task: Task,
        conn: PoolConnection<sqlx::Postgres>,
        progress: watch::Sender<Progress>,
        cancelled: watch::Receiver<bool>,
        phases: Phases,
    ) -> Self {
        let staging = Staging { most_errors: task.settings.max_errors, ..Staging::of(record.id) };
        let clock = Instant::now();
        let (edition, unread, reverts) = Default::default();
        Self { log, record, task, staging, conn, progress, cancelled, phases, clock, edition, unread, reverts }
    }

    pub async fn finish(mut self) -> Result<(), CommandError> {
        let outcome = self.phases().await;
        let failure = match outcome {
            Ok(End::Stands) => return Ok(()),
            Ok(End::Applied) => {
                if let Err(error) = self.staging.drop(&mut self.conn).await {
                    tracing::warn!(%error, job = %self.record.id, "staging tables are left behind");
                }
                return Ok(());
            }
            Err(failure) => failure,
        };
        let text = match &failure {
            Failure::Errors | Failure::Ended => None,
            Failure::Other(error) => Some(error.to_string()),
        };
        // An approved plan is not lost to a database that was away.
        let stands = matches!(failure, Failure::Other(CommandError::Unavailable(_)));
        let (closing, text) =
            (Closing { record: self.record, staging: self.staging, phases: self.phases, stands }, text);
        let (closing, text) = (&closing, text.as_deref());
        if !matches!(failure, Failure::Ended) && closing.close(&mut self.conn, text).await.is_ok() {
            return Ok(());
        }
        // The connection may be what failed, or be in the middle of what was cancelled; another one serves.
        drop(self.conn);
        let log = &self.log;
        patiently(|| async move { closing.close(&mut *log.db().acquire(&closing.record.tenant).await?, text).await })
            .await
            .map_err(CommandError::from)
    }

    fn lap(&mut self, name: &'static str) {
        self.phases.insert(name, seconds(self.clock));
        self.clock = Instant::now();
    }

    async fn phases(&mut self) -> Result<End, Failure> {
        let tenant = self.record.tenant.clone();
        let mut cancelled = self.cancelled.clone();
        Staging::room(&mut self.conn).await?;
        let approver = match &self.task.source {
            Source::Plan(approver) => Some(approver.clone()),
            _ => None,
        };
        let mut planned = match approver {
            Some(_) => self.approved().await?,
            None => tokio::select! {
                planned = self.prepare() => planned?,
                _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(Failure::Ended),
            },
        };
        if approver.is_none()
            && let Some(state) = self.waits(&planned)
        {
            return self.stand(state).await;
        }
        self.enter("applying").await?;
        let mut tx = self.log.begin(&tenant).await?;
        let leaves_conflicts = self.task.options.on_conflicts == OnConflicts::Keep && planned.counts.conflicts > 0;
        if tx.head() != planned.at || leaves_conflicts {
            // The roster moved: what the set refers to and what it changes is looked at again, now under the lock.
            self.settle(&mut planned, tx.head(), approver.is_some()).await?;
            let waits = match approver {
                Some(_) => planned.difference.as_ref().map(|_| "held"),
                None => self.waits(&planned),
            };
            if let Some(state) = waits {
                drop(tx);
                return self.stand(state).await;
            }
        }
        let total = planned.counts.all.values().map(Changes::planned).sum::<i64>();
        let progress = self.progress.clone();
        let origin = Origin {
            job: self.record.id,
            client: &self.task.asker.name,
            edition: self.edition.as_deref(),
            approver: approver.as_deref(),
            reverts: self.reverts,
        };
        apply(&mut self.conn, &mut tx, &self.staging, &tenant, &origin, |done| {
            progress.send_replace(Progress { state: "applying", done, total: Some(total as u64) });
        })
        .await?;
        self.lap("apply");
        self.complete(tx).await?;
        if total >= MANY {
            self.look_at(planned.counts.all.keys()).await;
        }
        Ok(End::Applied)
    }

    /// Reads or looks up the rows, checks and plans.
    async fn prepare(&mut self) -> Result<Planned, Failure> {
        self.enter("reading").await?;
        let source = std::mem::replace(&mut self.task.source, Source::Plan(String::new()));
        let mut not_withdrawn = Vec::new();
        let (modes, errors) = match source {
            Source::Upload(file, limit) => {
                let Options { encoding, mode, edition, rules, .. } = self.task.options;
                let level = Level { strictness: rules.unwrap_or_default(), edition };
                let name = self.task.file_name.clone();
                let (read, errors) = self.read(Upload { file, name, limit, encoding, mode, level }).await?;
                self.edition = read.edition.map(str::to_owned);
                self.unread = read.unread;
                not_withdrawn = read.not_withdrawn;
                (read.modes, errors)
            }
            Source::Log(import) => {
                self.reverts = Some(import);
                (self.look_up(import).await?, 0)
            }
            Source::Plan(_) => return Err(CommandError::Internal("the plan is there already".into()).into()),
        };
        self.lap("read");
        self.enter("planning").await?;
        self.staging.place(&mut self.conn, &self.record.tenant).await?;
        self.staging.index(&mut self.conn).await?;
        let at = self.log.head(&self.record.tenant).await?.unwrap_or_default();
        let mut planned = Planned {
            plan: Uuid::nil(),
            at,
            modes,
            counts: Counts::default(),
            thresholds: Vec::new(),
            errors,
            left_out: BTreeMap::new(),
            not_withdrawn,
            difference: None,
        };
        self.settle(&mut planned, at, false).await?;
        self.lap("plan");
        Ok(planned)
    }

    /// How the set is looked at, once it has been read.
    fn level(&self) -> Level {
        let edition = Edition::ALL.into_iter().find(|edition| Some(edition.name()) == self.edition.as_deref());
        Level { strictness: self.task.options.rules.unwrap_or_default(), edition }
    }

    /// Stages what an import did, to take it back.
    async fn look_up(&mut self, import: Uuid) -> Result<Vec<(EntityType, Mode)>, Failure> {
        let tenant = &self.record.tenant;
        let nothing = || CommandError::Internal("the import has changed nothing".into());
        let job = job::find(&self.log, tenant, import).await?.ok_or_else(nothing)?;
        let mut source = self.log.db().acquire(tenant).await?;
        let unit = revert::unit(&mut source, tenant, &job).await?.ok_or_else(nothing)?;
        let span = (unit, job.position.unwrap_or(unit));
        let (stager, blocks) = Stager::new();
        let progress = &self.progress;
        let gather = revert::stage(&mut source, stager, tenant, span, |done| {
            progress.send_replace(Progress { state: "reading", done, total: None });
        });
        let (gathered, written) = tokio::join!(gather, blocks.write(&mut self.conn, &self.staging, &self.record));
        written?;
        let modes = gathered?;
        Ok(modes)
    }

    /// The plan as it was approved.
    async fn approved(&mut self) -> Result<Planned, Failure> {
        let job = job::find(&self.log, &self.record.tenant, self.record.id).await?;
        let gone = || CommandError::Internal("the plan is gone".into());
        let job = job.ok_or_else(gone)?;
        (self.edition, self.reverts) = (job.edition, job.reverts);
        let all: ChangeCounts = serde_json::from_value(job.changes.0).unwrap_or_default();
        Ok(Planned {
            plan: job.plan.ok_or_else(gone)?,
            at: job.planned_at.ok_or_else(gone)?,
            modes: job.modes.0,
            counts: Counts { all, schools: BTreeMap::new(), conflicts: job.conflicts },
            thresholds: job.thresholds.0,
            errors: job.errors,
            left_out: BTreeMap::new(),
            not_withdrawn: job.not_withdrawn.0,
            difference: None,
        })
    }

    /// Checks and plans on the roster as it stands at `at`, in one transaction: until it commits, the former plan
    /// stands. With `compare`, says how the plan differs from the former.
    async fn settle(&mut self, planned: &mut Planned, at: i64, compare: bool) -> Result<(), Failure> {
        let level = self.level();
        let Self { record, staging, task, unread, reverts, phases, clock, .. } = self;
        let (tenant, options, plan_table) = (&record.tenant, task.options, &staging.plan);
        let mut tx = self.conn.begin().await?;
        let keep = options.on_conflicts == OnConflicts::Keep;
        if compare {
            sqlx::query(&format!(
                "create temp table plan_before on commit drop as
                 select entity, sourced_id, withdraw, sequence from {plan_table} where not (conflict and {keep})"
            ))
            .execute(&mut *tx)
            .await?;
        }
        if keep {
            revert::keep_conflicts(&mut tx, staging, tenant, &planned.modes).await?;
        }
        let bulk = |modes: &[(EntityType, Mode)]| -> Vec<EntityType> {
            modes.iter().filter(|m| m.1 == Mode::Bulk).map(|m| m.0).collect()
        };
        let told_all = bulk(&planned.modes);
        let mut refused = false;
        if options.on_errors == OnErrors::ApplyGoodRows && unread.is_empty() {
            let left = leave_bad_rows(&mut tx, staging, record, level, &mut planned.modes, planned.errors).await?;
            let Left { errors, beyond_rows, rows } = left;
            (planned.errors, planned.left_out, refused) = (errors, rows, beyond_rows);
            let still = bulk(&planned.modes);
            planned.not_withdrawn.extend(told_all.into_iter().filter(|kind| !still.contains(kind)));
        } else {
            let checks = Checks { staging, job: record, modes: &planned.modes, unread, good_rows: false, level };
            planned.errors = checks.run(&mut tx, planned.errors).await?;
            if reverts.is_some() {
                planned.errors = checks.still_referred_to(&mut tx, planned.errors).await?;
            }
            refused |= planned.errors > 0;
        }
        phases.insert("check", seconds(*clock));
        *clock = Instant::now();
        if refused {
            record.errors(&mut tx, planned.errors).await?;
            record.tally(&mut tx, staging.most_errors).await?;
            tx.commit().await?;
            return Err(Failure::Errors);
        }
        let before = std::mem::take(&mut planned.counts).all;
        planned.counts = plan(&mut tx, staging, tenant, &planned.modes).await?;
        planned.thresholds =
            threshold::passed(&mut tx, tenant, &task.settings, &planned.counts, &planned.modes).await?;
        planned.difference = match compare {
            true => difference(&mut tx, plan_table, before).await?,
            false => None,
        };
        (planned.plan, planned.at) = (Uuid::now_v7(), at);
        record.planned(&mut tx, planned).await?;
        record.tally(&mut tx, staging.most_errors).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The state in which a plan waits, if it must.
    fn waits(&self, planned: &Planned) -> Option<&'static str> {
        let options = self.task.options;
        let undecided = options.on_conflicts == OnConflicts::Hold && planned.counts.conflicts > 0;
        match options.apply {
            Apply::Never => Some("planned"),
            _ if undecided => Some("held"),
            Apply::Safe if !planned.thresholds.is_empty() => Some("held"),
            _ => None,
        }
    }

    async fn stand(&mut self, state: &'static str) -> Result<End, Failure> {
        self.staging.keep(&mut self.conn).await?;
        let days = self.task.settings.plan_days;
        self.lap("keep");
        let mut tx = self.conn.begin().await?;
        let stands = self.record.stand(&mut tx, state, days, &self.phases).await?;
        tx.commit().await?;
        if stands { Ok(End::Stands) } else { Err(Failure::Ended) }
    }

    /// Lets Postgres look at the read models that have changed: what it plans for an empty table is slow in a full one,
    /// and short reads keep their plans until it has looked. That it fails takes nothing from the import.
    async fn look_at(&mut self, kinds: impl Iterator<Item = &EntityType>) {
        for kind in kinds {
            let sql = format!("analyze {}", kind.entity().table);
            if let Err(error) = sqlx::query(&sql).execute(&mut *self.conn).await {
                tracing::warn!(%error, "statistics of a read model could not be gathered");
            }
        }
    }

    /// The job is completed in the very transaction that makes its events visible.
    async fn complete(&self, mut tx: AppendTransaction) -> Result<(), sqlx::Error> {
        let head = tx.head();
        self.record.complete(tx.sql(), head, &self.phases).await?;
        tx.commit().await.map(drop)
    }

    async fn enter(&mut self, state: &'static str) -> Result<(), Failure> {
        self.progress.send_replace(Progress { state, ..Progress::default() });
        match self.record.state(&mut self.conn, state).await? {
            true => Ok(()),
            false => Err(Failure::Ended),
        }
    }
}

/// How the plan differs from the former one; none when it is the same.
async fn difference(
    conn: &mut PgConnection,
    plan: &str,
    before: ChangeCounts,
) -> Result<Option<Difference>, sqlx::Error> {
    let now = format!("select entity, sourced_id, withdraw, sequence from {plan}");
    let (added, gone): (i64, i64) = sqlx::query_as(&format!(
        "select (select count(*) from ({now} except select * from plan_before) a),
                (select count(*) from (select * from plan_before except {now}) b)"
    ))
    .fetch_one(conn)
    .await?;
    Ok((added + gone > 0).then_some(Difference { added, gone, before }))
}
