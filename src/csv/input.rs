//! What was handed in: a set, a single CSV file or a workbook, told apart by its bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::ImportError;
use super::archive::{self, Archive, Bounded};
use super::edition::{FILES, columns};
use super::encoding::{Encoding, Wish};
use super::manifest::{Manifest, Mode};
use super::options::FileMode;
use super::rows::{RowFault, Rows};
use super::rules::Level;
use super::workbook::Workbook;
use crate::roster::{Code, EntityType};

/// What was handed in, and how it is to be read.
pub struct Upload {
    pub file: File,
    /// As the client named it.
    pub name: String,
    /// Bytes that may come out of it, unpacked.
    pub limit: u64,
    pub encoding: Wish,
    pub mode: FileMode,
    /// As which edition, when it is named, and how strictly it is looked at.
    pub level: Level,
}

/// What was handed in, opened.
pub struct Input {
    form: Form,
    wish: Wish,
    /// Bytes that may still be unpacked.
    left: u64,
    encodings: BTreeMap<String, Encoding>,
}

enum Form {
    Set(Archive),
    /// One file of the binding, by its stem.
    File(File, &'static str),
    Workbook(Box<Workbook>),
}

/// Entries of a workbook, of which it may have some that are not read.
const MOST_ENTRIES: u64 = 1_000;

impl Input {
    /// What has no place in it is added to the errors.
    pub fn open(upload: Upload, errors: &mut Vec<ImportError>) -> Result<Self, ImportError> {
        let Upload { mut file, name, limit, encoding, .. } = upload;
        let mut begin = Vec::new();
        let begun = file.rewind().and_then(|()| (&file).take(4).read_to_end(&mut begin));
        begun.map_err(|error| ImportError::new("", 0, "", Code::NotAZip, &error.to_string()))?;
        let mut left = limit;
        let form = match begin.starts_with(b"PK") {
            true => {
                let opened = archive::open(file, MOST_ENTRIES)?;
                match Workbook::is_one(&opened.zip) {
                    true => Form::Workbook(Box::new(Workbook::open(opened.zip, &mut left, errors)?)),
                    false => Form::Set(Archive::new(opened, errors)?),
                }
            }
            false => {
                let stem = stem_of(&file, &name, encoding)?;
                Form::File(file, stem)
            }
        };
        Ok(Self { form, wish: encoding, left, encodings: BTreeMap::new() })
    }

    pub fn holds(&self, stem: &str) -> bool {
        match &self.form {
            Form::Set(archive) => archive.holds(stem),
            Form::File(_, its) => *its == stem,
            Form::Workbook(workbook) => workbook.holds(stem),
        }
    }

    /// A set must have a manifest; others may do without.
    pub fn is_set(&self) -> bool {
        matches!(self.form, Form::Set(_))
    }

    /// Its cells have types, and marks where they hold no text.
    pub fn is_workbook(&self) -> bool {
        matches!(self.form, Form::Workbook(_))
    }

    /// Rows of a file of the binding.
    pub fn rows(&mut self, stem: &str) -> Result<Rows<Box<dyn Read + '_>>, RowFault> {
        let failed = || RowFault { line: 1, code: Code::BadEntry, last: true };
        let mut wish = self.wish;
        let inner: Box<dyn Read> = match &mut self.form {
            Form::Set(archive) => Box::new(archive.read(stem).ok_or_else(failed)?),
            Form::File(file, _) => {
                file.seek(SeekFrom::Start(0)).map_err(|_| failed())?;
                Box::new(file)
            }
            Form::Workbook(workbook) => {
                wish = Wish::Utf8;
                Box::new(workbook.read(stem).ok_or_else(failed)?)
            }
        };
        Ok(Rows::new(Box::new(Bounded { inner, left: &mut self.left }), wish))
    }

    /// The first rows of a file. They are read again later, and count then.
    pub fn begin<T>(
        &mut self,
        stem: &str,
        read: impl FnOnce(&mut Rows<Box<dyn Read + '_>>) -> Result<T, RowFault>,
    ) -> Result<T, RowFault> {
        let left = self.left;
        let begun = read(&mut self.rows(stem)?);
        if self.left > 0 {
            self.left = left;
        }
        begun
    }

    /// Notes in which encoding a file was.
    pub fn note(&mut self, stem: &str, encoding: Encoding) {
        if !self.is_workbook() {
            self.encodings.insert(stem.to_owned(), encoding);
        }
    }

    /// The encodings of its files, as far as they have been read.
    pub fn encodings(&self) -> BTreeMap<String, &'static str> {
        self.encodings.iter().map(|(stem, encoding)| (stem.clone(), encoding.name())).collect()
    }

    /// All that may be unpacked has been.
    pub fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// The manifest that it would have.
    pub fn made_up_manifest(&mut self, mode: FileMode) -> Manifest {
        let mut manifest = Manifest { readable: true, ..Manifest::default() };
        for stem in FILES.into_iter().filter(|stem| self.holds(stem)).collect::<Vec<_>>() {
            let mode = match mode {
                FileMode::Bulk => Mode::Bulk,
                FileMode::Delta => Mode::Delta,
                FileMode::Auto => self.mode_by_rows(stem),
            };
            manifest.files.insert(stem, (0, Some(mode)));
        }
        manifest
    }

    /// Of a file whose mode nobody tells: a delta if the first row has a status.
    pub fn mode_by_rows(&mut self, stem: &str) -> Mode {
        let found = self.begin(stem, |rows| {
            let Some(header) = rows.read()? else { return Ok(false) };
            let Some(status) = header.iter().position(|name| name == b"status") else { return Ok(false) };
            Ok(rows.read()?.and_then(|row| row.get(status)).is_some_and(|status| !status.is_empty()))
        });
        if found.unwrap_or(false) { Mode::Delta } else { Mode::Bulk }
    }
}

/// Which file of the binding a CSV file is: its name tells, or else its header.
fn stem_of(file: &File, name: &str, wish: Wish) -> Result<&'static str, ImportError> {
    let unknown = |code, value: &str| ImportError::new(name, 0, "", code, value);
    let named = named(name.strip_suffix(".csv").unwrap_or(name));
    let header = (|| {
        let mut file = file;
        file.rewind().map_err(|_| Code::NotAZip)?;
        let mut rows = Rows::new(io::Read::take(file, 1 << 22), wish);
        let header = rows.read().map_err(|fault| fault.code)?.ok_or(Code::NotAZip)?;
        Ok::<_, Code>(header.texts().ok_or(Code::NotAZip)?.into_iter().map(str::to_owned).collect::<Vec<_>>())
    })();
    match (named, header) {
        (Some(stem), _) => Ok(stem),
        (None, Ok(header)) if separator_of(&header).is_some() => Err(unknown(Code::WrongSeparator, &header[0])),
        (None, Ok(header)) if header.iter().any(|name| name == "sourcedId") => {
            recognised(&header).ok_or_else(|| unknown(Code::UnrecognizedFile, name))
        }
        (None, _) => Err(ImportError::new("", 0, "", Code::NotAZip, "")),
    }
}

/// The file of the binding that has this name, also as browsers change it when there is one already.
fn named(name: &str) -> Option<&'static str> {
    let copy = |rest: &str| rest.is_empty() || (rest.starts_with(" (") && rest.ends_with(')'));
    FILES.into_iter().find(|stem| name.strip_prefix(stem).is_some_and(copy))
}

/// The one file of the binding that has most of these columns; none when it is not clear.
pub fn recognised(names: &[String]) -> Option<&'static str> {
    let mut found: Vec<(usize, &'static str)> = EntityType::ALL
        .into_iter()
        .map(|kind| {
            // The first three are in every file.
            let own: Vec<_> = columns(kind).into_iter().skip(3).filter(|column| column.1).collect();
            let there = own.iter().filter(|(column, _)| names.iter().any(|name| name == column)).count();
            (there * 100 / own.len(), kind.entity().collection)
        })
        .collect();
    found.sort();
    match found[..] {
        [.., (second, _), (first, stem)] if first > 50 && first > second => Some(stem),
        _ => None,
    }
}

/// What separates the columns of a header, if it is not commas.
pub fn separator_of<T: AsRef<str>>(header: &[T]) -> Option<char> {
    let [only] = header else { return None };
    [';', '\t'].into_iter().find(|separator| only.as_ref().split(*separator).any(|name| name == "sourcedId"))
}
