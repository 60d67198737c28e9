//! Commands decide events. One aggregate serves all record types; each adds only its fields and its rules.

pub mod entry;
pub mod hub;
pub mod repository;

pub use entry::{Command, Entry, Event, Rejected};
pub use hub::{CommandError, Commands, Origin, UnitOfWork};
