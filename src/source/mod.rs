//! The room that reads from PostgreSQL.

pub mod types;
