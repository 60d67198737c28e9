//! `rosterhub tenant` and `rosterhub token`.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use serde_json::json;

use super::{Failure, Output, Session};
use crate::auth::{SCOPES, create_token};
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

#[derive(clap::Subcommand)]
pub enum TokenCommand {
    /// Create a token. It is shown once.
    Create {
        /// The board whose roster it opens.
        #[arg(long)]
        tenant: Tenant,
        /// Who will hold it.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_delimiter = ',', default_values_t = SCOPES.map(str::to_owned),
              value_parser = PossibleValuesParser::new(SCOPES))]
        scopes: Vec<String>,
        /// Days after which it ends; without it, never.
        #[arg(long)]
        days: Option<u32>,
    },
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

impl TokenCommand {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let Self::Create { tenant, name, scopes, days } = self;
        if session.log.head(&tenant).await?.is_none() {
            return Err(format!("there is no tenant {tenant}").into());
        }
        let expires = days.map(|days| chrono::Utc::now() + chrono::Duration::days(days.into()));
        let token = create_token(session.log.db(), &tenant, &name, &scopes, expires).await?;
        output.result(&json!({ "tenant": tenant.as_str(), "scopes": scopes, "token": token }), || token.clone())?;
        Ok(ExitCode::SUCCESS)
    }
}
