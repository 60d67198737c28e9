//! Settings of the access log.

/// Every read of personal data is written down: who, when, what was asked, whose data was in the answer.
#[derive(Debug, Clone, confique::Config)]
pub struct AccessConfig {
    /// The access log is kept.
    #[config(env = "ROSTERHUB_ACCESS_LOG", default = true)]
    pub log: bool,

    /// Days after which entries are removed. 0: never.
    #[config(env = "ROSTERHUB_ACCESS_KEEP_DAYS", default = 400)]
    pub keep_days: u32,

    /// People that an entry lists, at most. A read of more is written down with its query and their number, and is
    /// reported as a possible receipt of anybody's data.
    #[config(env = "ROSTERHUB_ACCESS_PEOPLE", default = 200)]
    pub people: usize,

    /// Seconds between writes, at most; a thousand entries are written at once. What is not written is lost in a crash.
    #[config(env = "ROSTERHUB_ACCESS_SECONDS", default = 1.0)]
    pub seconds: f64,

    /// Entries that may wait to be written, as while the database is away. More are lost, and their number is
    /// written down.
    #[config(env = "ROSTERHUB_ACCESS_WAITING", default = 10000)]
    pub waiting: usize,

    /// Seconds between looks for entries that have had their time.
    #[config(env = "ROSTERHUB_ACCESS_CARE_SECONDS", default = 600.0)]
    pub care_seconds: f64,
}
