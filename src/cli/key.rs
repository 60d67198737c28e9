//! `rosterhub key`.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::{Failure, Output, Session};
use crate::auth::Vault;
use crate::auth::keys::Keys;

#[derive(clap::Subcommand)]
pub enum KeyCommand {
    /// List the keys that sign or verify.
    List,
    /// Make a new key. It signs in a few seconds; the old one verifies until its tokens have expired. Keys also
    /// follow one another by themselves, every 90 days.
    Rotate {
        /// Withdraw the old keys at once: the tokens they signed are refused within seconds. For when a private key
        /// has become known, or the secret key that it was encrypted with is lost.
        #[arg(long)]
        revoke: bool,
    },
}

impl KeyCommand {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let vault = Arc::new(Vault::open(&session.config)?);
        let keys = Keys::new(session.log.db().clone(), vault);
        match self {
            Self::List => {
                let live = keys.live().await?;
                let json: Vec<_> =
                    live.iter().map(|key| json!({ "kid": key.id, "signsFrom": key.signs_from })).collect();
                output.result(&json, || {
                    let line =
                        |key: &crate::auth::keys::SigningKey| format!("{}  signs from {}", key.id, key.signs_from);
                    live.iter().map(line).collect::<Vec<_>>().join("\n")
                })?;
            }
            Self::Rotate { revoke } => {
                if revoke && let Err(error) = keys.prepare().await {
                    tracing::warn!(%error, "withdrawn all the same; every instance must have the secret key of this command");
                }
                let made = keys.rotate(revoke).await?;
                output.result(&json!({ "kid": made.id, "signsFrom": made.signs_from }), || {
                    format!("key {} signs from {}", made.id, made.signs_from)
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
