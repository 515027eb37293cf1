//! Schedules, zones and moments by chance: what holds for all of them.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc, Weekday};
use chrono_tz::{Africa, America, Australia, Europe, TZ_VARIANTS, Tz};
use proptest::prelude::*;
use warm::ground::schedule::Schedule;

use crate::at;
use crate::changes::compare;
use crate::debian::{Entry, changes, wakes};

/// One field of cron: a star, or a list of numbers and ranges.
fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let number = || least..=most;
    let range = (number(), number()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let member = prop_oneof![
        number().prop_map(|number| number.to_string()),
        range.clone().prop_map(|(first, last)| format!("{first}-{last}")),
        (range, 1..9_u32).prop_map(|((first, last), step)| format!("{first}-{last}/{step}")),
    ];
    prop_oneof![
        Just("*".to_owned()),
        (1..most).prop_map(|step| format!("*/{step}")),
        prop::collection::vec(member, 1..3).prop_map(|members| members.join(",")),
    ]
}

/// Five fields.
fn pattern() -> impl Strategy<Value = String> {
    let fields = (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7));
    fields.prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

/// Five fields that match at night, on any day.
fn night() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 4)).prop_map(|(minute, hour)| format!("{minute} {hour} * * *"))
}

fn schedule() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => pattern(),
        2 => (field(0, 59), pattern()).prop_map(|(second, pattern)| format!("{second} {pattern}")),
        2 => night(),
        1 => (1..1_000_000_u64).prop_map(|seconds| format!("every {seconds}s")),
        1 => (1000..100_000_u64).prop_map(|millis| format!("every {millis}ms")),
    ]
}

/// A moment of the years 1970 … 2100.
fn moment() -> impl Strategy<Value = DateTime<Utc>> {
    (0..4_102_444_800_i64, 0..1_000_000_000_u32).prop_map(|(s, ns)| DateTime::from_timestamp(s, ns).unwrap())
}

/// A zone and the moment of a change of its clocks.
fn change() -> impl Strategy<Value = (Tz, DateTime<Utc>)> {
    let zones = [Europe::Berlin, America::New_York, Australia::Lord_Howe, America::Santiago, Africa::Casablanca];
    let all = zones.map(|zone| (zone, changes(zone, at("2026-01-01T00:00:00Z"), at("2028-01-01T00:00:00Z"))));
    let all: Vec<_> = all.into_iter().flat_map(|(zone, all)| all.into_iter().map(move |at| (zone, at))).collect();
    prop::sample::select(all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_next_time_is_a_later_one_and_nothing_lies_between(
        text in schedule(), zone in prop::sample::select(&TZ_VARIANTS[..]), after in moment(),
    ) {
        let parsed = Schedule::parse(&text, zone);
        prop_assume!(parsed.is_ok());
        let schedule = parsed.unwrap();
        prop_assert_eq!(schedule.to_string(), text);
        let next = schedule.next(after).unwrap();
        prop_assert!(next > after);
        prop_assert_eq!(schedule.latest(next), Some(next));
        let before = next - TimeDelta::nanoseconds(1);
        prop_assert_eq!(schedule.next(before), Some(next));
        let latest = schedule.latest(after).unwrap();
        prop_assert!(latest <= after);
        prop_assert_eq!(schedule.latest(before), Some(latest));
        prop_assert_eq!(schedule.next(latest), Some(next));
        prop_assert_eq!(schedule.count_between(after, before, 9), 0);
        prop_assert_eq!(schedule.count_between(after, next, 9), 1);
        prop_assert_eq!(schedule.count_between(latest, next, 9), 1);
        prop_assert_eq!(schedule.count_between(before, before + TimeDelta::days(20_000), 2), 2);
        prop_assert_eq!(schedule.count_between(next, after, 9), 0);
    }

    #[test]
    fn a_text_is_understood_or_refused(text in "[0-9*/,LW#A-C@ -]{0,24}|(@|every )[a-z0-9]{0,8}|.{0,12}") {
        if let Ok(schedule) = Schedule::parse(&text, Tz::UTC) {
            prop_assert_eq!(schedule.to_string(), text.trim());
        }
    }

    #[test]
    fn days_are_matched_as_debian_does(text in pattern(), after in moment()) {
        let entry = Entry::parse(&text);
        let days = (0..400).map(|day| after.date_naive() + Days::new(day));
        let minutes = days.filter(|day| entry.has_day(*day)).flat_map(|day| {
            (0..1440).map(move |minute| day.and_hms_opt(minute / 60, minute % 60, 0).unwrap().and_utc())
        });
        let expected = minutes.filter(|time| *time > after).find(|time| entry.matches(time.naive_utc()));
        let found = Schedule::parse(&text, Tz::UTC).ok().and_then(|schedule| schedule.next(after));
        match expected {
            Some(expected) => prop_assert_eq!(found, Some(expected)),
            None => prop_assert!(found.is_none_or(|found| found > after + TimeDelta::days(399))),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn changes_of_the_clocks_are_met_as_debian_does(text in night(), (zone, change) in change()) {
        let (from, until) = (change - TimeDelta::hours(6), change + TimeDelta::hours(6));
        let expected = Entry::parse(&text).runs(&wakes(zone, from, until, 60));
        compare(&Schedule::parse(&text, zone).unwrap(), from, until, &expected);
    }

    #[test]
    fn to_the_second(
        second in field(0, 59), minute in field(0, 59), hour in field(0, 4), (zone, change) in change(),
    ) {
        let text = format!("{second} {minute} {hour} * * *");
        let (from, until) = (change - TimeDelta::minutes(70), change + TimeDelta::minutes(70));
        let expected = Entry::parse(&text).runs(&wakes(zone, from, until, 1));
        compare(&Schedule::parse(&text, zone).unwrap(), from, until, &expected);
    }
}

/// All days of 2024 … 2027 of which this is said.
fn days(is_one: impl Fn(NaiveDate) -> bool) -> Vec<NaiveDate> {
    let first = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap();
    first.iter_days().take_while(|day| day.year() < 2028).filter(|day| is_one(*day)).collect()
}

#[test]
fn marks_that_debian_does_not_know_are_counted_by_the_calendar() {
    let last = |day: NaiveDate| (day + Days::new(1)).month() != day.month();
    let workday = |day: NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    let date = |day: NaiveDate, of_month: u32| day.with_day(of_month).unwrap();
    // The nearest working day in the same month; a Saturday's is the day before.
    let nearest = |day: NaiveDate| {
        let same_month = |other: &NaiveDate| other.month() == day.month() && workday(*other);
        let steps = [0, -1, 1, -2, 2].map(|step| day + TimeDelta::days(step));
        steps.into_iter().find(same_month).unwrap()
    };
    let check = |text: &str, expected: Vec<NaiveDate>| {
        let schedule = Schedule::parse(text, Europe::Berlin).unwrap();
        let due = schedule.all_after(at("2023-12-31T22:59:59Z")).map(|due| due.with_timezone(&Europe::Berlin));
        let found: Vec<_> = due.map(|due| due.date_naive()).take_while(|day| day.year() < 2028).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("0 0 L * *", days(last));
    let rest = |day: NaiveDate| day.iter_days().skip(1).take_while(move |other| other.month() == day.month());
    check("0 0 LW * *", days(|day| workday(day) && !rest(day).any(workday)));
    check("0 0 15W * *", days(|day| day == nearest(date(day, 15))));
    check("0 0 1W * *", days(|day| day == nearest(date(day, 1))));
    check("0 0 * * 5L", days(|day| day.weekday() == Weekday::Fri && (day + Days::new(7)).month() != day.month()));
    check("0 0 * * TUE#2", days(|day| day.weekday() == Weekday::Tue && (8..15).contains(&day.day())));
    check("0 0 * * 7#5", days(|day| day.weekday() == Weekday::Sun && day.day() > 28));
    // Either of two fields without a star; both if one has one.
    check("0 0 L * MON#1", days(|day| last(day) || (day.weekday() == Weekday::Mon && day.day() < 8)));
    check("0 0 */2 * MON#1", days(|day| day.weekday() == Weekday::Mon && day.day() < 8 && day.day() % 2 == 1));
}
