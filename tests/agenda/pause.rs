//! Paused jobs.

use warm::ground::passed::Reason;
use warm::ground::request::Trigger;
use warm::triggers::{Agenda, Ended};

use super::{agenda, at, begun, job, passed};

const NOON: &str = "2026-11-24T12:00:00Z";
const FIVE: &str = "2026-11-24T12:05:00Z";

/// Paused at noon, with five starts that nobody made until five past.
fn paused(fields: &str) -> (std::sync::Arc<warm::ground::job::Job>, Agenda) {
    let job = job("a", &format!("schedule = '* * * * *'\nsplay = '0s'\n{fields}"));
    let mut agenda = agenda(&job, Some(NOON), NOON);
    agenda.pause(|name| name == "a", at(NOON));
    let (starts, counted) = begun(&mut agenda, FIVE);
    assert!(starts.is_empty());
    assert_eq!(counted, [passed(&job, FIVE, 5, Reason::Paused)]);
    assert_eq!(agenda.next(at(FIVE)).map(|(_, next)| next), None);
    (job, agenda)
}

/// The triggers and due times of what begins after the pause, one after the other.
fn made_up(agenda: &mut Agenda, now: &str) -> Vec<(Trigger, String)> {
    agenda.pause(|_| false, at(now));
    let mut runs = Vec::new();
    loop {
        let (starts, counted) = begun(agenda, now);
        assert_eq!(counted, [], "each was counted once");
        let Some(start) = starts.first() else { return runs };
        runs.push((start.trigger, start.due.unwrap().format("%H:%M").to_string()));
        agenda.ended(start.run, Ended::Served, at(now));
    }
}

#[test]
fn what_came_due_in_a_pause_is_counted_and_made_up_for_at_its_end() {
    let (_, mut agenda) = paused("");
    // It is paused still; nothing is done twice.
    agenda.pause(|_| true, at(FIVE));
    assert_eq!(begun(&mut agenda, FIVE).0.len(), 0);
    assert_eq!(made_up(&mut agenda, "2026-11-24T12:05:30Z"), [(Trigger::CatchUp, "12:05".to_owned())]);
    assert_eq!(made_up(&mut agenda, "2026-11-24T12:05:40Z"), [], "once");
    assert_eq!(begun(&mut agenda, "2026-11-24T12:06:00Z").0[0].trigger, Trigger::Schedule);
}

#[test]
fn catch_up_says_what_is_made_up() {
    let (_, mut agenda) = paused("catch_up = 'none'");
    assert_eq!(made_up(&mut agenda, "2026-11-24T12:05:30Z"), []);
    let (_, mut agenda) = paused("catch_up = 'all'");
    let dues: Vec<_> = made_up(&mut agenda, "2026-11-24T12:05:30Z").into_iter().map(|(_, due)| due).collect();
    assert_eq!(dues, ["12:01", "12:02", "12:03", "12:04", "12:05"]);
}

#[test]
fn a_pause_without_a_start_leaves_nothing_to_make_up() {
    let job = job("a", "schedule = '@hourly'\nsplay = '0s'");
    let mut agenda = agenda(&job, Some(NOON), NOON);
    agenda.pause(|_| true, at(NOON));
    assert_eq!(begun(&mut agenda, FIVE).0.len(), 0);
    assert_eq!(made_up(&mut agenda, FIVE), []);
}

#[test]
fn a_run_that_is_under_way_goes_on_and_a_lost_cache_is_filled_after_the_pause() {
    let job = job("a", "schedule = '@hourly'\nsplay = '0s'");
    let mut agenda = agenda(&job, None, NOON);
    let (starts, _) = begun(&mut agenda, NOON);
    agenda.pause(|_| true, at(NOON));
    assert_eq!(agenda.tick(at(FIVE)).stop, []);
    agenda.ended(starts[0].run, Ended::FailedForNow, at(FIVE));
    agenda.refill(at(FIVE));
    assert!(begun(&mut agenda, "2026-11-24T12:30:00Z").0.is_empty(), "neither another try nor a refill");
    agenda.pause(|_| false, at("2026-11-24T12:30:00Z"));
    assert_eq!(begun(&mut agenda, "2026-11-24T12:30:00Z").0[0].trigger, Trigger::Refill);
}
