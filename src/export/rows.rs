//! From records to rows of a file, and what the file cannot say.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use super::ExportError;
use super::columns::{Column, Content};
use super::presence::Presence;
use super::source::{BEFORE, RECORD, RECORDED_AT, SOURCED_ID, TOUCHED, WITHDRAWN};
use super::text::Style;
use crate::roster::japan::JapanRules;
use crate::roster::{Code, EntityType, Kind, with_record};

/// Values of a column that the set does not say as the roster has them, or says against a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ExportLoss", deny_unknown_fields)]
pub struct Loss {
    /// `users.csv`
    pub file: String,
    pub column: String,
    /// One of those in docs/exporting.md.
    pub reason: &'static str,
    pub values: u64,
}

/// Why a value is not said as it is. What importers may refuse is told by their codes, see [`Code`].
pub const REASONS: [(&str, &str); 5] = [
    (NO_COLUMN, "the edition has no such column; the values are left out"),
    (NOT_IN_SET, "the values name records that are not in the set; they are left out"),
    (ROW_LEFT_OUT, "the rows cannot do without records that are not in the set; they are left out"),
    (NOT_IN_LISTS, "a list cannot hold the values; they are changed or left out"),
    (BLANK_REQUIRED, "the column is required, and the records have no value"),
];
const NO_COLUMN: &str = "no_column";
const NOT_IN_SET: &str = "not_in_set";
const ROW_LEFT_OUT: &str = "row_left_out";
const NOT_IN_LISTS: &str = "not_in_lists";
const BLANK_REQUIRED: &str = "blank_required";

/// By type, column and reason.
#[derive(Default)]
pub struct Losses(BTreeMap<(EntityType, String, &'static str), u64>);

impl Losses {
    fn count(&mut self, kind: EntityType, column: &str, reason: &'static str, values: u64) {
        if values > 0 {
            *self.0.entry((kind, column.to_owned(), reason)).or_default() += values;
        }
    }

    pub fn list(&self) -> Vec<Loss> {
        let loss = |((kind, column, reason), values): (&(EntityType, String, &'static str), &u64)| Loss {
            file: format!("{}.csv", kind.entity().collection),
            column: column.clone(),
            reason,
            values: *values,
        };
        self.0.iter().map(loss).collect()
    }
}

/// A file that is to be written.
pub struct FileJob {
    pub kind: EntityType,
    pub columns: Vec<Column>,
    pub now: Presence,
    /// Of a delta: what was there before.
    pub before: Option<Presence>,
}

/// Writes rows of one file after the other.
pub struct RowWriter {
    style: Style,
    japan: bool,
    pub losses: Losses,
    cell: String,
    before: String,
}

/// What a row says about the record.
#[derive(Clone, Copy)]
enum Stamp<'a> {
    /// Bulk.
    None,
    Delta {
        withdrawn: bool,
        at: &'a str,
    },
}

impl RowWriter {
    pub fn new(style: Style, japan: bool) -> Self {
        Self { style, japan, losses: Losses::default(), cell: String::new(), before: String::new() }
    }

    /// The header. Names are never quoted but where they must be.
    pub fn header(&self, job: &FileJob) -> String {
        let style = Style::default();
        let mut line = String::new();
        for (n, column) in job.columns.iter().enumerate() {
            if n > 0 {
                line.push(',');
            }
            style.cell(&column.name, &mut line);
        }
        line + "\r\n"
    }

    /// Adds the rows of the file that these rows of its statement lead to. Gives their number.
    pub fn rows(&mut self, job: &FileJob, rows: &[PgRow], out: &mut String) -> Result<u64, ExportError> {
        with_record!(job.kind, R => {
            let mut written = 0;
            for row in rows {
                let id: &str = row.try_get(SOURCED_ID)?;
                let record: R = serde_json::from_str(row.try_get(RECORD)?)?;
                let is_written = match &job.before {
                    None => self.bulk(job, id, &record, out),
                    Some(before) => {
                        let stood: Option<R> =
                            row.try_get::<Option<&str>, _>(BEFORE)?.map(serde_json::from_str).transpose()?;
                        let change = Change {
                            withdrawn: row.try_get(WITHDRAWN)?,
                            at: row.try_get(RECORDED_AT)?,
                            touched: row.try_get(TOUCHED)?,
                        };
                        self.delta(job, before, id, (&record, stood.as_ref()), &change, out)
                    }
                };
                written += u64::from(is_written);
            }
            Ok(written)
        })
    }

    fn bulk<R: JapanRules>(&mut self, job: &FileJob, id: &str, record: &R, out: &mut String) -> bool {
        if let Some(column) = lacking(&job.now, id, record) {
            self.losses.count(job.kind, column, ROW_LEFT_OUT, 1);
            return false;
        }
        self.row(job, &job.now, id, record, Stamp::None, true, out);
        true
    }

    /// A record is told when it was touched, or when a bulk set would say something else of it than before. One that no
    /// bulk set has any more is told as to be deleted, as is one that came and went in between: whoever took a set in
    /// between knows it.
    fn delta<R: JapanRules>(
        &mut self,
        job: &FileJob,
        presence_before: &Presence,
        id: &str,
        (record, stood): (&R, Option<&R>),
        change: &Change,
        out: &mut String,
    ) -> bool {
        let stood = stood.filter(|stood| lacking(presence_before, id, *stood).is_none());
        let lacks = if change.withdrawn { None } else { lacking(&job.now, id, record) };
        let at = change.at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        if change.withdrawn || lacks.is_some() {
            if stood.is_none() && !change.touched {
                return false;
            }
            self.losses.count(job.kind, lacks.unwrap_or_default(), ROW_LEFT_OUT, u64::from(lacks.is_some()));
            // What is gone is named as it was.
            self.row(job, &Presence::default(), id, record, Stamp::Delta { withdrawn: true, at: &at }, false, out);
            return true;
        }
        if let (Some(stood), false) = (stood, change.touched) {
            let mut before = std::mem::take(&mut self.before);
            before.clear();
            self.row(job, presence_before, id, stood, Stamp::None, false, &mut before);
            let begin = out.len();
            self.row(job, &job.now, id, record, Stamp::None, false, out);
            let same = out[begin..] == before;
            out.truncate(begin);
            self.before = before;
            if same {
                return false;
            }
        }
        self.row(job, &job.now, id, record, Stamp::Delta { withdrawn: false, at: &at }, true, out);
        true
    }

    #[expect(clippy::too_many_arguments, reason = "what a row is made of")]
    fn row<R: JapanRules>(
        &mut self,
        job: &FileJob,
        presence: &Presence,
        id: &str,
        record: &R,
        stamp: Stamp<'_>,
        counted: bool,
        out: &mut String,
    ) {
        let kind = job.kind;
        let mut extensions = 0;
        for (n, column) in job.columns.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            let text = match (&column.content, stamp) {
                (Content::SourcedId, _) => id,
                (Content::Status, Stamp::Delta { withdrawn, .. }) => {
                    if withdrawn {
                        "tobedeleted"
                    } else {
                        "active"
                    }
                }
                (Content::DateLastModified, Stamp::Delta { at, .. }) => at,
                (Content::Status | Content::DateLastModified | Content::Blank, _) => "",
                (Content::Metadata(key), _) => match record.metadata().get(key) {
                    Some(value) => {
                        extensions += 1;
                        let value = value.as_str().unwrap_or_default();
                        let field = crate::roster::japan::extension_of_column(kind, &column.name).map(|e| &e.field);
                        let target = field.and_then(|field| field.reference).map(|reference| reference.target);
                        if target.is_some_and(|target| !presence.holds(target, value)) {
                            if counted {
                                self.losses.count(kind, &column.name, NOT_IN_SET, 1);
                            }
                            ""
                        } else {
                            value
                        }
                    }
                    None => "",
                },
                (Content::Field(index), _) => {
                    let field = &R::ENTITY.fields[*index];
                    self.cell.clear();
                    let target = field.reference.map(|reference| reference.target);
                    let keep = |id: &str| target.is_none_or(|target| presence.holds(target, id));
                    let mut lost = record.write(*index, &keep, &mut self.cell);
                    let mut reason = if target.is_some() { NOT_IN_SET } else { NOT_IN_LISTS };
                    if let (Kind::Guid, Some(target)) = (field.kind, target)
                        && !self.cell.is_empty()
                        && !presence.holds(target, &self.cell)
                    {
                        self.cell.clear();
                        lost = 1;
                    }
                    // Blank in Japan, whatever the code.
                    if self.japan && field.csv == "courseCode" && !self.cell.is_empty() {
                        self.cell.clear();
                        (lost, reason) = (1, Code::CourseCodeNotBlank.as_str());
                    }
                    if counted {
                        self.losses.count(kind, field.csv, reason, lost);
                        let blank = field.required && self.cell.is_empty();
                        self.losses.count(kind, field.csv, BLANK_REQUIRED, u64::from(blank));
                    }
                    &self.cell
                }
            };
            self.style.cell(text, out);
        }
        out.push_str("\r\n");
        if counted {
            self.unsaid(job, record, extensions);
        }
    }

    /// Counts the extensions that have no column, and what breaks the rules of Japanese editions.
    fn unsaid<R: JapanRules>(&mut self, job: &FileJob, record: &R, written: usize) {
        if record.metadata().len() > written {
            let has_column =
                |key: &String| job.columns.iter().any(|c| matches!(&c.content, Content::Metadata(k) if k == key));
            for key in record.metadata().keys().filter(|key| !has_column(key)) {
                self.losses.count(job.kind, &format!("metadata.{key}"), NO_COLUMN, 1);
            }
        }
        if self.japan {
            let mut faults = Vec::new();
            record.japan_rules(&mut faults);
            for fault in faults.iter().filter(|fault| fault.code != Code::CourseCodeNotBlank) {
                self.losses.count(job.kind, fault.column, fault.code.as_str(), 1);
            }
        }
    }
}

struct Change {
    withdrawn: bool,
    at: DateTime<Utc>,
    touched: bool,
}

/// The column in which the record names what it cannot do without and is not there; `sourcedId` when the record itself cannot be there.
fn lacking<R: JapanRules>(presence: &Presence, id: &str, record: &R) -> Option<&'static str> {
    if presence.is_complete() {
        return None;
    }
    let kind = R::ENTITY.kind;
    if presence.excluded.contains(id) {
        return Some("sourcedId");
    }
    if !presence.holds(kind, id) || R::ENTITY.identified_by.is_some_and(|target| !presence.supports(kind, target, id)) {
        return Some("sourcedId");
    }
    let mut lacking = None;
    // Of a list one is enough.
    let mut list: Option<(&'static str, bool)> = None;
    record.each_reference(&mut |field, id| {
        let Some(reference) = field.reference.filter(|_| field.required) else { return };
        let is_there = presence.supports(kind, reference.target, id);
        if matches!(field.kind, Kind::GuidRefList) {
            let any = list.is_some_and(|(_, any)| any);
            list = Some((field.csv, any || is_there));
        } else if !is_there {
            lacking = Some(field.csv);
        }
    });
    lacking.or(list.filter(|(_, any)| !any).map(|(column, _)| column))
}
