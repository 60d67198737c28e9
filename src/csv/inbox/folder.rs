//! A tenant's folder of the inbox. All that is done here may block, and follows no link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use uuid::Uuid;

use crate::csv::options::Options;

/// How files end that are taken.
const SETS: [&str; 3] = ["zip", "csv", "xlsx"];
pub(super) const TAKEN: &str = ".taken";
/// Options of the imports from a tenant's folder.
const OPTIONS: &str = "options.json";
const MOST_OPTIONS: u64 = 65_536;
/// Files of a tenant that are thought of at a time: those that have waited longest.
const AT_ONCE: usize = 100;
/// Bytes of a name; the rest is cut off, since longer names are added to it.
const NAME: usize = 120;
/// By what a file is known to be the same as before.
pub(super) type Mark = (u64, u64, i64, i64);

/// A file that was claimed.
pub(super) struct Taken {
    pub path: PathBuf,
    pub job: Uuid,
    pub name: String,
}

/// A file that replaces whatever was left there, and follows no link.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::create_new(path),
    }
}

/// A folder inside of a tenant's, made when it is not there. Not a link to elsewhere.
pub(super) fn own_folder(folder: &Path, name: &str) -> io::Result<PathBuf> {
    let path = folder.join(name);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => Ok(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{name} is no folder"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(path),
        },
        Err(error) => Err(error),
    }
}

pub(super) fn folders(inbox: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(inbox)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// Files of a tenant's folder that may be taken, with the marks that they have now: those that have waited longest, in
/// the order of their times. The order counts: one delta builds on the other.
pub(super) fn sets(folder: &Path) -> io::Result<Vec<(PathBuf, Mark)>> {
    let mut sets: Vec<(PathBuf, Mark)> = Vec::new();
    let order = |set: &(PathBuf, Mark)| (set.1.2, set.1.3, set.0.clone());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let is_set = extension.is_some_and(|extension| SETS.contains(&extension.as_str()));
        if !is_set || name.to_str().is_none_or(|name| name.starts_with('.')) {
            continue;
        }
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if found.is_file() && found.len() > 0 {
            sets.push((path, (found.ino(), found.len(), found.mtime(), found.mtime_nsec())));
        }
        if sets.len() >= 2 * AT_ONCE {
            sets.sort_by_key(order);
            sets.truncate(AT_ONCE);
        }
    }
    sets.sort_by_key(order);
    sets.truncate(AT_ONCE);
    Ok(sets)
}

/// Files that were taken, the earliest first.
pub(super) fn taken(folder: &Path) -> io::Result<Vec<Taken>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(own_folder(folder, TAKEN)?)? {
        let entry = entry?;
        let name = entry.file_name();
        // An id has 36 characters.
        let parts = name.to_str().and_then(|name| Some((name.get(..36)?, name.get(36..)?.strip_prefix('-')?)));
        if let Some((id, name)) = parts
            && let Ok(job) = Uuid::try_parse(id)
        {
            found.push(Taken { path: entry.path(), job, name: name.to_owned() });
        }
    }
    found.sort_by_key(|taken| taken.job);
    Ok(found)
}

pub(super) type Opened = Result<(File, Options), (&'static str, String)>;

/// The set and its options; or why it is not imported.
pub(super) fn open(folder: &Path, set: &Path, longest: u64) -> io::Result<Opened> {
    let file = match open_file(set)? {
        Some(file) => file,
        None => return Ok(Err(("no_file", "It is no ordinary file.".to_owned()))),
    };
    if file.metadata()?.len() > longest {
        return Ok(Err(("too_large", format!("A set has at most {longest} bytes."))));
    }
    let options = match open_file(&folder.join(OPTIONS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Options::default()),
        Ok(Some(file)) => {
            let mut text = Vec::new();
            file.take(MOST_OPTIONS).read_to_end(&mut text)?;
            options(&text)
        }
        Ok(None) => Err("it is no ordinary file".to_owned()),
        Err(error) => return Err(error),
    };
    let wrong = |why| ("bad_options", format!("{OPTIONS} cannot be read: {why}"));
    Ok(options.map(|options| (file, options)).map_err(wrong))
}

/// All members are options: a misspelled one does not let an import go a way that nobody asked for.
fn options(text: &[u8]) -> Result<Options, String> {
    let given: serde_json::Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let options: Options = serde_json::from_value(given.clone().into()).map_err(|error| error.to_string())?;
    let known = serde_json::to_value(options).map_err(|error| error.to_string())?;
    match given.keys().find(|name| known.get(name.as_str()).is_none()) {
        None => Ok(options),
        Some(_) => Err("it has a member that is no option".to_owned()),
    }
}

/// None when it is a link or anything else but a file.
fn open_file(path: &Path) -> io::Result<Option<File>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// The name, with its ending, cut to [`NAME`] bytes.
pub(super) fn short(name: &str) -> String {
    if name.len() <= NAME {
        return name.to_owned();
    }
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, "set"));
    let cut = stem.char_indices().map(|(at, _)| at).take_while(|at| *at <= NAME).last().unwrap_or_default();
    format!("{}.{ending}", &stem[..cut])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_ending() {
        assert_eq!(short("set.zip"), "set.zip");
        let long = format!("{}.csv", "み".repeat(80));
        assert!(short(&long).ends_with("み.csv") && short(&long).len() <= NAME + 4, "{}", short(&long));
    }
}
