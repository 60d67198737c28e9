//! The manifest (CSV binding §4): which files a set has, and how each is meant.

use std::collections::{BTreeMap, BTreeSet};

use super::ImportError;
use super::edition::{Edition, FILES, PROFILES};
use super::input::Input;
use crate::roster::Code;

/// A manifest has 26 lines at most. Of a file that is something else altogether not everything is listed.
const MOST_LINES: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Bulk,
    Delta,
}

#[derive(Default)]
pub struct Manifest {
    pub version: String,
    /// Stem → line, and mode unless absent.
    pub files: BTreeMap<&'static str, (u64, Option<Mode>)>,
    /// Versions and modes are understood, so that the files can be.
    pub readable: bool,
}

impl Manifest {
    /// Reads it, as far as it can be read; what is wrong is added to the errors.
    pub fn read(input: &mut Input, errors: &mut Vec<ImportError>) -> Self {
        let mut report = |line: u64, column: &str, code, value: &str| {
            errors.push(ImportError::new("manifest.csv", line, column, code, value));
        };
        let mut manifest = Self { readable: true, ..Self::default() };
        let mut seen = BTreeSet::new();
        let mut rows = match input.rows("manifest") {
            Ok(rows) => rows,
            Err(fault) => {
                report(0, "", fault.code, "");
                return Self::default();
            }
        };
        for number in 0.. {
            let row = match rows.read() {
                Ok(Some(row)) if number < MOST_LINES => row,
                Ok(None) => break,
                Ok(Some(row)) => {
                    report(row.line, "", Code::ManifestProperty, "");
                    return Self::default();
                }
                Err(fault) => {
                    report(fault.line, "", fault.code, "");
                    return Self::default();
                }
            };
            let line = row.line;
            let Some(texts) = row.texts() else {
                report(line, "", Code::BadCharacter, "");
                continue;
            };
            let [property, value] = texts[..] else {
                report(line, "", Code::RowWidth, "");
                continue;
            };
            if number == 0 {
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
                "oneroster.version" if !PROFILES.iter().any(|profile| profile.versions.contains(&value)) => {
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
        let encoding = rows.encoding();
        drop(rows);
        input.note("manifest", encoding);
        let wanted = ["manifest.version".to_owned(), "oneroster.version".to_owned()];
        let files = FILES.iter().filter(|file| Edition::lists(&manifest.version, file));
        for property in wanted.into_iter().chain(files.map(|f| format!("file.{f}"))) {
            if !seen.contains(&property) {
                report(0, &property, Code::ManifestProperty, &property);
            }
        }
        manifest
    }
}
