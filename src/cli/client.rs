//! `rosterhub client`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Failure, Output, Session};
use crate::auth::clients::Listed;
use crate::auth::{Clients, Kind, NewClient, Rate, Scope, Scopes};
use crate::log::Tenant;

#[derive(clap::Subcommand)]
pub enum ClientCommand {
    /// Create a client of one board. Its secret, or API key, is shown once.
    #[command(after_help = create_help())]
    Create(Create),
    /// List clients: what they may do, when they were used last, whether they are still valid.
    List {
        /// Those of one board only.
        #[arg(long)]
        tenant: Option<Tenant>,
    },
    /// Give a client a new secret or API key. The old one stays valid for the overlap, so that the client can be
    /// changed over in the meantime.
    #[command(
        after_help = "A secret that others have come to know: --overlap-hours 0. It, and the tokens it was given, \
                            are refused within seconds."
    )]
    Rotate {
        client_id: Uuid,
        /// Hours for which the old secret stays valid.
        #[arg(long, default_value_t = 24)]
        overlap_hours: u32,
    },
    /// End a client for good. It and its tokens are refused within seconds.
    Revoke { client_id: Uuid },
}

#[derive(clap::Args)]
pub struct Create {
    /// The board whose roster it opens.
    #[arg(long)]
    tenant: Tenant,
    /// Who it is: the tool or the school-affairs system, for people to recognise.
    #[arg(long)]
    name: String,
    /// What it may do, at most; commas between.
    #[arg(long, value_delimiter = ',', value_name = "SCOPE,…", default_value = Scope::Roster.short())]
    scopes: Vec<Scope>,
    /// Give it an API key in place of a secret: for scripts and administration.
    #[arg(long)]
    api_key: bool,
    /// Networks it may call from, IPv4 or IPv6, commas between: 192.0.2.0/24,2001:db8::/32. Without it, anywhere.
    #[arg(long, value_delimiter = ',', value_name = "NETWORK,…", value_parser = network)]
    allow: Vec<IpNet>,
    /// Requests a second, in each instance of the hub. Without it, no limit.
    #[arg(long, value_name = "REQUESTS")]
    rate: Option<NonZeroU32>,
    /// Requests at once, before the rate holds. Without it, ten seconds' worth.
    #[arg(long, value_name = "REQUESTS", requires = "rate")]
    burst: Option<NonZeroU32>,
    /// Days after which it ends. Without it, never.
    #[arg(long)]
    days: Option<u32>,
}

fn create_help() -> String {
    let width = Scope::ALL.map(|scope| scope.short().len()).into_iter().max().unwrap_or(0);
    let scopes = Scope::ALL.map(|scope| format!("  {:width$}  {}\n", scope.short(), scope.opens())).concat();
    format!(
        "Scopes (OneRoster's may also be given by their URIs):
{scopes}
A learning tool that reads the roster:
  rosterhub client create --tenant midori --name 'Reading app'
  curl -u CLIENT_ID:SECRET -d grant_type=client_credentials https://hub.example/oauth/token
A school-affairs system that hands sets in:
  rosterhub client create --tenant midori --name 'School affairs' --scopes import --api-key"
    )
}

/// A network, or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().map(IpNet::from).ok();
    let network: IpNet = text.parse().ok().or_else(single).ok_or("a network is like 192.0.2.0/24 or 2001:db8::/32")?;
    Ok(canonical(network.trunc()))
}

/// Addresses of IPv4 written as IPv6 are compared as IPv4.
fn canonical(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (address, Some(prefix)) if address != network.addr() => IpNet::new(address, prefix).unwrap_or(network),
        _ => network,
    }
}

impl ClientCommand {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let clients = Clients::new(session.log.db().clone());
        match self {
            Self::Create(create) => create.run(session, &clients, output).await?,
            Self::List { tenant } => {
                let listed = clients.list(tenant.as_ref()).await?;
                output.result(&listed, || table(&listed, Utc::now()))?;
            }
            Self::Rotate { client_id, overlap_hours } => {
                let overlap = Duration::from_secs(u64::from(overlap_hours) * 3_600);
                let rotated = clients.rotate(client_id, overlap).await?;
                let (kind, secret) = rotated.ok_or_else(|| format!("there is no client {client_id} to rotate"))?;
                let json = with_secret(json!({ "clientId": client_id }), kind, &secret);
                output.result(&json, || {
                    format!(
                        "{}  {secret}\nThe old one is valid for {overlap_hours} more hours. The new one is not shown again.",
                        label(kind)
                    )
                })?;
            }
            Self::Revoke { client_id } => {
                if !clients.revoke(client_id).await? {
                    return Err(format!("there is no client {client_id} to revoke").into());
                }
                output.result(&json!({ "clientId": client_id, "revoked": true }), || {
                    format!("client {client_id} revoked; it is refused within seconds")
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    async fn run(self, session: &Session, clients: &Clients, output: Output) -> Result<(), Failure> {
        if session.log.head(&self.tenant).await?.is_none() {
            return Err(format!("there is no tenant {}", self.tenant).into());
        }
        let rate = self.rate.map(|per_second| Rate {
            per_second,
            burst: self.burst.unwrap_or(per_second.saturating_mul(const { NonZeroU32::new(10).unwrap() })),
        });
        let client = NewClient {
            tenant: self.tenant,
            name: self.name,
            scopes: self.scopes.into_iter().collect::<Scopes>(),
            networks: self.allow,
            rate,
            expires_at: self.days.map(|days| Utc::now() + chrono::Duration::days(days.into())),
        };
        let kind = if self.api_key { Kind::ApiKey } else { Kind::Secret };
        let (id, secret) = clients.create(&client, kind).await?;
        let json = json!({
            "clientId": id, "tenant": client.tenant.as_str(), "name": client.name, "scopes": client.scopes.names(),
            "expiresAt": client.expires_at,
        });
        output.result(&with_secret(json, kind, &secret), || {
            let use_it = match kind {
                Kind::Secret => format!("curl -u {id}:{secret} -d grant_type=client_credentials HUB/oauth/token"),
                Kind::ApiKey => format!("curl -H 'Authorization: Bearer {secret}' HUB/…"),
            };
            format!(
                "client   {id}\n{}  {secret}\nscopes   {}\n\n{use_it}\nIt is not shown again.",
                label(kind),
                client.scopes.shorts().join(", ")
            )
        })
    }
}

fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "secret ",
        Kind::ApiKey => "API key",
    }
}

fn with_secret(mut json: Value, kind: Kind, secret: &str) -> Value {
    let name = match kind {
        Kind::Secret => "clientSecret",
        Kind::ApiKey => "apiKey",
    };
    json[name] = secret.into();
    json
}

fn table(clients: &[Listed], now: DateTime<Utc>) -> String {
    let minute = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M").to_string();
    let lines = clients.iter().map(|client| {
        let state = match (client.revoked_at, client.expires_at) {
            (Some(at), _) => format!("revoked {}", minute(at)),
            (None, Some(at)) if at <= now => format!("expired {}", minute(at)),
            (None, _) if client.valid_secrets > 1 => "valid, rotating".to_owned(),
            _ => "valid".to_owned(),
        };
        let scopes: Vec<&str> =
            client.scopes.iter().filter_map(|name| Scope::from_name(name)).map(Scope::short).collect();
        let used = client.last_used_at.map_or("never".to_owned(), minute);
        format!(
            "{}  {}  {}  {}  {}  used {used}  {state}",
            client.client_id,
            client.tenant,
            client.name,
            client.kind,
            scopes.join(",")
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (text, network_text) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), network_text, "{text}");
        }
        for bad in ["", "192.0.2.0/33", "192.0.2", "hub.example", "2001:db8::/129", "10.0.0.0/8 "] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }
}
