//! The `capictl` binary: parses the command line, prints errors once, sets the exit code.

use std::process::ExitCode;

use capictl::cli;
use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            cli::print_error(&error);
            ExitCode::FAILURE
        }
    }
}
