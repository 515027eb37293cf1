//! From files, environment and credentials to [`Settings`] and jobs that cannot be wrong.
//!
//! Everything is read and checked before anything starts, and all mistakes are reported at once, each with file, line, what was found, what
//! was expected and the way out. A setting that does not exist is refused, never ignored: a misspelt `tll` must not become a default.
//!
//! ```text
//! files       bytes of regular files, bounded          ─┐
//! environment WARM_… as small TOML texts of their own  ─┴─► sources ─► shape ─► raw   each value with its place
//!                                                                                │
//! units, cron, secret, keys, state ─► settings, fields, job   one function each  ◄─┘   ─► ground::{Settings, Job}
//!
//! paused                   which jobs are paused: the one file that is written here, beside all that
//! paths                    where a path of the configuration leads
//! diagnostic, mask, near   what is said when something is wrong, and what is not
//! ```
//!
//! A text is read in two steps. What has the wrong shape (no TOML, unknown fields, wrong types) is all reported, and nothing more about that text;
//! what has the right shape is then read for its meaning.

mod ahead;
mod busy;
mod changes;
mod cron;
mod diagnostic;
mod environment;
mod fields;
mod files;
mod fill;
mod guard;
mod invalidate;
mod job;
mod keys;
mod kind;
mod mask;
mod on_change;
mod pages;
mod partition;
mod paths;
mod paused;
mod predict;
mod raw;
mod read_through;
mod restraint;
mod sealing;
mod secret;
mod settings;
mod shape;
mod sources;
mod stamp;
mod state;
mod sweep;
mod targets;
mod units;
mod values;

pub use diagnostic::{Diagnostic, Diagnostics, Severity, tally};
pub use environment::Environment;
pub(crate) use files::O_NONBLOCK;
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
    /// Where it was read from: the file, the folder of job files, and the file with the keys that values are encrypted with.
    pub places: Vec<PathBuf>,
}

/// A good configuration, of which some job files may be wrong.
#[derive(Debug)]
pub struct Partly {
    /// The settings with the jobs whose files are right.
    pub loaded: Loaded,
    /// What is wrong with job files, if anything is.
    pub mistakes: Option<Diagnostics>,
    /// The jobs that are known by the names of their files only.
    pub unread: Vec<String>,
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
    let Partly { loaded, mistakes, .. } = load_partly(file, environment, formats)?;
    mistakes.map_or(Ok(loaded), Err)
}

/// The same, for who can go on without the job files that are wrong.
///
/// # Errors
/// Everything that is wrong, in all files, if something is wrong with the configuration file, or no job is known at all.
pub fn load_partly(file: &Path, environment: &Environment, formats: &[FormatInfo]) -> Result<Partly, Diagnostics> {
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
    let reader = Reader { sources: &sources, statement_timeout };
    reader.common(&defaults, formats, &mut collector);
    let sets = reader.sets(&raw.invalidate, &mut collector);
    // What is wrong with a set is said there, and not again where it is used.
    let sets_are_good = sets.len() == raw.invalidate.0.len();
    let changes = sets_are_good.then(|| reader.changes(&raw.changes, &sets, &mut collector)).flatten();
    let (ttl, limits, keys) = (&parts.ttl, parts.limits, parts.keys.as_ref().map(|keys| &keys.ring));
    let context = job::Context { formats, ttl, limits, statement_timeout, defaults, keys };
    let is_good = collector.errors() == 0;
    let read = folder.as_ref().map(|folder| read_jobs(folder, &context, &sources, &mut collector));
    let (read, unread) = read.unwrap_or_default();
    settings::conflicts(&read, &mut collector);
    invalidate::idle_keys(&sets, &parts.ttl, &read, &mut collector);
    let keys_file = parts.keys.as_ref().map(|keys| keys.file.clone());
    let places = std::iter::once(file.to_owned()).chain(folder).chain(keys_file).collect();
    let (warnings, mistakes) = match collector.finish() {
        Ok(warnings) => (warnings, None),
        Err(mistakes) if is_good && !(read.is_empty() && unread.is_empty()) => (Vec::new(), Some(mistakes)),
        Err(mistakes) => return Err(mistakes),
    };
    let mut jobs: Vec<_> = read.into_iter().map(|read| read.job).collect();
    jobs.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
    let sets = sets.into_iter().map(|read| read.set).collect();
    let settings = parts.into_settings(file.to_owned(), sets, changes, jobs)?;
    Ok(Partly { loaded: Loaded { settings, warnings, places }, mistakes, unread })
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

/// The jobs whose files are right, and the names of the others.
fn read_jobs(
    folder: &Path,
    context: &job::Context<'_>,
    sources: &Sources,
    collector: &mut Collector,
) -> (Vec<Read>, Vec<String>) {
    let (mut jobs, mut unread) = (Vec::new(), Vec::new());
    for file in files::job_files(folder, collector) {
        let name = collector.take(job::name(&file));
        let text = files::read(&file, collector);
        let (text, Some(name)) = (collector.take(text), name) else { continue };
        match text.and_then(|text| read_job(&name, &file, text, context, sources, collector)) {
            Some(read) => jobs.push(read),
            None => unread.push(name),
        }
    }
    (jobs, unread)
}

/// The job, unless something is wrong with it.
fn read_job(
    name: &str,
    file: &Path,
    text: String,
    context: &job::Context<'_>,
    sources: &Sources,
    collector: &mut Collector,
) -> Option<Read> {
    // Each job file gets a place after the configuration, so that a value from [defaults] keeps its own.
    let mut sources = sources.clone();
    let raw = match sources.parse::<raw::Job>(&file.display().to_string(), text) {
        Ok(raw) => raw,
        Err(diagnostics) => {
            collector.extend(diagnostics);
            return None;
        }
    };
    let before = collector.errors();
    let read = job::resolve(name.to_owned(), file, raw, context, &sources, collector);
    read.filter(|_| collector.errors() == before)
}
