//! An application that changes rows and deletes their keys afterwards, all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use redis::Connection;

use crate::support::postgres::Database;
use crate::support::redis::Redis;

/// Rows of each table.
pub(crate) const ROWS: u64 = 500;
/// The tables; in the cache each row is `t:TABLE:ID`.
pub(crate) const TABLES: [&str; 2] = ["requeried", "versioned"];
/// Lists of a tenth of the rows of the first table: `t:list:N`.
pub(crate) const LISTS: u64 = 10;

pub(crate) struct Application {
    ends: Arc<AtomicBool>,
    working: Arc<Mutex<()>>,
    thread: JoinHandle<u64>,
}

impl Application {
    pub(crate) fn start(database: &Database, redis: &Redis) -> Application {
        let (ends, working) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(())));
        let (database, socket) = (database.clone(), redis.socket());
        let (ended, at_work) = (Arc::clone(&ends), Arc::clone(&working));
        let thread = spawn(move || {
            let (mut session, mut changes) = (database.session(), 0);
            let mut connection = None;
            while !ended.load(Ordering::Relaxed) {
                let _at_work = at_work.lock().unwrap();
                let (table, id) = (TABLES[fastrand::usize(0..2)], fastrand::u64(1..=ROWS));
                session.say(&format!("UPDATE {table} SET v = v + 1 WHERE id = {id};"));
                delete(&mut connection, &socket, &[format!("t:{table}:{id}"), format!("t:list:{}", id % LISTS)]);
                changes += 1;
                sleep(Duration::from_millis(2));
            }
            changes
        });
        Application { ends, working, thread }
    }

    /// Lets it rest as long as what is returned lives.
    pub(crate) fn rest_if(&self, rests: bool) -> Option<MutexGuard<'_, ()>> {
        rests.then(|| self.working.lock().unwrap())
    }

    pub(crate) fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        println!("the application has changed {} rows", self.thread.join().unwrap());
    }
}

/// Deletes the keys, however often the server goes away meanwhile: an application that gives up has a stale cache by its own fault.
fn delete(connection: &mut Option<Connection>, socket: &str, keys: &[String]) {
    loop {
        if let Some(open) = connection
            && redis::cmd("UNLINK").arg(keys).exec(open).is_ok()
        {
            return;
        }
        *connection = redis::Client::open(format!("unix://{socket}")).unwrap().get_connection().ok();
        if connection.is_none() {
            sleep(Duration::from_millis(20));
        }
    }
}
