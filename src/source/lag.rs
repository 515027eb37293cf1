//! How far a standby is behind its primary, in time.
//!
//! The age of the last commit that it has replayed (`pg_last_xact_replay_timestamp()`) is more than that where the primary has nothing to commit. So positions in the
//! primary's log count first: a standby that has replayed all of them is not behind at all, and one that has replayed all up to a position which an
//! earlier look saw is behind by the time since that look at most.
//!
//! The position is asked of the primary if it is known. Else it is what the standby has received, as long as it is connected; what has not been sent to it, or is
//! on its way, nobody sees then. One that is not connected has replayed all that it received, and may be far behind: then only the age is left.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sqlx::Row as _;

use super::barrier::{end_of_primary, first, other_cluster};
use super::error::translate;
use super::snapshot::Snapshot;
use crate::ground::error::Error;

/// The most positions that are remembered: those of a wait of several minutes.
const MOST: usize = 256;

/// What a standby says of itself. That it has a receiver, and nothing else of it, is told to everybody.
const STATE: &str = "SELECT pg_catalog.pg_is_in_recovery() AS standby, \
     pg_catalog.pg_last_wal_replay_lsn()::text AS replayed, pg_catalog.pg_last_wal_receive_lsn()::text AS received, \
     EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) AS connected, \
     extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp())::float8 AS age, \
     (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS cluster";

/// Positions of the primary's log, and when it was there at the latest: what earlier looks of the same wait saw.
#[derive(Debug, Default)]
pub struct Marks {
    /// Not replayed yet, in order.
    ahead: VecDeque<(Instant, u64)>,
    /// When the last of those was seen that are replayed.
    reached: Option<Instant>,
}

impl Marks {
    /// By how much a standby is behind at most that has replayed so far, where the log was at `end` at the time `seen`.
    fn lag(
        &mut self,
        seen: Instant,
        end: Option<u64>,
        replayed: Option<u64>,
        age: Option<Duration>,
    ) -> Option<Duration> {
        if let Some(end) = end {
            self.ahead.push_back((seen, end));
            // Every second one is enough, and the newest one stays.
            if self.ahead.len() > MOST {
                let mut stays = false;
                self.ahead.retain(|_| {
                    stays = !stays;
                    stays
                });
            }
        }
        while let Some((seen, end)) = self.ahead.front()
            && replayed.is_some_and(|replayed| replayed >= *end)
        {
            self.reached = Some(*seen);
            self.ahead.pop_front();
        }
        if self.reached == Some(seen) {
            return Some(Duration::ZERO);
        }
        let since = self.reached.map(|reached| seen.saturating_duration_since(reached));
        since.into_iter().chain(age).min()
    }
}

impl Snapshot {
    /// How far this standby is behind its primary at most; `Some(None)` if nothing tells, and `None` if it is no standby (any more).
    ///
    /// # Errors
    /// What the two servers say; [`crate::ground::error::ErrorKind::Definition`] for a primary that is not this standby's.
    pub async fn lag(&mut self, marks: &mut Marks) -> Result<Option<Option<Duration>>, Error> {
        if !self.state().standby {
            return Ok(None);
        }
        let seen = Instant::now();
        let primary = match self.primary() {
            Some(primary) => Some(end_of_primary(&primary).await?),
            None => None,
        };
        let rows = self.ask(STATE).await?;
        let row = first(&rows)?;
        if !row.try_get::<bool, _>("standby").map_err(translate)? {
            return Ok(None);
        }
        let cluster: String = row.try_get("cluster").map_err(translate)?;
        if primary.as_ref().is_some_and(|(_, its)| *its != cluster) {
            return Err(other_cluster());
        }
        let at = |column: &str| row.try_get::<Option<String>, _>(column).map_err(translate);
        let connected: bool = row.try_get("connected").map_err(translate)?;
        let end = match primary {
            Some((end, _)) => Some(end),
            None => at("received")?.filter(|_| connected),
        };
        let age: Option<f64> = row.try_get("age").map_err(translate)?;
        // Clocks that differ may make it negative.
        let age = age.map(|age| Duration::try_from_secs_f64(age.max(0.0)).unwrap_or(Duration::MAX));
        let number = |position: Option<String>| position.as_deref().and_then(number);
        Ok(Some(marks.lag(seen, number(end), number(at("replayed")?), age)))
    }
}

/// A position in the log as a number.
pub(super) fn number(position: &str) -> Option<u64> {
    let (high, low) = position.split_once('/')?;
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn what_is_replayed_to_the_end_is_not_behind_however_old_it_is() {
        let (start, mut marks) = (Instant::now(), Marks::default());
        assert_eq!(marks.lag(start, Some(7), Some(7), Some(S(3600))), Some(S(0)));
        assert_eq!(marks.lag(start + S(1), Some(9), Some(8), Some(S(3601))), Some(S(1)), "all up to the look before");
    }

    #[test]
    fn what_follows_a_log_without_commits_is_behind_by_the_time_between_looks() {
        let (start, mut marks) = (Instant::now(), Marks::default());
        let mut at = |second, end, replayed| marks.lag(start + S(second), Some(end), Some(replayed), Some(S(600)));
        assert_eq!(at(0, 100, 90), Some(S(600)), "the first look has nothing to compare with");
        assert_eq!(at(2, 200, 190), Some(S(2)));
        assert_eq!(at(4, 300, 290), Some(S(2)));
        assert_eq!(at(6, 400, 290), Some(S(4)), "it has stopped");
    }

    #[test]
    fn without_a_position_only_the_age_is_left() {
        let mut marks = Marks::default();
        assert_eq!(marks.lag(Instant::now(), None, Some(7), Some(S(5))), Some(S(5)));
        assert_eq!(marks.lag(Instant::now(), None, Some(7), None), None);
    }

    #[test]
    fn positions_are_bounded_and_the_newest_ones_stay() {
        let (start, mut marks) = (Instant::now(), Marks::default());
        for second in 0..10_000 {
            marks.lag(start + S(second), Some(second + 1), Some(0), None);
        }
        assert!(marks.ahead.len() <= MOST);
        assert_eq!(marks.lag(start + S(10_000), Some(20_000), Some(10_000), None), Some(S(1)));
    }

    #[test]
    fn positions_are_hexadecimal() {
        assert_eq!(number("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(number("16"), None);
    }
}
