//! From files, environment and credentials to [`Settings`] and jobs that cannot be wrong.
//!
//! Everything is read and checked before anything starts, and all mistakes are reported at once, each with file, line, what was found, what
//! was expected and the way out. A setting that does not exist is refused, never ignored: a misspelt `tll` must not become a default.
//!
//! ```text
//! files      bytes of regular files, bounded          ─┐
//! environment WARM_… as small TOML texts of their own  ├─► raw   what serde reads, each value with its place
//!                                                      ┘      │
//! units, secret ─► settings, job   one function per thing ◄───┘   ─► ground::{Settings, Job}
//! ```

mod diagnostic;
mod environment;
mod files;
mod job;
mod raw;
mod secret;
mod settings;
mod units;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use environment::Environment;

use std::path::{Path, PathBuf};

use crate::ground::job::Job;
use crate::ground::settings::Settings;
use crate::ground::value::FormatInfo;

use diagnostic::{Collector, Sources};

/// Where the configuration is looked for when nobody says.
const PLACES: [&str; 2] = ["config/warm.toml", "/etc/warm/warm.toml"];

/// A good configuration, and what is unwise about it.
#[derive(Debug)]
pub struct Loaded {
    /// The settings with all jobs.
    pub settings: Settings,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
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
        let message = format!("no configuration: neither {} nor {} exists", PLACES[0], PLACES[1]);
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
    let text = files::read(file, &mut collector)?;
    let mut raw: raw::Config = sources.parse(&file.display().to_string(), text)?;
    raw.merge(environment.overrides(&mut sources, &mut collector));

    let parts = settings::Parts::resolve(&raw, file, environment, &sources, &mut collector);
    let folder = settings::jobs_folder(&raw, file, &sources)?;
    let context =
        job::Context { formats, ttl: &parts.ttl, limits: parts.limits, defaults: raw.defaults.unwrap_or_default() };
    let mut jobs = read_jobs(&folder, &context, &sources, &mut collector);
    settings::conflicts(&jobs, &mut collector);
    let warnings = collector.finish()?;
    jobs.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
    let settings = parts.into_settings(file.to_owned(), jobs)?;
    Ok(Loaded { settings, warnings })
}

fn read_jobs(folder: &Path, context: &job::Context<'_>, sources: &Sources, collector: &mut Collector) -> Vec<Job> {
    let mut jobs = Vec::new();
    for file in files::job_files(folder, collector) {
        let Some(name) = collector.take(job::name(&file)) else { continue };
        let text = match files::read(&file, collector) {
            Ok(text) => text,
            Err(diagnostics) => {
                collector.extend(diagnostics);
                continue;
            }
        };
        // Each job file gets a place after the configuration, so that a value from [defaults] keeps its own.
        let mut sources = sources.clone();
        match sources.parse::<raw::Job>(&file.display().to_string(), text) {
            Ok(raw) => jobs.extend(job::resolve(name, &file, raw, context, &sources, collector)),
            Err(diagnostics) => collector.extend(diagnostics),
        }
    }
    jobs
}
