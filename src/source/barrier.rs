//! What a new snapshot has to wait for, so that it sees every change that could have made a value stale when it was written.
//!
//! An application that removes keys *before* it commits may have removed ours before we wrote it, and commit after our second reading: nobody would ever
//! know. So the snapshot for the second reading waits until every transaction has ended that was open when the value had been written. The
//! list of transactions comes from the `virtualxid` locks of `pg_locks`: a transaction has no other number before it first writes, and comparing the
//! ends of two snapshots misses those.
//!
//! A standby shows what was committed only when it has replayed it. So the snapshot waits until the standby has come as far as the primary was when the
//! value had been written.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::sleep;

use super::connections::{MARKER, Postgres};
use super::error::translate;
use super::snapshot::Snapshot;
use crate::ground::error::{Error, ErrorKind};

/// The longest wait. What was written lives longer provisionally, so that it can still be confirmed afterwards.
const LONGEST: Duration = Duration::from_secs(5);
/// How often is asked whether the wait is over: at first, and later.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];

/// Open transactions of this database that may write: not our own, which hold the lock that marks them, and no worker of the server's. One that is being prepared for
/// a commit in two phases gets another name, which cannot be told from a new one's.
fn open_transactions() -> String {
    format!(
        "SELECT l.virtualtransaction AS open FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid() \
         AND a.datname = current_database() AND a.usesysid IS NOT NULL \
         AND NOT EXISTS (SELECT FROM pg_locks m WHERE m.virtualtransaction = l.virtualtransaction AND m.pid = l.pid \
         AND m.locktype = 'advisory' AND m.classid = 0 AND m.objid = {MARKER} AND m.objsubid = 1 AND m.mode = 'ShareLock') \
         UNION ALL SELECT '{PREPARED}' || gid FROM pg_prepared_xacts WHERE database = current_database()"
    )
}

/// Before the name of a transaction that is prepared.
const PREPARED: &str = "prepared ";

/// How far the primary has come: what is visible there is written up to here, even if it is not yet on disk. NULL from a standby.
const POSITION: &str = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn()::text END AS position, \
     (SELECT system_identifier::text FROM pg_control_system()) AS cluster";

/// What a snapshot waits for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Barrier {
    /// Transactions that are open when the wait begins.
    pub open_transactions: bool,
}

/// Why a wait was given up, for people; `None` when it ended well.
pub type Doubt = Option<String>;

impl Snapshot {
    /// Waits, between two transactions.
    pub(super) async fn wait(&mut self, barrier: Barrier) -> Result<Doubt, Error> {
        let (standby, start) = (self.state().standby, Instant::now());
        if barrier.open_transactions {
            let mut waited_for = self.open_transactions(standby).await?;
            let mut tries = 0;
            while !waited_for.is_empty() {
                if start.elapsed() > LONGEST {
                    let message = "transactions that were open when keys were written are still open";
                    return Ok(Some(format!("{message} after {} s", LONGEST.as_secs())));
                }
                pause(&mut tries).await;
                let open = self.open_transactions(standby).await?;
                waited_for.retain(|transaction| open.contains(transaction));
                // One that was waited for may have become one of these.
                waited_for.extend(open.into_iter().filter(|name| name.starts_with(PREPARED)));
            }
        }
        if standby { self.catch_up(start).await } else { Ok(None) }
    }

    async fn open_transactions(&mut self, standby: bool) -> Result<HashSet<String>, Error> {
        let rows = match self.primary().filter(|_| standby) {
            Some(primary) => primary.ask(&open_transactions()).await?,
            None => self.ask(&open_transactions()).await?,
        };
        rows.iter().map(|row| row.try_get("open").map_err(translate)).collect()
    }

    /// Waits until this standby has replayed what the primary has done so far.
    async fn catch_up(&mut self, start: Instant) -> Result<Doubt, Error> {
        let Some(primary) = self.primary() else {
            return Err(Error::new(ErrorKind::Definition, "the primary of this standby is not known"));
        };
        let rows = primary.ask(POSITION).await?;
        let position: Option<String> = first(&rows)?.try_get("position").map_err(translate)?;
        let Some(position) = position else {
            let message = "the server that is named as the primary is a standby too; name the one that is written to as primary_url in [postgres]";
            return Err(Error::new(ErrorKind::Definition, message));
        };
        let cluster: String = first(&rows)?.try_get("cluster").map_err(translate)?;
        let end = end_of_record(&position)
            .ok_or_else(|| Error::new(ErrorKind::PostgresLost, "the primary gave no position of its log"))?;
        let replayed = format!(
            "SELECT coalesce(pg_last_wal_replay_lsn() >= '{end}', NOT pg_is_in_recovery()) AS replayed, \
                     (SELECT system_identifier::text FROM pg_control_system()) AS cluster"
        );
        let mut tries = 0;
        loop {
            let rows = self.ask(&replayed).await?;
            if first(&rows)?.try_get::<String, _>("cluster").map_err(translate)? != cluster {
                let message = "the server that is named as the primary is another cluster's; name the one that this standby follows as primary_url in [postgres]";
                return Err(Error::new(ErrorKind::Definition, message));
            }
            if first(&rows)?.try_get("replayed").map_err(translate)? {
                return Ok(None);
            }
            if start.elapsed() > LONGEST {
                let seconds = LONGEST.as_secs();
                return Ok(Some(format!("the standby lags behind its primary by more than {seconds} s")));
            }
            pause(&mut tries).await;
        }
    }
}

impl Postgres {
    /// Runs one statement outside of a transaction. Its text is its own: nothing that comes from outside may stand in it.
    async fn ask(&self, statement: &str) -> Result<Vec<PgRow>, Error> {
        let mut snapshot = self.snapshot().await?;
        let rows = snapshot.ask(statement).await?;
        snapshot.finish().await?;
        Ok(rows)
    }
}

/// Where the last record before a position ends. At the beginning of a page or of a segment of the log, the position stands behind the header that comes next, which
/// nobody replays before there is another record.
fn end_of_record(position: &str) -> Option<String> {
    const PAGE: u64 = 8192;
    let (high, low) = position.split_once('/')?;
    let (high, low) = (u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?);
    let position = high << 32 | low;
    let end = match position % PAGE {
        header @ (24 | 40) => position - header,
        _ => position,
    };
    Some(format!("{:X}/{:X}", end >> 32, end & 0xFFFF_FFFF))
}

fn first(rows: &[PgRow]) -> Result<&PgRow, Error> {
    rows.first().ok_or_else(|| Error::new(ErrorKind::PostgresLost, "PostgreSQL gave no row"))
}

async fn pause(tries: &mut usize) {
    sleep(PAUSES[usize::from(*tries > 10)]).await;
    *tries += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_comes_next_is_no_record() {
        for (position, end) in [
            ("0/A000028", "0/A000000"),
            ("0/A002018", "0/A002000"),
            ("16/B374D848", "16/B374D848"),
            ("1/0", "1/0"),
            ("FFFFFFFF/28", "FFFFFFFF/0"),
        ] {
            assert_eq!(end_of_record(position).as_deref(), Some(end));
        }
        assert_eq!(end_of_record("'; DROP TABLE t"), None);
    }
}
