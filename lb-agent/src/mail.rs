//! Mail to the operator when something has changed.
//!
//! Who reports a change calls [`Mailer::tell`] and never waits. One task, that of [`Mailer::spawn`], gathers what it is
//! told ([`post`]), so that a storm becomes one mail, and hands it to the relay ([`relay`]), again and again until the
//! relay takes it. What happens meanwhile goes into the same mail.

mod letter;
mod post;
mod relay;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::config::{self, MailEvent};
use post::{Pace, Post};
use relay::{Relay, Undelivered};

pub use relay::MailError;

/// Events that may wait for the task: more than it ever keeps.
const WAITING: usize = 1024;
/// How long the agent's end waits for what is still to be sent.
const AT_THE_END: Duration = Duration::from_secs(5);

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about: whether anybody is told of it depends on this.
    pub about: MailEvent,
    /// When.
    pub at: SystemTime,
    /// What, in a few words, such as "service web is down".
    pub what: String,
    /// Why, in words.
    pub reason: String,
}

/// Takes events. Clones tell the same task.
#[derive(Clone, Debug)]
pub struct Mailer {
    events: mpsc::Sender<Event>,
    on: Vec<MailEvent>,
}

/// The task behind a [`Mailer`].
#[derive(Debug)]
pub struct Mailing {
    stop: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

/// Whether mail can be sent as it is configured, as far as this host alone can tell.
///
/// # Errors
/// Where the password cannot be read.
pub fn check(mail: &config::Mail, router_id: &str) -> Result<(), MailError> {
    Relay::new(mail, router_id).map(drop)
}

impl Mailer {
    /// Needs a tokio runtime with time and IO.
    ///
    /// # Errors
    /// Where the password cannot be read.
    pub fn spawn(mail: &config::Mail, router_id: &str) -> Result<(Self, Mailing), MailError> {
        let relay = Relay::new(mail, router_id)?;
        Ok(Self::with(relay, mail.on.clone(), Pace::default()))
    }

    fn with(relay: Relay, on: Vec<MailEvent>, pace: Pace) -> (Self, Mailing) {
        let (events, told) = mpsc::channel(WAITING);
        let (stop, stopped) = mpsc::channel(1);
        let task = tokio::spawn(work(told, stopped, relay, Post::new(pace)));
        (Self { events, on }, Mailing { stop, task })
    }

    /// Has the operator told, soon, if the operator wants to know of such things. Never waits.
    pub fn tell(&self, event: Event) {
        if !self.on.contains(&event.about) {
            return;
        }
        if let Err(error) = self.events.try_send(event) {
            let event = error.into_inner();
            tracing::error!(
                what = event.what,
                "not told by mail: {WAITING} others wait before it"
            );
        }
    }
}

impl Mailing {
    /// Tries once to send what waits, and returns after a few seconds at most.
    pub async fn finish(self) {
        // Fails where the task has ended already.
        let _ = self.stop.send(()).await;
        let mut task = self.task;
        if tokio::time::timeout(AT_THE_END, &mut task).await.is_err() {
            tracing::warn!("mail that was still to be sent is given up");
            task.abort();
            // Its end is what was asked for.
            let _ = task.await;
        }
    }
}

async fn work(
    mut told: mpsc::Receiver<Event>,
    mut stopped: mpsc::Receiver<()>,
    relay: Relay,
    mut post: Post,
) {
    let mut is_open = true;
    loop {
        let due = post.due().map(tokio::time::Instant::from_std);
        tokio::select! {
            event = told.recv(), if is_open => match event {
                Some(event) => post.add(event, Instant::now()),
                None => is_open = false,
            },
            () = sleep_until(due), if due.is_some() => deliver(&relay, &mut post, &mut told).await,
            _ = stopped.recv() => break,
        }
    }
    while let Ok(event) = told.try_recv() {
        post.add(event, Instant::now());
    }
    if !post.is_empty() {
        deliver(&relay, &mut post, &mut told).await;
    }
}

/// Sends one mail with all that waits, taking in events all the while.
async fn deliver(relay: &Relay, post: &mut Post, told: &mut mpsc::Receiver<Event>) {
    let letter = post.take();
    let mut delivery = std::pin::pin!(relay.deliver(&letter));
    let mut is_open = true;
    let outcome = loop {
        tokio::select! {
            outcome = &mut delivery => break outcome,
            event = told.recv(), if is_open => match event {
                Some(event) => post.add(event, Instant::now()),
                None => is_open = false,
            },
        }
    };
    let now = Instant::now();
    match outcome {
        Ok(()) => {
            tracing::debug!(changes = letter.count(), "mail sent");
            post.on_end(now);
        }
        Err(Undelivered::Refused(reason)) => {
            tracing::error!(
                changes = letter.count(),
                reason,
                "the relay refuses a mail for good; it is given up"
            );
            post.on_end(now);
        }
        Err(Undelivered::Later(reason)) => {
            let again = post.on_delay(now);
            tracing::warn!(
                changes = letter.count(),
                reason,
                ?again,
                "a mail could not be sent yet"
            );
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
