//! What is to be invalidated: words of the command line, or lines of standard input. Either way everything that is wrong is said at once, and then nothing is deleted.

use std::io::{BufRead, Read};

use crate::commands::Failure;
use crate::config::{Diagnostic, Diagnostics};
use crate::ground::invalidate::{Change, Targets};
use crate::ground::settings::Settings;

/// The most bytes that are read from standard input.
const MOST: u64 = 64 << 20;
/// How many mistakes of standard input are told.
const TOLD: usize = 20;

/// What `NAME param=value…` names.
pub(super) fn words(settings: &Settings, name: &str, values: &[String]) -> Result<Targets, Failure> {
    let change = Change::of_words(name, values.iter().map(String::as_str));
    let targets = change.and_then(|change| change.targets(&settings.sets, &settings.file));
    targets.map_err(|mistakes| failure(mistakes.into_iter()))
}

/// What all the lines name, and how many there are; blank ones are none.
pub(super) fn lines(settings: &Settings, input: impl BufRead) -> Result<(u64, Targets), Failure> {
    let mut text = String::new();
    let read = input.take(MOST + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    if text.len() as u64 > MOST {
        return Err(Failure::usage(format!("standard input is longer than {} MiB; give it in parts", MOST >> 20)));
    }
    let (mut count, mut all, mut mistakes) = (0, Targets::default(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        count += 1;
        match Change::parse(line).and_then(|change| change.targets(&settings.sets, &settings.file)) {
            Ok(targets) => all.extend(targets),
            Err(wrong) => mistakes.extend(wrong.into_iter().map(|wrong| format!("line {}: {wrong}", number + 1))),
        }
    }
    match mistakes.len() {
        0 => Ok((count, all)),
        told if told <= TOLD => Err(failure(mistakes.into_iter())),
        many => {
            let more = format!("and {} more mistakes in standard input", many - TOLD);
            Err(failure(mistakes.into_iter().take(TOLD).chain([more])))
        }
    }
}

fn failure(mistakes: impl Iterator<Item = String>) -> Failure {
    Diagnostics(mistakes.map(Diagnostic::error).collect()).into()
}
