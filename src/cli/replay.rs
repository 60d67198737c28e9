//! `rosterhub replay`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::ProgressBar;
use serde_json::json;

use super::export::to_file;
use super::{Failure, Output, Session};
use crate::db::Db;
use crate::export::options::{Moment, Options, moment};
use crate::export::{Export, position};
use crate::history::replay::{copy, unit_end};
use crate::log::{Log, Tenant};
use crate::projection::Difference;
use crate::roster::EntityType;

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("where").required(true)))]
pub struct Replay {
    /// The board whose roster is made anew.
    #[arg(long)]
    tenant: Tenant,
    /// The state to make anew: a log position, or a time YYYY-MM-DDThh:mm:ssZ.
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: String,
    /// Write the roster as a OneRoster set, the same bytes each time.
    #[arg(long, value_name = "FILE", group = "where")]
    out: Option<PathBuf>,
    /// Edition of the set, as of `rosterhub export`.
    #[arg(long, requires = "out")]
    edition: Option<String>,
    /// Fill this database, which does not know the board yet: events, as they are, and read models.
    #[arg(long, value_name = "DATABASE_URL", group = "where")]
    into: Option<String>,
    /// Compare what was made with what the live database says of that position, row by row.
    #[arg(long)]
    verify: bool,
}

/// What came of it.
struct Done {
    /// Events that it was made from.
    events: i64,
    difference: Option<Difference>,
}

impl Replay {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let (log, tenant) = (&session.log, &self.tenant);
        let head = log.head(tenant).await?.ok_or_else(|| format!("there is no tenant {tenant}"))?;
        let at = moment("--as-of", &self.as_of)?;
        let at = position(log, tenant, "--as-of", Some(at)).await?.unwrap_or(head);
        if at > head {
            return Err(format!("--as-of lies beyond the head of the log, {head}").into());
        }
        let end = unit_end(log, tenant, at).await?;
        let done = match (&self.out, &self.into) {
            (Some(path), _) => self.write(session, output, (at, end), path).await?,
            (None, Some(url)) => self.fill(session, output, (at, end), url).await?,
            (None, None) => return Err("--out or --into says where".into()), // clap has seen to it
        };
        let found = done
            .difference
            .as_ref()
            .map(|d| json!({ "table": d.table, "sourcedId": d.sourced_id, "since": d.since, "what": d.what }));
        let told = json!({
            "tenant": tenant.as_str(), "position": at, "events": done.events, "verified": self.verify, "difference": found,
        });
        output.result(&told, || {
            let made = format!("{tenant}: the roster at position {at}, made anew from {} events", done.events);
            match (&done.difference, self.verify) {
                (_, false) => made,
                (None, true) => format!("{made}; it is what the live database says"),
                (Some(d), true) => format!(
                    "{made}; the first difference to the live database: {} in {}: {} since {}",
                    d.what, d.table, d.sourced_id, d.since
                ),
            }
        })?;
        Ok(if done.difference.is_some() { ExitCode::from(3) } else { ExitCode::SUCCESS })
    }

    /// Into a set, by way of read models beside the live ones.
    async fn write(
        &self,
        session: &Session,
        output: Output,
        (at, end): (i64, i64),
        path: &Path,
    ) -> Result<Done, Failure> {
        let (log, tenant) = (&session.log, &self.tenant);
        let edition = self.edition.iter().map(|edition| ("edition".to_owned(), edition.clone()));
        let mut options = Options::read(&edition.collect::<Vec<_>>())?;
        options.as_of = Some(Moment::Position(at));
        let bar = output.progress("projecting");
        let past = log.projections().past(log.db(), tenant, end, |done, total| show(&bar, done, total)).await?;
        bar.finish_and_clear();
        let made = async {
            let difference = match self.verify {
                true => {
                    let (mut live, mut made) = (log.db().snapshot(tenant).await?, log.db().snapshot(tenant).await?);
                    past.show_to(&mut made).await?;
                    log.projections().compare(tenant, at, &mut live, &mut made).await?
                }
                false => None,
            };
            let mut export = Export::open(log, tenant, options, &EntityType::ALL, None).await?;
            export.read_from(&past).await?;
            let (_, file) = to_file(&mut export, path, output).await?;
            file.persist(path)?;
            Ok::<_, Failure>(Done { events: end, difference })
        }
        .await;
        past.drop().await?;
        made
    }

    /// Into a database.
    async fn fill(&self, session: &Session, output: Output, (at, end): (i64, i64), url: &str) -> Result<Done, Failure> {
        let (log, tenant) = (&session.log, &self.tenant);
        let into = Log::open(Db::open(url, session.config.database_connections).await?).await?;
        let bar = output.progress("");
        let progress = |name: &'static str, done, total| {
            if bar.message() != name {
                bar.set_message(name);
                bar.reset_eta();
            }
            show(&bar, done, total);
        };
        let copied = copy(log, &into, tenant, end, progress).await;
        bar.finish_and_clear();
        copied?;
        let difference = match self.verify {
            true => {
                let (mut live, mut made) = (log.db().snapshot(tenant).await?, into.db().snapshot(tenant).await?);
                log.projections().compare(tenant, at, &mut live, &mut made).await?
            }
            false => None,
        };
        into.db().close().await;
        Ok(Done { events: end, difference })
    }
}

fn show(bar: &ProgressBar, done: i64, total: i64) {
    bar.set_length(total.unsigned_abs());
    bar.set_position(done.unsigned_abs());
}
