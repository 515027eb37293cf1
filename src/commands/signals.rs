//! The signals that end a command, step by step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::service::Stop;

/// Which signal came first.
#[derive(Debug, Clone, Default)]
pub(super) struct Caught(Arc<AtomicU8>);

impl Caught {
    /// The exit code of a process that a signal has ended, if one came.
    pub(super) fn exit_code(&self) -> Option<u8> {
        let number = self.0.load(Ordering::Relaxed);
        (number > 0).then_some(128 + number)
    }
}

/// What is watched from a signal of this name on.
pub(super) type Step<T> = fn(&'static str) -> T;

/// Catches SIGINT and SIGTERM from now on: each one takes what is watched a step further, the one after the last step ends the process at once.
///
/// # Panics
/// Outside of a Tokio runtime.
pub(super) fn catch<T: Copy + Send + Sync + 'static>(
    before: T,
    steps: &'static [Step<T>],
) -> (watch::Receiver<T>, Caught) {
    let (stop, stopped) = watch::channel(before);
    let caught = Caught::default();
    // Without handlers the signals end the process at once, which is right, too.
    if let (Ok(interrupt), Ok(terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        tokio::spawn(take_steps(interrupt, terminate, stop, steps, caught.clone()));
    }
    (stopped, caught)
}

/// Does some work unless the first of the signals comes before it is done.
pub(super) async fn unless_stopped<T>(stopped: &watch::Receiver<Stop>, work: impl Future<Output = T>) -> Option<T> {
    let mut stopped = stopped.clone();
    tokio::select! {
        biased;
        Ok(_) = stopped.wait_for(|stop| *stop > Stop::No) => None,
        done = work => Some(done),
    }
}

async fn take_steps<T>(
    mut interrupt: Signal,
    mut terminate: Signal,
    stop: watch::Sender<T>,
    steps: &[Step<T>],
    Caught(first): Caught,
) where
    T: Copy,
{
    let mut steps = steps.iter();
    loop {
        let (number, name) = tokio::select! {
            _ = interrupt.recv() => (2, "SIGINT"),
            _ = terminate.recv() => (15, "SIGTERM"),
        };
        let _ = first.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        match steps.next() {
            Some(step) => stop.send_replace(step(name)),
            None => std::process::exit(i32::from(128 + number)),
        };
    }
}
