//! Real servers that the operator has drained: how many connections they still have, and when that is over.
//!
//! Plain data and decisions; the time comes with each call.
//!
//! A connection is known once it has sent a packet since the drain began: before, nothing was remembered of it
//! (`ARCHITECTURE.md`, "A change's life"). So a real server is not drained before [`SILENCE`] has passed, however few
//! connections are known; one that is silent for longer keeps its place until the deadline, and is not counted.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long connections have to show themselves, if the operator does not say otherwise. A guess: what applications that
/// keep connections open send something in.
pub const SILENCE: Duration = Duration::from_secs(30);

/// All drains, by service and real server.
#[derive(Debug, Default)]
pub struct Drains(BTreeMap<(String, String), Drain>);

/// One drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    began: Instant,
    silence: Duration,
    /// Connections that are left, at the last count.
    connections: Option<u64>,
    end: Option<End>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No connection is left.
    Empty,
    /// Its deadline came first.
    Deadline {
        /// Connections that were cut.
        cut: u64,
    },
    /// The real server was found dead first.
    Dead {
        /// Connections that were lost.
        lost: u64,
    },
}

/// What was seen of a real server that is drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its connections at a count that began after the drain did; `None`: there was none yet.
    pub connections: Option<u64>,
    /// Whether its flows have been released.
    pub is_released: bool,
    /// Whether health says that it is dead.
    pub is_dead: bool,
}

impl Drains {
    /// A real server is to be drained from now on. A drain that goes on does so, with this silence.
    pub fn begin(&mut self, service: &str, real_server: &str, silence: Duration, now: Instant) {
        let key = (service.to_owned(), real_server.to_owned());
        let fresh = Drain {
            began: now,
            silence,
            connections: None,
            end: None,
        };
        let drain = self.0.entry(key).or_insert_with(|| fresh.clone());
        match drain.end {
            Some(_) => *drain = fresh,
            None => drain.silence = silence,
        }
    }

    /// It is not to be drained any more.
    pub fn forget(&mut self, service: &str, real_server: &str) {
        self.0.remove(&(service.to_owned(), real_server.to_owned()));
    }

    /// How a drain stands; `None`: there is none.
    pub fn get(&self, service: &str, real_server: &str) -> Option<&Drain> {
        self.0.get(&(service.to_owned(), real_server.to_owned()))
    }

    /// Whether any goes on.
    pub fn go_on(&self) -> bool {
        self.0.values().any(|drain| drain.end.is_none())
    }

    /// Looks at all that go on; `look` says what is seen of a real server that a service, both by name, drains, and since
    /// when it does. Returns those that end now.
    pub fn look(
        &mut self,
        now: Instant,
        look: impl Fn(&str, &str, Instant) -> Seen,
    ) -> Vec<(String, String, End)> {
        let mut ended = Vec::new();
        let going_on = self.0.iter_mut().filter(|(_, drain)| drain.end.is_none());
        for ((service, real_server), drain) in going_on {
            drain.see(look(service, real_server, drain.began), now);
            if let Some(end) = drain.end {
                ended.push((service.clone(), real_server.clone(), end));
            }
        }
        ended
    }
}

impl Drain {
    /// Connections that are left, at the last count.
    pub fn connections(&self) -> Option<u64> {
        self.connections
    }

    /// How it ended.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    fn see(&mut self, seen: Seen, now: Instant) {
        if seen.is_released {
            // What is counted after the release has gone elsewhere.
            let count = self.connections.unwrap_or(0);
            self.end = Some(match seen.is_dead {
                true => End::Dead { lost: count },
                false => End::Deadline { cut: count },
            });
            return;
        }
        if seen.connections.is_some() {
            self.connections = seen.connections;
        }
        let is_heard_out = now.saturating_duration_since(self.began) >= self.silence;
        if is_heard_out && self.connections == Some(0) {
            self.end = Some(End::Empty);
        }
    }
}

impl End {
    /// In words.
    pub fn in_words(self) -> String {
        match self {
            Self::Empty => "no connection is left".to_owned(),
            Self::Deadline { cut: 0 } => "its deadline came, and no connection was left".to_owned(),
            Self::Deadline { cut: 1 } => "its deadline came, 1 connection was cut".to_owned(),
            Self::Deadline { cut } => format!("its deadline came, {cut} connections were cut"),
            Self::Dead { lost } => format!("it was found dead, with {lost} connections left"),
        }
    }

    /// Connections that did not end in peace.
    pub fn cut(self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Deadline { cut } => cut,
            Self::Dead { lost } => lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(connections: Option<u64>) -> Seen {
        Seen {
            connections,
            is_released: false,
            is_dead: false,
        }
    }

    /// One drain with a silence of ten seconds, and how it ended after each sight, with the seconds since it began.
    fn ends(story: &[(u64, Seen)]) -> Vec<Option<End>> {
        let began = Instant::now();
        let mut drains = Drains::default();
        drains.begin("web", "192.0.2.1:80", Duration::from_secs(10), began);
        let look = |&(after, seen): &(u64, Seen)| {
            let now = began + Duration::from_secs(after);
            let ended = drains.look(now, |_, _, _| seen);
            ended.first().map(|&(_, _, end)| end)
        };
        story.iter().map(look).collect()
    }

    #[test]
    fn it_ends_when_no_connection_is_left_and_silent_ones_had_their_time() {
        let story = [
            (1, seen(None)),
            (2, seen(Some(0))),
            (9, seen(Some(0))),
            (10, seen(Some(1))),
            (11, seen(Some(0))),
            (12, seen(Some(0))),
        ];
        let empty = Some(End::Empty);
        assert_eq!(ends(&story), [None, None, None, None, empty, None]);
        assert_eq!(ends(&[(60, seen(None))]), [None], "nothing was counted");
    }

    #[test]
    fn at_its_deadline_it_says_how_many_were_left_before() {
        let released = Seen {
            is_released: true,
            ..seen(Some(3))
        };
        let found = ends(&[(1, seen(Some(7))), (2, seen(None)), (3, released)]);
        assert_eq!(found[2], Some(End::Deadline { cut: 7 }));
        let words = End::Deadline { cut: 7 }.in_words();
        assert_eq!(words, "its deadline came, 7 connections were cut");
        let dead = Seen {
            is_dead: true,
            ..released
        };
        assert_eq!(
            ends(&[(1, seen(Some(2))), (2, dead)])[1],
            Some(End::Dead { lost: 2 })
        );
    }

    #[test]
    fn one_that_was_drained_may_be_drained_again() {
        let began = Instant::now();
        let mut drains = Drains::default();
        for round in 0..2 {
            drains.begin("web", "192.0.2.1:80", Duration::ZERO, began);
            assert!(drains.go_on());
            let ended = drains.look(began, |_, _, _| seen(Some(0)));
            assert_eq!(ended.len(), 1, "round {round}");
        }
    }

    #[test]
    fn what_is_forgotten_is_not_looked_at() {
        let now = Instant::now();
        let mut drains = Drains::default();
        drains.begin("web", "192.0.2.1:80", SILENCE, now);
        assert!(drains.go_on());
        drains.forget("web", "192.0.2.1:80");
        assert!(!drains.go_on());
        assert_eq!(drains.get("web", "192.0.2.1:80"), None);
    }
}
