//! `rosterhub import errors`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::import::Named;
use super::{Failure, Output, Session};
use crate::csv::encoding::Encoding;
use crate::csv::job::{self, JobError};
use crate::export::errors::{ErrorRows, encoding_of};
use crate::roster::{Code, Language};

pub fn language(ja: bool) -> Language {
    if ja { Language::Japanese } else { Language::English }
}

/// What is wrong and how to mend it.
fn texts(code: &str, language: Language) -> (&'static str, &'static str) {
    Code::from_name(code).map(|code| (code.message(language), code.mend(language))).unwrap_or_default()
}

/// An error as JSON.
pub fn listed(e: &JobError, language: Language) -> serde_json::Value {
    let (message, mend) = texts(&e.code, language);
    json!({ "file": e.file, "line": e.line, "column": e.column, "code": e.code, "value": e.value,
            "message": message, "mend": mend })
}

/// An error as a line.
pub fn line(e: &JobError, language: Language) -> String {
    let (message, mend) = texts(&e.code, language);
    format!("  {}:{} {} {:?}: {} {message} {mend}", e.file, e.line, e.column, e.value, e.code)
}

/// Errors that are read at once.
const PAGE: i64 = 1_000;

/// Passes all errors of an import on, a page at a time.
async fn each_page(
    session: &Session,
    Named { id, tenant }: &Named,
    mut take: impl FnMut(Vec<JobError>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let page = job::errors(&session.log, tenant, *id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        take(page)?;
    }
}

/// Prints all.
pub async fn list_errors(
    session: &Session,
    output: Output,
    import: &Named,
    language: Language,
) -> Result<ExitCode, Failure> {
    job::find(&session.log, &import.tenant, import.id).await?.ok_or("there is no import of this id")?;
    let mut all = Vec::new();
    each_page(session, import, |page| {
        match output.json {
            true => all.extend(page.iter().map(|error| listed(error, language))),
            false => page.iter().for_each(|error| println!("{}", line(error, language))),
        }
        Ok(())
    })
    .await?;
    if output.json {
        output.result(&json!({ "errors": all }), String::new)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all to a CSV file.
pub async fn write_errors(
    session: &Session,
    output: Output,
    import: &Named,
    path: &Path,
    encoding: Option<Encoding>,
    language: Language,
) -> Result<ExitCode, Failure> {
    let job = job::find(&session.log, &import.tenant, import.id).await?.ok_or("there is no import of this id")?;
    let rows = ErrorRows { encoding: encoding.unwrap_or_else(|| encoding_of(&job)), language };
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut file = File::create(path).map_err(failed)?;
    file.write_all(&rows.header()).map_err(failed)?;
    each_page(session, import, |page| Ok(file.write_all(&rows.rows(&page)).map_err(failed)?)).await?;
    let written = json!({ "errors": job.errors, "file": path, "encoding": rows.encoding.name() });
    output.result(&written, || format!("{} errors in {}, {}", job.errors, path.display(), rows.encoding.name()))?;
    Ok(ExitCode::SUCCESS)
}
