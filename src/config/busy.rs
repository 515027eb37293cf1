//! `busy_above` and `busy_query`: when the database counts as busy.

use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::fields::Reader;
use super::raw;
use super::settings::bounded;
use super::sources::Sources;
use crate::ground::settings::Busy;

/// The largest figure that the database may be compared with.
const MOST: u32 = 1_000_000_000;

/// What both say together; `None` if the database never counts as busy.
pub(super) fn busy(
    raw: &raw::Postgres,
    statement_timeout: Duration,
    sources: &Sources,
) -> Result<Option<Busy>, Diagnostic> {
    let above = raw.busy_above.as_ref().map(|above| bounded("postgres.busy_above", above, 0..=MOST, sources));
    let reader = Reader { sources, statement_timeout };
    let query = raw.busy_query.as_ref().map(|text| Ok((text, reader.sql(text)?))).transpose()?;
    let Some(above) = above.transpose()? else {
        let Some((text, _)) = query else { return Ok(None) };
        let message = "`postgres.busy_query` gives a figure, and nothing says above which one the database is busy";
        return Err(sources.error(text.span(), message).help("add `busy_above`, such as busy_above = 20"));
    };
    let query = query.map(|(text, sql)| match sql.parameters().first() {
        None => Ok(sql),
        Some(name) => {
            let place = sql.place(name).map_or(text.span(), |place| reader.inside(text, place.start, place.len()));
            let message = format!("`postgres.busy_query` takes no parameters, and uses `:{name}`");
            let help = "write the value into the query, or now() for the time";
            Err(sources.error(place, message).help(help))
        }
    });
    Ok(Some(Busy { above, query: query.transpose()? }))
}
