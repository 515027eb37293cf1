//! The words that all layers share: pure types, no I/O.

pub mod row;
pub mod value;
