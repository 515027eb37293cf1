//! Ends passes that are under way, for a process that ends: nothing of it may hold that up.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::cache::error::Trouble;
use crate::ground::error::{Error, ErrorKind};

/// Says that it is enough; its clones say the same. One that nobody calls stops nothing.
#[derive(Debug, Clone, Default)]
pub struct Halt(Arc<(Mutex<bool>, Condvar)>);

impl Halt {
    /// It is enough: what is under way ends at its next step, and what is asked for from now on is not begun.
    pub fn now(&self) {
        let (is_over, told) = &*self.0;
        *is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        told.notify_all();
    }

    /// Lets some time pass.
    ///
    /// # Errors
    /// It is enough.
    pub(super) fn sleep(&self, time: Duration) -> Result<(), Trouble> {
        let (is_over, told) = &*self.0;
        let is_over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = told.wait_timeout_while(is_over, time, |is_over| !*is_over);
        match *waited.unwrap_or_else(PoisonError::into_inner).0 {
            false => Ok(()),
            true => Err(Trouble::Stop(Error::new(
                ErrorKind::Cancelled,
                "the process ended before all was deleted: keys may be left",
            ))),
        }
    }
}
