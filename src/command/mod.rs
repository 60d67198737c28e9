//! Commands decide events. One aggregate serves all record types; each adds only its fields and its rules.

pub mod document;
pub mod entry;
pub mod hub;
pub mod json;
pub mod parts;
pub mod plan;
pub mod references;
pub mod repository;
pub mod standing;
pub mod write;

pub use entry::{Command, Entry, Event, Rejected};
pub use hub::{CommandError, Commands, Origin, UnitOfWork};
