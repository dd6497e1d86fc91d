//! Children whose output is seen as it comes, with a time limit and an answer to Ctrl-C.
//!
//! A child is the head of a process group of its own. While it runs, SIGINT and SIGTERM do not end xtask:
//! they are passed on to the group (cargo's test programs are in it too), the child is waited for, and the
//! caller gets [`End::Interrupted`], so that whatever it must put back is put back.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// How often the clock and the signals are looked at while a child is silent.
const TICK: Duration = Duration::from_millis(100);
/// How long a child may take to end after a signal before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long output may still come after the child ended: a process that it left behind may hold the pipe.
const DRAIN: Duration = Duration::from_millis(300);

/// What a running child gives.
pub enum Event<'a> {
    /// Bytes of its standard output, as they came: not cut at line ends.
    Out(&'a [u8]),
    /// Bytes of its standard error; only with [`Pipe::Both`].
    Err(&'a [u8]),
    /// Nothing new, but time has passed.
    Tick,
}

/// Which streams go through us; the others are ours, shared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pipe {
    /// Standard output only.
    Out,
    /// Standard output and standard error.
    Both,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Killed by us, for it took longer than the limit.
    TimedOut,
    /// After Ctrl-C or SIGTERM.
    Interrupted,
}

impl End {
    /// Whether it ended by itself with exit status 0.
    pub fn success(self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }

    /// What happened, as the end of a sentence: "cargo test" + " " + this.
    pub fn describe(self) -> String {
        match self {
            Self::Exited(status) => format!("ended with {status}"),
            Self::TimedOut => "took too long and was killed".into(),
            Self::Interrupted => "was interrupted".into(),
        }
    }
}

/// Runs a command to its end and hands each event to `each`. Standard input is empty.
pub fn run(
    command: &mut Command,
    pipe: Pipe,
    limit: Option<Duration>,
    mut each: impl FnMut(Event<'_>),
) -> anyhow::Result<End> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0);
    if pipe == Pipe::Both {
        command.stderr(Stdio::piped());
    }
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", command.get_program().display()))?;
    // Only now: a child would inherit the mask, and ignore Ctrl-C for good.
    let signals = Signals::hold()?;
    let (sender, output) = mpsc::sync_channel(64);
    pump(child.stdout.take(), Source::Out, sender.clone());
    pump(child.stderr.take(), Source::Err, sender);

    let started = Instant::now();
    let mut cut: Option<(End, Instant)> = None;
    let status = loop {
        match output.recv_timeout(TICK) {
            Ok((Source::Out, bytes)) => each(Event::Out(&bytes)),
            Ok((Source::Err, bytes)) => each(Event::Err(&bytes)),
            Err(RecvTimeoutError::Timeout) => each(Event::Tick),
            Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(5)),
        }
        if let Some(status) = child.try_wait().context("wait for a child")? {
            break status;
        }
        if let Some(signal) = signals.caught()? {
            send(&child, signal);
            cut.get_or_insert((End::Interrupted, Instant::now()));
        }
        if cut.is_none() && limit.is_some_and(|limit| started.elapsed() > limit) {
            send(&child, Signal::SIGTERM);
            cut = Some((End::TimedOut, Instant::now()));
        }
        if cut.is_some_and(|(_, since)| since.elapsed() > PATIENCE) {
            send(&child, Signal::SIGKILL);
        }
    };
    if cut.is_some() {
        // cargo ends before the test programs that it has started do.
        let since = Instant::now();
        while is_there(&child) && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
    }
    let ended = Instant::now();
    while ended.elapsed() < DRAIN {
        match output.recv_timeout(DRAIN) {
            Ok((Source::Out, bytes)) => each(Event::Out(&bytes)),
            Ok((Source::Err, bytes)) => each(Event::Err(&bytes)),
            Err(_) => break,
        }
    }
    Ok(cut.map_or(End::Exited(status), |(end, _)| end))
}

/// Runs a short command to its end and returns its standard output if it succeeded.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[derive(Clone, Copy)]
enum Source {
    Out,
    Err,
}

fn pump(
    stream: Option<impl Read + Send + 'static>,
    source: Source,
    sender: mpsc::SyncSender<(Source, Vec<u8>)>,
) {
    let Some(mut stream) = stream else { return };
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            let bytes = buffer.get(..length).unwrap_or_default().to_vec();
            if sender.send((source, bytes)).is_err() {
                break;
            }
        }
    });
}

/// Sends a signal to the child's group. The child has not been waited for, so the number is still its own.
fn send(child: &Child, signal: Signal) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // An error means that all of the group have just ended.
        let _ = killpg(Pid::from_raw(pid), signal);
    }
}

/// Whether anybody of the child's group is left. The number is the group's for as long as somebody is.
fn is_there(child: &Child) -> bool {
    i32::try_from(child.id()).is_ok_and(|id| killpg(Pid::from_raw(id), None).is_ok())
}

/// SIGINT and SIGTERM held back from this thread and those it starts, until dropped.
struct Signals {
    before: SigSet,
    queue: SignalFd,
}

impl Signals {
    fn hold() -> anyhow::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        let before = SigSet::thread_get_mask().context("read the signal mask")?;
        set.thread_block().context("hold SIGINT and SIGTERM back")?;
        let queue = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("watch SIGINT and SIGTERM")?;
        Ok(Self { before, queue })
    }

    fn caught(&self) -> anyhow::Result<Option<Signal>> {
        let Some(info) = self.queue.read_signal().context("read a signal")? else {
            return Ok(None);
        };
        let signal = i32::try_from(info.ssi_signo)
            .ok()
            .and_then(|number| Signal::try_from(number).ok());
        Ok(Some(signal.unwrap_or(Signal::SIGTERM)))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// Cuts bytes that arrive in any pieces into lines.
#[derive(Default)]
pub struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes bytes, and hands each line that they complete to `each`, without its end.
    /// A carriage return ends a line too: that is how progress bars write.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' {
                each(&String::from_utf8_lossy(&self.rest));
                self.rest.clear();
            } else {
                self.rest.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_and_the_exit_status_come_back() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let end = run(
            &mut shell("echo one; echo two >&2; exit 3"),
            Pipe::Both,
            None,
            |event| match event {
                Event::Out(bytes) => out.extend_from_slice(bytes),
                Event::Err(bytes) => err.extend_from_slice(bytes),
                Event::Tick => {}
            },
        )
        .unwrap();
        assert_eq!(
            (out.as_slice(), err.as_slice()),
            (&b"one\n"[..], &b"two\n"[..])
        );
        assert!(
            matches!(end, End::Exited(status) if status.code() == Some(3)),
            "{end:?}"
        );
    }

    #[test]
    fn a_child_past_its_limit_is_ended() {
        let started = Instant::now();
        let end = run(
            &mut shell("exec sleep 60"),
            Pipe::Out,
            Some(Duration::from_millis(50)),
            |_| {},
        )
        .unwrap();
        assert_eq!(end, End::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn all_that_a_child_started_has_ended_when_it_was_cut_short() {
        let mut pid = String::new();
        // The head of the group ends at once, what it started a little later.
        let script = "(trap 'sleep 0.3; exit' TERM; while :; do sleep 0.05; done) & echo $!; wait";
        let end = run(
            &mut shell(script),
            Pipe::Out,
            Some(Duration::from_millis(300)),
            |event| {
                if let Event::Out(bytes) = event {
                    pid.push_str(&String::from_utf8_lossy(bytes));
                }
            },
        )
        .unwrap();
        assert_eq!(end, End::TimedOut);
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists());
    }

    #[test]
    fn a_process_left_behind_does_not_hold_us() {
        let started = Instant::now();
        // The grandchild keeps our pipe open for longer than the test may take; it ends by itself.
        let end = run(&mut shell("sleep 20 & echo $!"), Pipe::Out, None, |_| {}).unwrap();
        assert!(end.success());
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(
            &mut Command::new("no-such-program"),
            Pipe::Out,
            None,
            |_| {},
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "start no-such-program");
    }

    #[test]
    fn lines_are_cut_wherever_the_pieces_end() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in ["ab", "c\nde\r", "f", "\n\n"] {
            lines.push(piece.as_bytes(), |line| seen.push(line.to_owned()));
        }
        assert_eq!(seen, ["abc", "de", "f", ""]);
    }
}
