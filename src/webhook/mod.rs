//! Webhooks: what is signed, where deliveries may go, and how one is sent.

pub mod guard;
pub mod headers;
pub mod secret;
pub mod sender;
pub mod signature;
