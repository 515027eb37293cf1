//! The commands: each reads the configuration, makes what it needs, and reports.

pub mod changes;
pub mod check;
pub mod diff;
pub mod due;
pub mod fill;
mod follow;
pub mod invalidate;
mod keys;
pub mod learn;
pub mod list;
pub mod now;
mod one_key;
pub mod pause;
mod predict;
mod presence;
mod report;
mod scheduling;
pub mod serve;
mod setup;
pub mod show;
mod signals;
pub mod stats;
pub mod status;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cache::Redis;
use crate::cli::Common;
use crate::config::{self, Diagnostic, Diagnostics, Environment, Loaded, Partly, PauseFile, Severity};
use crate::encode;
use crate::ground::clock::SystemClock;
use crate::ground::event::Observer;
use crate::ground::exit;
use crate::ground::fingerprint::Fingerprint;
use crate::ground::job::Job;
pub(crate) use crate::ground::near::nearest;
use crate::ground::settings::Settings;
use crate::history::{History, Place};
use crate::runner::Runner;
use crate::source::Postgres;

/// A command that could not do its work: what to say on stderr, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code, one of [`crate::ground::exit`].
    pub code: u8,
    what: What,
}

#[derive(Debug)]
enum What {
    Diagnostics(Diagnostics),
    Message(String),
}

impl Failure {
    /// The command line, or a variable that belongs to it, is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { code: exit::CONFIG, what: What::Message(message.into()) }
    }

    /// The text for stderr.
    pub fn render(&self, color: bool) -> String {
        match &self.what {
            What::Diagnostics(diagnostics) => diagnostics.render(color),
            What::Message(message) => format!("error: {message}"),
        }
    }

    /// The same for programs: what `warm check` gives, but for findings empty.
    pub fn value(&self) -> Value {
        let finding = |diagnostic: &Diagnostic| {
            let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
            let (at, message, advice) = (diagnostic.position(), &diagnostic.message, &diagnostic.help);
            json!({ "severity": severity, "job": null, "at": at, "message": message, "advice": advice })
        };
        let findings: Vec<Value> = match &self.what {
            What::Diagnostics(diagnostics) => diagnostics.0.iter().map(finding).collect(),
            What::Message(message) => vec![finding(&Diagnostic::error(message))],
        };
        json!({ "exit_code": self.code, "facts": [], "jobs": [], "findings": findings })
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Failure { code: exit::CONFIG, what: What::Diagnostics(diagnostics) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Failure { code: exit::JOB_FAILED, what: What::Message(format!("{error:#}")) }
    }
}

/// Reads configuration and jobs.
fn load(common: &Common) -> Result<Loaded, Failure> {
    let Partly { loaded, mistakes, .. } = read(common)?;
    mistakes.map_or(Ok(loaded), |mistakes| Err(mistakes.into()))
}

fn read(common: &Common) -> Result<Partly, Failure> {
    let environment = Environment::of_process();
    let file = config::locate(common.config.as_deref(), &environment)?;
    let formats: Vec<_> = encode::formats().collect();
    Ok(config::load_partly(&file, &environment, &formats)?)
}

/// Reads configuration and jobs, for who helps an operator: what is wrong with job files is said on standard error, and is no reason to do nothing.
fn load_partly(common: &Common) -> Result<Partly, Failure> {
    let partly = read(common)?;
    if let Some(mistakes) = &partly.mistakes {
        let text = mistakes.render_before(std::io::stderr().is_terminal(), "these jobs are known by their names only");
        // Nobody can be told that nobody can be told.
        let _ = writeln!(std::io::stderr(), "{text}\n");
    }
    Ok(partly)
}

impl Partly {
    /// These names, all if there are none, of jobs that are known, be it by their names only: in order of priority, those at the end.
    fn names(&self, names: &[String]) -> Result<Vec<String>, Failure> {
        let known: Vec<_> = self.loaded.settings.jobs.iter().map(|job| &job.name).chain(&self.unread).collect();
        must_be_known(names, &known.iter().map(|name| name.as_str()).collect::<Vec<_>>())?;
        Ok(known.into_iter().filter(|name| names.is_empty() || names.contains(name)).cloned().collect())
    }
}

/// The jobs of these names, all if there are none, in order of priority.
fn select(settings: &Settings, names: &[String]) -> Result<Vec<Arc<Job>>, Failure> {
    must_be_known(names, &settings.jobs.iter().map(|job| job.name.as_str()).collect::<Vec<_>>())?;
    let wanted = |job: &&Job| names.is_empty() || names.contains(&job.name);
    Ok(settings.jobs.iter().filter(wanted).cloned().map(Arc::new).collect())
}

/// The same without those that are disabled, which may not be named.
fn select_enabled(settings: &Settings, names: &[String]) -> Result<Vec<Arc<Job>>, Failure> {
    let mut jobs = select(settings, names)?;
    if let Some((job, why)) = jobs.iter().find_map(|job| Some((job, job.disabled()?))).filter(|_| !names.is_empty()) {
        return Err(Failure::usage(format!("the job `{}` is disabled: {why}", job.name)));
    }
    jobs.retain(|job| job.disabled().is_none());
    Ok(jobs)
}

/// The same of jobs that are to run: those that fill single keys only are left out, too.
fn select_to_run(settings: &Settings, names: &[String]) -> Result<Vec<Arc<Job>>, Failure> {
    let mut jobs = select_enabled(settings, names)?;
    if let Some(job) = jobs.iter().find(|job| job.on_demand && !names.is_empty()) {
        let message =
            format!("the job `{}` has no query, so that it only fills single keys: `warm fill KEY`", job.name);
        return Err(Failure::usage(format!("{message} ({})", job.file.display())));
    }
    jobs.retain(|job| job.runs());
    Ok(jobs)
}

fn must_be_known(names: &[String], known: &[&str]) -> Result<(), Failure> {
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let way_out = match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the jobs are {}", known.join(", ")),
        };
        return Err(Failure::usage(format!("there is no job `{unknown}`; {way_out}")));
    }
    Ok(())
}

/// A runner for the configured servers. Nothing is connected yet.
fn runner(settings: &Settings, observer: Arc<dyn Observer>) -> Result<Runner, Failure> {
    Ok(Runner {
        source: postgres(settings)?,
        redis: redis(settings)?,
        key_space: settings.key_space(),
        limits: settings.limits,
        clock: Arc::new(SystemClock),
        observer,
        leases: None,
        history: None,
    })
}

/// The run history of this configuration and these servers. It begins to be opened now, unless it is read only.
fn history(settings: &Settings, runner: &Runner, read_only: bool) -> History {
    let file = std::fs::canonicalize(&settings.file).unwrap_or_else(|_| settings.file.clone());
    let (file, source) = (file.to_string_lossy(), runner.source.target().identity());
    let installation = Fingerprint::of([&*file, &source, &runner.redis.describe(), runner.redis.key_prefix()]);
    let place = Place { folder: settings.state.clone(), installation, read_only };
    History::open(place, Arc::clone(&runner.observer))
}

/// Where it is kept which jobs are paused, if a state folder is known.
fn pause_file(settings: &Settings) -> Option<PauseFile> {
    settings.state.as_deref().map(|folder| PauseFile::new(folder, &settings.file))
}

fn redis(settings: &Settings) -> Result<Redis, Failure> {
    Redis::new(&settings.redis).map_err(|error| Failure::usage(format!("{}: {error}", settings.redis.origin)))
}

fn postgres(settings: &Settings) -> Result<Postgres, Failure> {
    Postgres::new(&settings.postgres).map_err(|error| Failure::usage(error.to_string()))
}

fn runtime() -> Result<Runtime, Failure> {
    scheduling::give_way();
    // Tokio panics if it gets no file descriptors for its signals.
    let build = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match std::panic::catch_unwind(build) {
        Ok(runtime) => Ok(runtime.context("cannot start the runtime")?),
        Err(_) => Err(anyhow::anyhow!("cannot start the runtime; raise the limit of open files (ulimit -n)").into()),
    }
}
