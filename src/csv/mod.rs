//! CSV intake: a OneRoster set goes in, all or nothing.
//!
//! `input` tells what was handed in: a zip (`archive`), a CSV file or a `workbook`; `package` reads its `manifest` and headers,
//! `encoding` makes UTF-8 of the text, `rows` parses it, `edition` knows the headers, `rules` how
//! strictly they are looked at, `conversion` counts what is not kept, `roles_1_1` makes roles of OneRoster 1.1, `decode`
//! turns rows into records, `stage` keeps them in Postgres, `check` looks at references, `good_rows` leaves out rows
//! with errors, `plan` finds what differs from the roster, `threshold` says when that waits for a decision, `apply`
//! appends it as one unit of work. `import` is an import from its arrival on, `run` leads it through the phases when
//! `queue` says that it is its turn, `job` reads the record of it and `record` writes it, with
//! the notices of `tell`, `interrupted` closes what a program left behind.
//!
//! `intake` takes sets in, `uploads` in parts, `inbox` from a folder; `care` removes what has had its time. `decision`
//! takes approvals, discards, cancels and reverts; `revert` stages what an import did, to take it back; `listing` shows
//! a plan that waits.

pub mod apply;
pub mod archive;
pub mod care;
pub mod check;
pub mod conversion;
pub mod decision;
pub mod decode;
pub mod edition;
pub mod encoding;
pub mod good_rows;
pub mod import;
pub mod inbox;
pub mod input;
pub mod intake;
pub mod interrupted;
pub mod job;
mod lenient;
pub mod listing;
pub mod manifest;
pub mod options;
pub mod package;
pub mod plan;
pub mod progress;
pub mod queue;
pub mod record;
pub mod revert;
mod roles_1_1;
pub mod rows;
pub mod rules;
mod run;
pub mod stage;
pub mod statistics;
mod strict;
mod tell;
pub mod threshold;
pub mod uploads;
pub mod workbook;

use crate::roster::Code;

/// Something wrong in a set, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    pub file: String,
    /// 1 is the header; 0 when the whole file is meant.
    pub line: u64,
    pub column: String,
    pub code: Code,
    /// Masked where the column is personal.
    pub value: String,
}

impl ImportError {
    pub fn new(file: &str, line: u64, column: &str, code: Code, value: &str) -> Self {
        Self { file: shown(file), line, column: shown(column), code, value: shown(value) }
    }
}

/// Names and values come from outside: what can be shown of them, and not more than is of use.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
