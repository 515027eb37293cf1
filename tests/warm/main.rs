//! The program as its users run it, against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod ahead;
mod barrier;
mod bulk;
mod busy;
mod changes;
mod deletes;
mod diff;
mod fill;
mod freshness;
mod ghosts;
mod guards;
mod health;
mod history;
mod in_place;
mod instances;
mod invalidate;
mod jobs;
mod json;
mod learn;
mod load;
mod log;
mod memory;
mod outages;
mod ownership;
mod pages;
mod parameters;
mod partitions;
mod pause;
mod platform;
mod postgres_faults;
mod predict;
mod prisma;
mod process;
mod promises;
mod rate;
mod reads;
mod redis_faults;
mod rewrite;
mod rows;
mod sealed;
mod sealed_keys;
mod serve;
mod slot;
mod stats;
mod status;
mod storm;
mod strangers;
mod sweep;
mod tables;
mod terminal;
mod types;
