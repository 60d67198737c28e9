//! Settings of imports: when one waits for a decision, and for how long.

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
}
