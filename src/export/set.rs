//! A set as a zip that is written in one go (CSV binding §1, §4).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Datelike, Timelike, Utc};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::ExportError;
use super::options::Encoding;
use crate::csv::edition::{Edition, FILES};
use crate::roster::EntityType;

/// What manifest and files have in common.
#[derive(Clone, Debug)]
pub struct SetOptions {
    pub edition: Edition,
    pub is_delta: bool,
    pub bom: bool,
    pub encoding: Encoding,
    /// `source.systemCode`
    pub source: String,
    /// Stands in the zip as the time of its files.
    pub time: DateTime<Utc>,
}

/// Where the bytes of a set go.
pub trait Sink: Write + Send {
    /// The set is whole: what is held back is passed on.
    fn finish(&mut self) -> io::Result<()>;
}

impl<W: Write + Send> Sink for io::BufWriter<W> {
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }
}

/// Counts only.
impl Sink for io::Sink {
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the files as they come, and the manifest in the end, since a file without rows has no place in a set.
pub struct SetWriter<S: Sink> {
    zip: ZipWriter<StreamWriter<Valve<S>>>,
    options: SetOptions,
    open: Option<EntityType>,
    rows: BTreeMap<EntityType, u64>,
    bytes: Vec<u8>,
    broken: Arc<AtomicBool>,
}

impl<S: Sink> SetWriter<S> {
    pub fn new(sink: S, options: SetOptions) -> Self {
        let broken = Arc::new(AtomicBool::new(false));
        let zip = ZipWriter::new_stream(Valve { sink, broken: broken.clone() }).set_auto_large_file();
        Self { zip, options, open: None, rows: BTreeMap::new(), bytes: Vec::new(), broken }
    }

    /// Adds rows to the file of a type, which begins with its first ones.
    pub fn add(&mut self, kind: EntityType, header: &str, text: &str, rows: u64) -> Result<(), ExportError> {
        if rows == 0 {
            return Ok(());
        }
        if self.open != Some(kind) {
            self.begin(kind.entity().collection)?;
            self.open = Some(kind);
            self.write(kind.entity().collection, header)?;
        }
        *self.rows.entry(kind).or_default() += rows;
        self.write(kind.entity().collection, text)
    }

    fn begin(&mut self, stem: &str) -> Result<(), ExportError> {
        let time = &self.options.time;
        let date = zip::DateTime::from_date_and_time(
            time.year().try_into().unwrap_or_default(),
            time.month() as u8,
            time.day() as u8,
            time.hour() as u8,
            time.minute() as u8,
            time.second() as u8,
        );
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .last_modified_time(date.unwrap_or_default())
            .unix_permissions(0o644);
        self.zip.start_file(format!("{stem}.csv"), options)?;
        if self.options.bom {
            self.zip.write_all("\u{feff}".as_bytes())?;
        }
        Ok(())
    }

    fn write(&mut self, stem: &str, text: &str) -> Result<(), ExportError> {
        if self.options.encoding == Encoding::Utf8 {
            return Ok(self.zip.write_all(text.as_bytes())?);
        }
        self.bytes.clear();
        let encoded = self.options.encoding.encode(text, &mut self.bytes);
        encoded.map_err(|_| ExportError::Unmappable(format!("{stem}.csv")))?;
        Ok(self.zip.write_all(&self.bytes)?)
    }

    /// Ends the set. Gives the rows of its files.
    pub fn finish(mut self) -> Result<BTreeMap<EntityType, u64>, ExportError> {
        let manifest = self.manifest();
        self.begin("manifest")?;
        self.write("manifest", &manifest)?;
        self.zip.finish()?.into_inner().sink.finish()?;
        Ok(self.rows)
    }

    /// Ends what cannot become whole.
    pub fn abandon(self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    fn manifest(&self) -> String {
        let mode = if self.options.is_delta { "delta" } else { "bulk" };
        let mut text = "propertyName,value\r\nmanifest.version,1.0\r\n".to_owned();
        text += &format!("oneroster.version,{}\r\n", self.options.edition.version());
        for stem in FILES {
            let is_there = EntityType::from_file(stem).is_some_and(|kind| self.rows.contains_key(&kind));
            text += &format!("file.{stem},{}\r\n", if is_there { mode } else { "absent" });
        }
        text + &format!("source.systemName,RosterHub\r\nsource.systemCode,{}\r\n", self.options.source)
    }
}

/// Lets nothing of a broken set through: a zip that is dropped writes its directory, and would look like a whole one.
struct Valve<S> {
    sink: S,
    broken: Arc<AtomicBool>,
}

impl<S: Write> Write for Valve<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken.load(Ordering::Relaxed) || std::thread::panicking() {
            return Ok(bytes.len());
        }
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
