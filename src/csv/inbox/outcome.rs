//! What is put beside a set when its import rests.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folder::{Taken, new_file, own_folder};
use crate::csv::job::JobError;
use crate::export::errors::ErrorRows;

/// The files that tell what became of a set, until they get their names.
pub(super) struct Outcome {
    set: PathBuf,
    /// Of the set where it is put away; the others have it with an addition.
    to: PathBuf,
    errors: Option<File>,
}

impl Outcome {
    pub fn new(folder: &Path, place: &str, stamp: chrono::DateTime<chrono::Utc>, taken: &Taken) -> io::Result<Self> {
        let to = own_folder(folder, place)?.join(format!("{}-{}", stamp.format("%Y%m%dT%H%M%S%3fZ"), taken.name));
        Ok(Self { set: taken.path.clone(), to, errors: None })
    }

    fn named(&self, addition: &str) -> PathBuf {
        let mut name = self.to.clone().into_os_string();
        name.push(addition);
        name.into()
    }

    /// Under a name that nobody takes for the file as long as it is not whole.
    fn unfinished(&self, addition: &str) -> PathBuf {
        self.named(&format!("{addition}.tmp"))
    }

    pub fn errors(mut self, errors: &[JobError], rows: ErrorRows) -> io::Result<Self> {
        let file = match self.errors.take() {
            Some(file) => file,
            None => {
                let mut file = new_file(&self.unfinished(".errors.csv"))?;
                file.write_all(&rows.header())?;
                file
            }
        };
        (&file).write_all(&rows.rows(errors))?;
        self.errors = Some(file);
        Ok(self)
    }

    /// The set goes last: as long as it is where it was taken to, all of it is done again.
    pub fn finish(self, result: &Value) -> io::Result<()> {
        if let Some(file) = &self.errors {
            file.sync_all()?;
            fs::rename(self.unfinished(".errors.csv"), self.named(".errors.csv"))?;
        }
        let file = new_file(&self.unfinished(".json"))?;
        serde_json::to_writer_pretty(&file, result)?;
        file.sync_all()?;
        fs::rename(self.unfinished(".json"), self.named(".json"))?;
        fs::rename(&self.set, &self.to)
    }
}
