//! Webhooks: what is told of, what is signed, where deliveries may go, and how one is sent.

pub mod catalogue;
pub mod document;
mod example;
pub mod guard;
pub mod headers;
pub mod secret;
pub mod sender;
pub mod signature;
