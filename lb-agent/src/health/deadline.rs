//! The end of a run, which every step of every kind of check keeps.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// When a run must have ended, however many steps and kinds of check it has.
#[derive(Clone, Debug)]
pub struct Deadline {
    at: Instant,
    timeout: Duration,
    steps: Option<Steps>,
}

/// What is written down of a run's steps, for whoever wants to see them.
pub type Steps = Arc<Mutex<Vec<Step>>>;

/// A step that a run has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// From the run's start to its end.
    pub after: Duration,
    /// In words.
    pub what: String,
}

/// A step that did not end in time.
#[derive(Debug, thiserror::Error)]
#[error("no {what} within {}", humantime::format_duration(*timeout))]
pub struct Late {
    what: &'static str,
    timeout: Duration,
}

impl Deadline {
    /// For a run that starts now and may take `timeout`.
    pub fn after(timeout: Duration) -> Self {
        Self {
            at: Instant::now() + timeout,
            timeout,
            steps: None,
        }
    }

    /// The same, with its steps written down.
    pub fn watched(timeout: Duration, steps: &Steps) -> Self {
        Self {
            steps: Some(Arc::clone(steps)),
            ..Self::after(timeout)
        }
    }

    /// Writes a step down, where somebody wants to see it.
    pub fn note(&self, what: impl FnOnce() -> String) {
        if let Some(steps) = &self.steps {
            let after = self.timeout.saturating_sub(self.left());
            let step = Step {
                after,
                what: what(),
            };
            steps
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(step);
        }
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// What the step gives, if it ends in time. `what` is what is waited for, such as "answer".
    ///
    /// # Errors
    /// [`Late`], which names it and the whole run's time.
    pub async fn limit<F: Future>(&self, what: &'static str, step: F) -> Result<F::Output, Late> {
        let timeout = self.timeout;
        timeout_at(self.at, step)
            .await
            .map_err(|_elapsed| Late { what, timeout })
    }
}
