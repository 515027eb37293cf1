//! What is wrong with the history, found without changing anything: neither folder nor file is made, and a damaged one stays where it is.
//!
//! Runs do without a history that they cannot use, and say so; but by then the guard that looks back has already let something through.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Access, access};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::{Trouble, unusable, words};
use super::file;
use super::handle::PATIENCE;

/// What everybody on the machine may do: bits of a file's mode.
const ENTER: u32 = 0o001;
const WRITE: u32 = 0o002;
const READ: u32 = 0o004;

/// Something about the history that its owner should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worry {
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub advice: String,
}

/// What is wrong with the state folder or with the history in it, found within some seconds. The folder may be missing: a run makes it.
///
/// # Panics
/// Outside of a Tokio runtime.
pub async fn inspect(folder: Option<PathBuf>) -> Option<Worry> {
    let Some(folder) = folder else { return Some(of(Trouble::no_folder(), Path::new(""))) };
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let (answer, answered) = oneshot::channel();
    let (runtime, looked_at) = (Handle::current(), folder.clone());
    // A thread of its own, which is left to itself if the disk does not answer.
    let work = move || drop(answer.send(runtime.block_on(look(&looked_at))));
    let spawned = thread::Builder::new().name("history".to_owned()).spawn(work);
    match timeout(PATIENCE, answered).await {
        Ok(Ok(worry)) => worry,
        Ok(Err(_)) => spawned.err().map(|error| of(Trouble::at(&folder, words(&error)), &folder)),
        Err(_) => Some(of(Trouble::at(&folder, format_args!("no answer within {} s", PATIENCE.as_secs())), &folder)),
    }
}

async fn look(folder: &Path) -> Option<Worry> {
    let file = file::path(folder);
    match usable(folder, &file).await {
        Ok(()) => open_to_all(folder, &file),
        Err(trouble) => Some(of(trouble, &file)),
    }
}

async fn usable(folder: &Path, file: &Path) -> Result<(), Trouble> {
    if writable(folder)? {
        may(file, Access::READ_OK | Access::WRITE_OK)?;
        file::examine(file).await?;
    }
    Ok(())
}

/// Whether the folder is there and may be written to; if it is not there, it can be made.
fn writable(folder: &Path) -> Result<bool, Trouble> {
    const USE: Access = Access::WRITE_OK.union(Access::EXEC_OK);
    match fs::metadata(folder) {
        Ok(metadata) if !metadata.is_dir() => Err(Trouble::at(folder, "this is no folder")),
        Ok(_) => may(folder, USE).map(|()| true),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Trouble::at(folder, words(&error))),
        Err(_) => {
            let above = folder.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("/"));
            may(above, USE)
                .map(|()| false)
                .map_err(|trouble| Trouble::at(folder, format_args!("it cannot be made: {}", trouble.into_words())))
        }
    }
}

/// Whether this process may do that; what is not there, it may.
fn may(path: &Path, what: Access) -> Result<(), Trouble> {
    match access(path, what).map_err(std::io::Error::from) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Trouble::at(path, words(&error))),
        _ => Ok(()),
    }
}

fn of(trouble: Trouble, file: &Path) -> Worry {
    match trouble {
        Trouble::Broken(reason) => Worry {
            message: format!(
                "the run history {} is damaged ({reason}): the next run moves it aside and begins a new one",
                file.display()
            ),
            advice: "put a good copy in its place, if there is one: a new one has no last good run for a guard to compare with, and no keys to sweep".to_owned(),
        },
        Trouble::Unusable(reason) => Worry {
            message: unusable(&reason),
            advice: "correct that, or name another folder (`state` in the configuration): without it no guard looks back, and nothing is swept".to_owned(),
        },
    }
}

/// What everybody may read or write, though it is nobody else's business.
fn open_to_all(folder: &Path, file: &Path) -> Option<Worry> {
    let mode = |path| fs::metadata(path).map_or(0, |metadata| metadata.mode());
    let (of_folder, of_file) = (mode(folder), mode(file));
    let reached = if of_folder & ENTER == 0 { 0 } else { of_file };
    let worry = |path: &Path, what: &str, why: &str, right: &str| {
        let path = path.display();
        Some(Worry {
            message: format!("everybody on this machine may {what} {path}, {why}"),
            advice: format!("chmod o-{right} {path}"),
        })
    };
    let trusted = "and so choose what guards compare with and which values `sweep` takes for ours";
    if of_folder & WRITE != 0 {
        worry(folder, "write to the state folder", trusted, "w")
    } else if reached & WRITE != 0 {
        worry(file, "write to the run history", trusted, "rw")
    } else if reached & READ != 0 {
        worry(file, "read the run history", "which quotes errors and names the keys of jobs that sweep", "r")
    } else {
        None
    }
}
