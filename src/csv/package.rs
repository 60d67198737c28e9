//! A set: its manifest and the headers of its files (CSV binding §1, §4).

use std::fs::File;
use std::io::Read;

use super::ImportError;
use super::archive::Archive;
use super::edition::{Edition, FILES, Header, header};
use super::manifest::{Manifest, Mode};
use super::rows::{RowFault, Rows};
use crate::roster::{Code, EntityType};

/// A set whose manifest and headers have been read.
pub struct Package {
    archive: Archive,
    /// In the order of [`EntityType::ALL`].
    pub files: Vec<DataFile>,
    /// Files of other services (resources, gradebook), which are not read yet.
    pub not_read: Vec<String>,
    pub edition: Edition,
    pub errors: Vec<ImportError>,
    /// What the set should tell but could not be read, or not to its end.
    pub unread: Vec<EntityType>,
}

/// One data file of the set.
pub struct DataFile {
    pub kind: EntityType,
    pub mode: Mode,
    pub header: Header,
}

impl DataFile {
    pub fn name(&self) -> String {
        format!("{}.csv", self.kind.entity().collection)
    }
}

impl Package {
    /// Opens a zip, out of which no more than `max_unpacked` bytes shall come. All that is wrong with the package as a
    /// whole is in the error, or in `errors` when the rows can be read all the same.
    pub fn open(zip: File, max_unpacked: u64) -> Result<Self, Vec<ImportError>> {
        let mut errors = Vec::new();
        let mut archive = Archive::open(zip, max_unpacked, &mut errors).map_err(|error| vec![error])?;
        if !archive.holds("manifest") {
            errors.push(ImportError::new("manifest.csv", 0, "", Code::ManifestAbsent, ""));
            return Err(errors);
        }
        let manifest = Manifest::read(&mut archive, &mut errors);
        let mut package = Self {
            archive,
            files: Vec::new(),
            not_read: Vec::new(),
            edition: Edition::Base121,
            errors,
            unread: Vec::new(),
        };
        package.open_files(&manifest);
        if !manifest.readable {
            return Err(package.errors);
        }
        let headers = package.files.iter().map(|f| (f.kind, &f.header));
        package.edition = Edition::detect(&manifest.version, headers);
        Ok(package)
    }

    fn open_files(&mut self, manifest: &Manifest) {
        for stem in FILES {
            let mode = match (manifest.files.get(stem), self.archive.holds(stem)) {
                (Some((line, Some(_))), false) => {
                    self.report(*line, stem, Code::ManifestMissingFile, "");
                    self.unread.extend(EntityType::from_file(stem));
                    continue;
                }
                (Some((line, None)), true) => {
                    self.report(*line, stem, Code::ManifestUndeclaredFile, "absent");
                    continue;
                }
                (Some((_, Some(mode))), true) => *mode,
                // An undeclared property was reported with the manifest.
                _ => continue,
            };
            let Some(kind) = EntityType::from_file(stem) else {
                self.not_read.push(format!("{stem}.csv"));
                continue;
            };
            match self.read_header(stem) {
                Ok(names) => {
                    let header = header(kind, names);
                    let file = format!("{stem}.csv");
                    for (column, code, value) in &header.errors {
                        self.errors.push(ImportError::new(&file, 1, column, *code, value));
                    }
                    self.files.push(DataFile { kind, mode, header });
                }
                Err(fault) => {
                    self.errors.push(ImportError::new(&format!("{stem}.csv"), fault.line, "", fault.code, ""));
                    self.unread.push(kind);
                }
            }
        }
        self.files.sort_by_key(|f| f.kind);
    }

    fn report(&mut self, line: u64, stem: &str, code: Code, value: &str) {
        self.errors.push(ImportError::new("manifest.csv", line, &format!("file.{stem}"), code, value));
    }

    fn read_header(&mut self, stem: &str) -> Result<Vec<String>, RowFault> {
        let mut rows = self.archive.rows(stem)?;
        let Some(row) = rows.read()? else { return Ok(Vec::new()) };
        let names = row.texts().ok_or(RowFault { line: 1, code: Code::BadCharacter, last: true })?;
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// The rows after the header.
    pub fn rows(&mut self, file: usize) -> Result<Rows<impl Read>, RowFault> {
        let mut rows = self.archive.rows(self.files[file].kind.entity().collection)?;
        rows.read()?;
        Ok(rows)
    }

    /// No further file can be read: all that may be unpacked has been.
    pub fn is_exhausted(&self) -> bool {
        self.archive.is_exhausted()
    }
}
