//! The rows of each round, and what is stale in the cache.

use redis::{Commands, Connection};

use crate::items::{Items, Rows, key, payload};
use crate::plan::ROWS;
use crate::support::world::World;

/// The lifetime of every key, in seconds: so much longer than all rounds of a cell that no stale one is near its end when it is counted.
pub const TTL: u64 = 3600;

/// How long a value may live that `warm` has not confirmed, in milliseconds. When everybody has gone home, nobody can give it more.
const PROVISIONAL: i64 = 10_000;

pub struct Stage<'w> {
    pub world: &'w World,
    items: Items,
    redis: Connection,
    next_row: i32,
}

/// The cache at rest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rest {
    /// Keys that hold their row's value, and live on.
    pub fresh: usize,
    /// Keys that hold another, and live on.
    pub stale: usize,
    /// Keys that are gone in ten seconds, whatever they hold.
    pub dying: usize,
}

impl<'w> Stage<'w> {
    pub fn on(world: &'w World) -> Stage<'w> {
        world.sql("CREATE TABLE items (id int PRIMARY KEY, payload text NOT NULL)");
        let (items, redis) = (Items::of(&world.database), world.redis.connect());
        Stage { world, items, redis, next_row: 0 }
    }

    /// Removes all rows and keys.
    pub fn clear(&mut self) {
        self.items.run("TRUNCATE items");
        self.redis.flushall::<()>().unwrap();
    }

    /// Makes the rows of a round.
    pub fn rows(&mut self) -> Rows {
        let rows = self.next_row..self.next_row + ROWS;
        self.next_row = rows.end;
        rows.clone().for_each(|id| self.items.put(id, Some(&payload(id, 0))));
        rows
    }

    /// Puts the rows into the cache.
    pub fn fill(&mut self, rows: &Rows) {
        let mut pipe = redis::pipe();
        for id in rows.clone() {
            pipe.set_ex(key(id), payload(id, 0), TTL).ignore();
        }
        pipe.exec(&mut self.redis).unwrap();
    }

    /// Compares every key with its row.
    pub fn at_rest(&mut self) -> Rest {
        let rows = self.items.all();
        let keys: Vec<String> = self.redis.keys("t:*").unwrap();
        let mut pipe = redis::pipe();
        keys.iter().for_each(|key| {
            pipe.get(key).pttl(key);
        });
        let held: Vec<(Option<String>, i64)> = pipe.query(&mut self.redis).unwrap();
        let mut rest = Rest::default();
        for (key, (value, life)) in keys.iter().zip(held) {
            let count = match value {
                None => continue,
                Some(_) if (0..=PROVISIONAL).contains(&life) => &mut rest.dying,
                Some(value) if rows.get(key) == Some(&value) => &mut rest.fresh,
                Some(_) => &mut rest.stale,
            };
            *count += 1;
        }
        rest
    }
}
