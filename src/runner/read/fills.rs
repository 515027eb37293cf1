//! The places in which keys are filled: as many as there are connections to the database.
//!
//! No job has all of them while there are others, and not too many wait for the places of one: whoever would be answered too late is told so at once.

use std::collections::HashMap;

use tokio::sync::{Semaphore, SemaphorePermit};

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
}

/// A place, until it is dropped.
pub(super) struct Place<'f> {
    _of_job: Option<SemaphorePermit<'f>>,
    _of_all: Option<SemaphorePermit<'f>>,
}

impl Fills {
    /// So many places for jobs of these names.
    pub(super) fn new<'j>(places: usize, jobs: impl ExactSizeIterator<Item = &'j str>) -> Self {
        let most = if jobs.len() > 1 { places.saturating_sub(1).max(1) } else { places };
        let lane = || Lane { queue: Semaphore::new(QUEUE), places: Semaphore::new(most) };
        Fills { all: Semaphore::new(places), jobs: jobs.map(|job| (job.to_owned(), lane())).collect() }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// If too many wait for one already.
    pub(super) async fn place(&self, job: &str) -> Result<Place<'_>, Error> {
        let Some(lane) = self.jobs.get(job) else {
            return Ok(Place { _of_job: None, _of_all: self.all.acquire().await.ok() });
        };
        let _queued = lane.queue.try_acquire().map_err(|_| {
            let message = format!("{QUEUE} other keys of the job `{job}` wait to be filled already");
            Error::new(ErrorKind::DatabaseBusy, message)
        })?;
        // Nobody closes them.
        Ok(Place { _of_job: lane.places.acquire().await.ok(), _of_all: self.all.acquire().await.ok() })
    }
}
