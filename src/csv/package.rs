//! A set: its manifest and the headers of its files (CSV binding §1, §4).

use std::collections::BTreeMap;
use std::io::Read;

use super::ImportError;
use super::edition::{Edition, FILES, Header, header};
use super::encoding::Encoding;
use super::input::{Input, Upload, separator_of};
use super::manifest::{Manifest, Mode};
use super::options::FileMode;
use super::rows::{RowFault, Rows};
use crate::roster::{Code, EntityType};

/// A set whose manifest and headers have been read.
pub struct Package {
    input: Input,
    /// In the order of [`EntityType::ALL`].
    pub files: Vec<DataFile>,
    /// Files of other services (resources, gradebook), which are not read yet.
    pub not_read: Vec<String>,
    pub edition: Edition,
    pub errors: Vec<ImportError>,
    /// What the set should tell but could not be read, or not to its end.
    pub unread: Vec<EntityType>,
    /// Nobody says that the files tell all, so that nothing is withdrawn for being absent.
    pub adds_only: bool,
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
    /// Opens what was handed in. All that is wrong with it as a whole is in the error, or in `errors` when the rows can
    /// be read all the same.
    pub fn open(upload: Upload) -> Result<Self, Vec<ImportError>> {
        let mut errors = Vec::new();
        let mode = upload.mode;
        let mut input = Input::open(upload, &mut errors).map_err(|error| vec![error])?;
        let has_manifest = input.holds("manifest");
        let wrong = match (has_manifest, mode) {
            (true, FileMode::Bulk | FileMode::Delta) => Some(Code::ModeWithManifest),
            (false, _) if input.is_set() => Some(Code::ManifestAbsent),
            _ => None,
        };
        if let Some(code) = wrong {
            errors.push(ImportError::new("manifest.csv", 0, "", code, ""));
            return Err(errors);
        }
        let manifest = match has_manifest {
            true => Manifest::read(&mut input, &mut errors),
            false => input.made_up_manifest(mode),
        };
        let mut package = Self {
            input,
            files: Vec::new(),
            not_read: Vec::new(),
            edition: Edition::Base121,
            errors,
            unread: Vec::new(),
            adds_only: !has_manifest && mode == FileMode::Auto,
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
            let mode = match (manifest.files.get(stem), self.input.holds(stem)) {
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
                Ok(names) if names.is_empty() => {
                    self.errors.push(ImportError::new(&format!("{stem}.csv"), 1, "", Code::NoRows, ""));
                    self.unread.push(kind);
                }
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
        self.input.begin(stem, |rows| {
            header_row(rows).map_err(|fault| match fault.code {
                // The whole file is one line.
                Code::TooLong if rows.has_bare_cr() => RowFault { code: Code::LineEnds, ..fault },
                _ => fault,
            })
        })
    }

    /// The rows after the header.
    pub fn rows(&mut self, file: usize) -> Result<Rows<Box<dyn Read + '_>>, RowFault> {
        let mut rows = self.input.rows(self.files[file].kind.entity().collection)?;
        rows.read()?;
        Ok(rows)
    }

    /// Its fields may have marks, which say why a cell cannot be taken.
    pub fn has_marks(&self) -> bool {
        self.input.is_workbook()
    }

    /// Notes in which encoding a file was.
    pub fn note(&mut self, file: usize, encoding: Encoding) {
        self.input.note(self.files[file].kind.entity().collection, encoding);
    }

    /// By file, without `.csv`.
    pub fn encodings(&self) -> BTreeMap<String, &'static str> {
        self.input.encodings()
    }

    /// No further file can be read: all that may be unpacked has been.
    pub fn is_exhausted(&self) -> bool {
        self.input.is_exhausted()
    }
}

/// The names in the first row; a fault when it is clear why there are none.
fn header_row(rows: &mut Rows<Box<dyn Read + '_>>) -> Result<Vec<String>, RowFault> {
    let fault = |code| RowFault { line: 1, code, last: true };
    let Some(row) = rows.read()? else { return Ok(Vec::new()) };
    let names = row.texts().ok_or(fault(Code::BadCharacter))?;
    if separator_of(&names).is_some() {
        return Err(fault(Code::WrongSeparator));
    }
    if names[0].starts_with("sep=") {
        return Err(fault(Code::SeparatorLine));
    }
    if names.iter().any(|name| name.contains('\r')) {
        return Err(fault(Code::LineEnds));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}
