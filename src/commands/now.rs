//! `warm --now`: runs jobs once, at once.

use std::io::IsTerminal;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{Failure, history, load, report, runner, runtime, select};
use crate::cli::{Common, Now};
use crate::ground::event::Observer;
use crate::ground::exit;
use crate::ground::job::Mode;
use crate::ground::request::{Request, Trigger};
use crate::ground::run::Report;
use crate::history::History;
use crate::observe::{LogObserver, ProgressObserver};

/// Runs the jobs and reports; the exit code is that of the failed job with the highest priority.
pub fn run(common: &Common, now: &Now) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let jobs = select(&loaded.settings, &now.jobs)?;
    let request = Request {
        trigger: Trigger::Manual,
        mode: now.missing.then_some(Mode::Missing),
        dry_run: now.dry_run,
        accept: now.accept,
    };
    let mut runner = runner(&loaded.settings, observer())?;
    let (reports, signal) = runtime()?.block_on(async {
        runner.history = Some(history(&loaded.settings, &runner, request.dry_run));
        let runner = Arc::new(runner);
        let (stop, stopped) = watch::channel(false);
        let signal = tokio::spawn(stop_on_signal(stop));
        let reports = runner.run(&jobs, request, stopped).await;
        tokio::join!(runner.source.close(), flush(runner.history.as_ref()));
        signal.abort();
        (reports, signal.await.ok())
    });
    let code = signal.map_or_else(|| exit_code(&reports), |number| 128 + number);
    report::print(&reports, &request, common.json, code);
    Ok(code)
}

async fn flush(history: Option<&History>) {
    if let Some(history) = history {
        history.flush().await;
    }
}

/// The exit code of several reports: that of the failed job with the highest priority.
fn exit_code(reports: &[Report]) -> u8 {
    let failed = reports.iter().filter_map(|report| Some((report.priority, report.failure.as_ref()?)));
    // Of equal priorities the first, as in the order of running.
    let worst = failed.rev().max_by_key(|(priority, _)| *priority);
    worst.map_or(exit::OK, |(_, failure)| failure.kind.consequence().exit)
}

fn observer() -> Arc<dyn Observer> {
    let log = LogObserver::default();
    if std::io::stderr().is_terminal() { Arc::new(ProgressObserver::around(log)) } else { Arc::new(log) }
}

/// Waits for SIGINT or SIGTERM, asks the runs to stop and returns the signal's number. A second signal ends the process at once.
async fn stop_on_signal(stop: watch::Sender<bool>) -> u8 {
    let (Ok(interrupt), Ok(terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        // Without handlers the signals end the process at once, which is right too.
        return std::future::pending().await;
    };
    let mut signals = Signals { interrupt, terminate };
    let number = signals.next().await;
    // Runs that have ended already need no word.
    let _ = stop.send(true);
    tokio::spawn(async move { std::process::exit(i32::from(128 + signals.next().await)) });
    number
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// The number of the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::ground::error::{Error, ErrorKind};
    use crate::ground::run::Stats;

    #[test]
    fn the_job_with_the_highest_priority_decides() {
        let report = |priority, kind: Option<ErrorKind>| Report {
            job: String::new(),
            file: PathBuf::new(),
            priority,
            stats: Stats::default(),
            took: Duration::ZERO,
            failure: kind.map(|kind| Error::new(kind, "")),
            sample: Vec::new(),
            swept_sample: Vec::new(),
        };
        assert_eq!(exit_code(&[report(9, None)]), 0);
        let reports = [
            report(9, None),
            report(5, Some(ErrorKind::RedisFull)),
            report(5, Some(ErrorKind::RedisRefused)),
            report(1, Some(ErrorKind::Query)),
        ];
        assert_eq!(exit_code(&reports), exit::GUARD);
    }
}
