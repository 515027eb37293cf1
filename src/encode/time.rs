//! Dates and times as JavaScript's `Date.prototype.toISOString` prints them.
//!
//! Postgres counts microseconds (or days) from 2000-01-01, in UTC; the largest and the smallest count are the
//! infinities. Only the years 1 to 9999 have a text here: each function says whether it wrote one, and the
//! format decides what stands in its place otherwise.

use super::error::Fail;
use super::out::Out;
use super::wire::fixed;

const DAY: i64 = 86_400_000_000;
/// Days from 0001-01-01 to 2000-01-01.
const EPOCH: i64 = 730_119;
/// Days from 0001-01-01 to 10000-01-01.
const END: i64 = 3_652_059;
/// 1970-01-01, the day that a time without a date is given.
const UNIX: i64 = -10_957;

/// Writes a `timestamp` or `timestamptz`; `false` if it has no text.
pub(crate) fn timestamp(value: &[u8], out: &mut Out<'_>) -> Result<bool, Fail> {
    let micros = i64::from_be_bytes(fixed(value)?);
    Ok(write(micros.div_euclid(DAY), micros.rem_euclid(DAY), out))
}

/// Writes a `date`; `false` if it has no text.
pub(crate) fn date(value: &[u8], out: &mut Out<'_>) -> Result<bool, Fail> {
    Ok(write(i64::from(i32::from_be_bytes(fixed(value)?)), 0, out))
}

/// Writes a `time`, on the first day of 1970; `24:00:00` is on the second.
pub(crate) fn time(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let micros = i64::from_be_bytes(fixed(value)?);
    if !(0..=DAY).contains(&micros) {
        return Err(Fail::bad("a time outside of a day"));
    }
    write(UNIX + micros / DAY, micros % DAY, out);
    Ok(())
}

/// Writes a `timetz` as its local time; the offset is ignored.
pub(crate) fn timetz(value: &[u8], out: &mut Out<'_>) -> Result<(), Fail> {
    let value: [u8; 12] = fixed(value)?;
    let (micros, _offset) = value.split_at(8);
    time(micros, out)
}

/// Writes the instant in quotes: `days` from 2000-01-01 and `micros` of the day, cut to milliseconds.
fn write(days: i64, micros: i64, out: &mut Out<'_>) -> bool {
    let days = days + EPOCH;
    if !(0..END).contains(&days) {
        return false;
    }
    let (year, month, day) = civil(days as u32);
    let millis = (micros / 1000) as u32;
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let mut text = *b"\"0000-00-00T00:00:00.000Z\"";
    let mut put = |at: usize, value: u32| {
        if let Some([tens, ones]) = text.get_mut(at..at + 2) {
            *tens = b'0' + (value / 10) as u8;
            *ones = b'0' + (value % 10) as u8;
        }
    };
    put(1, year / 100);
    put(3, year % 100);
    put(6, month);
    put(9, day);
    put(12, seconds / 3600);
    put(15, seconds / 60 % 60);
    put(18, seconds % 60);
    put(21, millis / 10);
    text[23] = b'0' + (millis % 10) as u8;
    out.put(&text);
    true
}

/// Year, month and day of the day that lies `days` after 0001-01-01 (Howard Hinnant's `civil_from_days`, with
/// years that begin in March).
fn civil(days: u32) -> (u32, u32, u32) {
    let days = days + 306;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1, 1, 1);
        for days in 0..END as u32 {
            assert_eq!(civil(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u32::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }

    #[test]
    fn micros_are_cut_and_infinities_have_no_text() {
        let text = |micros: i64| {
            let mut buf = Vec::new();
            let wrote = timestamp(&micros.to_be_bytes(), &mut Out::new(&mut buf, 100)).unwrap();
            wrote.then(|| String::from_utf8(buf).unwrap())
        };
        assert_eq!(text(0).unwrap(), "\"2000-01-01T00:00:00.000Z\"");
        assert_eq!(text(-1).unwrap(), "\"1999-12-31T23:59:59.999Z\"");
        assert_eq!(text(1_999_999).unwrap(), "\"2000-01-01T00:00:01.999Z\"");
        assert_eq!(text((END - EPOCH) * DAY - 1).unwrap(), "\"9999-12-31T23:59:59.999Z\"");
        assert_eq!(text(-EPOCH * DAY).unwrap(), "\"0001-01-01T00:00:00.000Z\"");
        assert_eq!([text((END - EPOCH) * DAY), text(-EPOCH * DAY - 1)], [None, None]);
        assert_eq!([text(i64::MAX), text(i64::MIN)], [None, None]);
    }
}
