//! Rows to records: every field read and checked by its description, every error with its line and column.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::ImportError;
use super::conversion::{ConversionKind, Counted};
use super::edition::{Column, Edition};
use super::lenient::repaired;
use super::manifest::Mode;
use super::package::{DataFile, Package};
use super::roles_1_1 as roles;
use super::rows::Row;
use super::rules::{Level, Severity};
use super::workbook::fault_of_mark;
use crate::roster::japan::{Extension, JapanRules, extension_of_column, parse_extension};
use crate::roster::strict::is_uuid;
use crate::roster::value::check_text;
use crate::roster::{Code, EntityType, Fault, Field, Record, Role, is_sourced_id, with_record};

/// A row, ready for staging.
#[derive(Debug)]
pub struct StagedRow {
    pub kind: EntityType,
    pub line: u64,
    pub sourced_id: String,
    /// A delta row with status `tobedeleted`.
    pub withdrawn: bool,
    /// The `type` that references to it may put a condition on.
    pub tag: Option<String>,
    /// The user it belongs to, for roles and profiles; itself for users.
    pub owner: Option<String>,
    /// The org it belongs to, where the record itself says so.
    pub school: Option<String>,
    /// JSON and its SHA-256; none when the row was rejected: its id still counts as present.
    pub record: Option<(String, [u8; 32])>,
    /// In a revert: number of the record's own event that is taken back.
    pub expected: Option<i64>,
}

impl StagedRow {
    /// The row that says that the record shall stand so, or be withdrawn; without one, it was rejected.
    pub fn of<R: Record>(line: u64, id: &str, withdrawn: bool, record: Option<&R>) -> Self {
        let kind = R::ENTITY.kind;
        let (mut owner, mut school) = (None, None);
        if let Some(record) = record {
            record.each_reference(&mut |field, id| match (kind, field.csv) {
                (_, "userSourcedId") => owner = Some(id.to_owned()),
                (EntityType::Enrollment | EntityType::Class, "schoolSourcedId")
                | (EntityType::Course | EntityType::Role, "orgSourcedId")
                | (EntityType::User, "primaryOrgSourcedId") => school = Some(id.to_owned()),
                _ => {}
            });
        }
        match kind {
            EntityType::User => owner = Some(id.to_owned()),
            EntityType::Org => school = Some(id.to_owned()),
            _ => {}
        }
        Self {
            kind,
            line,
            sourced_id: id.to_owned(),
            withdrawn,
            tag: record.and_then(|r| r.tag().map(str::to_owned)),
            owner,
            school,
            record: record.and_then(|r| serde_json::to_string(r).ok()).map(|json| {
                let digest = Sha256::digest(&json).into();
                (json, digest)
            }),
            expected: None,
        }
    }
}

/// What decoding gives, in order.
pub enum Decoded {
    Row(StagedRow),
    /// Some record of `slot.kind` names `id` in the slot's field.
    Reference(Slot, String),
    Error(ImportError),
}

impl Decoded {
    /// Memory that may be large.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Row(StagedRow { record: Some((json, _)), .. }) => json.len(),
            _ => 0,
        }
    }
}

/// A field that refers to other records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    pub kind: EntityType,
    /// Column; `sourcedId` for a record identified by another's id.
    pub column: &'static str,
}

/// Whoever takes what is decoded has gone away.
pub struct Stopped;

/// References already passed on are not passed on again, as far as this many are remembered.
const REMEMBERED: usize = 100_000;

/// Decodes all files, passing what it finds to `out`.
pub fn decode(package: &mut Package, out: &mut dyn FnMut(Decoded) -> Result<(), Stopped>) -> Result<(), Stopped> {
    for error in std::mem::take(&mut package.errors) {
        out(Decoded::Error(error))?;
    }
    for file in 0..package.files.len() {
        let kind = package.files[file].kind;
        if !with_record!(kind, R => decode_file::<R>(package, file, out))? {
            package.unread.push(kind);
            if kind == EntityType::User && package.edition == Edition::V11 {
                package.unread.push(EntityType::Role);
            }
            if package.is_exhausted() {
                package.unread.extend(package.files[file..].iter().map(|f| f.kind));
                break;
            }
        }
    }
    Ok(())
}

/// False: the file could not be read to its end.
fn decode_file<R: JapanRules>(
    package: &mut Package,
    file: usize,
    out: &mut dyn FnMut(Decoded) -> Result<(), Stopped>,
) -> Result<bool, Stopped> {
    let mut decoder = Decoder::new(&package.files[file], package.level, package.has_marks());
    decoder.above_schools = std::mem::take(&mut package.above_schools);
    decoder.erased = std::mem::take(&mut package.erased);
    let name = package.files[file].name();
    let error = |line, code| Decoded::Error(ImportError::new(&name, line, "", code, ""));
    let mut rows = match package.rows(file) {
        Ok(rows) => rows,
        Err(fault) => return out(error(fault.line, fault.code)).map(|()| false),
    };
    let mut empty = true;
    let whole = loop {
        match rows.read() {
            // Spreadsheets write rows of commas alone for cells that once held something.
            Ok(Some(row)) if row.width() > 1 && row.is_blank() => continue,
            Ok(Some(row)) => decoder.row::<R>(row, out)?,
            Ok(None) if empty => break out(error(1, Code::NoRows)).map(|()| true)?,
            Ok(None) => break true,
            Err(fault) => {
                out(error(fault.line, fault.code))?;
                if fault.last {
                    break false;
                }
            }
        }
        empty = false;
    };
    let encoding = rows.encoding();
    drop(rows);
    package.note(file, encoding);
    package.above_schools = decoder.above_schools;
    package.erased = decoder.erased;
    package.conversions.extend(decoder.counted.of(&name));
    Ok(whole)
}

struct Decoder {
    mode: Mode,
    level: Level,
    /// Bytes that are no text say what is wrong with the cell.
    has_marks: bool,
    file: String,
    names: Vec<String>,
    columns: Vec<Column>,
    extensions: Vec<Option<&'static Extension>>,
    complete: bool,
    id_column: Option<usize>,
    passed_on: HashSet<(Slot, String)>,
    counted: Counted,
    /// Orgs of OneRoster 1.1 that stand above schools.
    above_schools: HashSet<String>,
    /// People who were erased.
    erased: HashSet<String>,
}

/// Faults of one row, by column name (extension columns are not static).
type Faults = Vec<(String, Code, String)>;

impl Decoder {
    fn new(file: &DataFile, level: Level, has_marks: bool) -> Self {
        let header = &file.header;
        Self {
            mode: file.mode,
            level,
            has_marks,
            file: file.name(),
            names: header.names.clone(),
            columns: header.columns.clone(),
            extensions: header.names.iter().map(|n| extension_of_column(file.kind, n)).collect(),
            complete: header.complete,
            id_column: header.columns.iter().position(|c| *c == Column::SourcedId),
            passed_on: HashSet::new(),
            counted: Counted::default(),
            above_schools: HashSet::new(),
            erased: HashSet::new(),
        }
    }

    fn row<R: JapanRules>(
        &mut self,
        row: Row<'_>,
        out: &mut dyn FnMut(Decoded) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let mut faults = Faults::new();
        let id = self.id_column.and_then(|i| row.get(i)).map(std::str::from_utf8);
        let unreadable = matches!(id, Some(Err(_)));
        let id = id.and_then(Result::ok).unwrap_or("");
        let id_fits = is_sourced_id(id);
        let mut withdrawn = false;
        let mut record = None;
        if row.width() != self.columns.len() {
            faults.push((String::new(), Code::RowWidth, format!("{} of {}", row.width(), self.columns.len())));
        } else {
            if !id_fits && !unreadable {
                let code = if id.is_empty() { Code::MissingRequired } else { Code::BadSourcedId };
                faults.push(("sourcedId".to_owned(), code, id.to_owned()));
            }
            let mut counted = std::mem::take(&mut self.counted);
            record = Some(self.record::<R>(id, row, &mut withdrawn, &mut faults, &mut counted));
            faults.retain(|(column, code, _)| match self.level.severity(*code) {
                Severity::Refused => true,
                Severity::Accepted => {
                    counted.add(column, ConversionKind::Accepted);
                    false
                }
                Severity::Off => false,
            });
            self.counted = counted;
        }
        if record.as_ref().is_some_and(|record| self.is_erased(id, record)) {
            self.counted.add("", ConversionKind::Erased);
            return Ok(());
        }
        let rejected = !faults.is_empty();
        for (column, code, value) in faults {
            out(Decoded::Error(ImportError::new(&self.file, row.line, &column, code, &value)))?;
        }
        if !id_fits {
            return Ok(());
        }
        let record = record.filter(|_| !rejected && self.complete);
        if let Some(record) = record.as_ref().filter(|_| !withdrawn) {
            self.pass_references_on(id, record, out)?;
        }
        if R::ENTITY.kind == EntityType::User && self.level.edition == Some(Edition::V11) {
            self.roles(id, row, record.is_some(), out)?;
        }
        let staged = StagedRow::of(row.line, id, withdrawn, record.as_ref());
        if self.level.edition == Some(Edition::V11)
            && staged.kind == EntityType::Org
            && staged.tag.as_deref().is_some_and(|tag| roles::ABOVE_SCHOOLS.contains(&tag))
        {
            self.above_schools.insert(id.to_owned());
        }
        out(Decoded::Row(staged))
    }

    /// The record is an erased person's.
    fn is_erased<R: Record>(&self, id: &str, record: &R) -> bool {
        if self.erased.is_empty() {
            return false;
        }
        let person = R::ENTITY.kind == EntityType::User || R::ENTITY.identified_by == Some(EntityType::User);
        let mut erased = person && self.erased.contains(id);
        record.each_reference(&mut |field, id| {
            erased |= field.csv == "userSourcedId" && self.erased.contains(id);
        });
        erased
    }

    /// The roles that a user of OneRoster 1.1 has: one at each of its orgs. Those of a user whose row was rejected count
    /// as rejected, too.
    fn roles(
        &mut self,
        user: &str,
        row: Row<'_>,
        good: bool,
        out: &mut dyn FnMut(Decoded) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        if !good {
            return out(Decoded::Row(StagedRow::of::<Role>(row.line, &roles::id(user, ""), false, None)));
        }
        let text = |column: Column| {
            let place = self.columns.iter().position(|c| *c == column);
            place.and_then(|i| row.get(i)).and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or_default().trim()
        };
        let (told, orgs) = (text(Column::Role), text(Column::Orgs));
        let mut seen = HashSet::new();
        for org in orgs.split(',').map(str::trim).filter(|org| !org.is_empty()) {
            if !seen.insert(org) {
                continue;
            }
            let (id, role) = roles::role(user, told, org, self.above_schools.contains(org));
            if role.role.as_deref() != Some(told) {
                self.counted.add("role", ConversionKind::Mapped);
            }
            self.pass_references_on(&id, &role, out)?;
            out(Decoded::Row(StagedRow::of(row.line, &id, false, Some(&role))))?;
        }
        Ok(())
    }

    fn record<R: JapanRules>(
        &self,
        id: &str,
        row: Row<'_>,
        withdrawn: &mut bool,
        faults: &mut Faults,
        counted: &mut Counted,
    ) -> R {
        let mut record = R::default();
        for (i, raw) in row.iter().enumerate() {
            let name = &self.names[i];
            let Ok(raw) = std::str::from_utf8(raw) else {
                let code = if self.has_marks { fault_of_mark(raw) } else { Code::BadCharacter };
                faults.push((name.clone(), code, String::new()));
                continue;
            };
            match self.columns[i] {
                Column::SourcedId => {}
                Column::Dropped if raw.is_empty() => {}
                Column::Dropped => counted.add(name, ConversionKind::Dropped),
                Column::Status => *withdrawn = self.status(name, raw, faults),
                Column::DateLastModified => self.date_last_modified(name, raw, faults),
                Column::Orgs | Column::Role if raw.is_empty() => {
                    faults.push((name.clone(), Code::MissingRequired, String::new()));
                }
                _ if raw.is_empty() => {}
                Column::Field(index) => {
                    let field = &R::ENTITY.fields[index];
                    if raw == "NULL" && (field.null_word || self.level.is_lenient() && !field.required) {
                        counted.add(name, ConversionKind::NullWord);
                        continue;
                    }
                    let mended = self.level.is_lenient().then(|| repaired(field, raw)).flatten();
                    if mended.is_some() {
                        counted.add(name, ConversionKind::Repaired);
                    }
                    if mended.as_deref() == Some("") {
                        continue;
                    }
                    let raw = mended.as_deref().unwrap_or(raw);
                    if let Err(code) = record.parse(index, raw) {
                        push(faults, Fault::new(code, field.csv, raw, field.personal));
                    }
                }
                Column::Metadata => self.metadata(i, raw, &mut record, faults, counted),
                Column::Orgs => {
                    if !raw.split(',').all(|org| is_sourced_id(org.trim())) {
                        faults.push((name.clone(), Code::BadSourcedId, raw.to_owned()));
                    }
                }
                Column::Role => {
                    if !roles::is_role(raw) {
                        faults.push((name.clone(), Code::BadEnum, raw.to_owned()));
                    }
                }
            }
        }
        if self.complete {
            let mut found = Vec::new();
            record.check_fields(|field: &Field| field.required, &mut found);
            record.rules(id, &mut found);
            if self.level.is_japan() {
                record.japan_rules(&mut found);
                if self.level.is_strict() && !*withdrawn {
                    record.strict_rules(&mut found);
                    // Demographics have the id of their user, where it is named.
                    if R::ENTITY.identified_by.is_none() && is_sourced_id(id) && !is_uuid(id) {
                        found.push(Fault::new(Code::NotUuid, "sourcedId", id, false));
                    }
                }
            }
            for fault in found {
                // A value that could not be read is not missing as well.
                if !(fault.code == Code::MissingRequired && faults.iter().any(|f| f.0 == fault.column)) {
                    push(faults, fault);
                }
            }
        }
        record.fill();
        record
    }

    fn metadata<R: Record>(&self, i: usize, raw: &str, record: &mut R, faults: &mut Faults, counted: &mut Counted) {
        let name = &self.names[i];
        let extension = self.extensions[i];
        if extension.is_some_and(|extension| extension.older_column == Some(name.as_str())) {
            counted.add(name, ConversionKind::Renamed);
        }
        if raw == "NULL" && self.level.is_lenient() {
            return counted.add(name, ConversionKind::NullWord);
        }
        let field = extension.map(|extension| &extension.field);
        let mended = field.filter(|_| self.level.is_lenient()).and_then(|field| repaired(field, raw));
        if mended.is_some() {
            counted.add(name, ConversionKind::Repaired);
        }
        let raw = mended.as_deref().unwrap_or(raw);
        let (key, value) = match self.extensions[i] {
            Some(extension) => match parse_extension(&extension.field, raw) {
                Ok(value) => (extension.field.json, value),
                Err(code) => {
                    let masked = Fault::new(code, "", raw, extension.field.personal);
                    faults.push((name.clone(), code, masked.value));
                    return;
                }
            },
            None if let Err(code) = check_text(raw) => {
                faults.push((name.clone(), code, "***".to_owned()));
                return;
            }
            None => (name.strip_prefix("metadata.").unwrap_or(name), raw.into()),
        };
        record.metadata_mut().insert(key.to_owned(), value);
    }

    fn status(&self, name: &str, raw: &str, faults: &mut Faults) -> bool {
        match (self.mode, raw) {
            (Mode::Bulk, "") | (Mode::Delta, "active" | "tobedeleted") => {}
            (Mode::Bulk, _) => faults.push((name.to_owned(), Code::BulkWithStatus, raw.to_owned())),
            (Mode::Delta, "") => faults.push((name.to_owned(), Code::DeltaWithoutStatus, String::new())),
            (Mode::Delta, _) => faults.push((name.to_owned(), Code::BadEnum, raw.to_owned())),
        }
        self.mode == Mode::Delta && raw == "tobedeleted"
    }

    /// The hub stamps its own time; the source's is only checked.
    fn date_last_modified(&self, name: &str, raw: &str, faults: &mut Faults) {
        match (self.mode, raw.is_empty()) {
            (Mode::Bulk, false) => faults.push((name.to_owned(), Code::BulkWithStatus, raw.to_owned())),
            (Mode::Delta, true) => faults.push((name.to_owned(), Code::DeltaWithoutStatus, String::new())),
            (Mode::Delta, false)
                if chrono::DateTime::parse_from_rfc3339(raw).is_err()
                    || !raw.ends_with('Z')
                    // The binding wants milliseconds.
                    || self.level.is_strict() && raw.len() != "YYYY-MM-DDTHH:MM:SS.sssZ".len() =>
            {
                faults.push((name.to_owned(), Code::BadDateTime, raw.to_owned()));
            }
            _ => {}
        }
    }

    fn pass_references_on<R: Record>(
        &mut self,
        id: &str,
        record: &R,
        out: &mut dyn FnMut(Decoded) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        for reference in references(id, record) {
            if self.erased.contains(&reference.1) {
                continue; // whoever names the person is not at fault
            }
            if self.passed_on.contains(&reference) {
                continue;
            }
            if self.passed_on.len() >= REMEMBERED {
                self.passed_on.clear();
            }
            self.passed_on.insert(reference.clone());
            out(Decoded::Reference(reference.0, reference.1))?;
        }
        Ok(())
    }
}

/// What a record names, in which field.
pub fn references<R: Record>(id: &str, record: &R) -> Vec<(Slot, String)> {
    let kind = R::ENTITY.kind;
    let mut references = Vec::new();
    record.each_reference(&mut |field, id| references.push((Slot { kind, column: field.csv }, id.to_owned())));
    if kind.entity().identified_by.is_some() {
        references.push((Slot { kind, column: "sourcedId" }, id.to_owned()));
    }
    references
}

fn push(faults: &mut Faults, fault: Fault) {
    faults.push((fault.column.to_owned(), fault.code, fault.value));
}
