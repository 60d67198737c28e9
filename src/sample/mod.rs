//! Synthetic rosters: OneRoster 1.2.1 CSV sets in Japanese style, for trying out an import,
//! measuring it and testing what it says about broken data. Nobody in the data is real.
//!
//! * [`write_bulk`] writes a whole city as a bulk set.
//! * [`write_delta`] writes what changed in that city some weeks later: pupils who leave, arrive,
//!   move to another class, take another name or get another address.
//! * [`write_broken`] writes the bulk set with seeded faults and lists the errors that a reader has
//!   to find. No fault causes a second one, if references are judged by the ids that stand in the
//!   files, also in refused rows.
//!
//! Every record is computed from (seed, key), so each file is written in a pass of its own over the
//! schools, nothing is kept, and the same options always give the same bytes. Bulk rows leave
//! `status` and `dateLastModified` blank, delta rows fill both, as the binding asks. School codes
//! have the right form, but their check digit is not computed by the ministry's rule.

mod broken;
mod bulk;
mod city;
mod delta;
mod error;
mod faults;
mod file;
mod key;
mod people;
mod plan;
mod rows;
mod set;
#[cfg(test)]
mod tests;
mod user_rows;
mod users;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Seek, Write};
use std::str::FromStr;

pub use error::SampleError;
pub use faults::{ExpectedError, FaultKind};

use broken::Faults;
use city::City;
use set::{Mode, SetWriter};

/// What the city looks like and how it is written down.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleOptions {
    /// Of ten schools, six are elementary, three lower secondary and one upper secondary.
    pub schools: u32,
    pub students_per_school: u32,
    /// Subject classes for each homeroom, 0 to 9.
    pub subjects: u32,
    /// At most this many pupils share a homeroom.
    pub class_size: u32,
    pub seed: String,
    /// The school year, by the calendar year in which it begins.
    pub year: i32,
    pub dialect: Dialect,
    /// With three terms below the school year. The Japanese profile allows only `schoolYear`
    /// sessions.
    pub terms: bool,
    /// With userProfiles.csv.
    pub profiles: bool,
    /// With demographics.csv.
    pub demographics: bool,
    /// Files begin with a byte order mark.
    pub bom: bool,
    /// Lines end in LF, not CRLF.
    pub lf: bool,
    pub city: String,
    /// Number of the prefecture, 1 to 47; part of the codes of schools.
    pub prefecture: u8,
    /// Where the mail addresses are.
    pub domain: String,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            schools: 3,
            students_per_school: 120,
            subjects: 5,
            class_size: 35,
            seed: "1".to_owned(),
            year: 2026,
            dialect: Dialect::JapanFinal,
            terms: false,
            profiles: false,
            demographics: true,
            bom: false,
            lf: false,
            city: "みどり市".to_owned(),
            prefecture: 13,
            domain: "edu.example.jp".to_owned(),
        }
    }
}

impl SampleOptions {
    fn check(&self) -> Result<(), SampleError> {
        let rules = [
            // A school code has seven digits for the number of the school.
            ((1..=8_999_999).contains(&self.schools), "schools: from 1 to 8999999"),
            (self.students_per_school >= 1, "students per school: from 1"),
            (self.subjects <= 9, "subjects: from 0 to 9"),
            (self.class_size >= 1, "class size: from 1"),
            ((1900..=2999).contains(&self.year), "year: from 1900 to 2999"),
            ((1..=47).contains(&self.prefecture), "prefecture: from 1 to 47"),
            // A line break inside a field would spoil the line numbers of expected errors.
            (
                !(self.city.chars().chain(self.domain.chars())).any(char::is_control),
                "city and domain: without control characters",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(SampleError::Options(rule)),
            None => Ok(()),
        }
    }
}

/// Which spelling of OneRoster a set is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// The 1EdTech Japan K-12/Schools Profile 1.0.
    #[default]
    JapanFinal,
    /// The older domestic profile 1.2.1.
    JapanDomestic,
    /// Plain OneRoster 1.2.1, without metadata columns.
    Base,
}

impl Dialect {
    const ALL: [Self; 3] = [Self::JapanFinal, Self::JapanDomestic, Self::Base];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::JapanFinal => "jp-final",
            Self::JapanDomestic => "jp-domestic",
            Self::Base => "base",
        }
    }

    fn is_japanese(self) -> bool {
        self != Self::Base
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = SampleError;

    fn from_str(name: &str) -> Result<Self, SampleError> {
        let found = Self::ALL.into_iter().find(|d| d.as_str() == name);
        found.ok_or_else(|| SampleError::UnknownDialect(name.to_owned()))
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetReport {
    /// Rows by file, the file named without `.csv`; files that are not in the set are not listed.
    pub rows: BTreeMap<&'static str, u64>,
}

/// Writes a bulk set as a zip.
pub fn write_bulk<W: Write + Seek>(options: &SampleOptions, out: W) -> Result<SetReport, SampleError> {
    let city = City::new(options)?;
    let mut set = SetWriter::new(&city, Mode::Bulk, None, out);
    for file in city.files() {
        set.file(file, |sink| bulk::rows(&city, file, sink))?;
    }
    let (report, _) = set.finish()?;
    Ok(report)
}

/// Writes a delta set to the bulk set of the same options: `percent` of the pupils changed, a fifth
/// as many leave and a fifth as many arrive. Files in which nothing changed are not in the set.
pub fn write_delta<W: Write + Seek>(options: &SampleOptions, percent: f64, out: W) -> Result<SetReport, SampleError> {
    let city = City::new(options)?;
    let share = delta::Share::new(percent)?;
    let mut set = SetWriter::new(&city, Mode::Delta, None, out);
    for file in city.files().filter(|file| file.has_pupils()) {
        set.file(file, |sink| delta::rows(&city, share, file, sink))?;
    }
    let (report, _) = set.finish()?;
    Ok(report)
}

/// Writes the bulk set with `per_kind` faults of each kind (kinds that sit in a header or in the
/// manifest come once) and returns the errors to expect, ordered by file, line and kind. A set too
/// small for so many holds fewer.
pub fn write_broken<W: Write + Seek>(
    options: &SampleOptions,
    kinds: &[FaultKind],
    per_kind: u32,
    out: W,
) -> Result<Vec<ExpectedError>, SampleError> {
    let city = City::new(options)?;
    let faults = Faults::new(&city, kinds, per_kind);
    let mut set = SetWriter::new(&city, Mode::Bulk, Some(faults), out);
    for file in city.files() {
        set.file(file, |sink| bulk::rows(&city, file, sink))?;
    }
    let (_, expected) = set.finish()?;
    Ok(expected)
}
