//! `rosterhub openapi`.

use std::process::ExitCode;

use crate::rest::openapi;

#[derive(clap::Args)]
pub struct Openapi {
    /// Print the document of the hub's own paths.
    #[arg(long)]
    hub: bool,
}

impl Openapi {
    pub fn run(&self) -> ExitCode {
        print!("{}", if self.hub { openapi::own() } else { openapi::rostering() });
        ExitCode::SUCCESS
    }
}
