//! The text of a mail.

use std::fmt::Write as _;

use super::Event;

/// What one mail tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// In the order of what happened.
    pub events: Vec<Event>,
    /// As many had happened before, and are not told.
    pub omitted: u64,
}

impl Letter {
    /// How much it tells.
    pub fn count(&self) -> u64 {
        self.omitted + self.events.len() as u64
    }

    /// Its subject line.
    pub fn subject(&self, router_id: &str) -> String {
        let last = self.events.last().map_or("", |event| event.what.as_str());
        match self.count() {
            0 | 1 => format!("[{router_id}] {last}"),
            count => format!("[{router_id}] {count} changes, the last: {last}"),
        }
    }

    /// Its body.
    pub fn body(&self, router_id: &str) -> String {
        let mut text = String::new();
        if self.omitted > 0 {
            let count = self.omitted;
            // Writing to a string does not fail, here and below.
            let _ = writeln!(
                text,
                "{count} earlier changes are not listed: see the log\n"
            );
        }
        for event in &self.events {
            let at = humantime::format_rfc3339_seconds(event.at);
            let _ = writeln!(text, "{at}  {}", event.what);
            if !event.reason.is_empty() {
                let _ = writeln!(text, "    {}", event.reason);
            }
        }
        let _ = write!(text, "\nlb-agent on {router_id}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::config::MailEvent;

    fn event(at: u64, what: &str, reason: &str) -> Event {
        Event {
            about: MailEvent::Service,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
            what: what.to_owned(),
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn one_change_is_its_own_subject() {
        let letter = Letter {
            events: vec![event(0, "service web is down", "weight 0 of 2 lives")],
            omitted: 0,
        };
        assert_eq!(letter.subject("edge-1"), "[edge-1] service web is down");
        assert_eq!(
            letter.body("edge-1"),
            "1970-01-01T00:00:00Z  service web is down\n    weight 0 of 2 lives\n\nlb-agent on edge-1\n"
        );
    }

    #[test]
    fn many_changes_are_counted_and_listed() {
        let letter = Letter {
            events: vec![event(1, "a", ""), event(2, "b", "why")],
            omitted: 3,
        };
        assert_eq!(letter.subject("edge-1"), "[edge-1] 5 changes, the last: b");
        assert_eq!(
            letter.body("edge-1"),
            "3 earlier changes are not listed: see the log\n\n\
             1970-01-01T00:00:01Z  a\n1970-01-01T00:00:02Z  b\n    why\n\nlb-agent on edge-1\n"
        );
    }
}
