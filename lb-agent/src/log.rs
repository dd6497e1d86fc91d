//! Where log lines go and what they look like.

use crate::config::{Log, LogFormat, LogLevel};
use std::io::{IsTerminal as _, stderr};
use tracing::Level;

/// Sends log lines to standard error; systemd takes them from there to the journal.
pub fn init(log: Log) {
    let level = match log.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(stderr)
        // Its way to say that a line cannot be written is a panic: a reader that is gone would take the agent with it.
        .log_internal_errors(false)
        .with_target(false);
    // A subscriber that is there already is a test's.
    let _ = match log.format {
        LogFormat::Json => lines.json().try_init(),
        // The journal has its own time.
        LogFormat::Auto if std::env::var_os("JOURNAL_STREAM").is_some() => {
            lines.without_time().with_ansi(false).try_init()
        }
        LogFormat::Auto | LogFormat::Text => lines.with_ansi(stderr().is_terminal()).try_init(),
    };
}
