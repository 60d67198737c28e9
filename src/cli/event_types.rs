//! `rosterhub event-types`.

use std::process::ExitCode;

use crate::webhook::document::markdown;

/// Prints the catalogue as Markdown.
pub fn run() -> ExitCode {
    print!("{}", markdown());
    ExitCode::SUCCESS
}
