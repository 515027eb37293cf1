//! How often a key is read whose misses do not tell.
//!
//! Reads are taken to come by chance, at a rate that changes slowly (a Poisson process). Who looks at the key, and learns when it was read last, has waited for a read, looking backward: it came
//! after the idle time, or did not come as far back as he can see, which is to the last look or to when the key was written. A miss is a read, too, and what was waited for it is the time since
//! the key died. Of waiting times that are cut off so, the rate that makes them most likely is the number of reads that came, divided by all the time that was waited
//! (the maximum likelihood of a censored exponential: J. F. Lawless, "Statistical Models and Methods for Lifetime Data", chapter 4). Both fade with the half-life, so that the estimate follows a key that becomes more or less popular.
//!
//! A look at a key that is read a thousand times an hour has waited for some seconds only: it weighs little against an hour in which nobody came. So a key that cools down is
//! found out by the next look.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How many reads that were seen an estimate is worth that comes from counted misses: a few looks are to overrule it.
const PRIOR: f64 = 3.0;

/// How many came, how long was waited, until when all is known and since when it is left out.
pub(super) type RememberedReads = (f64, f64, i64, Option<i64>);

/// The reads of a key.
#[derive(Debug, Clone)]
pub struct Reads {
    /// How many came, faded.
    came: f64,
    /// How long was waited for them, in hours, faded.
    waited: f64,
    /// When they were faded last.
    at: DateTime<Utc>,
    half_life: Duration,
    /// Until when all is accounted for; in the future: while it is warm.
    known_until: DateTime<Utc>,
    /// The last look, or when it was written.
    looked: DateTime<Utc>,
    /// Since when it has not been warmed any more.
    pub(super) left: Option<DateTime<Utc>>,
}

impl Reads {
    /// Of a key that is taken to be read so often in an hour.
    pub fn new(per_hour: f64, half_life: Duration, now: DateTime<Utc>) -> Self {
        let waited = if per_hour > 0.0 { PRIOR / per_hour } else { 1.0 };
        let came = if per_hour > 0.0 { PRIOR } else { 0.0 };
        Reads { came, waited, at: now, half_life, known_until: now, looked: now, left: None }
    }

    /// It has been written, and lives for so long.
    pub fn warmed(&mut self, life: Duration, now: DateTime<Utc>) {
        self.wait_until(now);
        self.known_until = now + TimeDelta::from_std(life).unwrap_or_default();
        self.looked = now;
        self.left = None;
    }

    /// It is not warmed any more: it dies when its time has come.
    pub fn left_out(&mut self, now: DateTime<Utc>) {
        self.wait_until(now);
        self.left.get_or_insert(now);
    }

    /// It was missed, and then, if so it is given, written by somebody else for so long.
    pub fn missed(&mut self, life: Option<Duration>, now: DateTime<Utc>) {
        self.wait_until(now);
        self.came += 1.0;
        self.known_until = now + life.and_then(|life| TimeDelta::from_std(life).ok()).unwrap_or_default();
        self.looked = now;
    }

    /// Somebody looked at it: for how long nobody has read or written it, if it is there and that can be told.
    pub fn looked(&mut self, idle: Option<Duration>, now: DateTime<Utc>) {
        self.wait_until(now);
        let seen = (now - self.looked).to_std().unwrap_or_default();
        self.looked = now;
        let Some(idle) = idle else {
            // The less is known, the less it counts; so the key is left out one day, and its misses tell.
            self.came *= self.left_after(seen);
            return;
        };
        self.came += f64::from(u8::from(idle < seen));
        // Idle times are told in whole seconds.
        self.waited += hours(idle.min(seen).max(Duration::from_millis(500)));
        self.known_until = self.known_until.max(now);
    }

    /// How often it is read in an hour.
    pub fn per_hour(&self, now: DateTime<Utc>) -> f64 {
        let mut until = self.clone();
        until.wait_until(now);
        until.came / until.waited
    }

    /// What is to be remembered of it.
    pub(super) fn remember(&self, now: DateTime<Utc>) -> RememberedReads {
        let mut until = self.clone();
        until.wait_until(now);
        let left = until.left.map(|left| left.timestamp_millis());
        (until.came, until.waited, until.known_until.timestamp_millis(), left)
    }

    /// Goes on with what was remembered then; nobody has waited since.
    pub(super) fn recall(
        (came, waited, known_until, left): RememberedReads,
        half_life: Duration,
        then: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        let time = |millis| DateTime::from_timestamp_millis(millis);
        let known_until = time(known_until).unwrap_or(now).max(now);
        let (came, waited) = (came.max(0.0), waited.max(1e-9));
        let mut reads =
            Reads { came, waited, at: then, half_life, known_until, looked: now, left: left.and_then(time) };
        reads.wait_until(now);
        reads
    }

    /// What is left of it after some time.
    fn left_after(&self, passed: Duration) -> f64 {
        (-passed.as_secs_f64() / self.half_life.as_secs_f64().max(1e-3)).exp2()
    }

    /// In the time since it died nobody came; and all that is known fades.
    fn wait_until(&mut self, now: DateTime<Utc>) {
        let passed = (now - self.at).to_std().unwrap_or_default();
        let left = self.left_after(passed);
        (self.came, self.waited) = (self.came * left, self.waited * left);
        self.waited += (now - self.known_until).to_std().map(hours).unwrap_or_default();
        self.known_until = self.known_until.max(now);
        self.at = self.at.max(now);
    }
}

fn hours(time: Duration) -> f64 {
    time.as_secs_f64() / super::HOUR
}
