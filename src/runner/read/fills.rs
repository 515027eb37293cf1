//! The places in which keys are filled: as many as there are connections to the database.
//!
//! No job has all of them while there are others, and not too many wait for the places of one: whoever would be answered too late is told so at once. So is, while the fills of a job
//! come to no end, whoever asks for another one.

use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::breaker::{Asking, Breaker};
use crate::ground::error::{Error, ErrorKind};

/// How many readings of one job may wait for a place.
const QUEUE: usize = 256;

/// The places.
pub(super) struct Fills {
    all: Semaphore,
    jobs: HashMap<String, Lane>,
}

/// What one job may have of them.
struct Lane {
    queue: Semaphore,
    places: Semaphore,
    breaker: Breaker,
}

/// A place, until it is dropped.
pub(super) struct Place<'f> {
    _of_job: Option<SemaphorePermit<'f>>,
    _of_all: Option<SemaphorePermit<'f>>,
    asking: Option<Asking<'f>>,
}

impl Place<'_> {
    /// Gives it back, and says what became of the fill.
    pub(super) fn ended(self, failure: Option<&Error>) {
        if let Some(asking) = self.asking {
            asking.ended(failure, Instant::now());
        }
    }
}

impl Fills {
    /// So many places for jobs of these names.
    pub(super) fn new<'j>(places: usize, jobs: impl ExactSizeIterator<Item = &'j str>) -> Self {
        let most = if jobs.len() > 1 { places.saturating_sub(1).max(1) } else { places };
        let lane = |job: &str| Lane {
            queue: Semaphore::new(QUEUE),
            places: Semaphore::new(most),
            breaker: Breaker::new(format!("PostgreSQL, asked for keys of the job `{job}`,")),
        };
        Fills { all: Semaphore::new(places), jobs: jobs.map(|job| (job.to_owned(), lane(job))).collect() }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// If too many wait for one already, or the fills of the job fail, or hang.
    pub(super) async fn place(&self, job: &str) -> Result<Place<'_>, Error> {
        let Some(lane) = self.jobs.get(job) else {
            return Ok(Place { _of_job: None, _of_all: self.all.acquire().await.ok(), asking: None });
        };
        let asking = Some(lane.breaker.ask(Instant::now())?);
        let _queued = lane.queue.try_acquire().map_err(|_| {
            let message = format!("{QUEUE} other keys of the job `{job}` wait to be filled already");
            Error::new(ErrorKind::DatabaseBusy, message)
        })?;
        // Nobody closes them.
        Ok(Place { _of_job: lane.places.acquire().await.ok(), _of_all: self.all.acquire().await.ok(), asking })
    }
}
