//! `warm` keeps a Redis cache filled from PostgreSQL.
//!
//! The command line tool is a thin edge around this library; `docs/architecture.md` shows the layers.

pub mod cache;
pub mod encode;
pub mod ground;
pub mod runner;
pub mod source;
