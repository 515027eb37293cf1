//! How often a key is read whose misses do not tell.
//!
//! Reads are taken to come by chance, at a rate that changes slowly (a Poisson process). Who looks at the key, and learns when it was read last, has waited for a read, looking backward: it came
//! after the idle time, or did not come as far back as he can see, which is to the last look or to the key's birth. A miss is a read, too, and what was waited for it is the time since
//! the key died. Of waiting times that are cut off so, the rate that makes them most likely is the number of reads that came, divided by all the time that was waited
//! (the maximum likelihood of a censored exponential: J. F. Lawless, "Statistical Models and Methods for Lifetime Data", chapter 4). Both fade with the half-life, so that the estimate follows a key that becomes more or less popular.
//!
//! A look at a key that is read a thousand times an hour has waited for some seconds only: it weighs little against an hour in which nobody came. So a key that cools down is
//! found out by the next look.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How many reads that were seen an estimate is worth that comes from counted misses: a few looks are to overrule it.
const PRIOR: f64 = 3.0;

/// What a look at a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is there: for how long nobody has read or written it, and how long ago it was written.
    There {
        /// `OBJECT IDLETIME`.
        idle: Duration,
        /// Its lifetime without what is left of it.
        age: Duration,
    },
    /// It is not there, or nobody can say.
    Unknown,
}

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
    /// The last look.
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
    }

    /// Somebody looked at it.
    pub fn looked(&mut self, look: Look, now: DateTime<Utc>) {
        self.wait_until(now);
        let Look::There { idle, age } = look else { return };
        let seen = (now - self.looked).to_std().unwrap_or_default().min(age);
        self.came += f64::from(u8::from(idle < seen));
        self.waited += hours(idle.min(seen).max(Duration::from_millis(500)));
        self.looked = now;
        self.known_until = self.known_until.max(now);
    }

    /// How often it is read in an hour.
    pub fn per_hour(&self, now: DateTime<Utc>) -> f64 {
        let mut until = self.clone();
        until.wait_until(now);
        until.came / until.waited
    }

    /// In the time since it died nobody came; and all that is known fades.
    fn wait_until(&mut self, now: DateTime<Utc>) {
        let passed = (now - self.at).to_std().unwrap_or_default();
        let left = (-passed.as_secs_f64() / self.half_life.as_secs_f64().max(1e-3)).exp2();
        (self.came, self.waited) = (self.came * left, self.waited * left);
        self.waited += (now - self.known_until).to_std().map(hours).unwrap_or_default();
        self.known_until = self.known_until.max(now);
        self.at = self.at.max(now);
    }
}

fn hours(time: Duration) -> f64 {
    time.as_secs_f64() / super::HOUR
}
