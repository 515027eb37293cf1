//! Who leaves stale keys behind: the race between an application and the warmer of its cache, run for real.
//!
//! ```text
//! main     the cells of the table, one after the other
//! plan     how much is done, from the command line
//! stage    the rows of each round, and what is stale in the cache
//! items    the table of the rows
//! app      an application whose writers each own their rows, so that alone it leaves nothing stale
//! warmers  those who write to the same cache meanwhile: what everybody does, and `warm`
//! round    one strategy against one way to invalidate, many short rounds
//! table    the figures, and whether they prove anything
//! ```
//!
//! A stale key is healed by the application's next write to its row, so a long run shows only its last moments. Hence many short rounds,
//! each with rows of its own: what is stale when the application comes to rest stays so, and is counted when all rounds are over.
//!
//! It fails if `warm` or the application alone leaves a stale key, and also if any other strategy leaves none: then nothing was shown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod app;
mod items;
mod plan;
mod round;
mod stage;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod warmers;

use std::process::ExitCode;
use std::time::Instant;

use app::Mode;
use plan::{Plan, Start};
use stage::Stage;
use support::postgres::Postgres;
use support::redis::Redis;
use support::world::World;
use table::Table;

fn main() -> ExitCode {
    let plan = match Plan::of(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    let postgres = Postgres::start(&["synchronous_commit=off"]);
    let world = World::of(postgres.database(), Redis::start(""));
    let mut stage = Stage::on(&world);
    let mut table = Table::default();
    for strategy in plan.strategies() {
        let start = Instant::now();
        for mode in Mode::ALL {
            for state in Start::ALL {
                table.add(strategy, mode, state, round::rounds(&mut stage, &plan, strategy, mode, state));
            }
        }
        eprintln!("{}: {:.0} s", strategy.name(), start.elapsed().as_secs_f64());
    }
    println!("{table}");
    let wrong = table.wrong();
    wrong.iter().for_each(|wrong| eprintln!("races: {wrong}"));
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
