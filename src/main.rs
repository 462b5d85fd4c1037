//! The `i2kit` command: parse, run, print the error, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    i2kit::cli::main()
}
