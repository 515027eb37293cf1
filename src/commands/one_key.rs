//! From a key on the command line to the job that it belongs to.

use std::fmt::Display;
use std::sync::Arc;

use super::Failure;
use crate::ground::job::Job;
use crate::ground::one_key::Unfillable;
use crate::ground::settings::Settings;
use crate::ground::show::visible;

/// A key and its job.
pub(super) struct Owned {
    pub(super) job: Arc<Job>,
    /// Without the installation's prefix.
    pub(super) key: Arc<[u8]>,
    /// With it.
    pub(super) shown: String,
    /// Why nobody can tell what stands in the database for it, if so: there may be a row, or not.
    pub(super) unfillable: Option<String>,
}

/// Finds the job of a key, which may be given with the installation's prefix or without it.
///
/// # Errors
/// A key of no job, or of one that is disabled.
pub(super) fn find(settings: &Settings, given: &str) -> Result<Owned, Failure> {
    let prefix = &settings.redis.key_prefix;
    let key = given.strip_prefix(prefix.as_str()).unwrap_or(given);
    let space = settings.key_space();
    let name = space.owner(key.as_bytes()).map_err(|why| {
        let templates = settings.jobs.iter().map(|job| job.key.to_string());
        let known = templates.collect::<Vec<_>>().join(", ");
        Failure::usage(format!("`{}`: {why}; keys of jobs are {known}", visible(given)))
    })?;
    let job = settings.jobs.iter().find(|job| job.name == name).cloned();
    let job = Arc::new(job.ok_or_else(|| Failure::usage(format!("there is no job `{name}`")))?);
    if let Some(why) = job.disabled() {
        return Err(Failure::usage(format!("`{}`: the job `{}` is disabled: {why}", visible(given), job.name)));
    }
    // Said before anything is asked of a server.
    let unfillable = match job.for_key(key.as_bytes()) {
        Ok(_) => None,
        Err(Unfillable::NoFillQuery(why)) => Some(why),
        Err(why @ Unfillable::NotItsKey(_)) => return Err(refused(given, &why, &job)),
    };
    Ok(Owned { job, key: Arc::from(key.as_bytes()), shown: format!("{prefix}{key}"), unfillable })
}

impl Owned {
    /// The same, if it can be filled.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(super) fn fillable(self) -> Result<Self, Failure> {
        match &self.unfillable {
            None => Ok(self),
            Some(why) => Err(refused(&self.shown, why, &self.job)),
        }
    }
}

fn refused(key: &str, why: &dyn Display, job: &Job) -> Failure {
    Failure::usage(format!("`{}`: {why} ({})", visible(key), job.file.display()))
}
