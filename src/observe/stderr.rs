//! Standard error, as long as somebody reads it.
//!
//! A pipe whose reader has stopped would stop every job at its next log line. So a line waits for a moment only, and the ones after it not at all
//! until somebody reads again; what cannot be written is lost.

use std::io::{self, StderrLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// How long a line may wait.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);
/// So much a pipe takes at once if it takes anything.
const PIECE: usize = 4096;

/// Whether the last line could not be written.
static STUCK: AtomicBool = AtomicBool::new(false);
/// Whether only the beginning of the last line was written.
static TORN: AtomicBool = AtomicBool::new(false);

/// Takes one line, or nothing if nobody reads.
pub(super) struct Stderr {
    lock: StderrLock<'static>,
    begun: bool,
}

/// For one line.
pub(super) fn stderr() -> Stderr {
    Stderr { lock: io::stderr().lock(), begun: false }
}

impl Stderr {
    fn is_writable(&self) -> bool {
        let patience = if STUCK.load(Ordering::Relaxed) { Duration::ZERO } else { PATIENCE };
        let mut stream = [PollFd::new(&self.lock, PollFlags::OUT)];
        // What cannot be waited for is tried: it says itself what is wrong.
        let patience = patience.try_into().ok();
        !matches!(poll(&mut stream, patience.as_ref()), Ok(0))
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_writable() {
            STUCK.store(true, Ordering::Relaxed);
            TORN.fetch_or(self.begun, Ordering::Relaxed);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        STUCK.store(false, Ordering::Relaxed);
        if !self.begun && TORN.swap(false, Ordering::Relaxed) {
            self.lock.write_all(b"\n")?;
        }
        self.begun = true;
        self.lock.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock.flush()
    }
}
