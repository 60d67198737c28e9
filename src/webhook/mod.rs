//! Webhooks: endpoints are told of changes and notices, from the log, in an order of their own and without a gap.

pub mod deliveries;
pub mod endpoint;
pub mod filter;
pub mod guard;
pub mod headers;
pub mod keys;
pub mod lane;
pub mod lanes;
pub mod message;
pub mod pace;
pub mod queue;
pub mod recorder;
pub mod runner;
pub mod secret;
pub mod selection;
pub mod sender;
pub mod signature;
pub mod source;
