//! What has to be read for an operation, and how it is shown: for each object that is asked for, its fields and which
//! other records they lead to. One statement will serve each link of the plan, however many records it starts from.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::Pos;

use super::error::Refusal;
use super::model::{Field, Link};
use super::mutation::WritePlan;
use super::page::Page;
use crate::auth::Scope;
use crate::query::related::Related;

/// What is asked of an object, in the order of the answer.
#[derive(Default)]
pub struct ObjectPlan {
    pub fields: Vec<FieldPlan>,
}

impl ObjectPlan {
    /// Whether other records are asked for.
    pub fn leads_away(&self) -> bool {
        self.fields.iter().any(|field| match &field.target {
            Target::TypeName(_) | Target::Own(_) | Target::Refused(_) => false,
            Target::Inner(_, plan) => plan.leads_away(),
            Target::Records(..) | Target::Connection(_) => true,
        })
    }
}

pub struct FieldPlan {
    /// Of the answer.
    pub key: String,
    /// In the document.
    pub pos: Pos,
    pub target: Target,
}

pub enum Target {
    TypeName(&'static str),
    /// The object's own: from its document, or its names.
    Own(&'static Field),
    /// Of these scopes the client has none.
    Refused(&'static [Scope]),
    /// Objects inside the document (`roles`), or the document seen otherwise (`jp`).
    Inner(&'static Field, ObjectPlan),
    Records(&'static Link, ObjectPlan),
    Connection(Box<ConnectionPlan>),
}

pub struct ConnectionPlan {
    pub related: Related,
    pub page: Page,
    /// Whether rows are asked for, and whether their number is.
    pub rows: bool,
    pub total: bool,
    /// Whether the places of rows are asked for.
    pub cursors: bool,
    /// All that is asked of the rows, wherever it is shown.
    pub nodes: Arc<ObjectPlan>,
    pub shown: Vec<Shown<ConnectionPart>>,
}

/// Something shown under a key of the answer.
pub struct Shown<T> {
    pub key: String,
    pub part: T,
}

pub enum ConnectionPart {
    TypeName,
    Edges(Vec<Shown<EdgePart>>),
    Nodes(Arc<ObjectPlan>),
    PageInfo(Vec<Shown<PagePart>>),
    Total,
}

pub enum EdgePart {
    TypeName,
    Cursor,
    Node(Arc<ObjectPlan>),
}

pub enum PagePart {
    TypeName,
    HasNext,
    HasPrevious,
    Start,
    End,
}

/// A field of `Query` that reads the roster.
pub struct RootPlan {
    pub key: String,
    /// In the document.
    pub pos: Pos,
    /// The records asked for by `node`, `nodes` or a single-record field.
    pub sourced_id: String,
    pub target: RootTarget,
}

pub enum RootTarget {
    Connection(Box<ConnectionPlan>),
    /// One record: which, by condition, and what it needs.
    One(Related, ObjectPlan),
    /// Refused before anything is read: the field answers with this.
    Refused(Refusal),
    /// An id that is none.
    Nothing,
    /// `__typename`.
    TypeName,
}

/// When an operation reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    Position(i64),
    Time(chrono::DateTime<chrono::Utc>),
}

/// Everything that a query reads from the roster.
#[derive(Default)]
pub struct Plan {
    pub roots: Vec<RootPlan>,
    /// Whether the roots of the plan are all that is asked for: its answer is written without the executor.
    pub is_whole: bool,
    /// Fields of `Mutation` that write records.
    pub writes: Vec<WritePlan>,
    /// Inputs of fields of `Mutation` that tell null from nothing, by their keys.
    pub inputs: HashMap<String, serde_json::Value>,
    pub as_of: Option<AsOf>,
    pub at_least: Option<i64>,
    pub cost: Cost,
}

/// What an operation may cost: records read and statements run, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub records: u64,
    pub statements: u64,
}

impl Cost {
    pub fn add(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.statements += other.statements;
    }
}
