//! Man pages and shell completions, made from the same definitions as `--help`: for `scripts/package`.
//!
//! An example rather than a command: so neither the program nor its default build carries what makes them.
//!
//! ```sh
//! cargo run --example pages -- FOLDER      # FOLDER/man/*.1, FOLDER/completions/{warm,_warm,warm.fish}
//! ```

use std::fs::create_dir_all;
use std::path::PathBuf;

use anyhow::Context;
use clap_complete::{Shell, generate_to};

fn main() -> anyhow::Result<()> {
    let folder: PathBuf =
        std::env::args_os().nth(1).context("no folder is given: cargo run --example pages -- FOLDER")?.into();
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    for folder in [&man, &completions] {
        create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    // Not built beforehand: it would have a page for `warm help`, too.
    clap_mangen::generate_to(warm::cli::command(), &man)
        .with_context(|| format!("the man pages cannot be written to {}", man.display()))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut warm::cli::command(), "warm", &completions)
            .with_context(|| format!("the completions cannot be written to {}", completions.display()))?;
    }
    Ok(())
}
