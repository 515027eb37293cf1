//! What SQLite says, as far as it matters: a file that is damaged is replaced, anything else is left for better times.

use std::fmt::Display;
use std::path::Path;

/// Why the history cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file is damaged, or no database.
    Broken(String),
    /// Locked, not allowed, no room, not ours: the file may be good.
    Unusable(String),
}

impl Trouble {
    /// Something about the given path.
    pub(super) fn at(path: &Path, what: impl Display) -> Self {
        Trouble::Unusable(format!("{}: {what}", path.display()))
    }

    /// No folder is known.
    pub(super) fn no_folder() -> Self {
        let places = "`state` in the configuration, $STATE_DIRECTORY, $XDG_STATE_HOME or $HOME";
        Trouble::Unusable(format!("no folder is known for it; set one of {places}"))
    }

    /// The words for people.
    pub(super) fn into_words(self) -> String {
        match self {
            Trouble::Broken(words) | Trouble::Unusable(words) => words,
        }
    }
}

/// What follows when the history cannot be used for this reason.
pub(super) fn unusable(reason: &str) -> String {
    format!("the run history cannot be used, runs go on without it: {reason}")
}

/// The system's words without its number.
pub(super) fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// What the driver says about the file at `path`.
pub(super) fn translate(path: &Path, error: &sqlx::Error) -> Trouble {
    /// `SQLITE_CORRUPT` and `SQLITE_NOTADB`; extended codes have more in their upper bytes.
    const BROKEN: [i32; 2] = [11, 26];
    let Some(database) = error.as_database_error() else { return Trouble::at(path, error) };
    let code = database.code().and_then(|code| code.parse::<i32>().ok());
    match code.is_some_and(|code| BROKEN.contains(&(code & 0xff))) {
        true => Trouble::Broken(database.message().to_owned()),
        false => Trouble::at(path, database.message()),
    }
}
