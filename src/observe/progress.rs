//! Progress on a terminal: a line for each running job with keys, rate and time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::human_bytes;
use crate::ground::event::{Event, Observer};

/// Shows running jobs on stderr.
#[derive(Debug, Default)]
pub struct ProgressObserver {
    display: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Observer for ProgressObserver {
    fn on(&self, event: &Event<'_>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { job, .. } => {
                let bar = self.display.add(ProgressBar::new_spinner());
                if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {msg}  {per_sec}  {elapsed}") {
                    bar.set_style(style);
                }
                bar.set_prefix((*job).to_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
                running.insert((*job).to_owned(), bar);
            }
            Event::Progress { job, stats } => {
                if let Some(bar) = running.get(*job) {
                    bar.set_position(stats.written);
                    bar.set_message(format!(
                        "{} rows, {} keys, {}",
                        stats.rows,
                        stats.written,
                        human_bytes(stats.bytes)
                    ));
                }
            }
            Event::Finished { report } => {
                if let Some(bar) = running.remove(&report.job) {
                    bar.finish_and_clear();
                }
            }
            Event::Retry { .. } | Event::BadRow { .. } => {}
        }
    }
}
