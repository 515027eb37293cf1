//! The clock on the wall and the time line: a local time is one instant, two of them where the clock is put back, or none where it is put
//! forward.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{GapInfo, Tz};

/// The smallest step of a schedule.
pub(super) const SECOND: TimeDelta = TimeDelta::seconds(1);

/// What a local time is on the time line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    Once(DateTime<Utc>),
    /// The earlier instant and the later one.
    Twice(DateTime<Utc>, DateTime<Utc>),
    Never(Gap),
}

/// Local times that the clock leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    /// The first of them.
    pub(super) begin: NaiveDateTime,
    /// The first one after them.
    pub(super) end: NaiveDateTime,
    /// When the clock is put forward, and shows `end`.
    pub(super) at: DateTime<Utc>,
}

/// Local times that the clock shows twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fold {
    /// The first of them.
    pub(super) begin: NaiveDateTime,
    /// The first one after them.
    pub(super) end: NaiveDateTime,
    /// Whether the instant that was asked about comes before the clock is put back.
    pub(super) first_half: bool,
}

/// What the clock shows, in whole seconds.
pub(super) fn shown(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    whole(at.naive_utc() + offset(zone, at))
}

/// What a local time is on the time line.
pub(super) fn resolve(zone: Tz, local: NaiveDateTime) -> Local {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => Local::Once(at.to_utc()),
        LocalResult::Ambiguous(first, second) => Local::Twice(first.to_utc(), second.to_utc()),
        LocalResult::None => match GapInfo::new(&local, &zone).and_then(|gap| gap.begin) {
            Some((begin, before)) => {
                let at = (begin - before.fix()).and_utc();
                Local::Never(Gap { begin, end: shown(zone, at), at })
            }
            // No zone begins with a gap.
            None => Local::Once(local.and_utc()),
        },
    }
}

/// The local times around `at`, if the clock shows them twice.
pub(super) fn fold(zone: Tz, at: DateTime<Utc>) -> Option<Fold> {
    let Local::Twice(first, second) = resolve(zone, shown(zone, at)) else { return None };
    // The clock is put back between these two, once: in a fold lie a few hours at most, and so this takes some 12 steps.
    let (mut before, mut after) = (first, second);
    while after - before > SECOND {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if offset(zone, middle) == offset(zone, first) { before = middle } else { after = middle }
    }
    Some(Fold { begin: shown(zone, after), end: shown(zone, before) + SECOND, first_half: at < second })
}

fn offset(zone: Tz, at: DateTime<Utc>) -> TimeDelta {
    let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    TimeDelta::seconds(offset.local_minus_utc().into())
}

fn whole(time: NaiveDateTime) -> NaiveDateTime {
    time.with_nanosecond(0).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use chrono_tz::{America, Australia, Europe};

    use super::*;

    fn local(text: &str) -> NaiveDateTime {
        text.parse().expect("a local time")
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn gaps_have_ends_and_an_instant() {
        for (zone, inside, begin, end, when) in [
            (Europe::Berlin, "T02:30:00", "T02:00:00", "T03:00:00", "2027-03-28T01:00:00Z"),
            (Australia::Lord_Howe, "T02:00:00", "T02:00:00", "T02:30:00", "2027-10-02T15:30:00Z"),
            // At midnight.
            (America::Santiago, "T00:59:59", "T00:00:00", "T01:00:00", "2027-09-05T04:00:00Z"),
        ] {
            let day = shown(zone, at(when)).date().to_string();
            let [inside, begin, end] = [inside, begin, end].map(|time| local(&(day.clone() + time)));
            assert_eq!(resolve(zone, inside), Local::Never(Gap { begin, end, at: at(when) }), "{zone}");
            assert_eq!(resolve(zone, end), Local::Once(at(when)), "{zone}");
        }
    }

    #[test]
    fn folds_have_ends_and_halves() {
        let lord_howe =
            Fold { begin: local("2027-04-04T01:30:00"), end: local("2027-04-04T02:00:00"), first_half: true };
        for (time, first_half) in
            [("14:30:00Z", true), ("14:59:59.999Z", true), ("15:00:00Z", false), ("15:29:59.999Z", false)]
        {
            let found = fold(Australia::Lord_Howe, at(&format!("2027-04-03T{time}")));
            assert_eq!(found, Some(Fold { first_half, ..lord_howe }), "{time}");
        }
        for time in ["14:29:59.999Z", "15:30:00Z"] {
            assert_eq!(fold(Australia::Lord_Howe, at(&format!("2027-04-03T{time}"))), None, "{time}");
        }
    }
}
