//! Nothing that may be a secret reaches a message, not even in the line of a file that it quotes.

/// Words that a secret's name contains.
const TELLTALE: [&str; 5] = ["password", "passwd", "secret", "token", "credential"];

/// Masks what may be a secret, byte for byte, so that places stay right: the rest of a line after `://`, and after the `=` of a name such as `url` or
/// `password`. Quotes and blanks stay, so that the line can still be recognized.
pub(super) fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // The quotes that end a secret which goes over several lines.
    let mut open: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let (clear, secret) = line.split_at(if open.is_some() { 0 } else { secret_from(line) });
        open = match open {
            Some(quotes) => Some(quotes).filter(|quotes| !secret.contains(quotes)),
            None => ["\"\"\"", "'''"].into_iter().find(|quotes| secret.matches(quotes).count() == 1),
        };
        out.push_str(clear);
        for c in secret.chars() {
            match c {
                '"' | '\'' | '\n' | '\r' | ' ' => out.push(c),
                c => out.extend(std::iter::repeat_n('*', c.len_utf8())),
            }
        }
    }
    out
}

/// A name of a file as it may be shown: what begins like a URL is one in the wrong place, and may hold a password.
pub(super) fn mask_name(name: String) -> String {
    match name.split_once("://") {
        Some((scheme, secret)) => format!("{scheme}://{}", "*".repeat(secret.chars().count())),
        None => name,
    }
}

/// Where the part of a line begins that may be a secret.
fn secret_from(line: &str) -> usize {
    let in_url = line.find("://").map(|at| at + 3);
    let named = line.match_indices('=').map(|(at, _)| at);
    let named = named.filter(|at| names_a_secret(&line[..*at], &line[at + 1..])).map(|at| at + 1).next();
    in_url.into_iter().chain(named).min().unwrap_or(line.len())
}

/// Whether the text before a `=` ends in a name that only a secret has, or that of a server whose table is a text instead: a URL most likely.
fn names_a_secret(before: &str, after: &str) -> bool {
    let name = before.trim_end().trim_end_matches(['"', '\'']);
    let name = name.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let is_text = after.trim_start().starts_with(['"', '\'']);
    ["pass", "pwd"].contains(&name.as_str())
        || name.split(['_', '-']).next_back() == Some("url")
        || TELLTALE.iter().any(|word| name.contains(word))
        || is_text && ["postgres", "redis"].contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_places_stay() {
        let text = "a = 1\nurl = \"postgres://u:p\u{e4}ss@h/d\" # postgres://u:x@h\nother = 'redis://:pw@h'\n\
                    postgres.url = 'hunter2'\nredis = { database = 1, \"url\" = 'hunter3' }\nredis_password=\"hunter4\"\nredis = 'hunter5'\n\
                    primary_url = 'hunter8'\nurl = \"\"\"\nhunter6\nhunter7\"\"\"\nb = 2\n\"url:\" = '5m'\nurl_file = '/run/secrets/url'\n";
        let masked = mask(text);
        assert_eq!(masked.len(), text.len());
        for secret in ["u:p", "ss@h", ":pw", "x@h", "hunter"] {
            assert!(!masked.contains(secret), "{masked}");
        }
        for clear in [
            "a = 1\n",
            "b = 2\n",
            "other = 'redis://",
            "{ database = 1, \"url\" =",
            "\"url:\" = '5m'",
            "'/run/secrets/url'",
        ] {
            assert!(masked.contains(clear), "{clear}: {masked}");
        }
    }
}
