//! Each change of the clocks in ten years, in zones of every kind.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{Africa, America, Asia, Australia, Europe, Tz};
use warm::ground::schedule::{Schedule, Shift};

use crate::at;
use crate::debian::{Entry, changes, wakes};

/// For times of the day, in gaps, in folds and beside them; and for times that pass.
const SCHEDULES: [&str; 25] = [
    "30 2 * * *",
    "0 2 * * *",
    "0 3 * * *",
    "45 1 * * *",
    "0,15,30 2 * * *",
    "30 2,3 * * *",
    "0 0 * * *",
    "30 0 * * *",
    "45 23 * * *",
    "10-50/20 0-4 * * *",
    "0 0-23 * * *",
    "0-59 0-23 * * *",
    "30 2 * * 0",
    "0 0 13 * 5",
    "0 0 */2 * 1",
    "30 1 25-31 3,10 *",
    "*/15 * * * *",
    "0 * * * *",
    "* * * * *",
    "*/20 2 * * *",
    "*/7 0-3 * * *",
    "5 */2 * * *",
    "0 */3 * * 6,0",
    "*/30 0 * * *",
    "*/30 23 * * 5-7",
];

/// Compares with the model around each change of the clocks from 2020 until 2030, of which there are `count`.
#[track_caller]
fn agrees_with_debian(zone: Tz, count: usize) {
    let changes = changes(zone, at("2020-01-01T00:00:00Z"), at("2030-01-01T00:00:00Z"));
    assert_eq!(changes.len(), count, "{zone}: {changes:#?}");
    // Where nothing is changed, an ordinary day.
    let days = if changes.is_empty() { vec![at("2026-11-25T12:00:00Z")] } else { changes };
    for change in days {
        let (from, until) = (change - TimeDelta::hours(13), change + TimeDelta::hours(13));
        let wakes = wakes(zone, from, until, 60);
        for text in SCHEDULES {
            compare(&Schedule::parse(text, zone).unwrap(), from, until, &Entry::parse(text).runs(&wakes));
        }
    }
}

#[test]
fn berlin_is_as_debian_has_it() {
    agrees_with_debian(Europe::Berlin, 20);
}

#[test]
fn new_york_is_as_debian_has_it() {
    agrees_with_debian(America::New_York, 20);
}

#[test]
fn lord_howe_changes_its_clocks_by_half_an_hour() {
    agrees_with_debian(Australia::Lord_Howe, 20);
}

#[test]
fn santiago_begins_a_day_with_a_gap_and_ends_one_with_a_fold() {
    agrees_with_debian(America::Santiago, 20);
}

#[test]
fn casablanca_puts_its_clocks_back_for_ramadan() {
    agrees_with_debian(Africa::Casablanca, 21);
}

#[test]
fn cairo_had_no_summer_time_for_some_years() {
    agrees_with_debian(Africa::Cairo, 14);
}

#[test]
fn gaza_changes_its_clocks_at_other_times_each_year() {
    agrees_with_debian(Asia::Gaza, 20);
}

#[test]
fn lagos_and_sao_paulo_change_nothing() {
    agrees_with_debian(Africa::Lagos, 0);
    agrees_with_debian(America::Sao_Paulo, 0);
}

/// Asks for all due times in both directions, and from moments in between.
#[track_caller]
pub fn compare(schedule: &Schedule, from: DateTime<Utc>, until: DateTime<Utc>, expected: &[DateTime<Utc>]) {
    let what = format!("{schedule} in {}, {from} … {until}", schedule.zone());
    let instant = TimeDelta::nanoseconds(1);
    // One more than expected is enough to show that something is wrong.
    let most = expected.len() + 1;
    let found: Vec<_> = schedule.all_after(from).take(most).take_while(|due| *due <= until).collect();
    assert_eq!(found, expected, "{what}");
    let back = std::iter::successors(schedule.latest(until), |due| schedule.latest(*due - instant));
    let mut back: Vec<_> = back.take(most).take_while(|due| *due > from).collect();
    back.reverse();
    assert_eq!(back, expected, "backwards: {what}");
    assert_eq!(schedule.count_between(from, until, most), expected.len(), "{what}");
    let step = (until - from) / 150;
    for moment in (0..150).map(|nth| from + step * nth) {
        let index = expected.partition_point(|due| *due <= moment);
        let within = |due: &DateTime<Utc>| *due > from && *due <= until;
        assert_eq!(schedule.next(moment).filter(within).as_ref(), expected.get(index), "after {moment}: {what}");
        let last = index.checked_sub(1).map(|last| &expected[last]);
        assert_eq!(schedule.latest(moment).filter(within).as_ref(), last, "until {moment}: {what}");
    }
}

#[test]
fn a_change_in_another_year_is_not_mistaken_for_this_one() {
    // Sundays that are a 31st of October: the clocks were put back on the 25th in 2026, and are on the 31st in 2027.
    let schedule = Schedule::parse("0 2-3 31 10 */7", Europe::Berlin).unwrap();
    let wild = Schedule::parse("*/30 2 31 10 */7", Europe::Berlin).unwrap();
    let in_fold = at("2026-10-25T00:15:00Z");
    assert_eq!(schedule.next(in_fold), Some(at("2027-10-31T00:00:00Z")));
    assert_eq!(wild.next(in_fold), Some(at("2027-10-31T00:00:00Z")));
    let wild = Schedule::parse("*/30 2 25 10 */7", Europe::Berlin).unwrap();
    assert_eq!(wild.latest(at("2027-10-31T01:15:00Z")), Some(at("2026-10-25T01:30:00Z")));
}

#[test]
fn a_job_for_a_time_of_the_day_runs_once_on_every_day() {
    for zone in [Europe::Berlin, Australia::Lord_Howe, America::Santiago, Africa::Cairo, Africa::Lagos] {
        for text in ["30 2 * * *", "0 0 * * *", "15 1 * * *", "59 23 * * *"] {
            let schedule = Schedule::parse(text, zone).unwrap();
            let (from, until) = (at("2024-01-01T12:00:00Z"), at("2025-01-01T12:00:00Z"));
            assert_eq!(schedule.count_between(from, until, 1000), 366, "{text} in {zone}");
            let days = schedule.all_after(from).take(366).map(|due| due.with_timezone(&zone).date_naive());
            let days: std::collections::BTreeSet<_> = days.collect();
            assert_eq!(days.len(), 366, "{text} in {zone}");
        }
    }
}

#[test]
fn what_a_change_does_to_a_run_can_be_told() {
    let local = |text: &str| text.parse().unwrap();
    for (text, zone, due, shift) in [
        (
            "30 2 * * *",
            Europe::Berlin,
            "2027-03-28T01:00:00Z",
            Some(Shift::LeftOut { first: local("2027-03-28T02:30:00"), more: false }),
        ),
        (
            "0,30 2 * * *",
            Europe::Berlin,
            "2027-03-28T01:00:00Z",
            Some(Shift::LeftOut { first: local("2027-03-28T02:00:00"), more: true }),
        ),
        // The day before and the day after.
        ("30 2 * * *", Europe::Berlin, "2027-03-27T01:30:00Z", None),
        ("30 2 * * *", Europe::Berlin, "2027-03-29T00:30:00Z", None),
        // Not in the gap, but right after it.
        ("0 3 * * *", Europe::Berlin, "2027-03-28T01:00:00Z", None),
        ("*/15 * * * *", Europe::Berlin, "2027-03-28T01:00:00Z", None),
        (
            "0 0 * * *",
            America::Santiago,
            "2027-09-05T04:00:00Z",
            Some(Shift::LeftOut { first: local("2027-09-05T00:00:00"), more: false }),
        ),
        ("30 2 * * *", Europe::Berlin, "2027-10-31T00:30:00Z", Some(Shift::FirstOfTwo)),
        ("0 3 * * *", Europe::Berlin, "2027-10-31T02:00:00Z", None),
        ("0 * * * *", Europe::Berlin, "2027-10-31T00:00:00Z", Some(Shift::BothOfTwo { first: true })),
        ("0 * * * *", Europe::Berlin, "2027-10-31T01:00:00Z", Some(Shift::BothOfTwo { first: false })),
        ("0 * * * *", Europe::Berlin, "2027-10-31T02:00:00Z", None),
        ("every 30m", Europe::Berlin, "2027-10-31T00:30:00Z", None),
    ] {
        let schedule = Schedule::parse(text, zone).unwrap();
        let due = at(due);
        assert_eq!(schedule.latest(due), Some(due), "{text} is not due at {due}");
        assert_eq!(schedule.shift(due), shift, "{text} at {due}");
    }
}
