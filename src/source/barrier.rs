//! What a new snapshot has to wait for, so that it sees every change that could have made a value stale when it was written.
//!
//! An application that removes keys *before* it commits may have removed ours before we wrote it, and commit after our second reading: nobody would ever
//! know. So the snapshot for the second reading waits until every transaction has ended that was open when the value had been written. The
//! list of transactions comes from the `virtualxid` locks of `pg_locks`: a transaction has no other number before it first writes, and comparing the
//! ends of two snapshots misses those.
//!
//! A standby shows what was committed only when it has replayed it. So the snapshot waits until the standby has come as far as the primary was when the
//! value had been written.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::sleep;

use super::connections::{MARKER, Postgres};
use super::error::translate;
use super::lag::number;
use super::snapshot::Snapshot;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::show::{human_seconds, visible};

/// The longest wait. What was written lives longer provisionally, so that it can still be confirmed afterwards.
const LONGEST: Duration = Duration::from_secs(5);
/// How often is asked whether the wait is over: at first, and later.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(50)];

/// Open transactions of this database that may write: not our own, which hold the lock that marks them, and no worker of the server's. One that is being prepared for
/// a commit in two phases gets another name, which cannot be told from a new one's. Since when a transaction of somebody else is open, the server tells a few only.
fn open_transactions() -> String {
    format!(
        "SELECT l.virtualtransaction AS open, l.pid AS pid, nullif(a.application_name, '') AS name, \
         extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS age FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid() \
         AND a.datname = current_database() AND a.usesysid IS NOT NULL \
         AND NOT EXISTS (SELECT FROM pg_locks m WHERE m.virtualtransaction = l.virtualtransaction AND m.pid = l.pid \
         AND m.locktype = 'advisory' AND m.classid = 0 AND m.objid = {MARKER} AND m.objsubid = 1 AND m.mode = 'ShareLock') \
         UNION ALL SELECT '{PREPARED}' || gid, NULL, gid, extract(epoch FROM clock_timestamp() - prepared)::float8 \
         FROM pg_prepared_xacts WHERE database = current_database()"
    )
}

/// Before the name of a transaction that is prepared.
const PREPARED: &str = "prepared ";

/// How far the primary has come: what is visible there is written up to here, even if it is not yet on disk. NULL from a standby.
const POSITION: &str = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn()::text END AS position, \
     (SELECT system_identifier::text FROM pg_control_system()) AS cluster";

/// Open transactions by the names that tell them apart.
type Open = HashMap<String, Holder>;

/// Who has a transaction open. What it does may be a secret, and is not asked for.
#[derive(Debug, Clone, PartialEq)]
struct Holder {
    /// The server's process; `None` for a transaction that is prepared.
    pid: Option<i32>,
    /// The application's name, if it gives one; that of a prepared transaction.
    name: Option<String>,
    /// For how many seconds it has been open, or prepared; `None` if this account is not told.
    age: Option<f64>,
}

impl Holder {
    fn of(row: &PgRow) -> Result<(String, Holder), sqlx::Error> {
        let holder = Holder { pid: row.try_get("pid")?, name: row.try_get("name")?, age: row.try_get("age")? };
        Ok((row.try_get("open")?, holder))
    }

    fn describe(&self) -> String {
        let name = self.name.as_deref().map(visible);
        match (self.pid, name, self.age.map(human_seconds)) {
            (None, gid, age) => {
                format!(
                    "the prepared transaction `{}`, prepared {} ago",
                    gid.unwrap_or_default(),
                    age.unwrap_or_default()
                )
            }
            (Some(pid), name, age) => {
                let name = name.map(|name| format!(" (`{name}`)")).unwrap_or_default();
                let age = age.map_or("for how long, only members of pg_read_all_stats are told".to_owned(), |age| {
                    format!("open for {age}")
                });
                format!("process {pid}{name}, {age}")
            }
        }
    }
}

/// Says that these transactions have been waited for in vain, and names one of them: the oldest, if all of their ages are known.
fn still_open(open: &Open, standby: bool) -> String {
    let mut holders: Vec<&Holder> = open.values().collect();
    holders.sort_by(|a, b| b.age.partial_cmp(&a.age).unwrap_or(Ordering::Equal).then(a.pid.cmp(&b.pid)));
    let (server, seconds) = (if standby { " of the primary" } else { "" }, LONGEST.as_secs());
    let one = holders.first().map(|holder| holder.describe()).unwrap_or_default();
    if let [_] = holders[..] {
        return format!(
            "a transaction{server} that was open when keys were written is still open after {seconds} s: {one}"
        );
    }
    let which = if holders.iter().all(|holder| holder.age.is_some()) { "the oldest" } else { "one of them" };
    let count = holders.len();
    format!(
        "{count} transactions{server} that were open when keys were written are still open after {seconds} s; {which}: {one}"
    )
}

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
                    return Ok(Some(still_open(&waited_for, standby)));
                }
                pause(&mut tries).await;
                let now = self.open_transactions(standby).await?;
                // One that was waited for may have become one of those that are prepared.
                let stays = |name: &String| waited_for.contains_key(name) || name.starts_with(PREPARED);
                waited_for = now.into_iter().filter(|(name, _)| stays(name)).collect();
            }
        }
        if standby { self.catch_up(start).await } else { Ok(None) }
    }

    async fn open_transactions(&mut self, standby: bool) -> Result<Open, Error> {
        let rows = match self.primary().filter(|_| standby) {
            Some(primary) => primary.ask(&open_transactions()).await?,
            None => self.ask(&open_transactions()).await?,
        };
        rows.iter().map(|row| Holder::of(row).map_err(translate)).collect()
    }

    /// Waits until this standby has replayed what the primary has done so far.
    async fn catch_up(&mut self, start: Instant) -> Result<Doubt, Error> {
        let Some(primary) = self.primary() else {
            return Err(Error::new(ErrorKind::Definition, "the primary of this standby is not known"));
        };
        let (end, cluster) = end_of_primary(&primary).await?;
        let replayed = format!(
            "SELECT coalesce(pg_last_wal_replay_lsn() >= '{end}', NOT pg_is_in_recovery()) AS replayed, \
                     (SELECT system_identifier::text FROM pg_control_system()) AS cluster"
        );
        let mut tries = 0;
        loop {
            let rows = self.ask(&replayed).await?;
            if first(&rows)?.try_get::<String, _>("cluster").map_err(translate)? != cluster {
                return Err(other_cluster());
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
        let asked = async {
            let rows = snapshot.ask(statement).await?;
            snapshot.finish().await.map(|()| rows)
        };
        asked.await.map_err(|error| self.named(error))
    }
}

/// How far the log of the primary goes, and which cluster it is of.
pub(super) async fn end_of_primary(primary: &Postgres) -> Result<(String, String), Error> {
    let rows = primary.ask(POSITION).await?;
    let position: Option<String> = first(&rows)?.try_get("position").map_err(translate)?;
    let Some(position) = position else {
        let message = "the server that is named as the primary is a standby too; name the one that is written to as primary_url in [postgres]";
        return Err(Error::new(ErrorKind::Definition, message));
    };
    let cluster = first(&rows)?.try_get("cluster").map_err(translate)?;
    let end = end_of_record(&position)
        .ok_or_else(|| Error::new(ErrorKind::PostgresLost, "the primary gave no position of its log"))?;
    Ok((end, cluster))
}

/// The error for a primary that a standby does not follow.
pub(super) fn other_cluster() -> Error {
    let message = "the server that is named as the primary is another cluster's; name the one that this standby follows as primary_url in [postgres]";
    Error::new(ErrorKind::Definition, message)
}

/// Where the last record before a position ends. At the beginning of a page or of a segment of the log, the position stands behind the header that comes next, which
/// nobody replays before there is another record.
fn end_of_record(position: &str) -> Option<String> {
    const PAGE: u64 = 8192;
    let position = number(position)?;
    let end = match position % PAGE {
        header @ (24 | 40) => position - header,
        _ => position,
    };
    Some(format!("{:X}/{:X}", end >> 32, end & 0xFFFF_FFFF))
}

pub(super) fn first(rows: &[PgRow]) -> Result<&PgRow, Error> {
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
    fn the_oldest_of_the_transactions_is_named_if_it_is_known() {
        let holder = |pid, name: Option<&str>, age| Holder { pid, name: name.map(str::to_owned), age };
        let said = |holders: &[Holder], standby| {
            let named = holders.iter().enumerate().map(|(at, holder)| (at.to_string(), holder.clone()));
            still_open(&named.collect(), standby)
        };
        let session = holder(Some(12), Some("shop"), Some(75.4));
        let prepared = holder(None, Some("a\nb"), Some(9.0));
        let unknown = holder(Some(7), None, None);
        assert_eq!(
            said(std::slice::from_ref(&unknown), false),
            "a transaction that was open when keys were written is still open after 5 s: \
             process 7, for how long, only members of pg_read_all_stats are told"
        );
        assert_eq!(
            said(std::slice::from_ref(&prepared), true),
            "a transaction of the primary that was open when keys were written is still open after 5 s: \
             the prepared transaction `a\\nb`, prepared 9s ago"
        );
        assert_eq!(
            said(&[prepared.clone(), session.clone()], false),
            "2 transactions that were open when keys were written are still open after 5 s; \
             the oldest: process 12 (`shop`), open for 1m 15s"
        );
        assert!(said(&[unknown, prepared, session], false).contains("one of them: process 12 (`shop`)"));
    }

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
