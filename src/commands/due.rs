//! `warm --due`: runs what has come due since its last run, once, and ends: for a systemd timer or cron.

use std::sync::Arc;

use super::now::{exit_code, flush, observer};
use super::setup::setup;
use super::{Failure, load, report, runtime, signals};
use crate::cli::Common;
use crate::service::{Daemon, Stop};

/// Runs what is due and reports; the exit code is that of the failed job with the highest priority.
pub fn run(common: &Common) -> Result<u8, Failure> {
    let loaded = load(common)?;
    let (reports, caught) = runtime()?.block_on(async {
        let (stopped, caught) = signals::catch(Stop::No, &[Stop::Cancel]);
        let setup = setup(&loaded, observer()).await?;
        let runner = Arc::clone(&setup.runner);
        let reports = Daemon::new(setup).serve_once(stopped).await;
        tokio::join!(runner.source.close(), flush(runner.history.as_ref()));
        Ok::<_, Failure>((reports, caught))
    })?;
    let code = caught.exit_code().unwrap_or_else(|| exit_code(&reports));
    report::print(&reports, false, common.json, code);
    Ok(code)
}
