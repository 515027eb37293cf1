//! Where the servers' URLs come from. They hold passwords, so they travel as secrets and stand in no message.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::diagnostic::{Collector, Diagnostic, Place};
use super::environment::Environment;
use super::files;
use super::paths::{is_url, named};
use super::raw::Text;
use super::sources::Sources;
use crate::ground::settings::Origin;

/// What differs between the two servers.
pub(super) struct Names {
    /// The server's name.
    pub(super) server: &'static str,
    /// The variable that belongs to us alone, such as `WARM_POSTGRES__URL`.
    pub(super) own: &'static str,
    /// The variable that applications have, such as `DATABASE_URL`; with `_FILE` it names a file, in lower case a systemd credential.
    pub(super) usual: &'static str,
    /// The table in the configuration.
    pub(super) table: &'static str,
    /// The field in that table; with `_file` it names a file.
    pub(super) field: &'static str,
    /// The schemes that a URL may have.
    pub(super) schemes: &'static [&'static str],
    /// The URL when nobody gives one.
    pub(super) default: Option<&'static str>,
}

pub(super) const POSTGRES: Names = Names {
    server: "PostgreSQL",
    own: "WARM_POSTGRES__URL",
    usual: "DATABASE_URL",
    table: "[postgres]",
    field: "url",
    schemes: &["postgres://", "postgresql://"],
    // The driver's own default: the PG… variables, else the local socket.
    default: Some(""),
};

pub(super) const PRIMARY: Names = Names {
    server: "the primary",
    own: "WARM_POSTGRES__PRIMARY_URL",
    usual: "DATABASE_PRIMARY_URL",
    field: "primary_url",
    default: None,
    ..POSTGRES
};

pub(super) const REDIS: Names = Names {
    server: "Redis",
    own: "WARM_REDIS__URL",
    usual: "REDIS_URL",
    table: "[redis]",
    field: "url",
    schemes: &["redis://", "rediss://", "unix://", "redis+unix://"],
    default: Some("redis://127.0.0.1:6379/0"),
};

/// What a table of the configuration says.
pub(super) struct Given<'a> {
    pub(super) url: Option<&'a Text>,
    pub(super) url_file: Option<&'a Text>,
    /// The configuration file; `url_file` is relative to it.
    pub(super) file: &'a Path,
}

/// The first of: own variable, usual variable, its `_FILE`, systemd credential, `url`, `url_file`, default; `None` when there is no default either.
pub(super) fn url(
    names: &Names,
    given: &Given<'_>,
    environment: &Environment,
    sources: &Sources,
    collector: &mut Collector,
) -> Result<Option<(SecretString, Origin)>, Diagnostic> {
    let field = names.field;
    if let (Some(_), Some(url_file)) = (given.url, given.url_file) {
        let message = format!("{} has both `{field}` and `{field}_file`", names.table);
        return Err(sources.error(url_file.span(), message).help("keep one of them"));
    }
    for name in [names.own, names.usual] {
        if let Some(value) = environment.get(name) {
            let origin = format!("${name}");
            return checked(names, value, Place::whole(origin.clone()), origin).map(Some);
        }
    }
    let variable = format!("{}_FILE", names.usual);
    if let Some(path) = environment.get(&variable) {
        if is_url(path) {
            let help = format!("${} is the variable for a URL; ${variable} names a file that holds one", names.usual);
            return Err(Diagnostic::at(Place::whole(format!("${variable}")), "this is a URL, not a file").help(help));
        }
        return from_file(names, Path::new(path), format!("{path} (${variable})"), collector).map(Some);
    }
    if let Some(folder) = environment.get("CREDENTIALS_DIRECTORY") {
        let path = PathBuf::from(folder).join(names.usual.to_ascii_lowercase());
        // One that cannot be looked at is not absent: nothing else may take its place in silence.
        if path.try_exists().unwrap_or(true) {
            let origin = format!("the credential {}", names.usual.to_ascii_lowercase());
            return from_file(names, &path, origin, collector).map(Some);
        }
    }
    if let Some(url) = given.url {
        if has_password(url.get_ref()) {
            warn_if_readable(given.file, "password", collector);
        }
        let origin = format!("`{field}` in {} of {}", names.table, given.file.display());
        let place = sources.place(url.span()).unwrap_or(Place::whole(origin.clone()));
        return checked(names, url.get_ref(), place, origin).map(Some);
    }
    if let Some(url_file) = given.url_file {
        let way_out = format!(
            "`{field}` in {} is for a URL, or better ${}; `{field}_file` names a file that holds one",
            names.table, names.usual
        );
        let path = named("file", url_file, given.file, sources, &way_out)?;
        let origin = format!("{} (`{field}_file` in {})", path.display(), names.table);
        return from_file(names, &path, origin, collector).map(Some);
    }
    Ok(names.default.map(|default| (SecretString::from(default), "the default".to_owned())))
}

fn from_file(
    names: &Names,
    path: &Path,
    origin: String,
    collector: &mut Collector,
) -> Result<(SecretString, Origin), Diagnostic> {
    let text = files::read_secret(path).map_err(|error| error.help(format!("the URL is read from {origin}")))?;
    if has_password(&text) {
        warn_if_readable(path, "password", collector);
    }
    checked(names, text.trim(), Place::whole(origin.clone()), origin)
}

/// A URL that begins like one, else an error that does not show it: it may be a password in the wrong place.
fn checked(names: &Names, url: &str, place: Place, origin: Origin) -> Result<(SecretString, Origin), Diagnostic> {
    if names.schemes.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok((SecretString::from(url), origin));
    }
    let what = if url.is_empty() { "is empty" } else { "does not begin like one" };
    let help = format!("it begins with one of {}", names.schemes.join(", "));
    Err(Diagnostic::at(place, format!("the URL of {} {what}", names.server)).help(help))
}

/// Warns about a file with a secret if everybody may read it.
pub(super) fn warn_if_readable(path: &Path, secret: &str, collector: &mut Collector) {
    use std::os::unix::fs::MetadataExt;
    const OTHERS_READ: u32 = 0o004;
    if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & OTHERS_READ != 0) {
        let help = format!("chmod o-r {}", path.display());
        let message = format!("everybody on this machine may read the {secret} in this file");
        collector.push(Diagnostic::about(path, message).help(help).into_warning());
    }
}

/// Whether a URL holds a password: before the host, or as a parameter.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let account = rest.rsplit_once('@').map(|(account, _)| account).unwrap_or_default();
    let parameters = rest.split_once('?').map(|(_, parameters)| parameters).unwrap_or_default();
    account.contains(':')
        || parameters.split('&').any(|pair| pair.starts_with("pass=") || pair.starts_with("password="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_seen_wherever_a_url_may_hold_one() {
        for url in [
            "postgres://u:p@h/d",
            "redis://:p@h",
            "postgres://h/d?user=u&password=p",
            "unix:///run/redis?user=u&pass=p",
        ] {
            assert!(has_password(url), "{url}");
        }
        for url in ["postgres://u@h/d", "redis://h:6379/0", "unix:///run/redis", "postgres://h/d?schema=public", ""] {
            assert!(!has_password(url), "{url}");
        }
    }
}
