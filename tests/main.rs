//! Behaviour through the running server's public port. `support` starts the real thing: one Postgres a run, one
//! database a test, the binary as a process of its own.

mod access;
mod addresses;
mod audit;
mod auth;
mod care;
mod clients;
mod corpus;
mod crash;
mod decisions;
mod editions;
mod erasure;
mod exports;
mod feed;
mod filters;
mod graphql;
mod imports;
mod inbox;
mod intake_limits;
mod isolation;
mod log;
mod notices;
mod oneroster;
mod openapi;
mod outage;
mod plans;
mod pool;
mod queue;
mod read_models;
mod reading;
mod support;
mod tokens;
mod uploads;
mod walking;
mod webhooks;
mod writes;
