//! The table of the rows, as a session for threads that block.

use std::collections::HashMap;
use std::ops::Range;

use sqlx::{Connection, PgConnection, Row};
use tokio::runtime::{Builder, Runtime};

use crate::support::postgres::Database;

/// The rows of one round.
pub type Rows = Range<i32>;

/// What every warmer asks for. A query in real life takes its time, too, during which its snapshot grows old.
pub const QUERY: &str = "SELECT id, payload FROM items, pg_sleep(0.02) WHERE id >= $1 AND id < $2";

/// A session of PostgreSQL.
pub struct Items {
    runtime: Runtime,
    session: PgConnection,
}

/// The key of a row.
pub fn key(id: i32) -> String {
    format!("t:{id}")
}

/// A value for a row; no two writes make the same one.
pub fn payload(id: i32, write: u64) -> String {
    format!("{id}:{write:060}")
}

impl Items {
    pub fn of(database: &Database) -> Items {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let session = runtime.block_on(PgConnection::connect(&database.admin_url())).unwrap();
        Items { runtime, session }
    }

    /// Runs a statement without parameters.
    pub fn run(&mut self, sql: &'static str) {
        self.runtime.block_on(sqlx::raw_sql(sql).execute(&mut self.session)).unwrap();
    }

    /// The row's new value, or its end.
    pub fn put(&mut self, id: i32, payload: Option<&str>) {
        let query = match payload {
            Some(payload) => {
                let upsert =
                    "INSERT INTO items VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET payload = excluded.payload";
                sqlx::query(upsert).bind(id).bind(payload)
            }
            None => sqlx::query("DELETE FROM items WHERE id = $1").bind(id),
        };
        self.runtime.block_on(query.execute(&mut self.session)).unwrap();
    }

    pub fn get(&mut self, id: i32) -> Option<String> {
        let query = sqlx::query_scalar("SELECT payload FROM items WHERE id = $1").bind(id);
        self.runtime.block_on(query.fetch_optional(&mut self.session)).unwrap()
    }

    /// The rows as a warmer reads them.
    pub fn read(&mut self, rows: &Rows) -> Vec<(i32, String)> {
        let query = sqlx::query(QUERY).bind(rows.start).bind(rows.end);
        let found = self.runtime.block_on(query.fetch_all(&mut self.session)).unwrap();
        found.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// All keys with the values that they ought to have.
    pub fn all(&mut self) -> HashMap<String, String> {
        let query = sqlx::query("SELECT id, payload FROM items");
        let found = self.runtime.block_on(query.fetch_all(&mut self.session)).unwrap();
        found.iter().map(|row| (key(row.get(0)), row.get(1))).collect()
    }
}
