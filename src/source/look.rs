//! A look at the database before it is read from: whether it may be asked now, and whether its rows are new enough.
//!
//! Before a wait, the look has a transaction of its own, which ends with it: a run that waits holds no transaction open, which would hold back vacuum, and no connection.

use std::time::{Duration, Instant};

use super::connections::Postgres;
use super::lag::Marks;
use super::load::Load;
use super::snapshot::Snapshot;
use crate::ground::error::Error;
use crate::ground::hold::Hold;
use crate::ground::settings::Busy;

/// What a look saw.
#[derive(Debug, Default)]
pub struct Look {
    /// What keeps a run from reading.
    pub hold: Option<Hold>,
    /// Why nobody knows how busy the database is.
    pub unknown: Option<Error>,
    /// How long it took to ask how busy the database is.
    pub took: Duration,
}

impl Postgres {
    /// Whether anything is to be looked at before a snapshot is taken.
    pub fn has_signals(&self) -> bool {
        self.busy().is_some() || self.max_lag().is_some()
    }

    /// Looks through a snapshot that was taken just now; `marks` are those of the wait that it belongs to.
    ///
    /// # Errors
    /// What a standby and its primary say; then the snapshot may be of no use any more. That nobody knows how busy the database is, is none.
    pub async fn look_through(&self, snapshot: &mut Snapshot, marks: &mut Marks) -> Result<Look, Error> {
        if let Some(most) = self.max_lag()
            && let Some(lag) = snapshot.lag(marks).await?
            && lag.is_none_or(|lag| lag > most)
        {
            return Ok(Look { hold: Some(Hold::Behind { lag, most }), ..Look::default() });
        }
        match self.busy() {
            Some(busy) => snapshot.look_at_load(busy).await,
            None => Ok(Look::default()),
        }
    }
}

impl Snapshot {
    /// Looks how busy the database is. If that could not be told a moment ago, nobody is asked: each try may take seconds, and would delay every
    /// run by them.
    ///
    /// # Errors
    /// When the transaction is of no use any more.
    pub async fn look_at_load(&mut self, busy: &Busy) -> Result<Look, Error> {
        if self.home().is_load_unknown() {
            return Ok(Look::default());
        }
        let start = Instant::now();
        let load = self.load(busy).await?;
        let (hold, took) = (load.hold(busy), start.elapsed());
        let unknown = match load {
            Load::Figure(_) => None,
            Load::Unknown(error) => {
                self.home().load_is_unknown();
                Some(error)
            }
        };
        Ok(Look { hold, unknown, took })
    }
}
