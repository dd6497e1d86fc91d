//! `lb-agent`: see `lb-agent --help`.

use clap::Parser as _;
use std::{io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    match lb_agent::cli::main(lb_agent::cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Where nobody reads it, the exit status has to do.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
