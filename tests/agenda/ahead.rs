//! Keys that are written again before they die.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use warm::ground::job::Job;
use warm::ground::refresh::{Kept, Refreshed, Unit, Units};
use warm::ground::request::{Scope, Trigger};
use warm::triggers::{Agenda, Ended, Start};

use super::{agenda, at, begun, job, seconds};

const LIFE: Duration = Duration::from_secs(300);
const NOON: &str = "2026-11-24T12:00:00Z";

/// Ten lists that live for five minutes.
fn lists(fields: &str) -> (Arc<Job>, Vec<Unit>) {
    let job = job("lists", &format!("schedule = '0 * * * *'\nsplay = '0s'\nrefresh_ahead = true\n{fields}"));
    let units = Units::of(&job);
    let units = (0..10).map(|n| units.unit(&["state", &n.to_string()])).collect();
    (job, units)
}

/// What a run has written at this time.
fn written(job: &Job, units: &[Unit], now: DateTime<Utc>) -> Vec<Refreshed> {
    units.iter().map(|unit| job.refresh_ahead.unwrap().written(*unit, now, LIFE)).collect()
}

/// An agenda that knows that all units were written at noon.
fn known(job: &Arc<Job>, units: &[Unit]) -> Agenda {
    let mut agenda = agenda(job, Some(NOON), NOON);
    let (starts, _) = begun(&mut agenda, NOON);
    assert_eq!((starts[0].trigger, &starts[0].scope), (Trigger::RefreshAhead, &Scope::All), "nothing is known");
    agenda.learn(job, &Kept { units: written(job, units, at(NOON)), complete: true, late: false });
    agenda.ended(starts[0].run, Ended::Served, at(NOON));
    agenda
}

fn scope(start: &Start) -> Vec<Unit> {
    match &start.scope {
        Scope::Units(units) => units.to_vec(),
        Scope::All | Scope::Key(_) => panic!("the whole job"),
    }
}

#[test]
fn ten_lists_are_warm_for_a_day_at_little_more_than_the_least_number_of_queries() {
    let (job, units) = lists("");
    let mut agenda = known(&job, &units);
    let mut alive: HashMap<Unit, DateTime<Utc>> = units.iter().map(|unit| (*unit, at(NOON) + LIFE)).collect();
    let (mut now, mut queries, mut most) = (at(NOON), 0, 0);
    while now < at(NOON) + TimeDelta::days(1) {
        now += seconds(1);
        let (starts, passed) = begun(&mut agenda, &now.to_rfc3339());
        assert_eq!(passed, []);
        for start in starts {
            let done = if start.scope == Scope::All { units.clone() } else { scope(&start) };
            if start.trigger == Trigger::RefreshAhead {
                most = most.max(done.len());
            }
            queries += done.len();
            alive.extend(done.iter().map(|unit| (*unit, now + LIFE)));
            agenda.learn(
                &job,
                &Kept { units: written(&job, &done, now), complete: start.scope == Scope::All, late: false },
            );
            agenda.ended(start.run, Ended::Served, now);
        }
        assert!(alive.values().all(|dies| *dies > now), "cold at {now}");
    }
    let least = 10.0 * 86_400.0 / 300.0;
    let times = queries as f64 / least;
    assert!((1.0..=1.3).contains(&times), "{times}");
    assert!(most <= 7, "{most} at a time");
}

#[test]
fn a_thousand_lists_are_refreshed_in_few_runs() {
    let (job, _) = lists("");
    let units = Units::of(&job);
    let units: Vec<_> = (0..1000).map(|n| units.unit(&["state", &n.to_string()])).collect();
    let mut agenda = known(&job, &units);
    let mut alive: HashMap<Unit, DateTime<Utc>> = units.iter().map(|unit| (*unit, at(NOON) + LIFE)).collect();
    let (hour, mut now, mut runs, mut queries) = (at(NOON) + seconds(3599), at(NOON), 0, 0);
    while now < hour {
        now = agenda.next_refresh().unwrap().max(now);
        let starts = agenda.take(now, 9);
        let done = scope(&starts[0]);
        // It takes a while.
        now += TimeDelta::milliseconds(50 + done.len() as i64);
        runs += 1;
        queries += done.len();
        for unit in &done {
            assert!(alive.insert(*unit, now + LIFE).unwrap() > now + seconds(20), "nearly cold at {now}");
        }
        agenda.learn(&job, &Kept { units: written(&job, &done, now), complete: false, late: false });
        agenda.ended(starts[0].run, Ended::Served, now);
    }
    let times = queries as f64 / (1000.0 * 12.0);
    assert!(times <= 1.25, "{times}");
    assert!(runs <= 3600 / 4, "{runs} runs");
}

#[test]
fn units_written_together_drift_apart_in_the_same_way_each_time() {
    let (job, units) = lists("");
    let mut dues: Vec<_> =
        written(&job, &units, at(NOON)).iter().map(|known| (known.due - at(NOON)).num_milliseconds()).collect();
    assert!(dues.iter().all(|due| (240_000..=255_000).contains(due)), "{dues:?}");
    assert_eq!(written(&job, &units, at(NOON)), written(&job, &units, at(NOON)));
    dues.sort_unstable();
    dues.dedup();
    assert!(dues.len() == 10 && dues[9] - dues[0] > 5_000, "{dues:?}");
    let (other, others) = lists("description = 'Lists'");
    assert_eq!(written(&other, &others, at(NOON)), written(&job, &units, at(NOON)), "a word about it changes nothing");
}

#[test]
fn a_whole_run_puts_refreshes_off_and_is_never_skipped_for_one() {
    let (job, units) = lists("");
    let mut agenda = known(&job, &units);
    let (starts, _) = begun(&mut agenda, "2026-11-24T12:05:00Z");
    assert_eq!((starts.len(), scope(&starts[0]).len()), (1, 10), "one run for all that is due");
    let (none, skipped) = begun(&mut agenda, "2026-11-24T13:00:00Z");
    assert!(none.is_empty() && skipped.is_empty(), "it waits");
    agenda
        .learn(&job, &Kept { units: written(&job, &units, at("2026-11-24T12:55:00Z")), complete: false, late: false });
    agenda.ended(starts[0].run, Ended::Served, at("2026-11-24T13:00:01Z"));
    let (starts, _) = begun(&mut agenda, "2026-11-24T13:00:01Z");
    assert_eq!((starts.len(), starts[0].trigger), (1, Trigger::Schedule));
    let (none, _) = begun(&mut agenda, "2026-11-24T13:00:02Z");
    assert!(none.is_empty(), "no refresh beside it, though keys are due");
    agenda.learn(&job, &Kept { units: written(&job, &units, at("2026-11-24T13:00:02Z")), complete: true, late: false });
    agenda.ended(starts[0].run, Ended::Served, at("2026-11-24T13:00:02Z"));
    assert!(begun(&mut agenda, "2026-11-24T13:04:00Z").0.is_empty());
    assert!(!begun(&mut agenda, "2026-11-24T13:04:18Z").0.is_empty());
}

#[test]
fn a_failure_that_may_pass_is_tried_again_before_the_keys_die() {
    let (job, units) = lists("");
    let mut agenda = known(&job, &units[..1]);
    let mut now = at("2026-11-24T12:04:16Z");
    let dies = at(NOON) + LIFE;
    for tries in 0..3 {
        let starts = agenda.take(now, 9);
        assert_eq!(scope(&starts[0]), units[..1], "try {tries}");
        agenda.ended(starts[0].run, Ended::FailedForNow, now);
        let next = agenda.next_refresh().unwrap();
        assert!(next - now >= seconds(1) && next < dies, "{next}");
        now = next;
    }
    let starts = agenda.take(now, 9);
    agenda.ended(starts[0].run, Ended::Failed, now);
    assert_eq!(agenda.next_refresh(), Some(now + seconds(255)), "nobody has changed anything");
}

#[test]
fn what_another_instance_does_is_not_done_here() {
    let (job, units) = lists("");
    let mut agenda = known(&job, &units);
    let now = at("2026-11-24T12:04:20Z");
    let starts = agenda.take(now, 9);
    agenda.ended(starts[0].run, Ended::HeldElsewhere, now);
    assert_eq!(agenda.next_refresh(), Some(now + seconds(5)));
    let starts = agenda.take(now + seconds(5), 9);
    // It has refreshed half of them.
    agenda.learn(&job, &Kept { units: written(&job, &units[..5], now), complete: false, late: false });
    agenda.ended(starts[0].run, Ended::ServedElsewhere, now + seconds(5));
    let starts = agenda.take(now + seconds(10), 9);
    let mut left = scope(&starts[0]);
    left.sort_by_key(ToString::to_string);
    let mut expected = units[5..].to_vec();
    expected.sort_by_key(ToString::to_string);
    assert_eq!(left, expected);
    agenda.ended(starts[0].run, Ended::Served, now + seconds(10));
    assert!(agenda.take(now + seconds(100), 9).is_empty(), "these combinations are gone");
}

#[test]
fn a_refresh_that_takes_longer_than_the_keys_live_forgets_only_what_is_gone() {
    let (job, units) = lists("");
    let mut agenda = known(&job, &units);
    let began = at("2026-11-24T12:04:20Z");
    let starts = agenda.take(began, 9);
    assert_eq!(scope(&starts[0]).len(), 10);
    // The combinations of the last five are gone, and all others are due again.
    let ended = began + seconds(270);
    let kept = Kept { units: written(&job, &units[..5], began), complete: false, late: true };
    agenda.learn(&job, &kept);
    agenda.ended(starts[0].run, Ended::Served, ended);
    assert!(agenda.take(ended, 9).is_empty(), "others get their turn");
    assert_eq!(agenda.next_refresh(), Some(ended + seconds(1)));
    let starts = agenda.take(ended + seconds(1), 9);
    assert_eq!(scope(&starts[0]).len(), 5);
    assert!(scope(&starts[0]).iter().all(|unit| units[..5].contains(unit)));
    // Nor does it matter what the clock shows.
    agenda.learn(&job, &Kept { units: written(&job, &units[..5], at(NOON)), complete: false, late: true });
    agenda.ended(starts[0].run, Ended::Served, ended + seconds(600));
    let starts = agenda.take(ended + seconds(601), 9);
    assert_eq!(scope(&starts[0]).len(), 5);
    agenda.ended(starts[0].run, Ended::Served, ended + seconds(602));
    assert_eq!(agenda.next_refresh(), None);
}

#[test]
fn a_unit_that_lacks_keys_is_due_at_once_and_later_each_time() {
    let (job, units) = lists("");
    let mut agenda = known(&job, &units[..1]);
    let (mut now, mut pauses) = (at("2026-11-24T12:04:20Z"), Vec::new());
    for _ in 0..11 {
        let starts = agenda.take(now, 9);
        assert_eq!(scope(&starts[0]), units[..1]);
        agenda.learn(&job, &Kept { units: vec![Refreshed::lacking(units[0], now)], complete: false, late: false });
        agenda.ended(starts[0].run, Ended::Served, now);
        let next = agenda.next_refresh().unwrap();
        pauses.push((next - now).num_seconds());
        now = next;
    }
    assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 64, 128]);
    assert!((240..=255).contains(&pauses[8]) && pauses[8] == pauses[10], "no later than if all were well: {pauses:?}");
    // A run of the whole job that finds the same is one more time, and one that finds all well ends it.
    let lacking = |now| Kept { units: vec![Refreshed::lacking(units[0], now)], complete: true, late: false };
    agenda.learn(&job, &lacking(now));
    assert_eq!((agenda.next_refresh().unwrap() - now).num_seconds(), pauses[8]);
    agenda.learn(&job, &Kept { units: written(&job, &units[..1], now), complete: true, late: false });
    agenda.learn(&job, &lacking(now));
    assert_eq!(agenda.next_refresh(), Some(now + seconds(1)));
}

#[test]
fn a_value_that_will_die_soon_is_written_before_and_a_slow_query_leaves_the_database_in_peace() {
    let (_, units) = lists("");
    let due = |life, took| {
        let known = Refreshed::provisional(units[0], at(NOON), Duration::from_secs(life), Duration::from_millis(took));
        (known.due - at(NOON)).num_milliseconds()
    };
    assert_eq!(due(300, 0), 7_500, "it lives for at least 8.75 s");
    assert_eq!(due(300, 100), 7_200);
    assert_eq!(due(8, 0), 3_000);
    assert_eq!(due(1, 10), 1_000, "and never all the time");
    assert_eq!(due(300, 3_000), 60_000, "five readings of 3 s are a fifth of the time");
}

#[test]
fn a_paused_job_a_full_house_and_a_changed_clock() {
    let (job, units) = lists("overlap = 'allow'");
    let mut agenda = known(&job, &units);
    let due = at("2026-11-24T12:04:20Z");
    agenda.pause(|_| true, due);
    assert!(agenda.take(due, 9).is_empty() && agenda.next_refresh().is_none());
    agenda.pause(|_| false, due);
    assert!(agenda.take(due, 0).is_empty());
    assert!(agenda.take(at(NOON), 9).is_empty());
    let back = at("2026-11-24T10:30:00Z");
    assert_eq!(scope(&agenda.take(back, 9)[0]).len(), 10, "nobody knows how old they are");
}

#[test]
fn other_keys_are_refreshed_at_once_and_the_same_are_not() {
    let (job, units) = lists("");
    let mut agenda = known(&job, &units);
    let now = at("2026-11-24T12:01:00Z");
    agenda.replace_jobs(&[lists("priority = 7").0], |_| None, now);
    assert!(agenda.take(now, 9).is_empty());
    agenda.replace_jobs(&[lists("ttl = '1m'").0], |_| None, now);
    let starts = agenda.take(now, 9);
    assert_eq!((starts[0].trigger, &starts[0].scope), (Trigger::RefreshAhead, &Scope::All));
    // Before that has ended, the keys change once more: what is known of the old ones is of no use.
    let (minutes, _) = lists("ttl = '1m'");
    agenda.replace_jobs(&[lists("ttl = '2m'").0], |_| None, now);
    agenda.learn(&minutes, &Kept { units: written(&minutes, &units, now), complete: true, late: false });
    agenda.ended(starts[0].run, Ended::Served, now);
    let starts = agenda.take(now, 9);
    assert_eq!((starts.len(), &starts[0].scope), (1, &Scope::All));
    agenda.ended(starts[0].run, Ended::Stopped, now);
    agenda.refresh_nothing();
    assert!(agenda.take(now + seconds(3000), 9).is_empty());
}

#[test]
fn a_refill_comes_before_refreshes() {
    let (job, units) = lists("");
    let mut agenda = known(&job, &units);
    agenda.refill(at("2026-11-24T12:05:00Z"));
    let (starts, _) = begun(&mut agenda, "2026-11-24T12:05:00Z");
    assert_eq!((starts.len(), starts[0].trigger, &starts[0].scope), (1, Trigger::Refill, &Scope::All));
}
