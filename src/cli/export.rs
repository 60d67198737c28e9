//! `rosterhub export`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::ProgressBar;
use tempfile::NamedTempFile;

use super::{Failure, Output, Session};
use crate::access::{Access, Asked, Entry, People, Recipient, Via};
use crate::export::cursors::Cursors;
use crate::export::options::{Options, PARAMETERS};
use crate::export::set::Sink;
use crate::export::{Export, Summary, tell_ready};
use crate::log::Tenant;
use crate::roster::EntityType;

/// Whose cursors `--cursor` means, and who takes the set.
const CLIENT: &str = "cli";

#[derive(clap::Args)]
pub struct ExportSet {
    /// The board whose roster is taken out.
    #[arg(long)]
    tenant: Tenant,
    /// Where to write the zip. Without it, to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Edition of the CSV binding: 1.2.1, 1.2, japan-2, japan-1.2.1 or 1.2_JP. Without it, 1.2.1.
    #[arg(long)]
    edition: Option<String>,
    /// The state to take out: a log position, or a time YYYY-MM-DDThh:mm:ssZ. Without it, now.
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<String>,
    /// Write a delta: what has changed after this log position or time.
    #[arg(long, value_name = "POSITION|TIME", conflicts_with = "cursor")]
    since: Option<String>,
    /// Write a delta since the position that stands under this name, and move it once the set is written.
    #[arg(long, value_name = "NAME")]
    cursor: Option<String>,
    /// Only what belongs to these orgs and those below them, and what that refers to; sourcedIds, commas between.
    #[arg(long, value_name = "ID,…")]
    schools: Option<String>,
    /// Only these files: users,enrollments.
    #[arg(long, value_name = "FILE,…")]
    files: Option<String>,
    /// Begin files with a byte order mark.
    #[arg(long)]
    bom: bool,
    /// utf-8 or cp932. The binding knows UTF-8 only.
    #[arg(long)]
    encoding: Option<String>,
    /// Put an apostrophe before cells that a spreadsheet may take for a formula. Changes data.
    #[arg(long)]
    formula_guard: bool,
    /// Write nothing: tell what the set would hold, and what it would not say.
    #[arg(long, conflicts_with_all = ["out", "cursor"])]
    report: bool,
}

impl ExportSet {
    fn options(&self) -> Result<Options, Failure> {
        let flag = |set: bool| set.then(|| "true".to_owned());
        let value = |name: &str| match name {
            "edition" => self.edition.clone(),
            "asOf" => self.as_of.clone(),
            "since" => self.since.clone(),
            "cursor" => self.cursor.clone(),
            "schools" => self.schools.clone(),
            "files" => self.files.clone(),
            "bom" => flag(self.bom),
            "encoding" => self.encoding.clone(),
            "formulaGuard" => flag(self.formula_guard),
            _ => None, // the file's name is what --out says
        };
        let pairs = PARAMETERS.iter().filter_map(|parameter| Some((parameter.name.to_owned(), value(parameter.name)?)));
        Ok(Options::read(&pairs.collect::<Vec<_>>())?)
    }

    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let options = self.options()?;
        if session.log.head(&self.tenant).await?.is_none() {
            return Err(format!("there is no tenant {}", self.tenant).into());
        }
        let cursors = Cursors { log: &session.log, tenant: &self.tenant, client: CLIENT };
        let acknowledged = match &self.cursor {
            Some(name) => cursors.find(name).await?.map(|cursor| cursor.position),
            None => None,
        };
        let mut export = Export::open(&session.log, &self.tenant, options, &EntityType::ALL, acknowledged).await?;
        if self.report {
            let summary = export.write(io::sink()).await?;
            output.result(&summary, || text(&summary))?;
            return Ok(ExitCode::SUCCESS);
        }
        self.record(session, &export).await?;
        let (summary, file) = match &self.out {
            Some(path) => {
                let (summary, file) = to_file(&mut export, path, output).await?;
                (summary, Some((file, path)))
            }
            None if io::stdout().is_terminal() => {
                return Err("a zip is nothing for a terminal; name a file with --out".into());
            }
            None => (export.write(BufWriter::new(io::stdout())).await?, None),
        };
        let schools = export.options().schools.clone();
        drop(export); // its connection
        tell_ready(&session.log, &self.tenant, CLIENT, schools, &summary).await?;
        // The file is there when the set is whole and told of, and not before.
        if let Some((file, path)) = file {
            file.persist(path)?;
        }
        if let Some(name) = &self.cursor {
            cursors.acknowledge(name, summary.position, false).await?;
        }
        match self.out {
            Some(_) => output.result(&summary, || text(&summary))?,
            // Standard output is taken.
            None if output.json => eprintln!("{}", serde_json::to_string(&summary)?),
            None => eprintln!("{}", text(&summary)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl ExportSet {
    /// What is taken out by command is in the access log as well, before it is there.
    async fn record(&self, session: &Session, export: &Export) -> Result<(), Failure> {
        let query = crate::export::form(export.options());
        let asked = Asked::new(Recipient::cli(), Via::Export, "exportSet", ("rosterhub", " export"), &query);
        let entry = Entry::new(&self.tenant, asked, export.to.position, People::many(None));
        Ok(Access::write_now(&session.log, &session.config.access, entry).await?)
    }
}

/// Writes the set beside the place of its file.
pub async fn to_file(export: &mut Export, path: &Path, output: Output) -> Result<(Summary, NamedTempFile), Failure> {
    let file = beside(path)?;
    let bar = output.progress("bytes");
    let sink = Counted { inner: BufWriter::new(file.reopen()?), bar: bar.clone() };
    let written = export.write(sink).await;
    bar.finish_and_clear();
    Ok((written?, file))
}

/// A file beside the place of another, to take it once it is whole.
pub fn beside(path: &Path) -> Result<NamedTempFile, Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().permissions(permissions()).tempfile_in(dir);
    Ok(file.map_err(|e| format!("cannot write in {}: {e}", dir.display()))?)
}

/// Those of any file; temporary ones are their owner's alone.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

struct Counted<W> {
    inner: W,
    bar: ProgressBar,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bar.inc(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write + Send> Sink for Counted<W> {
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }
}

fn text(summary: &Summary) -> String {
    let mut text = match summary.since {
        None => format!("the roster as it stands at position {}", summary.position),
        Some(since) => format!("what changed from position {since} to {}", summary.position),
    };
    for (file, rows) in &summary.rows {
        text += &format!("\n  {file:<18} {rows:>9}");
    }
    if !summary.losses.is_empty() {
        text += "\nnot said as the roster has it:";
    }
    for loss in &summary.losses {
        text += &format!("\n  {:>9} × {} {}: {}", loss.values, loss.file, loss.column, loss.reason);
    }
    text
}
