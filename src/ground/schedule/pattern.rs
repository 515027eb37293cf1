//! Cron's text, and which times of the wall clock it matches. No time zone is known here: local times are counted as if no clock was ever changed.
//!
//! Days and fields mean what they mean to Debian's cron. croner does the counting, but reads more than that: names in any field, empty members
//! of lists, `?` and `+`. What stands in a field is looked at here first, so that a slip of the pen is refused and not understood in some other way.

use chrono::NaiveDateTime;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

/// What is understood as a schedule, in one sentence.
pub const KINDS: &str = "a schedule is cron (`0 * * * *`), a nickname (`@hourly`) or an interval (`every 4m`)";

/// The nicknames, and what each stands for.
pub const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Which local times match.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    cron: Box<Cron>,
    fixed: bool,
}

impl Pattern {
    /// Parses five fields, six with seconds, or a nickname. The error is one sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let nickname = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        let text = nickname.map_or(text, |(_, meaning)| meaning).to_ascii_uppercase();
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (minute, hour, day, weekday) = match *fields.as_slice() {
            [minute, hour, day, _, weekday] | [_, minute, hour, day, _, weekday] => (minute, hour, day, weekday),
            _ => return Err(format!("this is no schedule; {KINDS}")),
        };
        let kinds = [NUMBERS, NUMBERS, NUMBERS, DAY, MONTH, WEEKDAY];
        let mut each = fields.iter().zip(&kinds[kinds.len() - fields.len()..]);
        if let Some((field, _)) = each.find(|(field, kind)| !kind.takes(field)) {
            return Err(format!("`{field}` cannot stand where it stands; {KINDS}"));
        }
        let starred = |field: &str| field.starts_with('*');
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            // A field that begins with `*` narrows the other one down; two that do not are alternatives.
            .dom_and_dow(starred(day) || starred(weekday))
            .build();
        let cron = parser.parse(&text).map_err(|error| format!("{error}; {KINDS}"))?;
        Ok(Pattern { cron: Box::new(cron), fixed: !starred(minute) && !starred(hour) })
    }

    /// Whether neither minute nor hour begins with `*`: such a job is meant for times of the day, any other one for times that pass.
    pub(super) fn fixed(&self) -> bool {
        self.fixed
    }

    /// The first time after `time`.
    pub(super) fn after(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_next_occurrence(&time, false).ok()
    }

    /// The first time that is not before `time`.
    pub(super) fn from(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_next_occurrence(&time, true).ok()
    }

    /// The last time that is not after `time`.
    pub(super) fn until(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        self.cron.find_previous_occurrence(&time, true).ok()
    }
}

/// What may stand in a field beside numbers and `*`.
#[derive(Clone, Copy)]
struct Field {
    names: &'static [&'static str],
    /// A member of a list that is neither a value nor a range.
    special: fn(&str) -> bool,
}

const NUMBERS: Field = Field { names: &[], special: |_| false };
const MONTH: Field = Field { names: &MONTHS, ..NUMBERS };
/// The last day, the last working day, the working day that is nearest to the 15th.
const DAY: Field = Field { special: |text| ["L", "LW"].contains(&text) || has(text, "W", is_number), ..NUMBERS };
/// The last Friday, the second Friday of the month.
const WEEKDAY: Field = Field {
    names: &WEEKDAYS,
    special: |text| {
        let is_day = |day: &str| is_number(day) || WEEKDAYS.contains(&day);
        has(text, "L", is_day) || text.split_once('#').is_some_and(|(day, nth)| is_day(day) && is_number(nth))
    },
};

impl Field {
    /// Whether nothing stands in the field that belongs into another one, or nowhere. Whether values have the right size is croner's to say.
    fn takes(self, text: &str) -> bool {
        let is_end = |end: &str| end == "*" || is_number(end) || self.names.contains(&end);
        text.split(',').all(|member| {
            let (range, step) = member.split_once('/').unwrap_or((member, "1"));
            (self.special)(member) || (is_number(step) && range.split('-').all(is_end))
        })
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn has(text: &str, suffix: &str, is_rest: impl Fn(&str) -> bool) -> bool {
    text.strip_suffix(suffix).is_some_and(is_rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_into_another_field_or_nowhere_is_refused() {
        for text in [
            // croner takes a name for its number wherever it stands, and even in the middle of a word.
            "MON * * * *",
            "0 0 MON * *",
            "0 0 * MON *",
            "0 0 * * JAN",
            "0 0 * * 1MON",
            "0 0 * * MON2",
            "0 0 * * */TUE",
            "0 0 * JANFEB *",
            // It skips empty members.
            "0,,5 * * * *",
            ", * * * *",
            "0 0 1, * *",
            // Quartz' marks.
            "0 0 ? * 1",
            "0 0 1 * ?",
            "0 0 13 * +5",
            // What is not looked at.
            "0 0 15W6 * *",
            "0 0 W * *",
            "0 0 * * L",
            "0 0 * * 1-5#2",
            "0 0 * * 1-5L",
            "0 0 * * 5#6",
            "0 0 32W * *",
            "L * * * *",
            // A step begins at `*` or in a range.
            "5/10 * * * *",
            "/10 * * * *",
            "*-5 * * * *",
            "@reboot",
            "@",
        ] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_work_in_their_fields_whatever_their_case() {
        for text in [
            "0 0 * jan-Mar,DEC *",
            "0 0 * * mon-FRI,sun",
            "0 0 * * SAT-SUN",
            "0 0 L,15w,lw * *",
            "0 0 * * FriL,1#2,SUN#5,7l",
            "0 0 1-31/2,5 */3 0-7",
            "  0  0 * * *\t",
            "@Hourly",
            " @midnight ",
        ] {
            assert!(Pattern::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_job_is_meant_for_times_of_the_day_unless_its_minute_or_hour_begins_with_a_star() {
        for (text, fixed) in [
            ("0 0 * * *", true),
            ("0-59 0-23 * * *", true),
            ("*/10 0 2 * * *", true),
            ("@daily", true),
            ("*/15 2 * * *", false),
            ("0 */2 * * *", false),
            ("@hourly", false),
            ("0 0 * * * *", false),
        ] {
            assert_eq!(Pattern::parse(text).expect(text).fixed(), fixed, "{text}");
        }
    }
}
