//! The configuration: one type, from environment and file, in that order of precedence. `rosterhub config`
//! prints it with its documentation.

mod access;
mod audit;
mod graphql;
mod imports;
mod webhooks;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

pub use access::AccessConfig;
pub use audit::AuditConfig;
use confique::Config as _;
pub use graphql::GraphqlConfig;
pub use imports::ImportsConfig;
pub use webhooks::WebhooksConfig;

/// Settings of the hub. Every setting has a default; environment variables override the file.
#[derive(Debug, Clone, confique::Config)]
pub struct Config {
    /// Postgres to use, as `postgres://user:password@host/database`. The role must be an ordinary one, not a
    /// superuser. Without it the hub starts a private Postgres in the data folder.
    #[config(env = "DATABASE_URL")]
    pub database_url: Option<String>,

    /// Most connections to the database.
    #[config(env = "ROSTERHUB_DATABASE_CONNECTIONS", default = 20)]
    pub database_connections: u32,

    /// Folder for the private Postgres and for uploads in progress. Default: `/var/lib/rosterhub` as root, else
    /// `$XDG_DATA_HOME/rosterhub` or `~/.local/share/rosterhub`.
    #[config(env = "ROSTERHUB_DATA_DIR")]
    pub data_dir: Option<PathBuf>,

    /// Address to listen on.
    #[config(env = "ROSTERHUB_LISTEN", default = "127.0.0.1:8380")]
    pub listen: SocketAddr,

    /// Address under which clients reach the hub, for the `href`s in answers and as the issuer of access tokens.
    /// Default: what trusted proxies say, else `http://` and the Host header of the request.
    #[config(env = "ROSTERHUB_PUBLIC_URL")]
    pub public_url: Option<String>,

    /// Reverse proxies between clients and the hub, each of which adds itself to the headers named by
    /// `proxy_headers`. 0: those headers are ignored. Too large a number lets clients choose the address they seem to
    /// come from.
    #[config(env = "ROSTERHUB_TRUSTED_PROXIES", default = 0)]
    pub trusted_proxies: usize,

    /// The headers that the proxies set: `x-forwarded` (X-Forwarded-For, -Proto, -Host, -Prefix) or `forwarded`
    /// (RFC 7239). The other ones are ignored, since a client could have sent them.
    #[config(env = "ROSTERHUB_PROXY_HEADERS", default = "x-forwarded")]
    pub proxy_headers: ProxyHeaders,

    /// Encrypts the private keys that the database keeps: 32 bytes in base64, as of `openssl rand -base64 32`.
    /// Several with commas between: the first encrypts, the others still decrypt what they encrypted. Default: made
    /// once, in the file `secret.key` of the data folder. Instances that share a database must share it: set it.
    #[config(env = "ROSTERHUB_SECRET_KEY")]
    pub secret_key: Option<SecretKeys>,

    /// Largest upload in bytes.
    #[config(env = "ROSTERHUB_MAX_UPLOAD_BYTES", default = 2_147_483_648u64)]
    pub max_upload_bytes: u64,

    /// Largest document written, in bytes.
    #[config(env = "ROSTERHUB_MAX_DOCUMENT_BYTES", default = 1_048_576u64)]
    pub max_document_bytes: u64,

    /// Largest batch of writes, in bytes.
    #[config(env = "ROSTERHUB_MAX_BATCH_BYTES", default = 16_777_216u64)]
    pub max_batch_bytes: u64,

    /// Most bytes that the files of a set may have, unpacked; a set with more has an error.
    #[config(env = "ROSTERHUB_MAX_UNPACKED_BYTES", default = 8_589_934_592u64)]
    pub max_unpacked_bytes: u64,

    /// Imports running at a time, each of another tenant; more wait for their turn.
    #[config(env = "ROSTERHUB_MAX_IMPORTS", default = 4)]
    pub max_imports: usize,

    /// Imports that may wait; more are refused with 503.
    #[config(env = "ROSTERHUB_MAX_QUEUED_IMPORTS", default = 16)]
    pub max_queued_imports: usize,

    /// Exports written at a time, each with a connection to the database of its own; more are refused with 503.
    #[config(env = "ROSTERHUB_MAX_EXPORTS", default = 4)]
    pub max_exports: usize,

    /// Largest `limit` of a list; larger ones are clamped.
    #[config(env = "ROSTERHUB_MAX_PAGE", default = 10000)]
    pub max_page: u32,

    /// Seconds for which a client may take nothing of a long list or an export, which keep a connection to the database,
    /// or send nothing of an upload. Then it is cut off.
    #[config(env = "ROSTERHUB_STALLED_SECONDS", default = 60)]
    pub stalled_seconds: u64,

    /// Query parameters that a path does not know are ignored. Default: they are refused with 400, so that a
    /// misspelled filter does not hand out everything.
    #[config(env = "ROSTERHUB_IGNORE_UNKNOWN_PARAMETERS", default = false)]
    pub ignore_unknown_parameters: bool,

    /// An unknown name in `fields` selects all fields, as the text of the standard has it. Default: it is refused
    /// with 400, as the standard's OpenAPI file has it.
    #[config(env = "ROSTERHUB_IGNORE_UNKNOWN_FIELDS", default = false)]
    pub ignore_unknown_fields: bool,

    /// What is logged, in the syntax of tracing's filters. Logs go to standard error and hold no personal data.
    #[config(env = "ROSTERHUB_LOG", default = "info,sqlx=warn")]
    pub log: String,

    /// `text` or `json`.
    #[config(env = "ROSTERHUB_LOG_FORMAT", default = "text")]
    pub log_format: LogFormat,

    /// Imports.
    #[config(nested)]
    pub imports: ImportsConfig,

    /// Webhooks.
    #[config(nested)]
    pub webhooks: WebhooksConfig,

    /// Proof of history.
    #[config(nested)]
    pub audit: AuditConfig,

    /// Who received whose data.
    #[config(nested)]
    pub access: AccessConfig,

    /// The GraphQL gateway.
    #[config(nested)]
    pub graphql: GraphqlConfig,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Which headers proxies set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeaders {
    XForwarded,
    Forwarded,
}

/// Keys as they are configured. Not shown by `Debug`.
#[derive(Clone, serde::Deserialize)]
pub struct SecretKeys(String);

impl SecretKeys {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKeys(…)")
    }
}

impl Config {
    /// Reads the environment and the file, if one is named.
    pub fn read(file: Option<&PathBuf>) -> Result<Self, confique::Error> {
        let mut builder = Self::builder().env();
        if let Some(file) = file {
            builder = builder.file(file);
        }
        builder.load()
    }

    /// Connections to the database that imports and exports may take at a time: two for each import, one for each
    /// export, and one for the imports that wait.
    fn connections_needed(&self) -> usize {
        2 * self.max_imports + self.max_exports + 1
    }

    /// Lets fewer imports and exports run at a time when there are not the connections for them, and one for requests:
    /// an import that waits for its second connection must not wait for others that do the same. Says whether it did.
    pub fn fit_connections(&mut self) -> bool {
        let most = self.database_connections as usize;
        let (imports, exports) = (self.max_imports, self.max_exports);
        while self.connections_needed() >= most && self.max_imports.max(self.max_exports) > 1 {
            match self.max_exports > self.max_imports {
                true => self.max_exports -= 1,
                false => self.max_imports -= 1,
            }
        }
        (imports, exports) != (self.max_imports, self.max_exports)
    }

    /// A configuration file with every setting explained, all commented out.
    pub fn template() -> String {
        confique::toml::template::<Self>(confique::toml::FormatOptions::default())
    }

    pub fn data_dir(&self) -> PathBuf {
        if let Some(dir) = &self.data_dir {
            return dir.clone();
        }
        let home = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        // Root's home cannot be entered by the unprivileged user that the private Postgres runs as.
        if is_root() {
            return PathBuf::from("/var/lib/rosterhub");
        }
        home("XDG_DATA_HOME")
            .or_else(|| home("HOME").map(|h| h.join(".local/share")))
            .unwrap_or_else(std::env::temp_dir)
            .join("rosterhub")
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_and_exports_fit_the_connections() {
        for (connections, imports, exports) in [(20, 4, 4), (14, 4, 4), (13, 3, 4), (6, 1, 2), (5, 1, 1), (1, 1, 1)] {
            let mut config = Config::builder().load().unwrap();
            config.database_connections = connections;
            assert_eq!(config.fit_connections(), (imports, exports) != (4, 4));
            assert_eq!((config.max_imports, config.max_exports), (imports, exports), "{connections}");
        }
    }

    #[test]
    fn the_template_names_every_setting() {
        let template = Config::template();
        for setting in [
            "database_url",
            "listen",
            "public_url",
            "trusted_proxies",
            "secret_key",
            "log_format",
            "[imports]",
            "[webhooks]",
            "[access]",
            "[graphql]",
        ] {
            assert!(template.contains(setting), "{setting}");
        }
    }
}
