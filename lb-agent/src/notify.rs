//! Runs the operator's commands when something has changed.
//!
//! Never two at once about the same service, and those in the order of what happened; about different services up to
//! [`AT_ONCE`]. Who reports a change never waits: beyond [`WAITING`] the oldest word would be out of date anyway, and
//! what comes is not run, with a line in the log.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::script::Script;

/// Commands that run at the same time.
pub const AT_ONCE: usize = 16;
/// Commands that wait: a change of each of a thousand real servers.
pub const WAITING: usize = 1024;
/// How long a command may run.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the agent's end waits for those that run or wait.
const AT_THE_END: Duration = Duration::from_secs(5);

/// A command to be run, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose order it keeps: the service's name.
    pub about: String,
    /// What is run.
    pub script: Script,
    /// Added to its own arguments.
    pub arguments: Vec<String>,
    /// Added to its environment.
    pub environment: Vec<(&'static str, String)>,
}

/// Takes notices, from anywhere.
#[derive(Clone, Debug)]
pub struct Notices(mpsc::Sender<Notice>);

impl Notices {
    /// Leads nowhere.
    #[cfg(test)]
    pub fn nowhere() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Has a command run, soon.
    pub fn send(&self, notice: Notice) {
        if let Err(error) = self.0.try_send(notice) {
            let notice = error.into_inner();
            tracing::error!(
                about = notice.about,
                command = notice.script.program(),
                "a command is not run: {WAITING} others wait before it"
            );
        }
    }
}

/// Carries notices out.
#[derive(Debug)]
pub struct Notifier {
    notices: Notices,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Needs a tokio runtime with time and IO. Each command may take `timeout`.
    pub fn spawn(timeout: Duration) -> Self {
        let (notices, received) = mpsc::channel(WAITING);
        Self {
            notices: Notices(notices),
            task: tokio::spawn(run(received, timeout)),
        }
    }

    /// Has a command run, soon.
    pub fn send(&self, notice: Notice) {
        self.notices.send(notice);
    }

    /// For those who have something to be carried out; they are gone before [`finish`](Self::finish) returns early.
    pub fn notices(&self) -> Notices {
        self.notices.clone()
    }

    /// Returns when all commands have been run, or after a few seconds; those that still run then are ended.
    pub async fn finish(self) {
        drop(self.notices);
        let mut task = self.task;
        if tokio::time::timeout(AT_THE_END, &mut task).await.is_err() {
            tracing::warn!("commands that were still to be run are given up");
            task.abort();
            // Its end is what was asked for.
            let _ = task.await;
        }
    }
}

async fn run(mut received: mpsc::Receiver<Notice>, timeout: Duration) {
    // Whoever has an entry is being run; in it is what waits for that.
    let mut waiting: BTreeMap<String, VecDeque<Notice>> = BTreeMap::new();
    let mut ready: VecDeque<Notice> = VecDeque::new();
    let mut running = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !running.is_empty() || !ready.is_empty() {
        while running.len() < AT_ONCE
            && let Some(notice) = ready.pop_front()
        {
            running.push(carry_out(notice, timeout));
        }
        let count = ready.len() + waiting.values().map(VecDeque::len).sum::<usize>();
        tokio::select! {
            notice = received.recv(), if is_open && count < WAITING => match notice {
                Some(notice) => match waiting.get_mut(&notice.about) {
                    Some(queue) => queue.push_back(notice),
                    None => {
                        waiting.insert(notice.about.clone(), VecDeque::new());
                        ready.push_back(notice);
                    }
                },
                None => is_open = false,
            },
            Some(about) = running.next(), if !running.is_empty() => {
                match waiting.get_mut(&about).and_then(VecDeque::pop_front) {
                    Some(next) => ready.push_back(next),
                    None => drop(waiting.remove(&about)),
                }
            }
        }
    }
}

/// Runs one command to its end, and returns whose it was.
async fn carry_out(notice: Notice, timeout: Duration) -> String {
    let Notice {
        about,
        script,
        arguments,
        environment,
    } = notice;
    let command = script.program();
    let run = script.run(&arguments, &environment);
    match tokio::time::timeout(timeout, run).await {
        Ok(Ok(ended)) if ended.status.success() => tracing::debug!(about, command, "command ended"),
        Ok(Ok(ended)) => {
            tracing::warn!(
                about,
                command,
                reason = ended.in_words(),
                "a command failed"
            );
        }
        Ok(Err(error)) => tracing::error!(about, command, %error, "a command cannot be run"),
        Err(_) => tracing::warn!(
            about,
            command,
            ?timeout,
            "a command did not end and was terminated"
        ),
    }
    about
}

#[cfg(test)]
mod tests;
