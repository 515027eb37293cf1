//! Log lines in systemd's journal, where each field can be asked for: `journalctl WARM_JOB=event-lists`.
//!
//! `tracing-journald` would do it, but sends without a time limit: a journal that has stopped would stop every job at its next line. What is sent is
//! described at <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::fields::Fields;
use super::stderr::{PATIENCE, stderr};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";
/// The longest value in bytes: the whole has to fit into one datagram.
const LONGEST: usize = 32 << 10;

/// Sends them.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    /// Whether the last line was not taken: then the next one does not wait.
    stuck: AtomicBool,
}

impl Journal {
    /// # Errors
    /// If nobody listens there.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let journal = Journal { socket, path: path.to_owned(), stuck: AtomicBool::new(false) };
        // The journal passes over what is empty.
        journal.send(&[])?;
        Ok(journal)
    }

    /// Sends an entry; while none is taken, without waiting.
    fn send(&self, entry: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(entry, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => {
                    if self.stuck.swap(sent.is_err(), Ordering::Relaxed) != sent.is_err() {
                        self.socket.set_nonblocking(sent.is_err())?;
                    }
                    return sent.map(drop);
                }
            }
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let (metadata, fields) = (event.metadata(), Fields::of(event));
        if self.send(&entry(*metadata.level(), metadata.target(), &fields)).is_err() {
            // Perhaps somebody reads there. A log that cannot be written must not end the program.
            let _ = stderr().write_all(format!("{}\n", fields.message).as_bytes());
        }
    }
}

fn entry(level: Level, target: &str, fields: &Fields) -> Vec<u8> {
    let priority = match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let mut entry = Vec::new();
    put(&mut entry, "MESSAGE", &fields.message);
    put(&mut entry, "PRIORITY", priority);
    put(&mut entry, "SYSLOG_IDENTIFIER", "warm");
    put(&mut entry, "TARGET", target);
    for (name, value) in &fields.others {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name = format!("WARM_{}", name.chars().map(letter).collect::<String>());
        match value {
            Value::String(text) => put(&mut entry, &name, text),
            other => put(&mut entry, &name, &other.to_string()),
        }
    }
    entry
}

/// A value of one line stands behind `=`; any other with its length before it.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(LONGEST)];
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn an_entry_is_what_the_journal_reads() {
        let others = vec![("job", "events".into()), ("keys", 3.into()), ("db.statement", "a\nb".into())];
        let fields = Fields { message: "events: done".to_owned(), others };
        assert_eq!(
            entry(Level::INFO, "here", &fields),
            b"MESSAGE=events: done\nPRIORITY=6\nSYSLOG_IDENTIFIER=warm\nTARGET=here\nWARM_JOB=events\nWARM_KEYS=3\n\
              WARM_DB_STATEMENT\n\x03\0\0\0\0\0\0\0a\nb\n"
        );
        let long = Fields { message: "é".repeat(LONGEST), others: Vec::new() };
        assert!(entry(Level::INFO, "", &long).len() < LONGEST + 100);
    }

    #[test]
    fn nobody_waits_for_long_for_a_journal_that_has_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Journal::at(&path).is_err(), "nobody listens");
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let start = Instant::now();
        let taken = (0..100_000).take_while(|_| journal.send(&[b'x'; 1000]).is_ok()).count();
        assert!(taken > 0);
        let full = start.elapsed();
        assert!((0..1000).all(|_| journal.send(b"x").is_err()));
        assert!(start.elapsed() - full < Duration::from_secs(1), "each one waits");
        let mut buffer = [0; 2000];
        for _ in 0..=taken {
            listener.recv(&mut buffer).unwrap();
        }
        journal.send(b"y").unwrap();
        assert_eq!((listener.recv(&mut buffer).unwrap(), buffer[0]), (1, b'y'));
    }
}
