//! A set: its manifest and the headers of its files (CSV binding §1, §4).

use std::collections::{BTreeMap, HashSet};
use std::io::Read;

use super::ImportError;
use super::conversion::{Conversion, ConversionKind};
use super::edition::{Edition, FILES, Header, header};
use super::encoding::Encoding;
use super::input::{Input, Upload, separator_of};
use super::manifest::{Manifest, Mode};
use super::options::FileMode;
use super::rows::{RowFault, Rows};
use super::rules::{Level, Severity};
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
    /// Types of whose files nobody tells the mode, so that nothing is withdrawn for being absent.
    pub untold: Vec<EntityType>,
    /// How it is looked at, with the edition that was named or found.
    pub level: Level,
    pub conversions: Vec<Conversion>,
    /// Orgs of OneRoster 1.1 that stand above schools.
    pub above_schools: HashSet<String>,
    /// People who were erased: rows about them are left out.
    pub erased: HashSet<String>,
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
        let (mode, level, name) = (upload.mode, upload.level, upload.name.clone());
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
            untold: Vec::new(),
            level,
            conversions: Vec::new(),
            above_schools: HashSet::new(),
            erased: HashSet::new(),
        };
        let found = package.open_files(&manifest);
        if !manifest.readable {
            return Err(package.errors);
        }
        let headers = found.iter().map(|(kind, _, names)| (*kind, &names[..]));
        package.edition = level.edition.unwrap_or_else(|| Edition::detect(&manifest.version, headers));
        package.level.edition = Some(package.edition);
        for (kind, mode, names) in found {
            package.understand(kind, mode, names, level.edition.is_some());
        }
        if !has_manifest && mode == FileMode::Auto {
            package.untold = package.files.iter().map(|f| f.kind).collect();
        }
        package.files.sort_by_key(|f| f.kind);
        package.strict(&name);
        package.pass_over();
        Ok(package)
    }

    /// Understands the header of a file, as the edition has it.
    fn understand(&mut self, kind: EntityType, mode: Mode, names: Vec<String>, named: bool) {
        let (file, edition) = (format!("{}.csv", kind.entity().collection), self.edition);
        if edition == Edition::V11 && mode == Mode::Delta {
            self.errors.push(ImportError::new(&file, 0, "", Code::EditionDelta, ""));
            self.unread.push(kind);
            return;
        }
        if named {
            for name in edition.contradictions(kind, &names) {
                self.errors.push(ImportError::new(&file, 1, name, Code::EditionColumns, edition.name()));
            }
        }
        if edition == Edition::V11 && [EntityType::Role, EntityType::UserProfile].contains(&kind) {
            self.errors.push(ImportError::new(&file, 1, "", Code::EditionColumns, edition.name()));
            self.unread.push(kind);
            return;
        }
        let (mut header, level) = (header(edition, kind, names), self.level);
        if level.is_lenient() {
            let fields = kind.entity().fields;
            let needed = |column: &str| column == "sourcedId" || fields.iter().any(|f| f.csv == column && f.required);
            header.complete = !header.errors.iter().any(|e| e.1 == Code::HeaderMissing && needed(&e.0));
            let stays = |(column, code, _): &(String, Code, String)| {
                *code == Code::HeaderMissing && needed(column) || level.severity(*code) != Severity::Accepted
            };
            let (errors, accepted): (Vec<_>, Vec<_>) = header.errors.drain(..).partition(stays);
            header.errors = errors;
            self.conversions.extend(accepted.into_iter().map(|(_, _, column)| Conversion {
                file: file.clone(),
                column,
                kind: ConversionKind::Accepted,
                rows: None,
            }));
        }
        for (column, code, value) in &header.errors {
            self.errors.push(ImportError::new(&file, 1, column, *code, value));
        }
        self.files.push(DataFile { kind, mode, header });
    }

    /// What a strict import wants of the set as a whole.
    fn strict(&mut self, name: &str) {
        if !self.level.is_strict() {
            return;
        }
        let is_roster_name = |name: &str| {
            let parts: Vec<&str> = name.strip_suffix(".zip").unwrap_or_default().split('_').collect();
            let [begin, day, code] = parts[..] else { return false };
            begin == "RO"
                && day.len() == 8
                && day.bytes().all(|b| b.is_ascii_digit())
                && !code.is_empty()
                && code.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if self.edition.is_japan() && !name.is_empty() && !is_roster_name(name) {
            self.errors.push(ImportError::new("", 0, "", Code::FileName, name));
        }
        if self.input.holds("manifest") && self.files.iter().any(|file| file.mode == Mode::Bulk) {
            for stem in ["academicSessions", "classes", "courses", "enrollments", "orgs", "roles", "users"] {
                let needed = self.edition != Edition::V11 || stem != "roles";
                if needed && !self.input.holds(stem) {
                    self.errors.push(ImportError::new(&format!("{stem}.csv"), 0, "", Code::MinimumSet, ""));
                }
            }
        }
    }

    /// Counts the faults of the manifest that a lenient import takes.
    fn pass_over(&mut self) {
        let level = self.level;
        let (errors, accepted): (Vec<_>, Vec<_>) =
            self.errors.drain(..).partition(|error| error.code != Code::ManifestProperty || !level.is_lenient());
        self.errors = errors;
        self.conversions.extend(accepted.into_iter().map(|error| Conversion {
            file: error.file,
            column: error.column,
            kind: ConversionKind::Accepted,
            rows: None,
        }));
        self.conversions.extend(self.not_read.iter().map(|file| Conversion {
            file: file.clone(),
            column: String::new(),
            kind: ConversionKind::FileNotRead,
            rows: None,
        }));
    }

    /// Reads the headers of the files that the manifest declares.
    fn open_files(&mut self, manifest: &Manifest) -> Vec<(EntityType, Mode, Vec<String>)> {
        let mut found = Vec::new();
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
                (None, true) if self.level.is_lenient() => {
                    self.untold.extend(EntityType::from_file(stem));
                    self.input.mode_by_rows(stem)
                }
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
                Ok(names) => found.push((kind, mode, names)),
                Err(fault) => {
                    self.errors.push(ImportError::new(&format!("{stem}.csv"), fault.line, "", fault.code, ""));
                    self.unread.push(kind);
                }
            }
        }
        found
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
