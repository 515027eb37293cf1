//! From files, environment and credentials to [`Settings`] and jobs that cannot be wrong.
//!
//! Everything is read and checked before anything starts, and all mistakes are reported at once, each with file, line, what was found, what
//! was expected and the way out. A setting that does not exist is refused, never ignored: a misspelt `tll` must not become a default.
//!
//! ```text
//! files       bytes of regular files, bounded          ─┐
//! environment WARM_… as small TOML texts of their own  ─┴─► sources ─► shape ─► raw   each value with its place
//!                                                                                │
//! units, cron, secret, state ─► settings, fields, job   one function each  ◄─────┘   ─► ground::{Settings, Job}
//!
//! paused                   which jobs are paused: the one file that is written here, beside all that
//! paths                    where a path of the configuration leads
//! diagnostic, mask, near   what is said when something is wrong, and what is not
//! ```
//!
//! A text is read in two steps. What has the wrong shape (no TOML, unknown fields, wrong types) is all reported, and nothing more about that text;
//! what has the right shape is then read for its meaning.

mod ahead;
mod cron;
mod diagnostic;
mod environment;
mod fields;
mod files;
mod guard;
mod job;
mod mask;
mod near;
mod paths;
mod paused;
mod raw;
mod secret;
mod settings;
mod shape;
mod sources;
mod stamp;
mod state;
mod sweep;
mod units;
mod values;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, tally};
pub use environment::Environment;
pub(crate) use files::O_NONBLOCK;
pub use near::nearest;
pub use paused::{Changed, PauseFile};
pub use stamp::Stamp;
pub use units::show_duration;

use std::path::{Path, PathBuf};

use crate::ground::settings::Settings;
use crate::ground::value::FormatInfo;

use diagnostic::Collector;
use fields::Reader;
use job::Read;
use sources::Sources;

/// Where the configuration is looked for when nobody says.
const PLACES: [&str; 2] = ["config/warm.toml", "/etc/warm/warm.toml"];

/// A good configuration, and what is unwise about it.
#[derive(Debug)]
pub struct Loaded {
    /// The settings with all jobs.
    pub settings: Settings,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
    /// Where it was read from: the file, and the folder of job files.
    pub places: Vec<PathBuf>,
}

/// Finds the configuration file: `given`, else `$WARM_CONFIG`, else the usual places.
///
/// # Errors
/// When none of the usual places has one.
pub fn locate(given: Option<&Path>, environment: &Environment) -> Result<PathBuf, Diagnostics> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    if let Some(path) = environment.get("WARM_CONFIG") {
        return Ok(PathBuf::from(path));
    }
    let found = PLACES.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        let message = format!("no configuration: neither {} nor {} can be found", PLACES[0], PLACES[1]);
        Diagnostics::from(Diagnostic::error(message).help("name one with --config FILE or $WARM_CONFIG"))
    })
}

/// Reads the configuration file and all job files. `formats` are the value formats that exist, the default one first.
///
/// # Errors
/// Everything that is wrong, in all files.
pub fn load(file: &Path, environment: &Environment, formats: &[FormatInfo]) -> Result<Loaded, Diagnostics> {
    let mut collector = Collector::default();
    let mut sources = Sources::default();
    let text = files::read(file, &mut collector).map_err(|error| unreadable(error, environment))?;
    let mut raw: raw::Config = match sources.parse(&file.display().to_string(), text) {
        Ok(raw) => raw,
        Err(diagnostics) => {
            collector.extend(diagnostics);
            return Err(collector.finish().err().unwrap_or(Diagnostics(Vec::new())));
        }
    };
    raw.merge(environment.overrides(&mut sources, &mut collector));

    let parts = settings::Parts::resolve(&raw, file, environment, &sources, &mut collector);
    let folder = collector.take(settings::jobs_folder(&raw, file, &sources));
    let defaults = raw.defaults.unwrap_or_default();
    // A mistake in them is one even if every job says otherwise.
    let statement_timeout = parts.statement_timeout;
    Reader { sources: &sources, statement_timeout }.common(&defaults, formats, &mut collector);
    let context = job::Context { formats, ttl: &parts.ttl, limits: parts.limits, statement_timeout, defaults };
    let read = folder.as_ref().map(|folder| read_jobs(folder, &context, &sources, &mut collector)).unwrap_or_default();
    settings::conflicts(&read, &mut collector);
    let places = std::iter::once(file.to_owned()).chain(folder).collect();
    let warnings = collector.finish()?;
    let mut jobs: Vec<_> = read.into_iter().map(|read| read.job).collect();
    jobs.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
    let settings = parts.into_settings(file.to_owned(), jobs)?;
    Ok(Loaded { settings, warnings, places })
}

/// The configuration file cannot be read: how it came to be looked for.
fn unreadable(error: Diagnostic, environment: &Environment) -> Diagnostic {
    match environment.get("WARM_CONFIG") {
        Some(path) if error.position() == Some(mask::mask_name(path.to_owned())) => {
            error.help("$WARM_CONFIG names this file")
        }
        _ => error,
    }
}

fn read_jobs(folder: &Path, context: &job::Context<'_>, sources: &Sources, collector: &mut Collector) -> Vec<Read> {
    let mut jobs = Vec::new();
    for file in files::job_files(folder, collector) {
        let name = collector.take(job::name(&file));
        let text = files::read(&file, collector);
        let Some((name, text)) = name.zip(collector.take(text)) else { continue };
        // Each job file gets a place after the configuration, so that a value from [defaults] keeps its own.
        let mut sources = sources.clone();
        match sources.parse::<raw::Job>(&file.display().to_string(), text) {
            Ok(raw) => jobs.extend(job::resolve(name, &file, raw, context, &sources, collector)),
            Err(diagnostics) => collector.extend(diagnostics),
        }
    }
    jobs
}
