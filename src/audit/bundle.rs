//! One file that proves: events, checkpoints, proofs and the key, as JSON Lines. The same program examines it without
//! a database.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};
use tlog_tiles::tlog::{Hash, check_record, check_tree};

use super::leaf::{self, Leaf};
use super::note::{Head, Verifier};
use super::proof::{prove, texts};
use super::tiles::Reader;
use super::verify::{Examination, Finding, Kind, Report};
use super::{Audit, AuditError, base64};
use crate::log::Tenant;

const FORMAT: &str = "rosterhub.audit.v1";
const BATCH: i64 = 2_000;

/// Which events go into a bundle.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// First and last position; None: the first, the last.
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Only events of these sourcedIds; empty: of all.
    pub sourced_ids: Vec<String>,
}

impl Selection {
    fn is_whole(&self) -> bool {
        self.from.is_none_or(|from| from <= 1) && self.to.is_none() && self.sourced_ids.is_empty()
    }
}

/// A line of a bundle.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    /// The first one.
    Bundle { format: String, tenant: Tenant, keys: Vec<String>, whole: bool },
    /// A signed checkpoint, and the proof that its tree begins with that of the one before.
    Checkpoint { note: String, consistency: Vec<String> },
    /// An event, and the proof that the tree of the last checkpoint holds it. A bundle of all events needs none.
    Event {
        #[serde(flatten)]
        event: Leaf,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Vec<String>>,
    },
    /// The last one.
    End { events: i64 },
}

#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("line {0} is not one of a bundle: {1}")]
    Line(usize, String),
    #[error("the bundle is cut off: its last line is missing")]
    CutOff,
}

impl From<sqlx::Error> for BundleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Audit(error.into())
    }
}

fn hashes(texts: &[String]) -> Option<Vec<Hash>> {
    texts.iter().map(|text| base64::decode(text)?.try_into().ok().map(Hash)).collect()
}

impl Audit {
    /// Writes a bundle up to a checkpoint that is made now. Gives the number of events in it.
    pub async fn bundle(&self, tenant: &Tenant, chosen: &Selection, out: &mut impl Write) -> Result<i64, BundleError> {
        self.catch_up(tenant).await?;
        let mut checkpoints = self.checkpoints(tenant, i64::MAX, i64::MAX).await?;
        checkpoints.reverse();
        let size = checkpoints.last().map_or(0, |checkpoint| checkpoint.size);
        let keys = self.verifiers(tenant).await?.iter().map(ToString::to_string).collect();
        let whole = chosen.is_whole();
        line(out, &Line::Bundle { format: FORMAT.to_owned(), tenant: tenant.clone(), keys, whole })?;
        let mut tx = self.log.db().snapshot(tenant).await?;
        let mut before = 0_u64;
        for checkpoint in checkpoints {
            let this = checkpoint.size as u64;
            let proof = if before == 0 || whole {
                Vec::new()
            } else {
                prove(&mut tx, tenant, &mut Reader::default(), |reader| reader.consistency(before, this)).await?
            };
            before = this;
            line(out, &Line::Checkpoint { note: checkpoint.note, consistency: texts(&proof) })?;
        }
        let (from, to) = (chosen.from.unwrap_or(1).max(1), chosen.to.unwrap_or(size).min(size));
        let ids: Vec<String> = chosen.sourced_ids.iter().map(|id| tenant.aggregate_id(id)).collect();
        let (mut after, mut written) = (from - 1, 0);
        loop {
            let events = selected(&mut tx, tenant, after, to, &ids).await?;
            let Some(last) = events.last() else { break };
            after = last.position;
            // Of a batch, proofs share most of their tiles.
            let mut reader = Reader::default();
            for event in events {
                let index = event.position as u64 - 1;
                let proof = match whole {
                    true => None,
                    false => {
                        Some(texts(&prove(&mut tx, tenant, &mut reader, |r| r.inclusion(index, size as u64)).await?))
                    }
                };
                line(out, &Line::Event { event, proof })?;
                written += 1;
            }
        }
        line(out, &Line::End { events: written })?;
        out.flush()?;
        Ok(written)
    }
}

fn line(out: &mut impl Write, line: &Line) -> Result<(), std::io::Error> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// The next events that are chosen.
async fn selected(
    conn: &mut sqlx::PgConnection,
    tenant: &Tenant,
    after: i64,
    to: i64,
    aggregates: &[String],
) -> Result<Vec<Leaf>, sqlx::Error> {
    let narrowed = if aggregates.is_empty() { "$5::text[] is not null" } else { "aggregate_id = any($5)" };
    sqlx::query_as(&format!(
        "select {} from events where tenant = $1 and position > $2 and position <= $3 and {narrowed}
          order by position limit $4",
        leaf::COLUMNS
    ))
    .bind(tenant.as_str())
    .bind(after)
    .bind(to)
    .bind(BATCH)
    .bind(aggregates)
    .fetch_all(conn)
    .await
}

/// What the examination of a bundle came to.
pub struct Examined {
    pub report: Report,
    /// The keys that were trusted.
    pub keys: Vec<String>,
    /// They came with the bundle: whoever made it could have signed anything.
    pub own_keys: bool,
}

/// Examines a bundle. `keys`: those that may have signed; empty: those that the bundle brings. `others`: checkpoints
/// that were kept elsewhere; of a bundle of all events they must agree with it.
pub fn examine(input: impl BufRead, keys: &[Verifier], others: &[String]) -> Result<Examined, BundleError> {
    let mut lines = input.lines().enumerate();
    let mut next = || -> Result<(usize, Line), BundleError> {
        let (number, text) = lines.next().ok_or(BundleError::CutOff)?;
        let read = serde_json::from_str(&text?).map_err(|error| BundleError::Line(number + 1, error.to_string()))?;
        Ok((number + 1, read))
    };
    let (_, first) = next()?;
    let Line::Bundle { format, tenant, keys: brought, whole } = first else {
        return Err(BundleError::Line(1, "it must say what the file is".to_owned()));
    };
    if format != FORMAT {
        return Err(BundleError::Line(1, format!("the format {format} is not known")));
    }
    let own_keys = keys.is_empty();
    let keys: Vec<Verifier> = match own_keys {
        true => brought.iter().filter_map(|key| Verifier::parse(key).ok()).collect(),
        false => keys.to_vec(),
    };
    let (mut claims, mut heads, mut faults) = (Vec::new(), Vec::<Head>::new(), Vec::new());
    let mut upcoming = next()?;
    while let (number, Line::Checkpoint { note, consistency }) = &upcoming {
        let claim = Head::open(note, &keys);
        if let (Ok(head), Some(before), false) = (&claim, heads.last(), whole) {
            let proof = hashes(consistency).ok_or_else(|| BundleError::Line(*number, "the proof".to_owned()))?;
            if check_tree(&proof, head.size, Hash(head.root), before.size, Hash(before.root)).is_err() {
                faults.push(Finding { kind: Kind::Rewritten, from: before.size as i64 + 1, to: head.size as i64 });
            }
        }
        heads.extend(claim.as_ref().ok());
        claims.push(claim.map_err(|error| (0, error)));
        upcoming = next()?;
    }
    claims.extend(others.iter().map(|note| Head::open(note, &keys).map_err(|error| (0, error))));
    let last = heads.last().copied();
    let signatures = if whole { claims } else { claims.into_iter().filter(Result::is_err).collect() };
    let mut examination = Examination::new(&tenant, signatures);
    faults.into_iter().for_each(|fault| examination.note(fault));
    let mut events = 0;
    let expected = loop {
        let (number, line) = upcoming;
        match line {
            Line::Event { event, proof } => {
                events += 1;
                match (whole, proof) {
                    (true, _) => examination.at(&event),
                    (false, proof) => {
                        let proof = proof
                            .and_then(|proof| hashes(&proof))
                            .ok_or_else(|| BundleError::Line(number, "it has no proof".to_owned()))?;
                        let proven = last.is_some_and(|head| {
                            let index = (event.position - 1).max(0) as u64;
                            check_record(&proof, head.size, Hash(head.root), index, event.hash(&tenant)).is_ok()
                        });
                        examination.alone(&event, proven);
                    }
                }
            }
            Line::End { events } => break events,
            Line::Bundle { .. } | Line::Checkpoint { .. } => {
                return Err(BundleError::Line(number, "it is not where it belongs".to_owned()));
            }
        }
        upcoming = next()?;
    };
    if events != expected {
        return Err(BundleError::CutOff);
    }
    let mut report = if whole { examination.finish() } else { examination.finish_selection() };
    match last {
        Some(head) if !whole => report.signed = head.size as i64,
        _ => report.covered = report.signed,
    }
    Ok(Examined { report, keys: keys.iter().map(ToString::to_string).collect(), own_keys })
}
