//! The device that bears a virtual router's own MAC address, RFC 9568 §7.3: addresses on it, and adverts sent by it, keep their
//! station when the master changes.

use super::VrrpError;
use crate::{
    config::{self, Config},
    network::{Link, Links, Netlink, OwnAddress, PresentAddress},
};
use std::{collections::BTreeSet, fs, io, net::IpAddr};

/// An instance's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualMac {
    /// Its name.
    pub device: String,
    /// Its index.
    pub index: u32,
    /// Its address, which the RFC gives.
    pub mac: [u8; 6],
}

impl VirtualMac {
    /// That of an instance whose interface has this index, if it is to have one and it is there.
    pub(super) fn find(vrrp: &config::Vrrp, interface: u32, links: &Links) -> Option<Self> {
        let device = name(vrrp, interface);
        let link = links.by_name(&device).filter(|_| vrrp.virtual_mac)?;
        Some(Self {
            index: link.index,
            mac: mac(vrrp),
            device,
        })
    }
}

/// RFC 9568 §7.3.
fn mac(vrrp: &config::Vrrp) -> [u8; 6] {
    let family = if vrrp.is_ipv6() { 2 } else { 1 };
    [0, 0, 0x5e, 0, family, vrrp.virtual_router_id]
}

/// At most 15 bytes (IFNAMSIZ), as interfaces have fewer than a hundred thousand numbers.
fn name(vrrp: &config::Vrrp, interface: u32) -> String {
    let family = if vrrp.is_ipv6() { 6 } else { 4 };
    format!("lb{family}-{interface}-{}", vrrp.virtual_router_id)
}

/// Whether an interface is such a device.
pub fn is_one(link: &Link) -> bool {
    let is_virtual = |mac: [u8; 6]| mac[..4] == [0, 0, 0x5e, 0] && matches!(mac[4], 1 | 2);
    link.kind.as_deref() == Some("macvlan")
        && link.mac.is_some_and(is_virtual)
        && link.name.starts_with("lb")
}

/// Makes the devices that `config` asks for and that are not there.
///
/// # Errors
/// Where the kernel refuses.
pub(super) async fn prepare(
    config: &Config,
    netlink: &Netlink,
    links: &Links,
    present: &[PresentAddress],
) -> Result<(), VrrpError> {
    for vrrp in config.vrrp.iter().filter(|vrrp| vrrp.virtual_mac) {
        // One that is not there is told of by the plan.
        let Some(parent) = links.by_name(&vrrp.interface) else {
            continue;
        };
        let made = make(vrrp, parent, netlink, links, present).await;
        made.map_err(|source| VrrpError::VirtualMac {
            instance: vrrp.name.clone(),
            source,
        })?;
    }
    Ok(())
}

async fn make(
    vrrp: &config::Vrrp,
    parent: &Link,
    netlink: &Netlink,
    links: &Links,
    present: &[PresentAddress],
) -> io::Result<()> {
    let name = name(vrrp, parent.index);
    if links.by_name(&name).is_none() {
        netlink.make_macvlan(&name, parent.index, mac(vrrp)).await?;
    }
    let index = nix::net::if_::if_nametoindex(name.as_str())?;
    // What comes in by it may be from whom the host reaches by the interface below.
    set("ipv4", &name, "rp_filter", "2")?;
    set("ipv4", &name, "arp_ignore", "1")?;
    // Else the interface below would answer for the addresses as well, with its own MAC address.
    set("ipv4", &parent.name, "arp_ignore", "1")?;
    // A backup must not be heard at all from the virtual address.
    match vrrp.is_ipv6() {
        false => set_if_there("ipv6", &name, "disable_ipv6", "1")?,
        true => {
            for (key, value) in [
                ("addr_gen_mode", "1"),
                ("accept_ra", "0"),
                ("router_solicitations", "0"),
                ("forwarding", "0"),
            ] {
                set("ipv6", &name, key, value)?;
            }
        }
    }
    netlink.set_up(index).await?;
    // Adverts over IPv6 come from a link-local address of the device they leave by.
    let near = present.iter().find(|there| {
        let is_near = matches!(there.net.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local());
        there.interface == parent.index && is_near && !there.ours
    });
    if let Some(near) = near.filter(|_| vrrp.is_ipv6()) {
        let own = OwnAddress {
            interface: index,
            net: near.net,
            label: None,
        };
        netlink.set_address(&own).await?;
    }
    Ok(())
}

/// Removes all such devices but these.
pub(super) async fn remove_but(netlink: &Netlink, keep: &BTreeSet<u32>) {
    let links = match netlink.links().await {
        Ok(links) => links,
        Err(error) => {
            return tracing::warn!(error = error.with_cause(), "look for virtual MAC devices");
        }
    };
    for link in links
        .iter()
        .filter(|link| is_one(link) && !keep.contains(&link.index))
    {
        if let Err(error) = netlink.remove_link(link.index).await {
            tracing::error!(device = link.name, %error, "remove a virtual MAC device");
        }
    }
}

fn set(family: &str, interface: &str, key: &str, value: &str) -> io::Result<()> {
    fs::write(
        format!("/proc/sys/net/{family}/conf/{interface}/{key}"),
        value,
    )
}

fn set_if_there(family: &str, interface: &str, key: &str, value: &str) -> io::Result<()> {
    match set(family, interface, key, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
