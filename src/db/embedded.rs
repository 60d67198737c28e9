//! A private Postgres, run from the binaries found on the machine, for the demo and the tests.
//!
//! Everything lives in one data folder: `pg` (the database), `run` (the socket), `postgres.log`
//! and `start.lock`. The server listens on a Unix socket in a folder only its owner may enter,
//! which is the whole of its protection: roles have no passwords. A server that is already running
//! on the folder is adopted instead of started, also when two processes begin at the same moment.
//!
//! All calls block.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;

/// The variable naming the folder of the Postgres binaries to use.
const BIN_VARIABLE: &str = "ROSTERHUB_POSTGRES_BIN";
const OLDEST_MAJOR: u32 = 12;
const SOCKET_FILE: &str = ".s.PGSQL.5432";
/// The longest path that fits `sockaddr_un`.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "macos") { 103 } else { 107 };
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Replaying the log after a crash is progress, and giving up on it would only begin it again.
const RECOVERY_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

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
    // The log names what went wrong and never the rows or statements it went wrong with.
    ("log_min_messages", "warning"),
    ("log_min_error_statement", "panic"),
    ("log_statement", "none"),
    ("log_error_verbosity", "terse"),
];
const NOT_DURABLE: &[(&str, &str)] = &[("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];

/// Run on the new database before anything else can reach it.
const FIRST_STATEMENTS: &[u8] = b"CREATE ROLE rosterhub LOGIN CREATEDB NOSUPERUSER NOBYPASSRLS NOREPLICATION\n\
      CREATE DATABASE rosterhub OWNER rosterhub\n";

/// Gets the server's pid by line on its standard input. The end of that input without the word
/// `release` means that the process it serves is gone, however it ended. `$1` is the server's pid
/// file, the others are the folders to remove. The pid file is looked at too, because a server
/// that nobody collects stays visible to `kill -0`, and because another may have started since.
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

type Result<T> = std::result::Result<T, EmbeddedError>;

/// Names the file that an I/O error is about.
fn at(path: &Path) -> impl FnOnce(io::Error) -> EmbeddedError {
    move |source| EmbeddedError::Io { path: path.to_owned(), source }
}

/// How and where the server runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder for the database, its socket and its log; made when it does not exist.
    pub data_dir: PathBuf,
    /// False trades the data's safety in a crash of the machine for speed: for tests.
    pub durable: bool,
    /// Stops the server when this process ends, by whatever means, or drops the handle. Only the
    /// process that started the server has this hold on it, not one that adopted it.
    pub stop_with_process: bool,
    /// Removes the whole data folder after the server stopped: for tests.
    pub remove_on_stop: bool,
    /// Further Postgres settings; they win over the defaults.
    pub parameters: Vec<(String, String)>,
}

/// A running private Postgres.
///
/// Dropping the handle leaves the server running for the next start to adopt, unless
/// [`Settings::stop_with_process`] is set.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    /// With the data folder made absolute.
    settings: Settings,
    running: Running,
    watchdog: Option<Watchdog>,
}

impl EmbeddedPostgres {
    /// Makes the database when there is none, then starts its server or adopts the running one.
    /// Connections are accepted when this returns.
    pub fn start(settings: &Settings) -> Result<Self> {
        let (data_dir, _lock) = lock(&settings.data_dir)?;
        let settings = Settings { data_dir, ..settings.clone() };
        let mut watchdog = None;
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
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(at(&folder)(error));
                }
                _ => {}
            }
        }
        // Last, so that it finishes the job if this process dies before.
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.release();
        }
        Ok(())
    }

    /// Stops the server and starts it again on the same data, also after [`Self::kill`].
    pub fn restart(&mut self) -> Result<()> {
        let (_, _lock) = lock(&self.settings.data_dir)?;
        self.halt(libc::SIGINT)?;
        self.running = bring_up(&self.settings, &mut self.watchdog)?;
        Ok(())
    }

    /// Ends the server as a crash does: its processes stop where they are and write nothing more,
    /// and the next start recovers from the log.
    pub fn kill(&mut self) -> Result<()> {
        // SIGKILL would leave the server's children at work for a while.
        self.halt(libc::SIGQUIT)
    }

    fn halt(&mut self, signal: libc::c_int) -> Result<()> {
        let pg = self.settings.data_dir.join("pg");
        for (signal, limit) in [(signal, STOP_LIMIT), (libc::SIGQUIT, STOP_LIMIT / 4)] {
            let begun = Instant::now();
            let mut sent = false;
            while !self.running.gone(&pg)? {
                if !sent {
                    send(self.running.pid, signal);
                    sent = true;
                }
                if begun.elapsed() > limit {
                    break;
                }
                std::thread::sleep(POLL);
            }
        }
        if !self.running.gone(&pg)? {
            let pid = self.running.pid;
            return Err(EmbeddedError::NotStopped { pid });
        }
        watch(&mut self.watchdog, 0);
        Ok(())
    }
}

#[derive(Debug)]
struct Running {
    pid: u32,
    socket_dir: PathBuf,
    /// None for an adopted server.
    server: Option<Child>,
}

impl Running {
    fn gone(&mut self, pg: &Path) -> Result<bool> {
        match &mut self.server {
            Some(child) => Ok(child.try_wait().map_err(at(pg))?.is_some()),
            None => Ok(!is_server(self.pid, pg)),
        }
    }
}

/// Adopts or starts the server. The caller holds the lock of the folder.
fn bring_up(settings: &Settings, watchdog: &mut Option<Watchdog>) -> Result<Running> {
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
            if let Some(watchdog) = watchdog.take() {
                watchdog.release();
            }
            return Ok(Running { pid, socket_dir, server: None });
        }
    }
    if stale == Some(0) {
        let file = pg.join("postmaster.pid"); // Cut off while it was written.
        fs::remove_file(&file).map_err(at(&file))?;
    }

    let (bin, major) = binaries(data_major(&pg))?;
    let user = User::needed()?;
    if let Some(user) = &user {
        user.open(data_dir, &bin)?;
    }
    if settings.stop_with_process && watchdog.is_none() {
        *watchdog = Some(Watchdog::start(settings)?);
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
        for (name, value) in parameters(settings, major, &socket_dir) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        if let Some(pid) = stale {
            // Says that the process of this number is not a server, as a launcher may. Removing
            // the pid file would also remove the check for children of a crashed server.
            command.env("PG_GRANDPARENT_PID", pid.to_string());
        }
        command.stdin(Stdio::null()).stdout(log.output()?);
        command.stderr(log.output()?);
        let mut child = command.spawn().map_err(at(&bin.join("postgres")))?;
        let pid = child.id();
        watch(watchdog, pid);
        let gone = || Ok(child.try_wait().map_err(at(&pg))?.is_some());
        match wait_ready(&pg, pid, &log, gone) {
            Ok(Some(socket_dir)) => {
                let server = Some(child);
                return Ok(Running { pid, socket_dir, server });
            }
            Ok(None) => {
                let status = child.wait().map_err(at(&pg))?;
                watch(watchdog, 0);
                let log = log.tail();
                // Children of a crashed server leave on their own, shortly.
                let leftovers = log.contains("pre-existing shared memory block");
                if !leftovers || Instant::now() > deadline {
                    return Err(EmbeddedError::Ended { status, log });
                }
                std::thread::sleep(POLL * 10);
            }
            Err(error) => {
                send(pid, libc::SIGQUIT);
                let _ = child.wait();
                watch(watchdog, 0);
                return Err(error);
            }
        }
    }
}

fn parameters(settings: &Settings, major: u32, socket_dir: &Path) -> Vec<(String, String)> {
    let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let mut all: Vec<_> = DEFAULTS.iter().map(owned).collect();
    if major >= 13 {
        all.push(owned(&("log_parameter_max_length_on_error", "0")));
    }
    if !settings.durable {
        all.extend(NOT_DURABLE.iter().map(owned));
    }
    all.extend(settings.parameters.iter().cloned());
    // Where it listens is not a matter of settings: the later one wins. The value is a list.
    let socket_dir = socket_dir.display().to_string().replace('"', "\"\"");
    all.push(("unix_socket_directories".to_owned(), format!("\"{socket_dir}\"")));
    all.push(owned(&("unix_socket_permissions", "0700")));
    all.push(owned(&("listen_addresses", "")));
    all.push(owned(&("port", "5432")));
    all
}

/// Makes the database under another name and renames it when it is complete, so that an
/// interrupted attempt is never taken for a database.
fn initialise(
    settings: &Settings,
    bin: &Path,
    user: Option<&User>,
    log: &Log,
    watchdog: &mut Option<Watchdog>,
) -> Result<()> {
    let data_dir = &settings.data_dir;
    // A name of its own, because an `initdb` may survive the process that started it.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let name = format!("pg.new-{}-{}", std::process::id(), now.as_nanos());
    let new = data_dir.join(name);
    private_dir(&new, user)?;

    let mut initdb = program(bin, "initdb", user, data_dir);
    initdb.args(["--username=postgres", "--auth=trust"]);
    initdb.args(["--encoding=UTF8", "--locale=C"]);
    initdb.arg("-D").arg(&new);
    let mut single = program(bin, "postgres", user, data_dir);
    single.args(["--single", "-c", "exit_on_error=on"]);
    single.arg("-D").arg(&new);
    if !settings.durable {
        initdb.arg("--no-sync");
        single.args(["-c", "fsync=off"]);
    }
    single.arg("postgres");
    for (program, command, input) in
        [("initdb", &mut initdb, &b""[..]), ("postgres --single", &mut single, FIRST_STATEMENTS)]
    {
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(log.output()?);
        let mut child = command.spawn().map_err(at(bin))?;
        watch(watchdog, child.id());
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input); // When it fails, the status tells.
        }
        let status = child.wait().map_err(at(bin))?;
        watch(watchdog, 0);
        if !status.success() {
            let _ = fs::remove_dir_all(&new);
            let log = log.tail();
            return Err(EmbeddedError::Initialise { program, status, log });
        }
    }
    fs::rename(&new, data_dir.join("pg")).map_err(at(&new))?;
    if settings.durable {
        let folder = File::open(data_dir).map_err(at(data_dir))?;
        folder.sync_all().map_err(at(data_dir))?;
    }
    Ok(())
}

/// Waits until the server `pid` answers and gives the folder of its socket, or none when it has
/// gone. The pid file tells when to ask: asking earlier fills the log with refusals.
fn wait_ready(pg: &Path, pid: u32, log: &Log, mut gone: impl FnMut() -> Result<bool>) -> Result<Option<PathBuf>> {
    let begun = Instant::now();
    let mut reason = "it opened no socket".to_owned();
    loop {
        if gone()? {
            return Ok(None);
        }
        let mut limit = READY_LIMIT;
        let file = PidFile::read(pg)?.filter(|file| file.pid == pid);
        if let Some(PidFile { socket_dir, .. }) = file.as_ref().filter(|file| file.status == "ready") {
            match answers(socket_dir) {
                Ok(true) => return Ok(Some(socket_dir.clone())),
                Ok(false) => reason = "it refused a connection".to_owned(),
                Err(error) => reason = error.to_string(),
            }
        } else if file.is_some_and(|file| file.status == "starting") {
            limit = RECOVERY_LIMIT;
            reason = "it was still recovering".to_owned();
        }
        if begun.elapsed() > limit {
            let log = log.tail();
            return Err(EmbeddedError::NotReady { pid, reason, log });
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
struct PidFile {
    pid: u32,
    socket_dir: PathBuf,
    status: String,
}

impl PidFile {
    fn read(pg: &Path) -> Result<Option<Self>> {
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

/// Whether the process is a Postgres on this database, and not another program that was given the
/// number of one that crashed.
#[cfg(target_os = "linux")]
fn is_server(pid: u32, pg: &Path) -> bool {
    let link = |name| fs::read_link(format!("/proc/{pid}/{name}"));
    let is_postgres = |exe: PathBuf| exe.to_string_lossy().contains("/postgres");
    link("exe").is_ok_and(is_postgres) && link("cwd").is_ok_and(|folder| folder == pg)
}

#[cfg(not(target_os = "linux"))]
fn is_server(pid: u32, pg: &Path) -> bool {
    let pid = pid.to_string();
    let mut ps = Command::new("ps");
    ps.args(["-ww", "-o", "command=", "-p", &pid]);
    ps.output().is_ok_and(|output| {
        let command = String::from_utf8_lossy(&output.stdout);
        command.contains("postgres") && command.contains(&*pg.to_string_lossy())
    })
}

/// A shell that outlives this process to stop the server. Only this process holds the other end of
/// its standard input: `Stdio::piped` closes it in all programs started from here.
#[derive(Debug)]
struct Watchdog(Child);

impl Watchdog {
    fn start(settings: &Settings) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", WATCHDOG, "rosterhub-postgres-watchdog"]);
        command.arg(settings.data_dir.join("pg/postmaster.pid"));
        command.args(removals(settings));
        command.process_group(0).current_dir("/").stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().map_err(at(Path::new("/bin/sh")))?))
    }

    fn release(mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = writeln!(stdin, "release");
        }
        let _ = self.0.wait();
    }
}

/// Tells the watchdog which process to stop. Zero stands for none, and is told once a process was
/// collected, because its number may be given to another program from then on.
fn watch(watchdog: &mut Option<Watchdog>, pid: u32) {
    if let Some(stdin) = watchdog.as_mut().and_then(|dog| dog.0.stdin.as_mut()) {
        let _ = writeln!(stdin, "{pid}"); // Somebody may have killed the watchdog.
    }
}

/// The folders to remove after the server stopped.
fn removals(settings: &Settings) -> Vec<PathBuf> {
    match settings.remove_on_stop {
        true => vec![socket_dir(&settings.data_dir), settings.data_dir.clone()],
        false => Vec::new(),
    }
}

/// The system user as which Postgres runs when this program runs as root, which it refuses.
struct User {
    name: &'static str,
    uid: u32,
    gid: u32,
}

impl User {
    fn needed() -> Result<Option<Self>> {
        // SAFETY: always succeeds.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name| {
            let mut fields = users.lines().map(|line| line.split(':'));
            let mut fields = fields.find(|fields| fields.clone().next() == Some(name))?;
            // macOS writes the numbers of `nobody` as -2.
            let mut number = |nth| Some(fields.nth(nth)?.parse::<i64>().ok()? as u32);
            let (uid, gid) = (number(2)?, number(0)?);
            (uid != 0).then_some(Self { name, uid, gid })
        };
        let user = find("postgres").or_else(|| find("nobody"));
        user.map(Some).ok_or(EmbeddedError::NoUser)
    }

    fn own(&self, path: &Path) -> Result<()> {
        lchown(path, Some(self.uid), Some(self.gid)).map_err(at(path))
    }

    /// Sees to it that this user can enter the data folder and the folder of the binaries.
    fn open(&self, data_dir: &Path, bin: &Path) -> Result<()> {
        let roots = fs::metadata(data_dir).map_err(at(data_dir))?.uid() == 0;
        if roots && self.first_closed(data_dir)?.as_deref() == Some(data_dir) {
            self.own(data_dir)?;
        }
        for path in [data_dir, bin] {
            if let Some(folder) = self.first_closed(path)? {
                let user = self.name;
                return Err(EmbeddedError::Closed { folder, user });
            }
        }
        Ok(())
    }

    /// The outermost folder of the path that this user cannot enter. Asked of a process of this
    /// user, because permission bits alone do not tell.
    fn first_closed(&self, path: &Path) -> Result<Option<PathBuf>> {
        let script = r#"for folder; do [ -x "$folder" ] || exit 1; echo; done"#;
        let mut folders: Vec<&Path> = path.ancestors().collect();
        folders.reverse();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh"]).args(&folders);
        shell.uid(self.uid).gid(self.gid).current_dir("/");
        let entered = shell.output().map_err(at(path))?.stdout.len();
        Ok(folders.get(entered).map(|folder| folder.to_path_buf()))
    }
}

/// One of Postgres's programs, run as the right user, with nothing of the caller's own settings.
fn program(bin: &Path, name: &str, user: Option<&User>, data_dir: &Path) -> Command {
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

/// Finds the folder of the Postgres binaries: the one named in `ROSTERHUB_POSTGRES_BIN`, else the
/// newest of the places where systems install them, else one on the `PATH`.
pub fn find_binaries() -> Result<PathBuf> {
    Ok(binaries(None)?.0)
}

/// The binaries and their major version, which must be the given one when there is data already.
fn binaries(needed: Option<(PathBuf, u32)>) -> Result<(PathBuf, u32)> {
    let fits = |found: u32| needed.as_ref().is_none_or(|(_, major)| *major == found);
    let named = std::env::var_os(BIN_VARIABLE).filter(|value| !value.is_empty());
    let found = match named {
        Some(folder) => {
            let folder = PathBuf::from(folder);
            let major = usable_major(&folder).ok_or(EmbeddedError::Unusable(folder.clone()))?;
            Some((folder, major)).filter(|(_, major)| fits(*major))
        }
        None => installed().into_iter().find_map(|folder| {
            let major = usable_major(&folder).filter(|major| fits(*major))?;
            Some((folder, major))
        }),
    };
    let (folder, major) = found.ok_or(match needed {
        Some((folder, major)) => EmbeddedError::OtherVersion { folder, major },
        None => EmbeddedError::NotFound,
    })?;
    Ok((folder.canonicalize().map_err(at(&folder))?, major))
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

/// The version of the database, none when it was not made yet.
fn data_major(pg: &Path) -> Option<(PathBuf, u32)> {
    let version = fs::read_to_string(pg.join("PG_VERSION")).ok()?;
    Some((pg.to_owned(), version.trim().parse().ok()?))
}

/// Makes the data folder and takes its lock, which keeps others from starting and stopping here.
fn lock(data_dir: &Path) -> Result<(PathBuf, File)> {
    loop {
        // The default mode, because the server's user must be able to pass through.
        let parent = data_dir.parent().unwrap_or(data_dir);
        fs::create_dir_all(parent).map_err(at(parent))?;
        make_private(data_dir)?;
        let folder = data_dir.canonicalize().map_err(at(data_dir))?;
        let path = folder.join("start.lock");
        let file = open_file(&path)?;
        file.lock().map_err(at(&path))?;
        // Whoever held it may have removed the folder.
        let (held, named) = (file.metadata().map_err(at(&path))?, fs::metadata(&path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
            return Ok((folder, file));
        }
    }
}

/// The server's log, from where it stood when this was opened.
struct Log {
    path: PathBuf,
    file: File,
    from: u64,
}

impl Log {
    fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("postgres.log");
        let file = open_file(&path)?;
        let from = file.metadata().map_err(at(&path))?.len();
        Ok(Self { path, file, from })
    }

    fn output(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().map_err(at(&self.path))?.into())
    }

    /// The last lines written since.
    fn tail(&self) -> String {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.get(self.from as usize..).unwrap_or_default());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// The folder of the socket: in the data folder when its path fits a socket and has nothing that
/// separates paths in Postgres's files and options, else in the system's temporary folder.
fn socket_dir(data_dir: &Path) -> PathBuf {
    let run = data_dir.join("run");
    let path = run.join(SOCKET_FILE);
    let fits = |path: &str| path.len() <= SOCKET_PATH_LIMIT && !path.contains([',', '\n']);
    if path.to_str().is_some_and(fits) {
        return run;
    }
    let mut hash = 0xcbf2_9ce4_8422_2325; // FNV-1a
    for byte in data_dir.as_os_str().as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    std::env::temp_dir().join(format!("rosterhub-{hash:016x}"))
}

/// Makes a folder that only the server's user (and root) can enter, or checks that it is one.
fn private_dir(path: &Path, user: Option<&User>) -> Result<()> {
    make_private(path)?;
    // Root could be led elsewhere by a link or a folder that somebody else put there.
    let found = fs::symlink_metadata(path).map_err(at(path))?;
    let ours = match user {
        Some(user) => [0, user.uid].contains(&found.uid()),
        None => true,
    };
    if !found.is_dir() || !ours {
        let message = "is not a folder of the user who runs Postgres";
        return Err(at(path)(io::Error::other(message)));
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(at(path))?;
    user.map_or(Ok(()), |user| user.own(path))
}

fn make_private(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn open_file(path: &Path) -> Result<File> {
    // Root must not follow a link that the server's user put there.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW);
    options.open(path).map_err(at(path))
}

fn send(pid: u32, signal: libc::c_int) {
    // Zero would mean this process's own group.
    if let Ok(pid @ 1..) = libc::pid_t::try_from(pid) {
        // SAFETY: takes two numbers. A process that is gone already is what is wanted.
        unsafe { libc::kill(pid, signal) };
    }
}

fn percent_encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(byte.into());
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    const HOLDER_VARIABLE: &str = "ROSTERHUB_EMBEDDED_TEST_FOLDER";

    fn settings(name: &str) -> Settings {
        let name = format!("rosterhub-embedded-{name}-{}", std::process::id());
        Settings {
            data_dir: Path::new("/tmp").canonicalize().unwrap().join(name),
            durable: false,
            stop_with_process: true,
            remove_on_stop: true,
            parameters: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
        }
    }

    fn psql(url: &str, sql: &str) -> Command {
        let mut command = Command::new(find_binaries().unwrap().join("psql"));
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
        command.args(["-c", sql, url]).stderr(Stdio::inherit());
        command
    }

    /// Checks nothing where Postgres came without its client.
    fn check(url: &str, sql: &str, expected: &str) {
        if find_binaries().unwrap().join("psql").exists() {
            let output = psql(url, sql).output().unwrap();
            assert!(output.status.success(), "{sql}");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
        }
    }

    fn until(what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < READY_LIMIT, "{what}");
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn starts_restarts_and_is_adopted() {
        let settings = settings("life");
        let begun = Instant::now();
        let mut first = EmbeddedPostgres::start(&settings).unwrap();
        println!("first start: {:?}", begun.elapsed());
        let url = first.url("rosterhub");
        assert!(!first.adopted());
        check(
            &url,
            "SELECT current_user, rolcanlogin, rolcreatedb, rolsuper, rolbypassrls, \
             rolcreaterole, pg_encoding_to_char(encoding), datcollate, \
             pg_get_userbyid(datdba) FROM pg_roles, pg_database \
             WHERE rolname = current_user AND datname = current_database()",
            "rosterhub|t|t|f|f|f|UTF8|C|rosterhub",
        );
        check(
            &first.admin_url("postgres"),
            "SELECT current_user, usesuper FROM pg_user WHERE usename = current_user",
            "postgres|t",
        );
        let shown = "SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN \
                     ('shared_buffers', 'fsync', 'listen_addresses', 'wal_level', 'jit')";
        check(&url, shown, "off off  2048 minimal");
        check(&url, "CREATE TABLE kept AS SELECT 7 AS n", "");

        let pid = first.pid();
        first.restart().unwrap();
        assert_ne!(first.pid(), pid);
        assert!(!first.adopted());
        check(&url, "SELECT n FROM kept", "7");

        let second = EmbeddedPostgres::start(&settings).unwrap();
        assert!(second.adopted());
        assert_eq!(second.pid(), first.pid());
        assert_eq!(second.url("rosterhub"), url);
        drop(second);
        check(&url, "SELECT n FROM kept", "7");

        first.stop().unwrap();
        assert!(!settings.data_dir.exists());
    }

    #[test]
    fn keeps_the_data_of_a_durable_server() {
        let mut settings = settings("durable");
        (settings.durable, settings.remove_on_stop) = (true, false);
        let begun = Instant::now();
        let server = EmbeddedPostgres::start(&settings).unwrap();
        println!("first start, durable: {:?}", begun.elapsed());
        check(&server.url("rosterhub"), "CREATE TABLE kept AS SELECT 7", "");
        let begun = Instant::now();
        server.stop().unwrap();
        println!("stop: {:?}", begun.elapsed());
        let begun = Instant::now();
        settings.remove_on_stop = true;
        let server = EmbeddedPostgres::start(&settings).unwrap();
        println!("later start: {:?}", begun.elapsed());
        assert!(!server.adopted());
        check(&server.url("rosterhub"), "TABLE kept", "7");
        server.stop().unwrap();
    }

    #[test]
    fn recovers_from_a_crash() {
        let settings = settings("crash");
        let mut server = EmbeddedPostgres::start(&settings).unwrap();
        let url = server.url("rosterhub");
        check(&url, "SET synchronous_commit = on; CREATE TABLE kept AS SELECT 7", "");
        server.kill().unwrap();
        server.restart().unwrap();
        check(&url, "TABLE kept", "7");

        // A query that does not notice at once that the server is gone.
        let busy = "SELECT count(*) FROM generate_series(1, 10000000)";
        let client = psql(&url, busy).stderr(Stdio::null()).spawn();
        if client.is_ok() {
            let count = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'";
            until("the query runs", || {
                let output = psql(&url, count).output().unwrap();
                output.stdout.starts_with(b"2")
            });
        }
        send(server.pid(), libc::SIGKILL);
        let other = EmbeddedPostgres::start(&settings).unwrap();
        assert!(!other.adopted());
        assert_ne!(other.pid(), server.pid());
        check(&url, "TABLE kept", "7");
        other.stop().unwrap();
        let _ = client.map(|mut client| client.wait());
        server.stop().unwrap();
    }

    #[test]
    fn is_not_misled_by_a_stale_pid_file() {
        let settings = settings("stale");
        let mut server = EmbeddedPostgres::start(&settings).unwrap();
        let file = settings.data_dir.join("pg/postmaster.pid");
        let run = settings.data_dir.join("run");
        let mut other = Command::new("cat");
        if let Some(user) = User::needed().unwrap() {
            other.uid(user.uid).gid(user.gid);
        }
        let mut other = other.stdin(Stdio::piped()).spawn().unwrap();
        // The number of another program, one that nobody has, and a file cut off.
        for number in [other.id().to_string(), "4194999".to_owned(), String::new()] {
            server.kill().unwrap();
            let text = format!("{number}\n{}\n1\n5432\n", settings.data_dir.display());
            let text = if number.is_empty() { "" } else { &text };
            fs::write(&file, text).unwrap();
            fs::write(run.join(".s.PGSQL.5432.lock"), text).unwrap();
            let user = User::needed().unwrap();
            user.map_or(Ok(()), |user| user.own(&file)).unwrap();
            server.restart().unwrap();
            assert!(!server.adopted());
            check(&server.url("rosterhub"), "SELECT 1", "1");
        }
        other.kill().unwrap();
        other.wait().unwrap();
        server.stop().unwrap();
    }

    #[test]
    fn redoes_an_interrupted_initialisation() {
        let settings = settings("interrupted");
        for left in ["pg.new/base", "pg.new-1-2/base"] {
            fs::create_dir_all(settings.data_dir.join(left)).unwrap();
        }
        fs::write(settings.data_dir.join("pg.new/PG_VERSION"), "15\n").unwrap();
        let server = EmbeddedPostgres::start(&settings).unwrap();
        check(&server.url("rosterhub"), "SELECT 1", "1");
        let folder = fs::read_dir(&settings.data_dir).unwrap();
        let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["pg", "postgres.log", "run", "start.lock"]);
        server.stop().unwrap();
    }

    #[test]
    fn two_at_once_share_one_server() {
        let settings = settings("race");
        let start = || EmbeddedPostgres::start(&settings).unwrap();
        let (a, b) = std::thread::scope(|scope| {
            let (a, b) = (scope.spawn(start), scope.spawn(start));
            (a.join().unwrap(), b.join().unwrap())
        });
        assert_eq!(a.pid(), b.pid());
        assert_ne!(a.adopted(), b.adopted());
        let (starter, adopter) = if a.adopted() { (b, a) } else { (a, b) };
        // The adopter's stop is a real one, and the starter's finds nothing left to do.
        adopter.stop().unwrap();
        assert!(!settings.data_dir.exists());
        starter.stop().unwrap();
    }

    #[test]
    fn copes_with_a_folder_too_long_and_odd_for_a_socket() {
        let mut settings = settings("odd");
        settings.data_dir = settings.data_dir.join("ü, \"b\" + %41 & c'".repeat(5));
        let server = EmbeddedPostgres::start(&settings).unwrap();
        assert!(!server.socket_dir().starts_with(&settings.data_dir));
        check(&server.url("rosterhub"), "SELECT 1", "1");
        let second = EmbeddedPostgres::start(&settings).unwrap();
        assert!(second.adopted());
        let folder = server.socket_dir().to_owned();
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
        server.stop().unwrap();
        assert!(!folder.exists());

        let short = settings.data_dir.parent().unwrap().join("ü \"b\" + %41 & c'");
        settings.data_dir = short.clone();
        let server = EmbeddedPostgres::start(&settings).unwrap();
        assert_eq!(server.socket_dir(), short.join("run"));
        check(&server.url("rosterhub"), "SELECT 1", "1");
        server.stop().unwrap();
        fs::remove_dir(short.parent().unwrap()).unwrap();
    }

    #[test]
    fn tells_why_it_did_not_start() {
        let mut settings = settings("failing");
        settings.parameters.push(("no_such_setting".to_owned(), "1".to_owned()));
        let error = EmbeddedPostgres::start(&settings).unwrap_err().to_string();
        assert!(error.contains("unrecognized configuration parameter"), "{error}");
        until("the watchdog removes the folder", || !settings.data_dir.exists());
    }

    #[test]
    fn logs_no_data() {
        let settings = settings("log");
        let server = EmbeddedPostgres::start(&settings).unwrap();
        let url = server.url("rosterhub");
        check(&url, "CREATE TABLE t (name text PRIMARY KEY); INSERT INTO t VALUES ('Hanako')", "");
        let twice = "INSERT INTO t VALUES ('Hanako')";
        let failed = psql(&url, twice).stderr(Stdio::null()).output();
        let log = fs::read_to_string(settings.data_dir.join("postgres.log")).unwrap();
        assert!(failed.is_err() || log.contains("duplicate key value"), "{log}");
        assert!(!log.contains("Hanako") && !log.contains("INSERT"), "{log}");
        server.stop().unwrap();
    }

    #[test]
    fn stops_with_its_handle() {
        let settings = settings("drop");
        let server = EmbeddedPostgres::start(&settings).unwrap();
        let (pid, pg) = (server.pid(), settings.data_dir.join("pg"));
        drop(server);
        until("the server stops", || !is_server(pid, &pg));
        until("the folder is removed", || !settings.data_dir.exists());
    }

    /// Run in a process of its own by the next test.
    #[test]
    #[ignore = "waits to be killed"]
    fn holder() {
        let mut settings = settings("holder");
        settings.data_dir = std::env::var_os(HOLDER_VARIABLE).unwrap().into();
        settings.remove_on_stop = settings.data_dir.to_string_lossy().contains("removed");
        let server = EmbeddedPostgres::start(&settings).unwrap();
        println!("\nserver {}", server.pid());
        let _ = io::stdin().read_line(&mut String::new());
    }

    #[test]
    fn stops_with_its_killed_process() {
        for (name, remove) in [("removed", true), ("kept", false)] {
            let mut settings = settings(name);
            let (_, module) = module_path!().split_once("::").unwrap();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1"]);
            command.arg(format!("{module}::holder"));
            command.env(HOLDER_VARIABLE, &settings.data_dir);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut holder = command.spawn().unwrap();
            let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
            let pid = lines.find_map(|line| line.unwrap().strip_prefix("server ")?.parse().ok());
            let (pid, pg) = (pid.unwrap(), settings.data_dir.join("pg"));
            assert!(is_server(pid, &pg));
            holder.kill().unwrap();
            holder.wait().unwrap();
            until("the server stops", || !is_server(pid, &pg));
            if remove {
                until("the folder is removed", || !settings.data_dir.exists());
            } else {
                assert!(!pg.join("postmaster.pid").exists());
                settings.remove_on_stop = true;
                EmbeddedPostgres::start(&settings).unwrap().stop().unwrap();
            }
        }
    }
}
