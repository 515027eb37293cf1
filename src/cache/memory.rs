//! The memory guard: warming must not push the application's own keys out of Redis.
//!
//! What Redis has in use, plus what is in flight to it, is held against a share of `maxmemory`. Above it memory is *tight*: a key
//! that is there may get a value of about the same size, a new one is refused. And whatever the share: when Redis evicts clearly more
//! keys than it did before the run, the run ends. Nothing is ever deleted to make room.
//!
//! ```text
//! connect ─ INFO ──────────── INFO batch batch … INFO batch …      in the stream of commands: no round trip
//!             └ evictions before ┘ └ 50 ms or 4 MiB ┘
//! ```
//!
//! Only where what is in flight alone makes the difference does the writer wait for its replies and ask Redis by itself ([`MemoryGuard::doubts`]). INFO
//! is all that is needed: the right to run CONFIG is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::connect::number;
use super::resp;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::show::{counted, human_bytes};

/// How often Redis is asked at least, while it is written to.
const INTERVAL: Duration = Duration::from_millis(50);
/// The same for one without a limit: it may get one.
const UNLIMITED: Duration = Duration::from_secs(1);
/// How old its last answer may be for a batch that is sent when nothing else is: what happened in a pause, no batch of ours has seen.
const OUT_OF_DATE: Duration = Duration::from_millis(250);
/// After how many bytes it is asked at the latest.
const STRIDE: u64 = 4 << 20;
/// What a key with a TTL takes beside its own bytes and those of its value, roughly.
pub const KEY_OVERHEAD: usize = 100;
/// The share of `maxmemory` from which on the evictions before the run are counted with patience.
const NEARLY_FULL: f64 = 0.7;
/// Evictions beyond the usual rate that mean nothing where Redis evicts anyway: a connection's own buffers take as much.
const SPARE_EVICTIONS: f64 = 200.0;

/// Bytes sent to one server, by all writers of this process together.
pub(super) type Sent = Arc<AtomicU64>;

/// What `INFO` says about memory.
#[derive(Debug, Clone, PartialEq)]
struct Memory {
    /// Bytes in use, as far as Redis holds them against its limit.
    used: u64,
    limit: u64,
    evicted: u64,
    uptime: f64,
}

impl Memory {
    /// `None` without a limit, or from a server that does not say.
    fn parse(info: &str) -> Option<Self> {
        let limit = number(info, "maxmemory").filter(|limit| *limit > 0)?;
        // Buffers for replicas and for the append-only file evict nothing.
        let used = number(info, "used_memory")?.saturating_sub(number(info, "mem_not_counted_for_evict").unwrap_or(0));
        let uptime = number(info, "uptime_in_seconds").unwrap_or(0).max(1) as f64;
        Some(Memory { used, limit, evicted: number(info, "evicted_keys").unwrap_or(0), uptime })
    }
}

/// Evictions before and since the first write.
#[derive(Debug)]
struct Evictions {
    /// A second, before the run.
    rate: f64,
    /// The count at a time: of the connection until the run has begun, of its beginning from then on.
    since: (Instant, u64),
    begun: bool,
}

/// The moment at which a batch did not fit.
#[derive(Debug, Clone, PartialEq)]
struct Tight {
    memory: Memory,
    /// Bytes sent since Redis was asked.
    in_flight: u64,
    /// Bytes that the batch may add.
    needed: usize,
}

/// Watches one server for one writer.
#[derive(Debug)]
pub(super) struct MemoryGuard {
    share: f64,
    sent: Sent,
    /// What was seen last; `None` where there is nothing to watch.
    seen: Option<Memory>,
    /// Whether the server says anything; if it has no limit, it may get one.
    speaks: bool,
    /// What had been sent when that was asked for.
    mark: u64,
    /// What had been sent when a question went out that has no answer yet.
    asked: Option<u64>,
    asked_at: Option<Instant>,
    /// The last batch that did not fit.
    tight: Option<Tight>,
    evictions: Evictions,
}

impl MemoryGuard {
    /// Begins with what the server said when the connection was made; without that, or without `maxmemory`, there is nothing to guard.
    pub(super) fn new(share: f64, sent: Sent, info: Option<&str>) -> Self {
        let seen = info.and_then(Memory::parse);
        let (evicted, uptime) = seen.as_ref().map_or((0, 1.0), |memory| (memory.evicted, memory.uptime));
        let evictions = Evictions { rate: evicted as f64 / uptime, since: (Instant::now(), evicted), begun: false };
        let mark = sent.load(Ordering::Relaxed);
        let speaks = info.is_some();
        // A server without a limit need not be asked again at once.
        let asked_at = seen.is_none().then(Instant::now);
        MemoryGuard { share, sent, seen, speaks, mark, asked: None, asked_at, tight: None, evictions }
    }

    /// Guards nothing: for a run that only looks.
    pub(super) fn off() -> Self {
        MemoryGuard::new(1.0, Sent::default(), None)
    }

    /// Asks Redis, if it is time: appends the question to a stream of commands and says whether an answer will come.
    pub(super) fn ask(&mut self, out: &mut Vec<u8>) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        let (interval, stride) = if self.seen.is_some() { (INTERVAL, STRIDE) } else { (UNLIMITED, u64::MAX / 2) };
        let recently = self.asked_at.is_some_and(|at| at.elapsed() < interval) && sent < self.mark + stride;
        if !self.speaks || self.asked.is_some() || recently {
            return false;
        }
        self.ask_now(out);
        true
    }

    /// Asks Redis.
    pub(super) fn ask_now(&mut self, out: &mut Vec<u8>) {
        resp::command(out, 1);
        resp::part(out, b"INFO");
        self.asked = Some(self.sent.load(Ordering::Relaxed));
        self.asked_at = Some(Instant::now());
    }

    /// Whether nothing was heard of Redis for so long that it is better asked before more is sent.
    pub(super) fn is_out_of_date(&self) -> bool {
        self.seen.is_some() && self.asked.is_none() && self.asked_at.is_some_and(|at| at.elapsed() > OUT_OF_DATE)
    }

    /// Notes that so many bytes are on their way.
    pub(super) fn sending(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Takes the answer, or what a new connection was told.
    ///
    /// # Errors
    /// [`ErrorKind::RedisEvicts`]: the run has to end.
    pub(super) fn observe(&mut self, info: &str) -> Result<(), Error> {
        self.mark = self.asked.take().unwrap_or_else(|| self.sent.load(Ordering::Relaxed));
        self.seen = Memory::parse(info);
        self.speaks = !info.is_empty();
        match &self.seen {
            Some(memory) => self.evictions.judge(memory),
            None => Ok(()),
        }
    }

    /// How long to wait before the first write, where Redis is nearly full and evicts: else too little would be known of its usual rate.
    pub(super) fn patience(&self) -> Duration {
        let (since, evicted) = self.evictions.since;
        let full = self.seen.as_ref().is_some_and(|memory| memory.used as f64 > memory.limit as f64 * NEARLY_FULL);
        if self.evictions.begun || evicted == 0 || !full {
            return Duration::ZERO;
        }
        INTERVAL.saturating_sub(since.elapsed())
    }

    /// Whether so many bytes more fit by what was seen last, but perhaps not with what has been sent since.
    pub(super) fn doubts(&self, bytes: usize) -> bool {
        !self.is_tight(bytes) && self.exceeds(bytes as u64 + self.in_flight())
    }

    fn in_flight(&self) -> u64 {
        self.sent.load(Ordering::Relaxed).saturating_sub(self.mark)
    }

    /// Whether so many bytes more do not fit.
    pub(super) fn is_tight(&self, bytes: usize) -> bool {
        self.exceeds(bytes as u64)
    }

    /// The same about a batch that is about to be sent: remembered for what is said at the end of the run.
    pub(super) fn is_tight_for(&mut self, batch: usize) -> bool {
        let memory = self.seen.clone().filter(|_| self.is_tight(batch));
        let tight = memory.map(|memory| Tight { memory, in_flight: self.in_flight(), needed: batch });
        let is_tight = tight.is_some();
        self.tight = tight.or(self.tight.take());
        is_tight
    }

    fn exceeds(&self, more: u64) -> bool {
        self.seen.as_ref().is_some_and(|memory| (memory.used + more) as f64 > memory.limit as f64 * self.share)
    }

    /// The failure of a run for some of whose keys there was no room.
    pub(super) fn refusal(&self, keys: u64) -> Error {
        let why = self.tight.as_ref().map(|Tight { memory, in_flight, needed }| {
            format!(
                ": a batch needed {}, with {} in use and {} on their way, and memory_limit allows {} ({} % of {}); \
                 beyond it only keys that are there get a new value of about the same size",
                human_bytes(*needed as u64),
                human_bytes(memory.used),
                human_bytes(*in_flight),
                human_bytes((memory.limit as f64 * self.share) as u64),
                self.share * 100.0,
                human_bytes(memory.limit)
            )
        });
        let message = format!("no room for {}{}", counted(keys, "key", "keys"), why.unwrap_or_default());
        Error::new(ErrorKind::RedisTight, message)
    }
}

impl Evictions {
    fn judge(&mut self, memory: &Memory) -> Result<(), Error> {
        let (start, count) = self.since;
        let (elapsed, evicted) = (start.elapsed(), memory.evicted.saturating_sub(count));
        if !self.begun {
            let recent = evicted as f64 / elapsed.max(INTERVAL).as_secs_f64();
            *self = Evictions { rate: self.rate.max(recent), since: (Instant::now(), memory.evicted), begun: true };
            return Ok(());
        }
        let spare = if self.rate > 0.0 { SPARE_EVICTIONS } else { 0.0 };
        if evicted as f64 <= 2.0 * self.rate * elapsed.as_secs_f64() + spare {
            return Ok(());
        }
        let message = format!(
            "Redis has evicted {} in {:.1} s of writing, {:.1} a second before: {}",
            counted(evicted, "key", "keys"),
            elapsed.as_secs_f64(),
            self.rate,
            figures(memory)
        );
        Err(Error::new(ErrorKind::RedisEvicts, message))
    }
}

fn figures(memory: &Memory) -> String {
    let percent = memory.used.saturating_mul(100) / memory.limit.max(1);
    format!("Redis uses {} of {} ({percent} %)", human_bytes(memory.used), human_bytes(memory.limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(used: u64, evicted: u64) -> String {
        format!(
            "# Server\r\nuptime_in_seconds:100\r\n# Memory\r\nused_memory:{}\r\nused_memory_human:9M\r\nmaxmemory:1000000\r\n\
             mem_not_counted_for_evict:500\r\n# Stats\r\nevicted_keys:{evicted}\r\n",
            used + 500
        )
    }

    fn guard(used: u64, evicted: u64) -> MemoryGuard {
        MemoryGuard::new(0.8, Sent::default(), Some(&info(used, evicted)))
    }

    #[test]
    fn what_replicas_buffer_does_not_count_and_without_a_limit_nothing_does() {
        let memory = Memory::parse(&info(700, 3)).unwrap();
        assert_eq!(memory, Memory { used: 700, limit: 1_000_000, evicted: 3, uptime: 100.0 });
        assert_eq!(Memory::parse("used_memory:1\r\nmaxmemory:0\r\n"), None);
        let mut none = MemoryGuard::new(0.8, Sent::default(), None);
        assert!(!none.ask(&mut Vec::new()) && !none.is_tight(usize::MAX / 2) && !none.doubts(usize::MAX / 2));
    }

    #[test]
    fn only_what_is_in_flight_raises_a_doubt_and_an_answer_settles_it() {
        let mut guard = guard(700_000, 0);
        assert!(!guard.doubts(100_000) && !guard.is_tight(100_000));
        assert!(guard.is_tight(100_001), "in flight counts, the batch at hand included");
        guard.sending(60_000);
        assert!(guard.doubts(50_000) && !guard.is_tight(50_000));
        guard.ask_now(&mut Vec::new());
        guard.sending(10_000);
        guard.observe(&info(700_000, 0)).unwrap();
        assert!(!guard.doubts(90_000), "what was sent before the question is in its answer");
        assert!(guard.doubts(90_001), "what was sent after it is not");
        guard.observe(&info(800_001, 0)).unwrap();
        assert!(guard.is_tight(0) && !guard.doubts(0));
    }

    #[test]
    fn what_is_refused_below_the_limit_is_explained() {
        let mut guard = guard(790_000, 0);
        guard.sending(2048);
        assert!(guard.is_tight_for(20_480), "79 % are in use, and 81 % would be");
        assert!(!guard.is_tight_for(1024));
        guard.observe(&info(100_000, 0)).unwrap();
        assert_eq!(
            guard.refusal(12).message,
            "no room for 12 keys: a batch needed 20.0 KiB, with 771.5 KiB in use and 2.0 KiB on their way, and memory_limit allows 781.2 KiB \
             (80 % of 976.6 KiB); beyond it only keys that are there get a new value of about the same size",
            "what counts is the moment at which it was refused"
        );
    }

    #[test]
    fn it_is_asked_once_at_a_time_and_again_after_some_bytes() {
        let (mut guard, mut out) = (guard(0, 0), Vec::new());
        assert!(guard.ask(&mut out));
        assert_eq!(out, b"*1\r\n$4\r\nINFO\r\n");
        guard.sending(8 << 20);
        assert!(!guard.ask(&mut out), "there is no answer yet");
        guard.observe(&info(0, 0)).unwrap();
        assert!(guard.ask(&mut out));
        guard.observe(&info(0, 0)).unwrap();
        assert!(!guard.ask(&mut out));
        std::thread::sleep(INTERVAL);
        assert!(guard.ask(&mut out));
    }

    #[test]
    fn a_limit_that_is_set_in_mid_run_counts() {
        let mut guard = MemoryGuard::new(0.8, Sent::default(), Some("used_memory:900000\r\nmaxmemory:0\r\n"));
        assert!(!guard.ask(&mut Vec::new()), "it has just been asked");
        guard.asked_at = Some(Instant::now() - UNLIMITED);
        assert!(guard.ask(&mut Vec::new()), "it may have got one since");
        guard.observe("used_memory:900000\r\nmaxmemory:0\r\n").unwrap();
        assert!(!guard.ask(&mut Vec::new()) && !guard.is_tight(1), "not every time");
        guard.observe(&info(900_000, 0)).unwrap();
        assert!(guard.is_tight(1));
        guard.observe("").unwrap();
        assert!(!guard.ask(&mut Vec::new()), "the right to ask is gone");
    }

    #[test]
    fn the_first_eviction_ends_a_run_unless_redis_evicts_anyway() {
        let mut quiet = guard(0, 0);
        quiet.observe(&info(0, 0)).unwrap();
        let error = quiet.observe(&info(0, 1)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::RedisEvicts);
        assert!(
            error.message.starts_with("Redis has evicted 1 key in 0.0 s of writing, 0.0 a second before"),
            "{error}"
        );

        let mut busy = guard(800_000, 100_000);
        assert!(busy.patience() > Duration::ZERO);
        busy.observe(&info(0, 100_010)).unwrap();
        assert_eq!(busy.patience(), Duration::ZERO);
        busy.observe(&info(0, 100_200)).unwrap();
        busy.observe(&info(0, 110_000)).unwrap_err();
    }
}
