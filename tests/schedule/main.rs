//! When jobs are due, where the clocks are put forward and back: compared with Debian's cron, whose algorithm is written down here a second time.
//!
//! ```text
//! debian   the model: one wake-up after the other, a virtual clock, two kinds of jobs; no search, no mapping, slow and plain
//! changes  each change of the clocks in ten years, in zones of every kind: all that is due around it
//! random   schedules, zones and moments by chance: what holds for all of them
//! ```
#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod changes;
mod debian;
mod random;

use chrono::{DateTime, Utc};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}
