//! How much is done.

use std::path::PathBuf;

use crate::warmers::Strategy;

const USAGE: &str = "\
benches/races/run [--quick] [--writes N] [--warm-writes N]

  --quick           a small part of it, in less than a minute
  --writes N        the application's writes for each cell of the table (20000)
  --warm-writes N   the same for the cells of warm (80000)";

/// Rows of one round.
pub const ROWS: i32 = 300;
/// Writers of the application.
pub const WRITERS: usize = 4;
/// The application's writes in one round, all writers together.
pub const WRITES: usize = 800;

/// How many writes there are, and who takes part.
pub struct Plan {
    writes: usize,
    warm_writes: usize,
    /// The Node warmer's script, installed; without it there is no such row.
    pub node: Option<PathBuf>,
}

/// What the cache holds when the application begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Cold,
    Warm,
}

impl Plan {
    /// Reads the arguments.
    ///
    /// # Errors
    /// How it is used, if that is asked for or necessary.
    pub fn of(arguments: impl Iterator<Item = String>) -> Result<Plan, &'static str> {
        let mut plan = Plan { writes: 20_000, warm_writes: 80_000, node: None };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse().ok()).ok_or(USAGE);
            match argument.as_str() {
                // Cargo says so to every benchmark.
                "--bench" => {}
                "--quick" => (plan.writes, plan.warm_writes) = (3_200, 9_600),
                "--writes" => plan.writes = number()?,
                "--warm-writes" => plan.warm_writes = number()?,
                "--node" => plan.node = arguments.next().map(PathBuf::from),
                _ => return Err(USAGE),
            }
        }
        Ok(plan)
    }

    /// Who takes part.
    pub fn strategies(&self) -> impl Iterator<Item = Strategy> {
        Strategy::ALL.into_iter().filter(|strategy| *strategy != Strategy::Node || self.node.is_some())
    }

    /// How many rounds a cell of the table has.
    pub fn rounds(&self, strategy: Strategy) -> usize {
        if strategy == Strategy::Warm { self.warm_writes } else { self.writes }.div_ceil(WRITES)
    }
}

impl Start {
    pub const ALL: [Start; 2] = [Start::Cold, Start::Warm];

    pub fn name(self) -> &'static str {
        match self {
            Start::Cold => "cold",
            Start::Warm => "warm",
        }
    }
}
