//! Errors and warnings of configuration and job files. For each error: exit code 2, nothing on standard output, no server asked.

mod changes;
mod environment;
mod files;
mod invalidate;
mod job;
mod query;
mod sealing;
mod shape;
mod together;
