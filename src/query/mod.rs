//! Reading the roster: a request is parsed (`filter`, `fields`, `cursor`), planned (`path`, `sql`) and becomes one
//! statement (`list`), so that rows and position are of one snapshot. Shared by all gateways.

pub mod counts;
pub mod cursor;
pub mod endpoint;
pub mod etag;
pub mod fields;
pub mod filter;
pub mod href;
pub mod list;
pub mod path;
pub mod predicate;
pub mod related;
pub mod relation;
pub mod sql;
pub mod versions;
