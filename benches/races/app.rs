//! An application with a cache.
//!
//! Each row belongs to one writer, who also fills its key when a reader misses it. So nothing in the application races with anything else
//! in it: what is stale in the end, somebody else has left there.

use std::time::Duration;

use redis::{Commands, Connection};

use crate::items::{Items, Rows, key, payload};
use crate::plan::{WRITERS, WRITES};
use crate::stage::TTL;
use crate::support::world::World;

/// What the application does to the key of a row that it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    DeleteAfter,
    WriteAfter,
    DeleteBefore,
}

pub struct App {
    writers: Vec<Writer>,
}

struct Writer {
    number: usize,
    random: fastrand::Rng,
    items: Items,
    redis: Connection,
    writes: u64,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::DeleteAfter, Mode::WriteAfter, Mode::DeleteBefore];

    pub fn name(self) -> &'static str {
        match self {
            Mode::DeleteAfter => "delete after commit",
            Mode::WriteAfter => "write after commit",
            Mode::DeleteBefore => "delete before commit",
        }
    }
}

impl App {
    pub fn on(world: &World) -> App {
        let writer = |number| Writer {
            number,
            random: fastrand::Rng::with_seed(number as u64),
            items: Items::of(&world.database),
            redis: world.redis.connect(),
            writes: 0,
        };
        App { writers: (0..WRITERS).map(writer).collect() }
    }

    /// Works on the rows until there have been enough writes.
    pub fn work(&mut self, mode: Mode, rows: &Rows) {
        std::thread::scope(|scope| {
            for writer in &mut self.writers {
                scope.spawn(|| writer.work(mode, rows));
            }
        });
    }

    /// The writes that there have been.
    pub fn writes(&self) -> u64 {
        self.writers.iter().map(|writer| writer.writes).sum()
    }
}

impl Writer {
    fn work(&mut self, mode: Mode, rows: &Rows) {
        let end = self.writes + (WRITES / WRITERS) as u64;
        let own: Vec<i32> = rows.clone().skip(self.number).step_by(WRITERS).collect();
        while self.writes < end {
            let id = own[self.random.usize(..own.len())];
            if self.random.u8(..3) == 0 { self.read(id) } else { self.write(mode, id) }
        }
    }

    /// A reader who fills on a miss.
    fn read(&mut self, id: i32) {
        if self.redis.get::<_, Option<String>>(key(id)).unwrap().is_some() {
            return;
        }
        if let Some(payload) = self.items.get(id) {
            self.redis.set_ex::<_, _, ()>(key(id), payload, TTL).unwrap();
        }
    }

    /// A change, which is the end of its row once in ten times.
    fn write(&mut self, mode: Mode, id: i32) {
        self.writes += 1;
        let new = (self.random.u8(..10) != 0).then(|| payload(id, self.writes));
        if mode == Mode::DeleteBefore {
            self.items.run("BEGIN");
            self.items.put(id, new.as_deref());
            self.redis.del::<_, ()>(key(id)).unwrap();
            self.dawdle();
            self.items.run("COMMIT");
            return;
        }
        self.items.put(id, new.as_deref());
        self.dawdle();
        match new {
            Some(new) if mode == Mode::WriteAfter => self.redis.set_ex::<_, _, ()>(key(id), new, TTL).unwrap(),
            _ => self.redis.del::<_, ()>(key(id)).unwrap(),
        }
    }

    /// Now and then something takes its time between the commit and the key, in whichever order they come.
    fn dawdle(&mut self) {
        if self.random.u8(..20) == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
