//! One strategy against one way to invalidate.

use crate::app::{App, Mode};
use crate::plan::{Plan, Start};
use crate::stage::Stage;
use crate::table::Cell;
use crate::warmers::Strategy;

/// Many short rounds, in each of which the warmer makes one pass after the other until the application comes to rest.
///
/// The pass that it is just making goes on to its end.
pub fn rounds(stage: &mut Stage<'_>, plan: &Plan, strategy: Strategy, mode: Mode, start: Start) -> Cell {
    stage.clear();
    let mut app = App::on(stage.world);
    let mut warmer = strategy.warmer(stage.world, plan, mode);
    let mut passes = 0;
    for _ in 0..plan.rounds(strategy) {
        let rows = stage.rows();
        if start == Start::Warm {
            stage.fill(&rows);
        }
        std::thread::scope(|scope| {
            let app = scope.spawn(|| app.work(mode, &rows));
            while !app.is_finished() {
                warmer.pass(&rows);
                passes += 1;
            }
        });
    }
    drop(warmer);
    Cell { rest: stage.at_rest(), writes: app.writes(), passes }
}
