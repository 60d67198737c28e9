//! The files of uploads. All that is done here may block.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{CreateError, Note, Upload};

/// Bounds of uploads: of each, of a tenant, of all.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub length: u64,
    pub per_tenant: usize,
    pub bytes: u64,
    pub age: Duration,
}

/// Where the files are.
#[derive(Clone)]
pub(super) struct Folder {
    pub path: PathBuf,
    pub bounds: Bounds,
}

impl Folder {
    pub fn set(&self, id: Uuid) -> PathBuf {
        self.path.join(format!("{id}.set"))
    }

    fn note(&self, id: Uuid) -> PathBuf {
        self.path.join(format!("{id}.note"))
    }

    pub fn create(&self, note: Note) -> Result<Upload, CreateError> {
        // A set holds more than the roster does: it is for nobody else's eyes.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        // Counted by one at a time, so that two do not take the last place.
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(self.path.join("lock"))?;
        lock.lock()?;
        let (mut own, mut bytes) = (0, note.length);
        for id in self.ids("note")? {
            if let Some(open) = self.find(id)?.filter(|upload| !upload.entered) {
                own += usize::from(open.note.tenant == note.tenant);
                bytes = bytes.saturating_add(open.note.length);
            }
        }
        if own >= self.bounds.per_tenant {
            return Err(CreateError::TooMany(self.bounds.per_tenant));
        }
        if bytes > self.bounds.bytes {
            return Err(CreateError::NoRoom);
        }
        let id = Uuid::now_v7();
        File::create_new(self.set(id))?.sync_all()?;
        let new = self.path.join(format!("{id}.new"));
        let mut file = File::create_new(&new)?;
        file.write_all(&serde_json::to_vec(&note).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(new, self.note(id))?;
        File::open(&self.path)?.sync_all()?;
        let expires_at = self.expiry(SystemTime::now());
        Ok(Upload { id, note, offset: 0, expires_at, entered: false })
    }

    pub fn find(&self, id: Uuid) -> io::Result<Option<Upload>> {
        let note = match fs::read(self.note(id)) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(note) = serde_json::from_slice::<Note>(&note) else { return Ok(None) };
        let (entered, offset, touched) = match File::open(self.set(id)) {
            Ok(set) => {
                set.sync_data()?; // what is told is there, also after a crash of the machine
                let set = set.metadata()?;
                (false, set.len(), set.modified()?)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (true, note.length, fs::metadata(self.note(id))?.modified()?)
            }
            Err(error) => return Err(error),
        };
        Ok(Some(Upload { id, note, offset, expires_at: self.expiry(touched), entered }))
    }

    fn expiry(&self, touched: SystemTime) -> DateTime<Utc> {
        DateTime::from(touched + self.bounds.age)
    }

    pub fn remove(&self, id: Uuid) -> io::Result<bool> {
        match File::open(self.set(id)) {
            Ok(set) if set.try_lock().is_err() => return Ok(false),
            Ok(_) => gone(fs::remove_file(self.set(id)))?,
            Err(error) => gone(Err(error))?,
        }
        gone(fs::remove_file(self.note(id)))?;
        Ok(true)
    }

    /// Removes what has had its time; gives the uploads that are whole and not entered.
    pub fn sweep(&self) -> io::Result<Vec<Uuid>> {
        let mut whole = Vec::new();
        let now = Utc::now();
        for id in self.ids("note")? {
            match self.find(id)? {
                Some(upload) if !upload.entered && upload.offset == upload.note.length => whole.push(id),
                Some(upload) if upload.expires_at > now => {}
                _ => drop(self.remove(id)?),
            }
        }
        // A program that ends while it creates an upload leaves one without a note.
        for extension in ["set", "new"] {
            for id in self.ids(extension)? {
                let path = self.path.join(format!("{id}.{extension}"));
                let is_old =
                    fs::metadata(&path).and_then(|file| file.modified()).is_ok_and(|at| self.expiry(at) <= now);
                if is_old && !self.note(id).exists() {
                    gone(fs::remove_file(path))?;
                }
            }
        }
        Ok(whole)
    }

    /// Of the files that end so.
    fn ids(&self, extension: &str) -> io::Result<Vec<Uuid>> {
        let mut ids = Vec::new();
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ids), // there has been none yet
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let name = Path::new(&name);
            if name.extension().is_some_and(|found| found == extension) {
                ids.extend(name.file_stem().and_then(|stem| Uuid::try_parse(stem.to_str()?).ok()));
            }
        }
        Ok(ids)
    }
}

/// That it is not there any more is what was meant.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
