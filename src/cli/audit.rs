//! `rosterhub audit`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output, Session};
use crate::access::{Access, Asked, Entry, People, Recipient, Via};
use crate::audit::Audit;
use crate::audit::bundle::{Selection, examine};
use crate::audit::note::Verifier;
use crate::audit::verify::Report;
use crate::log::Tenant;

#[derive(clap::Subcommand)]
pub enum AuditCommand {
    /// Compare the log with its tree and its checkpoints, and name what was changed, removed, moved or put in.
    ///
    /// Exit status: 0 all agree, 3 something does not.
    Verify {
        /// Only this board.
        #[arg(long)]
        tenant: Option<Tenant>,
        #[command(flatten)]
        trust: Trust,
    },
    /// Write a file that proves: events, checkpoints, proofs and the key. `rosterhub audit check` examines it.
    Bundle {
        #[arg(long)]
        tenant: Tenant,
        /// Where to write it. Without it, to standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Only events from this position on.
        #[arg(long, value_name = "POSITION")]
        from: Option<i64>,
        /// Only events up to this position.
        #[arg(long, value_name = "POSITION")]
        to: Option<i64>,
        /// Only events of the records with these sourcedIds, commas between.
        #[arg(long, value_name = "ID,…", value_delimiter = ',')]
        records: Vec<String>,
    },
    /// Examine a bundle, without a database.
    ///
    /// Exit status: 0 all agree, 3 something does not, 1 it is no bundle or is cut off.
    Check {
        file: PathBuf,
        #[command(flatten)]
        trust: Trust,
    },
    /// Sign a checkpoint of all that the log holds now, and print it: to be kept where the hub's operators cannot change it.
    Checkpoint {
        #[arg(long)]
        tenant: Tenant,
    },
    /// Print the keys that verify a board's checkpoints.
    Key {
        #[arg(long)]
        tenant: Tenant,
    },
}

/// What is trusted, besides what is examined.
#[derive(clap::Args)]
pub struct Trust {
    /// Key that may have signed, as `rosterhub audit key` prints it; may be repeated. Without it, the keys that come
    /// with what is examined are believed.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// File with a checkpoint that was kept elsewhere, with which the log must agree; may be repeated.
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
}

impl Trust {
    fn read(&self) -> Result<(Vec<Verifier>, Vec<String>), Failure> {
        let keys = self.keys.iter().map(|key| Verifier::parse(key)).collect::<Result<_, _>>()?;
        let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()));
        Ok((keys, self.checkpoints.iter().map(read).collect::<Result<_, _>>()?))
    }
}

impl AuditCommand {
    /// What needs no database.
    pub fn offline(&self, output: Output) -> Option<Result<ExitCode, Failure>> {
        match self {
            Self::Check { file, trust } => Some(check(file, trust, output)),
            _ => None,
        }
    }

    pub async fn run(self, session: &Session, output: Output) -> Result<ExitCode, Failure> {
        let audit = Audit::open(session.log.clone(), &session.config)?;
        match self {
            Self::Verify { tenant, trust } => {
                let (keys, others) = trust.read()?;
                let mut code = ExitCode::SUCCESS;
                for tenant in session.tenants(tenant.as_ref()).await? {
                    let bar = output.progress("verifying");
                    let show = |done: i64, total: i64| {
                        bar.set_length(total as u64);
                        bar.set_position(done as u64);
                    };
                    let keys: Vec<Verifier> =
                        keys.iter().filter(|key| key.name == audit.origin(&tenant)).cloned().collect();
                    let report = audit.verify(&tenant, &keys, &others, show).await?;
                    bar.finish_and_clear();
                    output.result(&report, || text(&report))?;
                    if report.found > 0 {
                        code = ExitCode::from(3);
                    }
                }
                Ok(code)
            }
            Self::Bundle { tenant, out, from, to, records } => {
                known(session, &tenant).await?;
                let chosen = Selection { from, to, sourced_ids: records };
                let asked = Asked::new(
                    Recipient::cli(),
                    Via::Export,
                    "auditBundle",
                    ("rosterhub", " audit bundle"),
                    &format!("{chosen:?}"),
                );
                let head = session.log.head(&tenant).await?.unwrap_or_default();
                let entry = Entry::new(&tenant, asked, head, People::many(None));
                Access::write_now(&session.log, &session.config.access, entry).await?;
                let events = match &out {
                    Some(path) => {
                        let mut file = tempfile::NamedTempFile::new_in(
                            path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(".".as_ref()),
                        )?;
                        let events = audit.bundle(&tenant, &chosen, &mut BufWriter::new(&mut file)).await?;
                        file.persist(path)?;
                        events
                    }
                    None => audit.bundle(&tenant, &chosen, &mut BufWriter::new(io::stdout())).await?,
                };
                let told = json!({ "tenant": tenant.as_str(), "events": events });
                match out {
                    Some(_) => output.result(&told, || format!("{tenant}: {events} events"))?,
                    None => eprintln!("{tenant}: {events} events"),
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Checkpoint { tenant } => {
                known(session, &tenant).await?;
                audit.catch_up(&tenant).await?;
                let note = audit.checkpoint(&tenant).await?.note;
                io::stdout().write_all(note.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Key { tenant } => {
                known(session, &tenant).await?;
                audit.signer().await?;
                for key in audit.verifiers(&tenant).await? {
                    println!("{key}");
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Check { .. } => Ok(ExitCode::SUCCESS), // has been answered offline
        }
    }
}

async fn known(session: &Session, tenant: &Tenant) -> Result<(), Failure> {
    match session.log.head(tenant).await? {
        Some(_) => Ok(()),
        None => Err(format!("there is no tenant {tenant}").into()),
    }
}

fn check(path: &PathBuf, trust: &Trust, output: Output) -> Result<ExitCode, Failure> {
    let (keys, others) = trust.read()?;
    let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let examined = examine(BufReader::new(file), &keys, &others)?;
    let report = &examined.report;
    output.result(&json!({ "report": report, "keys": examined.keys, "ownKeys": examined.own_keys }), || {
        let whose = match examined.own_keys {
            true => "\nThe key came with the bundle. Compare it with one that you were given another way (--key):\n  ",
            false => "\nBy the key\n  ",
        };
        text(report) + whose + &examined.keys.join("\n  ")
    })?;
    Ok(if report.found == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{}: {} events, {} of them in the tree, {} erased; {} checkpoints, signed up to position {}",
        report.tenant, report.events, report.covered, report.erased, report.checkpoints, report.signed
    );
    for finding in &report.findings {
        let at = match finding.from == finding.to {
            true => format!("position {}", finding.from),
            false => format!("positions {} to {}", finding.from, finding.to),
        };
        text.push_str(&format!("\n  {at}: {}", finding.kind.text()));
    }
    match report.found {
        0 => text.push_str("\nNothing was changed."),
        found => text.push_str(&format!("\n{found} found.")),
    }
    text
}
