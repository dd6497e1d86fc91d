//! What is to be told, and when the next mail goes.
//!
//! Plain data and decisions; the time comes with each call. The first event waits [`Pace::gather`] for others; a mail
//! goes [`Pace::gap`] after the last one at the soonest; one that could not be sent goes again after a while that doubles
//! each time, with all that has happened since.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Event;
use super::letter::Letter;

/// As many events are kept: enough for each of a thousand real servers. Of more, the oldest are counted alone.
const KEPT: usize = 1000;

/// How soon mails follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From the first event to the mail.
    pub gather: Duration,
    /// From the end of one mail to the next.
    pub gap: Duration,
    /// From the first failure to the next attempt.
    pub retry: Duration,
    /// The longest that grows to.
    pub longest_retry: Duration,
}

impl Default for Pace {
    /// Soon enough for who is to act, and no more mails than one reads.
    fn default() -> Self {
        Self {
            gather: Duration::from_secs(2),
            gap: Duration::from_secs(30),
            retry: Duration::from_secs(5),
            longest_retry: Duration::from_secs(300),
        }
    }
}

/// Events that wait.
#[derive(Debug)]
pub struct Post {
    pace: Pace,
    waiting: VecDeque<Event>,
    /// Events that were more than are kept.
    omitted: u64,
    /// Of these, as many are in the mail that is being sent.
    sending: usize,
    sending_omitted: u64,
    /// When the next mail may go.
    not_before: Option<Instant>,
    /// Attempts that failed in a row.
    failures: u32,
}

impl Post {
    /// Nothing waits.
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            waiting: VecDeque::new(),
            omitted: 0,
            sending: 0,
            sending_omitted: 0,
            not_before: None,
            failures: 0,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Something has happened.
    pub fn add(&mut self, event: Event, now: Instant) {
        if self.waiting.is_empty() {
            let gathered = now + self.pace.gather;
            self.not_before = Some(
                self.not_before
                    .map_or(gathered, |before| before.max(gathered)),
            );
        }
        if self.waiting.len() == KEPT {
            self.waiting.pop_front();
            self.omitted += 1;
            if self.sending > 0 {
                // It is told by the mail on its way, if that arrives.
                self.sending -= 1;
                self.sending_omitted += 1;
            }
        }
        self.waiting.push_back(event);
    }

    /// When the next mail goes; `None`: there is nothing to tell.
    pub fn due(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.is_empty())
    }

    /// The mail with all that waits, which is kept until [`on_end`](Self::on_end).
    pub fn take(&mut self) -> Letter {
        self.sending = self.waiting.len();
        self.sending_omitted = self.omitted;
        Letter {
            events: self.waiting.iter().cloned().collect(),
            omitted: self.omitted,
        }
    }

    /// The mail was sent, or is given up.
    pub fn on_end(&mut self, now: Instant) {
        self.waiting.drain(..self.sending);
        self.omitted -= self.sending_omitted;
        (self.sending, self.sending_omitted) = (0, 0);
        self.failures = 0;
        self.not_before = Some(now + self.pace.gap);
    }

    /// It was not, and is tried again; returns after how long.
    pub fn on_delay(&mut self, now: Instant) -> Duration {
        (self.sending, self.sending_omitted) = (0, 0);
        let doubled = 2_u32.saturating_pow(self.failures);
        let again = self.pace.retry.saturating_mul(doubled);
        let again = again.min(self.pace.longest_retry);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + again);
        again
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::config::MailEvent;

    fn event(number: usize) -> Event {
        Event {
            about: MailEvent::Service,
            at: SystemTime::UNIX_EPOCH,
            what: number.to_string(),
            reason: String::new(),
        }
    }

    fn told(letter: &Letter) -> Vec<&str> {
        letter
            .events
            .iter()
            .map(|event| event.what.as_str())
            .collect()
    }

    /// A post with a clock of seconds.
    struct Story {
        post: Post,
        began: Instant,
    }

    impl Story {
        fn new() -> Self {
            Self {
                post: Post::new(Pace::default()),
                began: Instant::now(),
            }
        }

        fn at(&self, secs: u64) -> Instant {
            self.began + Duration::from_secs(secs)
        }

        fn add(&mut self, number: usize, secs: u64) {
            let at = self.at(secs);
            self.post.add(event(number), at);
        }

        /// Seconds until the next mail.
        fn due(&self) -> Option<u64> {
            let due = self.post.due()?;
            Some((due - self.began).as_secs())
        }
    }

    #[test]
    fn a_storm_becomes_one_mail_and_the_next_one_waits_for_the_gap() {
        let mut story = Story::new();
        assert_eq!(story.due(), None);
        for number in 0..50 {
            story.add(number, 10);
        }
        story.add(50, 11);
        assert_eq!(story.due(), Some(12));
        let letter = story.post.take();
        assert_eq!(letter.events.len(), 51);
        story.add(51, 12);
        let at = story.at(13);
        story.post.on_end(at);
        assert_eq!(story.due(), Some(43));
        assert_eq!(told(&story.post.take()), ["51"]);
        let at = story.at(43);
        story.post.on_end(at);
        assert_eq!(story.due(), None);
        story.add(52, 50);
        assert_eq!(story.due(), Some(73), "not before the gap is over");
        let mut story = Story::new();
        story.add(0, 0);
        story.post.take();
        let at = story.at(2);
        story.post.on_end(at);
        story.add(1, 1_000);
        assert_eq!(story.due(), Some(1_002), "the gap is long over");
    }

    #[test]
    fn what_could_not_be_sent_goes_again_later_and_later_with_what_came_since() {
        let mut story = Story::new();
        story.add(0, 0);
        let mut at = 2;
        let mut waits = Vec::new();
        for number in 1..10 {
            let letter = story.post.take();
            assert_eq!(letter.events.len(), number);
            let now = story.at(at);
            waits.push(story.post.on_delay(now).as_secs());
            story.add(number, at);
            assert_eq!(story.due(), Some(at + waits[number - 1]));
            at += waits[number - 1];
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        story.post.take();
        let now = story.at(at);
        story.post.on_end(now);
        assert!(story.post.is_empty());
    }

    #[test]
    fn more_than_is_kept_is_counted() {
        let mut story = Story::new();
        for number in 0..KEPT + 7 {
            story.add(number, 0);
        }
        let letter = story.post.take();
        assert_eq!((letter.events.len(), letter.omitted), (KEPT, 7));
        assert_eq!(told(&letter)[0], "7");
        // Two more push two out that are being sent.
        story.add(KEPT + 7, 1);
        story.add(KEPT + 8, 1);
        let now = story.at(2);
        story.post.on_end(now);
        let letter = story.post.take();
        assert_eq!(told(&letter), ["1007", "1008"]);
        assert_eq!(letter.omitted, 0, "they were told");
    }
}
