//! Gathers entries and writes them in batches, off the way of requests.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::Following;
use super::entry::{Asked, Entry, People, Recipient, Via};
use super::store::{Completed, Store};
use crate::config::AccessConfig;
use crate::db::is_unavailable;
use crate::log::{Log, Tenant};

/// So many entries are written at once, without waiting for the time.
const MOST: usize = 1_000;
/// How long to wait when the database is away.
const AWAY: Duration = Duration::from_millis(500);
/// Tries to write when the database refuses, or is away while the program stops.
const TRIES: u32 = 6;
/// How long who reads the log waits for what is to be written.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Recorder {
    gathered: Mutex<Gathered>,
    /// There is enough to write, or somebody waits.
    kicked: Notify,
    /// How much of what was handed in has been written, or counted as lost.
    written: watch::Sender<u64>,
    most_people: usize,
    most_waiting: usize,
    period: Duration,
}

/// What was handed in since it was taken last.
#[derive(Default)]
struct Gathered {
    entries: Vec<Entry>,
    completed: Vec<Completed>,
    /// Places of the last entries of streams.
    streams: HashMap<Uuid, usize>,
    lost: BTreeMap<Tenant, Loss>,
    /// All that was ever handed in.
    count: u64,
}

/// Entries for which there was no room.
struct Loss {
    entries: usize,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Gathered {
    fn lose(&mut self, tenant: &Tenant, entries: usize, from: DateTime<Utc>) {
        let now = Utc::now();
        let loss = self.lost.entry(tenant.clone()).or_insert(Loss { entries: 0, from, to: now });
        loss.entries += entries;
        (loss.from, loss.to) = (loss.from.min(from), now);
    }
}

impl Loss {
    fn entry(&self, tenant: &Tenant) -> Entry {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let text = format!("{} entries lost between {} and {}", self.entries, time(self.from), time(self.to));
        let recipient = Recipient { id: None, name: "rosterhub".into() };
        let asked = Asked::new(recipient, Via::Lost, "lost", ("", ""), &text);
        Entry::new(tenant, asked, 0, People::many(None)).records(self.entries)
    }
}

impl Recorder {
    pub fn new(settings: &AccessConfig) -> Self {
        Self {
            gathered: Mutex::default(),
            kicked: Notify::new(),
            written: watch::Sender::new(0),
            most_people: settings.people,
            most_waiting: settings.waiting.max(1),
            period: Duration::from_secs_f64(settings.seconds.clamp(0.01, 86_400.0)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn record(&self, entry: Entry) {
        self.push(&mut self.lock(), entry);
    }

    fn push(&self, gathered: &mut Gathered, entry: Entry) -> bool {
        gathered.count += 1;
        if gathered.entries.len() >= self.most_waiting {
            gathered.lose(&entry.tenant, 1, Utc::now());
            return false;
        }
        gathered.entries.push(entry);
        if gathered.entries.len() == MOST {
            self.kicked.notify_one();
        }
        true
    }

    pub fn complete(&self, completed: Completed) {
        let mut gathered = self.lock();
        gathered.count += 1;
        if gathered.completed.len() < self.most_waiting {
            gathered.completed.push(completed);
        }
    }

    pub fn told(&self, reader: &Following, person: &str, position: i64) {
        let mut gathered = self.lock();
        if let Some(place) = gathered.streams.get(&reader.id).copied()
            && let Some(entry) = gathered.entries.get_mut(place)
            && entry.people.add(self.most_people, person)
        {
            entry.position = entry.position.max(position);
            entry.records = entry.records.map(|n| n + 1);
            return;
        }
        let place = gathered.entries.len();
        let entry = Entry::new(&reader.tenant, reader.asked.as_ref().clone(), position, People::one(person)).records(1);
        match self.push(&mut gathered, entry) {
            true => gathered.streams.insert(reader.id, place),
            false => gathered.streams.remove(&reader.id),
        };
    }

    pub async fn settled(&self) -> bool {
        let count = self.lock().count;
        self.kicked.notify_one();
        let mut written = self.written.subscribe();
        let waited = tokio::time::timeout(PATIENCE, written.wait_for(|written| *written >= count)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// Writes until told to stop, and then what is left.
    pub async fn run(&self, log: &Log, mut stop: watch::Receiver<bool>) {
        let mut store = Store::default();
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.period) => {}
                () = self.kicked.notified() => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            let stopping = *stop.borrow() || stop.has_changed().is_err();
            let Gathered { mut entries, completed, lost, count, .. } = {
                let mut gathered = self.lock();
                let count = gathered.count;
                std::mem::replace(&mut *gathered, Gathered { count, ..Gathered::default() })
            };
            entries.extend(lost.iter().map(|(tenant, loss)| loss.entry(tenant)));
            let nothing = entries.is_empty() && completed.is_empty();
            self.write(log, &mut store, entries, &completed, &stop).await;
            self.written.send_replace(count);
            if stopping && nothing {
                return;
            }
        }
    }

    async fn write(
        &self,
        log: &Log,
        store: &mut Store,
        entries: Vec<Entry>,
        completed: &[Completed],
        stop: &watch::Receiver<bool>,
    ) {
        let mut tenants: BTreeMap<Tenant, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            tenants.entry(entry.tenant.clone()).or_default().push(entry);
        }
        for done in completed {
            tenants.entry(done.tenant.clone()).or_default();
        }
        for (tenant, entries) in tenants {
            let mut tries = 0;
            while let Err(error) = store.write(log, &tenant, &entries, completed).await {
                let stopping = *stop.borrow();
                tries += u32::from(stopping || !is_unavailable(&error));
                if tries >= TRIES {
                    tracing::error!(%tenant, %error, entries = entries.len(), "entries of the access log are lost");
                    let first = entries.first().map_or_else(Utc::now, |entry| super::search::time(entry.id));
                    self.lock().lose(&tenant, entries.len(), first);
                    break;
                }
                tracing::warn!(%tenant, %error, "the access log could not be written; trying again");
                tokio::time::sleep(AWAY).await;
            }
        }
    }
}
