//! `warm` keeps a Redis cache filled from PostgreSQL.

pub mod encode;
pub mod ground;
pub mod source;
