//! Why a text is no schedule, in the words of somebody who writes one.
//!
//! What a schedule means is `ground`'s to say; this only finds out which part of a refused text is at fault, by trying each part by itself.

use std::ops::Range;

use chrono_tz::Tz;

use super::units;
use crate::ground::near::nearest;
use crate::ground::schedule::{KINDS, NICKNAMES, Schedule};

/// What is wrong with a schedule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The part at fault, in bytes of the text.
    pub(super) place: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// The fields of cron, the optional first one included, and what stands in them.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of the month", "1-31"),
    ("month", "1-12 or JAN-DEC"),
    ("day of the week", "0-7 or SUN-SAT, 0 and 7 are Sunday"),
];

/// Finds the fault in a text that is refused as a schedule for `reason`.
pub(super) fn fault(text: &str, reason: &str) -> Fault {
    let whole = 0..text.len();
    if let Some(interval) = text.trim().strip_prefix("every ") {
        let bounds = (std::time::Duration::from_secs(1), std::time::Duration::from_secs(366 * 86_400));
        let expected = units::duration(interval.trim(), bounds.0, bounds.1).err();
        let expected = expected.map(|expected| format!("an interval must be {expected}, not `{}`", interval.trim()));
        let message = expected.unwrap_or(reason.to_owned());
        return Fault { place: whole, message, help: "an interval is written `every 4m`".to_owned() };
    }
    let fields = words(text);
    if let [(_, word)] = fields[..] {
        let near = nearest(&format!("@{}", word.trim_start_matches('@')), NICKNAMES.map(|(name, _)| name));
        let help = near.map_or_else(|| KINDS.to_owned(), |near| format!("did you mean `{near}`?"));
        return Fault { place: whole, message: format!("`{text}` is no schedule"), help };
    }
    if !(5..=6).contains(&fields.len()) {
        let message = match fields.len() {
            0 => "the schedule is empty".to_owned(),
            count => format!("this schedule has {count} fields; cron has 5, or 6 with seconds"),
        };
        return Fault { place: whole, message, help: KINDS.to_owned() };
    }
    let names = &FIELDS[FIELDS.len() - fields.len()..];
    for (at, ((start, field), (name, range))) in fields.iter().zip(names).enumerate() {
        let alone: Vec<&str> = (0..fields.len()).map(|other| if other == at { *field } else { "*" }).collect();
        if Schedule::parse(&alone.join(" "), Tz::UTC).is_err() {
            return Fault {
                place: *start..start + field.len(),
                message: format!("`{field}` is no {name} of a schedule"),
                help: format!("it is one of {range}, a list (`1,2`), a range (`1-5`), a step (`*/2`) or `*`"),
            };
        }
    }
    Fault {
        place: whole,
        message: format!("`{text}` is no schedule: {reason}"),
        help: "choose a day that exists".to_owned(),
    }
}

/// The words of a text, and where each begins.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let pieces = text.split_inclusive(char::is_whitespace).map(|piece| {
        at += piece.len();
        (at - piece.len(), piece.trim_end())
    });
    pieces.filter(|(_, word)| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_at_fault_is_named() {
        for (text, part, message) in [
            ("61 * * * *", "61", "`61` is no minute of a schedule"),
            ("* 5-24 * * *", "5-24", "`5-24` is no hour of a schedule"),
            ("60 * * * * *", "60", "`60` is no second of a schedule"),
            ("0 0 * JANUARY *", "JANUARY", "`JANUARY` is no month of a schedule"),
            ("0 0 * * 8", "8", "`8` is no day of the week of a schedule"),
            ("0 * * *", "0 * * *", "this schedule has 4 fields; cron has 5, or 6 with seconds"),
            ("hourly", "hourly", "`hourly` is no schedule"),
            ("", "", "the schedule is empty"),
        ] {
            let reason = Schedule::parse(text, Tz::UTC).expect_err(text);
            let fault = fault(text, &reason);
            assert_eq!((&text[fault.place.clone()], fault.message.as_str()), (part, message));
        }
        assert_eq!(fault("hourly", "").help, "did you mean `@hourly`?");
        assert_eq!(fault("@dayly", "").help, "did you mean `@daily`?");
    }
}
