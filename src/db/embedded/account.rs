use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{EmbeddedError, Result, at};

/// The system user as which Postgres runs when this program runs as root, which it refuses.
pub(super) struct User {
    name: &'static str,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl User {
    pub(super) fn needed() -> Result<Option<Self>> {
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

    pub(super) fn own(&self, path: &Path) -> Result<()> {
        lchown(path, Some(self.uid), Some(self.gid)).map_err(at(path))
    }

    /// Sees to it that this user can enter the data folder and the folder of the binaries.
    pub(super) fn open(&self, data_dir: &Path, bin: &Path) -> Result<()> {
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

    /// The outermost folder of the path that this user cannot enter. Asked of a process of this user, because
    /// permission bits alone do not tell.
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
