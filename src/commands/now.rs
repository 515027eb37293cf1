//! `warm --now`: runs jobs once, at once.

use std::io::IsTerminal;
use std::sync::Arc;

use super::{Failure, history, load, report, runner, runtime, select_to_run, signals};
use crate::cli::{Common, Now};
use crate::ground::event::Observer;
use crate::ground::exit;
use crate::ground::job::Mode;
use crate::ground::request::{Purpose, Request, Scope, Trigger};
use crate::ground::run::Report;
use crate::observe::{LogObserver, ProgressObserver};

/// Runs the jobs and reports; the exit code is that of the failed job with the highest priority.
pub fn run(common: &Common, now: &Now) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let jobs = select_to_run(&loaded.settings, &now.jobs)?;
    let request = Request {
        trigger: Trigger::Manual,
        due: None,
        scope: Scope::All,
        mode: now.missing.then_some(Mode::Missing),
        purpose: if now.dry_run { Purpose::DryRun } else { Purpose::Write },
        accept: now.accept,
    };
    let mut runner = runner(&loaded.settings, observer())?;
    let (reports, caught) = runtime()?.block_on(async {
        runner.history = Some(history(&loaded.settings, &runner, now.dry_run));
        let runner = Arc::new(runner);
        let (stopped, caught) = signals::catch(false, &[|_| true]);
        let reports = runner.run(&jobs, request.clone(), stopped).await;
        runner.close().await;
        (reports, caught)
    });
    let code = caught.exit_code().unwrap_or_else(|| exit_code(&reports));
    let left_out: Vec<_> = loaded.settings.jobs.iter().filter(|_| now.jobs.is_empty()).collect();
    report::print(&reports, &left_out, now.dry_run, common.json, code);
    Ok(code)
}

/// The exit code of several reports: that of the failed job with the highest priority.
pub(super) fn exit_code(reports: &[Report]) -> u8 {
    let failed = reports.iter().filter_map(|report| Some((report.priority, report.failure.as_ref()?)));
    // Of equal priorities the first, as in the order of running.
    let worst = failed.rev().max_by_key(|(priority, _)| *priority);
    worst.map_or(exit::OK, |(_, failure)| failure.kind.consequence().exit)
}

pub(super) fn observer() -> Arc<dyn Observer> {
    let log = LogObserver::default();
    if std::io::stderr().is_terminal() { Arc::new(ProgressObserver::around(log)) } else { Arc::new(log) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::ground::drift::Drift;
    use crate::ground::error::{Error, ErrorKind};
    use crate::ground::refresh::Kept;
    use crate::ground::run::Stats;

    #[test]
    fn the_job_with_the_highest_priority_decides() {
        let report = |priority, kind: Option<ErrorKind>| Report {
            job: String::new(),
            file: PathBuf::new(),
            priority,
            trigger: Trigger::Manual,
            stats: Stats::default(),
            took: Duration::ZERO,
            failure: kind.map(|kind| Error::new(kind, "")),
            whole: true,
            sample: Vec::new(),
            swept_sample: Vec::new(),
            drift: Drift::default(),
            kept: Kept::default(),
            lost_until: None,
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
