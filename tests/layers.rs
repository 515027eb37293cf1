//! Imports point downwards only, as `docs/architecture.md` says: this test reads the `use` lines of every file.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// Module → what it may import beside itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["commands", "observe", "ground"]),
    (
        "commands",
        &["cli", "config", "service", "runner", "source", "encode", "seal", "cache", "history", "observe", "ground"],
    ),
    ("config", &["ground"]),
    ("service", &["triggers", "runner", "ground"]),
    ("triggers", &["ground"]),
    ("runner", &["source", "encode", "seal", "cache", "history", "ground"]),
    ("source", &["ground"]),
    ("encode", &["ground"]),
    ("seal", &["ground"]),
    ("cache", &["ground"]),
    ("history", &["ground"]),
    ("observe", &["ground"]),
    ("ground", &[]),
];

/// Crate → the modules in which it may appear.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["source", "history"]),
    ("redis", &["cache"]),
    ("clap", &["cli"]),
    ("anyhow", &["commands"]),
    ("toml", &["config"]),
    ("serde", &["config", "ground"]),
    ("tokio", &["runner", "triggers", "service", "source", "cache", "history", "commands"]),
    ("tokio_cron_scheduler", &["triggers"]),
    ("sd_notify", &["service"]),
    ("hyper", &["service"]),
    ("hyper_util", &["service"]),
    ("http_body_util", &["service"]),
    ("percent_encoding", &["service"]),
    ("sqlparser", &["ground"]),
    ("croner", &["ground"]),
    ("rustix", &["history", "observe", "commands"]),
    ("thread_priority", &["commands"]),
    ("bytes", &["source"]),
    ("moka", &["runner"]),
    ("simdutf8", &["encode"]),
    ("aes_gcm_siv", &["seal"]),
    ("hmac", &["seal"]),
    ("sha2", &["seal"]),
    ("zstd", &["seal"]),
    ("lz4_flex", &["seal"]),
    ("flate2", &["seal"]),
    ("base64", &["config"]),
    ("indicatif", &["observe"]),
    ("prometheus_client", &["observe"]),
    ("tracing", &["observe"]),
    ("tracing_subscriber", &["observe"]),
];

/// Each file of `src` with the top module that it belongs to.
fn files() -> Vec<(String, PathBuf)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    let module = |file: &PathBuf| {
        let first = file.strip_prefix(&root).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    found.iter().map(|file| (module(file), file.clone())).filter(|(module, _)| module != "lib").collect()
}

/// The paths in a text that begin with `root::`, as the word after it; comments do not count.
fn after<'t>(text: &'t str, root: &str) -> Vec<(usize, &'t str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap();
        for (at, _) in code.match_indices(root) {
            let standing_alone = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let rest = &code[at + root.len()..];
            let word = rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap();
            if standing_alone {
                found.push((number + 1, word));
            }
        }
    }
    found
}

fn allowed<'a>(table: &'a [(&str, &[&str])], name: &str) -> &'a [&'a str] {
    table.iter().find(|(other, _)| *other == name).unwrap_or_else(|| panic!("`{name}` is in no layer")).1
}

#[test]
fn imports_point_downwards() {
    let mut wrong = Vec::new();
    for (module, file) in files() {
        let text = fs::read_to_string(&file).unwrap();
        for (line, target) in after(&text, "crate::").into_iter().chain(after(&text, "warm::")) {
            // `use crate::{a, b}` would hide its targets from this test.
            if target != module && !allowed(LAYERS, &module).contains(&target) {
                wrong.push(format!("{}:{line}: {module} imports `{target}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn drivers_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (module, file) in files() {
        let text = fs::read_to_string(&file).unwrap();
        for (name, rooms) in CRATES {
            let found = after(&text, &format!("{name}::"));
            // A room of the same name, such as `check/redis.rs`, is reached by a path without the crate's types.
            let foreign = found.iter().filter(|(_, word)| module != "commands" || *name != "redis" || *word != "check");
            if !rooms.contains(&module.as_str()) {
                wrong.extend(foreign.map(|(line, _)| format!("{}:{line}: {module} uses {name}", file.display())));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_architecture_page_names_every_layer() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md")).unwrap();
    let table: String = page.lines().filter(|line| line.starts_with('|')).collect();
    for (module, _) in LAYERS {
        assert!(table.contains(&format!("`{module}`")) || table.contains(&format!("`{module}/*`")), "{module}");
    }
}

#[test]
fn an_import_is_found_wherever_it_stands() {
    let text = "use crate::cache::Writer; // crate::none\nlet x = crate::source::y(); mycrate::z; a::crate::b";
    assert_eq!(after(text, "crate::"), [(1, "cache"), (2, "source")]);
}
