//! What is logged. The job stands in the message, for people, and as a field, for machines: `docs/json.md` lists the fields. A failure is logged once, here.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::SecondsFormat;
use tracing::{debug, error, info, warn};

use super::counted;
use super::followed::FollowedLog;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::{Event, Observer};
use crate::ground::hold::Hold;
use crate::ground::job::Job;
use crate::ground::passed::{Passed, Reason};
use crate::ground::request::Trigger;
use crate::ground::run::{Report, Stats};
use crate::ground::show::visible;
use crate::ground::watch::Seen;

/// How many skipped rows of one run are described; all are counted.
const DESCRIBED_ROWS: u64 = 5;

/// How long nothing is said of a slow Redis after it was said of any job.
const SLOW: Duration = Duration::from_secs(600);

/// How long nothing is said of values that cannot be verified after it was said of the same job.
const DOUBT: Duration = Duration::from_secs(600);

/// How long nothing is said of keys that were asked for in vain after it was said of one.
pub(super) const UNREAD: Duration = Duration::from_secs(10);

/// The same of a job that waits for the database.
const WAITS: Duration = Duration::from_secs(600);

/// The same of a job that gets no further connection.
const REFUSED: Duration = Duration::from_secs(600);

/// How much is shown of a key that was asked for, in letters.
const KEY: usize = 200;

/// Writes events to the log.
#[derive(Debug, Default)]
pub struct LogObserver {
    skipped: Mutex<HashMap<String, u64>>,
    unshared: Mutex<HashSet<String>>,
    unguarded: AtomicBool,
    leaseless: AtomicBool,
    loadless: AtomicBool,
    /// When it was told last of each job that it waits.
    waits: Mutex<HashMap<String, Instant>>,
    /// When it was told last of each job that it got no further connection.
    refused: Mutex<HashMap<String, Instant>>,
    /// When it was told last of each job that values cannot be verified.
    doubts: Mutex<HashMap<String, Instant>>,
    /// When it was told last that somebody asked for a key in vain.
    unread: Mutex<Option<Instant>>,
    /// When it was told last that not all was deleted that somebody asked for.
    undeleted: Mutex<Option<Instant>>,
    /// When it was told last that Redis is slow.
    slow: Mutex<Option<Instant>>,
    followed: FollowedLog,
}

impl Observer for LogObserver {
    fn on(&self, event: &Event<'_>) {
        match event {
            // Several times in each life of a key: only who wants to see everything sees these.
            Event::Started { job, trigger } if is_frequent(*trigger) => {
                debug!(job, trigger = %trigger.name(), "{job}: started");
            }
            Event::Started { job, trigger } => info!(job, trigger = %trigger.name(), "{job}: started"),
            Event::Progress { .. } | Event::Read { .. } | Event::Looked { .. } | Event::InvalidationRefused => {}
            Event::Invalidated { set, keys, took } => self.invalidated(set, *keys, *took),
            Event::Invalidates { sets: [] } => {}
            Event::Invalidates { sets } => {
                debug!("deleting what is asked for of {}", counted(sets.len() as u64, "set", "sets"))
            }
            Event::NotWrittenAgain { key, reason } => {
                debug!("the key {} could not be written again, and is deleted: {reason}", shown(key))
            }
            Event::ReadFailed { job, key, error } => self.read_failed(*job, key, error),
            Event::Followed(followed) => self.followed.log(followed),
            Event::Predicted { job, filled, none, failed } => predicted(job, *filled, *none, *failed),
            Event::Deaf { error } => {
                warn!(kind = ?error.kind, "nothing is learned of what is missed (predict): {error}");
            }
            Event::NoIdleTimes { error } => {
                warn!(kind = ?error.kind, "nobody can tell which warmed keys are still read (predict): {error}");
            }
            Event::Retry { job, error, attempt } => {
                warn!(job, attempt, kind = ?error.kind, "{job}: {error}; attempt {attempt} follows");
            }
            Event::Waiting { job, hold } => self.waiting(job, hold),
            Event::LoadUnknown { error } => self.load_unknown(error),
            Event::MakesDo { job, error } => self.makes_do(job, error),
            Event::BadRow { job, reason } => self.bad_row(job, reason),
            Event::Doubt { job, reason } => self.doubt(job, reason),
            Event::Disabled { job, reason } => info!(job, "{job}: disabled: {reason}"),
            Event::Unwise { warning } => warn!("{warning}"),
            Event::History { problem } => warn!("{problem}"),
            Event::WithoutHistory { job, what } => warn!(job, "{job}: without the run history {what}"),
            Event::Unguarded { job } => self.unguarded(job),
            Event::GivesWay { job, took } => self.gives_way(job, *took),
            Event::Passed { passed } => self::passed(passed),
            Event::WithoutLease { reason } => self.without_lease(reason),
            Event::NotShared { job, error } => self.not_shared(job, error),
            Event::Cache { seen } => cache(seen),
            Event::Reloaded { jobs } => {
                let jobs = jobs.len();
                info!(jobs, "the configuration was read again: {}", counted(jobs as u64, "job", "jobs"));
            }
            Event::Stale { job, stale } => warn!(job, "{job}: stale: {stale}"),
            Event::NotStale { job } => info!(job, "{job}: no longer stale"),
            Event::Behind { job, took } => behind(job, *took),
            Event::Paused { job, until } => {
                let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
                info!(job, until, "{job}: paused until {until}");
            }
            Event::Resumed { job } => info!(job, "{job}: goes on after its pause"),
            Event::Unpaused { problem } => warn!("no job is taken for paused: {problem}"),
            Event::Serving { file, jobs } => {
                let (version, file) = (env!("CARGO_PKG_VERSION"), file.display());
                info!(version, %file, jobs, "warm serve {version} begins: {} in {file}", counted(*jobs as u64, "job", "jobs"));
            }
            Event::ListenLater { listen } => {
                let listen = listen.map_or("none".to_owned(), |address| address.to_string());
                warn!(
                    "`listen` in [serve] is \"{listen}\" now, which takes effect at the next start of warm serve; until then all stays as it is"
                );
            }
            Event::Stopping { signal, running, grace } => stopping(*signal, running, *grace),
            Event::Cancelling { signal, running } => {
                let why = signal.unwrap_or("the grace period is over");
                info!(signal, "{why}: what still runs is stopped: {}", running.join(", "));
            }
            Event::Ended => info!("warm serve has ended"),
            Event::Listening { address } => {
                info!(%address, "listening on {address}: http://{address}/healthz, /readyz and /metrics");
            }
            Event::GivesKeys { place } => info!(place, "giving the values of keys at {place}"),
            Event::NotReloaded { reason } => error!("the configuration cannot be used, the one before stays: {reason}"),
            Event::Finished { report } => finished(report),
        }
    }
}

impl LogObserver {
    /// Once for a process: it is the same for each job and each attempt.
    fn unguarded(&self, job: &str) {
        if !self.unguarded.swap(true, Ordering::Relaxed) {
            warn!(
                job,
                "{job}: Redis does not tell this account how full it is (INFO), so that nothing keeps a run from filling it; grant +info (config/redis-acl.conf)"
            );
        }
    }

    /// Not at each refresh: on a busy day there are many. How long each run waited stands in its report.
    fn waiting(&self, job: &str, hold: &Hold) {
        if is_new(&self.waits, job, WAITS) {
            warn!(job, "{job}: waits: {hold}");
        }
    }

    /// Once for a process, too.
    fn load_unknown(&self, error: &Error) {
        if !self.loadless.swap(true, Ordering::Relaxed) {
            warn!(
                kind = ?error.kind,
                "nobody knows how busy PostgreSQL is, and no job waits for that (busy_above, busy_query in [postgres]): {error}"
            );
        }
    }

    /// Once for several connections and runs: it is the same server.
    fn makes_do(&self, job: &str, error: &Error) {
        if is_new(&self.refused, job, REFUSED) {
            let advice = error.kind.consequence().advice;
            warn!(job, kind = ?error.kind, "{job}: makes do with the connections that it has: {error}; advice: {advice}");
        }
    }

    /// Not for each run: there may be one in every second, and it is the same Redis.
    fn gives_way(&self, job: &str, took: Duration) {
        let mut told = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < SLOW) {
            return;
        }
        *told = Some(Instant::now());
        let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        warn!(
            job,
            latency_ms,
            "{job}: Redis is busy (it took {latency_ms} ms for a batch): the run pauses between batches until it is quick again (latency_limit in [redis])"
        );
    }

    /// Not for each of many: who asked is told.
    fn read_failed(&self, job: Option<&str>, key: &[u8], error: &Error) {
        if !is_due(&self.unread, UNREAD) {
            return;
        }
        let of_job = job.map(|job| format!(" of the job {job}")).unwrap_or_default();
        let key = shown(key);
        // What a job's file says cannot be asked for is no fault that the check would find.
        let advice = Some(error.kind.consequence().advice).filter(|_| error.kind != ErrorKind::Definition);
        let advice = advice.map(|advice| format!("; advice: {advice}")).unwrap_or_default();
        warn!(job, kind = ?error.kind, "the key {key}{of_job} was asked for and could not be given: {error}{advice}");
    }

    fn invalidated(&self, set: &str, keys: Result<u64, &Error>, took: Duration) {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match keys {
            Ok(keys) => {
                debug!(
                    keys,
                    milliseconds,
                    "deleted {} of the set {set} in {milliseconds} ms",
                    counted(keys, "key", "keys")
                );
            }
            Err(error) if is_due(&self.undeleted, UNREAD) => {
                let advice = error.kind.consequence().advice;
                warn!(kind = ?error.kind, "not everything of the set {set} was deleted for who asked for it: {error}; advice: {advice}");
            }
            Err(_) => {}
        }
    }

    /// Once for a process, too.
    fn without_lease(&self, reason: &str) {
        if !self.leaseless.swap(true, Ordering::Relaxed) {
            warn!("other instances may run the same jobs at the same time: {reason}");
        }
    }

    /// Once for each job: it is the same for each run, and one that is refreshed ahead has many.
    fn not_shared(&self, job: &str, error: &Error) {
        if self.unshared.lock().unwrap_or_else(PoisonError::into_inner).insert(job.to_owned()) {
            warn!(job, kind = ?error.kind, "{job}: other instances may run it again for the same time: {error}");
        }
    }

    /// Not at each refresh: of rows that change all the time there is one in every life of a provisional value.
    fn doubt(&self, job: &str, reason: &str) {
        if is_new(&self.doubts, job, DOUBT) {
            warn!(job, reason, "{job}: {reason}");
        }
    }

    fn bad_row(&self, job: &str, reason: &str) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let count = skipped.entry(job.to_owned()).or_default();
        *count += 1;
        match *count {
            0..=DESCRIBED_ROWS => warn!(job, "{job}: skipped {reason}"),
            n if n == DESCRIBED_ROWS + 1 => warn!(job, "{job}: further skipped rows are only counted"),
            _ => {}
        }
    }
}

/// A key for people, which may hold anything.
fn shown(key: &[u8]) -> String {
    let key = visible(&String::from_utf8_lossy(key));
    key.chars().take(KEY).chain((key.chars().count() > KEY).then_some('…')).collect()
}

/// Whether it was not told within this time; then it is now.
pub(super) fn is_due(told: &Mutex<Option<Instant>>, pause: Duration) -> bool {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = told.is_none_or(|told| told.elapsed() >= pause);
    if is_due {
        *told = Some(Instant::now());
    }
    is_due
}

/// Whether nothing was told of the job for so long; notes that it is now.
fn is_new(told: &Mutex<HashMap<String, Instant>>, job: &str, silence: Duration) -> bool {
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    let new = told.get(job).is_none_or(|told| told.elapsed() >= silence);
    if new {
        told.insert(job.to_owned(), Instant::now());
    }
    new
}

fn stopping(signal: Option<&str>, running: &[&str], grace: Duration) {
    let why = signal.unwrap_or("told to end");
    if running.is_empty() {
        info!(signal, "{why}: nothing begins any more, and nothing runs");
    } else {
        let (names, grace) = (running.join(", "), humantime::format_duration(grace));
        info!(signal, "{why}: nothing begins any more; waiting for {names}, for {grace} at most");
    }
}

fn behind(job: &Job, took: Duration) {
    let (job, ttl) = (&*job.name, humantime::format_duration(job.ttl.base()));
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // To the tenth of a second.
    let took = humantime::format_duration(Duration::from_millis(milliseconds / 100 * 100));
    warn!(
        job,
        milliseconds,
        "{job}: refreshing took {took}, too long for keys that live for {ttl}, so that they may die before they are written again; \
         make the query quicker, ttl longer, or raise `connections` in [postgres]"
    );
}

fn predicted(job: &str, filled: u64, none: u64, failed: Option<&Error>) {
    let keys = counted(filled, "key that is missed most", "keys that are missed most");
    let none = if none > 0 { format!("; {none} without a row") } else { String::new() };
    match failed {
        None => info!(job, filled, "{job}: also filled {keys}{none}"),
        Some(error) => {
            warn!(job, filled, kind = ?error.kind, "{job}: also filled {keys}{none}; then it ended early: {error}");
        }
    }
}

fn cache(seen: &Seen) {
    match seen {
        Seen::Up => info!("Redis answers"),
        Seen::Down { reason, again: false } => warn!("Redis is away, and no job begins until it is back: {reason}"),
        // Reasons that take turns would fill the log.
        Seen::Down { reason, again: true } => debug!("Redis is still away: {reason}"),
        Seen::Lost(loss) => warn!("{loss}; all jobs run"),
        Seen::Cold => info!("nothing says that this cache was filled before; all jobs run"),
        Seen::Blind { reason } => warn!("{reason}"),
    }
}

fn passed(passed: &Passed) {
    let Passed { job, due, count, reason } = passed;
    let times = counted(*count as u64, "start", "starts");
    let due = due.to_rfc3339_opts(SecondsFormat::Secs, true);
    match reason {
        // That is how it should be.
        Reason::Held | Reason::Elsewhere => {
            info!(job, %due, count, reason = %reason.name(), "{job}: no run for {due}: {reason}");
        }
        Reason::Paused => {
            info!(job, %due, count, reason = %reason.name(), "{job}: {times} without a run, the last one {due}: {reason}");
        }
        _ => {
            warn!(job, %due, count, reason = %reason.name(), "{job}: {times} without a run, the last one {due}: {reason}");
        }
    }
}

/// Whether such runs begin so often that only who wants to see everything sees those that go well.
fn is_frequent(trigger: Trigger) -> bool {
    matches!(trigger, Trigger::RefreshAhead | Trigger::Fill)
}

fn finished(report: &Report) {
    let Report { job, file, stats, took, failure, trigger, .. } = report;
    let often = is_frequent(*trigger);
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let trigger = trigger.name();
    let held_back: String = stats.held_back().map(|words| format!(", {words}")).collect();
    match failure {
        None if often => {
            debug!(job, %trigger, keys = stats.written, queries = stats.queries, milliseconds, "{job}: refreshed{held_back}")
        }
        None => {
            let Stats { written, rows, bytes, swept, .. } = stats;
            info!(job, %trigger, keys = written, rows, bytes, swept, milliseconds, "{job}: done{held_back}");
        }
        Some(why) if why.kind.leaves_it_to_others() && often => {
            debug!(job, %trigger, kind = ?why.kind, "{job}: not refreshed: {why}")
        }
        Some(why) if why.kind.leaves_it_to_others() => info!(job, %trigger, kind = ?why.kind, "{job}: not run: {why}"),
        // Somebody asked for a key that cannot be, and is told: nothing went wrong.
        Some(why) if why.kind == ErrorKind::NoValue && report.trigger == Trigger::Fill => {
            debug!(job, %trigger, kind = ?why.kind, "{job}: nothing to fill: {why}")
        }
        Some(failure) => {
            let (place, advice) = (failure.place(file), failure.kind.consequence().advice);
            error!(
                job,
                %trigger,
                kind = ?failure.kind,
                at = %place,
                keys = stats.written,
                rows = stats.rows,
                attempts = stats.attempts,
                milliseconds,
                "{job}: failed after writing {}{held_back}: {failure}; at {place}; advice: {advice}",
                counted(stats.written, "key", "keys"),
            );
        }
    }
}
