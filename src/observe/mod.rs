//! What people and machines see while jobs run: log lines, a progress display and metrics. All hear the same events.

mod log;
mod metrics;
mod progress;
mod several;

pub use log::{LogObserver, init_log};
pub use metrics::Metrics;
pub use progress::ProgressObserver;
pub use several::Several;

pub use crate::ground::show::{counted, human_bytes};
