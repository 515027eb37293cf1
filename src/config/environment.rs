//! Settings from the environment: `WARM_POSTGRES__CONNECTIONS=8` is `connections = 8` in `[postgres]`.
//!
//! Each variable is read as a small TOML text of its own, by the same rules as the file; so an unknown name or a wrong
//! type gives the same message, with the variable's name in place of the file's.

use std::collections::BTreeMap;

use super::diagnostic::{Collector, Diagnostic, Diagnostics, Place};
use super::sources::Sources;
use super::{raw, shape};
use crate::ground::near::nearest;

/// Variables that are no settings.
const NOT_SETTINGS: [&str; 3] = ["WARM_CONFIG", "WARM_LOG", "WARM_LOG_FORMAT"];
/// URLs are secrets, and have a rule of their own.
const URLS: [&str; 3] = ["WARM_POSTGRES__URL", "WARM_POSTGRES__PRIMARY_URL", "WARM_REDIS__URL"];

/// The environment variables of a process.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl std::fmt::Debug for Environment {
    /// Names only: values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Environment(variables.into_iter().collect())
    }
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The settings that variables give.
    pub(super) fn overrides(&self, sources: &mut Sources, collector: &mut Collector) -> raw::Config {
        let mut all = raw::Config::default();
        for (name, value) in &self.0 {
            let Some(path) = name.strip_prefix("WARM_") else { continue };
            if NOT_SETTINGS.contains(&name.as_str()) || URLS.contains(&name.as_str()) || is_service_link(path) {
                continue;
            }
            match parse(name, &path.to_ascii_lowercase().replace("__", "."), value, sources) {
                Ok(one) => all.merge(one),
                Err(diagnostics) => collector.extend(diagnostics),
            }
        }
        all
    }
}

/// Whether the variable was put there by Kubernetes, for a service that is called `warm` too.
fn is_service_link(path: &str) -> bool {
    path == "PORT" || path == "SERVICE_HOST" || path.starts_with("PORT_") || path.starts_with("SERVICE_PORT")
}

/// Reads one variable: its value as TOML if that fits the setting, else as text.
fn parse(name: &str, path: &str, value: &str, sources: &mut Sources) -> Result<raw::Config, Diagnostics> {
    let label = format!("${name}");
    if !path.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')) {
        let message = "this variable names no setting: it is WARM_FIELD or WARM_TABLE__FIELD";
        return Err(Diagnostic::at(Place::whole(label), message).into());
    }
    if let Some(help) = with_one_underscore(path) {
        let message = format!("unknown field `{path}`");
        return Err(Diagnostic::at(Place::whole(label), message).help(help).into());
    }
    let as_toml = sources.parse(&label, format!("{path} = {value}"));
    let Err(first) = as_toml else { return as_toml };
    sources.forget_last();
    let as_text = sources.parse(&label, format!("{path} = {}", toml::Value::String(value.to_owned())));
    as_text.map_err(|second| {
        sources.forget_last();
        // What is TOML, or tries to be, was not meant as text.
        let is_toml = toml::from_str::<toml::Table>(&format!("x = {value}")).is_ok();
        if is_toml || value.trim_start().starts_with(['{', '[']) { first } else { second }
    })
}

/// The way out for `POSTGRES_CONNECTIONS`: table and field are separated by two underscores.
fn with_one_underscore(path: &str) -> Option<String> {
    let tables = shape::fields::<raw::Config>();
    if tables.iter().any(|field| path.split('.').next() == Some(field)) {
        return None;
    }
    let (table, field) = path.split_once('_')?;
    let table = nearest(table, tables.iter().map(String::as_str))?;
    let meant = format!("WARM_{}__{}", table, field.trim_start_matches('_')).to_ascii_uppercase();
    Some(format!("table and field are separated by two underscores: {meant}"))
}
