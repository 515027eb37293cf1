//! The figures, and whether they prove anything.

use std::fmt;

use crate::app::Mode;
use crate::plan::{ROWS, Start, WRITES};
use crate::stage::Rest;
use crate::warmers::Strategy;

/// What came of the rounds of one strategy, one mode and one start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cell {
    pub rest: Rest,
    pub writes: u64,
    pub passes: usize,
}

#[derive(Default)]
pub struct Table {
    cells: Vec<(Strategy, Mode, Start, Cell)>,
}

impl Table {
    pub fn add(&mut self, strategy: Strategy, mode: Mode, start: Start, cell: Cell) {
        self.cells.push((strategy, mode, start, cell));
    }

    /// Everything together that a strategy did.
    fn sum(&self, strategy: Strategy) -> Cell {
        let own = self.cells.iter().filter(|(other, ..)| *other == strategy);
        own.fold(Cell::default(), |sum, (.., cell)| Cell {
            rest: Rest {
                fresh: sum.rest.fresh + cell.rest.fresh,
                stale: sum.rest.stale + cell.rest.stale,
                dying: sum.rest.dying + cell.rest.dying,
            },
            writes: sum.writes + cell.writes,
            passes: sum.passes + cell.passes,
        })
    }

    fn strategies(&self) -> impl Iterator<Item = Strategy> {
        Strategy::ALL.into_iter().filter(|strategy| self.cells.iter().any(|(other, ..)| other == strategy))
    }

    /// What must not be.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let alone = self.sum(Strategy::Control).fresh();
        for strategy in self.strategies() {
            let (name, sum) = (strategy.name(), self.sum(strategy));
            if strategy.is_right() && sum.rest.stale > 0 {
                wrong.push(format!("{name}: {} stale keys", sum.rest.stale));
            }
            if !strategy.is_right() && sum.rest.stale == 0 {
                wrong.push(format!("{name}: no stale key at all, so that this run proves nothing"));
            }
            if strategy == Strategy::Warm && sum.fresh() <= alone {
                wrong.push(format!("{name}: fills nothing, so that this run proves nothing"));
            }
        }
        wrong
    }
}

impl Cell {
    /// The share of keys that hold what they ought to, of all rows that there have been.
    fn fresh(&self) -> f64 {
        let rows = self.writes / WRITES as u64 * ROWS as u64;
        self.rest.fresh as f64 / rows as f64
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Stale keys once the application is at rest, of so many writes of the application:\n")?;
        write!(f, "| strategy |")?;
        let columns = || Mode::ALL.into_iter().flat_map(|mode| Start::ALL.map(|start| (mode, start)));
        for (mode, start) in columns() {
            write!(f, " {}, {} |", mode.name(), start.name())?;
        }
        writeln!(f, " passes | fresh keys | dying keys |\n|---|{}---:|---:|---:|", "---:|".repeat(columns().count()))?;
        for strategy in self.strategies() {
            write!(f, "| {} |", strategy.name())?;
            for (_, _, _, cell) in self.cells.iter().filter(|(other, ..)| *other == strategy) {
                write!(f, " {} of {} |", cell.rest.stale, cell.writes)?;
            }
            let sum = self.sum(strategy);
            writeln!(f, " {} | {:.0} % | {} |", sum.passes, 100.0 * sum.fresh(), sum.rest.dying)?;
        }
        Ok(())
    }
}
