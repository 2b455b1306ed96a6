//! Parse the command line, run it, turn the result into an exit code.

fn main() {}
