//! Webhooks: what happens to the roster and to the hub, sent to those who ask for it.

pub mod catalogue;
mod example;
