//! The words that all layers share: pure types and functions of their arguments, no I/O.

pub mod backoff;
pub mod calls;
pub mod clock;
pub mod encryption;
pub mod entry;
pub mod error;
pub mod event;
pub mod exit;
pub mod fingerprint;
pub mod guard;
pub mod history;
pub mod job;
pub mod key;
pub mod keyspace;
pub mod manifest;
pub mod passed;
pub mod request;
pub mod row;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod show;
pub mod sql;
pub mod ttl;
pub mod value;
pub mod watch;
