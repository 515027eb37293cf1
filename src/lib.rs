//! `warm` keeps a Redis cache filled from PostgreSQL.

pub mod ground;
