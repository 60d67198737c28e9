//! `rosterhub sample`.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::{Failure, Output};
use crate::sample::{Dialect, FaultKind, SampleOptions, write_broken, write_bulk, write_delta};

#[derive(clap::Args)]
pub struct Sample {
    /// Where to write the zip.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 3)]
    schools: u32,
    #[arg(long, default_value_t = 120)]
    students_per_school: u32,
    /// Subject classes for each homeroom, 0 to 9.
    #[arg(long, default_value_t = 5)]
    subjects: u32,
    /// Another seed, another city; the same options give the same bytes.
    #[arg(long, default_value = "1")]
    seed: String,
    /// Year in which the school year begins.
    #[arg(long, default_value_t = 2026)]
    year: i32,
    /// jp-final, jp-domestic or base.
    #[arg(long, default_value = "jp-final")]
    dialect: Dialect,
    /// Add userProfiles.csv.
    #[arg(long)]
    profiles: bool,
    /// Write a delta instead: this share of the pupils changed, a fifth of it left, a fifth arrived.
    #[arg(long, value_name = "PERCENT", conflicts_with = "errors")]
    delta: Option<f64>,
    /// Write the set with seeded faults, and print what is expected to be found.
    #[arg(long)]
    errors: bool,
}

impl Sample {
    pub fn run(&self, output: Output) -> Result<ExitCode, Failure> {
        let options = SampleOptions {
            schools: self.schools,
            students_per_school: self.students_per_school,
            subjects: self.subjects,
            seed: self.seed.clone(),
            year: self.year,
            dialect: self.dialect,
            profiles: self.profiles,
            ..SampleOptions::default()
        };
        let out = BufWriter::new(File::create(&self.out)?);
        if self.errors {
            let expected = write_broken(&options, FaultKind::QUIET, 4, out)?;
            println!("{}", serde_json::to_string_pretty(&json!({ "errors": expected }))?);
            return Ok(ExitCode::SUCCESS);
        }
        let report = match self.delta {
            Some(percent) => write_delta(&options, percent, out)?,
            None => write_bulk(&options, out)?,
        };
        output.result(&report.rows, || {
            let rows: Vec<String> = report.rows.iter().map(|(file, n)| format!("  {file:<18} {n:>9}")).collect();
            format!("{}\n{}", self.out.display(), rows.join("\n"))
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
