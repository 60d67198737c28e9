//! Settings of the audit tree.

/// Every tenant's events are leaves of a Merkle tree, whose checkpoints are signed.
#[derive(Debug, Clone, confique::Config)]
pub struct AuditConfig {
    /// What the names of logs in checkpoints begin with; the tenant follows after a slash. Must never change once
    /// checkpoints were given away. Default: host of `public_url`, else `rosterhub.local`.
    #[config(env = "ROSTERHUB_AUDIT_ORIGIN")]
    pub origin: Option<String>,

    /// Seconds between looks for events that are not in the trees.
    #[config(env = "ROSTERHUB_AUDIT_SECONDS", default = 1.0)]
    pub seconds: f64,

    /// Seconds from one signed checkpoint of a tenant to the next, at least. A change of the log is named down to the
    /// events between two checkpoints, even where whoever made it rewrote the tree as well.
    #[config(env = "ROSTERHUB_AUDIT_CHECKPOINT_SECONDS", default = 60.0)]
    pub checkpoint_seconds: f64,

    /// Time of day, in UTC, as `18:00`, from which the daily checks run: the log against its tree and its checkpoints,
    /// the read models against the log. They read everything once. Default: none; `rosterhub audit verify` and
    /// `rosterhub verify` are run by hand.
    #[config(env = "ROSTERHUB_AUDIT_DAILY")]
    pub daily: Option<String>,
}

impl AuditConfig {
    /// The configured origin, or that of the public address, as `rosterhub.example`.
    pub fn origin(&self, public_url: Option<&str>) -> String {
        let host = || {
            let rest = public_url?.split_once("://")?.1.trim_end_matches('/');
            (!rest.is_empty()).then(|| rest.to_owned())
        };
        self.origin.clone().or_else(host).unwrap_or_else(|| "rosterhub.local".to_owned())
    }
}
