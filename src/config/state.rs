//! Where state is kept between runs. Nothing has to be configured for it: a service has a folder from systemd, a person one at home.

use std::path::{Path, PathBuf};

use super::diagnostic::Diagnostic;
use super::environment::Environment;
use super::paths::named;
use super::raw::Text;
use super::sources::Sources;

/// The first of: `state`, `$STATE_DIRECTORY` (systemd; of several the first), `$XDG_STATE_HOME/warm`, `$HOME/.local/state/warm`.
pub(super) fn folder(
    given: Option<&Text>,
    file: &Path,
    environment: &Environment,
    sources: &Sources,
) -> Result<Option<PathBuf>, Diagnostic> {
    if let Some(text) = given {
        if text.get_ref().is_empty() {
            let help = "state = \"/var/lib/warm\" names one; without this line there is a default";
            return Err(sources.error(text.span(), "`state` must name a folder").help(help));
        }
        return named("folder", text, file, sources, "state = \"/var/lib/warm\" names one").map(Some);
    }
    let of_systemd = environment.get("STATE_DIRECTORY").and_then(|list| list.split(':').find(|path| !path.is_empty()));
    // The XDG specification: a path that is not absolute is to be ignored.
    let absolute = |name| environment.get(name).map(Path::new).filter(|path| path.is_absolute());
    Ok(of_systemd
        .map(PathBuf::from)
        .or_else(|| absolute("XDG_STATE_HOME").map(|home| home.join("warm")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state/warm"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where_state_is_kept() {
        let folder = |variables: &[(&str, &str)]| {
            let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let found =
                folder(None, Path::new("warm.toml"), &environment, &Sources::default()).expect("no setting is wrong");
            found.map(|path| path.display().to_string())
        };
        let all = [("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("XDG_STATE_HOME", "/state"), ("HOME", "/home/u")];
        assert_eq!(folder(&all).as_deref(), Some("/var/lib/a"));
        assert_eq!(folder(&all[1..]).as_deref(), Some("/state/warm"));
        assert_eq!(folder(&all[2..]).as_deref(), Some("/home/u/.local/state/warm"));
        assert_eq!(
            folder(&[("XDG_STATE_HOME", "state"), ("HOME", "/home/u")]).as_deref(),
            Some("/home/u/.local/state/warm")
        );
        assert_eq!(folder(&[("STATE_DIRECTORY", ""), ("HOME", "")]), None);
    }
}
