//! A connection for those whom somebody waits for.
//!
//! Runs may take all connections for minutes. Where values are given to whoever asks, one of them is for fills alone, and a fill that has been given a connection has it from its beginning on: before that
//! it counts as not begun.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::connections::{Permit, Postgres};
use crate::ground::error::{Error, ErrorKind};

/// The fewest connections of which one is kept: one is for all leases, and runs need one, too.
const FEWEST: usize = 3;

/// The connection of a fill, until its first snapshot takes it.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<Option<Permit>>);

impl Ahead {
    pub(super) fn take(&self) -> Option<Permit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Postgres {
    /// Keeps one connection for fills from now on, if there are enough.
    pub fn keep_for_fills(&self) {
        let shared = &self.shared;
        if shared.connections < FEWEST || shared.keeps.swap(true, Ordering::SeqCst) {
            return;
        }
        match shared.permits.forget_permits(1) {
            1 => shared.for_fills.add_permits(1),
            // All are in use: later, perhaps.
            _ => shared.keeps.store(false, Ordering::SeqCst),
        }
    }

    /// How many connections are kept for fills.
    pub fn kept_for_fills(&self) -> usize {
        usize::from(self.shared.keeps.load(Ordering::SeqCst))
    }

    /// Waits until one more connection may be there.
    pub(super) async fn permit(&self) -> Result<Permit, Error> {
        let all = Arc::clone(&self.shared.permits).acquire_owned();
        let permit = match &self.ahead {
            None => all.await,
            Some(ahead) => match ahead.take() {
                Some(permit) => return Ok(permit),
                None => tokio::select! {
                    // First that which nobody else may have.
                    biased;
                    permit = Arc::clone(&self.shared.for_fills).acquire_owned() => permit,
                    permit = all => permit,
                },
            },
        };
        permit.map(Permit::new).map_err(|_| Error::new(ErrorKind::Cancelled, "no more connections are given out"))
    }

    /// The same server for one fill, which has its connection when this returns.
    ///
    /// # Errors
    /// If there are to be no more connections.
    pub async fn for_fill(&self) -> Result<Postgres, Error> {
        let ahead = Arc::<Ahead>::default();
        let fill = Postgres { ahead: Some(Arc::clone(&ahead)), ..self.clone() };
        let permit = fill.permit().await?;
        *ahead.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        Ok(fill)
    }
}
