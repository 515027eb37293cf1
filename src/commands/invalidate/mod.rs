//! `warm invalidate`: deletes what a change has made stale, for an application or a script that has committed it.
//!
//! ```text
//! input    words of the command line, or lines of standard input ─► targets; everything that is wrong is said before anything is deleted
//! report   what was deleted, or would be; the sets, if none is named
//! ```
//!
//! A job file that is wrong is no reason to leave stale keys: only the configuration has to be right.

mod input;
mod report;

use std::io::stdin;
use std::sync::Arc;
use std::time::Instant;

use self::report::Done;
use super::{Failure, read, redis, runtime};
use crate::cache::{Act, Halt, Invalidated, Redis};
use crate::cli::{Common, Invalidate};
use crate::ground::error::Error;
use crate::ground::exit;
use crate::ground::invalidate::Targets;
use crate::runner::Invalidator;

/// Deletes, or shows, what the sets name; lists the sets if none is named.
pub fn run(common: &Common, invalidate: &Invalidate) -> Result<u8, Failure> {
    let settings = read(common)?.loaded.settings;
    let (changes, targets) = match &invalidate.name {
        Some(name) => (1, input::words(&settings, name, &invalidate.values)?),
        None if invalidate.stdin => input::lines(&settings, stdin().lock())?,
        None if invalidate.dry_run => {
            return Err(Failure::usage("no set is named; `warm invalidate` without --dry-run lists the sets"));
        }
        None => {
            report::list(&settings, common.json);
            return Ok(exit::OK);
        }
    };
    let (redis, begin) = (redis(&settings)?, Instant::now());
    let result = runtime()?.block_on(async {
        match invalidate.dry_run {
            true => look(&redis, targets).await,
            false => Invalidator::new(&redis).invalidate(targets).await,
        }
    });
    let done = Done { changes, dry_run: invalidate.dry_run, took: begin.elapsed(), result };
    report::print(&done, common.json);
    Ok(done.exit_code())
}

/// What would be deleted.
async fn look(redis: &Redis, targets: Targets) -> Result<Invalidated, Error> {
    let wanted = vec![Arc::new(targets)];
    let named = redis.invalidate_keys(wanted.clone(), Act::Look, Halt::default()).await;
    let found = redis.invalidate_patterns(wanted, Act::Look, Halt::default()).await;
    named.into_iter().chain(found).try_fold(Invalidated::default(), |all, some| Ok(all.and(some?)))
}
