//! A folder that is watched: sets that are put into `<inbox>/<tenant>/` are imported.
//!
//! A file is claimed by renaming it to `.taken/<import>-<name>`, which succeeds for one of all instances that share the
//! folder. From then on the name says which import it is, and the lock of the import whether somebody works on it
//! ([`JobRecord::hold`], taken before the claim). Nothing is remembered elsewhere: each look takes up what it finds.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::care::pause;
use super::import::Asker;
use super::intake::{Intake, StartError};
use super::interrupted::{INTERRUPTED, close, is_dead, let_go};
use super::job::{self, Job, JobError};
use super::options::Options;
use super::record::JobRecord;
use crate::command::CommandError;
use crate::config::Config;
use crate::export::text::Style;
use crate::log::Tenant;
use crate::roster::Code;

/// How files end that are taken.
const SETS: [&str; 3] = ["zip", "csv", "xlsx"];
const TAKEN: &str = ".taken";
/// Options of the imports from a tenant's folder.
const OPTIONS: &str = "options.json";
const MOST_OPTIONS: u64 = 65_536;
/// Files of a tenant that are thought of at a time: those that have waited longest.
const AT_ONCE: usize = 100;
/// Bytes of a name; the rest is cut off, since longer names are added to it.
const NAME: usize = 120;
const ERRORS_AT_ONCE: i64 = 1_000;

/// By what a file is known to be the same as before.
type Mark = (u64, u64, i64, i64);

pub struct Inbox {
    intake: Intake,
    folder: PathBuf,
    longest: u64,
    period: Duration,
    /// Files at the last look.
    seen: HashMap<PathBuf, Mark>,
    /// Folders of no tenant, which have been told of.
    strange: HashSet<PathBuf>,
}

/// Why a look at a tenant's folder broke off. The next one goes on.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// A file that was claimed.
struct Taken {
    path: PathBuf,
    job: Uuid,
    name: String,
}

fn asker() -> Asker {
    Asker { id: "inbox".to_owned(), name: "inbox".to_owned() }
}

impl Inbox {
    /// None when no folder is to be watched.
    pub fn new(intake: &Intake, config: &Config) -> Option<Self> {
        let settings = &config.imports;
        Some(Self {
            intake: intake.clone(),
            folder: settings.inbox.clone()?,
            longest: config.max_upload_bytes,
            period: Duration::from_secs(settings.inbox_seconds.max(1)),
            seen: HashMap::new(),
            strange: HashSet::new(),
        })
    }

    /// Looks again and again, until told to stop.
    pub async fn watch(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "the inbox cannot be looked at");
            }
            if !pause(self.period, &mut stop).await {
                return;
            }
        }
    }

    async fn look(&mut self) -> Result<(), LookError> {
        let tenants: HashSet<Tenant> = self.intake.log().tenants().await?.into_iter().collect();
        let folder = self.folder.clone();
        let (mut seen, mut strange) = (HashMap::new(), HashSet::new());
        for path in blocking(move || folders(&folder)).await? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(tenant) = name.and_then(|name| name.parse().ok()).filter(|tenant| tenants.contains(tenant)) else {
                if !self.strange.contains(&path) {
                    tracing::warn!(folder = ?path, "a folder of the inbox is that of no tenant, and left alone");
                }
                strange.insert(path);
                continue;
            };
            if let Err(error) = self.look_into(&tenant, &path, &mut seen).await {
                tracing::warn!(%error, %tenant, "a look into the inbox broke off");
            }
        }
        (self.seen, self.strange) = (seen, strange);
        Ok(())
    }

    async fn look_into(
        &self,
        tenant: &Tenant,
        folder: &Path,
        seen: &mut HashMap<PathBuf, Mark>,
    ) -> Result<(), LookError> {
        for taken in blocking_in(folder, taken).await? {
            self.settle(tenant, folder, &taken).await?;
        }
        let sets = blocking_in(folder, sets).await?;
        seen.extend(sets.iter().cloned());
        for (path, mark) in sets {
            // The same as at the last look: whoever writes it has ended.
            if self.seen.get(&path) == Some(&mark) && !self.claim(tenant, folder, &path, None).await? {
                break;
            }
        }
        Ok(())
    }

    /// Takes a file and enters its import. False when there is no place for it.
    async fn claim(&self, tenant: &Tenant, folder: &Path, from: &Path, name: Option<&str>) -> Result<bool, LookError> {
        let place = match self.intake.place(tenant) {
            Ok(place) => place,
            Err(StartError::Full) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let name = short(name.or_else(|| from.file_name()?.to_str()).unwrap_or("set"));
        let record = JobRecord { tenant: tenant.clone(), id: Uuid::now_v7() };
        let mut conn = self.intake.log().db().acquire(tenant).await?;
        conn.close_on_drop(); // and with it the lock, which the import has by then
        record.hold(&mut conn).await?;
        let to = folder.join(TAKEN).join(format!("{}-{name}", record.id));
        let (source, target, longest) = (from.to_owned(), to.clone(), self.longest);
        let claimed = blocking_in(folder, move |folder| {
            own_folder(folder, TAKEN)?;
            match fs::rename(&source, &target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None), // another one was faster
                Err(error) => Err(error),
                Ok(()) => Ok(Some(open(folder, &target, longest)?)),
            }
        })
        .await?;
        match claimed {
            None => Ok(true),
            Some(Ok((file, options))) => {
                let task = self.intake.task(asker(), file, &name, options);
                self.intake.enter_as(record, place, task).await?;
                Ok(true)
            }
            Some(Err((code, message))) => {
                let taken = Taken { path: to, job: record.id, name };
                let stamp = chrono::Utc::now();
                let result = json!({ "error": { "code": code, "message": message } });
                blocking_in(folder, move |folder| Outcome::new(folder, "failed", stamp, &taken)?.finish(&result))
                    .await?;
                Ok(true)
            }
        }
    }

    /// Looks what has become of a file that was taken: when its import rests, it is put away with the results; when
    /// the program that took it has ended before, it is taken anew.
    async fn settle(&self, tenant: &Tenant, folder: &Path, taken: &Taken) -> Result<(), LookError> {
        let log = self.intake.log();
        let mut conn = log.db().acquire(tenant).await?;
        if !is_dead(&mut conn, taken.job).await? {
            return Ok(()); // it runs or waits, here or elsewhere
        }
        conn.close_on_drop(); // with the lock, whatever happens
        close(&mut conn, &JobRecord { tenant: tenant.clone(), id: taken.job }).await?;
        match job::find(log, tenant, taken.job).await? {
            Some(job) if !job.failure.as_ref().is_some_and(|why| why.starts_with(INTERRUPTED)) => {
                self.deliver(tenant, folder, taken, job).await?;
            }
            _ => drop(self.claim(tenant, folder, &taken.path, Some(&taken.name)).await?),
        }
        let_go(&mut conn, taken.job).await?;
        Ok(())
    }

    /// Puts a file away, next to its job and its errors. Done again from the beginning if it breaks off.
    async fn deliver(&self, tenant: &Tenant, folder: &Path, taken: &Taken, job: Job) -> Result<(), LookError> {
        let place = match job.state.as_str() {
            "completed" => "done",
            "planned" | "held" => "held",
            _ => "failed",
        };
        let (stamp, path, name) = (job.created_at, taken.path.clone(), taken.name.clone());
        let taken = Taken { path, job: taken.job, name };
        let mut outcome = blocking_in(folder, move |folder| Outcome::new(folder, place, stamp, &taken)).await?;
        let mut after = 0;
        while job.errors > 0 {
            let errors = job::errors(self.intake.log(), tenant, job.id, after, ERRORS_AT_ONCE).await?;
            let Some(last) = errors.last() else { break };
            after = last.number;
            outcome = blocking(move || outcome.errors(&errors)).await?;
        }
        let result = serde_json::to_value(&job).map_err(io::Error::other)?;
        blocking(move || outcome.finish(&result)).await?;
        tracing::info!(%tenant, job = %job.id, state = job.state, "a set from the inbox has been put away");
        Ok(())
    }
}

impl From<CommandError> for LookError {
    fn from(error: CommandError) -> Self {
        Self::Start(error.into())
    }
}

/// The files that tell what became of a set, until they get their names.
struct Outcome {
    set: PathBuf,
    /// Of the set where it is put away; the others have it with an addition.
    to: PathBuf,
    errors: Option<File>,
}

impl Outcome {
    fn new(folder: &Path, place: &str, stamp: chrono::DateTime<chrono::Utc>, taken: &Taken) -> io::Result<Self> {
        let to = own_folder(folder, place)?.join(format!("{}-{}", stamp.format("%Y%m%dT%H%M%S%3fZ"), taken.name));
        Ok(Self { set: taken.path.clone(), to, errors: None })
    }

    fn named(&self, addition: &str) -> PathBuf {
        let mut name = self.to.clone().into_os_string();
        name.push(addition);
        name.into()
    }

    /// Under a name that nobody takes for the file as long as it is not whole.
    fn unfinished(&self, addition: &str) -> PathBuf {
        self.named(&format!("{addition}.tmp"))
    }

    fn errors(mut self, errors: &[JobError]) -> io::Result<Self> {
        let mut text = String::new();
        let file = match self.errors.take() {
            Some(file) => file,
            None => {
                text.push_str("\u{feff}number,file,line,column,code,value,message,messageJa\r\n");
                new_file(&self.unfinished(".errors.csv"))?
            }
        };
        // What people open in a spreadsheet holds no formulas of others.
        let style = Style { guard: true, ..Style::default() };
        for error in errors {
            let code = Code::from_name(&error.code);
            let (number, line) = (error.number.to_string(), error.line.to_string());
            let messages = [code.map_or("", Code::english), code.map_or("", Code::japanese)];
            let cells = [&number, &error.file, &line, &error.column, &error.code, &error.value].map(String::as_str);
            for (n, cell) in cells.into_iter().chain(messages).enumerate() {
                if n > 0 {
                    text.push(',');
                }
                style.cell(cell, &mut text);
            }
            text.push_str("\r\n");
        }
        (&file).write_all(text.as_bytes())?;
        self.errors = Some(file);
        Ok(self)
    }

    /// The set goes last: as long as it is where it was taken to, all of it is done again.
    fn finish(self, result: &Value) -> io::Result<()> {
        if let Some(file) = &self.errors {
            file.sync_all()?;
            fs::rename(self.unfinished(".errors.csv"), self.named(".errors.csv"))?;
        }
        let file = new_file(&self.unfinished(".json"))?;
        serde_json::to_writer_pretty(&file, result)?;
        file.sync_all()?;
        fs::rename(self.unfinished(".json"), self.named(".json"))?;
        fs::rename(&self.set, &self.to)
    }
}

/// A file that replaces whatever was left there, and follows no link.
fn new_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => File::create_new(path),
    }
}

/// A folder inside of a tenant's, made when it is not there. Not a link to elsewhere.
fn own_folder(folder: &Path, name: &str) -> io::Result<PathBuf> {
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

fn folders(inbox: &Path) -> io::Result<Vec<PathBuf>> {
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
fn sets(folder: &Path) -> io::Result<Vec<(PathBuf, Mark)>> {
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
fn taken(folder: &Path) -> io::Result<Vec<Taken>> {
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

type Opened = Result<(File, Options), (&'static str, String)>;

/// The set and its options; or why it is not imported.
fn open(folder: &Path, set: &Path, longest: u64) -> io::Result<Opened> {
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
    let known = serde_json::to_value(&options).map_err(|error| error.to_string())?;
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
fn short(name: &str) -> String {
    if name.len() <= NAME {
        return name.to_owned();
    }
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, "set"));
    let cut = stem.char_indices().map(|(at, _)| at).take_while(|at| *at <= NAME).last().unwrap_or_default();
    format!("{}.{ending}", &stem[..cut])
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

async fn blocking_in<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let folder = folder.to_owned();
    blocking(move || work(&folder)).await
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
