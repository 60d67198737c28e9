use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use thiserror::Error;

use super::binaries::{BIN_VARIABLE, OLDEST_MAJOR};

/// Why the private Postgres could not be found, started or stopped.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    #[error(
        "no PostgreSQL {OLDEST_MAJOR} or later was found: install it (Debian and Ubuntu: `apt-get \
         install postgresql`, Fedora: `dnf install postgresql-server`, macOS: `brew install \
         postgresql@16`), or name the folder of its binaries in {BIN_VARIABLE}, or name a database \
         in DATABASE_URL"
    )]
    NotFound,
    #[error(
        "{BIN_VARIABLE} names {0}, which has no working `initdb` and `postgres` of PostgreSQL \
         {OLDEST_MAJOR} or later"
    )]
    Unusable(PathBuf),
    #[error(
        "the data in {folder} was written by PostgreSQL {major}, whose binaries were not found: \
         install PostgreSQL {major}, or name their folder in {BIN_VARIABLE}, or use another data \
         folder"
    )]
    OtherVersion { folder: PathBuf, major: u32 },
    #[error(
        "Postgres does not run as root, and this system has neither a user `postgres` nor a user \
         `nobody` to run it as: start RosterHub as an ordinary user"
    )]
    NoUser,
    #[error(
        "{folder} is closed to the user `{user}`, as which Postgres runs when RosterHub is started \
         by root: start RosterHub as an ordinary user, or use a folder elsewhere (for example \
         under /var/lib), or open it with `chmod o+x {folder}`"
    )]
    Closed { folder: PathBuf, user: &'static str },
    #[error("{program} failed ({status}) while making the database:\n{log}")]
    Initialise { program: &'static str, status: ExitStatus, log: String },
    #[error("Postgres ended while starting ({status}):\n{log}")]
    Ended { status: ExitStatus, log: String },
    #[error("Postgres (process {pid}) did not become ready: {reason}\n{log}")]
    NotReady { pid: u32, reason: String, log: String },
    #[error("Postgres (process {pid}) did not stop")]
    NotStopped { pid: u32 },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

pub(super) type Result<T> = std::result::Result<T, EmbeddedError>;

/// Names the file that an I/O error is about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    move |source| EmbeddedError::Io { path: path.to_owned(), source }
}
