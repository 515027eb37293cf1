//! Exit codes: a promise to scripts and units, so they stand in one place and never change meaning.
//!
//! A process ended by signal n exits with 128 + n.

/// All well.
pub const OK: u8 = 0;
/// A job failed.
pub const JOB_FAILED: u8 = 1;
/// The configuration, a job file or the command line is wrong.
pub const CONFIG: u8 = 2;
/// PostgreSQL cannot be reached, or refuses us.
pub const POSTGRES: u8 = 3;
/// Redis cannot be reached, or refuses us.
pub const REDIS: u8 = 4;
/// A guard stopped the run before it did harm.
pub const GUARD: u8 = 5;
/// Another instance runs the job.
pub const HELD: u8 = 6;
