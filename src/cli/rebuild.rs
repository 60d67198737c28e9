//! `rosterhub rebuild` and `rosterhub verify`.

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output, Session};
use crate::log::Tenant;

#[derive(clap::Args)]
pub struct Rebuild {
    /// Only this board.
    #[arg(long)]
    tenant: Option<Tenant>,
    /// Only this read model, for example `users`.
    #[arg(long)]
    projection: Option<String>,
}

#[derive(clap::Args)]
pub struct Verify {
    /// Only this board.
    #[arg(long)]
    tenant: Option<Tenant>,
}

impl Rebuild {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        for tenant in session.tenants(self.tenant.as_ref()).await? {
            let bar = output.progress("rebuilding");
            let show = |done, total| {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            };
            let projections = session.log.projections();
            let (position, rows) =
                projections.rebuild(session.log.db(), &tenant, self.projection.as_deref(), show).await?;
            bar.finish_and_clear();
            output.result(&json!({ "tenant": tenant.as_str(), "position": position, "replaced": rows }), || {
                format!("{tenant}: rebuilt at position {position}; {rows} rows differed and were replaced")
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Verify {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let mut code = ExitCode::SUCCESS;
        for tenant in session.tenants(self.tenant.as_ref()).await? {
            let bar = output.progress("verifying");
            let show = |done, total| {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            };
            let (position, difference) = session.log.projections().verify(session.log.db(), &tenant, show).await?;
            bar.finish_and_clear();
            let found = difference
                .as_ref()
                .map(|d| json!({ "table": d.table, "sourcedId": d.sourced_id, "since": d.since, "what": d.what }));
            output.result(&json!({ "tenant": tenant.as_str(), "position": position, "difference": found }), || {
                match &difference {
                    None => format!("{tenant}: the read models are what the log says, at position {position}"),
                    Some(d) => format!(
                        "{tenant}: at position {position}, {} in {}: {} since {}",
                        d.what, d.table, d.sourced_id, d.since
                    ),
                }
            })?;
            if difference.is_some() {
                code = ExitCode::from(3);
            }
        }
        Ok(code)
    }
}
