//! Where a column's values can be cut into ranges with about as many rows each: the planner's statistics tell, without a look at the table.

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, Column as _, Row as _, Statement as _};

use super::error::translate;
use super::snapshot::Snapshot;
use super::statement::Statement;
use crate::ground::error::Error;

/// The planner's histogram of a column: values between any two of which there are as many rows. It is shown to whoever may read the column.
const HISTOGRAM: &str = "SELECT s.histogram_bounds::text::text[] FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
     JOIN pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_stats s ON (s.schemaname, s.tablename, s.attname) = (n.nspname, c.relname, a.attname) \
     WHERE a.attrelid = $1 AND a.attnum = $2 AND s.histogram_bounds IS NOT NULL ORDER BY s.inherited DESC LIMIT 1";

impl Snapshot {
    /// Values of the statement's column at which its rows can be cut into so many parts of about one size; fewer, or none, where PostgreSQL has no histogram of
    /// it: its table was never analyzed, it has few different values, all of which PostgreSQL keeps as common ones, or it is no table's column.
    ///
    /// # Errors
    /// What the server says.
    pub async fn cuts(&mut self, statement: &Statement, column: &str, parts: usize) -> Result<Vec<String>, Error> {
        let columns = statement.prepared.columns();
        let Some(column) = columns.iter().find(|candidate| candidate.name() == column) else { return Ok(Vec::new()) };
        let (Some(relation), Some(number)) = (column.relation_id(), column.relation_attribute_no()) else {
            return Ok(Vec::new());
        };
        let mut arguments = PgArguments::default();
        let added = arguments.add(relation).and_then(|()| arguments.add(number));
        added.map_err(|error| translate(sqlx::Error::Encode(error)))?;
        let rows = self.query(HISTOGRAM.to_owned(), arguments).await?;
        let histogram: Option<Vec<String>> = rows.first().map(|row| row.try_get(0)).transpose().map_err(translate)?;
        Ok(chosen(&histogram.unwrap_or_default(), parts))
    }
}

/// Some of the histogram's values, as far from one another as can be; not the least one, before which there is nothing.
fn chosen(histogram: &[String], parts: usize) -> Vec<String> {
    let last = histogram.len().saturating_sub(1);
    let mut cuts: Vec<String> = (1..parts)
        .filter_map(|part| histogram.get((part * last / parts).max(1)).filter(|_| last > 0))
        .cloned()
        .collect();
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_as_far_from_one_another_as_can_be() {
        let histogram: Vec<String> = (0..=100).map(|n| n.to_string()).collect();
        assert_eq!(chosen(&histogram, 4), ["25", "50", "75"]);
        assert_eq!(chosen(&histogram[..3], 4), ["1"]);
        assert_eq!(chosen(&histogram[..1], 4), [""; 0]);
        assert_eq!(chosen(&[], 4), [""; 0]);
    }
}
