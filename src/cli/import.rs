//! `rosterhub import`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output, Session};
use crate::csv::import::{Import, Upload};
use crate::csv::job::{self, Job};
use crate::csv::queue::Queue;
use crate::log::Tenant;
use crate::roster::Code;

#[derive(clap::Args)]
pub struct ImportFile {
    /// The set: a zip with manifest.csv, bulk or delta for each file.
    file: PathBuf,
    /// The board it belongs to.
    #[arg(long)]
    tenant: Tenant,
}

/// Errors shown; all of them stand in the job, and `--json` prints all.
const SHOWN: i64 = 50;

impl ImportFile {
    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let job = import(session, output, &self.tenant, self.file).await?;
        let errors =
            job::errors(&session.log, &self.tenant, job.id, 0, if output.json { i64::MAX } else { SHOWN }).await?;
        let listed: Vec<_> = errors
            .iter()
            .map(|e| {
                let message = Code::from_name(&e.code).map_or("", Code::english);
                json!({ "file": e.file, "line": e.line, "column": e.column, "code": e.code, "value": e.value, "message": message })
            })
            .collect();
        output.result(&json!({ "import": job, "errors": listed }), || summary(&job))?;
        if !output.json {
            for e in &errors {
                let message = Code::from_name(&e.code).map_or("", Code::english);
                println!("  {}:{} {} {:?}: {} {message}", e.file, e.line, e.column, e.value, e.code);
            }
            if job.errors > SHOWN {
                println!("  … and {} more; `--json` prints all", job.errors - SHOWN);
            }
        }
        Ok(match (job.state.as_str(), job.errors) {
            ("completed", _) => ExitCode::SUCCESS,
            (_, 0) => ExitCode::FAILURE,
            _ => ExitCode::from(2),
        })
    }
}

/// Imports a file with a progress bar.
pub async fn import(session: &Session, output: Output, tenant: &Tenant, path: PathBuf) -> Result<Job, Failure> {
    let file_name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let file = std::fs::File::open(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let upload =
        Upload { file, file_name, client: "cli".to_owned(), max_unpacked_bytes: session.config.max_unpacked_bytes };
    let place = Queue::new(1, 0).place().ok_or("the queue is full")?;
    let import = Import::accept(&session.log, tenant, upload, place).await?;
    let mut progress = import.progress();
    let bar = output.progress("queued");
    let shown = bar.clone();
    let watching = tokio::spawn(async move {
        while progress.changed().await.is_ok() {
            let now = progress.borrow_and_update().clone();
            shown.set_message(now.state);
            shown.set_position(now.done);
            if let Some(total) = now.total {
                shown.set_length(total);
            }
        }
    });
    let job = import.run().await?;
    watching.await?;
    bar.finish_and_clear();
    Ok(job)
}

/// What became of it, for people.
pub fn summary(job: &Job) -> String {
    let mut text = match (&job.position, &job.failure) {
        (Some(position), _) => format!("import {} applied; the roster stands at position {position}", job.id),
        (None, Some(failure)) => format!("import {} failed: {failure}", job.id),
        (None, None) => format!("import {} refused: {} errors; nothing was changed", job.id, job.errors),
    };
    if let Some(changes) = job.changes.as_object().filter(|_| job.position.is_some()) {
        for (entity, counts) in changes {
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
    }
    text
}
