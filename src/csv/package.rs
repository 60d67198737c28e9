//! The zip and its manifest (CSV binding §1, §4).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

use super::ImportError;
use super::edition::{Edition, FILES, Header, header};
use super::rows::{RowFault, Rows};
use crate::roster::{Code, EntityType};

/// Largest manifest and header row that are looked at.
const LARGEST_MANIFEST: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Bulk,
    Delta,
}

/// A set whose manifest and headers have been read.
pub struct Package {
    archive: ZipArchive<BufReader<File>>,
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
    entry: usize,
}

impl DataFile {
    pub fn name(&self) -> String {
        format!("{}.csv", self.kind.entity().collection)
    }
}

impl Package {
    /// Opens a zip. All that is wrong with the package as a whole is in the error, or in `errors` when the rows
    /// can be read all the same.
    pub fn open(path: &Path) -> Result<Self, Vec<ImportError>> {
        let broken = |why: String| vec![ImportError::new("", 0, "", Code::NotAZip, &why)];
        let file = File::open(path).map_err(|e| broken(e.to_string()))?;
        let mut archive =
            ZipArchive::new(BufReader::with_capacity(1 << 16, file)).map_err(|e| broken(e.to_string()))?;
        let mut errors = Vec::new();
        let entries = entries(&mut archive, &mut errors);
        let Some(manifest) = entries.get("manifest") else {
            errors.push(ImportError::new("manifest.csv", 0, "", Code::ManifestAbsent, ""));
            return Err(errors);
        };
        let manifest = read_manifest(&mut archive, *manifest, &mut errors);
        let mut package = Self {
            archive,
            files: Vec::new(),
            not_read: Vec::new(),
            edition: Edition::Base121,
            errors,
            unread: Vec::new(),
        };
        package.open_files(&entries, &manifest);
        if !manifest.readable {
            return Err(package.errors);
        }
        let headers = package.files.iter().map(|f| (f.kind, &f.header));
        package.edition = Edition::detect(&manifest.version, headers);
        Ok(package)
    }

    fn open_files(&mut self, entries: &BTreeMap<String, usize>, manifest: &Manifest) {
        for stem in FILES {
            let declared = manifest.files.get(stem);
            let there = entries.get(stem);
            let mode = match (declared, there) {
                (Some((line, Some(_))), None) => {
                    self.report(*line, stem, Code::ManifestMissingFile, "");
                    self.unread.extend(EntityType::from_file(stem));
                    continue;
                }
                (Some((line, None)), Some(_)) => {
                    self.report(*line, stem, Code::ManifestUndeclaredFile, "absent");
                    continue;
                }
                (Some((_, Some(mode))), Some(_)) => *mode,
                // An undeclared property was reported with the manifest.
                _ => continue,
            };
            let (Some(kind), Some(entry)) = (EntityType::from_file(stem), there) else {
                self.not_read.push(format!("{stem}.csv"));
                continue;
            };
            match self.read_header(*entry) {
                Ok(names) => {
                    let header = header(kind, names);
                    let file = format!("{stem}.csv");
                    for (column, code, value) in &header.errors {
                        self.errors.push(ImportError::new(&file, 1, column, *code, value));
                    }
                    self.files.push(DataFile { kind, mode, header, entry: *entry });
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

    fn read_header(&mut self, entry: usize) -> Result<Vec<String>, RowFault> {
        let fault = |code| RowFault { line: 1, code, last: true };
        let file = self.archive.by_index(entry).map_err(|_| fault(Code::BadEntry))?;
        let mut rows = Rows::new(file);
        let Some(row) = rows.next()? else { return Ok(Vec::new()) };
        let names = row.texts().ok_or_else(|| fault(Code::BadCharacter))?;
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// The rows after the header.
    pub fn rows(&mut self, file: usize) -> Result<Rows<impl Read>, RowFault> {
        let entry = self.archive.by_index(self.files[file].entry);
        let mut rows = Rows::new(entry.map_err(|_| RowFault { line: 1, code: Code::BadEntry, last: true })?);
        rows.next()?;
        Ok(rows)
    }
}

/// Stem of each entry → its index.
fn entries(archive: &mut ZipArchive<BufReader<File>>, errors: &mut Vec<ImportError>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut names = BTreeSet::new();
    for index in 0..archive.len() {
        let Ok(entry) = archive.by_index_raw(index) else {
            errors.push(ImportError::new("", 0, "", Code::BadEntry, &index.to_string()));
            continue;
        };
        let Ok(name) = entry.name().map(|name| name.into_owned()) else {
            errors.push(ImportError::new("", 0, "", Code::BadEntry, &index.to_string()));
            continue;
        };
        if entry.encrypted() || entry.is_dir() || name.contains(['/', '\\']) {
            errors.push(ImportError::new(&name, 0, "", Code::BadEntry, &name));
            continue;
        }
        if !names.insert(name.clone()) {
            errors.push(ImportError::new(&name, 0, "", Code::DuplicateFile, &name));
            continue;
        }
        match name.strip_suffix(".csv").filter(|stem| *stem == "manifest" || FILES.contains(stem)) {
            Some(stem) => drop(found.insert(stem.to_owned(), index)),
            None => errors.push(ImportError::new(&name, 0, "", Code::UnknownFile, &name)),
        }
    }
    found
}

#[derive(Default)]
struct Manifest {
    version: String,
    /// Stem → line, and mode unless absent.
    files: BTreeMap<&'static str, (u64, Option<Mode>)>,
    /// Versions and modes are understood, so that the files can be.
    readable: bool,
}

fn read_manifest(archive: &mut ZipArchive<BufReader<File>>, entry: usize, errors: &mut Vec<ImportError>) -> Manifest {
    let mut manifest = Manifest { readable: true, ..Manifest::default() };
    let mut report = |line: u64, column: &str, code, value: &str| {
        errors.push(ImportError::new("manifest.csv", line, column, code, value));
    };
    let Ok(file) = archive.by_index(entry) else {
        report(0, "", Code::BadEntry, "");
        manifest.readable = false;
        return manifest;
    };
    let mut seen = BTreeSet::new();
    let mut rows = Rows::new(file.take(LARGEST_MANIFEST));
    let mut header = true;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(fault) => {
                report(fault.line, "", fault.code, "");
                manifest.readable = false;
                return manifest;
            }
        };
        let (line, header) = (row.line, std::mem::replace(&mut header, false));
        let Some(texts) = row.texts() else {
            report(line, "", Code::BadCharacter, "");
            continue;
        };
        let [property, value] = texts[..] else {
            report(line, "", Code::RowWidth, "");
            continue;
        };
        if header {
            if (property, value) != ("propertyName", "value") {
                report(1, "", Code::HeaderMissing, &format!("{property},{value}"));
            }
            continue;
        }
        // The binding prints the names new in 1.2 with a footnote star, which some writers copy.
        let property = property.trim_end_matches('*');
        if !seen.insert(property.to_owned()) {
            report(line, property, Code::ManifestProperty, property);
            continue;
        }
        match property {
            "manifest.version" if value != "1.0" => {
                report(line, property, Code::ManifestVersion, value);
                manifest.readable = false;
            }
            "oneroster.version" if !["1.2", "1.2.1", "1.2_JP"].contains(&value) => {
                report(line, property, Code::ManifestVersion, value);
                manifest.readable = false;
            }
            "oneroster.version" => manifest.version = value.to_owned(),
            "manifest.version" | "source.systemName" | "source.systemCode" => {}
            _ => match property.strip_prefix("file.").and_then(|stem| FILES.iter().find(|f| **f == stem)) {
                Some(stem) => match value {
                    "absent" => drop(manifest.files.insert(stem, (line, None))),
                    "bulk" => drop(manifest.files.insert(stem, (line, Some(Mode::Bulk)))),
                    "delta" => drop(manifest.files.insert(stem, (line, Some(Mode::Delta)))),
                    _ => {
                        report(line, property, Code::ManifestBadMode, value);
                        manifest.readable = false;
                    }
                },
                None => report(line, property, Code::ManifestProperty, property),
            },
        }
    }
    let wanted = ["manifest.version".to_owned(), "oneroster.version".to_owned()];
    for property in wanted.into_iter().chain(FILES.iter().map(|f| format!("file.{f}"))) {
        if !seen.contains(&property) {
            report(0, &property, Code::ManifestProperty, &property);
        }
    }
    manifest
}
