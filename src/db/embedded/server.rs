use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::Settings;
use super::account::User;
use super::binaries::{binaries, data_major, program};
use super::error::{EmbeddedError, Result, at};
use super::files::{Log, SOCKET_FILE, private_dir, socket_dir};
use super::init::initialise;
use super::ready::{POLL, PidFile, READY_LIMIT, is_server, wait_ready};
use super::watchdog::Watchdog;

const STOP_LIMIT: Duration = Duration::from_secs(60);

const DEFAULTS: &[(&str, &str)] = &[
    ("shared_buffers", "256MB"),
    ("max_connections", "200"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "4GB"),
    ("wal_compression", "on"),
    ("checkpoint_timeout", "15min"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("lc_messages", "C"),
    // The log names what went wrong with the server and never rows or statements. Errors of clients quote both. `log`
    // ranks above `error` and keeps what `fatal` hides: crashes, recoveries and the reasons for which a start failed.
    ("log_min_messages", "log"),
    ("log_min_error_statement", "panic"),
    ("log_statement", "none"),
    ("log_error_verbosity", "terse"),
];
const NOT_DURABLE: &[(&str, &str)] = &[("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];

#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) socket_dir: PathBuf,
    /// None for an adopted server.
    pub(super) server: Option<Child>,
}

impl Running {
    fn gone(&mut self, pg: &Path) -> Result<bool> {
        match &mut self.server {
            Some(child) => Ok(child.try_wait().map_err(at(pg))?.is_some()),
            None => Ok(!is_server(self.pid, pg)),
        }
    }

    /// Ends the server with this signal, or else a harder one.
    pub(super) fn halt(&mut self, pg: &Path, signal: libc::c_int) -> Result<()> {
        for (signal, limit) in [(signal, STOP_LIMIT), (libc::SIGQUIT, STOP_LIMIT / 4)] {
            let begun = Instant::now();
            if !self.gone(pg)? {
                send(self.pid, signal);
            }
            while !self.gone(pg)? && begun.elapsed() <= limit {
                std::thread::sleep(POLL);
            }
        }
        if self.gone(pg)? { Ok(()) } else { Err(EmbeddedError::NotStopped { pid: self.pid }) }
    }
}

/// Adopts or starts the server. The caller holds the lock of the folder.
pub(super) fn bring_up(settings: &Settings, watchdog: &mut Watchdog) -> Result<Running> {
    let data_dir = &settings.data_dir;
    let pg = data_dir.join("pg");
    let log = Log::open(data_dir)?;

    let mut stale = None;
    while let Some(PidFile { pid, .. }) = PidFile::read(&pg)? {
        if !is_server(pid, &pg) {
            stale = Some(pid);
            break;
        }
        let gone = || Ok(!is_server(pid, &pg));
        if let Some(socket_dir) = wait_ready(&pg, pid, &log, gone)? {
            watchdog.release();
            return Ok(Running { pid, socket_dir, server: None });
        }
    }
    if stale == Some(0) {
        let file = pg.join("postmaster.pid"); // Cut off while it was written.
        fs::remove_file(&file).map_err(at(&file))?;
    }

    let bin = binaries(data_major(&pg))?;
    let user = User::needed()?;
    if let Some(user) = &user {
        user.open(data_dir, &bin)?;
    }
    if settings.stop_with_process {
        watchdog.start(settings)?;
    }
    for entry in fs::read_dir(data_dir).map_err(at(data_dir))?.flatten() {
        if entry.file_name().as_bytes().starts_with(b"pg.new") {
            let _ = fs::remove_dir_all(entry.path()); // Left by an interrupted attempt.
        }
    }
    if data_major(&pg).is_none() {
        initialise(settings, &bin, user.as_ref(), &log, watchdog)?;
    }
    let socket_dir = socket_dir(data_dir);
    private_dir(&socket_dir, user.as_ref())?;
    // Their lock file may name a process number that has been given to another program since.
    for file in [SOCKET_FILE.to_owned(), format!("{SOCKET_FILE}.lock")] {
        let _ = fs::remove_file(socket_dir.join(file));
    }

    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let log = Log::open(data_dir)?;
        let mut command = program(&bin, "postgres", user.as_ref(), data_dir);
        command.arg("-D").arg(&pg).process_group(0); // Ctrl-C is for this program first.
        command.args(parameters(settings, &socket_dir));
        if let Some(pid) = stale {
            // Says that the process of this number is not a server, as a launcher may. Removing the pid file would
            // also remove the check for children of a crashed server.
            command.env("PG_GRANDPARENT_PID", pid.to_string());
        }
        command.stdin(Stdio::null()).stdout(log.output()?).stderr(log.output()?);
        let mut child = command.spawn().map_err(at(&bin.join("postgres")))?;
        let pid = child.id();
        watchdog.watch(pid);
        let gone = || Ok(child.try_wait().map_err(at(&pg))?.is_some());
        let ended = match wait_ready(&pg, pid, &log, gone) {
            Ok(Some(socket_dir)) => return Ok(Running { pid, socket_dir, server: Some(child) }),
            Ok(None) => Ok(()),
            Err(error) => {
                send(pid, libc::SIGQUIT);
                Err(error)
            }
        };
        let status = child.wait();
        watchdog.watch(0);
        ended?;
        let (status, log) = (status.map_err(at(&pg))?, log.tail());
        // Children of a crashed server leave on their own, shortly.
        let leftovers = log.contains("pre-existing shared memory block");
        if !leftovers || Instant::now() > deadline {
            return Err(EmbeddedError::Ended { status, log });
        }
        std::thread::sleep(POLL * 10);
    }
}

/// The options that carry the settings to the server; of two for the same setting the later wins.
fn parameters(settings: &Settings, socket_dir: &Path) -> Vec<String> {
    let option = |name: &str, value: &str| ["-c".to_owned(), format!("{name}={value}")];
    let safety = if settings.durable { &[] } else { NOT_DURABLE };
    let defaults = DEFAULTS.iter().chain(safety).map(|(name, value)| option(name, value));
    let further = settings.parameters.iter().map(|(name, value)| option(name, value));
    // Where it listens is not a matter of settings. The value is a list.
    let socket_dir = format!("\"{}\"", socket_dir.display().to_string().replace('"', "\"\""));
    let fixed = [
        ("unix_socket_directories", &*socket_dir),
        ("unix_socket_permissions", "0700"),
        ("listen_addresses", ""),
        ("port", "5432"),
    ];
    let fixed = fixed.iter().map(|(name, value)| option(name, value));
    defaults.chain(further).chain(fixed).flatten().collect()
}

pub(super) fn send(pid: u32, signal: libc::c_int) {
    // Zero would mean this process's own group.
    if let Ok(pid @ 1..) = libc::pid_t::try_from(pid) {
        // SAFETY: takes two numbers. A process that is gone already is what is wanted.
        unsafe { libc::kill(pid, signal) };
    }
}
