//! What makes runs begin without a person: the schedule, what was missed, a Redis that came back empty.
//!
//! ```text
//! heartbeat  beats once a second
//! agenda     which job is due at a beat, which missed time is made up, which run waits: a pure function of time
//! slot       the same of one job
//! ahead      which of its keys are about to die: the same
//! ```
//!
//! Nothing here runs a job: the daemon takes what is to begin from the agenda, and tells it what ended.

mod agenda;
mod ahead;
mod heartbeat;
mod slot;
mod words;

pub use agenda::Agenda;
pub use heartbeat::Heartbeat;
pub use words::{Ended, RunId, Start, Tick};
