//! A private Postgres, run from the binaries found on the machine, for the demo and the tests.
//!
//! Everything lives in one data folder: `pg` (the database), `run` (the socket), `postgres.log` and `start.lock`. The
//! server listens on a Unix socket in a folder only its owner may enter, which is the whole of its protection: roles
//! have no passwords. A server that is already running on the folder is adopted instead of started, also when two
//! processes begin at the same moment.
//!
//! All calls block.

mod account;
mod binaries;
mod error;
mod files;
mod init;
mod ready;
mod server;
#[cfg(test)]
mod tests;
mod watchdog;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use binaries::find_binaries;
pub use error::EmbeddedError;
use error::{Result, at};
use files::lock;
use server::{Running, bring_up};
use watchdog::{Watchdog, removals};

/// How and where the server runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder for the database, its socket and its log; made when it does not exist.
    pub data_dir: PathBuf,
    /// False trades the data's safety in a crash of the machine for speed: for tests.
    pub durable: bool,
    /// Stops the server when this process ends, by whatever means, or drops the handle. Only the process that started
    /// the server has this hold on it, not one that adopted it.
    pub stop_with_process: bool,
    /// Removes the whole data folder after the server stopped: for tests.
    pub remove_on_stop: bool,
    /// Further Postgres settings; they win over the defaults.
    pub parameters: Vec<(String, String)>,
}

/// A running private Postgres.
///
/// Dropping the handle leaves the server running for the next start to adopt, unless [`Settings::stop_with_process`]
/// is set.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    /// With the data folder made absolute.
    settings: Settings,
    running: Running,
    watchdog: Watchdog,
}

impl EmbeddedPostgres {
    /// Makes the database when there is none, then starts its server or adopts the running one. Connections are
    /// accepted when this returns.
    pub fn start(settings: &Settings) -> Result<Self> {
        let (data_dir, _lock) = lock(&settings.data_dir)?;
        let settings = Settings { data_dir, ..settings.clone() };
        let mut watchdog = Watchdog::default();
        let running = bring_up(&settings, &mut watchdog)?;
        Ok(Self { settings, running, watchdog })
    }

    /// The URL of a database for the role `rosterhub`, which owns the database `rosterhub`.
    pub fn url(&self, database: &str) -> String {
        self.url_for("rosterhub", database)
    }

    /// The URL of a database for the superuser.
    pub fn admin_url(&self, database: &str) -> String {
        self.url_for("postgres", database)
    }

    fn url_for(&self, role: &str, database: &str) -> String {
        // Port and TLS are spelled out so that PGPORT and PGSSLMODE cannot change them.
        format!(
            "postgres://{role}@localhost/{}?host={}&port=5432&sslmode=disable",
            percent_encode(database.as_bytes()),
            percent_encode(self.running.socket_dir.as_os_str().as_bytes())
        )
    }

    /// The folder of the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.running.socket_dir
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        self.running.pid
    }

    /// Whether the server was already running, so that somebody else may be using it.
    pub fn adopted(&self) -> bool {
        self.running.server.is_none()
    }

    /// Stops the server, an adopted one too, disconnecting its clients.
    pub fn stop(mut self) -> Result<()> {
        let (_, _lock) = lock(&self.settings.data_dir)?;
        self.halt(libc::SIGINT)?;
        for folder in removals(&self.settings) {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&folder)(error)),
                _ => {}
            }
        }
        // Last, so that it finishes the job if this process dies before.
        self.watchdog.release();
        Ok(())
    }

    /// Stops the server and starts it again on the same data, also after [`Self::kill`].
    pub fn restart(&mut self) -> Result<()> {
        let (_, _lock) = lock(&self.settings.data_dir)?;
        self.halt(libc::SIGINT)?;
        self.running = bring_up(&self.settings, &mut self.watchdog)?;
        Ok(())
    }

    /// Ends the server as a crash does: its processes stop where they are and write nothing more, and the next start
    /// recovers from the log.
    pub fn kill(&mut self) -> Result<()> {
        // SIGKILL would leave the server's children at work for a while.
        self.halt(libc::SIGQUIT)
    }

    fn halt(&mut self, signal: libc::c_int) -> Result<()> {
        self.running.halt(&self.settings.data_dir.join("pg"), signal)?;
        self.watchdog.watch(0);
        Ok(())
    }
}

fn percent_encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
