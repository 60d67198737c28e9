//! `rosterhub import`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::de::DeserializeOwned;
use serde_json::json;
use uuid::Uuid;

use super::import_errors::{language, line, list_errors, listed, write_errors};
use super::{Failure, Output, Session};
use crate::csv::conversion::Conversion;
use crate::csv::decision::{DecisionError, GiveUp};
use crate::csv::edition::{Edition, NAMES};
use crate::csv::encoding::{Encoding, WISHES, Wish};
use crate::csv::import::Asker;
use crate::csv::intake::Intake;
use crate::csv::job::{self, Job};
use crate::csv::listing;
use crate::csv::options::{
    APPLY, Apply, FileMode, MODES, ON_CONFLICTS, ON_ERRORS, OnConflicts, OnErrors, Options, named,
};
use crate::csv::rules::{STRICTNESSES, Strictness};
use crate::log::Tenant;
use crate::roster::Language;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ImportCommand {
    #[command(subcommand)]
    decision: Option<Decision>,
    #[command(flatten)]
    file: Option<ImportFile>,
}

#[derive(clap::Args)]
pub struct ImportFile {
    /// The set: a zip with manifest.csv, bulk or delta for each file; or a CSV file of the binding; or a workbook (.xlsx)
    /// with a sheet for each file.
    file: PathBuf,
    /// The board it belongs to.
    #[arg(long)]
    tenant: Tenant,
    /// Plan only: nothing is applied until the plan is approved. The same as `--apply never`.
    #[arg(long)]
    dry_run: bool,
    /// When the plan is applied without being approved.
    #[arg(long, value_parser = word::<Apply>(&APPLY), default_value = "safe")]
    apply: Apply,
    /// What becomes of a set that has errors.
    #[arg(long, value_parser = word::<OnErrors>(&ON_ERRORS), default_value = "reject")]
    on_errors: OnErrors,
    /// In which the files are. A byte order mark counts more.
    #[arg(long, value_parser = word::<Wish>(&WISHES), default_value = "auto")]
    encoding: Wish,
    /// Of a CSV file or workbook without manifest: `bulk` tells all, and what is absent is withdrawn; `delta` tells
    /// changes; `auto` is delta if the rows have a status, else nothing is withdrawn.
    #[arg(long, value_parser = word::<FileMode>(&MODES), default_value = "auto")]
    mode: FileMode,
    /// The edition that the set follows; without it, its manifest and columns tell.
    #[arg(long, value_parser = word::<Edition>(&NAMES))]
    edition: Option<Edition>,
    /// How strictly the set is looked at; without it, as the server is set.
    #[arg(long, value_parser = word::<Strictness>(&STRICTNESSES))]
    rules: Option<Strictness>,
}

#[derive(clap::Subcommand)]
enum Decision {
    /// The latest imports.
    List {
        #[arg(long)]
        tenant: Tenant,
        #[arg(long, default_value_t = 20)]
        limit: i64,
    },
    /// One import, and its plan with a few records of each kind.
    Show {
        #[command(flatten)]
        import: Named,
    },
    /// The errors of an import.
    Errors {
        #[command(flatten)]
        import: Named,
        /// Write all of them to this CSV file, in the encoding of the files that were handed in.
        #[arg(long, value_name = "FILE")]
        csv: Option<PathBuf>,
        /// Encoding of the CSV file.
        #[arg(long, requires = "csv", value_parser = clap::builder::PossibleValuesParser::new(Encoding::ALL.map(Encoding::name)))]
        encoding: Option<String>,
        /// Texts in Japanese.
        #[arg(long)]
        ja: bool,
    },
    /// Apply a plan that waits, if the roster still stands as it was planned on.
    Approve {
        #[command(flatten)]
        import: Named,
        /// Id of the plan, as `show` names it.
        #[arg(long)]
        plan: Uuid,
        /// In a revert: what becomes of records that changed after the import.
        #[arg(long, value_parser = word::<OnConflicts>(&ON_CONFLICTS))]
        conflicts: Option<OnConflicts>,
    },
    /// Throw away a plan that waits.
    Discard {
        #[command(flatten)]
        import: Named,
    },
    /// End an import that has not begun to apply.
    Cancel {
        #[command(flatten)]
        import: Named,
    },
    /// Take a completed import back.
    Revert {
        #[command(flatten)]
        import: Named,
        /// When the plan is applied without being approved.
        #[arg(long, value_parser = word::<Apply>(&APPLY), default_value = "safe")]
        apply: Apply,
        /// What becomes of records that changed after the import.
        #[arg(long, value_parser = word::<OnConflicts>(&ON_CONFLICTS), default_value = "hold")]
        conflicts: OnConflicts,
    },
}

#[derive(clap::Args)]
pub struct Named {
    /// Id of the import.
    pub id: Uuid,
    /// The board it belongs to.
    #[arg(long)]
    pub tenant: Tenant,
}

/// Errors shown; all of them stand in the job, and `--json` prints all.
const SHOWN: i64 = 50;

/// Exit statuses besides 0 and 1.
const HAS_ERRORS: u8 = 2;
const WAITS: u8 = 4;
const REFUSED: u8 = 5;

/// Reads an option by its name.
fn word<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [&'static str],
) -> impl clap::builder::TypedValueParser<Value = T> {
    use clap::builder::{PossibleValuesParser, TypedValueParser as _};
    PossibleValuesParser::new(names).try_map(|name| named::<T>(&name).ok_or("no such word"))
}

fn operator() -> Asker {
    Asker { id: "cli".to_owned(), name: "cli".to_owned() }
}

impl ImportCommand {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        match (self.decision, self.file) {
            (Some(decision), _) => decision.run(session, output).await,
            (None, Some(file)) => file.run(session, output).await,
            (None, None) => Err("name a file, or one of list, show, errors, approve, discard, cancel, revert".into()),
        }
    }
}

impl ImportFile {
    async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let apply = if self.dry_run { Apply::Never } else { self.apply };
        let Self { on_errors, encoding, mode, edition, rules, .. } = self;
        let options = Options { apply, on_errors, encoding, mode, edition, rules, ..Options::default() };
        let job = import(session, output, &self.tenant, self.file, options).await?;
        outcome(session, output, &self.tenant, &job).await
    }
}

impl Decision {
    async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let intake = Intake::new(&session.log, &session.config);
        let (tenant, decided) = match self {
            Self::List { tenant, limit } => return list(session, output, &tenant, limit).await,
            Self::Show { import } => return show(session, output, &import).await,
            Self::Errors { import, csv: None, ja, .. } => {
                return list_errors(session, output, &import, language(ja)).await;
            }
            Self::Errors { import, csv: Some(path), encoding, ja } => {
                let encoding = encoding.and_then(|name| Encoding::from_name(&name));
                return write_errors(session, output, &import, &path, encoding, language(ja)).await;
            }
            Self::Approve { import: Named { id, tenant }, plan, conflicts } => {
                let decided = intake.approve(&tenant, operator(), id, plan, conflicts).await.map(|()| id);
                (tenant, decided)
            }
            Self::Discard { import } => give_up(&intake, import, GiveUp::Discard).await,
            Self::Cancel { import } => give_up(&intake, import, GiveUp::Cancel).await,
            Self::Revert { import: Named { id, tenant }, apply, conflicts } => {
                let options = Options { apply, on_conflicts: conflicts, ..Options::default() };
                let decided = intake.revert(&tenant, operator(), id, options).await;
                (tenant, decided)
            }
        };
        match decided {
            Ok(id) => {
                let job = follow(session, &intake, output, &tenant, id).await?;
                outcome(session, output, &tenant, &job).await
            }
            Err(DecisionError::Refused(why)) => {
                let refused = json!({ "error": { "code": why.code(), "message": why.english() } });
                output.result(&refused, || format!("refused: {}", why.english()))?;
                Ok(ExitCode::from(REFUSED))
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn give_up(intake: &Intake, Named { id, tenant }: Named, way: GiveUp) -> (Tenant, Result<Uuid, DecisionError>) {
    let decided = intake.give_up(&tenant, &operator(), id, way).await.map(|()| id);
    (tenant, decided)
}

async fn list(session: &Session, output: Output, tenant: &Tenant, limit: i64) -> Result<ExitCode, Failure> {
    let jobs = job::list(&session.log, tenant, limit, 0).await?;
    output.result(&json!({ "imports": jobs }), || {
        let line = |job: &Job| {
            format!("{} {} {:<10} {}", job.id, job.created_at.format("%Y-%m-%d %H:%M"), job.state, job.file_name)
        };
        jobs.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn show(session: &Session, output: Output, Named { id, tenant }: &Named) -> Result<ExitCode, Failure> {
    let job = job::find(&session.log, tenant, *id).await?.ok_or("there is no import of this id")?;
    let samples = match job.stands() {
        true => listing::samples(&session.log, tenant, &job, |_| true).await?,
        false => Vec::new(),
    };
    let schools = listing::schools(&session.log, tenant, &job).await?;
    let shown = json!({ "import": job, "schools": schools, "samples": samples });
    output.result(&shown, || {
        let mut text = summary(&job);
        for school in &schools {
            text += &format!("\n  {} {}", school.school, school.name.as_deref().unwrap_or_default());
            text += &counts(&json!(school.changes));
        }
        for record in &samples {
            let members: Vec<&str> = record.members.iter().map(|member| member.name.as_str()).collect();
            text +=
                &format!("\n  {} {} {}: {}", record.kind, record.entity.name(), record.sourced_id, members.join(", "));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what became of an import.
async fn outcome(session: &Session, output: Output, tenant: &Tenant, job: &Job) -> Result<ExitCode, Failure> {
    let limit = if output.json { i64::MAX } else { SHOWN };
    let errors = job::errors(&session.log, tenant, job.id, 0, limit).await?;
    let listed: Vec<_> = errors.iter().map(|error| listed(error, Language::English)).collect();
    output.result(&json!({ "import": job, "errors": listed }), || summary(job))?;
    if !output.json {
        for e in &errors {
            println!("{}", line(e, Language::English));
        }
        if job.errors > SHOWN {
            println!("  … and {} more; `rosterhub import errors {}` lists all", job.errors - SHOWN, job.id);
        }
    }
    Ok(match job.state.as_str() {
        "completed" | "planned" | "discarded" | "cancelled" => ExitCode::SUCCESS,
        "held" => ExitCode::from(WAITS),
        _ if job.errors > 0 => ExitCode::from(HAS_ERRORS),
        _ => ExitCode::FAILURE,
    })
}

/// Imports a file with a progress bar.
pub async fn import(
    session: &Session,
    output: Output,
    tenant: &Tenant,
    path: PathBuf,
    options: Options,
) -> Result<Job, Failure> {
    let file_name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let file = std::fs::File::open(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let intake = Intake::new(&session.log, &session.config);
    let id = intake.start(tenant, operator(), file, &file_name, options).await?;
    follow(session, &intake, output, tenant, id).await
}

/// Shows how far an import is until it rests.
async fn follow(session: &Session, intake: &Intake, output: Output, tenant: &Tenant, id: Uuid) -> Result<Job, Failure> {
    if let Some(mut progress) = intake.progress(id) {
        let bar = output.progress("queued");
        while progress.changed().await.is_ok() {
            let now = progress.borrow_and_update().clone();
            bar.set_message(now.state);
            bar.set_position(now.done);
            if let Some(total) = now.total {
                bar.set_length(total);
            }
        }
        bar.finish_and_clear();
    }
    Ok(job::find(&session.log, tenant, id).await?.ok_or("the job is gone")?)
}

/// What became of it, for people.
pub fn summary(job: &Job) -> String {
    let what = if job.is_revert() { "revert" } else { "import" };
    let mut text = match (&job.position, &job.failure, job.plan) {
        (Some(position), ..) => format!("{what} {} applied; the roster stands at position {position}", job.id),
        (None, Some(failure), _) => format!("{what} {} {}: {failure}", job.id, job.state),
        (None, None, Some(plan)) if job.stands() => {
            format!(
                "{what} {} is {}; nothing was changed\n  plan {plan}, which `import approve` applies",
                job.id, job.state
            )
        }
        (None, None, _) if job.errors > 0 => {
            format!("{what} {} refused: {} errors; nothing was changed", job.id, job.errors)
        }
        _ => format!("{what} {} is {}", job.id, job.state),
    };
    for passed in job.thresholds.iter().filter(|_| job.stands()) {
        let of = passed.school.as_deref().unwrap_or("the whole board");
        text += &format!(
            "\n  {} of {} active {} records at {of} would be {}; {} % may be",
            passed.records,
            passed.active,
            passed.entity.name(),
            passed.kind,
            passed.limit
        );
    }
    if job.conflicts > 0 && job.stands() {
        text += &format!("\n  {} records changed after the import: keep or restore them", job.conflicts);
    }
    for (file, encoding) in job.encodings.iter().filter(|(_, encoding)| *encoding != "utf-8") {
        text += &format!("\n  {file}.csv was read as {encoding}");
    }
    for Conversion { file, column, kind, rows } in job.conversions.iter() {
        let kind = serde_json::to_value(kind).ok();
        let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default();
        text += &format!("\n  {file} {column}: {kind}");
        text += &rows.map(|rows| format!(", {rows} rows")).unwrap_or_default();
    }
    for (file, rows) in job.left_out.iter() {
        text += &format!("\n  {rows} rows of {file}.csv have errors and are left out");
    }
    if !job.not_withdrawn.is_empty() {
        let names: Vec<&str> = job.not_withdrawn.iter().map(|kind| kind.name()).collect();
        text += &format!("\n  nothing is withdrawn as absent of {}", names.join(", "));
    }
    if job.position.is_some() || job.stands() {
        text += &counts(&job.changes);
    }
    text
}

fn counts(changes: &serde_json::Value) -> String {
    let mut text = String::new();
    for (entity, counts) in changes.as_object().into_iter().flatten() {
        let count = |name: &str| counts[name].as_i64().unwrap_or(0);
        text += &format!(
            "\n  {entity:<16} {:>8} created {:>8} changed {:>8} restored {:>8} withdrawn {:>8} unchanged",
            count("created"),
            count("changed"),
            count("restored"),
            count("withdrawn"),
            count("unchanged")
        );
    }
    text
}
