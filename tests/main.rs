//! Behaviour through the running server's public port. `support` starts the real thing: one Postgres a run, one
//! database a test, the binary as a process of its own.

mod support;

mod addresses;
mod auth;
mod crash;
mod imports;
mod log;
mod oneroster;
mod openapi;
mod outage;
mod read_models;
mod tokens;
