//! The command line.

mod audit;
mod client;
mod demo;
mod errors;
mod event_types;
mod export;
mod history;
mod import;
mod import_errors;
mod key;
mod openapi;
mod rebuild;
mod replay;
mod sample;
mod serve;
mod tenant;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::{Config, LogFormat};
use crate::csv::interrupted::close_interrupted;
use crate::db::Db;
use crate::db::embedded::{EmbeddedPostgres, Settings};
use crate::graphql;
use crate::log::{Log, Tenant};

/// School-roster hub: OneRoster sets go in, one event log keeps them, REST serves the roster.
#[derive(Parser)]
#[command(version, max_term_width = 110, after_help = "Begin with `rosterhub demo`. Settings: `rosterhub config`.")]
pub struct Cli {
    /// Configuration file (TOML); `rosterhub config` prints one to begin with.
    #[arg(long, global = true, env = "ROSTERHUB_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print results as JSON, and no progress bars.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the REST gateway.
    Serve,
    /// Start everything on a private Postgres with a sample city, and show what to try.
    Demo(demo::Demo),
    /// Import a OneRoster set (zip with manifest.csv), all or nothing; look at plans and decide on them.
    ///
    /// Exit status: 0 done (applied; planned, where only a plan was asked for), 2 the set has errors (listed), 4 the
    /// plan waits for a decision, 5 the decision was refused, 1 anything else.
    Import(import::ImportCommand),
    /// Write the roster, or what has changed of it, as a OneRoster set.
    Export(export::ExportSet),
    /// Make the read models anew from the log, beside the live ones, and put right what differs.
    Rebuild(rebuild::Rebuild),
    /// Recompute the read models from the log, compare, and name the first difference.
    ///
    /// Exit status: 0 all agree, 3 something differs.
    Verify(rebuild::Verify),
    /// The life of records as a timeline: what changed, field by field, when, and by whom.
    History(history::History),
    /// Make a past roster anew from the events alone: as a OneRoster set, or in a database of its own.
    ///
    /// Exit status: 0 done, 3 it is not what the live database says of that position (with --verify), 1 anything else.
    Replay(replay::Replay),
    /// Proof of history: examine the log, or hand out files that prove.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Tenants: one for each board of education.
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Clients: who may call the hub, and what for.
    ///
    /// A learning tool proves itself with a client_id and a secret at /oauth/token and is given an access token for an
    /// hour (OAuth 2.0 client credentials, as OneRoster 1.2 has it). A script may use an API key instead, which is
    /// sent as the bearer token itself.
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// The keys that sign access tokens.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Write a sample OneRoster set of a Japanese city. Nobody in it is real.
    Sample(sample::Sample),
    /// Print the OpenAPI document of the Rostering service, or of the hub's own paths.
    Openapi(openapi::Openapi),
    /// Print the GraphQL schema, in its own language.
    Schema,
    /// Print the list of errors, as docs/errors.md has it.
    Errors(errors::ErrorList),
    /// Print the catalogue of event types of webhooks, as docs/event-types.md has it.
    EventTypes,
    /// Print a configuration file with every setting explained.
    Config,
}

/// Anything that ends a command.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command that the arguments name.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rosterhub: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    async fn run(self) -> Result<ExitCode, Failure> {
        let output = Output { json: self.json };
        match &self.command {
            Command::Config => {
                print!("{}", Config::template());
                return Ok(ExitCode::SUCCESS);
            }
            Command::Sample(sample) => return sample.run(output),
            Command::Openapi(openapi) => return Ok(openapi.run()),
            Command::Audit(audit) => {
                if let Some(outcome) = audit.offline(output) {
                    return outcome;
                }
            }
            Command::Errors(errors) => return Ok(errors.run()),
            Command::EventTypes => return Ok(event_types::run()),
            Command::Schema => {
                print!("{}", graphql::schema::sdl(&graphql::schema::build()?));
                return Ok(ExitCode::SUCCESS);
            }
            _ => {}
        }
        let config = Config::read(self.config.as_ref())?;
        log_to_stderr(&config);
        let session = Session::open(config).await?;
        let outcome = match self.command {
            Command::Serve => serve::serve(&session, async |_| Ok(())).await,
            Command::Demo(demo) => demo.run(&session, output).await,
            Command::Import(import) => import.run(&session, output).await,
            Command::Export(export) => export.run(&session, output).await,
            Command::Rebuild(rebuild) => rebuild.run(&session, output).await,
            Command::Verify(verify) => verify.run(&session, output).await,
            Command::History(history) => history.run(&session, output).await,
            Command::Replay(replay) => replay.run(&session, output).await,
            Command::Audit(command) => command.run(&session, output).await,
            Command::Tenant(command) => command.run(&session, output).await,
            Command::Client(command) => command.run(&session, output).await,
            Command::Key(command) => command.run(&session, output).await,
            Command::Config
            | Command::Sample(_)
            | Command::Openapi(_)
            | Command::Schema
            | Command::Errors(_)
            | Command::EventTypes => Ok(ExitCode::SUCCESS),
        };
        session.close().await;
        outcome
    }
}

/// The database and the log, opened for one command.
struct Session {
    config: Config,
    log: Log,
    embedded: Option<EmbeddedPostgres>,
}

impl Session {
    async fn open(config: Config) -> Result<Self, Failure> {
        let (url, embedded) = match &config.database_url {
            Some(url) => (url.clone(), None),
            None => {
                let settings = Settings {
                    data_dir: config.data_dir(),
                    durable: true,
                    stop_with_process: false,
                    remove_on_stop: false,
                    parameters: Vec::new(),
                };
                let postgres = tokio::task::spawn_blocking(move || EmbeddedPostgres::start(&settings)).await??;
                (postgres.url("rosterhub"), Some(postgres))
            }
        };
        match open_log(&url, &config).await {
            Ok(log) => Ok(Self { config, log, embedded }),
            Err(failure) => {
                stop(embedded).await;
                Err(failure)
            }
        }
    }

    /// Stops the private Postgres if this process started it and no other works with it.
    async fn close(self) {
        let company = self.log.db().has_company().await.unwrap_or(false);
        self.log.db().close().await;
        if !company {
            stop(self.embedded).await;
        }
    }

    /// The tenants a command is for: the one named, or all.
    async fn tenants(&self, named: Option<&Tenant>) -> Result<Vec<Tenant>, Failure> {
        match named {
            Some(tenant) => Ok(vec![tenant.clone()]),
            None => Ok(self.log.tenants().await?),
        }
    }
}

async fn open_log(url: &str, config: &Config) -> Result<Log, Failure> {
    let log = Log::open(Db::open(url, config.database_connections).await?).await?;
    let interrupted = close_interrupted(&log).await?;
    if interrupted > 0 {
        tracing::warn!(interrupted, "imports that were interrupted have been closed; nothing of them was applied");
    }
    Ok(log)
}

/// Stops the private Postgres, if this process started it.
async fn stop(embedded: Option<EmbeddedPostgres>) {
    if let Some(postgres) = embedded.filter(|postgres| !postgres.adopted()) {
        let stopped = tokio::task::spawn_blocking(move || postgres.stop()).await;
        if let Ok(Err(error)) = stopped {
            tracing::warn!(%error, "the private Postgres did not stop");
        }
    }
}

/// How a command shows its results.
#[derive(Clone, Copy)]
struct Output {
    json: bool,
}

impl Output {
    /// Prints the result as JSON, or as the text.
    fn result(self, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            println!("{}", serde_json::to_string(value)?);
        } else {
            println!("{}", text());
        }
        Ok(())
    }

    fn progress(self, what: &str) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::no_length().with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(
            "{msg:<10} {human_pos:>10}/{human_len} {per_sec} {wide_bar} {elapsed} ETA {eta}",
        ) {
            bar.set_style(style);
        }
        bar
    }
}

fn log_to_stderr(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(&config.log);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Another subscriber can only be there in tests.
    let _ = match config.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
