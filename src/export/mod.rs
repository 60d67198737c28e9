//! Export: the roster of a tenant as a OneRoster CSV set, streamed from the database.
//!
//! `options` reads what is asked for, `columns` and `rows` make the files' rows out of records, `text` their bytes,
//! `set` the zip. `presence` and `members` find out which records a set can hold, `source` has the statements.
//! `cursors` keeps how far clients have got. See docs/exporting.md.

pub mod columns;
pub mod cursors;
pub mod errors;
pub mod members;
pub mod options;
pub mod presence;
pub mod rows;
pub mod set;
pub mod source;
pub mod text;

use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Transaction};
use tokio::sync::mpsc;

use crate::log::{Log, Tenant, metadata_keys};
use crate::notice::{self, data::ExportReady};
use crate::projection::Past;
use crate::roster::EntityType;
use members::Members;
use options::{BadOption, Moment, Options};
use presence::{At, ORDER, Presence, Survey};
use rows::{FileJob, Loss, RowWriter};
use set::{SetOptions, SetWriter, Sink};
use source::{Rows, Side, Statement};
use text::Style;

/// Blocks of rows between the reader and the writer.
const BLOCKS: usize = 2;

/// Why an export cannot begin or was broken off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Bad(#[from] BadOption),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// What is wrong with it is not told: it may be personal.
    #[error("a record cannot be read")]
    Record(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Zip(#[from] zip::result::ZipError),
    #[error("{0} holds a character that the encoding does not have")]
    Unmappable(String),
    #[error("the export broke off")]
    BrokenOff,
}

/// An export that can begin: what is asked for has been found in the log.
pub struct Export {
    tx: Transaction<'static, Postgres>,
    tenant: Tenant,
    options: Options,
    /// Types of the files.
    kinds: Vec<EntityType>,
    pub to: At,
    /// Position that a delta begins at; none for bulk.
    pub since: Option<i64>,
    /// When the last event up to the position was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// What a set holds.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExportReport", deny_unknown_fields)]
pub struct Summary {
    /// Log position of the roster that the set shows.
    pub position: i64,
    /// Log position that a delta begins after; none for a bulk set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    pub edition: &'static str,
    /// Rows by file, without those that are absent.
    pub rows: BTreeMap<&'static str, u64>,
    /// What the set does not say as the roster has it.
    pub losses: Vec<Loss>,
}

impl Summary {
    /// Rows of all files.
    pub fn records(&self) -> u64 {
        self.rows.values().sum()
    }

    /// Rows of `users.csv`.
    pub fn users(&self) -> u64 {
        self.rows.get(EntityType::User.entity().collection).copied().unwrap_or_default()
    }
}

impl Export {
    /// Finds positions and schools. `kinds`: the types that the client may see. `acknowledged`: the position that the
    /// named cursor stands at.
    pub async fn open(
        log: &Log,
        tenant: &Tenant,
        options: Options,
        kinds: &[EntityType],
        acknowledged: Option<i64>,
    ) -> Result<Self, ExportError> {
        let to = position(log, tenant, "asOf", options.as_of).await?;
        let since = match acknowledged {
            Some(position) => Some(position),
            None => position(log, tenant, "since", options.since).await?,
        };
        let mut tx = log.db().snapshot(tenant).await?;
        let head: i64 = sqlx::query_scalar("select head from tenants where tenant = $1")
            .bind(tenant.as_str())
            .fetch_one(&mut *tx)
            .await?;
        let position = to.unwrap_or(head);
        let beyond =
            |name: &str| BadOption::new("beyond_head", format!("{name} lies beyond the head of the log, {head}."));
        if position > head {
            return Err(beyond("asOf").into());
        }
        if since.is_some_and(|since| since > head) {
            return Err(beyond("since").into());
        }
        if since.is_some_and(|since| since > position) {
            return Err(BadOption::new("since_after_as_of", "since lies after asOf.").into());
        }
        let recorded_at: Option<DateTime<Utc>> =
            sqlx::query_scalar("select recorded_at from events where tenant = $1 and position = $2")
                .bind(tenant.as_str())
                .bind(position)
                .fetch_optional(&mut *tx)
                .await?;
        let asked = |kind: &EntityType| options.files.is_empty() || options.files.contains(kind);
        let kinds = kinds.iter().copied().filter(asked).collect();
        let to = At { position, current: position == head };
        let recorded_at = recorded_at.unwrap_or_default();
        let mut export = Self { tx, tenant: tenant.clone(), options, kinds, to, since, recorded_at };
        export.check_schools().await?;
        Ok(export)
    }

    async fn check_schools(&mut self) -> Result<(), ExportError> {
        let sql = format!(
            "select s.id from unnest($2::text[]) s (id)
              where not exists (select from {} where {} and r.sourced_id = s.id)",
            self.to.versions(EntityType::Org, "r"),
            self.to.stands("r")
        );
        let unknown: Option<String> = sqlx::query_scalar(&sql)
            .bind(self.tenant.as_str())
            .bind(&self.options.schools)
            .fetch_optional(&mut *self.tx)
            .await?;
        match unknown {
            Some(id) => Err(BadOption::new("unknown_school", format!("There is no org {id:?}.")).into()),
            None => Ok(()),
        }
    }

    /// Reads from read models that were made anew, instead of the live ones.
    pub async fn read_from(&mut self, past: &Past<'_>) -> Result<(), sqlx::Error> {
        past.show_to(&mut self.tx).await
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn kinds(&self) -> &[EntityType] {
        &self.kinds
    }

    /// Writes the set: rows are read here and made into a zip by a thread of their own. It may be written again, and is
    /// the same then.
    pub async fn write(&mut self, sink: impl Sink + 'static) -> Result<Summary, ExportError> {
        let (sender, receiver) = mpsc::channel(BLOCKS);
        let style = Style { quote_all: self.options.edition.is_japan(), guard: self.options.formula_guard };
        let rows = RowWriter::new(style, self.options.edition.is_japan());
        let set = self.set_options();
        let writing = tokio::task::spawn_blocking(move || write(receiver, rows, SetWriter::new(sink, set)));
        let read = self.read(&sender).await;
        if let Ok(()) = read {
            let _ = sender.send(Step::End).await;
        }
        drop(sender);
        let written = writing.await.unwrap_or(Err(ExportError::BrokenOff));
        // The reader stops because the writer has failed, or the other way round.
        let (rows, losses) = match (read, written) {
            (Err(ExportError::BrokenOff), Err(error)) => return Err(error),
            (Err(error), _) => return Err(error),
            (Ok(()), written) => written?,
        };
        Ok(Summary {
            position: self.to.position,
            since: self.since,
            edition: self.options.edition.name(),
            rows: rows.into_iter().map(|(kind, n)| (kind.entity().collection, n)).collect(),
            losses,
        })
    }

    fn set_options(&self) -> SetOptions {
        let position = match self.since {
            Some(since) => format!("{since}-{}", self.to.position),
            None => self.to.position.to_string(),
        };
        SetOptions {
            edition: self.options.edition,
            is_delta: self.since.is_some(),
            bom: self.options.bom,
            encoding: self.options.encoding,
            source: format!("{}:{position}", self.tenant),
            time: self.recorded_at,
        }
    }

    async fn read(&mut self, sender: &mpsc::Sender<Step>) -> Result<(), ExportError> {
        let mut to = self.survey(self.to).await?;
        let mut from = match self.since {
            Some(position) => Some(self.survey(At { position, current: false }).await?),
            None => None,
        };
        for kind in ORDER {
            let now = to.presence(&mut self.tx, &self.tenant, kind).await?;
            let before = match &mut from {
                Some(from) => Some(from.presence(&mut self.tx, &self.tenant, kind).await?),
                None => None,
            };
            if !self.kinds.contains(&kind) {
                continue;
            }
            // A Japanese edition has its own columns and no others.
            let mut keys = match self.options.edition.is_japan() {
                true => Vec::new(),
                false => metadata_keys::of(&mut self.tx, &self.tenant, kind.name()).await?,
            };
            if !keys.is_empty() {
                keys = match &before {
                    None => source::keys_of_bulk(&mut self.tx, &self.tenant, kind, &side((&to, &now)), keys).await?,
                    Some(before) => {
                        let statement = self.statement(kind, (&to, &now), from.as_ref().zip(Some(before)));
                        source::keys_of_delta(&mut self.tx, statement).await?
                    }
                };
            }
            let columns = columns::of(self.options.edition, kind, &keys);
            let statement = self.statement(kind, (&to, &now), from.as_ref().zip(before.as_ref()));
            let send = async |step| sender.send(step).await.map_err(|_| ExportError::BrokenOff);
            send(Step::File(Box::new(FileJob { kind, columns, now, before }))).await?;
            let mut rows = Rows::open(&mut self.tx, statement).await?;
            loop {
                let block = rows.next().await?;
                if block.is_empty() {
                    break;
                }
                send(Step::Rows(block)).await?;
            }
        }
        Ok(())
    }

    async fn survey(&mut self, at: At) -> Result<Survey, sqlx::Error> {
        let members = match self.options.schools.is_empty() {
            true => None,
            false => Some(Members::read(&mut self.tx, &self.tenant, at, &self.options.schools).await?),
        };
        Ok(Survey::new(at, members))
    }

    fn statement(&self, kind: EntityType, to: (&Survey, &Presence), from: Option<(&Survey, &Presence)>) -> Statement {
        match from {
            None => source::bulk(&self.tenant, kind, to.0.at, to.0.members.as_deref()),
            Some(from) => source::delta(&self.tenant, kind, &side(from), &side(to)),
        }
    }
}

fn side<'a>((survey, presence): (&'a Survey, &'a Presence)) -> Side<'a> {
    Side { at: survey.at, presence, members: survey.members.as_deref() }
}

/// The position that a parameter means.
pub async fn position(
    log: &Log,
    tenant: &Tenant,
    name: &str,
    moment: Option<Moment>,
) -> Result<Option<i64>, ExportError> {
    match moment {
        None => Ok(None),
        Some(Moment::Position(position)) => Ok(Some(position)),
        Some(Moment::Time(time)) if time > Utc::now() => {
            Err(BadOption::new("in_future", format!("{name} lies in the future.")).into())
        }
        Some(Moment::Time(time)) => Ok(Some(log.position_at(tenant, time).await?)),
    }
}

/// What the reader hands to the writer.
enum Step {
    File(Box<FileJob>),
    Rows(Vec<PgRow>),
    /// All files have been read to their ends.
    End,
}

type Written = (BTreeMap<EntityType, u64>, Vec<Loss>);

fn write<S: Sink>(
    mut steps: mpsc::Receiver<Step>,
    mut rows: RowWriter,
    mut set: SetWriter<S>,
) -> Result<Written, ExportError> {
    match add_all(&mut steps, &mut rows, &mut set) {
        Ok(()) => Ok((set.finish()?, rows.losses.list())),
        Err(error) => {
            set.abandon();
            Err(error)
        }
    }
}

fn add_all<S: Sink>(
    steps: &mut mpsc::Receiver<Step>,
    rows: &mut RowWriter,
    set: &mut SetWriter<S>,
) -> Result<(), ExportError> {
    let mut file: Option<(FileJob, String)> = None;
    let mut text = String::new();
    loop {
        match steps.blocking_recv() {
            None => return Err(ExportError::BrokenOff),
            Some(Step::End) => return Ok(()),
            Some(Step::File(job)) => {
                let header = rows.header(&job);
                file = Some((*job, header));
            }
            Some(Step::Rows(block)) => {
                let Some((job, header)) = &file else { continue };
                text.clear();
                let count = rows.rows(job, &block, &mut text)?;
                set.add(job.kind, header, &text, count)?;
            }
        }
    }
}

/// Tells that a set was written to its end, before whoever takes it can have all of it. To be called without another
/// connection in hand.
pub async fn tell_ready(
    log: &Log,
    tenant: &Tenant,
    client: &str,
    schools: Vec<String>,
    summary: &Summary,
) -> Result<(), sqlx::Error> {
    let data = ExportReady {
        client: client.to_owned(),
        position: summary.position,
        since: summary.since,
        edition: summary.edition.to_owned(),
        schools,
        rows: summary.rows.iter().map(|(file, rows)| ((*file).to_owned(), *rows)).collect(),
        losses: summary.losses.iter().map(|loss| loss.values).sum(),
    };
    let mut tx = log.db().begin(tenant).await?;
    notice::tell(&mut tx, tenant, notice::Kind::ExportReady, &data).await?;
    tx.commit().await
}

/// The name of the file: `RO_<date>_<code>.zip` when a code is given, with the day that the data show, in Japan.
pub fn file_name(export: &Export) -> String {
    const JAPAN: chrono::FixedOffset = chrono::FixedOffset::east_opt(9 * 3_600).unwrap();
    match &export.options.code {
        Some(code) => {
            let day = if export.options.as_of.is_none() { Utc::now() } else { export.recorded_at };
            format!("RO_{}_{code}.zip", day.with_timezone(&JAPAN).format("%Y%m%d"))
        }
        None => format!("oneroster-{}-{}.zip", export.tenant, export.to.position),
    }
}

/// What two exports must have in common to be the same: what is asked for and not from when to when.
pub fn form(options: &Options) -> String {
    let Options { edition, schools, files, bom, encoding, formula_guard, code, .. } = options;
    format!("{edition:?} {schools:?} {files:?} {bom} {encoding:?} {formula_guard} {code:?}")
}
