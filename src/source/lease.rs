//! One run of a job at a time, over all machines: the lease of a running job, which PostgreSQL keeps.
//!
//! Nothing is right because of a lease, since all that is written is verified; it only saves machines from doing the same work at once. So a lease
//! that is lost is lost, and its holder goes on.
//!
//! ```text
//! the holder gives it back            pg_advisory_unlock
//! its process ends, however           the connection closes: PostgreSQL ends the session, and with it its locks, at once
//! its host is lost, or it is stopped  there is no sign of life: PostgreSQL ends the session after `idle_in_transaction_session_timeout`
//! PostgreSQL is restarted             no lease is left; the next one that is wanted gets a new connection
//! ```
//!
//! It is a session's advisory lock. All leases of a process share one connection, which stays inside of one transaction: this is what keeps a pooler in
//! transaction mode from giving the session to others, and what makes it end the session when its client has gone. So the transaction must not end while a lock is
//! held. Between statements it has no snapshot (`READ COMMITTED`) and hinders no `VACUUM`; by `MARKER` it is known to be ours, so that no barrier waits for it.
//!
//! A sign of life is a statement, not a TCP keepalive: it passes through poolers and unix sockets, and no kernel gives it for a process that is
//! stopped.
//!
//! One task (`keeper.rs`) has the connection, and is asked by messages. A caller that gives up therefore never leaves it in the middle of an answer.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgArguments;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::connections::Postgres;
use super::error::translate;
use super::keeper::{Keeper, Request};
use super::snapshot::Snapshot;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::fingerprint::Fingerprint;

/// How long after its last sign of life a holder is taken for lost.
pub const LOST_AFTER: Duration = Duration::from_secs(30);

/// The leases of this process. Clones share their connection.
#[derive(Debug, Clone)]
pub struct Leases {
    requests: mpsc::UnboundedSender<Request>,
}

/// What came of wanting a lease.
#[derive(Debug)]
pub enum Acquired {
    /// It is ours until it is dropped.
    Held(Lease),
    /// This process has it already.
    HeldHere,
    /// Somebody else has it; who, as far as the account may see.
    HeldElsewhere(Option<Holder>),
    /// No lease can be taken with these settings: why, and the way out.
    NotPossible(&'static str),
}

/// A lease. Dropping it gives it back soon; [`Lease::release`] waits for that.
#[derive(Debug)]
pub struct Lease {
    lock: i64,
    requests: Option<mpsc::UnboundedSender<Request>>,
    done: Option<oneshot::Sender<()>>,
}

/// The session that has a lease, as PostgreSQL sees it. Behind a pooler it is the pooler's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The process of the server.
    pub pid: i32,
    /// What the session is called: `warm`, if it is ours.
    pub application_name: Option<String>,
    /// Where its client is; `None` also for a unix socket, and for another account's session.
    pub client_addr: Option<String>,
    /// Since when it has had leases, this one or others, on the server's clock; `None` also for another account's session.
    pub since: Option<DateTime<Utc>>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the PostgreSQL session {}", self.pid)?;
        if let Some(name) = self.application_name.as_deref().filter(|name| !name.is_empty()) {
            write!(f, " of {name}")?;
        }
        if let Some(address) = &self.client_addr {
            write!(f, " at {address}")?;
        }
        if let Some(since) = self.since {
            write!(f, " (since {})", since.format("%Y-%m-%d %H:%M:%S UTC"))?;
        }
        Ok(())
    }
}

impl Postgres {
    /// The leases of this process; to be asked for once, inside of a Tokio runtime. Where a primary is known they are taken there, since a standby's locks are its own.
    ///
    /// Nothing is connected before one is wanted. The connection counts as one of this server's, wherever it goes, and is given back with the last lease.
    pub fn leases(&self) -> Leases {
        self.leases_lost_after(LOST_AFTER)
    }

    /// Whether leases can be taken with these settings: their connection is one beside that which reads.
    pub fn has_room_for_leases(&self) -> bool {
        let server = self.primary().unwrap_or(self);
        self.connections() >= 2 && server.target().connection_limit.is_none_or(|limit| limit >= 2)
    }

    /// The same; a holder without a sign of life for so long is taken for lost.
    pub fn leases_lost_after(&self, lost_after: Duration) -> Leases {
        let (requests, queue) = mpsc::unbounded_channel();
        tokio::spawn(Keeper::new(self.clone(), lost_after).serve(queue));
        Leases { requests }
    }
}

impl Leases {
    /// Tries to take a lease: a fingerprint of the installation's name and the job's. Waits for a free connection if need be, never for the lease.
    ///
    /// # Errors
    /// As connecting, or what the server says.
    pub async fn acquire(&self, name: Fingerprint) -> Result<Acquired, Error> {
        let ended = || Error::new(ErrorKind::Cancelled, "no more leases are given out");
        let (reply, answer) = oneshot::channel();
        let request = Request::Acquire { lock: lock_of(name), requests: self.requests.clone(), reply };
        self.requests.send(request).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// All advisory locks of a session that anybody has in this database, each with who has it.
const HELD: &str = "SELECT (l.classid::bigint << 32) | l.objid::bigint, l.pid, a.application_name, pg_catalog.host(a.client_addr), \
     (extract(epoch FROM a.xact_start) * 1000)::bigint \
     FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid) \
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
     AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())";

impl Snapshot {
    /// Who has these leases now, without asking for any. They are where leases are taken: on the primary where one is known.
    ///
    /// # Errors
    /// What the server says.
    pub async fn holders(&mut self, names: &[Fingerprint]) -> Result<Vec<Option<Holder>>, Error> {
        let rows = self.query(HELD.to_owned(), PgArguments::default()).await?;
        let mut held = HashMap::new();
        for row in &rows {
            let since: Option<i64> = row.try_get(4).map_err(translate)?;
            let holder = Holder {
                pid: row.try_get(1).map_err(translate)?,
                application_name: row.try_get(2).map_err(translate)?,
                client_addr: row.try_get(3).map_err(translate)?,
                since: since.and_then(DateTime::from_timestamp_millis),
            };
            held.insert(row.try_get::<i64, _>(0).map_err(translate)?, holder);
        }
        Ok(names.iter().map(|name| held.get(&lock_of(*name)).cloned()).collect())
    }
}

impl Lease {
    pub(super) fn new(lock: i64, requests: mpsc::UnboundedSender<Request>) -> Self {
        Lease { lock, requests: Some(requests), done: None }
    }

    /// Drops it without giving it back.
    pub(super) fn forget(mut self) {
        self.requests = None;
    }

    /// Gives it back, and waits until it is free for others, for some seconds at most.
    pub async fn release(mut self) {
        let (done, is_done) = oneshot::channel();
        self.done = Some(done);
        drop(self);
        // Whoever waits no longer has lost nothing: it is given back nevertheless.
        let _ = timeout(LOST_AFTER / 3, is_done).await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(requests) = &self.requests {
            // Without the task there is no connection, and no lock.
            let _ = requests.send(Request::Release { lock: self.lock, done: self.done.take() });
        }
    }
}

/// The number of the advisory lock. It is negative, and so neither `MARKER` nor one of the small numbers that applications choose.
fn lock_of(name: Fingerprint) -> i64 {
    (name.number() | 1 << 63).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_the_same_number_in_every_version_and_is_no_other_lock() {
        assert_eq!(lock_of(Fingerprint::of(["a", "bc"])), -851_496_030_439_325_967);
        assert!((0..1000).all(|n| lock_of(Fingerprint::of([&*n.to_string()])) < 0));
    }

    #[test]
    fn a_holder_is_described_as_far_as_it_is_known() {
        let mut holder = Holder { pid: 7, application_name: None, client_addr: None, since: None };
        assert_eq!(holder.to_string(), "the PostgreSQL session 7");
        holder.application_name = Some("warm".to_owned());
        holder.client_addr = Some("10.0.0.7".to_owned());
        holder.since = DateTime::from_timestamp_millis(1_795_000_000_123);
        assert_eq!(holder.to_string(), "the PostgreSQL session 7 of warm at 10.0.0.7 (since 2026-11-18 11:06:40 UTC)");
    }
}
