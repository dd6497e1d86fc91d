//! What a master remembers and does.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::backup::{Backup, beats};
use super::{Action, Advert, Burst, Cause, Count, Machine, Notice, Parameters, Role};
use crate::vrrp::packet::Version;
use crate::vrrp::timers::{self, next_turn};

/// A master's schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Master {
    /// When the last advert was sent.
    sent: Instant,
    /// When the next one is due.
    next_advert: Instant,
    /// When a weaker master was last answered out of turn.
    answered: Option<Instant>,
    /// When a first burst of announcements was last sent.
    announced: Instant,
    /// What is announced next, and when.
    announce: Option<(Instant, Burst)>,
    /// Time was lost: say nothing before.
    listening: Option<Listening>,
}

/// A master that lost time and listens for another that may have taken over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listening {
    /// When it speaks again if nobody else does.
    pub until: Instant,
    /// How long it had said nothing; `None`: nobody knows.
    pub slept: Option<Duration>,
}

impl Master {
    /// One that sends its first advert and announces the addresses now.
    pub(super) fn new(parameters: &Parameters, now: Instant) -> Self {
        let mut master = Self {
            sent: now,
            next_advert: now + parameters.advert_interval,
            answered: None,
            announced: now,
            announce: None,
            listening: None,
        };
        master.announced(parameters, now);
        master
    }

    /// One whose addresses are here already: it listens before it says anything.
    pub(super) fn adopting(parameters: &Parameters, now: Instant) -> Self {
        let until = now + timers::listening(parameters.advert_interval);
        Self {
            announce: None,
            listening: Some(Listening { until, slept: None }),
            ..Self::new(parameters, now)
        }
    }

    /// An advert is sent now, in turn if one is due.
    pub(super) fn advertised_in_turn(&mut self, parameters: &Parameters, now: Instant) {
        self.next_advert = next_turn(self.next_advert, parameters.advert_interval, now);
        self.sent = now;
    }

    /// An advert is sent now and the next one a whole interval later.
    pub(super) fn advertised(&mut self, parameters: &Parameters, now: Instant) {
        self.next_advert = now + parameters.advert_interval;
        self.sent = now;
        self.listening = None;
    }

    /// Whether to answer a weaker master now: once in an interval, so that a flood of its adverts does not become one of
    /// ours. Whoever missed the answer hears the next advert in turn.
    pub(super) fn answers(&mut self, parameters: &Parameters, now: Instant) -> bool {
        let again = |last: Instant| now.duration_since(last) >= parameters.advert_interval;
        let answers = self.answered.is_none_or(again);
        if answers {
            self.answered = Some(now);
            self.sent = now;
        }
        answers
    }

    /// Whether to announce the addresses now because another master was heard: once in an interval. What that other
    /// master announced may have come after our last announcement, so if that was a short while ago, there will be one more.
    pub(super) fn announces(&mut self, parameters: &Parameters, now: Instant) -> bool {
        let again = self.announced + parameters.advert_interval;
        if again <= now {
            self.announced(parameters, now);
            return true;
        }
        self.announce = match self.announce {
            Some((at, Burst::Second)) => Some((at, Burst::Second)),
            Some((_, Burst::First | Burst::Refresh)) | None => Some((again, Burst::Second)),
        };
        false
    }

    /// The first burst of announcements goes out now.
    pub(super) fn announced(&mut self, parameters: &Parameters, now: Instant) {
        self.announced = now;
        self.announce = match parameters.announce_delay {
            Duration::ZERO => refresh(parameters, now),
            delay => Some((now + delay, Burst::Second)),
        };
    }

    /// What is to be announced now.
    pub(super) fn announce_due(&mut self, parameters: &Parameters, now: Instant) -> Option<Burst> {
        let (_, burst) = self.announce.filter(|(at, _)| *at <= now)?;
        self.announce = refresh(parameters, now);
        Some(burst)
    }

    /// New times of announcement. A second burst that is under way stays.
    pub(super) fn reschedule(&mut self, parameters: &Parameters, now: Instant) {
        if self
            .announce
            .is_none_or(|(_, burst)| burst == Burst::Refresh)
        {
            self.announce = refresh(parameters, now);
        }
    }

    pub(super) fn advert_due(&self, now: Instant) -> bool {
        self.next_advert <= now
    }

    pub(super) fn listening(&self) -> Option<Listening> {
        self.listening
    }

    /// Begins to listen if it has said nothing for so long that another may have taken over.
    pub(super) fn notice_lost_time(
        &mut self,
        parameters: &Parameters,
        now: Instant,
    ) -> Option<(Duration, Duration)> {
        let slept = now.duration_since(self.sent);
        // Others are as patient as we would be in their place, or more: their priorities are below ours.
        if self.listening.is_some() || slept <= parameters.master_down(parameters.advert_interval) {
            return None;
        }
        let listens = timers::listening(parameters.advert_interval);
        let until = now + listens;
        let slept_for = Some(slept);
        self.listening = Some(Listening {
            until,
            slept: slept_for,
        });
        Some((slept, listens))
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Instant {
        match (self.listening, self.announce) {
            (Some(listening), _) => listening.until,
            (None, Some((at, _))) => self.next_advert.min(at),
            (None, None) => self.next_advert,
        }
    }
}

/// What a master does.
impl Machine {
    /// RFC 9568 §6.4.3.
    pub(super) fn master_hears(
        &mut self,
        mut master: Master,
        advert: &Advert,
        actions: &mut Vec<Action>,
    ) {
        let own = self.parameters.priority.get();
        self.heard(advert);
        if advert.priority == 0 {
            self.count(Count::ResignationHeard);
            if master.listening().is_none() {
                // Whoever heard it too waits for no more than its skew.
                master.advertised(&self.parameters, self.now);
                let announces = master.announces(&self.parameters, self.now);
                self.role = Role::Master(master);
                self.send(own, actions);
                if announces {
                    // It was master beside us: switches have learned that the addresses are there.
                    actions.push(Action::Announce(Burst::First));
                }
            }
            return;
        }
        let follow = |machine: &mut Self, cause, actions: &mut Vec<Action>| {
            let mut backup = Backup::new(machine.now);
            backup.follow(advert.interval, machine.now);
            machine.count(Count::AdvertFollowed);
            machine.enter(Role::Backup(backup), cause, actions);
        };
        if let Some(listening) = master.listening() {
            let slept = listening.slept;
            let cause = Cause::Overslept {
                master: advert.source,
                slept,
            };
            match beats(
                (advert.priority, advert.source),
                (own, self.parameters.source),
            ) {
                true => self.send(own, actions),
                // An advert of ours would have it yield.
                false => self.send(0, actions),
            }
            return follow(self, cause, actions);
        }
        if self.parameters.is_owner() && advert.priority == own {
            self.report_other_owner(advert.source, actions);
            if self.parameters.version == Version::V2 {
                // RFC 3768 §7.1: an owner discards it. RFC 9568 erratum 8298 lets the addresses decide.
                return self.count(Count::OtherOwnerDiscarded);
            }
        }
        let theirs = (advert.priority, advert.source);
        if beats(theirs, (own, self.parameters.source)) {
            let cause = match advert.priority {
                priority if priority == own => Cause::HigherAddress {
                    master: advert.source,
                    priority,
                },
                priority => Cause::Higher {
                    master: advert.source,
                    priority,
                    own,
                },
            };
            // One last advert: the other may not have heard us yet, and must know that we were master too, to announce the
            // addresses anew. keepalived has it as vrrp_higher_prio_send_advert.
            self.send(own, actions);
            return follow(self, cause, actions);
        }
        // RFC 9568 §6.4.3: at once, so that the other yields and switches learn anew where the addresses are. RFC 3768 only
        // discards; keepalived answers in both versions.
        if master.answers(&self.parameters, self.now) {
            self.count(Count::WeakerAnswered);
            self.send(own, actions);
        } else {
            self.count(Count::WeakerDiscarded);
        }
        if master.announces(&self.parameters, self.now) {
            actions.push(Action::Announce(Burst::First));
        }
        self.role = Role::Master(master);
    }

    pub(super) fn master_turn(&mut self, mut master: Master, actions: &mut Vec<Action>) {
        if let Some(listening) = master.listening() {
            if listening.until <= self.now {
                self.reassert(master, actions);
            }
            return;
        }
        if master.advert_due(self.now) {
            master.advertised_in_turn(&self.parameters, self.now);
            self.send(self.parameters.priority.get(), actions);
        }
        if let Some(burst) = master.announce_due(&self.parameters, self.now) {
            actions.push(Action::Announce(burst));
        }
        self.role = Role::Master(master);
    }

    /// Speaks again after it has listened and heard nobody.
    pub(super) fn reassert(&mut self, mut master: Master, actions: &mut Vec<Action>) {
        master.advertised(&self.parameters, self.now);
        master.announced(&self.parameters, self.now);
        self.role = Role::Master(master);
        self.send(self.parameters.priority.get(), actions);
        actions.push(Action::Announce(Burst::First));
    }

    /// New parameters. What backups go by, they are told at once: a new priority starts the election anew, and a longer
    /// interval must be known before it is waited for.
    pub(super) fn master_reloads(
        &mut self,
        mut master: Master,
        parameters: Parameters,
        actions: &mut Vec<Action>,
    ) {
        let old = std::mem::replace(&mut self.parameters, parameters);
        let new = &self.parameters;
        let tell = (old.priority, old.advert_interval, old.source)
            != (new.priority, new.advert_interval, new.source);
        if (old.announce_delay, old.announce_refresh) != (new.announce_delay, new.announce_refresh)
        {
            master.reschedule(new, self.now);
        }
        if tell && master.listening().is_none() {
            master.advertised(new, self.now);
            self.send(self.parameters.priority.get(), actions);
        }
        self.role = Role::Master(master);
    }

    /// Another list of addresses.
    pub(super) fn master_readdresses(&mut self, mut master: Master, actions: &mut Vec<Action>) {
        if master.listening().is_some() {
            return actions.push(Action::AddAddresses);
        }
        master.advertised(&self.parameters, self.now);
        master.announced(&self.parameters, self.now);
        self.role = Role::Master(master);
        self.send(self.parameters.priority.get(), actions);
        actions.extend([Action::AddAddresses, Action::Announce(Burst::First)]);
    }

    /// Tells the others to take over. One that lost time says nothing: another may be master already.
    pub(super) fn resign(&mut self, master: &Master, actions: &mut Vec<Action>) {
        if master.listening().is_none() {
            self.send(0, actions);
        }
    }

    pub(super) fn notice_lost_time(&mut self, actions: &mut Vec<Action>) {
        let Role::Master(master) = &mut self.role else {
            return;
        };
        if let Some((lost, listens)) = master.notice_lost_time(&self.parameters, self.now) {
            self.count(Count::TimeLost);
            actions.push(Action::Report(Notice::LostTime { lost, listens }));
        }
    }

    pub(super) fn report_other_owner(&mut self, other: IpAddr, actions: &mut Vec<Action>) {
        if self.other_owner.replace(other) != Some(other) {
            actions.push(Action::Report(Notice::TwoOwners { other }));
        }
    }
}

fn refresh(parameters: &Parameters, now: Instant) -> Option<(Instant, Burst)> {
    let period = parameters.announce_refresh;
    (!period.is_zero()).then_some((now + period, Burst::Refresh))
}
