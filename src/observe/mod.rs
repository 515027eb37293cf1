//! What people and machines see while jobs run: log lines, a progress display and metrics. All hear the same events.

mod fields;
mod followed;
mod journal;
mod lines;
mod log;
mod looks;
mod metrics;
mod progress;
mod series;
mod several;
mod start;
mod stderr;

pub use log::LogObserver;
pub use metrics::Metrics;
pub use progress::ProgressObserver;
pub use several::Several;
pub use start::init_log;

pub use crate::ground::show::{counted, human_bytes};
