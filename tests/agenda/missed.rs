//! Starts that were missed.

use warm::ground::due::Known;
use warm::ground::passed::Reason;
use warm::ground::request::Trigger;
use warm::triggers::{Agenda, Ended};

use super::{agenda, at, begun, job, passed};

const HOURLY: &str = "schedule = '0 * * * *'\nsplay = '0s'\n";

fn with(fields: &str) -> String {
    format!("{HOURLY}{fields}")
}

#[test]
fn a_start_on_time_is_the_schedules() {
    let job = job("a", HOURLY);
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:30:00Z");
    assert!(begun(&mut agenda, "2026-11-24T12:59:59Z").0.is_empty());
    let (starts, missed) = begun(&mut agenda, "2026-11-24T13:00:00Z");
    assert_eq!(
        (starts.len(), starts[0].due, starts[0].trigger),
        (1, Some(at("2026-11-24T13:00:00Z")), Trigger::Schedule)
    );
    assert_eq!(missed, []);
    agenda.ended(starts[0].run, Ended::Served, at("2026-11-24T13:00:05Z"));
    assert!(begun(&mut agenda, "2026-11-24T13:59:59Z").0.is_empty(), "once");
}

#[test]
fn a_job_that_nobody_has_seen_run_runs_at_once() {
    let job = job("a", HOURLY);
    let (starts, missed) = begun(&mut agenda(&job, None, "2026-11-24T12:30:00Z"), "2026-11-24T12:30:00Z");
    assert_eq!((starts[0].due, starts[0].trigger), (Some(at("2026-11-24T12:00:00Z")), Trigger::CatchUp));
    assert_eq!(missed, []);
}

#[test]
fn a_job_that_makes_nothing_up_begins_with_a_start_that_is_still_on_time() {
    let quiet = super::job("a", &with("catch_up = 'none'"));
    let (starts, missed) = begun(&mut agenda(&quiet, None, "2026-11-24T12:00:50Z"), "2026-11-24T12:00:50Z");
    assert_eq!((starts[0].due, missed), (Some(at("2026-11-24T12:00:00Z")), vec![]));
    let (starts, missed) = begun(&mut agenda(&quiet, None, "2026-11-24T12:30:00Z"), "2026-11-24T12:30:00Z");
    assert_eq!((starts.len(), missed), (0, vec![passed(&quiet, "2026-11-24T12:00:00Z", 1, Reason::Missed)]));
    // A process that comes later knows that.
    let known = Known { served: None, passed: Some(at("2026-11-24T12:00:00Z")) };
    let mut later = Agenda::new(&[quiet], |_| known, at("2026-11-24T12:40:00Z"));
    let (starts, missed) = begun(&mut later, "2026-11-24T12:40:00Z");
    assert_eq!((starts.len(), missed), (0, vec![]));
    assert_eq!(begun(&mut later, "2026-11-24T13:00:10Z").0.len(), 1);
}

#[test]
fn what_another_process_has_counted_is_not_counted_again() {
    let job = job("a", HOURLY);
    let known = Known { served: Some(at("2026-11-24T08:00:00Z")), passed: Some(at("2026-11-24T12:00:00Z")) };
    let mut agenda = Agenda::new(std::slice::from_ref(&job), |_| known, at("2026-11-24T14:30:00Z"));
    agenda.pause(|_| true, at("2026-11-24T14:30:00Z"));
    let (starts, paused) = begun(&mut agenda, "2026-11-24T14:30:00Z");
    assert_eq!((starts.len(), paused), (0, vec![passed(&job, "2026-11-24T14:00:00Z", 2, Reason::Paused)]));
    // They are made up for all the same.
    agenda.pause(|_| false, at("2026-11-24T14:40:00Z"));
    assert_eq!(begun(&mut agenda, "2026-11-24T14:40:00Z").0[0].due, Some(at("2026-11-24T14:00:00Z")));
}

#[test]
fn one_run_makes_up_for_all_that_were_missed() {
    let job = job("a", HOURLY);
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-25T12:30:00Z");
    let (starts, missed) = begun(&mut agenda, "2026-11-25T12:30:00Z");
    assert_eq!(
        (starts.len(), starts[0].due, starts[0].trigger),
        (1, Some(at("2026-11-25T12:00:00Z")), Trigger::CatchUp)
    );
    assert_eq!(missed, [passed(&job, "2026-11-25T11:00:00Z", 23, Reason::Superseded)]);
}

#[test]
fn each_is_made_up_or_none() {
    let all = job("a", &with("catch_up = 'all'"));
    let mut agenda = agenda(&all, Some("2026-11-24T12:00:00Z"), "2026-11-24T15:30:00Z");
    let mut dues = Vec::new();
    loop {
        let (starts, missed) = begun(&mut agenda, "2026-11-24T15:30:00Z");
        assert_eq!(missed, []);
        let [start] = &starts[..] else { break };
        dues.push(start.due.unwrap());
        agenda.ended(start.run, Ended::Served, at("2026-11-24T15:30:00Z"));
    }
    assert_eq!(
        dues,
        [at("2026-11-24T13:00:00Z"), at("2026-11-24T14:00:00Z"), at("2026-11-24T15:00:00Z")],
        "one after the other"
    );
    let none = job("a", &with("catch_up = 'none'"));
    let mut agenda = super::agenda(&none, Some("2026-11-24T12:00:00Z"), "2026-11-24T15:30:00Z");
    let (starts, missed) = begun(&mut agenda, "2026-11-24T15:30:00Z");
    assert!(starts.is_empty());
    assert_eq!(missed, [passed(&none, "2026-11-24T15:00:00Z", 3, Reason::Missed)]);
}

#[test]
fn how_late_is_too_late_is_the_jobs_to_say() {
    let none = job("a", &with("catch_up = 'none'\nmisfire_grace = '10m'"));
    let mut agenda = agenda(&none, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:30:00Z");
    let (starts, missed) = begun(&mut agenda, "2026-11-24T13:10:00Z");
    assert_eq!((starts.len(), missed.len()), (1, 0));
    agenda.ended(starts[0].run, Ended::Served, at("2026-11-24T13:10:00Z"));
    let (starts, missed) = begun(&mut agenda, "2026-11-24T14:10:01Z");
    assert_eq!((starts.len(), missed.len()), (0, 1));
}

#[test]
fn a_long_downtime_takes_no_long_time() {
    let often = job("a", "schedule = '* * * * * *'\ncatch_up = 'all'");
    let mut agenda = agenda(&often, Some("1990-01-01T00:00:00Z"), "2026-11-24T12:00:00Z");
    let began = std::time::Instant::now();
    let (starts, missed) = begun(&mut agenda, "2026-11-24T12:00:00Z");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "a thousand are counted, not a billion");
    assert_eq!((starts.len(), missed.len()), (1, 1));
    assert_eq!((missed[0].count, missed[0].reason), (1000, Reason::Superseded));
}

#[test]
fn a_mark_from_the_future_is_not_believed() {
    let job = job("a", HOURLY);
    let (starts, _) =
        begun(&mut agenda(&job, Some("2100-01-01T00:00:00Z"), "2026-11-24T12:30:00Z"), "2026-11-24T12:30:00Z");
    assert_eq!(starts.len(), 1, "it runs at once rather than in 74 years");
}

#[test]
fn a_clock_that_is_set_back_brings_no_time_twice_and_no_silence() {
    let job = job("a", HOURLY);
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:30:00Z");
    let (starts, _) = begun(&mut agenda, "2026-11-24T13:00:00Z");
    agenda.ended(starts[0].run, Ended::Served, at("2026-11-24T13:00:01Z"));
    assert!(begun(&mut agenda, "2026-11-24T12:58:00Z").0.is_empty());
    assert!(begun(&mut agenda, "2026-11-24T13:00:00Z").0.is_empty(), "13:00 has had its run");
    assert_eq!(begun(&mut agenda, "2026-11-24T14:00:00Z").0.len(), 1);
    let mut agenda = super::agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:30:00Z");
    let (starts, _) = begun(&mut agenda, "2056-11-24T13:00:00Z");
    agenda.ended(starts[0].run, Ended::Served, at("2056-11-24T13:00:01Z"));
    assert!(begun(&mut agenda, "2026-11-24T12:30:00Z").0.is_empty());
    assert_eq!(begun(&mut agenda, "2026-11-24T13:00:00Z").0.len(), 1, "not in thirty years");
}

#[test]
fn a_failure_that_may_pass_is_tried_again_before_the_next_time() {
    let job = job("a", HOURLY);
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:30:00Z");
    let (starts, _) = begun(&mut agenda, "2026-11-24T13:00:00Z");
    agenda.ended(starts[0].run, Ended::FailedForNow, at("2026-11-24T13:00:10Z"));
    assert!(begun(&mut agenda, "2026-11-24T13:00:10Z").0.is_empty(), "not at once");
    let (starts, missed) = begun(&mut agenda, "2026-11-24T13:00:21Z");
    assert_eq!((starts[0].due, starts[0].trigger), (Some(at("2026-11-24T13:00:00Z")), Trigger::Retry));
    agenda.ended(starts[0].run, Ended::FailedForNow, at("2026-11-24T13:59:59Z"));
    let (starts, more) = begun(&mut agenda, "2026-11-24T14:00:00Z");
    assert_eq!((starts[0].due, starts[0].trigger), (Some(at("2026-11-24T14:00:00Z")), Trigger::Schedule));
    assert_eq!((missed, more), (vec![], vec![]), "13:00 has had its run");
}

#[test]
fn what_another_instance_runs_is_looked_at_again() {
    let job = job("a", HOURLY);
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:30:00Z");
    let (starts, _) = begun(&mut agenda, "2026-11-24T13:00:00Z");
    agenda.ended(starts[0].run, Ended::HeldElsewhere, at("2026-11-24T13:00:00Z"));
    assert!(begun(&mut agenda, "2026-11-24T13:00:04Z").0.is_empty());
    let (starts, _) = begun(&mut agenda, "2026-11-24T13:00:05Z");
    assert_eq!((starts.len(), starts[0].trigger), (1, Trigger::Schedule), "its holder may have died");
    let elsewhere = agenda.ended(starts[0].run, Ended::ServedElsewhere, at("2026-11-24T13:00:05Z"));
    assert_eq!(elsewhere, Some(passed(&job, "2026-11-24T13:00:00Z", 1, Reason::Elsewhere)));
    assert!(begun(&mut agenda, "2026-11-24T13:00:20Z").0.is_empty());
}

#[test]
fn a_start_that_another_instance_has_kept_from_running_until_the_next_one_is_told_so() {
    let job = job("a", HOURLY);
    let mut agenda = agenda(&job, Some("2026-11-24T12:00:00Z"), "2026-11-24T12:30:00Z");
    for time in ["2026-11-24T13:00:00Z", "2026-11-24T13:30:00Z"] {
        let (starts, passed) = begun(&mut agenda, time);
        assert_eq!((starts.len(), passed), (1, vec![]));
        agenda.ended(starts[0].run, Ended::HeldElsewhere, at(time));
    }
    let (starts, held) = begun(&mut agenda, "2026-11-24T14:00:00Z");
    assert_eq!((starts.len(), held), (1, vec![passed(&job, "2026-11-24T13:00:00Z", 1, Reason::Held)]));
}

#[test]
fn a_cache_that_was_emptied_is_refilled_by_priority() {
    let (low, high) = (job("low", &with("priority = 1")), job("high", &with("priority = 2")));
    let mut agenda = Agenda::new(&[low, high], |_| Some(at("2026-11-24T12:00:00Z")), at("2026-11-24T12:30:00Z"));
    agenda.refill(at("2026-11-24T12:30:00Z"));
    agenda.refill(at("2026-11-24T12:30:01Z"));
    let first = agenda.take(at("2026-11-24T12:30:01Z"), 1);
    assert_eq!((first[0].job.name.as_str(), first[0].trigger), ("high", Trigger::Refill));
    // It was emptied again while that runs: what was written before is gone.
    agenda.refill(at("2026-11-24T12:30:02Z"));
    assert_eq!(agenda.take(at("2026-11-24T12:30:02Z"), 9).len(), 1, "only the other one");
    agenda.ended(first[0].run, Ended::Served, at("2026-11-24T12:30:03Z"));
    let again = agenda.take(at("2026-11-24T12:30:03Z"), 9);
    assert_eq!((again.len(), again[0].job.name.as_str()), (1, "high"));
}
