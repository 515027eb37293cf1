//! `warm --due`: runs what has come due since its last run, once, and ends: for a systemd timer or cron.

use super::now::{exit_code, observer};
use super::setup::setup;
use super::{Failure, load, report, runtime, signals};
use crate::cli::Common;
use crate::service::{Daemon, Stop};

/// Runs what is due and reports; the exit code is that of the failed job with the highest priority.
pub fn run(common: &Common) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let disabled: Vec<_> = loaded.settings.jobs.iter().filter(|job| job.disabled().is_some()).cloned().collect();
    let runtime = runtime()?;
    let (reports, caught) = runtime.block_on(async {
        let (stopped, caught) = signals::catch(Stop::No, &[Stop::Cancel]);
        let begin = setup(loaded, None, observer());
        let Some(begun) = signals::unless_stopped(&stopped, begin).await else { return Ok((None, caught)) };
        let reports = Daemon::new(begun?.1).serve_once(stopped).await;
        Ok::<_, Failure>((Some(reports), caught))
    })?;
    if reports.is_none() {
        // As in `warm serve`.
        runtime.shutdown_background();
    }
    let reports = reports.unwrap_or_default();
    let code = caught.exit_code().unwrap_or_else(|| exit_code(&reports));
    // Said to programs only: whoever reads the lines of each minute knows it.
    let disabled: Vec<_> = disabled.iter().filter(|_| common.json).collect();
    report::print(&reports, &disabled, false, common.json, code);
    Ok(code)
}
