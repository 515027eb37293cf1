//! Once a minute, a look how warm the jobs are and whether the targets are met. It is a task of its own, since Redis may take its time; nobody waits for it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ground::event::Event;
use crate::ground::figures::Figures;
use crate::ground::job::Job;
use crate::ground::targets::{Found, Targets};
use crate::ground::warmth::Look;
use crate::runner::Runner;

/// How often.
const EVERY: Duration = Duration::from_secs(60);

/// The looks so far.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// When the last one began.
    begun: Option<Instant>,
    /// The one that is under way, and when it began.
    coming: Option<(oneshot::Receiver<Option<Figures>>, Instant)>,
    /// What Redis counted at the last one, and when.
    before: Option<(Figures, Instant)>,
    /// Jobs that have succeeded since.
    known: HashSet<String>,
}

impl Looks {
    /// Begins a look if it is time for one, and none is under way.
    pub(super) fn beat(&mut self, runner: &Arc<Runner>, jobs: Vec<Arc<Job>>, targets: Targets) {
        if let Some((coming, begun)) = &mut self.coming {
            match coming.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => return,
                Ok(figures) => self.before = figures.zip(Some(*begun)),
                // It has failed.
                Err(oneshot::error::TryRecvError::Closed) => self.before = None,
            }
            self.coming = None;
        }
        if self.begun.is_some_and(|begun| begun.elapsed() < EVERY) {
            return;
        }
        let now = Instant::now();
        let before = self.before.take().map(|(figures, then)| (figures, now - then));
        let (done, coming) = oneshot::channel();
        (self.begun, self.coming) = (Some(now), Some((coming, now)));
        let runner = Arc::clone(runner);
        tokio::spawn(async move {
            // A Redis that does not answer is told of elsewhere.
            let look = runner.look(&jobs, &targets, before).await.unwrap_or_else(|_| nothing(&jobs, &targets));
            runner.observer.on(&Event::Looked { look: &look });
            // Who asked may have ended.
            let _ = done.send(look.figures);
        });
    }

    /// A run of the job went well. After the first one there is something to look at.
    pub(super) fn succeeded(&mut self, job: &str) {
        if !self.known.contains(job) {
            self.known.insert(job.to_owned());
            self.begun = None;
        }
    }

    /// Redis is away: how warm it was is over, and is looked at anew when it is back.
    pub(super) fn lose(&mut self, runner: &Runner, jobs: &[Arc<Job>], targets: &Targets) {
        if self.begun.is_some() {
            self.begin_anew();
            runner.observer.on(&Event::Looked { look: &nothing(jobs, targets) });
        }
    }

    /// The servers, the jobs or the targets are others: the next look is due at once.
    pub(super) fn begin_anew(&mut self) {
        *self = Looks::default();
    }
}

/// Nothing is known.
fn nothing(jobs: &[Arc<Job>], targets: &Targets) -> Look {
    let jobs = jobs.iter().map(|job| (job.name.clone(), None)).collect();
    Look { jobs, targets: targets.judge(&Found::default()), figures: None }
}
