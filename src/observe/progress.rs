//! Progress on a terminal: a line for each running job with rows, keys, rate and time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::human_bytes;
use crate::ground::event::{Event, Observer};
use crate::ground::run::Stats;

/// Shows running jobs on stderr, around another observer that may write there, too: its lines appear above the display.
pub struct ProgressObserver<O> {
    inner: O,
    display: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl<O: Observer> ProgressObserver<O> {
    /// A display around `inner`.
    pub fn around(inner: O) -> Self {
        ProgressObserver { inner, display: MultiProgress::new(), running: Mutex::default() }
    }

    fn line(&self) -> ProgressBar {
        let bar = self.display.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {msg}  {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }
}

impl<O: Observer> Observer for ProgressObserver<O> {
    fn on(&self, event: &Event<'_>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { job, .. } => {
                let bar = self.line();
                bar.set_prefix((*job).to_owned());
                running.insert((*job).to_owned(), bar);
            }
            Event::Progress { job, stats } => {
                if let Some(bar) = running.get(*job) {
                    bar.set_message(message(stats, bar.elapsed()));
                }
                // Too frequent to clear the display for.
                return self.inner.on(event);
            }
            Event::Finished { report } => {
                if let Some(bar) = running.remove(&report.job) {
                    bar.finish_and_clear();
                }
            }
            Event::Waiting { .. } | Event::LoadUnknown { .. } | Event::MakesDo { .. } => {}
            Event::Retry { .. } | Event::BadRow { .. } | Event::Doubt { .. } => {}
            Event::Read { .. } | Event::ReadFailed { .. } | Event::GivesKeys { .. } | Event::Followed(_) => {}
            Event::Unwise { .. } | Event::Unguarded { .. } | Event::History { .. } | Event::WithoutHistory { .. } => {}
            Event::WithoutLease { .. } | Event::NotShared { .. } | Event::Cache { .. } | Event::GivesWay { .. } => {}
            Event::Passed { .. } | Event::Reloaded { .. } | Event::NotReloaded { .. } | Event::Listening { .. } => {}
            Event::Serving { .. }
            | Event::ListenLater { .. }
            | Event::Stopping { .. }
            | Event::Cancelling { .. }
            | Event::Ended => {}
            Event::Stale { .. } | Event::NotStale { .. } | Event::Behind { .. } => {}
            Event::Looked { .. } => {}
            Event::Predicted { .. } | Event::Deaf { .. } | Event::NoIdleTimes { .. } => {}
            Event::NotWrittenAgain { .. } => {}
            Event::Invalidated { .. } | Event::InvalidationRefused | Event::Invalidates { .. } => {}
            Event::Paused { .. } | Event::Resumed { .. } | Event::Unpaused { .. } | Event::Disabled { .. } => {}
        }
        self.display.suspend(|| self.inner.on(event));
    }
}

fn message(stats: &Stats, elapsed: Duration) -> String {
    let Stats { rows, written, bytes, .. } = stats;
    let rate = *written as f64 / elapsed.as_secs_f64().max(0.001);
    format!("{rows} rows, {written} keys, {}, {rate:.0} keys/s", human_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_keys_written() {
        let stats = Stats { rows: 3000, written: 1500, bytes: 2048, ..Stats::default() };
        assert_eq!(message(&stats, Duration::from_millis(500)), "3000 rows, 1500 keys, 2.0 KiB, 3000 keys/s");
    }
}
