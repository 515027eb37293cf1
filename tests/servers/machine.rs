//! Machines that want leases: in this process, and in processes of their own that can be stopped and killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use warm::ground::fingerprint::Fingerprint;
use warm::ground::settings::PostgresSettings;
use warm::source::{Acquired, Holder, LOST_AFTER, Lease, Leases, Postgres};

use crate::support::postgres::Database;
use crate::support::server::{PATIENCE, wait_for};

/// What a test means by "at once": far from [`LOST_AFTER`], even on a busy machine.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(10);

pub(crate) fn settings(url: &str) -> PostgresSettings {
    PostgresSettings {
        url: SecretString::from(url.to_owned()),
        origin: "the test".to_owned(),
        connections: 2,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(30),
        busy: None,
        max_lag: None,
        primary: None,
    }
}

pub(crate) fn name_of(job: &str) -> Fingerprint {
    Fingerprint::of(["shop", job])
}

/// A machine with a runtime of its own, so that its leases are kept while the test waits.
pub(crate) struct Machine {
    pub(crate) source: Postgres,
    pub(crate) leases: Leases,
    pub(crate) runtime: Runtime,
}

impl Machine {
    pub(crate) fn at(url: &str) -> Machine {
        Machine::with(&settings(url), LOST_AFTER)
    }

    pub(crate) fn with(settings: &PostgresSettings, lost_after: Duration) -> Machine {
        let runtime = Runtime::new().unwrap();
        let source = Postgres::new(settings).unwrap();
        let leases = runtime.block_on(async { source.leases_lost_after(lost_after) });
        Machine { source, leases, runtime }
    }

    pub(crate) fn wants(&self, job: &str) -> Acquired {
        let acquired = async { timeout(PATIENCE, self.leases.acquire(name_of(job))).await };
        self.runtime.block_on(acquired).expect("an answer in time").unwrap()
    }

    /// A lease that is free.
    #[track_caller]
    pub(crate) fn takes(&self, job: &str) -> Lease {
        match self.wants(job) {
            Acquired::Held(lease) => lease,
            other => panic!("{job}: {other:?}"),
        }
    }

    /// Somebody else has it.
    #[track_caller]
    pub(crate) fn is_refused(&self, job: &str) -> Option<Holder> {
        match self.wants(job) {
            Acquired::HeldElsewhere(holder) => holder,
            other => panic!("{job}: {other:?}"),
        }
    }

    /// Wants it until it is free; how long that took.
    pub(crate) fn waits_for(&self, job: &str) -> (Lease, Duration) {
        let start = Instant::now();
        let lease = wait_for("a free lease", || match self.wants(job) {
            Acquired::Held(lease) => Some(lease),
            _ => None,
        });
        (lease, start.elapsed())
    }

    pub(crate) fn gives_back(&self, lease: Lease) {
        self.runtime.block_on(lease.release());
    }
}

/// The advisory locks of a database that are somebody's alone.
pub(crate) const LOCKS: &str = "pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' \
     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

pub(crate) fn locks(database: &Database) -> usize {
    count(database, LOCKS)
}

/// The sessions of the account `warm`.
pub(crate) fn sessions(database: &Database) -> usize {
    count(database, "pg_stat_activity WHERE usename = 'warm' AND datname = current_database()")
}

pub(crate) fn count(database: &Database, from: &str) -> usize {
    database.sql(&format!("SELECT count(*) FROM {from}")).parse().unwrap()
}

/// Sends a signal to a process.
pub(crate) fn signal(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{signal} {pid}");
}

/// A machine in a process of its own.
pub(crate) struct Process {
    child: Child,
    answers: BufReader<ChildStdout>,
}

const URL: &str = "HOLDER_URL";
const LIMIT: &str = "HOLDER_LOST_AFTER_MS";
const ANSWER: &str = "answer: ";

impl Process {
    pub(crate) fn at(url: &str, lost_after: Duration) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "machine::a_process", "--ignored", "--nocapture"])
            .env(URL, url)
            .env(LIMIT, lost_after.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Process { child, answers }
    }

    /// Wants a lease and keeps it; what came of it.
    pub(crate) fn wants(&mut self, job: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{job}").unwrap();
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).unwrap(), 0, "the process has ended");
            // The test harness writes to the same line.
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim().to_owned();
            }
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        self::signal(self.child.id(), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is stopped, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "this is the process that other tests start"]
fn a_process() {
    let Ok(url) = std::env::var(URL) else { return };
    let lost_after = Duration::from_millis(std::env::var(LIMIT).unwrap().parse().unwrap());
    let machine = Machine::with(&settings(&url), lost_after);
    let mut held = Vec::new();
    for job in std::io::stdin().lines().map_while(Result::ok) {
        let answer = match machine.wants(&job) {
            Acquired::Held(lease) => {
                held.push(lease);
                "held"
            }
            Acquired::HeldHere => "held here",
            Acquired::HeldElsewhere(_) => "held elsewhere",
            Acquired::NotPossible(reason) => reason,
        };
        println!("{ANSWER}{answer}");
    }
}
