//! Uploads that go on where they broke off: files that grow until they are whole, and are then entered as imports.
//!
//! An upload is two files of this installation's folder: `<id>.set`, whose length is the offset, and `<id>.note`, which
//! says what it is. The id is that of the import, too, so that an upload can be entered once only, whatever happens in
//! between. When its import is entered the set is gone, and the note stays until its time is over.

mod folder;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use futures::{Stream, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::import::Asker;
use super::intake::{Intake, StartError};
use super::job;
use super::options::Options;
use super::record::JobRecord;
use crate::config::Config;
use crate::log::Tenant;
use folder::{Bounds, Folder};

/// What an upload is, from its creation on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Note {
    pub tenant: String,
    /// Id and name of the client.
    pub client: String,
    pub client_name: String,
    pub file_name: String,
    /// As it was sent, to be given back.
    pub metadata: String,
    /// Bytes of the whole.
    pub length: u64,
    pub options: Options,
}

/// An upload, and how far it is.
#[derive(Clone, Debug)]
pub struct Upload {
    pub id: Uuid,
    pub note: Note,
    /// Bytes that are on the disk.
    pub offset: u64,
    pub expires_at: DateTime<Utc>,
    /// Its import has been entered.
    pub entered: bool,
}

/// Why an upload is not created.
#[derive(Debug)]
pub enum CreateError {
    /// It has more bytes than this.
    TooLarge(u64),
    /// The tenant has so many open.
    TooMany(usize),
    /// There is no room on the disk, or not for uploads.
    NoRoom,
    File(io::Error),
}

/// Why bytes are not added, or not all of them.
#[derive(Debug)]
pub enum AppendError<E> {
    /// Another request adds bytes.
    Locked,
    /// The upload stands at this offset.
    Elsewhere(u64),
    /// More bytes than were announced; none of them are kept.
    TooLong,
    /// They broke off; what had come is kept.
    Source(E),
    NoRoom,
    File(io::Error),
}

impl From<io::Error> for CreateError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::NoRoom } else { Self::File(error) }
    }
}

impl<E> From<io::Error> for AppendError<E> {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::NoRoom } else { Self::File(error) }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The uploads of this installation that are on this machine.
#[derive(Clone)]
pub struct Uploads {
    intake: Intake,
    folder: PathBuf,
    /// Named after the installation: several may share a data folder.
    own: std::sync::Arc<OnceCell<Folder>>,
    bounds: Bounds,
}

impl Uploads {
    pub fn new(intake: &Intake, config: &Config) -> Self {
        let settings = &config.imports;
        let bounds = Bounds {
            length: config.max_upload_bytes,
            per_tenant: settings.uploads_per_tenant,
            bytes: settings.uploads_bytes,
            age: settings.upload_age(),
        };
        let folder = config.data_dir().join("uploads");
        Self { intake: intake.clone(), folder, own: Default::default(), bounds }
    }

    /// Most bytes of an upload.
    pub fn longest(&self) -> u64 {
        self.bounds.length
    }

    async fn folder(&self) -> io::Result<Folder> {
        let open = async || {
            let id: String = sqlx::query_scalar("select id from installation")
                .fetch_one(self.intake.log().db().pool())
                .await
                .map_err(io::Error::other)?;
            Ok::<_, io::Error>(Folder { path: self.folder.join(id), bounds: self.bounds })
        };
        self.own.get_or_try_init(open).await.cloned()
    }

    /// Does something with the files, where it may block.
    async fn blocking<T, F>(&self, work: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    {
        let folder = self.folder().await?;
        tokio::task::spawn_blocking(move || work(&folder)).await.map_err(io::Error::other)?
    }

    pub async fn create(&self, note: Note) -> Result<Upload, CreateError> {
        if note.length > self.bounds.length {
            return Err(CreateError::TooLarge(self.bounds.length));
        }
        self.blocking(move |folder| Ok(folder.create(note))).await?
    }

    /// The upload of this id, if it is this client's.
    pub async fn find(&self, tenant: &Tenant, client: &str, id: Uuid) -> io::Result<Option<Upload>> {
        let found = self.blocking(move |folder| folder.find(id)).await?;
        Ok(found.filter(|upload| upload.note.tenant == tenant.as_str() && upload.note.client == client))
    }

    /// Adds bytes at this offset. They are on the disk when it returns.
    pub async fn append<B: AsRef<[u8]>, E>(
        &self,
        upload: &Upload,
        offset: u64,
        mut chunks: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<u64, AppendError<E>> {
        let length = upload.note.length;
        if upload.entered {
            return Self::nothing_more(length, offset, chunks).await;
        }
        let path = self.folder().await?.set(upload.id);
        let file = match OpenOptions::new().write(true).open(path) {
            Ok(file) => file,
            // Entered by another request a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self::nothing_more(length, offset, chunks).await;
            }
            Err(error) => return Err(error.into()),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AppendError::Locked),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut at = file.metadata()?.len();
        if at != offset {
            return Err(AppendError::Elsewhere(at));
        }
        // The lock is that of both handles: it ends when the last write has.
        let mut out = tokio::fs::File::from_std(file.try_clone()?);
        out.seek(io::SeekFrom::End(0)).await?;
        let ended = loop {
            match chunks.try_next().await {
                Ok(Some(chunk)) => {
                    at += chunk.as_ref().len() as u64;
                    if at > length {
                        out.flush().await?;
                        out.set_len(offset).await?;
                        return Err(AppendError::TooLong);
                    }
                    out.write_all(chunk.as_ref()).await?;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(AppendError::Source(error)),
            }
        };
        out.flush().await?;
        out.sync_data().await?;
        ended.map(|()| at)
    }

    async fn nothing_more<B: AsRef<[u8]>, E>(
        length: u64,
        offset: u64,
        mut chunks: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<u64, AppendError<E>> {
        if offset != length {
            return Err(AppendError::Elsewhere(length));
        }
        while let Some(chunk) = chunks.try_next().await.map_err(AppendError::Source)? {
            if !chunk.as_ref().is_empty() {
                return Err(AppendError::TooLong);
            }
        }
        Ok(length)
    }

    /// Enters the import of an upload that is whole. False when there is no place for it, or the database is away: it
    /// is entered later.
    pub async fn enter(&self, upload: &Upload) -> io::Result<bool> {
        if upload.entered {
            return Ok(true);
        }
        let path = self.folder().await?.set(upload.id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        // Held by one at a time, in all processes that share the folder.
        let lock = File::open(&path)?;
        if lock.try_lock().is_err() || file.metadata()?.len() != upload.note.length {
            return Ok(false);
        }
        match self.enter_locked(upload, file).await {
            Ok(()) => {}
            Err(StartError::Full) => return Ok(false),
            Err(StartError::Command(error)) => {
                tracing::warn!(%error, upload = %upload.id, "a whole upload waits, since it could not be entered");
                return Ok(false);
            }
        }
        fs::remove_file(path)?;
        Ok(true)
    }

    async fn enter_locked(&self, upload: &Upload, file: File) -> Result<(), StartError> {
        let Note { tenant, client, client_name, file_name, options, .. } = upload.note.clone();
        let Ok(tenant) = tenant.parse::<Tenant>() else { return Ok(()) };
        if job::find(self.intake.log(), &tenant, upload.id).await.map_err(crate::command::CommandError::from)?.is_some()
        {
            return Ok(()); // the program ended before the file was removed
        }
        let place = self.intake.place(&tenant)?;
        let asker = Asker { id: client, name: client_name };
        let task = self.intake.task(asker, file, &file_name, options);
        let record = JobRecord { tenant, id: upload.id };
        self.intake.enter_as(record, place, task).await.map(drop)
    }

    /// Ends an upload. An import that has been entered goes on. False when bytes are just being added.
    pub async fn remove(&self, id: Uuid) -> io::Result<bool> {
        self.blocking(move |folder| folder.remove(id)).await
    }

    /// Removes what has had its time, and enters what is whole.
    pub async fn sweep(&self) -> io::Result<()> {
        let whole = self.blocking(Folder::sweep).await?;
        for id in whole {
            if let Some(upload) = self.blocking(move |folder| folder.find(id)).await? {
                self.enter(&upload).await?;
            }
        }
        Ok(())
    }
}
