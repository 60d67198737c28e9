use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
#[cfg(not(target_os = "linux"))]
use std::process::Command;
use std::time::{Duration, Instant};

use super::error::{EmbeddedError, Result, at};
use super::files::{Log, SOCKET_FILE};

pub(super) const READY_LIMIT: Duration = Duration::from_secs(60);
/// Replaying the log after a crash is progress, and giving up on it would only begin it again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(600);
pub(super) const POLL: Duration = Duration::from_millis(20);

/// Waits until the server `pid` answers and gives the folder of its socket, or none when it has gone. The pid file
/// tells when to ask: asking earlier fills the log with refusals.
pub(super) fn wait_ready(
    pg: &Path,
    pid: u32,
    log: &Log,
    mut gone: impl FnMut() -> Result<bool>,
) -> Result<Option<PathBuf>> {
    let begun = Instant::now();
    let mut reason = "it opened no socket".to_owned();
    loop {
        if gone()? {
            return Ok(None);
        }
        let mut limit = READY_LIMIT;
        if let Some(PidFile { socket_dir, status, .. }) = PidFile::read(pg)?.filter(|file| file.pid == pid) {
            match status.as_str() {
                "ready" => match answers(&socket_dir) {
                    Ok(true) => return Ok(Some(socket_dir)),
                    Ok(false) => reason = "it refused a connection".to_owned(),
                    Err(error) => reason = error.to_string(),
                },
                "starting" => {
                    limit = RECOVERY_LIMIT;
                    reason = "it was still recovering".to_owned();
                }
                _ => {}
            }
        }
        if begun.elapsed() > limit {
            return Err(EmbeddedError::NotReady { pid, reason, log: log.tail() });
        }
        std::thread::sleep(POLL);
    }
}

/// Whether the server lets the superuser in. Says goodbye too, lest the log tell of a lost client.
fn answers(socket_dir: &Path) -> io::Result<bool> {
    let mut stream = UnixStream::connect(socket_dir.join(SOCKET_FILE))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (version, names) = (196_608u32, b"user\0postgres\0database\0postgres\0\0");
    let length = 8 + names.len() as u32;
    stream.write_all(&[&length.to_be_bytes(), &version.to_be_bytes(), &names[..]].concat())?;
    let mut answer = [0; 9];
    stream.read_exact(&mut answer)?;
    let welcome = answer == *b"R\0\0\0\x08\0\0\0\0";
    if welcome {
        stream.write_all(b"X\0\0\0\x04")?;
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(welcome)
}

/// What `postmaster.pid` tells.
pub(super) struct PidFile {
    pub(super) pid: u32,
    socket_dir: PathBuf,
    status: String,
}

impl PidFile {
    pub(super) fn read(pg: &Path) -> Result<Option<Self>> {
        let path = pg.join("postmaster.pid");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        let line = |number| text.lines().nth(number).unwrap_or_default().trim();
        // A server in single-user mode writes its number negated.
        let pid = line(0).trim_start_matches('-').parse().unwrap_or(0);
        Ok(Some(Self { pid, socket_dir: line(4).into(), status: line(7).to_owned() }))
    }
}

/// Whether the process is a Postgres on this database, and not another program that was given the number of one that
/// crashed.
#[cfg(target_os = "linux")]
pub(super) fn is_server(pid: u32, pg: &Path) -> bool {
    let link = |name| fs::read_link(format!("/proc/{pid}/{name}"));
    let is_postgres = |exe: PathBuf| exe.to_string_lossy().contains("/postgres");
    link("exe").is_ok_and(is_postgres) && link("cwd").is_ok_and(|folder| folder == pg)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_server(pid: u32, pg: &Path) -> bool {
    let pid = pid.to_string();
    let mut ps = Command::new("ps");
    ps.args(["-ww", "-o", "command=", "-p", &pid]);
    ps.output().is_ok_and(|output| {
        let command = String::from_utf8_lossy(&output.stdout);
        command.contains("postgres") && command.contains(&*pg.to_string_lossy())
    })
}
