//! The history: what runs did, kept in a SQLite file of the state folder, for people and for guards.
//!
//! It is a help, never a condition. Nothing about it fails a run: what goes wrong is said once, as an event, and runs go on without it.
//!
//! ```text
//! handle   what the runner holds: orders in, answers out; costs a run nothing but a message
//! keeper   a thread that owns the connection: opens it when the first run begins, takes what has piled up in one transaction
//! file     folder and file: begun, found damaged, moved aside
//! table    the statements about runs
//! served   those about due times
//! success  those about the last success of each job
//! sample   those about a few keys of each job
//! slowest  those about the slowest query of each job's last run
//! passed   those about starts without a run
//! summary  what all runs of a job come to
//! manifest those about the keys that sweeping jobs have written
//! demand   those about what was learned of keys
//! inspect  what is wrong with folder and file, for `warm check`: looks, and leaves everything as it is
//! ```
//!
//! A thread of its own, because the folder may be on a disk that does not answer: then the thread waits, and nobody else.
//!
//! Several processes may use the file at once. SQLite's locks order their transactions; whoever begins or replaces the file holds the
//! folder's lock meanwhile, so that nobody takes a file that is just being begun for a damaged one, or moves another's new file aside.

mod demand;
mod error;
mod file;
mod handle;
mod inspect;
mod keeper;
mod manifest;
mod passed;
mod sample;
mod served;
mod slowest;
mod success;
mod summary;
mod table;

pub use handle::{History, Place};
pub use inspect::{Worry, inspect};
