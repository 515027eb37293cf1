//! `warm` keeps a Redis cache filled from PostgreSQL.

pub mod ground;

pub mod source;

pub mod cache;
