//! Whether anybody reads what is warmed, told from what Redis remembers of a key anyway.
//!
//! A key that was written `age` ago (its lifetime less what is left of it) and was last touched `idle` ago was touched in between if `idle` is clearly less than
//! `age`. The touch that gives a value its full lifetime is as old as the value; but a run that leaves a key as it is touches it, too (`SET … NX` does). So a touch
//! counts as somebody's reading only if it is younger than the last run as well.
//! Redis tells the idle time in whole seconds of a clock that it looks at ten times a second, so that it may be wrong by a little more than one.
//!
//! A server that throws out what is used least (LFU) keeps a counter in its place, which grows ever more slowly and loses one in each minute without a touch. Our own writing leaves
//! up to 8 in it, if that is not done every moment; what is above that, less the minutes since, others have done, be it before the value was written: an
//! overwritten key keeps its counter.

use std::time::Duration;

use super::entry::PROVISIONAL;

/// By how much an idle time may differ from the age of a value that nobody has read: the clock of Redis, and the way to it.
const SPARE: Duration = Duration::from_secs(3);
/// The most that our own writing leaves in the counter of a key that nobody reads: 5 for a new key, and what a run or two may add.
const OWN: u64 = 8;
/// For how long nothing of ours may have touched a key whose counter is to tell something: what runs more often leaves more.
const QUIET: Duration = Duration::from_secs(300);

/// What Redis remembers of the use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// How long ago it was touched.
    Idle(Duration),
    /// How much it is used: a counter that decays by one a minute (`lfu-decay-time` 1).
    Counter(u64),
}

/// Whether a key was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Since it was written; as to a counter, of late.
    Read,
    /// Not, but for the first seconds.
    Unread,
    /// Nobody can tell: it is too young, lives in another way than the job would have it, or Redis does not say.
    Untold,
}

/// Judges a key that lives for `life` in all, and for `left` from now on; the last run of its job ended `since_run` ago, as far as one is known.
pub fn reading(life: Duration, left: Option<Duration>, trace: Option<Trace>, since_run: Option<Duration>) -> Reading {
    let (Some(trace), Some(left)) = (trace, left) else { return Reading::Untold };
    // What lives longer than the job lets it was written by somebody else.
    if left > life + Duration::from_secs(1) {
        return Reading::Untold;
    }
    let age = life.saturating_sub(left);
    let quiet = since_run.map_or(age, |since| since.min(age));
    let found = match trace {
        Trace::Idle(_) if age < SPARE => Reading::Untold,
        Trace::Idle(idle) if idle + SPARE >= age => Reading::Unread,
        Trace::Idle(idle) if idle + SPARE < quiet => Reading::Read,
        // It may have been the run.
        Trace::Idle(_) => Reading::Untold,
        Trace::Counter(_) if quiet < QUIET => Reading::Untold,
        Trace::Counter(counter) => {
            let decayed = (quiet.as_secs() / 60).saturating_sub(1);
            if counter > OWN.saturating_sub(decayed) { Reading::Read } else { Reading::Unread }
        }
    };
    // What is not verified yet has a short life: it looks old, and has just been touched.
    let may_be_provisional = left <= PROVISIONAL && life > PROVISIONAL;
    if found == Reading::Read && may_be_provisional { Reading::Untold } else { found }
}

/// How many of some are so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Those that are.
    pub yes: u64,
    /// All that were looked at.
    pub of: u64,
}

/// A share of all, as far as a sample tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The share of the sample.
    pub share: f64,
    /// Where that of all lies, 19 times of 20.
    pub low: f64,
    /// The upper end of that.
    pub high: f64,
}

impl Part {
    /// The share, if anything was looked at.
    pub fn share(&self) -> Option<f64> {
        (self.of > 0).then(|| self.yes as f64 / self.of as f64)
    }

    /// What it says of `all`, of which these are a sample that was drawn without putting back: Wilson's interval (E. B. Wilson, Journal of the American Statistical Association 22,
    /// 1927) at 95 %, as of a sample that is larger by the share that was not drawn. Of all there is no doubt.
    pub fn estimate(&self, all: u64) -> Option<Estimate> {
        let share = self.share()?;
        if all <= self.of {
            return Some(Estimate { share, low: share, high: share });
        }
        let (drawn, all) = (self.of as f64, all as f64);
        let n = drawn * (all - 1.0) / (all - drawn);
        let z2 = 1.96_f64 * 1.96;
        let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let reach = (z2 * (share * (1.0 - share) / n + z2 / (4.0 * n * n))).sqrt() / (1.0 + z2 / n);
        Some(Estimate { share, low: (middle - reach).max(0.0), high: (middle + reach).min(1.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A key with a life of ten minutes.
    fn judged(left: u64, trace: Trace) -> Reading {
        reading(seconds(600), Some(seconds(left)), Some(trace), None)
    }

    #[test]
    fn a_key_that_was_touched_after_it_was_written_was_read() {
        let idle = |left, idle| judged(left, Trace::Idle(seconds(idle)));
        assert_eq!((idle(500, 100), idle(500, 99), idle(500, 97)), (Reading::Unread, Reading::Unread, Reading::Unread));
        assert_eq!((idle(500, 96), idle(500, 0)), (Reading::Read, Reading::Read));
        assert_eq!(idle(500, 400), Reading::Unread, "its lifetime was prolonged by somebody else, without a touch");
        assert_eq!((idle(598, 0), idle(597, 0)), (Reading::Untold, Reading::Unread), "too young");
        assert_eq!(idle(700, 0), Reading::Untold, "not ours");
        assert_eq!(reading(seconds(600), None, Some(Trace::Idle(seconds(5))), None), Reading::Untold, "without an end");
        assert_eq!(reading(seconds(600), Some(seconds(5)), None, None), Reading::Untold);
    }

    #[test]
    fn a_run_that_leaves_a_key_as_it_is_touches_it_and_is_no_reader() {
        let after_run = |since, idle| {
            reading(seconds(600), Some(seconds(300)), Some(Trace::Idle(seconds(idle))), Some(seconds(since)))
        };
        assert_eq!(
            (after_run(50, 50), after_run(50, 47), after_run(50, 46)),
            (Reading::Untold, Reading::Untold, Reading::Read)
        );
        assert_eq!((after_run(50, 200), after_run(50, 299)), (Reading::Untold, Reading::Unread));
        assert_eq!(after_run(900, 100), Reading::Read, "somebody else has written it since");
    }

    #[test]
    fn what_may_just_have_been_written_is_not_taken_for_read() {
        let idle = |left, idle| judged(left, Trace::Idle(seconds(idle)));
        assert_eq!((idle(9, 1), idle(9, 590), idle(11, 1)), (Reading::Untold, Reading::Unread, Reading::Read));
        let short = reading(seconds(8), Some(seconds(2)), Some(Trace::Idle(seconds(0))), None);
        assert_eq!(short, Reading::Read, "a job's keys may live for seconds only");
    }

    #[test]
    fn a_counter_tells_more_than_our_own_writing_would() {
        let counter = |minutes: u64, counter| {
            reading(seconds(1200), Some(seconds(1200 - minutes * 60)), Some(Trace::Counter(counter)), None)
        };
        assert_eq!((counter(4, 200), counter(4, 0)), (Reading::Untold, Reading::Untold), "runs may have done it");
        assert_eq!((counter(5, 5), counter(5, 4)), (Reading::Read, Reading::Unread));
        assert_eq!((counter(9, 1), counter(9, 0)), (Reading::Read, Reading::Unread));
        let after_run = reading(seconds(1200), Some(seconds(600)), Some(Trace::Counter(9)), Some(seconds(60)));
        assert_eq!(after_run, Reading::Untold);
    }

    #[test]
    fn a_share_is_as_sure_as_its_sample_is_large() {
        let part = |yes, of, all| {
            let Estimate { share, low, high } = Part { yes, of }.estimate(all).unwrap();
            [share, low, high].map(|share| (share * 1000.0).round() as u32)
        };
        assert_eq!(part(31, 50, 50), [620, 620, 620], "these are all");
        assert_eq!(part(50, 100, 1_000_000), [500, 404, 596]);
        assert_eq!(part(0, 100, 1_000_000), [0, 0, 37]);
        assert_eq!(part(100, 100, 1_000_000), [1000, 963, 1000]);
        assert_eq!(part(50, 100, 101), [500, 490, 510]);
        assert_eq!(Part::default().estimate(9), None);
    }
}
