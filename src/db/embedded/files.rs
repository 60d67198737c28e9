use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::account::User;
use super::error::{Result, at};

pub(super) const SOCKET_FILE: &str = ".s.PGSQL.5432";
/// The longest path that fits `sockaddr_un`.
const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Makes the data folder and takes its lock, which keeps others from starting and stopping here.
pub(super) fn lock(data_dir: &Path) -> Result<(PathBuf, File)> {
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
pub(super) struct Log {
    path: PathBuf,
    file: File,
    from: u64,
}

impl Log {
    pub(super) fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("postgres.log");
        let file = open_file(&path)?;
        let from = file.metadata().map_err(at(&path))?.len();
        Ok(Self { path, file, from })
    }

    pub(super) fn output(&self) -> Result<Stdio> {
        Ok(self.file.try_clone().map_err(at(&self.path))?.into())
    }

    /// The last lines written since.
    pub(super) fn tail(&self) -> String {
        let bytes = fs::read(&self.path).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.get(self.from as usize..).unwrap_or_default());
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// The folder of the socket: in the data folder when its path fits a socket and has nothing that separates paths in
/// Postgres's files and options, else in the system's temporary folder.
pub(super) fn socket_dir(data_dir: &Path) -> PathBuf {
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
pub(super) fn private_dir(path: &Path, user: Option<&User>) -> Result<()> {
    make_private(path)?;
    // Root could be led elsewhere by a link or a folder that somebody else put there.
    let found = fs::symlink_metadata(path).map_err(at(path))?;
    let ours = user.is_none_or(|user| [0, user.uid].contains(&found.uid()));
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
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path).map_err(at(path))
}
