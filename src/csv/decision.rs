//! What people decide about imports: approve, discard, cancel, take back.

use uuid::Uuid;

use super::import::{Asker, Import, Source, Task};
use super::intake::{Intake, StartError};
use super::interrupted::expire;
use super::job::{self, Job};
use super::options::{OnConflicts, Options};
use super::record::JobRecord;
use super::revert;
use super::stage::Staging;
use crate::command::CommandError;
use crate::log::Tenant;
use crate::notice::data::Reason;

/// How an import is ended by whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// Its plan waits, and is thrown away.
    Discard,
    /// It has not begun to apply, and stops.
    Cancel,
}

/// Why a decision is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Unknown,
    WrongState,
    OtherPlan,
    SameClient,
    UndecidedConflicts,
    NothingToRevert,
}

/// Code, English, Japanese. In the order of the variants.
static REFUSALS: [(&str, &str, &str); 6] = [
    ("unknown_import", "There is no import of this id.", "このIDの取り込みはありません。"),
    (
        "wrong_state",
        "The import is not in a state in which this can be done. Look at it again.",
        "取り込みは、この操作ができる状態ではありません。もう一度確認してください。",
    ),
    (
        "other_plan",
        "The import has another plan by now. Look at it, and approve that one.",
        "取り込みの計画が変わりました。新しい計画を確認してから承認してください。",
    ),
    (
        "same_client",
        "A plan is approved by another client than the one that handed it in.",
        "計画は、提出したクライアントとは別のクライアントが承認してください。",
    ),
    (
        "undecided_conflicts",
        "Records have changed after the import. Say whether to keep or to restore them.",
        "取り込み後に変更されたレコードがあります。残す（keep）か戻す（restore）かを指定してください。",
    ),
    (
        "nothing_to_revert",
        "The import has changed nothing, so that there is nothing to take back.",
        "取り込みによる変更がないため、取り消すものがありません。",
    ),
];

impl Refused {
    pub const ALL: [Self; 6] = [
        Self::Unknown,
        Self::WrongState,
        Self::OtherPlan,
        Self::SameClient,
        Self::UndecidedConflicts,
        Self::NothingToRevert,
    ];

    /// Stable name, for example `other_plan`.
    pub fn code(self) -> &'static str {
        REFUSALS[self as usize].0
    }
    pub fn english(self) -> &'static str {
        REFUSALS[self as usize].1
    }
    pub fn japanese(self) -> &'static str {
        REFUSALS[self as usize].2
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    #[error("{}", .0.english())]
    Refused(Refused),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl From<Refused> for DecisionError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl<E: Into<CommandError>> From<E> for DecisionError {
    fn from(error: E) -> Self {
        Self::Start(StartError::Command(error.into()))
    }
}

impl Intake {
    async fn job(&self, tenant: &Tenant, id: Uuid) -> Result<Job, DecisionError> {
        expire(self.log(), tenant).await?;
        Ok(job::find(self.log(), tenant, id).await?.ok_or(Refused::Unknown)?)
    }

    /// Puts the plan into the queue, to be applied if the roster still stands as it was planned on.
    pub async fn approve(
        &self,
        tenant: &Tenant,
        asker: Asker,
        id: Uuid,
        plan: Uuid,
        conflicts: Option<OnConflicts>,
    ) -> Result<(), DecisionError> {
        let job = self.job(tenant, id).await?;
        let on_conflicts = conflicts.unwrap_or(job.options.on_conflicts);
        match () {
            () if !job.stands() => return Err(Refused::WrongState.into()),
            () if job.plan != Some(plan) => return Err(Refused::OtherPlan.into()),
            () if self.settings.second_approver && job.client_id == asker.id => {
                return Err(Refused::SameClient.into());
            }
            () if job.conflicts > 0 && on_conflicts == OnConflicts::Hold => {
                return Err(Refused::UndecidedConflicts.into());
            }
            () => {}
        }
        let place = self.place(tenant)?;
        let (intake, tenant) = (self.clone(), tenant.clone());
        // In a task of its own, as a new job: what has been approved is run, also when the client goes away.
        let entered = tokio::spawn(async move {
            let log = intake.log();
            let record = JobRecord { tenant: tenant.clone(), id };
            place.hold(log.db(), &record).await?;
            let options = Options { on_conflicts, ..job.options.0 };
            let approved = async {
                let mut conn = log.db().acquire(&tenant).await?;
                record.approve(&mut conn, plan, options, &asker.name).await
            };
            match approved.await {
                Ok(true) => {}
                Ok(false) => {
                    place.release(&record).await;
                    return Err(Refused::WrongState.into()); // another decision came first
                }
                Err(error) => {
                    place.release(&record).await;
                    return Err(error.into());
                }
            }
            let task = Task {
                source: Source::Plan(asker.name),
                file_name: job.file_name,
                asker: Asker { id: job.client_id, name: job.client },
                options,
                settings: intake.settings.clone(),
            };
            intake.run(Import::approved(log, record, task, place));
            Ok(())
        });
        entered.await.map_err(|error| CommandError::Internal(error.to_string()))?
    }

    /// Ends an import of which nothing is applied yet.
    pub async fn give_up(&self, tenant: &Tenant, asker: &Asker, id: Uuid, way: GiveUp) -> Result<(), DecisionError> {
        self.job(tenant, id).await?;
        let record = JobRecord { tenant: tenant.clone(), id };
        let (reason, done) = match way {
            GiveUp::Discard => (Reason::Discarded, "discarded"),
            GiveUp::Cancel => (Reason::Cancelled, "cancelled"),
        };
        let db = self.log().db();
        let mut tx = db.begin(tenant).await?;
        if !record.give_up(&mut tx, reason, Some(&asker.name), &format!("{done} by {}", asker.name)).await? {
            return Err(Refused::WrongState.into());
        }
        tx.commit().await?;
        match way {
            GiveUp::Discard => Staging::of(id).drop(&mut *db.acquire(tenant).await?).await?,
            GiveUp::Cancel => self.cancelled(id), // whoever runs it drops what it holds
        }
        Ok(())
    }

    /// Enters a job that takes a completed import back; gives its id.
    pub async fn revert(
        &self,
        tenant: &Tenant,
        asker: Asker,
        id: Uuid,
        options: Options,
    ) -> Result<Uuid, DecisionError> {
        let job = self.job(tenant, id).await?;
        if job.state != "completed" {
            return Err(Refused::WrongState.into());
        }
        let mut conn = self.log().db().acquire(tenant).await?;
        let unit = revert::unit(&mut conn, tenant, &job).await?;
        drop(conn);
        if unit.is_none() {
            return Err(Refused::NothingToRevert.into());
        }
        let settings = self.settings.clone();
        let task = Task { source: Source::Log(id), file_name: job.file_name, asker, options, settings };
        Ok(self.enter(tenant, task).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_stand_in_the_order_of_the_variants() {
        let codes = Refused::ALL.map(Refused::code);
        assert_eq!(codes[2], "other_plan");
        assert!(Refused::ALL.into_iter().enumerate().all(|(n, refused)| refused as usize == n));
    }
}
