//! Whether rows may be published: a query that suddenly gives a tenth of its rows is more often a defect somewhere than the truth, and
//! yesterday's cache is better than a wrong one. The decision is made before the first write, so that all of the old keys stay.

use super::history::{LastGood, NamedType};

/// What a job's rows must be like (`[guard]`). Nothing is demanded unless it is set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guard {
    /// The fewest rows.
    pub min_rows: Option<u64>,
    /// The most rows.
    pub max_rows: Option<u64>,
    /// The share (0 … 1) of the last good run's rows that may be missing.
    pub max_shrink: Option<f64>,
    /// Whether names and types of the columns must be those of the last good run.
    pub same_columns: bool,
}

impl Guard {
    /// Whether it demands anything.
    pub fn is_set(&self) -> bool {
        self.counts_rows() || self.same_columns
    }

    /// Whether rows have to be counted before the first write.
    pub fn counts_rows(&self) -> bool {
        self.min_rows.is_some() || self.max_rows.is_some() || self.max_shrink.is_some()
    }

    /// The names of those demands that compare with the last good run.
    pub fn looking_back(&self) -> Vec<&'static str> {
        let shrink = self.max_shrink.map(|_| "max_shrink");
        shrink.into_iter().chain(self.same_columns.then_some("same_columns")).collect()
    }

    /// Whether a run may publish so many rows, those of all combinations. Without a last good run of the same definition there is nothing to compare with.
    ///
    /// # Errors
    /// Everything that is not as demanded, with figures, for people.
    pub fn allows_rows(&self, rows: u64, last: Option<&LastGood>) -> Result<(), String> {
        let reasons = [self.too_few(rows), self.too_many(rows), last.and_then(|last| self.shrunk(rows, last))];
        let reasons: Vec<String> = reasons.into_iter().flatten().collect();
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
    }

    /// Whether a run may publish what has these columns.
    ///
    /// # Errors
    /// How they differ from those of the last good run, for people.
    pub fn allows_columns(&self, found: &[NamedType], last: Option<&LastGood>) -> Result<(), String> {
        last.filter(|_| self.same_columns).and_then(|last| other_columns(found, last)).map_or(Ok(()), Err)
    }

    /// Whether so many rows are too many already, however many are still to come.
    ///
    /// # Errors
    /// That they are, for people.
    pub fn allows_more_than(&self, rows: u64) -> Result<(), String> {
        self.too_many(rows).map_or(Ok(()), |why| Err(why.replacen("gives", "gives at least", 1)))
    }

    fn too_few(&self, rows: u64) -> Option<String> {
        let least = self.min_rows.filter(|least| rows < *least)?;
        Some(format!("the query gives {}, fewer than min_rows = {least}", counted(rows)))
    }

    fn too_many(&self, rows: u64) -> Option<String> {
        let most = self.max_rows.filter(|most| rows > *most)?;
        Some(format!("the query gives {}, more than max_rows = {most}", counted(rows)))
    }

    fn shrunk(&self, rows: u64, last: &LastGood) -> Option<String> {
        /// What binary fractions may be wrong by: 57 % of 100 rows are 57 rows.
        const INEXACT: f64 = 1e-6;
        let (share, before) = (self.max_shrink?, last.measure.rows);
        let may_miss = (share * before as f64 + INEXACT) as u64;
        let least = before.saturating_sub(may_miss);
        if rows >= least {
            return None;
        }
        let fewer = 100.0 * before.saturating_sub(rows) as f64 / before as f64;
        Some(format!(
            "the query gives {}, {fewer:.0} % fewer than the {before} of {}; with max_shrink = \"{}%\" it is at least {least}",
            counted(rows),
            dated(last),
            // As it was written: 56.99999999999999 is nobody's number.
            (share * 1e8).round() / 1e6
        ))
    }
}

/// How the columns differ, if they do.
fn other_columns(found: &[NamedType], last: &LastGood) -> Option<String> {
    let before = &last.measure.columns;
    if found == before {
        return None;
    }
    // By name and occurrence: a result may have several columns of one name.
    let nth =
        |columns: &[NamedType], at: usize| columns[..at].iter().filter(|other| other.name == columns[at].name).count();
    let partner = |columns: &[NamedType], of: &[NamedType], at: usize| {
        columns.iter().filter(|other| other.name == of[at].name).nth(nth(of, at)).cloned()
    };
    let mut changes = Vec::new();
    for (at, NamedType { name, ty }) in before.iter().enumerate() {
        match partner(found, before, at) {
            None => changes.push(format!("`{name}` ({ty}) is gone")),
            Some(now) if now.ty != *ty => changes.push(format!("`{name}` is {} and was {ty}", now.ty)),
            Some(_) => {}
        }
    }
    for (at, NamedType { name, ty }) in found.iter().enumerate() {
        if partner(before, found, at).is_none() {
            changes.push(format!("`{name}` ({ty}) is new"));
        }
    }
    if changes.is_empty() {
        changes.push("they stand in another order".to_owned());
    }
    Some(format!("the query's columns are not those of {} (same_columns): {}", dated(last), changes.join(", ")))
}

fn counted(rows: u64) -> String {
    format!("{rows} {}", if rows == 1 { "row" } else { "rows" })
}

fn dated(last: &LastGood) -> String {
    format!("the last good run ({})", last.ended.format("%Y-%m-%d %H:%M:%S UTC"))
}

#[cfg(test)]
mod tests {
    use super::super::history::Measure;
    use super::*;

    const OFF: Guard = Guard { min_rows: None, max_rows: None, max_shrink: None, same_columns: false };

    fn columns(columns: &[(&str, &str)]) -> Vec<NamedType> {
        let named = |(name, ty): &(&str, &str)| NamedType { name: (*name).to_owned(), ty: (*ty).to_owned() };
        columns.iter().map(named).collect()
    }

    fn last(rows: u64, before: &[(&str, &str)]) -> LastGood {
        LastGood { ended: chrono::DateTime::UNIX_EPOCH, measure: Measure { rows, columns: columns(before) } }
    }

    fn with_rows(guard: &Guard, rows: u64, before: Option<u64>) -> Result<(), String> {
        guard.allows_rows(rows, before.map(|rows| last(rows, &[])).as_ref())
    }

    #[test]
    fn nothing_is_demanded_unless_it_is_set() {
        assert!(!OFF.is_set());
        assert_eq!(with_rows(&OFF, 0, Some(1_000_000)), Ok(()));
        assert_eq!(OFF.allows_columns(&columns(&[("a", "text")]), Some(&last(1, &[]))), Ok(()));
    }

    #[test]
    fn rows_are_between_the_fewest_and_the_most() {
        let guard = Guard { min_rows: Some(2), max_rows: Some(3), ..OFF };
        assert!(guard.is_set() && guard.looking_back().is_empty());
        assert_eq!(with_rows(&guard, 2, None), Ok(()));
        assert_eq!(with_rows(&guard, 3, None), Ok(()));
        assert_eq!(with_rows(&guard, 1, None), Err("the query gives 1 row, fewer than min_rows = 2".to_owned()));
        assert_eq!(with_rows(&guard, 4, None), Err("the query gives 4 rows, more than max_rows = 3".to_owned()));
        let at_least = "the query gives at least 4 rows, more than max_rows = 3".to_owned();
        assert_eq!(guard.allows_more_than(4), Err(at_least));
        assert_eq!(guard.allows_more_than(1), Ok(()), "more may come");
    }

    #[test]
    fn rows_may_be_fewer_than_in_the_last_good_run_by_a_share() {
        let half = Guard { max_shrink: Some(0.5), ..OFF };
        assert_eq!(half.looking_back(), ["max_shrink"]);
        assert_eq!(with_rows(&half, 0, None), Ok(()), "the first run has nothing to be compared with");
        assert_eq!(with_rows(&half, 0, Some(0)), Ok(()));
        assert_eq!(with_rows(&half, 100, Some(200)), Ok(()));
        assert_eq!(with_rows(&half, 1000, Some(200)), Ok(()), "growing is another matter");
        assert_eq!(
            with_rows(&half, 90, Some(200)),
            Err("the query gives 90 rows, 55 % fewer than the 200 of the last good run (1970-01-01 00:00:00 UTC); \
                 with max_shrink = \"50%\" it is at least 100"
                .to_owned())
        );
        assert!(with_rows(&half, 1, Some(3)).is_err(), "half of three rows are two, or more");
        for percent in 0..=100_u32 {
            let guard = Guard { max_shrink: Some(f64::from(percent) / 100.0), ..OFF };
            let least = u64::from(100 - percent);
            assert_eq!(with_rows(&guard, least, Some(100)), Ok(()), "{percent}");
            let fewer = least.checked_sub(1).map(|rows| with_rows(&guard, rows, Some(100)));
            assert!(fewer.is_none_or(|result| result.is_err_and(|why| why.contains(&format!("\"{percent}%\"")))));
        }
    }

    #[test]
    fn columns_are_those_of_the_last_good_run() {
        let guard = Guard { same_columns: true, ..OFF };
        let before = [("id", "integer"), ("a", "text"), ("a", "text")];
        let said = |now: &[(&str, &str)]| match guard.allows_columns(&columns(now), Some(&last(1, &before))) {
            Ok(()) => "allowed".to_owned(),
            Err(why) => why.split_once(" (same_columns): ").map(|(_, what)| what.to_owned()).unwrap_or_default(),
        };
        assert_eq!(said(&before), "allowed");
        assert_eq!(
            said(&[("id", "bigint"), ("a", "text"), ("b", "text")]),
            "`id` is bigint and was integer, `a` (text) is gone, `b` (text) is new"
        );
        assert_eq!(said(&[("id", "integer"), ("a", "text"), ("a", "text"), ("c", "date")]), "`c` (date) is new");
        assert_eq!(said(&[("a", "text"), ("id", "integer"), ("a", "text")]), "they stand in another order");
        assert_eq!(guard.allows_columns(&[], None), Ok(()));
    }

    #[test]
    fn everything_that_is_wrong_is_said() {
        let guard = Guard { min_rows: Some(5), max_shrink: Some(0.0), ..OFF };
        let why = with_rows(&guard, 1, Some(2)).expect_err("two things are wrong");
        assert!(["min_rows = 5", "max_shrink = \"0%\""].iter().all(|part| why.contains(part)), "{why}");
    }
}
