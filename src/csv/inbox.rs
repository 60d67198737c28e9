//! A folder that is watched: sets that are put into `<inbox>/<tenant>/` are imported.
//!
//! A file is claimed by renaming it to `.taken/<import>-<name>`, which succeeds for one of all instances that share the
//! folder. From then on the name says which import it is, and the lock of the import whether somebody works on it
//! ([`JobRecord::hold`], taken before the claim). Nothing is remembered elsewhere: each look takes up what it finds.

mod folder;
mod outcome;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::care::pause;
use super::import::Asker;
use super::intake::{Intake, StartError};
use super::interrupted::{INTERRUPTED, close, is_dead, let_go};
use super::job::{self, Job};
use super::record::JobRecord;
use crate::command::CommandError;
use crate::config::Config;
use crate::export::errors::{ErrorRows, encoding_of};
use crate::log::Tenant;
use crate::roster::Language;
use folder::{Mark, TAKEN, Taken, folders, open, own_folder, sets, short, taken};
use outcome::Outcome;

const ERRORS_AT_ONCE: i64 = 1_000;

pub struct Inbox {
    intake: Intake,
    folder: PathBuf,
    longest: u64,
    period: Duration,
    /// Files at the last look.
    seen: HashMap<PathBuf, Mark>,
    /// Folders of no tenant, which have been told of.
    strange: HashSet<PathBuf>,
}

/// Why a look at a tenant's folder broke off. The next one goes on.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

fn asker() -> Asker {
    Asker { id: "inbox".to_owned(), name: "inbox".to_owned() }
}

impl Inbox {
    /// None when no folder is to be watched.
    pub fn new(intake: &Intake, config: &Config) -> Option<Self> {
        let settings = &config.imports;
        Some(Self {
            intake: intake.clone(),
            folder: settings.inbox.clone()?,
            longest: config.max_upload_bytes,
            period: Duration::from_secs(settings.inbox_seconds.max(1)),
            seen: HashMap::new(),
            strange: HashSet::new(),
        })
    }

    /// Looks again and again, until told to stop.
    pub async fn watch(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the inbox cannot be looked at");
            }
            if !pause(self.period, &mut stop).await {
                return;
            }
        }
    }

    async fn look(&mut self) -> Result<(), LookError> {
        let tenants: HashSet<Tenant> = self.intake.log().tenants().await?.into_iter().collect();
        let folder = self.folder.clone();
        let (mut seen, mut strange) = (HashMap::new(), HashSet::new());
        for path in blocking(move || folders(&folder)).await? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(tenant) = name.and_then(|name| name.parse().ok()).filter(|tenant| tenants.contains(tenant)) else {
                if !self.strange.contains(&path) {
                    tracing::warn!(folder = ?path, "a folder of the inbox is that of no tenant, and left alone");
                }
                strange.insert(path);
                continue;
            };
            if let Err(error) = self.look_into(&tenant, &path, &mut seen).await {
                tracing::warn!(%error, %tenant, "a look into the inbox broke off");
            }
        }
        (self.seen, self.strange) = (seen, strange);
        Ok(())
    }

    async fn look_into(
        &self,
        tenant: &Tenant,
        folder: &Path,
        seen: &mut HashMap<PathBuf, Mark>,
    ) -> Result<(), LookError> {
        for taken in blocking_in(folder, taken).await? {
            self.settle(tenant, folder, &taken).await?;
        }
        let sets = blocking_in(folder, sets).await?;
        seen.extend(sets.iter().cloned());
        for (path, mark) in sets {
            // The same as at the last look: whoever writes it has ended.
            if self.seen.get(&path) == Some(&mark) && !self.claim(tenant, folder, &path, None).await? {
                break;
            }
        }
        Ok(())
    }

    /// Takes a file and enters its import. False when there is no place for it.
    async fn claim(&self, tenant: &Tenant, folder: &Path, from: &Path, name: Option<&str>) -> Result<bool, LookError> {
        let place = match self.intake.place(tenant) {
            Ok(place) => place,
            Err(StartError::Full) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let name = short(name.or_else(|| from.file_name()?.to_str()).unwrap_or("set"));
        let record = JobRecord { tenant: tenant.clone(), id: Uuid::now_v7() };
        let mut conn = self.intake.log().db().acquire(tenant).await?;
        conn.close_on_drop(); // and with it the lock, which the import has by then
        record.hold(&mut conn).await?;
        let to = folder.join(TAKEN).join(format!("{}-{name}", record.id));
        let (source, target, longest) = (from.to_owned(), to.clone(), self.longest);
        let claimed = blocking_in(folder, move |folder| {
            own_folder(folder, TAKEN)?;
            match fs::rename(&source, &target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None), // another one was faster
                Err(error) => Err(error),
                Ok(()) => Ok(Some(open(folder, &target, longest)?)),
            }
        })
        .await?;
        match claimed {
            None => Ok(true),
            Some(Ok((file, options))) => {
                let task = self.intake.task(asker(), file, &name, options);
                self.intake.enter_as(record, place, task).await?;
                Ok(true)
            }
            Some(Err((code, message))) => {
                let taken = Taken { path: to, job: record.id, name };
                let stamp = chrono::Utc::now();
                let result = json!({ "error": { "code": code, "message": message } });
                blocking_in(folder, move |folder| Outcome::new(folder, "failed", stamp, &taken)?.finish(&result))
                    .await?;
                Ok(true)
            }
        }
    }

    /// Looks what has become of a file that was taken: when its import rests, it is put away with the results; when
    /// the program that took it has ended before, it is taken anew.
    async fn settle(&self, tenant: &Tenant, folder: &Path, taken: &Taken) -> Result<(), LookError> {
        let log = self.intake.log();
        let mut conn = log.db().acquire(tenant).await?;
        if !is_dead(&mut conn, taken.job).await? {
            return Ok(()); // it runs or waits, here or elsewhere
        }
        conn.close_on_drop(); // with the lock, whatever happens
        close(&mut conn, &JobRecord { tenant: tenant.clone(), id: taken.job }).await?;
        match job::find(log, tenant, taken.job).await? {
            Some(job) if !job.failure.as_ref().is_some_and(|why| why.starts_with(INTERRUPTED)) => {
                self.deliver(tenant, folder, taken, job).await?;
            }
            _ => drop(self.claim(tenant, folder, &taken.path, Some(&taken.name)).await?),
        }
        let_go(&mut conn, taken.job).await?;
        Ok(())
    }

    /// Puts a file away, next to its job and its errors. Done again from the beginning if it breaks off.
    async fn deliver(&self, tenant: &Tenant, folder: &Path, taken: &Taken, job: Job) -> Result<(), LookError> {
        let place = match job.state.as_str() {
            "completed" => "done",
            "planned" | "held" => "held",
            _ => "failed",
        };
        let (stamp, path, name) = (job.created_at, taken.path.clone(), taken.name.clone());
        let taken = Taken { path, job: taken.job, name };
        let mut outcome = blocking_in(folder, move |folder| Outcome::new(folder, place, stamp, &taken)).await?;
        let rows = ErrorRows { encoding: encoding_of(&job), language: Language::Japanese };
        let mut after = (job.errors > 0).then_some(0);
        while let Some(number) = after {
            let errors = job::errors(self.intake.log(), tenant, job.id, number, ERRORS_AT_ONCE).await?;
            after = errors.last().map(|last| last.number);
            outcome = blocking(move || outcome.errors(&errors, rows)).await?;
        }
        let result = serde_json::to_value(&job).map_err(io::Error::other)?;
        blocking(move || outcome.finish(&result)).await?;
        tracing::info!(%tenant, job = %job.id, state = job.state, "a set from the inbox has been put away");
        Ok(())
    }
}

impl From<CommandError> for LookError {
    fn from(error: CommandError) -> Self {
        Self::Start(error.into())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

async fn blocking_in<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let folder = folder.to_owned();
    blocking(move || work(&folder)).await
}
