//! What the program says: every message about configuration and jobs, `warm check`, `warm list`, the command line.
//!
//! A message is right when a stranger understands it at once: file, line, what was found, what was expected, the way out. That is for
//! eyes to judge, so messages are kept as snapshots (`snapshots/`), to be read whenever they change:
//! `INSTA_UPDATE=always cargo test --test messages`, then `git diff`.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod config;
mod files;
mod invalidate;
mod list;
mod pause;
mod predict;
