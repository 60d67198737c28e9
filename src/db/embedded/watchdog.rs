use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Settings;
use super::error::{Result, at};
use super::files::socket_dir;

/// Gets the server's pid by line on its standard input. The end of that input without the word `release` means that
/// the process it serves is gone, however it ended. `$1` is the server's pid file, the others are the folders to
/// remove. The pid file is looked at too, because a server that nobody collects stays visible to `kill -0`, and
/// because another may have started since.
const WATCHDOG: &str = r#"
trap '' HUP INT QUIT TERM
file=$1; shift
pid=0
while read -r word; do
  [ "$word" = release ] && exit 0
  pid=$word
done
named() { read -r found <"$file" && [ "$found" = "$pid" ]; }
if [ "$pid" != 0 ] && kill -INT "$pid"; then
  n=0
  while kill -0 "$pid" && { named || [ $n -lt 10 ]; }; do
    n=$((n + 1))
    [ $n -eq 600 ] && kill -QUIT "$pid"
    [ $n -gt 700 ] && exit 1
    sleep 0.1 || sleep 1
  done
fi
if [ $# -gt 0 ] && { named || [ ! -e "$file" ]; }; then
  rm -rf -- "$@" || { sleep 1; rm -rf -- "$@"; }
fi
"#;

/// A shell that outlives this process to stop the server, once started. Only this process holds the other end of its
/// standard input: `Stdio::piped` closes it in all programs started from here.
#[derive(Debug, Default)]
pub(super) struct Watchdog(Option<Child>);

impl Watchdog {
    /// Does nothing when it was started before.
    pub(super) fn start(&mut self, settings: &Settings) -> Result<()> {
        if self.0.is_none() {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", WATCHDOG, "rosterhub-postgres-watchdog"]);
            command.arg(settings.data_dir.join("pg/postmaster.pid")).args(removals(settings));
            command.process_group(0).current_dir("/");
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            self.0 = Some(command.spawn().map_err(at(Path::new("/bin/sh")))?);
        }
        Ok(())
    }

    /// Tells which process to stop. Zero stands for none, and is told once a process was collected, because its
    /// number may be given to another program from then on.
    pub(super) fn watch(&mut self, pid: u32) {
        if let Some(stdin) = self.0.as_mut().and_then(|shell| shell.stdin.as_mut()) {
            let _ = writeln!(stdin, "{pid}"); // Somebody may have killed the watchdog.
        }
    }

    pub(super) fn release(&mut self) {
        if let Some(mut shell) = self.0.take() {
            if let Some(mut stdin) = shell.stdin.take() {
                let _ = writeln!(stdin, "release");
            }
            let _ = shell.wait();
        }
    }
}

/// The folders to remove after the server stopped.
pub(super) fn removals(settings: &Settings) -> Vec<PathBuf> {
    match settings.remove_on_stop {
        true => vec![socket_dir(&settings.data_dir), settings.data_dir.clone()],
        false => Vec::new(),
    }
}
