//! Whether `warm serve` runs: a lock on a file in the state folder, which the system gives back however the process ends.
//!
//! It is known so without a page to ask, and of this configuration: two that share a state folder have a file each.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::O_NONBLOCK;
use crate::ground::fingerprint::Fingerprint;
use crate::ground::settings::Settings;

/// How often the lock is tried for: whoever looks has it for a moment.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Says that this process serves, until what is returned is dropped. A help, never a condition: where that cannot be done, it is not known.
pub(super) fn announce(settings: &Settings) -> Option<File> {
    let path = path(settings)?;
    DirBuilder::new().recursive(true).mode(0o700).create(path.parent()?).ok()?;
    // Never written to: what counts is who has it open.
    let file = open(OpenOptions::new().create(true).append(true).mode(0o644), path)?;
    let locked = (0..TRIES).any(|tried| {
        if tried > 0 {
            std::thread::sleep(PAUSE);
        }
        file.try_lock_shared().is_ok()
    });
    locked.then_some(file)
}

/// Whether some process serves; `None` if that cannot be told, since none ever has with this state folder.
pub(super) fn is_there(settings: &Settings) -> Option<bool> {
    let file = open(OpenOptions::new().read(true), path(settings)?)?;
    match file.try_lock() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// Opens a regular file. Anything else is none of ours, and is not waited for: a pipe would be until somebody opens its other end.
fn open(options: &mut OpenOptions, path: PathBuf) -> Option<File> {
    let file = options.custom_flags(O_NONBLOCK).open(path).ok()?;
    file.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(file)
}

fn path(settings: &Settings) -> Option<PathBuf> {
    let file = std::fs::canonicalize(&settings.file).unwrap_or_else(|_| settings.file.clone());
    let configuration = Fingerprint::of([&*file.to_string_lossy()]);
    Some(settings.state.as_ref()?.join(format!("serve-{configuration}.lock")))
}
