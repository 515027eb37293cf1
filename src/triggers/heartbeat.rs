//! Beats about once a second, so that somebody looks what is due.
//!
//! tokio-cron-scheduler beats, and does nothing else: it keeps the offset of a time zone that a job was made in, begins runs beside runs, knows no missed start, and
//! a repeated job of it can stop for ever, for example when the clock is set back. So what is due is computed elsewhere, and a heart that has been
//! silent is replaced.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// How often it beats.
const INTERVAL: Duration = Duration::from_secs(1);
/// A heart that is silent for so long is replaced.
const SILENCE: Duration = Duration::from_secs(5);

/// Beats as long as it is asked for the next beat.
pub struct Heartbeat {
    heart: Option<Heart>,
}

struct Heart {
    scheduler: JobScheduler,
    beats: mpsc::Receiver<()>,
}

impl Heartbeat {
    /// Begins to beat.
    pub async fn start() -> Self {
        Heartbeat { heart: Heart::start().await.ok() }
    }

    /// Waits for the next beat, for some seconds at most: then the heart is replaced, and that is a beat, too.
    pub async fn next(&mut self) {
        let beat = async {
            match &mut self.heart {
                Some(heart) => heart.beats.recv().await,
                None => std::future::pending().await,
            }
        };
        if let Ok(Some(())) = timeout(SILENCE, beat).await {
            return;
        }
        if let Some(mut heart) = self.heart.take() {
            // It is given up, whatever it says.
            let _ = timeout(INTERVAL, heart.scheduler.shutdown()).await;
        }
        self.heart = timeout(SILENCE, Heart::start()).await.ok().and_then(Result::ok);
    }
}

impl Heart {
    async fn start() -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        // A beat that nobody has taken yet need not be followed by another.
        let (beat, beats) = mpsc::channel(1);
        let job = Job::new_repeated(INTERVAL, move |_, _| {
            let _ = beat.try_send(());
        })?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Heart { scheduler, beats })
    }
}
