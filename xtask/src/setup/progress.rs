//! One line for each step of the set-up: what runs, how long, and its last line of output.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::child::{self, Event, Lines, Pipe};

/// How many lines of a failed step are shown.
const TAIL_LINES: usize = 15;
/// Without a terminal, how often a long step says that it goes on.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How wide the refreshed line may be on a terminal of unknown width.
const WIDTH: usize = 100;

/// Runs a command as the step `title`. On failure its last lines are shown and become no part of the error.
pub fn step(title: &str, command: &mut Command) -> anyhow::Result<()> {
    let mut progress = Progress::start(title);
    let (mut out, mut err) = (Lines::default(), Lines::default());
    let end = child::run(command, Pipe::Both, None, |event| match event {
        Event::Out(bytes) => out.push(bytes, |line| progress.line(line)),
        Event::Err(bytes) => err.push(bytes, |line| progress.line(line)),
        Event::Tick => progress.tick(),
    })?;
    if end.success() {
        progress.done();
        return Ok(());
    }
    progress.failed();
    bail!("{title}: `{}` {}", shown(command), end.describe())
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

struct Progress {
    title: String,
    started: Instant,
    spoken: Instant,
    terminal: bool,
    tail: VecDeque<String>,
}

impl Progress {
    fn start(title: &str) -> Self {
        let now = Instant::now();
        let terminal = stderr().is_terminal();
        if !terminal {
            eprintln!("{title} …");
        }
        let progress = Self {
            title: title.to_owned(),
            started: now,
            spoken: now,
            terminal,
            tail: VecDeque::new(),
        };
        progress.redraw();
        progress
    }

    fn line(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line.trim_end().to_owned());
        self.tick();
    }

    fn tick(&mut self) {
        let every = if self.terminal {
            Duration::from_millis(100)
        } else {
            HEARTBEAT
        };
        if self.spoken.elapsed() < every {
            return;
        }
        self.spoken = Instant::now();
        if self.terminal {
            self.redraw();
        } else {
            eprintln!("{}", self.summary());
        }
    }

    fn summary(&self) -> String {
        let last = self.tail.back().map_or("", |line| line.trim());
        one_line(
            &format!(
                "{} … {:3.0} s  {last}",
                self.title,
                self.started.elapsed().as_secs_f64()
            ),
            WIDTH,
        )
    }

    fn redraw(&self) {
        if self.terminal {
            // Carriage return, clear to the end of the line.
            eprint!("\r\x1b[K{}", self.summary());
            let _ = stderr().flush();
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }

    fn done(&self) {
        self.clear();
        eprintln!(
            "{}: done in {:.1} s",
            self.title,
            self.started.elapsed().as_secs_f64()
        );
    }

    fn failed(&self) {
        self.clear();
        eprintln!(
            "{}: failed after {:.1} s",
            self.title,
            self.started.elapsed().as_secs_f64()
        );
        for line in &self.tail {
            eprintln!("    {line}");
        }
    }
}

/// The first `width` characters, without control characters, so that a refreshed line stays one line.
fn one_line(text: &str, width: usize) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(width)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refreshed_line_neither_wraps_nor_moves_the_cursor() {
        assert_eq!(one_line("a\x1b[31mb\tc", 80), "a[31mbc");
        assert_eq!(one_line(&"é".repeat(200), 100).chars().count(), 100);
    }

    #[test]
    fn a_failed_step_names_the_command_and_its_status() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo why >&2; exit 7"]);
        let error = step("try", &mut command).unwrap_err().to_string();
        assert!(error.starts_with("try: `sh -c"), "{error}");
        assert!(error.contains("exit status: 7"), "{error}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut progress = Progress::start("count");
        (0..100).for_each(|number| progress.line(&number.to_string()));
        progress.line("   ");
        assert_eq!(progress.tail.len(), TAIL_LINES);
        assert_eq!(progress.tail.back().map(String::as_str), Some("99"));
    }
}
