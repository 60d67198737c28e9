//! The zip and its manifest (CSV binding §1, §4).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

use super::ImportError;
use super::edition::{Edition, FILES, Header, header};
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
        let mut package = Self { archive, files: Vec::new(), not_read: Vec::new(), edition: Edition::Base121, errors };
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
                Err(code) => self.errors.push(ImportError::new(&format!("{stem}.csv"), 1, "", code, "")),
            }
        }
        self.files.sort_by_key(|f| f.kind);
    }

    fn report(&mut self, line: u64, stem: &str, code: Code, value: &str) {
        self.errors.push(ImportError::new("manifest.csv", line, &format!("file.{stem}"), code, value));
    }

    fn read_header(&mut self, entry: usize) -> Result<Vec<String>, Code> {
        let file = self.archive.by_index(entry).map_err(|_| Code::BadEntry)?;
        let mut reader = csv_reader(file.take(LARGEST_MANIFEST));
        let mut row = ::csv::ByteRecord::new();
        reader.read_byte_record(&mut row).map_err(|_| Code::BadEntry)?;
        row.iter().map(|name| std::str::from_utf8(name).map(str::to_owned).map_err(|_| Code::BadCharacter)).collect()
    }

    /// Calls `each` with every row after the header.
    pub fn rows(
        &mut self,
        file: usize,
        mut each: impl FnMut(u64, &::csv::ByteRecord) -> Result<(), Stopped>,
    ) -> Result<(), RowsError> {
        let entry = self.archive.by_index(self.files[file].entry).map_err(|_| RowsError::Bad(1, Code::BadEntry))?;
        let mut reader = csv_reader(entry);
        let mut row = ::csv::ByteRecord::new();
        let mut header = true;
        loop {
            let line = reader.position().line();
            match reader.read_byte_record(&mut row) {
                Ok(false) => return Ok(()),
                Ok(true) if header => header = false,
                Ok(true) => {
                    let line = row.position().map_or(line, ::csv::Position::line);
                    each(line, &row).map_err(|Stopped| RowsError::Stopped)?;
                }
                // The zip's checksum, or its compressed data, is wrong from here on.
                Err(_) => return Err(RowsError::Bad(line, Code::BadEntry)),
            }
        }
    }
}

/// Whoever takes the rows has gone away.
pub struct Stopped;

pub enum RowsError {
    Stopped,
    Bad(u64, Code),
}

fn csv_reader<R: Read>(file: R) -> ::csv::Reader<PlainText<R>> {
    ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .terminator(::csv::Terminator::Any(b'\n'))
        .from_reader(PlainText { inner: file, started: false, held: false })
}

/// Skips the byte order mark, which the binding lets writers put, and makes CRLF a plain LF: the csv crate miscounts
/// lines that end in both. A lone CR is no line end, and shows as a control character in its field.
struct PlainText<R> {
    inner: R,
    started: bool,
    /// A CR was the last byte read; it is passed on unless an LF follows.
    held: bool,
}

const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

impl<R: Read> PlainText<R> {
    /// Bytes from the start of the file, or from after the mark.
    fn begin(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let mut n = 0;
        while n < BOM.len() {
            match self.inner.read(&mut buf[n..])? {
                0 => return Ok(n),
                more => n += more,
            }
        }
        if !buf.starts_with(&BOM) {
            return Ok(n);
        }
        buf.copy_within(BOM.len()..n, 0);
        match n - BOM.len() {
            0 => self.inner.read(buf),
            rest => Ok(rest),
        }
    }
}

impl<R: Read> Read for PlainText<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if buf.len() < 8 {
            return Err(std::io::Error::other("the buffer is too small"));
        }
        loop {
            let from = usize::from(self.held);
            let read = if self.started { self.inner.read(&mut buf[from..])? } else { self.begin(&mut buf[from..])? };
            self.started = true;
            if read == 0 {
                buf[0] = b'\r';
                return Ok(usize::from(std::mem::take(&mut self.held)));
            }
            let end = from + read;
            buf[0] = if from == 1 { b'\r' } else { buf[0] };
            self.held = buf[end - 1] == b'\r';
            let end = end - usize::from(self.held);
            let mut kept = 0;
            for i in 0..end {
                if !(buf[i] == b'\r' && i + 1 < end && buf[i + 1] == b'\n') {
                    buf[kept] = buf[i];
                    kept += 1;
                }
            }
            if kept > 0 {
                return Ok(kept);
            }
        }
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
    for (i, row) in csv_reader(file.take(LARGEST_MANIFEST)).byte_records().enumerate() {
        let Ok(row) = row else {
            report(i as u64 + 1, "", Code::BadEntry, "");
            manifest.readable = false;
            return manifest;
        };
        let line = row.position().map_or(i as u64 + 1, ::csv::Position::line);
        let texts: Result<Vec<&str>, _> = row.iter().map(std::str::from_utf8).collect();
        let Ok(texts) = texts else {
            report(line, "", Code::BadCharacter, "");
            continue;
        };
        let [property, value] = texts[..] else {
            report(line, "", Code::RowWidth, "");
            continue;
        };
        if i == 0 {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one to three bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.1 += 1;
            let n = self.0.len().min(1 + self.1 % 3).min(buf.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    proptest::proptest! {
        #[test]
        fn line_ends_and_marks_are_made_plain(text in "[ab\\r\\n]{0,40}", mark in proptest::bool::ANY) {
            let mut bytes = if mark { BOM.to_vec() } else { vec![] };
            bytes.extend_from_slice(text.as_bytes());
            let mut plain = PlainText { inner: Trickle(&bytes, 0), started: false, held: false };
            let mut out = Vec::new();
            let mut buf = [0; 16];
            loop {
                match plain.read(&mut buf).unwrap() {
                    0 => break,
                    n => out.extend_from_slice(&buf[..n]),
                }
            }
            proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), text.replace("\r\n", "\n"));
        }
    }
}
