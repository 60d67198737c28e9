//! Settings of imports: when one waits for a decision, and for how long; by which ways sets come in; what is kept.

use std::path::PathBuf;
use std::time::Duration;

/// A plan that withdraws or changes more than this waits until somebody approves it. Measured against the active
/// records of each type, in the whole board and at each school.
#[derive(Debug, Clone, confique::Config)]
pub struct ImportsConfig {
    /// Percent of the active records of a type that an import may withdraw without a question.
    #[config(env = "ROSTERHUB_IMPORTS_MAX_WITHDRAWN_PERCENT", default = 10.0)]
    pub max_withdrawn_percent: f64,

    /// Percent of the active records of a type that an import may change without a question.
    #[config(env = "ROSTERHUB_IMPORTS_MAX_CHANGED_PERCENT", default = 75.0)]
    pub max_changed_percent: f64,

    /// Fewer records than this, withdrawn or changed, never make an import wait: of a few, a percentage says nothing.
    #[config(env = "ROSTERHUB_IMPORTS_MIN_RECORDS", default = 20)]
    pub min_records: i64,

    /// Days that a plan waits for a decision; then it is discarded.
    #[config(env = "ROSTERHUB_IMPORTS_PLAN_DAYS", default = 30)]
    pub plan_days: u32,

    /// How strictly a set is looked at where the request does not say it: lenient, standard or strict.
    #[config(env = "ROSTERHUB_IMPORTS_RULES", default = "standard")]
    pub rules: crate::csv::rules::Strictness,

    /// A plan is approved by another client than the one that handed it in.
    #[config(env = "ROSTERHUB_IMPORTS_SECOND_APPROVER", default = false)]
    pub second_approver: bool,

    /// Imports of one tenant that may run and wait, so that no tenant fills the queue; more are refused with 503.
    #[config(env = "ROSTERHUB_IMPORTS_PER_TENANT", default = 8)]
    pub per_tenant: usize,

    /// Hours for which a resumable upload is kept after its last bytes.
    #[config(env = "ROSTERHUB_IMPORTS_UPLOAD_HOURS", default = 24)]
    pub upload_hours: u32,

    /// Resumable uploads that one tenant may have open.
    #[config(env = "ROSTERHUB_IMPORTS_UPLOADS_PER_TENANT", default = 10)]
    pub uploads_per_tenant: usize,

    /// Most bytes that all open resumable uploads may have on the disk, as they have announced.
    #[config(env = "ROSTERHUB_IMPORTS_UPLOADS_BYTES", default = 17_179_869_184u64)]
    pub uploads_bytes: u64,

    /// Folder that is watched for sets: those in `<inbox>/<tenant>/` are imported. Default: none.
    #[config(env = "ROSTERHUB_IMPORTS_INBOX")]
    pub inbox: Option<PathBuf>,

    /// Seconds between two looks into the inbox. A file is taken when it is the same at two looks.
    #[config(env = "ROSTERHUB_IMPORTS_INBOX_SECONDS", default = 10)]
    pub inbox_seconds: u64,

    /// Days for which the errors of an import are kept after its end; the job and its counts stay.
    #[config(env = "ROSTERHUB_IMPORTS_KEEP_DAYS", default = 400)]
    pub keep_days: u32,

    /// Most errors that are listed of one import; beyond them they are counted.
    #[config(env = "ROSTERHUB_IMPORTS_MAX_ERRORS", default = 1_000_000)]
    pub max_errors: i64,

    /// Seconds between two looks for what has had its time: plans, errors, uploads.
    #[config(env = "ROSTERHUB_IMPORTS_CARE_SECONDS", default = 600)]
    pub care_seconds: u64,
}

impl ImportsConfig {
    pub fn upload_age(&self) -> Duration {
        Duration::from_secs(u64::from(self.upload_hours) * 3_600)
    }
}
