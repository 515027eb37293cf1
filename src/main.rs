//! The edge: hands the command line to the library and its verdict to the operating system.

fn main() {}
