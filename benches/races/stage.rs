//! The rows of each round, and what is stale in the cache.

use std::time::{Duration, Instant};

use redis::{Commands, Connection};

use crate::items::{Items, Rows, key, payload};
use crate::plan::ROWS;
use crate::support::world::World;

/// The lifetime of every key, in seconds: longer than all rounds of a cell, so that no stale one dies before it is counted.
pub const TTL: u64 = 600;

/// How long `warm` may leave a value in the cache that it has not confirmed, in milliseconds, and a little more.
const PROVISIONAL: i64 = 11_000;

pub struct Stage<'w> {
    pub world: &'w World,
    items: Items,
    redis: Connection,
    next_row: i32,
}

/// The cache at rest.
pub struct Rest {
    pub stale: usize,
    pub present: usize,
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

    /// Compares every key with its row. Those that are stale and about to die are waited for: what is left is stale for good.
    pub fn at_rest(&mut self) -> Rest {
        let rows = self.items.all();
        let start = Instant::now();
        loop {
            let present = self.present();
            let stale: Vec<_> = present.iter().filter(|(key, value)| rows.get(key) != Some(value)).collect();
            let dying = stale.iter().any(|(key, _)| self.redis.pttl::<_, i64>(key).unwrap() < PROVISIONAL);
            if !dying || start.elapsed().as_millis() > PROVISIONAL as u128 {
                return Rest { stale: stale.len(), present: present.len() };
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn present(&mut self) -> Vec<(String, String)> {
        let keys: Vec<String> = self.redis.keys("t:*").unwrap();
        let mut pipe = redis::pipe();
        keys.iter().for_each(|key| {
            pipe.get(key);
        });
        let values: Vec<Option<String>> = pipe.query(&mut self.redis).unwrap();
        keys.into_iter().zip(values).filter_map(|(key, value)| Some((key, value?))).collect()
    }
}
