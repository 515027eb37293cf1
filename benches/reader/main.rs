//! An application that reads from a cache 500 times in a second, and tells how long it waited.
//!
//! `benches/reader/run` starts it, and says on its standard input when to count:
//!
//! ```text
//! reader SOCKET    puts keys of its own into database 1, says what it can tell apart, and begins to read
//! begin, end       what is asked between the two counts
//! report           answers with the number of reads, the median, p99 and the longest, in microseconds, and forgets them
//! ```
//!
//! A read that comes due while the one before is not answered yet counts from when it was due: an application does not stop asking because the cache is
//! slow. One for which the reader woke up late counts from then on, since that was not the cache.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Between two reads.
const PAUSE: Duration = Duration::from_millis(2);
/// How many keys are read, one after the other.
const KEYS: usize = 1000;
/// How long a value is, in bytes.
const LENGTH: usize = 730;

fn main() {
    // Cargo says `--bench` to every benchmark, and starts all of them if none is named.
    let Some(path) = std::env::args().skip(1).find(|argument| argument != "--bench") else {
        eprintln!("reader: benches/reader/run starts it");
        return;
    };
    let mut redis = Reader::new(UnixStream::connect(path).expect("Redis listens"));
    redis.stream.write_all(b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n").unwrap();
    redis.expect(b"+OK\r\n");
    let value = "v".repeat(LENGTH);
    for key in 0..KEYS {
        let name = name(key);
        write!(redis.stream, "*3\r\n$3\r\nSET\r\n${}\r\n{name}\r\n${LENGTH}\r\n{value}\r\n", name.len()).unwrap();
        redis.expect(b"+OK\r\n");
    }
    resolution(&value);
    let counts = Arc::new(AtomicBool::new(false));
    let orders = orders(Arc::clone(&counts));
    read(&mut redis, &value, &counts, &orders);
}

fn name(key: usize) -> String {
    format!("reader:{key:03}")
}

/// One connection, on which a question is asked when the last one has been answered.
struct Reader {
    stream: UnixStream,
    answer: Vec<u8>,
}

impl Reader {
    fn new(stream: UnixStream) -> Reader {
        Reader { stream, answer: Vec::new() }
    }

    /// Reads this answer. Another one is noticed at its first bytes: it may be shorter.
    fn expect(&mut self, answer: &[u8]) {
        self.answer.resize(answer.len(), 0);
        let mut read = 0;
        while read < answer.len() {
            let more = self.stream.read(&mut self.answer[read..]).expect("an answer");
            assert!(more > 0, "the connection has ended");
            read += more;
            let (found, wanted) = (&self.answer[..read], &answer[..read]);
            assert!(found == wanted, "another answer: {}", String::from_utf8_lossy(found));
        }
    }

    fn get(&mut self, key: usize, answer: &[u8]) {
        let name = name(key);
        let question = format!("*2\r\n$3\r\nGET\r\n${}\r\n{name}\r\n", name.len());
        self.stream.write_all(question.as_bytes()).expect("Redis takes a question");
        self.expect(answer);
    }
}

fn answer(value: &str) -> Vec<u8> {
    format!("${LENGTH}\r\n{value}\r\n").into_bytes()
}

/// Reads until the standard input ends.
fn read(redis: &mut Reader, value: &str, counts: &AtomicBool, orders: &Receiver<()>) {
    let answer = answer(value);
    let mut waits = Waits::default();
    let mut due = Instant::now();
    for key in (0..KEYS).cycle() {
        due += PAUSE;
        let wait = timed(due, || redis.get(key, &answer));
        if counts.load(Ordering::Relaxed) {
            waits.0.push(wait);
        }
        match orders.try_recv() {
            Ok(()) => println!("{}", std::mem::take(&mut waits).told()),
            Err(std::sync::mpsc::TryRecvError::Empty) => {}
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
        }
    }
}

/// Waits until the question is due, asks it, and says how long the answer took.
fn timed(due: Instant, ask: impl FnOnce()) -> Duration {
    let mut start = due;
    if let Some(early) = due.checked_duration_since(Instant::now()) {
        thread::sleep(early);
        start = Instant::now();
    }
    ask();
    start.elapsed()
}

/// Obeys the standard input: whether reads count, and a message for each report that is wanted.
fn orders(counts: Arc<AtomicBool>) -> Receiver<()> {
    let (report, orders) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            match line.expect("text").as_str() {
                "begin" => counts.store(true, Ordering::Relaxed),
                "end" => counts.store(false, Ordering::Relaxed),
                "report" => report.send(()).expect("the reader reads"),
                other => panic!("no such order: {other}"),
            }
        }
    });
    orders
}

/// Says how long a read takes from somebody who has the answer at hand, a thread of our own: nothing shorter can be told.
fn resolution(value: &str) {
    let (ours, mut theirs) = UnixStream::pair().expect("two sockets");
    let at_hand = answer(value);
    let echo = at_hand.clone();
    thread::spawn(move || {
        let mut question = [0; 64];
        while theirs.read(&mut question).is_ok_and(|length| length > 0) {
            theirs.write_all(&echo).expect("the reader takes it");
        }
    });
    let mut reader = Reader::new(ours);
    let mut waits = Waits::default();
    let mut due = Instant::now();
    for key in 0..KEYS {
        due += PAUSE;
        waits.0.push(timed(due, || reader.get(key, &at_hand)));
    }
    println!("{}", waits.told());
}

/// How long each read took.
#[derive(Default)]
struct Waits(Vec<Duration>);

impl Waits {
    fn told(mut self) -> String {
        self.0.sort_unstable();
        let share = |percent: usize| {
            let place = (self.0.len() * percent).div_ceil(100).max(1) - 1;
            self.0.get(place).map_or(0, Duration::as_micros)
        };
        format!("{} {} {} {}", self.0.len(), share(50), share(99), share(100))
    }
}
