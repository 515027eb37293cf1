//! Reading files without surprises: only regular files, only of a sane size, only UTF-8, and nothing that a link brings in from outside the jobs folder.

use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{Collector, Diagnostic, Place};
use super::mask::mask;

/// The largest file that is read: a job of a megabyte is a mistake.
const MAX_BYTES: u64 = 1 << 20;
/// `O_NONBLOCK` on Linux: opening a FIFO must not wait for a writer.
pub(crate) const O_NONBLOCK: i32 = 0o4000;
/// What some editors put before UTF-8 text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a text file that says what is done: one that others may write deserves a warning.
pub(super) fn read(file: &Path, collector: &mut Collector) -> Result<String, Diagnostic> {
    let (text, metadata) = read_bounded(file)?;
    warn_if_writable(file, &metadata, collector);
    match text {
        Ok(text) => Ok(text),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text: Arc<str> = Arc::from(mask(&String::from_utf8_lossy(error.as_bytes())));
            let place = Place::of(file.display().to_string(), text, at..at + char::REPLACEMENT_CHARACTER.len_utf8());
            Err(Diagnostic::at(place, "this is not UTF-8").help("save the file in UTF-8"))
        }
    }
}

/// Reads a file that holds a secret. Errors show nothing of it.
pub(super) fn read_secret(file: &Path) -> Result<String, Diagnostic> {
    let (text, _) = read_bounded(file)?;
    text.map_err(|_| Diagnostic::about(file, "this is not UTF-8"))
}

pub(super) type Text = Result<String, std::string::FromUtf8Error>;

pub(super) fn read_bounded(file: &Path) -> Result<(Text, Metadata), Diagnostic> {
    let fail = |error: std::io::Error| Diagnostic::about(file, format!("cannot read this file: {}", words(&error)));
    let mut handle = fs::OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(file).map_err(fail)?;
    let metadata = handle.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(Diagnostic::about(file, format!("this is no file but a {}", kind(&metadata))));
    }
    let mut bytes = Vec::new();
    // Its length may have changed since: what counts is what is read.
    handle.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Diagnostic::about(
            file,
            format!("this file is larger than {MAX_BYTES} bytes, the most that is read"),
        ));
    }
    let text = String::from_utf8(bytes);
    Ok((text.map(|text| text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text)), metadata))
}

/// The job files of a folder, in order of their names.
pub(super) fn job_files(folder: &Path, collector: &mut Collector) -> Vec<PathBuf> {
    let entries = match list(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let help = "`jobs` in the configuration names the folder of job files, relative to the configuration file";
            let message = format!("cannot read this folder: {}", words(&error));
            collector.push(Diagnostic::about(folder, message).help(help));
            return Vec::new();
        }
    };
    if let Ok(metadata) = fs::metadata(folder) {
        warn_if_writable(folder, &metadata, collector);
    }
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let (found, others): (Vec<PathBuf>, Vec<PathBuf>) = entries.into_iter().partition(is_toml);
    for inner in others.iter().filter(|path| path.is_dir()) {
        if list(inner).is_ok_and(|entries| entries.iter().any(is_toml)) {
            let message = "the job files in this folder are not read: only those of the jobs folder itself are";
            collector.push(Diagnostic::about(inner, message).help("move them up").into_warning());
        }
    }
    if found.is_empty() {
        let help = "write one; its name is the job's name, such as `event-lists.toml`";
        collector.push(Diagnostic::about(folder, "this folder has no job file (*.toml)").help(help));
    }
    found.into_iter().filter(|file| collector.take(stays_inside(file, folder)).is_some()).collect()
}

/// What is in a folder, hidden files left out, sorted.
fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b".")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn stays_inside(file: &Path, folder: &Path) -> Result<(), Diagnostic> {
    let fail = |error: std::io::Error| Diagnostic::about(file, format!("cannot follow this link: {}", words(&error)));
    let (real, home) = (fs::canonicalize(file).map_err(fail)?, fs::canonicalize(folder).map_err(fail)?);
    if real.starts_with(home) {
        return Ok(());
    }
    let message = format!("this link leads out of the jobs folder, to {}", real.display());
    Err(Diagnostic::about(file, message).help("copy the file into the folder instead"))
}

fn warn_if_writable(path: &Path, metadata: &Metadata, collector: &mut Collector) {
    const WORLD_WRITABLE: u32 = 0o002;
    if metadata.mode() & WORLD_WRITABLE != 0 {
        let what = if metadata.is_dir() { "folder" } else { "file" };
        let message =
            format!("everybody on this machine may write to this {what}, and so choose what is read from the database");
        let help = format!("chmod o-w {}", path.display());
        collector.push(Diagnostic::about(path, message).help(help).into_warning());
    }
}

/// The system's words without its number.
pub(super) fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

fn kind(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match metadata.file_type() {
        kind if kind.is_dir() => "folder",
        kind if kind.is_fifo() => "pipe",
        _ => "device",
    }
}
