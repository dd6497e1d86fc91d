//! From a configuration and this host's interfaces to what is to run.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use super::numbers::Numbers;
use super::virtual_mac::VirtualMac;
use crate::config::{self, Config};
use crate::network::{Links, OwnAddress, OwnRoute, PresentAddress};
use crate::vrrp::fsm::{OWNER, Parameters, Preempt, Promotion};
use crate::vrrp::node::{GroupSetup, Setup};
use crate::vrrp::packet::{
    Addresses, Endpoints, Family, Format, GROUP_V4, GROUP_V6, HOP_LIMIT, Password, Reading, Repr,
    Version,
};
use crate::vrrp::receive::{Casting, Filter, OtherList};
use crate::vrrp::tracking::{Source, Tracked};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// From another router's advert until its announcements have reached everybody: long beside what a network takes.
const ANNOUNCED: Duration = Duration::from_millis(50);
/// An orderly end waits as long.
const MAX_LINGER: Duration = Duration::from_secs(2);

/// Why an instance cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// There is no such interface.
    #[error("vrrp {instance}: interface {interface} does not exist on this host")]
    NoInterface {
        /// The instance.
        instance: String,
        /// The interface.
        interface: String,
    },
    /// There is nothing to send adverts from.
    #[error(
        "vrrp {instance}: interface {interface} has no {kind} address to send adverts from; give it one, or set `source_address`"
    )]
    NoSource {
        /// The instance.
        instance: String,
        /// The interface.
        interface: String,
        /// What kind of address it takes.
        kind: &'static str,
    },
    /// An address of another family than the addresses it is to speak for.
    #[error("vrrp {instance}: {address} is of another family than the instance's addresses")]
    Family {
        /// The instance.
        instance: String,
        /// The address.
        address: IpAddr,
    },
    /// A value that the configuration's validation should have refused.
    #[error("vrrp {instance}: {what}")]
    Value {
        /// The instance.
        instance: String,
        /// What is wrong.
        what: String,
    },
}

/// What is to run.
#[derive(Debug)]
pub struct Plan {
    /// In the configuration's order.
    pub instances: Vec<Instance>,
    /// Of the same order.
    pub setups: Vec<Setup>,
    /// The sync groups.
    pub groups: Vec<GroupSetup>,
}

/// What the shell must know of an instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Where adverts are sent and heard.
    pub interface: String,
    /// The index of that.
    pub interface_index: u32,
    /// Its adverts, but for the priority.
    pub advert: Repr,
    /// How their checksum is made.
    pub reading: Reading,
    /// From where to where they go.
    pub endpoints: Vec<Endpoints>,
    /// What is heard.
    pub filter: Filter,
    /// All addresses that the master has.
    pub addresses: Vec<OwnAddress>,
    /// The routes that come and go with them.
    pub routes: Vec<OwnRoute>,
    /// How they are announced.
    pub garp: config::Garp,
    /// The device that it bears its own MAC address by; `None`: it has that of its interface.
    pub virtual_mac: Option<VirtualMac>,
    /// How long packets are forwarded after the addresses were given up in order: as long as another router may take to
    /// take over, which is its skew (RFC 9568 §6.1, RFC 3768 §6.1).
    pub linger: Duration,
    /// What it is known by elsewhere.
    pub number: u16,
    /// When they fall silent.
    pub fence: config::Fence,
    /// How old the last advert may be before they do.
    pub patience: Duration,
}

impl Instance {
    /// The family of its adverts.
    pub fn family(&self) -> Family {
        self.advert.addresses.family()
    }
}

impl Plan {
    /// Plans every instance of `config`.
    ///
    /// # Errors
    /// Where one cannot run on this host.
    pub fn new(
        config: &Config,
        links: &Links,
        present: &[PresentAddress],
    ) -> Result<Self, PlanError> {
        let mut plan = Self {
            instances: Vec::new(),
            setups: Vec::new(),
            groups: groups(config),
        };
        for vrrp in &config.vrrp {
            let instance = instance(config, vrrp, links, present)?;
            plan.setups.push(setup(config, vrrp, &instance)?);
            plan.instances.push(instance);
        }
        Ok(plan)
    }
}

impl Plan {
    /// The same, with these numbers.
    #[must_use]
    pub fn numbered(mut self, numbers: &Numbers) -> Self {
        for instance in &mut self.instances {
            instance.number = numbers.of(&instance.name).unwrap_or_default();
        }
        self
    }

    /// Indices of all interfaces that something goes by.
    pub fn interfaces(&self) -> BTreeSet<u32> {
        let of = |instance: &Instance| {
            let addresses = instance.addresses.iter().map(|own| own.interface);
            addresses
                .chain([instance.interface_index])
                .collect::<Vec<_>>()
        };
        self.instances.iter().flat_map(of).collect()
    }

    /// The instances all of whose addresses an earlier life of the agent left on the host.
    pub fn left_behind(&self, present: &[PresentAddress]) -> BTreeSet<usize> {
        let is_there = |own: &OwnAddress| {
            let mut ours = present.iter().filter(|there| there.ours);
            ours.any(|there| (there.interface, there.net) == (own.interface, own.net))
        };
        let all = self.instances.iter().enumerate();
        all.filter(|(_, instance)| instance.addresses.iter().all(is_there))
            .map(|(place, _)| place)
            .collect()
    }
}

fn instance(
    config: &Config,
    vrrp: &config::Vrrp,
    links: &Links,
    present: &[PresentAddress],
) -> Result<Instance, PlanError> {
    let index_of = |name: &str| {
        let link = links.by_name(name).ok_or_else(|| PlanError::NoInterface {
            instance: vrrp.name.clone(),
            interface: name.to_owned(),
        })?;
        Ok(link.index)
    };
    let interface_index = index_of(&vrrp.interface)?;
    let source = source(config, vrrp, interface_index, present)?;
    let virtual_mac = VirtualMac::find(vrrp, interface_index, links);
    let home = virtual_mac
        .as_ref()
        .map_or(interface_index, |bears| bears.index);
    let own = |address: &config::VirtualAddress| {
        let named = address.interface.as_deref().map(index_of).transpose()?;
        Ok(OwnAddress {
            interface: named.unwrap_or(home),
            net: address.net,
            label: address.label.clone(),
        })
    };
    let addresses = vrrp.addresses.iter().chain(&vrrp.excluded_addresses);
    let addresses = addresses.map(own).collect::<Result<Vec<_>, PlanError>>()?;
    let routes = vrrp.routes.iter().map(|route| {
        let named = route.interface.as_deref().map(index_of).transpose()?;
        let alone = route.via.is_none().then_some(interface_index);
        Ok(own_route(route, vrrp.is_ipv6(), named.or(alone)))
    });
    let routes = routes.collect::<Result<Vec<_>, PlanError>>()?;
    let advertised = advertised(vrrp);
    let version = version(vrrp);
    let password = password(vrrp)?;
    let format = match version {
        Version::V2 => Format::V2 { password },
        Version::V3 => Format::V3,
    };
    let is_multicast = vrrp.unicast_peers.is_empty();
    let filter = Filter {
        virtual_router_id: vrrp.virtual_router_id,
        version,
        source,
        casting: match is_multicast {
            true => Casting::Multicast,
            false => Casting::Unicast {
                from: Some(vrrp.unicast_peers.clone()),
            },
        },
        hop_limits: match is_multicast {
            true => HOP_LIMIT..=HOP_LIMIT,
            // Between peers there may be routers. Who may speak is known by name.
            false => 1..=HOP_LIMIT,
        },
        password,
        advert_interval: vrrp.advert_interval,
        addresses: advertised.clone(),
        other_list: OtherList::AcceptOverlap,
    };
    Ok(Instance {
        name: vrrp.name.clone(),
        interface: vrrp.interface.clone(),
        interface_index,
        endpoints: endpoints(vrrp, source)?,
        advert: Repr {
            virtual_router_id: vrrp.virtual_router_id,
            priority: vrrp.priority,
            advert_interval: vrrp.advert_interval,
            format,
            addresses: advertised,
        },
        reading: match vrrp.checksum {
            config::Checksum::Rfc5798 => Reading::PseudoHeader,
            config::Checksum::Rfc9568 => Reading::Message,
        },
        filter,
        addresses,
        routes,
        garp: vrrp.garp,
        virtual_mac,
        linger: match version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => vrrp.advert_interval.min(MAX_LINGER),
        } + ANNOUNCED,
        number: 0,
        fence: vrrp.fence,
        patience: vrrp.advert_interval * u32::from(vrrp.down_adverts),
    })
}

/// `interface`: by which it leaves; `None`: that by which its next router is reached.
fn own_route(route: &config::Route, is_ipv6: bool, interface: Option<u32>) -> OwnRoute {
    let is_ipv6 = route
        .via
        .or(route.source)
        .map_or(is_ipv6, |address| address.is_ipv6());
    let everywhere = || match is_ipv6 {
        true => IpNet::V6(Ipv6Net::default()),
        false => IpNet::V4(Ipv4Net::default()),
    };
    OwnRoute {
        destination: match route.destination {
            config::Destination::Default => everywhere(),
            config::Destination::Net(net) => net.trunc(),
        },
        via: route.via,
        interface,
        source: route.source,
        metric: route.metric,
        table: route.table,
    }
}

fn setup(config: &Config, vrrp: &config::Vrrp, instance: &Instance) -> Result<Setup, PlanError> {
    let positive = |value: u8, key: &str| {
        NonZeroU8::new(value).ok_or_else(|| PlanError::Value {
            instance: vrrp.name.clone(),
            what: format!("{key} is 0"),
        })
    };
    let parameters = Parameters {
        version: instance.filter.version,
        source: instance.filter.source,
        priority: positive(vrrp.priority, "priority")?,
        advert_interval: vrrp.advert_interval,
        down_adverts: positive(vrrp.down_adverts, "down_adverts")?,
        preempt: match vrrp.preempt {
            true => Preempt::After(vrrp.preempt_delay),
            false => Preempt::Never,
        },
        announce_delay: vrrp.garp.delay,
        announce_refresh: vrrp.garp.refresh,
        promotion: Promotion::AtOnce,
    };
    let mut tracked = tracked(&vrrp.track_interfaces, Source::Interface);
    tracked.extend(self::tracked(&vrrp.track_services, Source::Service));
    tracked.extend(scripts(&vrrp.track_scripts, config));
    if vrrp.track_primary {
        let source = Source::Interface(vrrp.interface.clone());
        tracked.push(Tracked { source, weight: 0 });
    }
    Ok(Setup {
        name: vrrp.name.clone(),
        parameters,
        tracked,
    })
}

fn groups(config: &Config) -> Vec<GroupSetup> {
    let place = |name: &String| config.vrrp.iter().position(|vrrp| vrrp.name == *name);
    let group = |group: &config::SyncGroup| GroupSetup {
        name: group.name.clone(),
        members: group.instances.iter().filter_map(place).collect(),
        tracked: tracked(&group.track_interfaces, Source::Interface)
            .into_iter()
            .chain(tracked(&group.track_services, Source::Service))
            .chain(scripts(&group.track_scripts, config))
            .collect(),
    };
    config.sync_groups.iter().map(group).collect()
}

fn tracked(tracked: &[config::Tracked], source: fn(String) -> Source) -> Vec<Tracked> {
    let one = |tracked: &config::Tracked| Tracked {
        source: source(tracked.name.clone()),
        weight: tracked.weight.unwrap_or(0),
    };
    tracked.iter().map(one).collect()
}

/// A script has a weight of its own where who tracks it names none.
fn scripts(tracked: &[config::Tracked], config: &Config) -> Vec<Tracked> {
    let own = |name: &str| {
        let mut scripts = config.tracked_scripts.iter();
        scripts
            .find(|script| script.name == name)
            .map(|script| script.weight)
    };
    let one = |tracked: &config::Tracked| Tracked {
        source: Source::Script(tracked.name.clone()),
        weight: tracked.weight.or_else(|| own(&tracked.name)).unwrap_or(0),
    };
    tracked.iter().map(one).collect()
}

fn version(vrrp: &config::Vrrp) -> Version {
    match (vrrp.version, vrrp.is_ipv6()) {
        (config::Version::V2, false) => Version::V2,
        (config::Version::V2, true) | (config::Version::V3, _) => Version::V3,
    }
}

fn password(vrrp: &config::Vrrp) -> Result<Option<Password>, PlanError> {
    let made = vrrp.auth.as_deref().map(Password::try_from).transpose();
    made.map_err(|error| PlanError::Value {
        instance: vrrp.name.clone(),
        what: error.to_string(),
    })
}

/// RFC 9568 §5.2.9: a link-local address comes first.
fn advertised(vrrp: &config::Vrrp) -> Addresses {
    let all = || vrrp.addresses.iter().map(|address| address.net.addr());
    match vrrp.is_ipv6() {
        false => Addresses::V4(
            all()
                .filter_map(|address| match address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                })
                .collect(),
        ),
        true => {
            let v6 = all().filter_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(address),
            });
            let mut list: Vec<_> = v6.collect();
            list.sort_by_key(|address| !address.is_unicast_link_local());
            Addresses::V6(list)
        }
    }
}

/// Where adverts come from: RFC 9568 §5.1.1.1, §5.1.2.1: the primary address; over IPv6 the link-local one, unless peers
/// are further away.
fn source(
    config: &Config,
    vrrp: &config::Vrrp,
    interface: u32,
    present: &[PresentAddress],
) -> Result<IpAddr, PlanError> {
    if let Some(address) = vrrp.source_address {
        return match address.is_ipv6() == vrrp.is_ipv6() {
            true => Ok(address),
            false => Err(PlanError::Family {
                instance: vrrp.name.clone(),
                address,
            }),
        };
    }
    let is_owner = vrrp.priority == OWNER.get();
    // An owner's own address is one of the virtual ones.
    let is_virtual = |address: IpAddr| config.vrrp.iter().any(|vrrp| vrrp.owns(address));
    let near = |address: &IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let wants_near = vrrp.unicast_peers.iter().all(near);
    let mut candidates: Vec<&PresentAddress> = present
        .iter()
        .filter(|there| {
            let address = there.net.addr();
            there.interface == interface
                && address.is_ipv6() == vrrp.is_ipv6()
                && !there.ours
                && (is_owner || !is_virtual(address))
                && near(&address) == wants_near
        })
        .collect();
    candidates.sort_by_key(|there| there.secondary);
    let kind = match (vrrp.is_ipv6(), wants_near) {
        (false, _) => "IPv4",
        (true, true) => "link-local IPv6",
        (true, false) => "global IPv6",
    };
    let found = candidates.first().map(|there| there.net.addr());
    found.ok_or_else(|| PlanError::NoSource {
        instance: vrrp.name.clone(),
        interface: vrrp.interface.clone(),
        kind,
    })
}

fn endpoints(vrrp: &config::Vrrp, source: IpAddr) -> Result<Vec<Endpoints>, PlanError> {
    let group: IpAddr = match vrrp.is_ipv6() {
        false => GROUP_V4.into(),
        true => GROUP_V6.into(),
    };
    let destinations = match vrrp.unicast_peers.is_empty() {
        true => vec![group],
        false => vrrp.unicast_peers.clone(),
    };
    let to = |destination: IpAddr| {
        Endpoints::new(source, destination).ok_or_else(|| PlanError::Family {
            instance: vrrp.name.clone(),
            address: destination,
        })
    };
    destinations.into_iter().map(to).collect()
}

#[cfg(test)]
mod tests;
