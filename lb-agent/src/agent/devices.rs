//! Which interfaces the program is attached to, and what the data plane must know of each.

use crate::vrrp::shell::bears_virtual_mac;
use crate::{
    agent::pool::Pool,
    config::Config,
    datapath::Device,
    network::{HostAddresses, Link, Links, Netlink, NextHop, NextHops, Route},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Why no interfaces could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// A configured interface does not exist.
    #[error("interface {name} in `interfaces` does not exist on this host; there are: {existing}")]
    Missing {
        /// Its name.
        name: String,
        /// Those that exist.
        existing: String,
    },
    /// A configured interface has no Ethernet address.
    #[error(
        "interface {name} carries no Ethernet frames: XDP balancing needs an Ethernet interface"
    )]
    NotEthernet {
        /// Its name.
        name: String,
    },
    /// Nothing says where packets arrive.
    #[error(
        "cannot tell on which interface packets for {addresses} arrive: no interface has such an address or its network; \
         name the interfaces with `interfaces = [\"eth0\"]`"
    )]
    Undecidable {
        /// The listen addresses in question.
        addresses: String,
    },
}

/// The interfaces to attach to: those configured, else those where listen addresses arrive and real servers are reached.
///
/// # Errors
/// Where one does not exist or cannot be attached to.
pub async fn choose(
    config: &Config,
    pool: &Pool,
    links: &Links,
    addresses: &HostAddresses,
    netlink: &Netlink,
) -> Result<Vec<Link>, DevicesError> {
    let configured = &config.interfaces;
    if !configured.is_empty() {
        let mut chosen = BTreeMap::new();
        for name in configured {
            let link = links.by_name(name).ok_or_else(|| DevicesError::Missing {
                name: name.clone(),
                existing: links
                    .iter()
                    .map(|link| link.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
            if link.mac.is_none() {
                return Err(DevicesError::NotEthernet { name: name.clone() });
            }
            chosen.insert(link.index, link.clone());
        }
        return Ok(chosen.into_values().collect());
    }
    // The device of a virtual MAC address has what comes in by the interface below it, where the program is.
    let is_ethernet = |index: &u32| {
        let link = links.get(*index).filter(|link| !bears_virtual_mac(link));
        link.is_some_and(|link| link.mac.is_some())
    };
    let mut unplaced = Vec::new();
    let mut indices = BTreeSet::new();
    let forwarded = pool
        .services()
        .iter()
        .filter(|service| service.is_forwarded());
    for listen in forwarded.flat_map(|service| &service.listen) {
        let mut here: BTreeSet<u32> = addresses
            .interfaces_of(listen.ip())
            .into_iter()
            .filter(is_ethernet)
            .collect();
        if here.is_empty() {
            here = addresses
                .interfaces_reaching(listen.ip())
                .into_iter()
                .filter(is_ethernet)
                .collect();
        }
        let governed = config.vrrp.iter().filter(|vrrp| vrrp.owns(listen.ip()));
        if here.is_empty() {
            let where_elected = governed.filter_map(|vrrp| links.by_name(&vrrp.interface));
            here = where_elected
                .map(|link| link.index)
                .filter(is_ethernet)
                .collect();
        }
        if here.is_empty() {
            unplaced.push(listen.ip().to_string());
        }
        indices.extend(here);
    }
    if indices.is_empty() && !unplaced.is_empty() {
        unplaced.dedup();
        return Err(DevicesError::Undecidable {
            addresses: unplaced.join(", "),
        });
    }
    for address in pool.addresses() {
        indices.extend(egress_of(address, netlink).await.filter(is_ethernet));
    }
    // Below a VLAN device, where the driver is.
    let below = |index| {
        links
            .get(index)
            .and_then(|link| link.vlan)
            .map_or(index, |vlan| vlan.parent)
    };
    let indices: BTreeSet<u32> = indices.into_iter().map(below).collect();
    Ok(indices
        .into_iter()
        .filter_map(|index| links.get(index).cloned())
        .collect())
}

/// The interface by which an address is reached now.
async fn egress_of(address: IpAddr, netlink: &Netlink) -> Option<u32> {
    match netlink.route(address).await {
        Ok(Route::Neighbour { interface, .. }) => Some(interface),
        Ok(Route::Local | Route::Unreachable { .. }) | Err(_) => None,
    }
}

/// What the data plane must know: every interface that it is attached to, and every one that frames leave by.
pub fn describe(attached: &BTreeSet<u32>, next_hops: &NextHops, links: &Links) -> Vec<Device> {
    let egress = next_hops.values().filter_map(|next_hop| match next_hop {
        NextHop::Resolved { ifindex, .. } => Some(*ifindex),
        NextHop::Local | NextHop::Unresolved { .. } => None,
    });
    let indices: BTreeSet<u32> = attached.iter().copied().chain(egress).collect();
    indices
        .into_iter()
        .filter_map(|index| device(links.get(index)?, attached))
        .collect()
}

fn device(link: &Link, attached: &BTreeSet<u32>) -> Option<Device> {
    // A VLAN device that carries no program of its own is served by the one on the interface below it, which sees the tag.
    let (frames, vlans) = match link.vlan {
        Some(vlan) if !attached.contains(&link.index) => (vlan.parent, u32::from(vlan.id)),
        _ => (link.index, 0),
    };
    Some(Device {
        index: link.index,
        frames,
        vlans,
        mac: link.mac?,
        transmits: link.up,
    })
}
