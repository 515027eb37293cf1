//! Reading files without surprises: only regular files, only of a sane size, only UTF-8, and nothing that a link brings in from outside the jobs folder.

use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::diagnostic::{Collector, Diagnostic, Diagnostics};

/// The largest file that is read: a job of a megabyte is a mistake.
const MAX_BYTES: u64 = 1 << 20;
/// `O_NONBLOCK` on Linux: opening a FIFO must not wait for a writer.
const O_NONBLOCK: i32 = 0o4000;

/// Reads a text file.
pub(super) fn read(file: &Path, collector: &mut Collector) -> Result<String, Diagnostics> {
    let fail = |error: std::io::Error| Diagnostics::from(Diagnostic::about(file, error));
    let mut handle = fs::OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(file).map_err(fail)?;
    let metadata = handle.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(Diagnostic::about(file, "this is not a regular file").into());
    }
    if metadata.len() > MAX_BYTES {
        return Err(Diagnostic::about(
            file,
            format!("{} bytes are too many; at most {MAX_BYTES} are read", metadata.len()),
        )
        .into());
    }
    warn_if_writable(file, &metadata, collector);
    let mut bytes = Vec::new();
    handle.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Diagnostic::about(file, format!("line {line} is not UTF-8")).into()
    })
}

/// The job files of a folder, in order of their names.
pub(super) fn job_files(folder: &Path, collector: &mut Collector) -> Vec<PathBuf> {
    let found = match list(folder) {
        Ok(found) => found,
        Err(error) => {
            let help = "`jobs` in the configuration names the folder of job files, relative to the configuration file";
            collector.push(Diagnostic::about(folder, error).help(help));
            return Vec::new();
        }
    };
    if let Ok(metadata) = fs::metadata(folder) {
        warn_if_writable(folder, &metadata, collector);
    }
    if found.is_empty() {
        collector.push(Diagnostic::about(folder, "this folder has no job file (`*.toml`)"));
    }
    found.into_iter().filter(|file| collector.take(stays_inside(file, folder)).is_some()).collect()
}

fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn stays_inside(file: &Path, folder: &Path) -> Result<(), Diagnostic> {
    let fail = |error: std::io::Error| Diagnostic::about(file, error);
    let (real, home) = (fs::canonicalize(file).map_err(fail)?, fs::canonicalize(folder).map_err(fail)?);
    if real.starts_with(home) {
        return Ok(());
    }
    Err(Diagnostic::about(file, "this link leads out of the jobs folder").help("copy the file into the folder instead"))
}

fn warn_if_writable(path: &Path, metadata: &Metadata, collector: &mut Collector) {
    const WORLD_WRITABLE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    if metadata.mode() & WORLD_WRITABLE != 0 && metadata.mode() & STICKY == 0 {
        let message = "everybody on this machine may write to this, and so choose what is read from the database";
        let help = format!("chmod o-w {}", path.display());
        collector.push(Diagnostic::about(path, message).help(help).into_warning());
    }
}
