//! The zip (CSV binding §1), read within bounds. Entries are read where they stand: their names lead nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::ZipArchive;

use super::ImportError;
use super::edition::FILES;
use crate::roster::Code;

/// Entries that are looked at, so that each one that has no place in a set can be named. A set has 22 at most.
const MOST_ENTRIES: u64 = 100;
/// Bytes of the zip's directory, which the zip crate holds in memory.
const LARGEST_DIRECTORY: u64 = 1 << 20;

/// A zip, and the names that are in it more than once.
pub struct Opened {
    pub zip: ZipArchive<BufReader<File>>,
    repeated: BTreeSet<String>,
}

/// The files of a set.
pub struct Archive {
    zip: ZipArchive<BufReader<File>>,
    /// Index by stem of those entries that belong to a set.
    entries: BTreeMap<&'static str, usize>,
}

/// Opens a zip with no more entries than this.
pub fn open(file: File, most: u64) -> Result<Opened, ImportError> {
    let broken = |why: String| ImportError::new("", 0, "", Code::NotAZip, &why);
    let mut file = BufReader::with_capacity(1 << 16, file);
    if claimed_entries(&mut file).map_err(|e| broken(e.to_string()))? > most {
        return Err(too_many());
    }
    let mut left = LARGEST_DIRECTORY;
    let directory = ZipArchive::new(Bounded { inner: &mut file, left: &mut left })
        .map(|zip| (zip.central_directory_start(), zip.len() as u64));
    let directory = match directory {
        Err(_) if left == 0 => return Err(too_many()),
        Ok((_, entries)) if entries > most => return Err(too_many()),
        directory => directory.map_err(|e| broken(e.to_string()))?.0,
    };
    let repeated = repeated_names(&mut file, directory).map_err(|e| broken(e.to_string()))?;
    let zip = ZipArchive::new(file).map_err(|e| broken(e.to_string()))?;
    Ok(Opened { zip, repeated })
}

fn too_many() -> ImportError {
    ImportError::new("", 0, "", Code::TooManyFiles, "")
}

impl Archive {
    /// Entries that do not belong to a set are added to the errors.
    pub fn new(Opened { zip, repeated }: Opened, errors: &mut Vec<ImportError>) -> Result<Self, ImportError> {
        if zip.len() as u64 > MOST_ENTRIES {
            return Err(too_many());
        }
        let mut archive = Self { zip, entries: BTreeMap::new() };
        for name in repeated {
            errors.push(ImportError::new(&name, 0, "", Code::DuplicateFile, &name));
        }
        archive.find_entries(errors);
        Ok(archive)
    }

    fn find_entries(&mut self, errors: &mut Vec<ImportError>) {
        for index in 0..self.zip.len() {
            let Ok(entry) = self.zip.by_index_raw(index) else {
                errors.push(ImportError::new("", 0, "", Code::BadEntry, &index.to_string()));
                continue;
            };
            // The bytes as they stand; names of a set's files are ASCII in every encoding.
            let name = String::from_utf8_lossy(entry.name_raw());
            let stem = name.strip_suffix(".csv");
            let code = match stem.and_then(|stem| FILES.iter().chain(["manifest"].iter()).find(|f| **f == stem)) {
                _ if entry.encrypted() || !entry.is_file() => Code::BadEntry,
                Some(stem) => {
                    self.entries.insert(stem, index);
                    continue;
                }
                None if name.contains(['/', '\\', char::REPLACEMENT_CHARACTER]) => Code::BadEntry,
                None => Code::UnknownFile,
            };
            errors.push(ImportError::new(&name, 0, "", code, &name));
        }
    }

    pub fn holds(&self, stem: &str) -> bool {
        self.entries.contains_key(stem)
    }

    /// The bytes of a file of the set.
    pub fn read<'a>(&'a mut self, stem: &str) -> Option<impl Read + use<'a>> {
        self.zip.by_index(*self.entries.get(stem)?).ok()
    }
}

/// Entries that a zip64 end record claims. The zip crate makes room for all of them before it has seen one.
fn claimed_entries(file: &mut (impl Read + Seek)) -> io::Result<u64> {
    // The end records: of zip64, its locator, the plain one and a comment.
    let (record64, locator, record, comment) = (56, 20, 22, 65_535);
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(size.saturating_sub(record64 + locator + record + comment)))?;
    let mut tail = Vec::new();
    file.take(1 << 17).read_to_end(&mut tail)?;
    let claims = memchr::memmem::find_iter(&tail, b"PK\x05\x06").filter_map(|at| {
        let end = tail.get(at..at + 20)?;
        let is_zip64 = end[10..12] == [0xff; 2] || end[12..16] == [0xff; 4] || end[16..20] == [0xff; 4];
        let end64 = tail.get(at.checked_sub(76)?..at).filter(|_| is_zip64)?;
        match end64.starts_with(b"PK\x06\x06") {
            true => end64[32..40].try_into().ok().map(u64::from_le_bytes),
            false => Some(u64::MAX), // not where all writers put it
        }
    });
    Ok(claims.max().unwrap_or(0))
}

/// Names that stand in the directory more than once. The zip crate keeps the last entry of each and tells nothing.
fn repeated_names(file: &mut BufReader<File>, directory: u64) -> io::Result<BTreeSet<String>> {
    file.seek(SeekFrom::Start(directory))?;
    let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    let mut header = [0; 46];
    while file.read_exact(&mut header).is_ok() && header.starts_with(b"PK\x01\x02") {
        let [name, extra, comment] = [28, 30, 32].map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
        let mut bytes = vec![0; name.into()];
        file.read_exact(&mut bytes)?;
        file.seek_relative(i64::from(extra) + i64::from(comment))?;
        let name = String::from_utf8_lossy(&bytes).into_owned();
        if !seen.insert(name.clone()) {
            repeated.insert(name);
        }
    }
    Ok(repeated)
}

/// Hands out what there is, and fails when more would come than is left.
pub struct Bounded<'a, R> {
    pub inner: R,
    pub left: &'a mut u64,
}

/// More would come out of a zip than may.
#[derive(Debug, thiserror::Error)]
#[error("larger than the bound")]
struct TooLarge;

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        let left = self.left.checked_sub(read as u64);
        *self.left = left.unwrap_or(0);
        left.map(|_| read).ok_or_else(|| io::Error::other(TooLarge))
    }
}

impl<R: Seek> Seek for Bounded<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// What a file that could not be read on suffers from.
pub fn fault_of(error: &io::Error) -> Code {
    match error.get_ref().is_some_and(|e| e.is::<TooLarge>()) {
        true => Code::SetTooLarge,
        false => Code::BadEntry, // the zip's checksum, or its compressed data, is wrong
    }
}
