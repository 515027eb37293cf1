//! A job's query: one statement that reads, with `:name` parameters.
//!
//! Where a parameter stands is found by a tokenizer, so that `':x'`, `"a:b"`, `x::text`, comments and dollar quotes are left
//! alone. Parameters are bound, never spliced: what is put in their place is `$1`, with a cast.

use std::cell::Cell;
use std::ops::Range;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// The run's start, bound as `timestamptz`: a parameter that every query has.
pub const NOW: &str = "now";

/// Where a range of a big query begins, in what is read of it at a time: nothing for the first one.
pub const FROM: &str = "warm_from";
/// Before which value it ends: nothing for the last one.
pub const TO: &str = "warm_to";

/// A problem in a query's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// Byte offset in the query.
    pub at: usize,
    /// What is wrong, and the way out.
    pub message: String,
}

/// A query whose parameters have been found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// The statement, without a semicolon at its end.
    text: String,
    /// Where `:name` stands (byte range with the colon), in order.
    places: Vec<Range<usize>>,
    lines: Lines,
}

/// Which lines of a file a query stands on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lines {
    /// In no file.
    #[default]
    Unknown,
    /// It begins on this line (from 1), and its own line breaks are the file's.
    From(usize),
    /// It stands somewhere after the beginning of this line, with its line breaks escaped.
    On(usize),
}

/// A statement with something else in the place of its parameters, and the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The statement to send.
    pub text: String,
    /// Where pieces of the query begin: offset in `text`, offset in the query.
    pieces: Vec<(usize, usize)>,
}

impl Sql {
    /// Finds the parameters of one reading statement.
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        if let Some(at) = text.find('\0') {
            return Err(SqlError { at, message: "PostgreSQL takes no NUL character in a query".into() });
        }
        let offsets = Offsets::new(text);
        let dialect = PostgreSqlDialect {};
        let tokens = Tokenizer::new(&dialect, text).with_unescape(false).tokenize_with_location().map_err(|error| {
            SqlError { at: offsets.of(error.location), message: format!("this is not SQL: {}", error.message) }
        })?;
        let mut places = Vec::new();
        let mut end = None;
        let mut seen_word = false;
        for (i, token) in tokens.iter().enumerate() {
            let at = offsets.of(token.span.start);
            if matches!(token.token, Token::Whitespace(_)) {
                continue;
            }
            if end.is_some() {
                return Err(SqlError { at, message: "a query is one statement; this begins another".into() });
            }
            match &token.token {
                Token::SemiColon => end = Some(at),
                Token::Placeholder(_) => {
                    return Err(SqlError {
                        at,
                        message: "parameters are named: write `:name`, and give its values in [for_each]".into(),
                    });
                }
                Token::Colon => places.extend(parameter(&tokens, i).map(|word| at..offsets.of(word.span.end))),
                Token::Word(word) if !seen_word => {
                    seen_word = true;
                    let reads =
                        ["select", "with", "values", "table"].iter().any(|verb| word.value.eq_ignore_ascii_case(verb));
                    if !reads || word.quote_style.is_some() {
                        return Err(SqlError {
                            at,
                            message: "a query begins with SELECT, WITH, VALUES or TABLE: it only reads".into(),
                        });
                    }
                }
                _ => {}
            }
        }
        if !seen_word {
            return Err(SqlError { at: 0, message: "the query is empty".into() });
        }
        let end = end.unwrap_or(text.len());
        Ok(Sql { text: text[..end].trim_end().to_owned(), places, lines: Lines::Unknown })
    }

    /// The same, with the lines of the file that it stands on.
    #[must_use]
    pub fn on(mut self, lines: Lines) -> Self {
        self.lines = lines;
        self
    }

    /// The lines of the file that it stands on.
    pub fn lines(&self) -> Lines {
        self.lines
    }

    /// The line of the file that the byte at `offset` of the query stands on.
    pub fn line(&self, offset: usize) -> Option<usize> {
        match self.lines {
            Lines::Unknown => None,
            Lines::On(line) => Some(line),
            Lines::From(line) => Some(line + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()),
        }
    }

    /// The statement as it was written, without a semicolon at its end.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The parameters' names, each once, in the order of their first appearance. [`NOW`] may be among them.
    pub fn parameters(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for place in &self.places {
            let name = &self.text[place.start + 1..place.end];
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Where the parameter `name` stands first (byte range with the colon).
    pub fn place(&self, name: &str) -> Option<Range<usize>> {
        self.places.iter().find(|place| self.text[place.start + 1..place.end] == *name).cloned()
    }

    /// The statement with `replacement(index, name)` in the place of each parameter; `index` is that in [`Sql::parameters`].
    pub fn with_parameters(&self, replacement: impl Fn(usize, &str) -> String) -> Rendered {
        let names = self.parameters();
        let mut out = String::with_capacity(self.text.len() + 32);
        let mut pieces = vec![(0, 0)];
        let mut done = 0;
        for place in &self.places {
            let name = &self.text[place.start + 1..place.end];
            let index = names.iter().position(|other| *other == name).unwrap_or_default();
            out.push_str(&self.text[done..place.start]);
            pieces.push((out.len(), place.start));
            out.push_str(&replacement(index, name));
            pieces.push((out.len(), place.end));
            done = place.end;
        }
        out.push_str(&self.text[done..]);
        Rendered { text: out, pieces }
    }
}

impl Rendered {
    /// The byte offset in the query that the character at `position` (from 0) of the sent text comes from.
    pub fn origin(&self, position: usize) -> usize {
        let offset = self.text.char_indices().nth(position).map_or(self.text.len(), |(at, _)| at);
        let piece = self.pieces.iter().rposition(|(sent, _)| *sent <= offset).unwrap_or_default();
        let (sent, query) = self.pieces.get(piece).copied().unwrap_or_default();
        // What stands in the place of a parameter may be longer than its name.
        let most = self.pieces.get(piece + 1).map_or(usize::MAX, |(_, next)| next - query);
        query + (offset - sent).min(most)
    }
}

/// The first word by which the query may leave rows out that are there: `LIMIT`, `FETCH`, `OFFSET` or `TABLESAMPLE`. Byte range.
pub fn leaves_out(text: &str) -> Option<Range<usize>> {
    keyword(text, &["LIMIT", "FETCH", "OFFSET", "TABLESAMPLE"])
}

/// Whether the query says anything about the order of rows, be it in a part of it.
pub fn orders(text: &str) -> bool {
    keyword(text, &["ORDER"]).is_some()
}

/// The first of these words that is no name. Byte range.
fn keyword(text: &str, words: &[&str]) -> Option<Range<usize>> {
    let offsets = Offsets::new(text);
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).with_unescape(false).tokenize_with_location().ok()?;
    // A parameter or a qualified column may have such a name.
    let is_a_name = |i: usize| {
        let before = i.checked_sub(1).and_then(|before| tokens.get(before));
        before.is_some_and(|before| matches!(before.token, Token::Colon | Token::Period))
    };
    tokens.iter().enumerate().find_map(|(i, token)| match &token.token {
        Token::Word(word) if word.quote_style.is_none() && !is_a_name(i) => {
            let found = words.iter().any(|other| word.value.eq_ignore_ascii_case(other));
            found.then(|| offsets.of(token.span.start)..offsets.of(token.span.end))
        }
        _ => None,
    })
}

/// The word after the colon at `i`, if both together are a parameter: they touch, and the colon does not touch an
/// expression before it (an array slice, `a[1:n]`).
fn parameter(tokens: &[TokenWithSpan], i: usize) -> Option<&TokenWithSpan> {
    let colon = &tokens[i];
    let word = tokens.get(i + 1).filter(|next| next.span.start == colon.span.end)?;
    let Token::Word(name) = &word.token else { return None };
    let slice = i.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|before| {
        matches!(
            before.token,
            Token::Number(..) | Token::Word(_) | Token::RParen | Token::RBracket | Token::SingleQuotedString(_)
        )
    });
    (name.quote_style.is_none() && super::key::is_name(&name.value) && !slice).then_some(word)
}

/// Turns the tokenizer's lines and columns (counted in characters) into byte offsets.
pub(super) struct Offsets<'t> {
    text: &'t str,
    lines: Vec<usize>,
    /// The last answer: line, column, offset. Tokens come in order, so that the way from it to the next one is short.
    last: Cell<(usize, usize, usize)>,
}

impl<'t> Offsets<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Offsets { text, lines, last: Cell::new((0, 0, 0)) }
    }

    pub(super) fn of(&self, location: Location) -> usize {
        let nth = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
        let (line, column) = (nth(location.line), nth(location.column));
        let Some(&start) = self.lines.get(line) else { return self.text.len() };
        let (from_column, from) = match self.last.get() {
            (last_line, last_column, at) if last_line == line && last_column <= column => (last_column, at),
            _ => (0, start),
        };
        let steps = self.text[from..].char_indices().nth(column - from_column);
        let at = steps.map_or(self.text.len(), |(at, _)| from + at);
        self.last.set((line, column, at));
        at
    }
}

/// A name as a quoted identifier.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal, whatever `standard_conforming_strings` is.
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A text between dollar quotes that it does not hold.
pub fn dollar_quote(text: &str) -> String {
    let tags = std::iter::once(String::new()).chain((1..).map(|n: u32| n.to_string()));
    let tag = tags.map(|n| format!("$warm{n}$")).find(|tag| !text.contains(tag.as_str())).unwrap_or_default();
    format!("{tag}{text}{tag}")
}

/// A query as the sub-select `q`, whose columns are called `c0`, `c1`, …: it does not matter what they are called or whether two have the same name. The query's
/// text is not touched, its placeholders included, and its order stays: what selects from it adds no join.
pub fn as_sub_select(query: &str, columns: usize) -> String {
    let names: Vec<String> = (0..columns).map(|at| format!("c{at}")).collect();
    // The line break ends a comment that the query may end in.
    format!("(\n{query}\n) AS q({})", names.join(", "))
}

/// A query around another one that gives those of its rows whose column is in the range from [`FROM`] to [`TO`]. Ranges that follow one another have all
/// rows, each once: those without a value are in the first one.
pub fn ranged(query: &str, column: &str) -> String {
    let column = quote_identifier(column);
    // The line break ends a comment that the query may end in.
    format!(
        "SELECT * FROM (\n{query}\n) AS q WHERE (q.{column} >= :{FROM} OR :{FROM} IS NULL) \
         AND (q.{column} < :{TO} OR :{TO} IS NULL OR :{FROM} IS NULL AND q.{column} IS NULL)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(text: &str) -> String {
        Sql::parse(text).expect(text).with_parameters(|i, _| format!("${}", i + 1)).text
    }

    #[test]
    fn a_place_in_the_sent_text_leads_back_to_the_query_and_its_line() {
        let query = "SELECT 'é', :state\nFROM t\nWHERE a = :state AND nope";
        let sql = Sql::parse(query).expect("good").on(Lines::From(7));
        let sent = sql.with_parameters(|_, _| "CAST($1::text AS bigint)".to_owned());
        let origin = |word: &str| sent.origin(sent.text.chars().count() - word.chars().count());
        assert_eq!(&query[origin("nope")..], "nope");
        assert_eq!(sql.line(origin("nope")), Some(9));
        let inside = sent.text.find("$1").expect("there");
        let place = sql.place("state").expect("there");
        assert!((place.start..=place.end).contains(&sent.origin(inside - 1)), "`é` is two bytes and one character");
        assert_eq!(sql.line(sent.origin(0)), Some(7));
        assert_eq!(sql.clone().on(Lines::On(3)).line(40), Some(3));
        assert_eq!(sql.on(Lines::Unknown).line(0), None);
    }

    #[test]
    fn parameters_are_found_outside_strings_comments_casts_and_slices() {
        assert_eq!(
            numbered(
                "SELECT ':no', \":no\", x::text, E'\\':no', $$ :no $$, a[1:n] -- :no\n/* :no /* :no */ */ FROM t WHERE s=:state AND t >= :now OR s = :state;"
            ),
            "SELECT ':no', \":no\", x::text, E'\\':no', $$ :no $$, a[1:n] -- :no\n/* :no /* :no */ */ FROM t WHERE s=$1 AND t >= $2 OR s = $1"
        );
        assert_eq!(numbered("SELECT 'ṣé', :a::int, unnest(:b::text[])"), "SELECT 'ṣé', $1::int, unnest($2::text[])");
        assert_eq!(Sql::parse("SELECT :b, :a, :b").expect("good").parameters(), ["b", "a"]);
    }

    #[test]
    fn words_that_leave_rows_out_are_found_where_they_are_words() {
        for (text, word) in [
            ("SELECT 'é' FROM t\nLimit 1", Some("Limit")),
            ("SELECT 1 FROM t OFFSET 2 ROWS", Some("OFFSET")),
            ("SELECT (SELECT 1 FROM t FETCH FIRST ROW ONLY)", Some("FETCH")),
            ("SELECT 1 FROM t TABLESAMPLE system (1)", Some("TABLESAMPLE")),
            (
                "SELECT 'limit', \"limit\", t.limit, $$limit$$, E'\\'limit', limits -- limit\n/* limit */ FROM t WHERE :limit::int > 1",
                None,
            ),
        ] {
            assert_eq!(leaves_out(text).map(|word| &text[word]), word, "{text}");
        }
    }

    #[test]
    fn only_one_statement_that_reads_is_accepted() {
        for (text, at, part) in [
            ("SELECT 1; DROP TABLE t", 10, "one statement"),
            ("DELETE FROM t", 0, "only reads"),
            ("  \n -- nothing\n", 0, "empty"),
            ("SELECT $1", 7, "named"),
            ("SELECT 'open", 7, "not SQL"),
            ("SELECT '\0'", 8, "no NUL"),
        ] {
            let error = Sql::parse(text).expect_err(text);
            assert!(error.message.contains(part), "{text}: {}", error.message);
            assert_eq!(error.at, at, "{text}: {}", error.message);
        }
        assert_eq!(Sql::parse("(SELECT 1) ; -- end\n").expect("one statement").text(), "(SELECT 1)");
    }
}
