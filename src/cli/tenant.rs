//! `rosterhub tenant`.

use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output, Session};
use crate::log::Tenant;

#[derive(clap::Subcommand)]
pub enum TenantCommand {
    /// Create a tenant with an empty log.
    Create {
        /// Lower-case letters, digits and hyphens.
        tenant: Tenant,
        /// Name for people, for example みどり市教育委員会.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// List the tenants.
    List,
}

impl TenantCommand {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        match self {
            Self::Create { tenant, name } => {
                if !session.log.create_tenant(&tenant, &name).await? {
                    return Err(format!("there is a tenant {tenant} already").into());
                }
                output.result(&json!({ "tenant": tenant.as_str() }), || format!("tenant {tenant} created"))?;
            }
            Self::List => {
                let tenants = session.log.tenants().await?;
                let names: Vec<&str> = tenants.iter().map(Tenant::as_str).collect();
                output.result(&names, || names.join("\n"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
