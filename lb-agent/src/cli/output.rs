//! What the command line prints: `println!` panics where nobody reads any more, as in `lb-agent status | head -1`.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

/// Why the outcome is not printed: a full disk, most likely.
#[derive(Debug, thiserror::Error)]
#[error("write to standard output")]
pub struct OutputError(#[source] io::Error);

/// Prints to standard output. A reader that has seen enough is no error.
///
/// # Errors
/// Where it cannot be written for another reason: whoever wanted it does not have it.
pub fn say(text: &dyn Display) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    match write!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

/// Prints a line to standard error. Where that is closed, the exit status has to do.
pub fn complain(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
