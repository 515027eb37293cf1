//! A door in the middle of a query, so that something can be done while a run is certain to be there.

use super::postgres::{Database, Session};
use super::server::wait_for;

/// The door of this number is shut as long as this lives. A query goes through it with `wait(NUMBER)`.
pub struct Gate {
    database: Database,
    number: u8,
    /// Holds the advisory lock that `wait` asks for.
    holder: Session,
}

impl Gate {
    pub fn shut(database: &Database, number: u8) -> Gate {
        database.sql(
            "CREATE OR REPLACE FUNCTION wait(gate int) RETURNS bool LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_advisory_xact_lock_shared(gate); RETURN true; END $$",
        );
        let mut holder = database.session();
        holder.say(&format!("SELECT pg_advisory_lock({number});"));
        Gate { database: database.clone(), number, holder }
    }

    /// Waits until a query stands before it.
    pub fn wait_for_query(&self) {
        let waiting = format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {} AND NOT granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            self.number
        );
        wait_for("the query", || (self.database.sql(&waiting) == "1").then_some(()));
    }

    pub fn open(mut self) {
        self.holder.say(&format!("SELECT pg_advisory_unlock({});", self.number));
    }
}
