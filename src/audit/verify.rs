//! The log against its tree and its checkpoints: what was changed, removed, moved or put in since is named.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tlog_tiles::tlog::Hash;

use super::leaf::Leaf;
use super::note::{Head, NoteError, Verifier};
use super::tiles::{Edge, HASH, TileId, WIDTH};
use super::tree::{leaves, tiles};
use super::{Audit, AuditError, base64};
use crate::log::Tenant;

/// Events that are read at a time: whole tiles.
const BATCH: i64 = 20 * WIDTH as i64;
/// Findings that are listed; more are only counted.
const LISTED: usize = 100;

/// Something is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "AuditFinding", deny_unknown_fields)]
pub struct Finding {
    pub kind: Kind,
    /// First and last position that it concerns.
    pub from: i64,
    pub to: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "AuditFindingKind")]
pub enum Kind {
    /// The event is not the one that the tree holds: changed, moved, or put in.
    Changed,
    /// There is no event at the position.
    Removed,
    /// The tree was made anew: it is not the one that a checkpoint was signed for. What was changed lies between the
    /// positions, after the last checkpoint that agrees.
    Rewritten,
    /// The stored tree does not agree with itself.
    Tree,
    /// No known key signed the checkpoint.
    Signature,
    /// A checkpoint speaks of more events than the log has.
    Ahead,
    /// The event was emptied, and no erasure says so.
    Emptied,
    /// What an erasure left of the event was changed later.
    Remainder,
}

impl Kind {
    pub fn text(self) -> &'static str {
        match self {
            Self::Changed => "not the event that the tree holds",
            Self::Removed => "removed",
            Self::Rewritten => "the tree was rewritten here after a checkpoint was signed",
            Self::Tree => "the stored tree does not agree with itself",
            Self::Signature => "the checkpoint is not signed by a known key",
            Self::Ahead => "a checkpoint covers more events than there are",
            Self::Emptied => "emptied, and no erasure says so",
            Self::Remainder => "what an erasure left of it was changed",
        }
    }
}

/// What was looked at and found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub tenant: String,
    /// Events looked at: all.
    pub events: i64,
    /// Of them, those that the tree holds.
    pub covered: i64,
    /// Size of the largest checkpoint that agrees.
    pub signed: i64,
    pub checkpoints: usize,
    pub erased: usize,
    /// The first ones.
    pub findings: Vec<Finding>,
    /// How many there are.
    pub found: usize,
}

/// A checkpoint to agree with, read and with its signature checked.
pub type Claim = Result<Head, (i64, NoteError)>;

/// Goes through the events in order.
pub struct Examination {
    tenant: Tenant,
    edge: Edge,
    claims: BTreeMap<u64, [u8; 32]>,
    /// Size of the last claim that agreed; 0: none as yet.
    agreed: u64,
    /// Of erased events, the hash of what is left.
    erased: HashMap<i64, Vec<u8>>,
    report: Report,
}

impl Examination {
    pub fn new(tenant: &Tenant, claims: Vec<Claim>) -> Self {
        let mut examination = Self {
            tenant: tenant.clone(),
            edge: Edge::default(),
            claims: BTreeMap::new(),
            agreed: 0,
            erased: HashMap::new(),
            report: Report {
                tenant: tenant.to_string(),
                events: 0,
                covered: 0,
                signed: 0,
                checkpoints: claims.len(),
                erased: 0,
                findings: Vec::new(),
                found: 0,
            },
        };
        for claim in claims {
            match claim {
                Ok(head) => match examination.claims.insert(head.size, head.root) {
                    Some(other) if other != head.root => examination.find(Kind::Rewritten, 1, head.size as i64),
                    _ => {}
                },
                Err((size, _)) => examination.find(Kind::Signature, size, size),
            }
        }
        examination
    }

    /// The next position: its event, and the leaf that a stored tree has there.
    pub fn next(&mut self, event: Option<&Leaf>, stored: Option<Hash>) {
        let position = self.edge.size() as i64 + 1;
        let hash = event.map(|event| event.hash(&self.tenant));
        match (event, hash, stored) {
            (None, ..) => self.find(Kind::Removed, position, position),
            (_, Some(hash), Some(stored)) if hash.0 != stored.0 => self.find(Kind::Changed, position, position),
            _ => {}
        }
        if let Some(event) = event {
            self.report.events += 1;
            self.erasure(event);
        }
        self.report.covered += i64::from(stored.is_some());
        // The stored leaf is what checkpoints were signed over: so each kind of change is told apart.
        let Some(leaf) = stored.or(hash) else { return self.edge.push(Hash([0; HASH])) };
        self.edge.push(leaf);
        if let Some(root) = self.claims.remove(&self.edge.size()) {
            if self.edge.root().0 == root {
                self.agreed = self.edge.size();
            } else {
                self.find(Kind::Rewritten, self.agreed as i64 + 1, self.edge.size() as i64);
                self.claims.clear(); // all later ones fail with it
            }
        }
    }

    /// An event of a log without a stored tree. Those that are missing before it are named.
    pub fn at(&mut self, event: &Leaf) {
        while (self.edge.size() as i64 + 1) < event.position {
            self.next(None, None);
        }
        match event.position == self.edge.size() as i64 + 1 {
            true => self.next(Some(event), None),
            false => self.find(Kind::Changed, event.position, event.position), // it came before
        }
    }

    /// An event without those around it. `proven`: a signed tree holds it.
    pub fn alone(&mut self, event: &Leaf, proven: bool) {
        self.report.events += 1;
        self.report.covered += i64::from(proven);
        if !proven {
            self.find(Kind::Changed, event.position, event.position);
        }
        self.erasure(event);
    }

    /// Something that was found elsewhere.
    pub fn note(&mut self, finding: Finding) {
        self.find(finding.kind, finding.from, finding.to);
    }

    /// Emptied events are owned to by an event of erasure that comes later.
    fn erasure(&mut self, event: &Leaf) {
        if event.is_erased() {
            self.report.erased += 1;
            self.erased.insert(event.position, Sha256::digest(&event.payload).to_vec());
        }
        if event.event_type != "Erased" {
            return;
        }
        let payload: Value = serde_json::from_str(&event.payload).unwrap_or_default();
        for item in payload["erased"].as_array().into_iter().flatten() {
            let Some(position) = item["position"].as_i64() else { continue };
            let left = item["left"].as_str().and_then(base64::decode);
            if let Some(found) = self.erased.remove(&position)
                && Some(found) != left
            {
                self.find(Kind::Remainder, position, position);
            }
        }
    }

    /// Tiles of the tree as it is made of its leaves, against the stored ones.
    fn compare(&mut self, made: &[(TileId, Vec<u8>)], stored: &HashMap<TileId, Vec<u8>>) {
        for ((level, number), hashes) in made {
            if stored.get(&(*level, *number)).is_none_or(|other| other.get(..hashes.len()) != Some(hashes)) {
                let width = (WIDTH as i64).pow(u32::from(*level) + 1);
                self.find(Kind::Tree, *number as i64 * width + 1, (*number as i64 + 1) * width);
            }
        }
    }

    fn find(&mut self, kind: Kind, from: i64, to: i64) {
        if let Some(last) = self.report.findings.last_mut()
            && last.kind == kind
            && last.to + 1 == from
        {
            last.to = to;
            return;
        }
        self.report.found += 1;
        if self.report.findings.len() < LISTED {
            self.report.findings.push(Finding { kind, from, to });
        }
    }

    /// Of events that were chosen: an erasure may be among those that were not.
    pub fn finish_selection(self) -> Report {
        self.report
    }

    pub fn finish(mut self) -> Report {
        let mut emptied: Vec<i64> = self.erased.keys().copied().collect();
        emptied.sort_unstable();
        emptied.into_iter().for_each(|position| self.find(Kind::Emptied, position, position));
        let size = self.edge.size() as i64;
        for ahead in std::mem::take(&mut self.claims).into_keys() {
            self.find(Kind::Ahead, size + 1, ahead as i64);
        }
        self.report.signed = self.agreed as i64;
        self.report
    }
}

impl Audit {
    /// Examines a tenant's whole log. `keys`: those that may have signed; empty: those that the database names.
    /// `others`: checkpoints that were kept elsewhere.
    pub async fn verify(
        &self,
        tenant: &Tenant,
        keys: &[Verifier],
        others: &[String],
        progress: impl Fn(i64, i64),
    ) -> Result<Report, AuditError> {
        let keys = if keys.is_empty() { self.verifiers(tenant).await? } else { keys.to_vec() };
        let kept = self.checkpoints(tenant, i64::MAX, i64::MAX).await?;
        let claims = kept
            .iter()
            .map(|checkpoint| Head::open(&checkpoint.note, &keys).map_err(|e| (checkpoint.size, e)))
            .chain(others.iter().map(|note| Head::open(note, &keys).map_err(|e| (0, e))));
        let mut examination = Examination::new(tenant, claims.collect());
        let mut tx = self.log.db().snapshot(tenant).await?;
        let size: Option<i64> = sqlx::query_scalar("select size from audit_trees where tenant = $1")
            .bind(tenant.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        let size = size.unwrap_or(0);
        let last: Option<i64> = sqlx::query_scalar("select max(position) from events where tenant = $1")
            .bind(tenant.as_str())
            .fetch_one(&mut *tx)
            .await?;
        let end = last.unwrap_or(0).max(size);
        let mut after = 0;
        let mut ahead = batch(&mut tx, tenant, after).await?;
        while after < end {
            let (events, stored) = ahead;
            let to = end.min(after + BATCH);
            let check = tokio::task::spawn_blocking(move || {
                examine(&mut examination, after, to, size, &events, &stored);
                examination
            });
            after = to;
            let (checked, read) = tokio::join!(check, batch(&mut tx, tenant, after));
            examination = checked.map_err(|_| AuditError::Damaged("an examination that ended early".to_owned()))?;
            ahead = read?;
            progress(after, end);
        }
        Ok(examination.finish())
    }
}

type Batch = (Vec<Leaf>, HashMap<TileId, Vec<u8>>);

/// Events after a position, and the stored tiles that they end up in.
async fn batch(conn: &mut sqlx::PgConnection, tenant: &Tenant, after: i64) -> Result<Batch, sqlx::Error> {
    let events = leaves(conn, tenant, after, BATCH).await?;
    let mut wanted = Vec::new();
    for level in 0..7 {
        let (first, last) = (after as u64 >> (8 * (level + 1)), (after + BATCH) as u64 >> (8 * (level + 1)));
        wanted.extend((first..=last).map(|number| (level as u8, number)));
    }
    Ok((events, tiles(conn, tenant, &wanted).await?))
}

fn examine(
    examination: &mut Examination,
    after: i64,
    to: i64,
    size: i64,
    events: &[Leaf],
    stored: &HashMap<TileId, Vec<u8>>,
) {
    let mut events = events.iter().peekable();
    let leaf = |index: u64| {
        let at = (index % WIDTH as u64) as usize * HASH;
        let hash = stored.get(&(0, index / WIDTH as u64))?.get(at..at + HASH)?;
        hash.try_into().ok().map(Hash)
    };
    for position in after + 1..=to {
        let event = events.next_if(|event| event.position == position);
        let hash = (position <= size).then(|| leaf(position as u64 - 1)).flatten();
        if hash.is_none() && position <= size {
            examination.find(Kind::Tree, position, position);
        }
        examination.next(event, hash);
    }
    // Of the upper levels; the leaves were compared with the events.
    let mut made = examination.edge.take_tiles();
    made.retain(|((level, number), hashes)| {
        let covered = (*number * WIDTH as u64 + (hashes.len() / HASH) as u64) << (8 * u32::from(*level));
        *level > 0 && covered <= size as u64
    });
    examination.compare(&made, stored);
}
