//! Debian's cron (`cron.c`, `find_jobs`, `entry.c`), in miniature: it wakes up at each tick of the real clock, looks at the one on the wall,
//! and compares it with a virtual one.
//!
//! Where it differs from the original: seconds may be ticks, too, and a job that is found several times in one wake-up runs once.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

/// A line of a crontab.
pub struct Entry {
    second: Set,
    minute: Set,
    hour: Set,
    day: Set,
    month: Set,
    weekday: Set,
    /// MIN_STAR or HR_STAR.
    wild: bool,
    /// DOM_STAR or DOW_STAR.
    day_star: bool,
}

type Set = [bool; 60];

impl Entry {
    /// Five fields, or six with seconds.
    pub fn parse(text: &str) -> Entry {
        let mut fields: Vec<&str> = text.split(' ').collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let mut weekday = set(fields[5], 0, 7);
        weekday[0] |= weekday[7];
        let star = |field: usize| fields[field].starts_with('*');
        Entry {
            second: set(fields[0], 0, 59),
            minute: set(fields[1], 0, 59),
            hour: set(fields[2], 0, 23),
            day: set(fields[3], 1, 31),
            month: set(fields[4], 1, 12),
            weekday,
            wild: star(1) || star(2),
            day_star: star(3) || star(5),
        }
    }

    /// The test in `find_jobs`.
    pub fn matches(&self, time: NaiveDateTime) -> bool {
        let has = |set: &Set, value: u32| set[value as usize];
        has(&self.second, time.second())
            && has(&self.minute, time.minute())
            && has(&self.hour, time.hour())
            && self.has_day(time.date())
    }

    /// The part of it that looks at the calendar.
    pub fn has_day(&self, date: NaiveDate) -> bool {
        let has = |set: &Set, value: u32| set[value as usize];
        let (day, weekday) = (has(&self.day, date.day()), has(&self.weekday, date.weekday().num_days_from_sunday()));
        has(&self.month, date.month()) && if self.day_star { day && weekday } else { day || weekday }
    }

    /// When it runs, given the wake-ups.
    pub fn runs(&self, wakes: &[Wake]) -> Vec<DateTime<Utc>> {
        let runs = wakes.iter().filter(|wake| {
            let times = if self.wild { wake.wild } else { wake.fixed };
            times.is_some_and(|(first, count)| {
                (0..count).any(|nth| self.matches(first + TimeDelta::seconds(nth * wake.tick)))
            })
        });
        runs.map(|wake| wake.at).collect()
    }
}

/// A list of numbers and ranges with steps, as `get_list` reads it.
fn set(field: &str, least: usize, most: usize) -> Set {
    let mut set = [false; 60];
    for member in field.split(',') {
        let (range, step) = member.split_once('/').unwrap_or((member, "1"));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((first, last)) => (first.parse().unwrap(), last.parse().unwrap()),
            None => (range.parse().unwrap(), range.parse().unwrap()),
        };
        (first..=last).step_by(step.parse().unwrap()).for_each(|value| set[value] = true);
    }
    set
}

/// One turn of the main loop: which virtual times `find_jobs` is called with, as the first one and their number.
pub struct Wake {
    pub at: DateTime<Utc>,
    wild: Option<(NaiveDateTime, i64)>,
    fixed: Option<(NaiveDateTime, i64)>,
    tick: i64,
}

/// All turns of the main loop after `from` until `until`, with ticks of so many seconds. `from` is where virtual and real time agree.
pub fn wakes(zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>, tick: i64) -> Vec<Wake> {
    let on_the_wall = |at: i64| (at + offset(zone, at)).div_euclid(tick);
    let time = |ticks: i64| DateTime::from_timestamp(ticks * tick, 0).unwrap().naive_utc();
    let minutes = 60 / tick;
    let mut virtual_time = on_the_wall(from.timestamp());
    let mut wakes = Vec::new();
    let mut now = (from.timestamp().div_euclid(tick) + 1) * tick;
    while now <= until.timestamp() {
        let running = on_the_wall(now);
        let difference = running - virtual_time;
        let (mut wild, mut fixed) = (Some((time(running), 1)), None);
        if difference == 1 {
            fixed = wild;
            virtual_time = running;
        } else if difference > 3 * 60 * minutes || difference <= -3 * 60 * minutes {
            // A change that is no daylight saving time: run what is due now.
            fixed = wild;
            virtual_time = running;
        } else if difference > 5 * minutes {
            // The clock was put forward: wildcard jobs once, fixed-time jobs for everything that is left out.
            fixed = Some((time(virtual_time + 1), difference));
            virtual_time = running;
        } else if difference > 0 {
            // Woken up late: everything for each virtual minute.
            (wild, fixed) = (Some((time(virtual_time + 1), difference)), Some((time(virtual_time + 1), difference)));
            virtual_time = running;
        }
        // Else the clock was put back: wildcard jobs only, until it has caught up with virtual time.
        wakes.push(Wake { at: DateTime::from_timestamp(now, 0).unwrap(), wild, fixed, tick });
        now += tick;
    }
    wakes
}

/// Seconds east of Greenwich.
pub fn offset(zone: Tz, at: i64) -> i64 {
    let at = DateTime::from_timestamp(at, 0).unwrap().naive_utc();
    zone.offset_from_utc_datetime(&at).fix().local_minus_utc().into()
}

/// The instants in the range at which the clocks of a zone are changed, by bisection between days that differ.
pub fn changes(zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let mut changes = BTreeSet::new();
    let mut day = from.timestamp();
    while day < until.timestamp() {
        let (mut before, mut after) = (day, day + 86_400);
        if offset(zone, before) != offset(zone, after) {
            while after - before > 1 {
                let middle = before + (after - before) / 2;
                if offset(zone, middle) == offset(zone, before) { before = middle } else { after = middle }
            }
            changes.insert(DateTime::from_timestamp(after, 0).unwrap());
        }
        day += 86_400;
    }
    changes.into_iter().collect()
}
