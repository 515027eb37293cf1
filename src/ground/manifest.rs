//! The manifest of a sweeping job: which keys its runs have written, so that a later run knows the ones whose rows are gone.

use chrono::{DateTime, Utc};

/// A key that a run was about to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The key, without the installation's `key_prefix`.
    pub key: Vec<u8>,
    /// `xxh3_64` of the value.
    pub fingerprint: u64,
    /// That of the value before: it is still there if the later one was never written.
    pub earlier: Option<u64>,
    /// When the value is dead for certain.
    pub dies: DateTime<Utc>,
}

/// One run of one job, as the manifest knows it. Later runs of a job have higher numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ManifestRun {
    /// The job's number.
    pub job: i64,
    /// The run's number among those of the job.
    pub run: i64,
}
