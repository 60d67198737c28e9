use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use super::Settings;
use super::account::User;
use super::binaries::program;
use super::error::{EmbeddedError, Result, at};
use super::files::{Log, private_dir};
use super::watchdog::Watchdog;

/// Run on the new database before anything else can reach it.
const FIRST_STATEMENTS: &[u8] = b"\
CREATE ROLE rosterhub LOGIN CREATEDB NOSUPERUSER NOBYPASSRLS NOREPLICATION\n\
CREATE DATABASE rosterhub OWNER rosterhub\n";

/// Makes the database under another name and renames it when it is complete, so that an interrupted attempt is never
/// taken for a database.
pub(super) fn initialise(
    settings: &Settings,
    bin: &Path,
    user: Option<&User>,
    log: &Log,
    watchdog: &mut Watchdog,
) -> Result<()> {
    let data_dir = &settings.data_dir;
    // A name of its own, because an `initdb` may survive the process that started it.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let new = data_dir.join(format!("pg.new-{}-{}", std::process::id(), now.as_nanos()));
    private_dir(&new, user)?;

    let mut initdb = program(bin, "initdb", user, data_dir);
    initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]).arg(&new);
    let mut single = program(bin, "postgres", user, data_dir);
    single.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(&new);
    if !settings.durable {
        initdb.arg("--no-sync");
        single.args(["-c", "fsync=off"]);
    }
    single.arg("postgres");
    let steps = [("initdb", initdb, &b""[..]), ("postgres --single", single, FIRST_STATEMENTS)];
    for (program, mut command, input) in steps {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log.output()?);
        let mut child = command.spawn().map_err(at(bin))?;
        watchdog.watch(child.id());
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input); // When it fails, the status tells.
        }
        let status = child.wait().map_err(at(bin))?;
        watchdog.watch(0);
        if !status.success() {
            let _ = fs::remove_dir_all(&new);
            return Err(EmbeddedError::Initialise { program, status, log: log.tail() });
        }
    }
    fs::rename(&new, data_dir.join("pg")).map_err(at(&new))?;
    if settings.durable {
        let folder = File::open(data_dir).map_err(at(data_dir))?;
        folder.sync_all().map_err(at(data_dir))?;
    }
    Ok(())
}
