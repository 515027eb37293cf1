//! Where the log goes, in which form, and what of it.

use std::io::IsTerminal;
use std::path::Path;

use rustix::fs::fstat;
use tracing::{error, warn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::journal::{Journal, SOCKET};
use super::lines::JsonLines;
use super::stderr::stderr;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// For people, on standard error.
    Text,
    /// One object for each line, on standard error.
    Json,
    /// In systemd's journal, with its fields.
    Journald,
}

/// Starts logging as the environment says, whose variables `variable` gives: `WARM_LOG`, a level or a `tracing` filter such as `warm=debug`,
/// without which it is `level`; `WARM_LOG_FORMAT`; and `JOURNAL_STREAM`, by which systemd tells that standard error leads to the journal.
///
/// # Errors
/// For a filter or a format that cannot be read.
pub fn init_log(level: &str, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    // What is set to nothing counts as not set.
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let level = variable("WARM_LOG").unwrap_or_else(|| level.to_owned());
    let filter = directives(&level)
        .and_then(|directives| EnvFilter::try_new(directives).map_err(|error| error.to_string()))
        .map_err(|error| format!("WARM_LOG: {error}"))?;
    let format = match variable("WARM_LOG_FORMAT") {
        Some(word) => named(&word).map_err(|error| format!("WARM_LOG_FORMAT: {error}"))?,
        None if is_stderr(variable("JOURNAL_STREAM").as_deref()) => Format::Journald,
        None => Format::Text,
    };
    let (layer, refused) = match format {
        Format::Text => (text(), None),
        Format::Json => (JsonLines.boxed(), None),
        Format::Journald => match Journal::at(Path::new(SOCKET)) {
            Ok(journal) => (journal.boxed(), None),
            Err(error) => (text(), Some(error)),
        },
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
    subscriber.try_init().map_err(|error| error.to_string())?;
    if let Some(error) = refused {
        warn!("the log goes to standard error as text: the journal does not listen at {SOCKET}: {error}");
    } else if format != Format::Text {
        // A program reads it, line by line.
        std::panic::set_hook(Box::new(|panic| error!("{}", panic.to_string().replace('\n', " "))));
    }
    Ok(())
}

fn text() -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = fmt::layer().with_writer(stderr).with_ansi(std::io::stderr().is_terminal()).with_target(false);
    // A log that cannot be written must not end the program.
    layer.log_internal_errors(false).boxed()
}

/// What `tracing` understands. A bare level is meant for this program: of libraries only warnings are of interest then.
///
/// The scheduler that beats (`triggers/heartbeat.rs`) is silent unless it is named: a heart that stops is replaced, and what it says of that, as after a
/// machine has slept, is nobody's business.
fn directives(filter: &str) -> Result<String, String> {
    wanted(filter).map(|wanted| format!("tokio_cron_scheduler=off,{wanted}"))
}

fn wanted(filter: &str) -> Result<String, String> {
    // `tracing` takes any other single word for the name of a module, and would then be silent.
    if !filter.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Ok(filter.to_owned());
    }
    let level = filter.to_ascii_lowercase();
    match level.as_str() {
        "off" | "error" | "warn" => Ok(level),
        "info" | "debug" | "trace" => Ok(format!("warn,warm={level}")),
        _ => Err(format!("`{filter}` is no level; it is one of off, error, warn, info, debug, trace")),
    }
}

fn named(word: &str) -> Result<Format, String> {
    match word.to_ascii_lowercase().as_str() {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        "journald" => Ok(Format::Journald),
        _ => Err(format!("`{word}` is no format; it is one of text, json, journald")),
    }
}

/// Whether this names the file that standard error is: `device:inode`. A child of a service may have another one.
fn is_stderr(stream: Option<&str>) -> bool {
    let named = stream.and_then(|stream| stream.split_once(':'));
    let named = named.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let found = fstat(std::io::stderr()).ok().map(|file| (file.st_dev, file.st_ino));
    named.is_some() && named == found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_meant_for_this_program() {
        assert_eq!(wanted("INFO").as_deref(), Ok("warn,warm=info"));
        assert_eq!(wanted("error").as_deref(), Ok("error"));
        assert_eq!(wanted("info,sqlx=off").as_deref(), Ok("info,sqlx=off"));
        assert!(directives("verbose").is_err());
    }

    #[test]
    fn the_scheduler_that_beats_is_silent_unless_it_is_named() {
        let heard = |filter: &str| {
            let filter = EnvFilter::try_new(directives(filter).unwrap()).unwrap();
            tracing::subscriber::with_default(tracing_subscriber::registry().with(filter), || {
                let beat = tracing::enabled!(target: "tokio_cron_scheduler", tracing::Level::ERROR);
                (beat, tracing::enabled!(target: "sqlx", tracing::Level::ERROR))
            })
        };
        for filter in ["error", "warn", "info", "trace", "info,warm=debug"] {
            assert_eq!(heard(filter), (false, true), "{filter}");
        }
        assert_eq!(heard("warn,tokio_cron_scheduler=error"), (true, true));
    }

    #[test]
    fn the_journal_is_where_standard_error_leads_to_it() {
        let file = fstat(std::io::stderr()).unwrap();
        let named = |device, inode| is_stderr(Some(&format!("{device}:{inode}")));
        assert!(named(file.st_dev, file.st_ino));
        assert!(!named(file.st_dev, file.st_ino + 1) && !named(file.st_dev + 1, file.st_ino));
        for not in [None, Some(""), Some("1"), Some("a:b")] {
            assert!(!is_stderr(not), "{not:?}");
        }
    }
}
