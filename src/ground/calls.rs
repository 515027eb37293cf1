//! Which functions a text of SQL calls, by name. What they are, only the server knows.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::sql::Offsets;

/// What SQL knows as the time without parentheses. `CURRENT_DATE` is not among them: it changes once a day.
const TIMES: &[&str] = &["CURRENT_TIMESTAMP", "CURRENT_TIME", "LOCALTIMESTAMP", "LOCALTIME"];

/// A function that is called, or one of the key words that stand for the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The schema, where it is named.
    pub schema: Option<String>,
    /// The name as the catalog has it; a key word in capital letters.
    pub name: String,
    /// How many arguments it gets.
    pub arguments: usize,
    /// The byte offset in the text.
    pub at: usize,
}

impl Called {
    /// Whether it is a key word for the time.
    pub fn is_time(&self) -> bool {
        self.schema.is_none() && TIMES.contains(&self.name.as_str())
    }
}

/// All calls in a text, and some words before a parenthesis that are none: `IN (`. Nothing for a text that is not SQL.
pub fn calls(text: &str) -> Vec<Called> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).with_unescape(false).tokenize_with_location();
    let mut tokens = tokens.unwrap_or_default();
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let offsets = Offsets::new(text);
    let is = |at: usize, token: &Token| tokens.get(at).is_some_and(|other| other.token == *token);
    let mut calls = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let Some(name) = name(token) else { continue };
        let qualified = i > 0 && is(i - 1, &Token::Period);
        let time = time(token).filter(|_| !qualified);
        if time.is_some() || is(i + 1, &Token::LParen) {
            let schema = i.checked_sub(2).filter(|_| qualified).and_then(|at| self::name(&tokens[at]));
            let at = offsets.of(token.span.start);
            calls.push(Called { schema, name: time.unwrap_or(name), arguments: arguments(&tokens[i + 1..]), at });
        }
    }
    calls
}

/// How many arguments stand in the parentheses with which the tokens begin.
fn arguments(tokens: &[TokenWithSpan]) -> usize {
    let (mut depth, mut commas) = (0, 0);
    for (i, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen if i == 1 => return 0,
            Token::RParen | Token::RBracket => depth -= 1,
            Token::Comma if depth == 1 => commas += 1,
            _ => {}
        }
        if depth == 0 {
            return if i == 0 { 0 } else { commas + 1 };
        }
    }
    0
}

/// A word as an identifier: in small letters unless it is quoted.
fn name(token: &TokenWithSpan) -> Option<String> {
    let Token::Word(word) = &token.token else { return None };
    Some(match word.quote_style {
        Some(_) => word.value.replace("\"\"", "\""),
        None => word.value.to_lowercase(),
    })
}

fn time(token: &TokenWithSpan) -> Option<String> {
    let Token::Word(word) = &token.token else { return None };
    let time = TIMES.iter().find(|time| word.quote_style.is_none() && word.value.eq_ignore_ascii_case(time))?;
    Some((*time).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_where_they_are_calls() {
        let found = |text: &str| {
            let calls = calls(text).into_iter().map(|Called { schema, name, arguments, .. }| match schema {
                Some(schema) => format!("{schema}.{name}/{arguments}"),
                None => format!("{name}/{arguments}"),
            });
            calls.collect::<Vec<_>>().join(" ")
        };
        for (text, names) in [
            ("SELECT Now(), random ( )", "now/0 random/0"),
            ("s.f(x), \"Odd\"\"S\".\"F\"(1)", "s.f/1 Odd\"S.F/1"),
            ("a < current_timestamp AND b > LOCALTIME(3)", "CURRENT_TIMESTAMP/0 LOCALTIME/1"),
            ("'now()', $$now()$$, \"now\", now, t.current_timestamp, \"current_time\" -- now()\n/* now() */", ""),
            ("now()::date + '1 day'::interval", "now/0"),
            ("f(a, g(b, c), ARRAY[1, 2], (x)::numeric(8,2))", "f/4 g/2 numeric/2"),
            ("f(ROW(1), 'a,b') IN (1, 2), f(1", "f/2 row/1 in/2 f/0"),
            ("'open", ""),
        ] {
            assert_eq!(found(text), names, "{text}");
        }
        assert_eq!(calls("SELECT 'é',\n now()")[0].at, "SELECT 'é',\n ".len());
    }
}
