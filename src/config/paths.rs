//! Paths of the configuration, which are relative to its file, without detours: `config/../jobs` is shown, and used, as `jobs`.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::raw::Text;
use super::sources::Sources;

/// What a setting names, a `file` or a `folder`, unless it is a URL: that may hold a password, which no later message about the path would know.
pub(super) fn named(
    what: &str,
    text: &Text,
    file: &Path,
    sources: &Sources,
    way_out: &str,
) -> Result<PathBuf, Diagnostic> {
    match is_url(text.get_ref()) {
        true => Err(sources.error(text.span(), format!("this is a URL, not a {what}")).help(way_out)),
        false => Ok(relative_to(file, text.get_ref())),
    }
}

/// Whether a text that is to be a path is a URL instead.
pub(super) fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// A path that stands in the configuration file.
fn relative_to(file: &Path, path: &str) -> PathBuf {
    without_detours(&file.parent().unwrap_or(Path::new("")).join(path))
}

/// A shorter path to the same place. A link before `..` stays: what is above the folder that it leads to is elsewhere.
fn without_detours(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if is_folder(&short) => {
                short.pop();
            }
            other => short.push(other),
        }
    }
    let nothing_left = short.as_os_str().is_empty() && !path.as_os_str().is_empty();
    if nothing_left { PathBuf::from(".") } else { short }
}

/// Whether a path ends in the name of a folder that is there and no link.
fn is_folder(path: &Path) -> bool {
    matches!(path.components().next_back(), Some(Component::Normal(_)))
        && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detour_is_left_out_where_it_leads_nowhere_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("a/b")).expect("a folder");
        std::os::unix::fs::symlink(at("a/b"), at("link")).expect("a link");
        for (path, short) in [
            ("a/../jobs", "jobs"),
            ("a/b/../../jobs/", "jobs"),
            ("a/./b/../b", "a/b"),
            ("link/../jobs", "link/../jobs"),
            ("link/../../jobs", "link/../../jobs"),
            ("a/../link/../b/../jobs", "link/../jobs"),
            ("gone/../jobs", "gone/../jobs"),
        ] {
            assert_eq!(without_detours(&at(path)), at(short), "{path}");
        }
        for (path, short) in [("../jobs", "../jobs"), ("./jobs", "jobs"), ("src/..", "."), ("", ""), ("/../x", "/../x")]
        {
            assert_eq!(without_detours(Path::new(path)), Path::new(short), "{path}");
        }
    }
}
