//! `warm` keeps a Redis cache filled from PostgreSQL.
//!
//! The command line tool is a thin edge around this library; `docs/architecture.md` shows the layers.

pub mod cache;
pub mod cli;
pub mod commands;
pub mod config;
pub mod encode;
pub mod ground;
pub mod history;
pub mod observe;
pub mod runner;
pub mod seal;
pub mod service;
pub mod source;
pub mod triggers;
