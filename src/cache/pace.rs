//! When Redis is busy with something else, the writer pauses, so that the application does not wait for us, too.
//!
//! Redis does one thing after another. While it is slow, be it for `KEYS`, a long script, a fork, a machine that swaps or has no processor time left, each
//! batch of ours makes everybody else's commands wait longer. It shows in the time that Redis takes for a batch. As protocols for
//! transfers in the background do (LEDBAT, RFC 6817), what is beyond the shortest time ever seen is taken for others' work, and beyond a limit we give way.
//!
//! ```text
//! slow answer     pause = what it took × 1, × 2, × 4         our share of Redis' time: 1/2 … 1/5
//! normal answer   half the pause                             ten of them at most, and it goes on at full speed
//! four of these   one step back                              where one of five is slow, it stays slow
//! ```
//!
//! Nothing here looks at a clock: times are given.

use std::time::{Duration, Instant};

/// What a batch may have for the limit; a larger one has proportionally more time.
const USUAL_BYTES: u32 = 64 << 10;
/// The most that the pause is longer than what the slow batch took: a fifth of Redis' time is left to us, so that a run comes to its end one day.
const MOST: u32 = 4;
/// So many normal answers take a step back. Fewer, and where Redis is free now and then we would fill each gap.
const CALM: u32 = 4;
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);
/// A shorter one is none.
const SHORTEST: Duration = Duration::from_millis(1);
/// From the third slow answer on, with hardly a normal one between, it is worth telling: a single one is an accident.
const WORTH_TELLING: u32 = 4;

/// Decides how long to pause before the next batch.
#[derive(Debug)]
pub(super) struct Pace {
    limit: Option<Duration>,
    /// The shortest time that an answer took.
    round_trip: Duration,
    /// How many times longer than the last slow answer the pause after it was; 0 when that is forgotten.
    factor: u32,
    /// Normal answers since the last step, up or back.
    calm: u32,
    pause: Duration,
    /// When the last slow batch was answered: what was sent before says nothing about the time after.
    slow_at: Option<Instant>,
    /// When the last batch was answered.
    answered: Option<Instant>,
}

impl Pace {
    /// Full speed; with no `limit` for good. `round_trip` is what an answer took that needed no work.
    pub(super) fn new(limit: Option<Duration>, round_trip: Duration) -> Self {
        Pace { limit, round_trip, factor: 0, calm: 0, pause: Duration::ZERO, slow_at: None, answered: None }
    }

    /// A batch of so many bytes that was sent at the one time was answered at the other. If one before it was answered in between, Redis began with
    /// this one then.
    ///
    /// Returns how long Redis took, if it is so slow that somebody should know.
    pub(super) fn answered(&mut self, sent: Instant, now: Instant, bytes: usize) -> Option<Duration> {
        let limit = self.limit?;
        let begun = self.answered.map_or(sent, |before| before.max(sent));
        let took = now.saturating_duration_since(begun);
        self.answered = Some(now);
        self.round_trip = self.round_trip.min(now.saturating_duration_since(sent));
        let allowed = limit.mul_f64((bytes as f64 / f64::from(USUAL_BYTES)).max(1.0)) + self.round_trip;
        if took > allowed {
            (self.factor, self.calm) = ((self.factor * 2).clamp(1, MOST), 0);
            self.pause = took.saturating_mul(self.factor).min(LONGEST);
            self.slow_at = Some(now);
            return (self.factor >= WORTH_TELLING).then_some(took);
        }
        if self.slow_at.is_none_or(|slow| slow <= sent) {
            self.calm += 1;
            if self.calm == CALM {
                (self.factor, self.calm) = (self.factor / 2, 0);
            }
            self.pause = if self.pause < 2 * SHORTEST { Duration::ZERO } else { self.pause / 2 };
        }
        None
    }

    /// Another connection: what was sent on the last one is not waited for any more.
    pub(super) fn begin_again(&mut self) {
        self.answered = None;
    }

    /// Whether there are pauses: then one batch is sent at a time.
    pub(super) fn is_slow(&self) -> bool {
        !self.pause.is_zero()
    }

    /// How long to pause before the next batch. What nobody wanted to be sent was a pause, too.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        self.answered.map_or(Duration::ZERO, |answered| (answered + self.pause).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A writer that sends one batch after the other, with its clock.
    struct Alone(Pace, Instant);

    impl Alone {
        fn new(limit: u64) -> Self {
            Alone(Pace::new(Some(ms(limit)), ms(1)), Instant::now())
        }

        /// A batch that takes so long; the pause after it.
        fn batch(&mut self, took: Duration, bytes: usize) -> Duration {
            let sent = self.1;
            self.1 += took;
            self.0.answered(sent, self.1, bytes);
            let pause = self.0.pause(self.1);
            self.1 += pause;
            pause
        }
    }

    #[test]
    fn normal_answers_and_hiccups_of_a_busy_machine_cost_nothing() {
        let mut alone = Alone::new(25);
        for took in [1, 1, 10, 1, 20, 25, 26] {
            assert_eq!(alone.batch(ms(took), 6000), Duration::ZERO, "{took} ms");
        }
    }

    #[test]
    fn while_it_is_slow_the_pause_doubles_up_to_a_bound_and_then_it_halves() {
        let mut alone = Alone::new(25);
        let slow: Vec<_> = (0..6).map(|_| alone.batch(ms(50), 6000)).collect();
        assert_eq!(slow, [50, 100, 200, 200, 200, 200].map(ms));
        assert_eq!(alone.batch(ms(500), 6000), LONGEST);
        let normal: Vec<_> = (0..10).map(|_| alone.batch(ms(1), 6000)).collect();
        assert_eq!(normal[..3], [500, 250, 125].map(ms));
        assert_eq!(normal[9], Duration::ZERO);
    }

    #[test]
    fn where_redis_is_free_now_and_then_the_gaps_are_not_filled() {
        let mut alone = Alone::new(25);
        let took = |n| ms(if n % 4 == 0 { 50 } else { 1 });
        let pauses: Vec<_> = (0..40).map(|n| alone.batch(took(n), 6000)).collect();
        assert_eq!(pauses[36..], [200, 100, 50, 25].map(ms), "each fourth is slow");
        for _ in 0..3 * CALM {
            alone.batch(ms(1), 6000);
        }
        assert_eq!(alone.batch(ms(50), 6000), ms(50), "all is forgotten");
    }

    #[test]
    fn a_single_slow_answer_is_not_worth_telling() {
        let mut alone = Alone::new(25);
        let told: Vec<_> = [50, 50, 60, 1, 1, 1, 1, 1, 1, 1, 1, 50]
            .map(|took| {
                let sent = alone.1;
                alone.1 += ms(took);
                alone.0.answered(sent, alone.1, 1)
            })
            .to_vec();
        assert_eq!(told, [[None; 2].as_slice(), &[Some(ms(60))], &[None; 9]].concat());
    }

    #[test]
    fn a_large_batch_and_a_long_way_have_more_time() {
        let mut alone = Alone::new(25);
        assert_eq!(alone.batch(ms(400), 1 << 20), Duration::ZERO, "sixteen times as much");
        assert!(alone.batch(ms(402), 1 << 20) > Duration::ZERO);
        let mut far = Alone(Pace::new(Some(ms(25)), ms(200)), Instant::now());
        assert_eq!(far.batch(ms(220), 6000), Duration::ZERO);
        far.batch(ms(10), 6000);
        assert!(far.batch(ms(220), 6000) > Duration::ZERO, "it is not far, it was slow when it was measured");
    }

    #[test]
    fn batches_in_flight_do_not_count_the_time_of_those_before_them() {
        let (start, mut pace) = (Instant::now(), Pace::new(Some(ms(25)), ms(1)));
        for n in 1..=4 {
            assert_eq!(pace.answered(start, start + ms(20 * n), 6000), None);
            assert!(!pace.is_slow(), "80 ms after all were sent, but 20 for each");
        }
        // Behind a slow one, others that were sent before are answered at once: that says nothing.
        pace.answered(start + ms(80), start + ms(130), 6000);
        pace.answered(start + ms(80), start + ms(131), 6000);
        assert_eq!(pace.pause(start + ms(131)), ms(50));
        assert_eq!(pace.pause(start + ms(141)), ms(40), "a pause is over at some time, whoever has slept meanwhile");
        pace.answered(start + ms(131), start + ms(132), 6000);
        assert_eq!(pace.pause(start + ms(132)), ms(25));
    }

    #[test]
    fn what_a_lost_connection_owed_is_not_waited_for_and_without_a_limit_nothing_is_slow() {
        let (start, mut pace) = (Instant::now(), Pace::new(Some(ms(25)), ms(1)));
        pace.answered(start, start + ms(1), 6000);
        pace.begin_again();
        pace.answered(start + ms(5000), start + ms(5001), 6000);
        assert!(!pace.is_slow());
        let mut off = Pace::new(None, ms(1));
        assert_eq!(off.answered(start, start + ms(9000), 1), None);
        assert!(!off.is_slow());
    }
}
