//! A job that comes due while it still runs.

use warm::ground::passed::Reason;
use warm::ground::request::Trigger;
use warm::triggers::Ended;

use super::{agenda, at, begun, job, passed};

fn every_minute(fields: &str) -> String {
    format!("schedule = '* * * * *'\nsplay = '0s'\n{fields}")
}

#[test]
fn skipped_times_are_counted() {
    let job = job("a", &every_minute(""));
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:00:30Z");
    let (starts, _) = begun(&mut agenda, "2026-11-24T12:01:00Z");
    let (none, skipped) = begun(&mut agenda, "2026-11-24T12:02:00Z");
    assert!(none.is_empty());
    assert_eq!(skipped, [passed(&job, "2026-11-24T12:02:00Z", 1, Reason::Overlap)]);
    agenda.ended(starts[0].run, Ended::Served, at("2026-11-24T12:02:30Z"));
    assert!(begun(&mut agenda, "2026-11-24T12:02:40Z").0.is_empty(), "what was skipped is not made up");
    assert_eq!(begun(&mut agenda, "2026-11-24T12:03:00Z").0.len(), 1);
}

#[test]
fn a_new_run_may_take_the_place_of_the_old_one() {
    let job = job("a", &every_minute("overlap = 'replace'"));
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:00:30Z");
    let (starts, _) = begun(&mut agenda, "2026-11-24T12:01:00Z");
    let tick = agenda.tick(at("2026-11-24T12:02:00Z"));
    assert_eq!((tick.stop, tick.passed), (vec![starts[0].run], vec![]));
    assert!(agenda.take(at("2026-11-24T12:02:00Z"), 9).is_empty(), "not before the old one has ended");
    agenda.ended(starts[0].run, Ended::Stopped, at("2026-11-24T12:02:01Z"));
    let starts = agenda.take(at("2026-11-24T12:02:01Z"), 9);
    assert_eq!((starts.len(), starts[0].due), (1, Some(at("2026-11-24T12:02:00Z"))));
}

#[test]
fn both_may_run() {
    let job = job("a", &every_minute("overlap = 'allow'"));
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:00:30Z");
    assert_eq!(begun(&mut agenda, "2026-11-24T12:01:00Z").0.len(), 1);
    assert_eq!(begun(&mut agenda, "2026-11-24T12:02:00Z").0.len(), 1);
}

#[test]
fn what_waits_for_room_is_served_by_one_run() {
    let job = job("a", &every_minute(""));
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:00:30Z");
    assert_eq!(agenda.tick(at("2026-11-24T12:01:00Z")).passed, []);
    let (starts, superseded) = begun(&mut agenda, "2026-11-24T12:02:00Z");
    assert_eq!((starts.len(), starts[0].trigger), (1, Trigger::Schedule));
    assert_eq!(superseded, [passed(&job, "2026-11-24T12:01:00Z", 1, Reason::Superseded)]);
}
