//! The host's network interfaces, and who holds their XDP hook.

use std::collections::BTreeMap;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp,
    XdpAttached,
};

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name, as `eth0`.
    pub name: String,
    /// MAC address; `None` where the interface is not Ethernet (loopback, tun, wireguard).
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Ready to carry packets: set up by the administrator and with a carrier (IFF_UP and
    /// IFF_LOWER_UP).
    pub up: bool,
    /// Set up by the administrator (IFF_UP), whatever the carrier says.
    pub admin_up: bool,
    /// Whether the kernel resolves neighbours on it by ARP and ND (no IFF_NOARP).
    pub arp: bool,
    /// Kind of a virtual interface: `veth`, `vlan`, `bond`; `None` for hardware.
    pub kind: Option<String>,
    /// The XDP program attached, if any.
    pub xdp: Option<XdpAttachment>,
    /// Index of the bond or bridge this interface belongs to.
    pub master: Option<u32>,
    /// For a VLAN device: where its frames really enter and leave.
    pub vlan: Option<Vlan>,
}

/// What a VLAN device stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// Index of the interface below it (IFLA_LINK).
    pub parent: u32,
    /// The tag's VLAN id.
    pub id: u16,
}

/// An XDP program on an interface, as the kernel tells it (IFLA_XDP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XdpAttachment {
    /// How it runs.
    pub mode: XdpMode,
    /// Kernel id of the program; in mode `Multi` that of the native one, else of the generic one,
    /// else of the offloaded one.
    pub program_id: u32,
}

/// How an XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, after the kernel has allocated a socket buffer.
    Generic,
    /// In the network card.
    Offload,
    /// More than one program in different modes.
    Multi,
}

/// All interfaces of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(BTreeMap<u32, Link>);

impl Links {
    /// The interface with this index.
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.0.get(&index)
    }

    /// The interface with this name.
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.0.values().find(|link| link.name == name)
    }

    /// All interfaces in the order of their index.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.values()
    }

    /// What to call the interface in a text: its name, or its number where there is none.
    pub fn label(&self, index: u32) -> String {
        self.get(index)
            .map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    pub(super) fn put(&mut self, link: Link) -> Option<Link> {
        self.0.insert(link.index, link)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Link> {
        self.0.remove(&index)
    }
}

impl FromIterator<Link> for Links {
    fn from_iter<I: IntoIterator<Item = Link>>(links: I) -> Self {
        Self(links.into_iter().map(|link| (link.index, link)).collect())
    }
}

impl Link {
    /// Reads a RTM_NEWLINK message. `None` for messages that describe something else than the
    /// interface as a whole: those of a bridge about its ports (AF_BRIDGE) and wireless events,
    /// which have no MTU.
    pub(super) fn from_message(message: &LinkMessage) -> Option<Self> {
        if message.header.interface_family != AddressFamily::Unspec {
            return None;
        }
        let flags = message.header.flags;
        let (mut name, mut mtu, mut mac, mut kind, mut xdp, mut master) =
            (None, None, None, None, None, None);
        let (mut parent, mut vlan_id) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(value) => name = Some(value.clone()),
                LinkAttribute::Mtu(value) => mtu = Some(*value),
                LinkAttribute::Address(value)
                    if message.header.link_layer_type == LinkLayerType::Ether =>
                {
                    mac = value.as_slice().try_into().ok()
                }
                LinkAttribute::Controller(value) => master = Some(*value),
                LinkAttribute::Link(value) => parent = Some(*value),
                LinkAttribute::LinkInfo(infos) => {
                    vlan_id = infos.iter().find_map(vlan_id_of);
                    kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                LinkAttribute::Xdp(attributes) => xdp = XdpAttachment::from_attributes(attributes),
                _ => {}
            }
        }
        Some(Self {
            index: message.header.index,
            name: name?,
            mac,
            mtu: mtu?,
            up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            admin_up: flags.contains(LinkFlags::Up),
            arp: !flags.contains(LinkFlags::Noarp),
            kind,
            xdp,
            master,
            vlan: parent.zip(vlan_id).map(|(parent, id)| Vlan { parent, id }),
        })
    }
}

fn vlan_id_of(info: &LinkInfo) -> Option<u16> {
    match info {
        LinkInfo::Data(InfoData::Vlan(attributes)) => {
            attributes.iter().find_map(|attribute| match attribute {
                InfoVlan::Id(id) => Some(*id),
                _ => None,
            })
        }
        _ => None,
    }
}

impl XdpAttachment {
    /// Reads the attributes nested in IFLA_XDP. With programs in several modes the kernel gives no
    /// IFLA_XDP_PROG_ID, only one id a mode (`rtnl_xdp_report` in net/core/rtnetlink.c).
    fn from_attributes(attributes: &[LinkXdp]) -> Option<Self> {
        let (mut mode, mut id, mut native, mut generic, mut offload) =
            (None, None, None, None, None);
        for attribute in attributes {
            match attribute {
                LinkXdp::Attached(XdpAttached::Driver) => mode = Some(XdpMode::Native),
                LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(XdpMode::Generic),
                LinkXdp::Attached(XdpAttached::Hardware) => mode = Some(XdpMode::Offload),
                LinkXdp::Attached(XdpAttached::Multiple) => mode = Some(XdpMode::Multi),
                LinkXdp::ProgId(value) => id = Some(*value),
                LinkXdp::DrvProgId(value) => native = Some(*value),
                LinkXdp::SkbProgId(value) => generic = Some(*value),
                LinkXdp::HwProgId(value) => offload = Some(*value),
                _ => {}
            }
        }
        Some(Self {
            mode: mode?,
            program_id: id.or(native).or(generic).or(offload)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_program_is_no_attachment() {
        assert_eq!(
            XdpAttachment::from_attributes(&[LinkXdp::Attached(XdpAttached::None)]),
            None
        );
    }

    #[test]
    fn each_mode_is_told_apart() {
        for (attached, mode) in [
            (XdpAttached::Driver, XdpMode::Native),
            (XdpAttached::SocketBuffer, XdpMode::Generic),
            (XdpAttached::Hardware, XdpMode::Offload),
        ] {
            let got =
                XdpAttachment::from_attributes(&[LinkXdp::Attached(attached), LinkXdp::ProgId(7)]);
            assert_eq!(
                got,
                Some(XdpAttachment {
                    mode,
                    program_id: 7
                })
            );
        }
    }

    #[test]
    fn several_programs_name_the_native_one_first() {
        let got = XdpAttachment::from_attributes(&[
            LinkXdp::Attached(XdpAttached::Multiple),
            LinkXdp::SkbProgId(9),
            LinkXdp::DrvProgId(8),
        ]);
        assert_eq!(
            got,
            Some(XdpAttachment {
                mode: XdpMode::Multi,
                program_id: 8
            })
        );
    }

    #[test]
    fn port_messages_of_a_bridge_are_not_links() {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName("eth0".into()),
            LinkAttribute::Mtu(1500),
        ];
        assert!(Link::from_message(&message).is_some());
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(Link::from_message(&message), None);
    }
}
