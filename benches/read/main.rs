//! How long one who asks waits for a value: from Redis itself, and through `warm serve`. `benches/read/run` starts it.
//!
//! ```text
//! read redis SOCKET KEYS    GETs the keys in the file KEYS from Redis, one after the other
//! read http SOCKET KEYS     the same through GET /keys/{key}, over one connection
//! ```
//!
//! Prints the number of reads, and of the time of each the median, p99 and the longest in microseconds; then how many came from where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

fn main() {
    // Cargo says `--bench` to every benchmark, and starts all of them if none is named.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [protocol, socket, keys] = &arguments[..] else {
        eprintln!("read: benches/read/run starts it");
        return;
    };
    let keys = fs::read_to_string(keys).expect("a file with keys");
    let mut stream = BufReader::new(UnixStream::connect(socket).expect("somebody listens"));
    let (mut times, mut levels) = (Vec::new(), BTreeMap::<String, usize>::new());
    for key in keys.lines() {
        let start = Instant::now();
        let level = match protocol.as_str() {
            "redis" => redis(&mut stream, key),
            _ => http(&mut stream, key),
        };
        times.push(start.elapsed());
        *levels.entry(level).or_default() += 1;
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    let levels: Vec<_> = levels.iter().map(|(level, count)| format!("{count} {level}")).collect();
    println!("{} {} {} {} {}", times.len(), at(0.5), at(0.99), at(1.0), levels.join(", "));
}

fn redis(stream: &mut BufReader<UnixStream>, key: &str) -> String {
    write!(stream.get_mut(), "*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).unwrap();
    let mut head = String::new();
    stream.read_line(&mut head).unwrap();
    let length: usize = head.trim().strip_prefix('$').and_then(|length| length.parse().ok()).expect("a value");
    stream.read_exact(&mut vec![0; length + 2]).unwrap();
    "redis itself".to_owned()
}

fn http(stream: &mut BufReader<UnixStream>, key: &str) -> String {
    write!(stream.get_mut(), "GET /keys/{key} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut length, mut level) = (0, String::new());
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if let Some(number) = line.strip_prefix("content-length: ") {
            length = number.parse().unwrap();
        } else if let Some(name) = line.strip_prefix("x-warm-from: ") {
            level = name.to_owned();
        } else if line.is_empty() {
            break;
        }
    }
    assert!(!level.is_empty(), "no value");
    stream.read_exact(&mut vec![0; length]).unwrap();
    level
}
