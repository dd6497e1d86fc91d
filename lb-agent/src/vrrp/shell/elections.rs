//! All elections of a host, at work: what their sockets and deadlines bring goes in, and what comes out is carried out.

mod reload;

use super::{
    BATCH, COMPLAINT_GAP, Command, InstanceReport, Order, Services, VrrpError, Watches,
    clock::Clock,
    fence::FenceSink,
    host::Job,
    news::{self, News, NewsSink, Whose},
    plan::{Instance, Plan},
    socket::AdvertSocket,
    virtual_mac::VirtualMac,
};
use crate::{
    network::Links,
    vrrp::{
        counters::{Counters, Reason},
        fsm::{Action, Machine, Notice, Ownership, State},
        node::{Node, Step},
        packet::{EmitError, Family, Repr},
        receive::{Accepted, Datagram, Refused, Rejection},
        tracking::{Condition, Source},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::poll_fn,
    io,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// What the elections' thread has.
#[derive(Debug)]
pub(super) struct Elections {
    clock: Clock,
    node: Node,
    members: Vec<Member>,
    sockets: Vec<AdvertSocket>,
    /// Where in that list the socket of an interface and family is.
    places: Places,
    links: watch::Receiver<Arc<Links>>,
    services: watch::Receiver<Arc<Services>>,
    /// Interfaces that something depends on.
    tracked: BTreeSet<String>,
    jobs: mpsc::Sender<Job>,
    fence: FenceSink,
    news: NewsSink,
    groups: Vec<Group>,
}

/// A sync group, as it was when it was last told of.
#[derive(Debug)]
struct Group {
    name: String,
    members: Vec<usize>,
    state: State,
}

#[derive(Debug)]
struct Member {
    instance: Instance,
    /// Its place in the list of sockets.
    socket: usize,
    /// What it sends by, where it has a MAC address of its own.
    sender: Option<AdvertSocket>,
    refused: Counters<Refused>,
    /// When something was last complained of.
    complaints: BTreeMap<&'static str, Instant>,
    /// Whether the last advert could be sent.
    sends: bool,
    /// The last change of its state, as it was logged: the state before, and why.
    changed: (State, String),
}

impl Elections {
    pub(super) fn open(
        plan: Plan,
        watches: Watches,
        jobs: mpsc::Sender<Job>,
        fence: FenceSink,
        news: NewsSink,
    ) -> Result<Self, VrrpError> {
        let clock = Clock::start();
        let mut sockets = Vec::new();
        let mut places = Places::new();
        let mut members = Vec::new();
        for instance in plan.instances {
            let socket = socket_for(&instance, &mut places, 0, &mut sockets)?;
            let sender = sender(&instance)?;
            members.push(Member {
                instance,
                socket,
                sender,
                refused: Counters::new(),
                complaints: BTreeMap::new(),
                sends: true,
                changed: (State::Init, String::new()),
            });
        }
        let of_groups = plan.groups.iter().flat_map(|group| &group.tracked);
        let all = plan
            .setups
            .iter()
            .flat_map(|setup| &setup.tracked)
            .chain(of_groups);
        let groups = plan.groups.iter().map(|group| Group {
            name: group.name.clone(),
            members: group.members.clone(),
            state: State::Init,
        });
        let groups = groups.collect();
        Ok(Self {
            tracked: all
                .filter_map(|tracked| interface_of(&tracked.source))
                .collect(),
            node: Node::new(plan.setups, plan.groups, clock.now()),
            clock,
            members,
            sockets,
            places,
            links: watches.links,
            services: watches.services,
            jobs,
            fence,
            news,
            groups,
        })
    }

    pub(super) async fn start(&mut self, left_behind: &BTreeSet<usize>) {
        self.look_at_interfaces().await;
        self.look_at_services().await;
        let steps = self.node.start(left_behind, self.clock.now());
        self.carry_out(steps).await;
        for place in left_behind {
            let state = self.node.machine(*place).map(Machine::state);
            if state != Some(State::Master) {
                self.give(Job::Unset(*place)).await;
                self.give(Job::Own(*place, Ownership::NotOurs)).await;
            }
        }
    }

    /// Works until told to stop, or until nobody can tell any more.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let (mut watching, mut heeding) = (true, true);
        let mut more = false;
        loop {
            if more {
                // A flood: others of this thread get their turn, and the deadlines below.
                tokio::task::yield_now().await;
                more = self.hear().await;
                let steps = self.node.on_timer(self.clock.now());
                self.carry_out(steps).await;
                continue;
            }
            let wait = self
                .node
                .next_deadline()
                .map(|deadline| self.clock.until(deadline));
            tokio::select! {
                biased;
                () = readable(&self.sockets) => {}
                () = sleep_or_never(wait) => {}
                changed = self.links.changed(), if watching => match changed {
                    Ok(()) => self.look_at_interfaces().await,
                    Err(_) => watching = false,
                },
                changed = self.services.changed(), if heeding => match changed {
                    Ok(()) => self.look_at_services().await,
                    Err(_) => heeding = false,
                },
                command = inbox.recv() => match command {
                    Some(Command::Condition(source, condition)) => {
                        let steps = self.node.on_condition(source, condition, self.clock.now());
                        self.carry_out(steps).await;
                    }
                    Some(Command::Reload(plan, news, answer)) => {
                        let done = self.reload(*plan, news).await;
                        drop(answer.send(done));
                    }
                    Some(Command::Report(answer)) => drop(answer.send(self.report())),
                    Some(Command::Order(order, name, answer)) => {
                        let done = self.obey(order, &name).await;
                        drop(answer.send(done));
                    }
                    Some(Command::Stop(done)) => return self.stop(Some(done)).await,
                    None => return self.stop(None).await,
                },
            }
            more = self.hear().await;
            let steps = self.node.on_timer(self.clock.now());
            self.carry_out(steps).await;
        }
    }

    async fn obey(&mut self, order: Order, name: &str) -> Result<String, String> {
        let mut names = self
            .members
            .iter()
            .map(|member| member.instance.name.as_str());
        let Some(place) = names.position(|other| other == name) else {
            let all: Vec<&str> = self.node.machines().map(|(name, _)| name).collect();
            return Err(format!(
                "there is no instance {name}: there are {}",
                all.join(", ")
            ));
        };
        let now = self.clock.now();
        let steps = match order {
            Order::Release => self.node.release(place, now),
            Order::Claim => self.node.claim(place, now),
        };
        let refusal = steps.iter().find_map(|step| match &step.action {
            Action::Report(Notice::Refused(refusal)) => Some(refusal.to_string()),
            _ => None,
        });
        self.carry_out(steps).await;
        match (refusal, self.node.machine(place)) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(machine)) => Ok(format!("{name} is {}", machine.state().name())),
            (None, None) => Ok(name.to_owned()),
        }
    }

    async fn stop(mut self, done: Option<oneshot::Sender<()>>) {
        let steps = self.node.stop(self.clock.now());
        self.carry_out(steps).await;
        if let Some(done) = done {
            self.give(Job::Flush(done)).await;
        }
    }

    async fn look_at_interfaces(&mut self) {
        let links = Arc::clone(&self.links.borrow_and_update());
        for name in self.tracked.clone() {
            let condition = condition(&links, &name);
            let source = Source::Interface(name);
            let steps = self.node.on_condition(source, condition, self.clock.now());
            self.carry_out(steps).await;
        }
    }

    /// How an interface is, as far as it is known.
    fn link(&self, name: &str) -> Condition {
        condition(&self.links.borrow(), name)
    }

    async fn look_at_services(&mut self) {
        let services = Arc::clone(&self.services.borrow_and_update());
        for (name, &has_enough) in services.iter() {
            let condition = match has_enough {
                true => Condition::Up,
                false => Condition::Down,
            };
            let source = Source::Service(name.clone());
            let steps = self.node.on_condition(source, condition, self.clock.now());
            self.carry_out(steps).await;
        }
    }

    /// Reads what waits; `true`: there may be more.
    async fn hear(&mut self) -> bool {
        let mut more = false;
        for place in 0..self.sockets.len() {
            let mut left = BATCH;
            while let Some(steps) = self.hear_one(place) {
                self.carry_out(steps).await;
                left -= 1;
                if left == 0 {
                    more = true;
                    break;
                }
            }
        }
        more
    }

    /// Reads one datagram of a socket. `None`: none waits.
    fn hear_one(&mut self, place: usize) -> Option<Vec<Step>> {
        let socket = self.sockets.get_mut(place)?;
        let received = match socket.receive() {
            Ok(received) => received?,
            Err(error) => {
                // Such as ENETDOWN, which is told once and then gone. Interfaces that are down are seen elsewhere.
                tracing::debug!(%error, "receive adverts");
                return None;
            }
        };
        let datagram = Datagram {
            endpoints: received.endpoints,
            hop_limit: received.hop_limit,
            payload: received.payload,
        };
        let now = self.clock.now();
        let mut steps = Vec::new();
        for (instance, member) in self.members.iter_mut().enumerate() {
            if member.socket != place {
                continue;
            }
            match member.instance.filter.accept(&datagram) {
                Ok(accepted) => {
                    member.compare(&accepted, now);
                    steps.extend(self.node.on_packet(instance, &accepted.advert, now));
                }
                Err(rejection) => member.refuse(&rejection, now),
            }
        }
        Some(steps)
    }

    async fn carry_out(&mut self, steps: Vec<Step>) {
        for Step { instance, action } in steps {
            match action {
                Action::SendAdvert { priority } => self.send(instance, priority),
                Action::SetOwnership(ownership) => self.give(Job::Own(instance, ownership)).await,
                Action::AddAddresses => self.give(Job::Set(instance)).await,
                Action::RemoveAddresses => self.give(Job::Unset(instance)).await,
                Action::Announce(burst) => self.give(Job::Announce(instance, burst)).await,
                Action::LogTransition(transition) => {
                    let name = self.name(instance);
                    let (old, new) = (transition.old.name(), transition.new.name());
                    let cause = transition.cause.to_string();
                    tracing::info!(vrrp = name, old, new, cause, "state changed");
                    if let Some(member) = self.members.get_mut(instance) {
                        member.changed = (transition.old, cause);
                    }
                }
                Action::Report(notice) => {
                    let name = self.name(instance);
                    match notice {
                        Notice::Refused(_) => tracing::info!(vrrp = name, "{notice}"),
                        Notice::LostTime { .. } | Notice::TwoOwners { .. } => {
                            tracing::warn!(vrrp = name, "{notice}");
                        }
                    }
                }
                Action::Notify { state, priority } => {
                    if let Some(member) = self.members.get(instance) {
                        let (old, reason) = member.changed.clone();
                        self.news.tell(News {
                            whose: Whose::Instance(instance),
                            name: member.instance.name.clone(),
                            old,
                            new: state,
                            priority,
                            reason,
                        });
                    }
                    self.tell_of_groups(instance);
                }
            }
        }
    }

    /// Tells of the groups that are another than before, now that this instance is.
    fn tell_of_groups(&mut self, instance: usize) {
        for (place, group) in self.groups.iter_mut().enumerate() {
            let members = group.members.iter();
            let states: Vec<State> = members
                .filter_map(|member| self.node.machine(*member).map(Machine::state))
                .collect();
            let new = news::of_group(states.iter().copied());
            let (old, name) = (group.state, group.name.clone());
            if !group.members.contains(&instance) || old == new {
                continue;
            }
            group.state = new;
            let member = self.members.get(instance);
            self.news.tell(News {
                whose: Whose::Group(place),
                name,
                old,
                new,
                priority: 0,
                reason: member.map_or_else(String::new, |member| {
                    let (_, cause) = &member.changed;
                    format!("{}: {cause}", member.instance.name)
                }),
            });
        }
    }

    fn name(&self, instance: usize) -> &str {
        self.members
            .get(instance)
            .map_or("", |member| member.instance.name.as_str())
    }

    async fn give(&self, job: Job) {
        // The other thread ends after this one.
        let _ = self.jobs.send(job).await;
    }

    fn send(&mut self, instance: usize, priority: u8) {
        let Some(member) = self.members.get_mut(instance) else {
            return;
        };
        let Some(socket) = self.sockets.get(member.socket) else {
            return;
        };
        let socket = member.sender.as_ref().unwrap_or(socket);
        let sent = member.instance.send(socket, priority);
        if sent.is_ok() && priority > 0 {
            self.fence.renew(member.instance.number);
        }
        match (&sent, member.sends) {
            (Ok(()), false) => {
                tracing::info!(vrrp = member.instance.name, "adverts can be sent again");
            }
            (Err(error), true) => {
                tracing::error!(vrrp = member.instance.name, %error, "send an advert");
            }
            (Ok(()), true) | (Err(_), false) => {}
        }
        member.sends = sent.is_ok();
    }

    fn report(&self) -> Vec<InstanceReport> {
        let machines = self.node.machines();
        let all = self.members.iter().zip(machines);
        all.map(|(member, (_, machine))| {
            InstanceReport::new(&member.instance, machine, &member.refused, &self.clock)
        })
        .collect()
    }
}

impl Member {
    /// Counts what was refused, and says so, though not again and again.
    fn refuse(&mut self, rejection: &Rejection, now: Instant) {
        let reason = rejection.reason();
        self.refused.add(reason);
        match reason {
            // The usual where several virtual routers share a network.
            Refused::OtherRouter => {}
            _ => self.complain(
                reason.name(),
                &format!("an advert is refused: {rejection}"),
                now,
            ),
        }
    }

    fn compare(&mut self, accepted: &Accepted, now: Instant) {
        let from = accepted.advert.source;
        if accepted.difference.addresses {
            let words =
                format!("{from} advertises another list of addresses; compare `addresses` on both");
            self.complain("addresses differ", &words, now);
        }
        if accepted.difference.interval {
            let words = format!(
                "{from} advertises every {:?}, this router would every {:?}",
                accepted.advert.interval, self.instance.advert.advert_interval
            );
            self.complain("intervals differ", &words, now);
        }
    }

    fn complain(&mut self, about: &'static str, words: &str, now: Instant) {
        let last = self.complaints.get(about);
        if last.is_none_or(|last| now.saturating_duration_since(*last) >= COMPLAINT_GAP) {
            self.complaints.insert(about, now);
            tracing::warn!(vrrp = self.instance.name, "{words}");
        }
    }
}

impl Instance {
    /// Sends one advert, to everyone it is for; the first failure is told.
    fn send(&self, socket: &AdvertSocket, priority: u8) -> Result<(), SendError> {
        let advert = Repr {
            priority,
            ..self.advert.clone()
        };
        let mut bytes = vec![0; advert.buffer_len()];
        let mut outcome = Ok(());
        for endpoints in &self.endpoints {
            advert.emit(&mut bytes, endpoints, self.reading)?;
            let sent = socket
                .send(endpoints, &bytes)
                .map_err(|source| SendError::Send {
                    destination: endpoints.destination(),
                    source,
                });
            outcome = outcome.and(sent);
        }
        outcome
    }
}

/// By interface, and whether it is for IPv6.
type Places = BTreeMap<(u32, bool), usize>;

fn place_of(instance: &Instance) -> (u32, bool) {
    (instance.interface_index, instance.family() == Family::V6)
}

/// The socket that an instance speaks by. It is opened where there is none, and comes after `before` others.
fn socket_for(
    instance: &Instance,
    places: &mut Places,
    before: usize,
    opened: &mut Vec<AdvertSocket>,
) -> Result<usize, VrrpError> {
    if let Some(place) = places.get(&place_of(instance)) {
        return Ok(*place);
    }
    let index = instance.interface_index;
    let socket = AdvertSocket::open(&instance.interface, index, instance.family());
    opened.push(socket.map_err(|source| VrrpError::Socket {
        interface: instance.interface.clone(),
        source,
    })?);
    let place = before + opened.len() - 1;
    places.insert(place_of(instance), place);
    Ok(place)
}

/// What an instance with a MAC address of its own sends by.
fn sender(instance: &Instance) -> Result<Option<AdvertSocket>, VrrpError> {
    let open = |bears: &VirtualMac| {
        let socket = AdvertSocket::open_to_send(&bears.device, bears.index, instance.family());
        socket.map_err(|source| VrrpError::Socket {
            interface: bears.device.clone(),
            source,
        })
    };
    instance.virtual_mac.as_ref().map(open).transpose()
}

fn interface_of(source: &Source) -> Option<String> {
    match source {
        Source::Interface(name) => Some(name.clone()),
        Source::Script(_) | Source::Service(_) => None,
    }
}

fn condition(links: &Links, name: &str) -> Condition {
    match links.by_name(name).is_some_and(|link| link.up) {
        true => Condition::Up,
        false => Condition::Down,
    }
}

/// Why an advert was not sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    /// It cannot be written.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The kernel did not take it.
    #[error("to {destination}: {source}")]
    Send {
        /// Where it was to go.
        destination: std::net::IpAddr,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Ready when something may wait in one of the sockets.
async fn readable(sockets: &[AdvertSocket]) {
    poll_fn(|context| {
        let mut readiness = Poll::Pending;
        for socket in sockets {
            if socket.poll_readable(context).is_ready() {
                readiness = Poll::Ready(());
            }
        }
        readiness
    })
    .await;
}

async fn sleep_or_never(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
