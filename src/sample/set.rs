//! Writes one set as a zip: members one after another, each with its header, and the manifest.

use std::io::{self, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::broken::{Faults, Property};
use super::city::City;
use super::faults::{ExpectedError, FaultKind};
use super::file::File;
use super::key::Of;
use super::rows::Sink;
use super::{Dialect, SampleError, SampleOptions, SetReport};
use crate::csv::edition::FILES;

#[derive(Clone, Copy)]
pub(super) enum Mode {
    Bulk,
    Delta,
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Delta => "delta",
        }
    }
}

pub(super) struct SetWriter<'a, W: Write + Seek> {
    city: &'a City<'a>,
    mode: Mode,
    faults: Option<Faults<'a>>,
    zip: ZipWriter<W>,
    report: SetReport,
}

impl<'a, W: Write + Seek> SetWriter<'a, W> {
    pub(super) fn new(city: &'a City<'a>, mode: Mode, faults: Option<Faults<'a>>, out: W) -> Self {
        Self { city, mode, faults, zip: ZipWriter::new(out), report: SetReport::default() }
    }

    /// Writes a file from a pass that gives its rows; without rows there is no file, as the binding
    /// asks.
    pub(super) fn file(
        &mut self,
        file: File,
        pass: impl FnOnce(&mut Sink) -> Result<(), SampleError>,
    ) -> Result<(), SampleError> {
        let options = self.city.options;
        let mut columns = file.columns(options.dialect);
        let mut faults = self.faults.as_mut();
        if let Some(faults) = &mut faults {
            faults.header(file, &mut columns);
        }
        let mut csv = member(&mut self.zip, options, file.csv_name());
        let (mut rows, mut line) = (0, 1);
        pass(&mut |record| {
            if rows == 0 {
                csv.write_record(&columns)?;
            }
            line += 1;
            let edited = match &mut faults {
                Some(faults) => faults.row(file, rows, line, record),
                None => None,
            };
            match edited {
                None => csv.write_byte_record(record.as_byte_record())?,
                Some(edited) => {
                    csv.write_record(&edited.fields)?;
                    if edited.twice {
                        line += 1;
                        csv.write_record(&edited.fields)?;
                    }
                }
            }
            rows += 1;
            Ok(())
        })?;
        csv.flush()?;
        if rows > 0 {
            self.report.rows.insert(file.stem(), rows);
        }
        Ok(())
    }

    /// Writes the manifest, which has to know what is in the set and therefore comes last.
    pub(super) fn finish(mut self) -> Result<(SetReport, Vec<ExpectedError>), SampleError> {
        let mut lines = self.manifest_lines();
        let mut absent = false;
        if let Some(faults) = &mut self.faults {
            absent = faults.has(FaultKind::ManifestAbsent);
            if absent {
                // Without a manifest there is nothing else to say about it.
                faults.no_manifest();
            } else {
                faults.manifest(&mut lines);
                if faults.has(FaultKind::ManifestUndeclaredFile) {
                    self.undeclared_file()?;
                }
            }
        }
        if !absent {
            let mut csv = member(&mut self.zip, self.city.options, "manifest.csv");
            csv.write_record(["propertyName", "value"])?;
            for line in &lines {
                csv.write_record([line.name.as_str(), line.value])?;
            }
            csv.flush()?;
        }
        self.zip.finish()?.flush()?;
        let expected = self.faults.map(Faults::into_expected).unwrap_or_default();
        Ok((self.report, expected))
    }

    fn manifest_lines(&self) -> Vec<Property> {
        let version = match self.city.options.dialect {
            Dialect::JapanFinal => "1.2_JP",
            Dialect::JapanDomestic | Dialect::Base => "1.2",
        };
        let files = FILES.iter().map(|stem| {
            let there = self.report.rows.contains_key(stem);
            let mode = if there { self.mode.as_str() } else { "absent" };
            (format!("file.{stem}"), mode)
        });
        let mut lines = vec![("manifest.version".to_owned(), "1.0"), ("oneroster.version".to_owned(), version)];
        lines.extend(files);
        lines.push(("source.systemName".to_owned(), "架空校務支援システム"));
        lines.push(("source.systemCode".to_owned(), "rosterhub-sample"));
        let property = |(name, value)| Property { name, value };
        lines.into_iter().map(property).collect()
    }

    /// A file that the manifest calls absent.
    fn undeclared_file(&mut self) -> Result<(), SampleError> {
        let mut id = String::new();
        self.city.keys.id(Of::Category, &[1]).push_to(&mut id);
        let mut csv = member(&mut self.zip, self.city.options, "categories.csv");
        csv.write_record(["sourcedId", "status", "dateLastModified", "title", "weight"])?;
        csv.write_record([id.as_str(), "", "", "小テスト", "20"])?;
        csv.flush()?;
        Ok(())
    }
}

/// A CSV file in the zip, begun with the first byte that is written to it.
fn member<'z, W: Write + Seek>(
    zip: &'z mut ZipWriter<W>,
    options: &SampleOptions,
    name: &'static str,
) -> ::csv::Writer<Member<'z, W>> {
    let terminator = if options.lf { ::csv::Terminator::Any(b'\n') } else { ::csv::Terminator::CRLF };
    ::csv::WriterBuilder::new()
        // Faults make rows of another length.
        .flexible(true)
        .terminator(terminator)
        .buffer_capacity(1 << 16)
        .from_writer(Member { zip, name, bom: options.bom, begun: false })
}

struct Member<'z, W: Write + Seek> {
    zip: &'z mut ZipWriter<W>,
    name: &'static str,
    bom: bool,
    begun: bool,
}

impl<W: Write + Seek> Member<'_, W> {
    fn begin(&mut self) -> io::Result<()> {
        // The same options have to give the same bytes, hence no clock here.
        let date = DateTime::from_date_and_time(2026, 4, 1, 0, 0, 0).unwrap_or_default();
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(date)
            .unix_permissions(0o644)
            // The enrollments of a large prefecture can pass 4 GiB.
            .large_file(true);
        self.zip.start_file(self.name, options)?;
        if self.bom {
            self.zip.write_all("\u{feff}".as_bytes())?;
        }
        self.begun = true;
        Ok(())
    }
}

impl<W: Write + Seek> Write for Member<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.begun {
            self.begin()?;
        }
        self.zip.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
