//! What a change of the clocks does to a run, for people who wonder.

use chrono::NaiveDateTime;

/// Why a due time is not what its schedule alone would have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    /// The local time does not exist on that day: the run comes right after the gap.
    LeftOut {
        /// The first local time of the schedule that the clock leaves out.
        first: NaiveDateTime,
        /// Whether it leaves out further ones, which are the same run.
        more: bool,
    },
    /// The local time comes twice on that day: the run comes at the first of the two.
    FirstOfTwo,
    /// The local time comes twice on that day, and there is a run at each.
    BothOfTwo {
        /// Whether this is the earlier one.
        first: bool,
    },
}
