//! What a person at a terminal sees. `script` (util-linux) gives the program a terminal.

use std::process::Command;

use crate::support::world::{Ran, World};

const SLOW: &str = "query = 'SELECT n AS id, pg_sleep(0.001)::text AS x FROM generate_series(1, 1000) n'\nkey = 't:{id}'\nvalue = 'row'";

pub(crate) fn at_terminal(world: &World, arguments: &str) -> Ran {
    let program = world.program(&[]);
    let mut script = Command::new("script");
    let command = format!("stty cols 120; {} {arguments}", env!("CARGO_BIN_EXE_warm"));
    script
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .current_dir(&world.folder.path)
        .env_clear();
    script
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh");
    let mut output = script.output().unwrap();
    output.stdout = without_controls(&output.stdout);
    Ran::of(output)
}

/// What is left of a terminal's text without the sequences that move the cursor and set colours.
fn without_controls(text: &[u8]) -> Vec<u8> {
    let mut left = Vec::new();
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            0x1b => drop(bytes.find(|byte| byte.is_ascii_alphabetic())),
            b'\r' => left.push(b'\n'),
            byte => left.push(byte),
        }
    }
    left
}

#[test]
fn a_terminal_shows_progress_and_a_table() {
    let world = World::new();
    world.job("slow", SLOW);
    world.job("broken", "query = 'SELECT nothing'\nkey = 't:{id}:x'\nvalue = 'row'");
    let ran = at_terminal(&world, "--now").exits(1);
    let rows: Vec<u64> =
        ran.out.match_indices(" rows, ").filter_map(|(at, _)| ran.out[..at].rsplit(' ').next()?.parse().ok()).collect();
    assert!(rows.iter().any(|rows| (1..1000).contains(rows)), "progress while it runs: {}", ran.all());
    assert!(ran.out.contains(" keys/s") && ran.out.contains("slow  "), "what is running, and its rate: {}", ran.all());
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let line = |first: &str| {
        lines.iter().rfind(|words| words.first() == Some(&first)).unwrap_or_else(|| panic!("{}", ran.all()))
    };
    assert_eq!(line("JOB"), &["JOB", "KEYS", "ROWS", "BYTES", "TIME", "NOTES"]);
    assert_eq!(line("slow")[..3], ["slow", "1000", "1000"]);
    assert_eq!(line("broken")[..3], ["broken", "0", "-"]);
    assert_eq!(line("broken").last(), Some(&"failed"));
}

#[test]
fn a_pipe_gets_plain_lines() {
    let world = World::new();
    world.job("slow", SLOW);
    let ran = world.warm(&["--now"]).exits(0);
    assert!(ran.out.starts_with("slow: wrote 1000 keys (") && ran.out.lines().count() == 1, "{}", ran.all());
    assert_eq!(ran.err, "", "nothing to say, and no control characters: {}", ran.all());
}
