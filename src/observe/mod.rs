//! What people and machines see while jobs run: log lines and a progress display. Both hear the same events.

mod log;
mod progress;

pub use log::{LogObserver, init_log};
pub use progress::ProgressObserver;

pub use crate::ground::show::{counted, human_bytes};
