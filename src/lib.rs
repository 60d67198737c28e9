//! RosterHub: a school-roster hub over one event log. See docs/architecture.md.

pub mod access;
pub mod audit;
pub mod auth;
pub mod cli;
pub mod command;
pub mod config;
pub mod csv;
pub mod db;
pub mod erasure;
pub mod export;
pub mod feed;
pub mod graphql;
pub mod history;
pub mod log;
pub mod notice;
pub mod projection;
pub mod query;
pub mod rest;
pub mod roster;
pub mod sample;
pub mod webhook;
