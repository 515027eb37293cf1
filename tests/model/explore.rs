//! All orders of steps, shortest first.

use std::collections::HashSet;
use std::fmt;

use crate::state::{End, Event, Scenario, State, Step};
use crate::warmer::{self, Check};

/// The shortest way to an end.
#[derive(Debug)]
pub struct Found {
    end: End,
    events: Vec<Event>,
    scenario: Scenario,
}

/// Goes through all states that can be reached, in order of their distance.
///
/// # Errors
/// The shortest way to one of `ends`, else the number of states.
pub fn explore(scenario: &Scenario, omitted: &[Check], ends: &[End]) -> Result<usize, Found> {
    let first = State::first(scenario);
    let mut seen = HashSet::from([first]);
    // Each state with the place of the one before it.
    let mut reached: Vec<(State, usize, Event)> = vec![(first, 0, ("", "", 0))];
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    while at < reached.len() {
        let state = reached[at].0;
        steps.clear();
        state.steps(scenario, &mut steps);
        (0..scenario.warmers).for_each(|number| warmer::steps(&state, number, scenario, omitted, &mut steps));
        for (event, next, end) in steps.drain(..) {
            let end = if next.is_stale(scenario) { Some(End::Stale) } else { end };
            if let Some(end) = end.filter(|end| ends.contains(end)) {
                let mut events = vec![event];
                let mut back = at;
                while back != 0 {
                    events.push(reached[back].2);
                    back = reached[back].1;
                }
                events.reverse();
                return Err(Found { end, events, scenario: scenario.clone() });
            }
            let next = next.canonical();
            if seen.insert(next) {
                reached.push((next, at, event));
            }
        }
        at += 1;
    }
    Ok(reached.len())
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.end {
            End::Confirmed => "confirmed",
            End::Stale => "stale",
            End::Overwritten => "overwritten",
        };
        write!(f, "{name}: ")?;
        for (place, (who, what, value)) in self.events.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            match value {
                0 => write!(f, "{comma}{who} {what}")?,
                _ => write!(f, "{comma}{who} {what} {value}")?,
            }
        }
        if f.alternate() { write!(f, "\n  in {:?}", self.scenario) } else { Ok(()) }
    }
}
