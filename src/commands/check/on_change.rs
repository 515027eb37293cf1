//! Whether jobs that want their keys written again when rows change (`on_change = "rewrite"`) can ever hear of one: only a key that a change names is written again. What a pattern
//! finds is deleted.

use std::sync::Arc;

use super::Finding;
use crate::ground::invalidate::{Piece, Template};
use crate::ground::job::{Job, OnChange};
use crate::ground::keyspace::{KeySpace, NoOwner};
use crate::ground::settings::Settings;

/// A value as most are: what it renders belongs to the job that a template is meant for.
const VALUE: &str = "1";

/// Looks at each of the jobs.
pub(super) fn check(settings: &Settings, jobs: &[Arc<Job>]) -> Vec<Finding> {
    let wants = |job: &&Arc<Job>| job.on_change == OnChange::Rewrite;
    jobs.iter().filter(wants).filter_map(|job| in_vain(settings, job)).collect()
}

fn in_vain(settings: &Settings, job: &Job) -> Option<Finding> {
    let Some(changes) = &settings.changes else {
        let message = "on_change = \"rewrite\" has no effect: nothing tells what has changed in the database";
        let advice = "[changes] in the configuration has `warm serve` follow it, as docs/changes.md explains; or leave on_change out";
        return Some(Finding::warning_of(job, message, advice));
    };
    let keys: Vec<&Template> = settings.sets.iter().flat_map(|set| &set.keys).collect();
    let calls = changes.tables.iter().flat_map(|table| &table.calls);
    // A call may give a part of the key that the set leaves open.
    let called = calls.flat_map(|call| {
        let set = settings.sets.iter().filter(|set| set.name == call.set);
        set.flat_map(|set| &set.keys).map(|key| key.with(&call.arguments))
    });
    let space = settings.key_space();
    if keys.iter().any(|key| names(key, job, &space)) || called.into_iter().any(|key| names(&key, job, &space)) {
        return None;
    }
    let Job { name, key, .. } = job;
    let message = format!(
        "on_change = \"rewrite\" has no effect: no set of [invalidate] names a key such as `{key}`, and what only a pattern with `*` finds is deleted"
    );
    let values: String = key.names().iter().map(|name| format!(" {name}={{{name}}}")).collect();
    let advice = format!(
        "name its keys in a set, [invalidate.{name}] keys = [\"{key}\"], and the set with the tables that they are made of, \"{name}{values}\" in [changes.tables]; or leave on_change out"
    );
    Some(Finding::warning_of(job, message, advice))
}

/// Whether the template names keys of the job, once its parameters have values as most are.
fn names(template: &Template, job: &Job, space: &KeySpace) -> bool {
    let mut key = String::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => key += text,
            Piece::Value(_) => key += VALUE,
            Piece::Any => return false,
        }
    }
    match space.owner(key.as_bytes()) {
        Ok(owner) => owner == job.name,
        // One value may stand for several of the job's.
        Err(NoOwner::Nobody) => template.prefix() == job.key.prefix(),
        Err(NoOwner::Several(..)) => false,
    }
}
