//! What `warm serve` does for jobs with `predict`: it hears of misses, and fills what is missed most when a run has ended.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::setup::InUse;
use crate::ground::demand::Memory;
use crate::ground::event::{Event, Observer};
use crate::ground::job::Job;
use crate::ground::request::Trigger;
use crate::runner::{Muted, Predictor, Runner};

/// How often warmed keys are looked at, and what was learned is noted.
const LOOK: Duration = Duration::from_secs(300);
/// How long Redis is left alone that tells nobody of misses.
const PAUSE: Duration = Duration::from_secs(10);
/// How many runs that have ended are remembered while keys are filled.
const RUNS: usize = 256;

/// Tells of each run that has ended, and whether keys are to be filled then: it ended well, and nobody asked for it by hand.
#[derive(Clone)]
pub(super) struct Ends {
    ends: broadcast::Sender<(String, bool)>,
    muted: Muted,
}

impl Ends {
    pub(super) fn new() -> Self {
        Ends { ends: broadcast::channel(RUNS).0, muted: Muted::default() }
    }
}

impl Observer for Ends {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Started { job, .. } => self.muted.began(job),
            Event::Finished { report } => {
                let well = report.failure.is_none() && !matches!(report.trigger, Trigger::Manual | Trigger::Fill);
                self.muted.ended(&report.job);
                // Perhaps no job predicts.
                let _ = self.ends.send((report.job.clone(), well));
            }
            _ => {}
        }
    }
}

/// What predicts, until it is ended.
pub(super) struct Predicting {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// For which jobs, and with what.
#[derive(Clone)]
pub(super) struct Subject {
    runner: Arc<Runner>,
    jobs: Vec<Arc<Job>>,
    memory: Memory,
}

impl Subject {
    pub(super) fn of(in_use: &InUse) -> Self {
        let jobs = in_use.loaded.settings.enabled().cloned().map(Arc::new).collect();
        Subject { runner: Arc::clone(&in_use.runner), jobs, memory: in_use.loaded.settings.learn }
    }
}

impl Predicting {
    /// Begins, with what the history knows; also gives what hands it other jobs.
    pub(super) fn begin(in_use: &InUse, ends: &Ends) -> (Self, watch::Sender<Subject>) {
        let (stop, stopped) = watch::channel(false);
        let (subjects, subject) = watch::channel(Subject::of(in_use));
        let task = tokio::spawn(predict(subject, ends.clone(), stopped));
        (Predicting { stop, task }, subjects)
    }

    /// Ends it, when the key at hand is as it was or as it is to be, and what was learned has been noted.
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        // It ends itself.
        let _ = self.task.await;
    }
}

/// Predicts for one subject after the other.
async fn predict(mut subject: watch::Receiver<Subject>, ends: Ends, stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let Subject { runner, jobs, memory } = subject.borrow_and_update().clone();
        let (mut until, mut ended) = (subject.clone(), stopped.clone());
        let over = async {
            tokio::select! {
                Ok(()) = until.changed() => {}
                // Whoever could say so is gone: then nobody could ever end this otherwise.
                _ = ended.wait_for(|ended| *ended) => {}
            }
        };
        // Before it is asked which runs are under way.
        let ended_runs = ends.ends.subscribe();
        match Predictor::begin(&runner, &jobs, memory, ends.muted.clone()).await.map(Arc::new) {
            Some(predictor) => {
                let hearing = tokio::spawn(hear(runner, Arc::clone(&predictor)));
                go_on(&predictor, ended_runs, &stopped, over).await;
                hearing.abort();
                predictor.end().await;
            }
            None => over.await,
        }
    }
}

async fn go_on(
    predictor: &Predictor,
    mut ends: broadcast::Receiver<(String, bool)>,
    stop: &watch::Receiver<bool>,
    over: impl Future<Output = ()>,
) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over = pin!(over);
    loop {
        tokio::select! {
            biased;
            () = &mut over => return,
            ended = ends.recv() => match ended {
                Ok((job, well)) => predictor.ended(&job, well, stop).await,
                // What was missed of it is made up for by the next runs.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = looks.tick() => {
                predictor.look().await;
                predictor.remember();
            }
        }
    }
}

/// Tries until misses are heard of; then a thread goes on by itself, as long as there is somebody to tell.
async fn hear(runner: Arc<Runner>, predictor: Arc<Predictor>) {
    let mut said = None;
    let misses = loop {
        match runner.redis.misses().await {
            Ok(misses) => break misses,
            Err(error) => {
                if said.as_ref() != Some(&error.message) {
                    predictor.is_deaf(&error);
                }
                said = Some(error.message);
            }
        }
        sleep(PAUSE).await;
    };
    let somebody = Arc::downgrade(&predictor);
    let heard = misses.listen(move |heard| match somebody.upgrade() {
        Some(predictor) => {
            predictor.hear(heard);
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    });
    if let Err(error) = heard {
        predictor.is_deaf(&error);
    }
}
