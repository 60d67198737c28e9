use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::User;
use super::error::{EmbeddedError, Result, at};

/// The variable naming the folder of the Postgres binaries to use.
pub(super) const BIN_VARIABLE: &str = "ROSTERHUB_POSTGRES_BIN";
pub(super) const OLDEST_MAJOR: u32 = 12;

/// One of Postgres's programs, run as the right user, with nothing of the caller's own settings.
pub(super) fn program(bin: &Path, name: &str, user: Option<&User>, data_dir: &Path) -> Command {
    let mut command = Command::new(bin.join(name));
    command.current_dir(data_dir);
    for (variable, _) in std::env::vars_os() {
        if variable.as_bytes().starts_with(b"PG") {
            command.env_remove(variable);
        }
    }
    command.env("LC_ALL", "C"); // Messages are matched here, and macOS needs a locale that exists.
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// Finds the folder of the Postgres binaries: the one named in `ROSTERHUB_POSTGRES_BIN`, else the newest of the
/// places where systems install them, else one on the `PATH`.
pub fn find_binaries() -> Result<PathBuf> {
    binaries(None)
}

/// The folder of the binaries, of the version that wrote the given data when there is some already.
pub(super) fn binaries(needed: Option<(PathBuf, u32)>) -> Result<PathBuf> {
    let fits = |found: &u32| needed.as_ref().is_none_or(|(_, major)| major == found);
    let found = match std::env::var_os(BIN_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from) {
        Some(folder) => match usable_major(&folder) {
            Some(major) => fits(&major).then_some(folder),
            None => return Err(EmbeddedError::Unusable(folder)),
        },
        None => installed().into_iter().find(|folder| usable_major(folder).is_some_and(|major| fits(&major))),
    };
    let folder = found.ok_or(match needed {
        Some((folder, major)) => EmbeddedError::OtherVersion { folder, major },
        None => EmbeddedError::NotFound,
    })?;
    folder.canonicalize().map_err(at(&folder))
}

fn installed() -> Vec<PathBuf> {
    let places = [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
    ];
    let mut folders = Vec::new();
    for (parent, prefix) in places {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut versions: Vec<(u32, PathBuf)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix(prefix)?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
            .collect();
        versions.sort();
        folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path).filter(|folder| folder.is_absolute()));
    folders
}

/// The major version of the binaries in a folder, when they are complete and new enough.
fn usable_major(folder: &Path) -> Option<u32> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let mut command = Command::new(folder.join("postgres"));
    let output = command.arg("--version").output().ok()?.stdout;
    let text = String::from_utf8_lossy(&output); // postgres (PostgreSQL) 16.4 (Debian …)
    let version = text.split_whitespace().nth(2)?;
    let major = version.split(|c: char| !c.is_ascii_digit()).next()?;
    major.parse().ok().filter(|major| *major >= OLDEST_MAJOR)
}

/// The database and its version, none when it was not made yet.
pub(super) fn data_major(pg: &Path) -> Option<(PathBuf, u32)> {
    let version = fs::read_to_string(pg.join("PG_VERSION")).ok()?;
    Some((pg.to_owned(), version.trim().parse().ok()?))
}
