//! The edge: hands the command line to the library and its verdict to the operating system.

use std::process::ExitCode;

fn main() -> ExitCode {
    warm::cli::main()
}
