//! `lb-agent`: see `lb-agent --help`.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match lb_agent::cli::main(lb_agent::cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
