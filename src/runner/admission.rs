//! Whether a run may begin: its due time has not been served, and nobody else is at it.
//!
//! Redis is asked first, so that a cache that is down costs the database nothing. The lease comes next, and then Redis once more: whoever had the
//! lease before may have served the due time meanwhile.

use chrono::{DateTime, Utc};

use super::Runner;
use super::upkeep::Upkeep;
use crate::cache::Epoch;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::event::Event;
use crate::ground::fingerprint::Fingerprint;
use crate::ground::job::{Job, Overlap};
use crate::ground::refresh::Refreshed;
use crate::ground::request::{Request, Trigger};
use crate::source::{Acquired, Lease};

/// What a run holds while it goes on; without a lease nobody is kept from running the same job.
pub(super) struct Admission<'a> {
    runner: &'a Runner,
    job: &'a Job,
    lease: Option<Lease>,
    /// Whether others are to know what it keeps alive: a run that a person asks for leaves nothing in the cache but its keys.
    marks: bool,
    /// The cache as it was before the run; `None` before it was asked.
    epoch: Option<Epoch>,
}

impl<'a> Admission<'a> {
    /// Asks for it.
    ///
    /// # Errors
    /// [`ErrorKind::ServedElsewhere`] and [`ErrorKind::HeldElsewhere`], and what the servers say.
    pub(super) async fn ask(
        runner: &'a Runner,
        job: &'a Job,
        request: &Request,
        upkeep: &Upkeep,
    ) -> Result<Self, Error> {
        let by_hand = matches!(request.trigger, Trigger::Manual | Trigger::Fill);
        let mut admission = Admission { runner, job, lease: None, marks: !by_hand, epoch: None };
        // Whoever asks for a run himself gets it.
        if by_hand {
            return Ok(admission);
        }
        if request.trigger == Trigger::RefreshAhead && upkeep.is_done(runner, job, &request.scope).await? {
            return Err(Error::new(ErrorKind::ServedElsewhere, "another instance has refreshed it"));
        }
        admission.unless_served(request).await?;
        if let Some(leases) = runner.leases.as_ref().filter(|_| job.overlap != Overlap::Allow) {
            match leases.acquire(admission.name()).await? {
                Acquired::Held(lease) => admission.lease = Some(lease),
                Acquired::HeldHere => return Err(held("this process runs it already".to_owned())),
                Acquired::HeldElsewhere(holder) => {
                    let who = holder.map(|holder| format!(": {holder}")).unwrap_or_default();
                    return Err(held(format!("another instance runs it{who}")));
                }
                Acquired::NotPossible(reason) => runner.observer.on(&Event::WithoutLease { reason }),
            }
            admission.unless_served(request).await?;
        }
        Ok(admission)
    }

    /// Redis has to answer also for what nobody can have served.
    async fn unless_served(&mut self, request: &Request) -> Result<(), Error> {
        let (served, epoch) = self.runner.redis.served_now(&self.job.mark()).await?;
        self.epoch.get_or_insert(epoch);
        let (Some(due), Some(served)) = (request.due, served) else { return Ok(()) };
        // What was served before the change does not hold what came with it.
        if request.trigger == Trigger::Changes {
            return Ok(());
        }
        // A cache that has lost its content is filled by one of all instances: whatever was served before that is to be served again.
        if request.trigger == Trigger::Refill && !served.since_start {
            return Ok(());
        }
        // A time that lies further in the future was written by a clock that was wrong.
        if served.due < due || served.due > self.next() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ServedElsewhere, "another instance has served this time"))
    }

    /// Remembers where all instances see it that the due time is done with, if it is, and lets others have the lease.
    pub(super) async fn end(self, served: Option<DateTime<Utc>>, kept: &[Refreshed]) {
        let epoch = self.epoch.clone().unwrap_or_default();
        self.mark(kept, &epoch).await;
        if let Some(due) = served
            && let Err(error) = self.runner.redis.serve(&self.job.mark(), due, self.next(), &epoch).await
        {
            self.runner.observer.on(&Event::NotShared { job: &self.job.name, error: &error });
        }
        if let Some(lease) = self.lease {
            lease.release().await;
        }
    }

    async fn mark(&self, kept: &[Refreshed], epoch: &Epoch) {
        let now = self.runner.clock.now();
        // What is due already needs no mark.
        let life = |kept: &Refreshed| Some((kept.unit, (kept.due - now).to_std().ok()?));
        let marks: Vec<_> = kept.iter().filter(|_| self.marks).filter_map(life).collect();
        if !marks.is_empty()
            && let Err(error) = self.runner.redis.mark_fresh(&self.job.name, marks, epoch).await
        {
            self.runner.observer.on(&Event::NotShared { job: &self.job.name, error: &error });
        }
    }

    fn next(&self) -> DateTime<Utc> {
        let now = self.runner.clock.now();
        self.job.schedule.next(now).unwrap_or(now)
    }

    fn name(&self) -> Fingerprint {
        self.runner.lease_of(self.job)
    }
}

fn held(message: String) -> Error {
    Error::new(ErrorKind::HeldElsewhere, message)
}
