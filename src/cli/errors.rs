//! `rosterhub errors`.

use std::process::ExitCode;

use crate::roster::Language;
use crate::roster::error_list::markdown;

#[derive(clap::Args)]
pub struct ErrorList {
    /// In Japanese.
    #[arg(long)]
    ja: bool,
}

impl ErrorList {
    pub fn run(&self) -> ExitCode {
        print!("{}", markdown(if self.ja { Language::Japanese } else { Language::English }));
        ExitCode::SUCCESS
    }
}
