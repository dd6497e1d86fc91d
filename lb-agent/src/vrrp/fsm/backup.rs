//! What a backup remembers and does.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{
    Action, Advert, Cause, Count, Machine, Notice, Parameters, Preempt, Promotion, Refusal, Role,
};
use crate::vrrp::packet::Version;
use crate::vrrp::timers;

/// A backup's patience. Deadlines are worked out from these when asked for, so that a change of parameters holds at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backup {
    /// The last advert that was followed, or when the router became a backup.
    since: Instant,
    /// The interval of the advert followed; `None`: none was yet.
    learned: Option<Duration>,
    /// When the master resigned.
    resigned: Option<Instant>,
    /// When it would take over from the weaker master it follows while it delays its preemption.
    would_preempt: Option<Instant>,
    /// Time was lost: do not take over before.
    listen_until: Option<Instant>,
    /// It owns the addresses and waits for nobody but those it moves together with.
    owner: bool,
    /// It would take over, and waits for those it moves together with.
    ready: bool,
}

/// Why a backup's time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// No advert for so long.
    Silence(Duration),
    /// The master resigned.
    Resigned,
    /// The delay before preempting is over.
    Preempt,
    /// It owns the addresses.
    Owner,
}

/// What to do about a master of lower priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weaker {
    /// Take no notice, and so take over.
    Discard,
    /// Follow it for good, or for now.
    Follow,
}

impl Backup {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            learned: None,
            resigned: None,
            would_preempt: None,
            listen_until: None,
            owner: false,
            ready: false,
        }
    }

    /// One that waits for nobody but those it moves together with.
    pub(super) fn owner(now: Instant) -> Self {
        Self {
            owner: true,
            ..Self::new(now)
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// What it goes by has changed: whether it would take over is to be found out again.
    pub(super) fn reconsider(&mut self) {
        self.ready = false;
    }

    /// A stronger advert, or one of the same strength, is followed.
    pub(super) fn follow(&mut self, interval: Duration, now: Instant) {
        *self = Self {
            learned: Some(interval),
            ..Self::new(now)
        };
    }

    /// A weaker advert is followed or not, as `preempt` has it.
    pub(super) fn weaker(
        &mut self,
        parameters: &Parameters,
        preempt: Preempt,
        interval: Duration,
        now: Instant,
    ) -> Weaker {
        let would_preempt = match preempt {
            Preempt::Never => None,
            Preempt::After(Duration::ZERO) => return Weaker::Discard,
            Preempt::After(_) => {
                let at = self.would_preempt;
                Some(at.unwrap_or_else(|| self.deadline(parameters).0))
            }
        };
        // Who has listened once since it last gave way need not do so at every advert of a weaker master.
        let listen_until = self.listen_until;
        self.follow(interval, now);
        (self.would_preempt, self.listen_until) = (would_preempt, listen_until);
        Weaker::Follow
    }

    /// The master resigned. If it says so twice, the first counts.
    pub(super) fn resigned(&mut self, now: Instant) {
        self.resigned.get_or_insert(now);
    }

    /// Take no notice of a silence that may be this router's own before `until`. `false`: it has done so before, since it
    /// last followed an advert.
    pub(super) fn listen(&mut self, until: Instant) -> bool {
        let first = self.listen_until.is_none();
        self.listen_until.get_or_insert(until);
        first
    }

    /// The interval of the master.
    pub(super) fn interval(&self, parameters: &Parameters) -> Duration {
        match parameters.version {
            // RFC 3768 §7.1: it must be the same everywhere.
            Version::V2 => parameters.advert_interval,
            Version::V3 => self.learned.unwrap_or(parameters.advert_interval),
        }
    }

    /// When to take over, and why.
    pub(super) fn deadline(&self, parameters: &Parameters) -> (Instant, Due) {
        let interval = self.interval(parameters);
        let patience = parameters.master_down(interval);
        let silence = (self.since + patience, Due::Silence(patience));
        let skew = parameters.skew(interval);
        let resigned = self.resigned.map(|at| (at + skew, Due::Resigned));
        let preempt = match (self.would_preempt, parameters.preempt) {
            (Some(at), Preempt::After(delay)) => Some((at + delay, Due::Preempt)),
            (Some(_), Preempt::Never) | (None, Preempt::Never | Preempt::After(_)) => None,
        };
        let owner = self.owner.then_some((self.since, Due::Owner));
        let all = [Some(silence), resigned, preempt, owner];
        let all = all.into_iter().flatten();
        let (at, due) = all.min_by_key(|(at, _)| *at).unwrap_or(silence);
        (self.listen_until.map_or(at, |until| at.max(until)), due)
    }
}

/// What a backup does.
impl Machine {
    /// RFC 9568 §6.4.2.
    pub(super) fn backup_hears(&mut self, mut backup: Backup, advert: &Advert) {
        let own = self.parameters.priority.get();
        self.heard(advert);
        match advert.priority {
            0 => {
                self.count(Count::ResignationHeard);
                backup.resigned(self.now);
            }
            priority if priority >= own => {
                self.count(Count::AdvertFollowed);
                backup.follow(advert.interval, self.now);
            }
            _ => {
                let preempt = self.preempt();
                match backup.weaker(&self.parameters, preempt, advert.interval, self.now) {
                    Weaker::Follow => self.count(Count::AdvertFollowed),
                    Weaker::Discard => self.count(Count::WeakerDiscarded),
                }
            }
        }
        self.role = Role::Backup(backup);
    }

    /// RFC 9568 §6.4.2: the timer of the silent master.
    pub(super) fn backup_waited(&mut self, mut backup: Backup, actions: &mut Vec<Action>) {
        let (at, _) = backup.deadline(&self.parameters);
        if at > self.now || backup.ready {
            return;
        }
        let interval = backup.interval(&self.parameters);
        let lost = self.now.duration_since(at);
        let listens = timers::listening(interval);
        if lost >= interval && backup.listen(self.now + listens) {
            self.count(Count::TimeLost);
            self.role = Role::Backup(backup);
            actions.push(Action::Report(Notice::LostTime { lost, listens }));
            return;
        }
        match self.parameters.promotion {
            Promotion::AtOnce => self.take_over(backup, actions),
            Promotion::Together => {
                backup.ready = true;
                self.role = Role::Backup(backup);
            }
        }
    }

    /// The time has come.
    pub(super) fn take_over(&mut self, backup: Backup, actions: &mut Vec<Action>) {
        let (at, due) = backup.deadline(&self.parameters);
        let lost = self.now.saturating_duration_since(at);
        let master = self.peer.map(|peer| peer.address);
        let own = self.parameters.priority.get();
        let weaker = self.peer().filter(|peer| {
            peer.priority < own && self.now.duration_since(peer.heard) < self.patience()
        });
        let cause = match (due, weaker) {
            (Due::Owner, _) => Cause::AddressOwner,
            (Due::Resigned, _) => Cause::Resigned { master },
            (Due::Silence(_) | Due::Preempt, Some(peer)) => Cause::Preempted {
                master: peer.address,
                priority: peer.priority,
                own,
            },
            (Due::Silence(waited), None) => Cause::Silence {
                master,
                waited: waited + lost,
            },
            (Due::Preempt, None) => Cause::Silence {
                master,
                waited: self.patience(),
            },
        };
        self.promote(cause, actions);
    }

    /// Whether the addresses would be taken back at once if the operator claimed them.
    pub(super) fn stronger_master(&self) -> Option<Refusal> {
        let own = self.parameters.priority.get();
        let ours = (own, self.parameters.source);
        let stronger = self
            .peer
            .filter(|peer| beats((peer.priority, peer.address), ours))?;
        Some(Refusal::MasterIsStronger {
            master: stronger.address,
            priority: stronger.priority,
            own,
        })
    }
}

/// Whether `ours` or `theirs` is the stronger, each being a priority and the address adverts come from.
///
/// RFC 9568 §6.4.3: of equal priorities, the greater address wins, as an unsigned number in network order. Of the same
/// family, that is how addresses compare.
pub(super) fn beats(theirs: (u8, IpAddr), ours: (u8, IpAddr)) -> bool {
    theirs > ours
}
