//! What an election does to this host: the data plane's ownership words, the virtual addresses, their announcement.
//!
//! All of it happens on a thread of its own, in the order it was asked for: the kernel works on an address inside the
//! system call and may keep it waiting for seconds, and adverts must not wait with it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::Instance;
use super::virtual_mac;
use crate::network::{
    HostAddresses, Links, Netlink, OwnAddress, OwnRoute, PresentAddress, RouteKey, SetAddress,
};
use crate::sys::frames::FrameSocket;
use crate::vrrp::announcement::{self, Forwarding};
use crate::vrrp::fsm::{Burst, Ownership};

/// Until what the kernel refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Something to do for the instance with this place in the list of all.
#[derive(Debug)]
pub enum Job {
    /// Tell the data plane whose the addresses are.
    Own(usize, Ownership),
    /// Make the host have the addresses.
    Set(usize),
    /// Take them away.
    Unset(usize),
    /// Announce them.
    Announce(usize, Burst),
    /// These are the instances from now on; for each, where it was in the list before.
    Replace(Vec<Instance>, Vec<Option<usize>>),
    /// Say when all of the above is done.
    Flush(tokio::sync::oneshot::Sender<()>),
}

/// Whose an instance's addresses are, as the data plane is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This host's: packets are forwarded.
    Us,
    /// Not this host's.
    Other,
    /// Not this host's, but the addresses are still here, so that its own stack would answer.
    OtherButStillHere,
}

/// Where ownership is told: the number of an instance, who has its addresses, and its own MAC address if it has one.
#[derive(Clone)]
pub struct OwnershipSink(Arc<Told>);

type Told = dyn Fn(u16, Holder, Option<[u8; 6]>) + Send + Sync;

impl OwnershipSink {
    /// Tells `told`, which must not block.
    pub fn new(told: impl Fn(u16, Holder, Option<[u8; 6]>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    fn tell(&self, number: u16, holder: Holder, mac: Option<[u8; 6]>) {
        (self.0)(number, holder, mac);
    }
}

impl fmt::Debug for OwnershipSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnershipSink")
    }
}

/// What the thread has.
#[derive(Debug)]
pub struct Host {
    netlink: Netlink,
    frames: Arc<FrameSocket>,
    ownership: OwnershipSink,
    links: watch::Receiver<Arc<Links>>,
    addresses: watch::Receiver<Arc<HostAddresses>>,
    members: Vec<Member>,
    /// The addresses that the agent has set, now or in an earlier life.
    ours: BTreeSet<(u32, IpNet)>,
    /// The routes, likewise.
    our_routes: BTreeSet<RouteKey>,
    /// Routes that somebody else had set, which were reported.
    foreign_routes: BTreeSet<RouteKey>,
    /// When what the kernel refused is tried again.
    retry_at: Option<Instant>,
}

/// An instance.
#[derive(Debug)]
struct Member {
    instance: Instance,
    /// Whether the host is to have its addresses.
    wanted: bool,
    holder: Holder,
    /// Announcements that are spread over time.
    announcing: Option<JoinHandle<()>>,
    /// Until when packets are forwarded although the addresses were given up in order: those that still come, because
    /// nobody else has announced them yet.
    lingers_until: Option<Instant>,
}

impl Host {
    /// Of `instances`, with `present` on the host.
    pub fn new(
        instances: Vec<Instance>,
        present: &[PresentAddress],
        netlink: Netlink,
        frames: FrameSocket,
        ownership: OwnershipSink,
        links: watch::Receiver<Arc<Links>>,
        addresses: watch::Receiver<Arc<HostAddresses>>,
    ) -> Self {
        // What adverts come from belongs to its device, with which it goes.
        let is_source = |there: &PresentAddress| {
            let near = matches!(there.net.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local());
            let mut bearing = instances.iter().filter_map(|one| one.virtual_mac.as_ref());
            near && bearing.any(|bears| bears.index == there.interface)
        };
        let ours: BTreeSet<(u32, IpNet)> = present
            .iter()
            .filter(|there| there.ours && !is_source(there))
            .map(|there| (there.interface, there.net))
            .collect();
        let member = |instance| Member {
            instance,
            wanted: false,
            holder: Holder::Other,
            announcing: None,
            lingers_until: None,
        };
        Self {
            netlink,
            frames: Arc::new(frames),
            ownership,
            links,
            addresses,
            members: instances.into_iter().map(member).collect(),
            ours,
            our_routes: BTreeSet::new(),
            foreign_routes: BTreeSet::new(),
            retry_at: None,
        }
    }

    /// Removes the addresses of an earlier life that belong to none of the instances in `kept`, and says who owns what.
    pub async fn clean_up(&mut self, kept: &BTreeSet<usize>) {
        let keep: BTreeSet<(u32, IpNet)> = self
            .members
            .iter()
            .enumerate()
            .filter(|(place, _)| kept.contains(place))
            .flat_map(|(_, member)| &member.instance.addresses)
            .map(|own| (own.interface, own.net))
            .collect();
        for (interface, net) in self.ours.clone() {
            if !keep.contains(&(interface, net)) {
                tracing::info!(address = %net, "an address that an earlier life of the agent left is taken away");
                if let Err(error) = self.unset(interface, net).await {
                    tracing::error!(address = %net, %error, "take an address away");
                }
            }
        }
        self.clean_up_routes(kept).await;
        self.clean_up_devices().await;
        for place in (0..self.members.len()).filter(|place| !kept.contains(place)) {
            self.work(Job::Own(place, Ownership::NotOurs)).await;
        }
    }

    /// Removes the devices that no instance bears its MAC address by any more.
    async fn clean_up_devices(&self) {
        let all = self.members.iter();
        let bearing = all.filter_map(|member| member.instance.virtual_mac.as_ref());
        virtual_mac::remove_but(&self.netlink, &bearing.map(|bears| bears.index).collect()).await;
    }

    async fn clean_up_routes(&mut self, kept: &BTreeSet<usize>) {
        match self.netlink.present_routes().await {
            Ok(present) => self.our_routes = present.into_iter().collect(),
            Err(error) => tracing::error!(error = error.with_cause(), "look for routes"),
        }
        let all = self.members.iter().enumerate();
        let keep: BTreeSet<RouteKey> = all
            .filter(|(place, _)| kept.contains(place))
            .flat_map(|(_, member)| &member.instance.routes)
            .map(OwnRoute::key)
            .collect();
        self.unset_routes_but(&keep).await;
    }

    async fn unset_routes_but(&mut self, keep: &BTreeSet<RouteKey>) {
        for key in self.our_routes.clone() {
            if keep.contains(&key) {
                continue;
            }
            match self.netlink.unset_route(key).await {
                Ok(()) => drop(self.our_routes.remove(&key)),
                Err(error) => {
                    tracing::error!(route = %key.0, %error, "take a route away");
                    self.retry_at.get_or_insert(Instant::now() + RETRY);
                }
            }
        }
    }

    /// Makes the host have all routes of an instance.
    async fn set_routes(&mut self, place: usize) {
        let Some(member) = self.members.get(place) else {
            return;
        };
        let (name, routes) = (member.instance.name.clone(), member.instance.routes.clone());
        for own in &routes {
            let (key, route) = (own.key(), own.destination);
            if self.our_routes.contains(&key) {
                continue;
            }
            match self.netlink.set_route(own).await {
                Ok(SetAddress::Added) => drop(self.our_routes.insert(key)),
                Ok(SetAddress::WasThere) => {
                    if self.foreign_routes.insert(key) {
                        tracing::warn!(vrrp = name, %route, "somebody else has set this route; it is left alone");
                    }
                }
                Err(error) => {
                    tracing::error!(vrrp = name, %route, %error, "set a route");
                    self.retry_at.get_or_insert(Instant::now() + RETRY);
                }
            }
        }
    }

    /// Takes the routes away that no instance which has its addresses asks for.
    async fn unset_routes(&mut self) {
        let wanted = self.members.iter().filter(|member| member.wanted);
        let keep = wanted.flat_map(|member| &member.instance.routes);
        let keep = keep.map(OwnRoute::key).collect();
        self.unset_routes_but(&keep).await;
    }

    /// Works until whoever gives the jobs is gone.
    pub async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut watching = true;
        loop {
            let (retry_at, lingers_until) = (self.retry_at, self.lingers_until());
            tokio::select! {
                biased;
                job = jobs.recv() => match job {
                    Some(job) => self.work(job).await,
                    None => {
                        // An orderly end: nothing of ours is left.
                        virtual_mac::remove_but(&self.netlink, &BTreeSet::new()).await;
                        break;
                    }
                },
                changed = self.addresses.changed(), if watching => match changed {
                    Ok(()) => self.look_after_addresses().await,
                    Err(_) => watching = false,
                },
                () = sleep_until_or_never(retry_at) => self.retry().await,
                () = sleep_until_or_never(lingers_until) => self.end_lingering(),
            }
        }
    }

    async fn work(&mut self, job: Job) {
        match job {
            Job::Own(place, Ownership::Ours) => self.own(place, Holder::Us),
            Job::Own(place, Ownership::NotOurs) => self.disown(place),
            Job::Set(place) => {
                self.want(place, true);
                self.set_all(place).await;
                self.set_routes(place).await;
            }
            Job::Unset(place) => {
                self.want(place, false);
                self.unset_routes().await;
                self.unset_all(place).await;
            }
            Job::Announce(place, burst) => self.announce(place, burst),
            Job::Replace(instances, from) => self.replace(instances, &from).await,
            // Nobody may wait any more.
            Job::Flush(done) => {
                while let Some(until) = self.lingers_until() {
                    sleep_until(until).await;
                    self.end_lingering();
                }
                // Nobody may wait any more.
                let _ = done.send(());
            }
        }
    }

    /// What a master no longer has is taken away at once; what it has besides is set when it is asked for.
    async fn replace(&mut self, instances: Vec<Instance>, from: &[Option<usize>]) {
        let mut old: Vec<Option<Member>> = std::mem::take(&mut self.members)
            .into_iter()
            .map(Some)
            .collect();
        for (instance, from) in instances.into_iter().zip(from) {
            let kept = from.and_then(|from| old.get_mut(from)?.take());
            self.members.push(match kept {
                Some(member) => Member { instance, ..member },
                None => Member {
                    instance,
                    wanted: false,
                    holder: Holder::Other,
                    announcing: None,
                    lingers_until: None,
                },
            });
        }
        self.unset_routes().await;
        let wanted: BTreeSet<(u32, IpNet)> = self
            .members
            .iter()
            .filter(|member| member.wanted)
            .flat_map(|member| &member.instance.addresses)
            .map(|own| (own.interface, own.net))
            .collect();
        for (interface, net) in self.ours.clone() {
            if !wanted.contains(&(interface, net))
                && let Err(error) = self.unset(interface, net).await
            {
                tracing::error!(address = %net, %error, "take an address away that is not configured any more");
            }
        }
        self.clean_up_devices().await;
    }

    fn want(&mut self, place: usize, wanted: bool) {
        if let Some(member) = self.members.get_mut(place) {
            member.wanted = wanted;
            if let Some(announcing) = member.announcing.take_if(|_| !wanted) {
                announcing.abort();
            }
        }
    }

    /// The addresses are not ours any more. Packets that come all the same are forwarded for a little while: where they go
    /// does not depend on who sends them there. Not by a MAC address that the next master has as well.
    fn disown(&mut self, place: usize) {
        let still_here = self.has_ours(place);
        let Some(member) = self.members.get_mut(place) else {
            return;
        };
        let may_linger = member.holder == Holder::Us && member.instance.virtual_mac.is_none();
        match (still_here, may_linger) {
            (true, _) => self.own(place, Holder::OtherButStillHere),
            (false, false) => self.own(place, Holder::Other),
            (false, true) => {
                member.lingers_until = Some(Instant::now() + member.instance.linger);
            }
        }
    }

    fn lingers_until(&self) -> Option<Instant> {
        let all = self.members.iter();
        all.filter_map(|member| member.lingers_until).min()
    }

    fn end_lingering(&mut self) {
        let now = Instant::now();
        for place in 0..self.members.len() {
            let member = self.members.get(place);
            let until = member.and_then(|member| member.lingers_until);
            if until.is_some_and(|until| until <= now) {
                self.own(place, Holder::Other);
            }
        }
    }

    fn own(&mut self, place: usize, holder: Holder) {
        if let Some(member) = self.members.get_mut(place) {
            member.lingers_until = None;
            member.holder = holder;
            let mac = member.instance.virtual_mac.as_ref().map(|bears| bears.mac);
            self.ownership.tell(member.instance.number, holder, mac);
        }
    }

    /// Whether addresses of the instance that we have set are on the host.
    fn has_ours(&self, place: usize) -> bool {
        let addresses = self
            .members
            .get(place)
            .map(|member| &member.instance.addresses);
        let mut addresses = addresses.into_iter().flatten();
        addresses.any(|own| self.ours.contains(&(own.interface, own.net)))
    }

    /// Makes the host have all addresses of an instance; says how many it lacked.
    async fn set_all(&mut self, place: usize) -> usize {
        let Some(member) = self.members.get(place) else {
            return 0;
        };
        let (name, addresses) = (
            member.instance.name.clone(),
            member.instance.addresses.clone(),
        );
        let mut added = 0;
        for own in &addresses {
            match self.netlink.set_address(own).await {
                Ok(SetAddress::Added) => {
                    added += 1;
                    self.ours.insert((own.interface, own.net));
                }
                Ok(SetAddress::WasThere) => {}
                Err(error) => {
                    let interface = self.links.borrow().label(own.interface);
                    tracing::error!(vrrp = name, address = %own.net, interface, %error, "set an address");
                    self.retry_at.get_or_insert(Instant::now() + RETRY);
                }
            }
        }
        added
    }

    async fn unset_all(&mut self, place: usize) {
        let Some(member) = self.members.get(place) else {
            return;
        };
        let (name, addresses) = (
            member.instance.name.clone(),
            member.instance.addresses.clone(),
        );
        for OwnAddress { interface, net, .. } in addresses {
            if !self.ours.contains(&(interface, net)) {
                continue;
            }
            if let Err(error) = self.unset(interface, net).await {
                let interface = self.links.borrow().label(interface);
                tracing::error!(vrrp = name, address = %net, interface, %error, "take an address away; packets to it are dropped meanwhile");
                self.retry_at.get_or_insert(Instant::now() + RETRY);
            }
        }
    }

    async fn unset(&mut self, interface: u32, net: IpNet) -> std::io::Result<()> {
        self.netlink.unset_address(interface, net).await?;
        self.ours.remove(&(interface, net));
        Ok(())
    }

    /// Tries again what the kernel refused.
    async fn retry(&mut self) {
        self.retry_at = None;
        for place in 0..self.members.len() {
            let Some((wanted, holder)) = self
                .members
                .get(place)
                .map(|member| (member.wanted, member.holder))
            else {
                continue;
            };
            match wanted {
                true => {
                    if self.set_all(place).await > 0 {
                        self.announce(place, Burst::First);
                    }
                    self.set_routes(place).await;
                }
                false => {
                    self.unset_all(place).await;
                    if holder == Holder::OtherButStillHere && !self.has_ours(place) {
                        self.own(place, Holder::Other);
                    }
                }
            }
        }
    }

    /// Puts back what somebody else has removed.
    async fn look_after_addresses(&mut self) {
        let present = Arc::clone(&self.addresses.borrow_and_update());
        for place in 0..self.members.len() {
            let Some(member) = self.members.get(place).filter(|member| member.wanted) else {
                continue;
            };
            let name = member.instance.name.clone();
            let missing = |own: &&OwnAddress| {
                !present
                    .interfaces_of(own.net.addr())
                    .contains(&own.interface)
            };
            let missing: Vec<IpNet> = member
                .instance
                .addresses
                .iter()
                .filter(missing)
                .map(|own| own.net)
                .collect();
            // What was seen may be older than what was set since.
            if !missing.is_empty() && self.set_all(place).await > 0 {
                tracing::warn!(vrrp = name, addresses = ?missing, "somebody removed virtual addresses of this master; they are back");
                self.announce(place, Burst::First);
                // With an address the kernel takes away what speaks from it.
                let routes = self
                    .members
                    .get(place)
                    .map(|member| &member.instance.routes);
                let keys: Vec<RouteKey> = routes.into_iter().flatten().map(OwnRoute::key).collect();
                self.our_routes.retain(|key| !keys.contains(key));
                self.set_routes(place).await;
            }
        }
    }

    fn announce(&mut self, place: usize, burst: Burst) {
        let Some(member) = self.members.get_mut(place).filter(|member| member.wanted) else {
            return;
        };
        let repeats = match burst {
            Burst::First | Burst::Second => member.instance.garp.repeat,
            Burst::Refresh => 1,
        };
        let links = self.links.borrow();
        let frame = |own: &OwnAddress| {
            let link = links.get(own.interface)?;
            let forwarding = forwarding(&link.name, own.net.addr());
            let frame = announcement::frame(own.net.addr(), link.mac?, forwarding);
            Some((own.interface, frame))
        };
        let frames: Vec<_> = member.instance.addresses.iter().filter_map(frame).collect();
        drop(links);
        let (socket, name) = (Arc::clone(&self.frames), member.instance.name.clone());
        // Every address once, then every one again.
        let rounds = (0..repeats).flat_map(move |_| frames.clone());
        let send = move |(interface, frame): (u32, Vec<u8>)| {
            if let Err(error) = socket.send(interface, &frame) {
                tracing::debug!(vrrp = name, %error, "announce an address");
            }
        };
        let gap = member.instance.garp.interval;
        if gap.is_zero() {
            return rounds.for_each(send);
        }
        let spread = async move {
            for one in rounds {
                send(one);
                sleep(gap).await;
            }
        };
        if let Some(former) = member.announcing.replace(tokio::spawn(spread)) {
            former.abort();
        }
    }
}

/// What the kernel's own advertisements say. RFC 4861 §6.2.7 would have them agree.
fn forwarding(interface: &str, address: IpAddr) -> Forwarding {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
    match address {
        IpAddr::V6(_) if std::fs::read(path).is_ok_and(|text| text.starts_with(b"1")) => {
            Forwarding::On
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Forwarding::Off,
    }
}

async fn sleep_until_or_never(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
