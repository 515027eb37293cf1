//! The figures, and whether they prove anything.

use std::fmt;

use crate::app::Mode;
use crate::plan::{ROWS, Start, WRITES};
use crate::warmers::Strategy;

/// What came of the rounds of one strategy, one mode and one start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cell {
    pub stale: usize,
    pub present: usize,
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
            stale: sum.stale + cell.stale,
            present: sum.present + cell.present,
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
        let share = |cell: &Cell| cell.present as f64 / cell.rows() as f64;
        let alone = share(&self.sum(Strategy::Control));
        for strategy in self.strategies() {
            let (name, sum) = (strategy.name(), self.sum(strategy));
            if strategy.is_right() && sum.stale > 0 {
                wrong.push(format!("{name}: {} stale keys", sum.stale));
            }
            if !strategy.is_right() && sum.stale == 0 {
                wrong.push(format!("{name}: no stale key at all, so that this run proves nothing"));
            }
            if strategy != Strategy::Control && share(&sum) <= alone {
                wrong.push(format!("{name}: fills nothing"));
            }
        }
        wrong
    }
}

impl Cell {
    /// How many rows there were.
    fn rows(&self) -> u64 {
        self.writes / WRITES as u64 * ROWS as u64
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
        writeln!(f, " passes | keys present |\n|---|{}---:|---:|", "---:|".repeat(columns().count()))?;
        for strategy in self.strategies() {
            write!(f, "| {} |", strategy.name())?;
            for (_, _, _, cell) in self.cells.iter().filter(|(other, ..)| *other == strategy) {
                write!(f, " {} of {} |", cell.stale, cell.writes)?;
            }
            let sum = self.sum(strategy);
            writeln!(f, " {} | {:.0} % |", sum.passes, 100.0 * sum.present as f64 / sum.rows() as f64)?;
        }
        Ok(())
    }
}
