//! How warm a job is: which share of the keys that it should have were there when somebody looked.

use chrono::{DateTime, Utc};

use super::figures::Figures;
use super::targets::Judged;
use super::uses::Part;

/// How warm a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warmth {
    /// How many of the keys that were looked for are there.
    pub present: Part,
    /// How many keys they stand for.
    pub keys: u64,
    /// When the run ended that left them behind.
    pub ended: DateTime<Utc>,
}

/// What one look has found.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Each job, and how warm it is, if that can be told.
    pub jobs: Vec<(String, Option<Warmth>)>,
    /// Whether the targets are met.
    pub targets: Vec<Judged>,
    /// What Redis counted, for the next look.
    pub figures: Option<Figures>,
}
