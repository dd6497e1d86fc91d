//! The configuration that the tables speak of: one service for each thing that can become of a packet.
//!
//! Each service has an address of its own in both families, and both protocols on port 80, if not said otherwise.

use crate::packets;
use ipnet::IpNet;
use lb_agent::{
    balance::term::Term,
    datapath::{Desired, Device, FlowRules, NextHop, RealServer, Service, TunnelSource, xdp::Maps},
};
use lb_common::{BackendState, Control, Mode, Owner, Route, ServiceKey, backend::mac_word, key};
use std::{
    mem::offset_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// MAC address.
pub type Mac = [u8; 6];

/// The director's station, on every interface.
pub const DIRECTOR: Mac = [2, 0, 0, 0, 0, 1];
/// Source of what leaves by the other interface.
pub const OTHER_PORT: Mac = [2, 0, 0, 0, 0, 3];
/// The client's, or its router's, station.
pub const CLIENT: Mac = [2, 0, 0, 0, 0, 2];
/// RFC 9568 §7.3.
pub const VIRTUAL_MAC: Mac = [0, 0, 0x5e, 0, 1, 51];
/// Another virtual router's.
pub const OTHER_VIRTUAL_MAC: Mac = [0, 0, 0x5e, 0, 1, 52];

/// The VLAN of [`TAGGED`], and the outer one of [`DOUBLE_TAGGED`].
pub const VLAN: u16 = 100;
/// The inner VLAN of [`DOUBLE_TAGGED`].
pub const INNER_VLAN: u16 = 200;

/// The interface that `BPF_PROG_TEST_RUN` takes a frame to come from: the loopback.
const LOOPBACK: u32 = 1;
/// Interfaces that need not exist: the program only names their index.
const OTHER: u32 = 2;
const MUTE: u32 = 3;
/// Indices that VLAN devices would have.
const TAGGED_DEVICE: u32 = 101;
const DOUBLE_TAGGED_DEVICE: u32 = 102;
const OTHER_TAGGED_DEVICE: u32 = 103;

/// The last number of the director's own addresses.
pub const HOST: u8 = 250;

/// A service of the world, known by the last octet of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: &'static str,
    pub host: u8,
    /// 0: every port.
    pub port: u16,
    owner: u16,
    pub manner: Manner,
    /// Of the way to its real servers, bytes; 0: any.
    mtu: u32,
    real_servers: RealServers,
}

/// How packets reach real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    Direct,
    /// Inside packets of a family, see [`key`], whose source varies over as many bits.
    Tunnel {
        family: u8,
        varying_bits: u8,
    },
    /// With addresses of a family, and a port of the real server, translated; 0: the service's own.
    Nat {
        family: u8,
        port: u16,
    },
}

impl Manner {
    /// Its name in the coverage's report.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Direct => "dr",
            Self::Tunnel { .. } => "tun",
            Self::Nat { .. } => "nat",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RealServers {
    /// One, behind the device.
    One(u32),
    /// As many, of unequal shares, behind the interface that packets come from.
    Many(u8),
    /// One, which is the director.
    Local,
    /// One that has no next hop.
    Unresolved,
    /// One that is down.
    Down,
}

const fn service(name: &'static str, host: u8, real_servers: RealServers) -> Named {
    Named {
        name,
        host,
        port: 80,
        owner: 0,
        manner: Manner::Direct,
        mtu: 0,
        real_servers,
    }
}

const fn tunnel(
    name: &'static str,
    host: u8,
    family: u8,
    varying_bits: u8,
    real_servers: RealServers,
) -> Named {
    Named {
        manner: Manner::Tunnel {
            family,
            varying_bits,
        },
        ..service(name, host, real_servers)
    }
}

const fn nat(
    name: &'static str,
    host: u8,
    family: u8,
    port: u16,
    real_servers: RealServers,
) -> Named {
    Named {
        manner: Manner::Nat { family, port },
        ..service(name, host, real_servers)
    }
}

const fn nat4(name: &'static str, host: u8, device: u32) -> Named {
    nat(name, host, key::IPV4, NAT_PORT, RealServers::One(device))
}

const fn nat6(name: &'static str, host: u8, device: u32) -> Named {
    nat(name, host, key::IPV6, NAT_PORT, RealServers::One(device))
}

const fn owned(name: &'static str, host: u8, owner: u16) -> Named {
    Named {
        owner,
        ..service(name, host, RealServers::One(LOOPBACK))
    }
}

pub const WEB: Named = service("web", 1, RealServers::One(LOOPBACK));
pub const EVERY_PORT: Named = Named {
    port: 0,
    ..service("every port", 2, RealServers::One(LOOPBACK))
};
/// Has one port of [`EVERY_PORT`]'s address for itself.
pub const ONE_PORT: Named = Named {
    port: 443,
    ..service("one port", 2, RealServers::One(LOOPBACK))
};
pub const EMPTY: Named = service("empty", 3, RealServers::Down);
pub const UNRESOLVED: Named = service("unresolved", 4, RealServers::Unresolved);
pub const NO_EGRESS: Named = service("no egress", 5, RealServers::One(MUTE));
pub const LOCAL: Named = service("local", 6, RealServers::Local);
pub const REDIRECTED: Named = service("redirected", 7, RealServers::One(OTHER));
pub const TAGGED: Named = service("tagged", 8, RealServers::One(TAGGED_DEVICE));
pub const DOUBLE_TAGGED: Named =
    service("double tagged", 9, RealServers::One(DOUBLE_TAGGED_DEVICE));
pub const REDIRECTED_TAGGED: Named = service(
    "redirected tagged",
    10,
    RealServers::One(OTHER_TAGGED_DEVICE),
);
pub const MANY: Named = service("many", 11, RealServers::Many(7));
/// Nobody's here, and its address is not on this host.
pub const NOT_OWNED: Named = owned("not owned", 12, 1);
/// Nobody's here, but its address is still on this host.
pub const STILL_LOCAL: Named = owned("still local", 13, 2);
/// Owned here, with [`VIRTUAL_MAC`].
pub const VIRTUAL: Named = owned("virtual", 14, 3);
/// Another host's, which has [`VIRTUAL_MAC`] now.
pub const VIRTUAL_ELSEWHERE: Named = owned("virtual elsewhere", 15, 4);
/// Another host's, which has [`VIRTUAL_MAC`] now; the address is still on this host.
pub const VIRTUAL_STILL_LOCAL: Named = owned("virtual still local", 16, 5);

/// Its way takes [`NARROW_MTU`] bytes.
pub const NARROW: Named = Named {
    mtu: NARROW_MTU,
    ..service("narrow", 17, RealServers::One(LOOPBACK))
};
pub const NARROW_MTU: u32 = 1_280;
pub const TUN4: Named = tunnel("tun4", 20, key::IPV4, 0, RealServers::One(LOOPBACK));
pub const TUN6: Named = tunnel("tun6", 21, key::IPV6, 0, RealServers::One(LOOPBACK));
pub const TUN4_VARIED: Named = tunnel("tun4 varied", 22, key::IPV4, 16, RealServers::One(LOOPBACK));
pub const TUN6_VARIED: Named = tunnel("tun6 varied", 23, key::IPV6, 32, RealServers::One(LOOPBACK));
pub const TUN_REDIRECTED: Named =
    tunnel("tun redirected", 24, key::IPV4, 0, RealServers::One(OTHER));
pub const TUN_TAGGED: Named = tunnel(
    "tun tagged",
    25,
    key::IPV4,
    0,
    RealServers::One(TAGGED_DEVICE),
);
pub const TUN_DOUBLE_TAGGED: Named = tunnel(
    "tun double tagged",
    26,
    key::IPV6,
    0,
    RealServers::One(DOUBLE_TAGGED_DEVICE),
);
pub const TUN_UNRESOLVED: Named =
    tunnel("tun unresolved", 27, key::IPV4, 0, RealServers::Unresolved);
pub const TUN_NO_EGRESS: Named = tunnel("tun no egress", 28, key::IPV4, 0, RealServers::One(MUTE));
/// Their way takes [`TUN_NARROW_MTU`] bytes.
pub const TUN4_NARROW: Named = Named {
    mtu: TUN_NARROW_MTU,
    ..tunnel("tun4 narrow", 29, key::IPV4, 0, RealServers::One(LOOPBACK))
};
pub const TUN6_NARROW: Named = Named {
    mtu: TUN_NARROW_MTU,
    ..tunnel("tun6 narrow", 30, key::IPV6, 0, RealServers::One(LOOPBACK))
};
pub const TUN_NARROW_MTU: u32 = 1_500;

/// The port of NAT real servers.
pub const NAT_PORT: u16 = 8_080;
pub const NAT4: Named = nat4("nat4", 40, LOOPBACK);
pub const NAT6: Named = nat6("nat6", 41, LOOPBACK);
/// Their real servers have the service's port.
pub const NAT4_PORT: Named = nat("nat4 port", 42, key::IPV4, 0, RealServers::One(OTHER));
pub const NAT6_PORT: Named = nat("nat6 port", 43, key::IPV6, 0, RealServers::One(OTHER));
pub const NAT4_TAGGED: Named = nat4("nat4 tagged", 44, TAGGED_DEVICE);
pub const NAT6_TAGGED: Named = nat6("nat6 tagged", 45, TAGGED_DEVICE);
pub const NAT4_UNRESOLVED: Named = nat(
    "nat4 unresolved",
    46,
    key::IPV4,
    NAT_PORT,
    RealServers::Unresolved,
);
pub const NAT6_UNRESOLVED: Named = nat(
    "nat6 unresolved",
    47,
    key::IPV6,
    NAT_PORT,
    RealServers::Unresolved,
);
pub const NAT4_NO_EGRESS: Named = nat4("nat4 no egress", 48, MUTE);
pub const NAT6_NO_EGRESS: Named = nat6("nat6 no egress", 49, MUTE);
/// Their way takes [`NARROW_MTU`] bytes.
pub const NAT4_NARROW: Named = Named {
    mtu: NARROW_MTU,
    ..nat4("nat4 narrow", 50, LOOPBACK)
};
pub const NAT6_NARROW: Named = Named {
    mtu: NARROW_MTU,
    ..nat6("nat6 narrow", 51, LOOPBACK)
};
/// Nobody's here; of the second the address is still on this host.
pub const NAT4_NOT_OWNED: Named = Named {
    owner: 1,
    ..nat4("nat4 not owned", 52, LOOPBACK)
};
pub const NAT6_STILL_LOCAL: Named = Named {
    owner: 2,
    ..nat6("nat6 still local", 53, LOOPBACK)
};

/// Every service of the world.
pub const SERVICES: &[Named] = &[
    WEB,
    EVERY_PORT,
    ONE_PORT,
    EMPTY,
    UNRESOLVED,
    NO_EGRESS,
    LOCAL,
    REDIRECTED,
    TAGGED,
    DOUBLE_TAGGED,
    REDIRECTED_TAGGED,
    MANY,
    NOT_OWNED,
    STILL_LOCAL,
    VIRTUAL,
    VIRTUAL_ELSEWHERE,
    VIRTUAL_STILL_LOCAL,
    NARROW,
    TUN4,
    TUN6,
    TUN4_VARIED,
    TUN6_VARIED,
    TUN_REDIRECTED,
    TUN_TAGGED,
    TUN_DOUBLE_TAGGED,
    TUN_UNRESOLVED,
    TUN_NO_EGRESS,
    TUN4_NARROW,
    TUN6_NARROW,
    NAT4,
    NAT6,
    NAT4_PORT,
    NAT6_PORT,
    NAT4_TAGGED,
    NAT6_TAGGED,
    NAT4_UNRESOLVED,
    NAT6_UNRESOLVED,
    NAT4_NO_EGRESS,
    NAT6_NO_EGRESS,
    NAT4_NARROW,
    NAT6_NARROW,
    NAT4_NOT_OWNED,
    NAT6_STILL_LOCAL,
];

/// Slots of the tables: a few more than real servers, and a prime.
const SLOTS: u32 = 251;

impl Named {
    /// Its IPv4 address.
    pub fn v4(self) -> IpAddr {
        v4(self.host)
    }

    /// Its IPv6 address.
    pub fn v6(self) -> IpAddr {
        v6(self.host)
    }

    /// Any key by which its id can be found.
    pub fn a_key(self) -> ServiceKey {
        self.keys()[0]
    }

    /// A virtual address of a family that it serves.
    pub fn address(self) -> IpAddr {
        match self.manner {
            Manner::Nat {
                family: key::IPV6, ..
            } => self.v6(),
            Manner::Direct | Manner::Tunnel { .. } | Manner::Nat { .. } => self.v4(),
        }
    }

    /// The port of its first real server.
    pub fn real_port(self) -> u16 {
        match self.manner {
            Manner::Nat { port, .. } if port != 0 => port,
            Manner::Direct | Manner::Tunnel { .. } | Manner::Nat { .. } => self.port,
        }
    }

    /// The address of its real server number `number`.
    pub fn real_server(self, number: u8) -> IpAddr {
        match self.manner {
            Manner::Tunnel {
                family: key::IPV6, ..
            }
            | Manner::Nat {
                family: key::IPV6, ..
            } => {
                let (host, number) = (u16::from(self.host), u16::from(number));
                Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, host, number).into()
            }
            Manner::Direct | Manner::Tunnel { .. } | Manner::Nat { .. } => {
                Ipv4Addr::new(10, 1, self.host, number).into()
            }
        }
    }

    /// Where its outer headers come from: no bit that varies is set.
    pub fn tunnel_source(self) -> Option<TunnelSource> {
        let Manner::Tunnel {
            family,
            varying_bits,
        } = self.manner
        else {
            return None;
        };
        let (address, bits) = if family == key::IPV4 {
            (IpAddr::from([10, 3, 7, 9]), 32)
        } else {
            ("2001:db8:3:0:1:2:a07:9".parse().expect("an address"), 128)
        };
        if varying_bits == 0 {
            return Some(TunnelSource::fixed(address));
        }
        let network = IpNet::new(address, bits - varying_bits).expect("a prefix length");
        Some(TunnelSource::within(network))
    }

    /// What becomes of `frame` on its way to the first real server, out of a station with this MAC.
    pub fn sent(self, frame: &[u8], from: Mac) -> Vec<u8> {
        let routed = packets::routed(frame, self.real_server_mac(0), from);
        match (self.manner, self.tunnel_source()) {
            (_, Some(source)) => packets::tunnelled(&routed, source, self.real_server(0)),
            (Manner::Nat { .. }, None) => {
                let to = SocketAddr::new(self.real_server(0), self.real_port());
                packets::translated(&routed, packets::End::Destination, to)
            }
            (Manner::Direct | Manner::Tunnel { .. }, None) => routed,
        }
    }

    /// The MAC address of its real server number `number`.
    pub fn real_server_mac(self, number: u8) -> Mac {
        [
            2,
            0,
            0,
            1,
            self.host ^ u8::from(self.port == 443) << 7,
            number,
        ]
    }

    /// Who owns each slot of its table, as numbers of real servers.
    pub fn table(self) -> Vec<u32> {
        match self.real_servers {
            RealServers::Down => Vec::new(),
            // Squares: shares are unequal, and neighbouring slots differ.
            RealServers::Many(count) => (0..SLOTS)
                .map(|slot| slot * slot % u32::from(count))
                .collect(),
            _ => vec![0; SLOTS as usize],
        }
    }

    /// What becomes of the datagram in `frame`, of the flow with this hash, where it comes in pieces: `cut` cuts it up as it
    /// came.
    pub fn sent_in_pieces(
        self,
        frame: &[u8],
        flow: u32,
        cut: impl Fn(&[u8]) -> Vec<Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        let from = match self == REDIRECTED {
            true => OTHER_PORT,
            false => DIRECTOR,
        };
        match self.tunnel_source() {
            Some(source) => cut(&packets::routed(frame, self.real_server_mac(0), from))
                .iter()
                .map(|piece| packets::tunnelled_as(piece, flow, source, self.real_server(0)))
                .collect(),
            None => cut(&self.sent(frame, from)),
        }
    }

    fn keys(self) -> Vec<ServiceKey> {
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(self.host)).octets();
        let serves = |family| match self.manner {
            Manner::Nat { family: own, .. } => own == family,
            Manner::Direct | Manner::Tunnel { .. } => true,
        };
        [key::TCP, key::UDP]
            .into_iter()
            .flat_map(|protocol| {
                [
                    ServiceKey::v4([10, 0, 0, self.host], self.port, protocol),
                    ServiceKey::v6(v6, self.port, protocol),
                ]
            })
            .filter(|key| serves(key.family()))
            .collect()
    }

    fn desired(self) -> Service {
        let up = RealServer {
            address: self.real_server(0),
            port: match self.manner {
                Manner::Nat { port, .. } => port,
                Manner::Direct | Manner::Tunnel { .. } => 0,
            },
            mode: match self.manner {
                Manner::Direct => Mode::Dr,
                Manner::Tunnel { .. } => Mode::Tun,
                Manner::Nat { .. } => Mode::Nat,
            },
            tunnel_source: self.tunnel_source(),
            weight: 1,
            state: BackendState::Up,
            term: Term::default(),
            next_hop: NextHop::Via {
                mac: self.real_server_mac(0),
                device: LOOPBACK,
                mtu: self.mtu,
            },
        };
        let via = |number, device| RealServer {
            address: self.real_server(number),
            next_hop: NextHop::Via {
                mac: self.real_server_mac(number),
                device,
                mtu: self.mtu,
            },
            ..up.clone()
        };
        let real_servers = match self.real_servers {
            RealServers::One(device) => vec![via(0, device)],
            RealServers::Many(count) => (0..count).map(|number| via(number, LOOPBACK)).collect(),
            RealServers::Local => vec![RealServer {
                mode: Mode::Local,
                next_hop: NextHop::Unresolved,
                ..up
            }],
            RealServers::Unresolved => vec![RealServer {
                next_hop: NextHop::Unresolved,
                ..up
            }],
            RealServers::Down => vec![RealServer {
                state: BackendState::Down,
                ..up
            }],
        };
        Service {
            name: self.name.to_owned(),
            keys: self.keys(),
            owners: vec![self.owner; self.keys().len()],
            table: self.table().into(),
            real_servers,
            flows: FlowRules::default(),
            shares: Vec::new(),
        }
    }
}

/// An IPv4 address of the world's network.
pub fn v4(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

/// An IPv6 address of the world's network.
pub fn v6(host: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)).into()
}

/// The whole configuration.
pub fn desired() -> Desired {
    let plain = |index, mac| Device {
        index,
        frames: index,
        vlans: 0,
        mac,
        transmits: true,
    };
    let tagged = |index, frames, vlans, mac| Device {
        index,
        frames,
        vlans,
        mac,
        transmits: true,
    };
    Desired {
        local: [v4(HOST), v6(HOST)].into(),
        services: SERVICES.iter().copied().map(Named::desired).collect(),
        devices: vec![
            plain(LOOPBACK, DIRECTOR),
            plain(OTHER, OTHER_PORT),
            Device {
                transmits: false,
                ..plain(MUTE, OTHER_PORT)
            },
            tagged(TAGGED_DEVICE, LOOPBACK, u32::from(VLAN), DIRECTOR),
            tagged(
                DOUBLE_TAGGED_DEVICE,
                LOOPBACK,
                u32::from(VLAN) | u32::from(INNER_VLAN) << 16,
                DIRECTOR,
            ),
            tagged(OTHER_TAGGED_DEVICE, OTHER, u32::from(VLAN), OTHER_PORT),
        ],
    }
}

/// Writes the ownership words that the services refer to.
pub fn set_owners(maps: &Arc<Maps>) {
    let words = [
        (1, 0),
        (2, Owner::STILL_LOCAL),
        (3, mac_word(VIRTUAL_MAC) | Owner::FORWARDS),
        (4, mac_word(VIRTUAL_MAC)),
        (5, mac_word(VIRTUAL_MAC) | Owner::STILL_LOCAL),
    ];
    for (owner, word) in words {
        maps.control
            .store_word(0, offset_of!(Control, owners) + owner * 8, word);
    }
}

/// Clients whose way back is remembered: behind the interface that packets come from, behind the other one, in a VLAN, and
/// where it takes [`NARROW_MTU`] bytes.
pub fn clients(family: u8) -> [IpAddr; 4] {
    [7, 8, 9, 10].map(|host| match family {
        key::IPV4 => Ipv4Addr::new(10, 9, 8, host).into(),
        _ => Ipv6Addr::new(0x2001, 0xdb8, 9, 8, 7, 6, 5, u16::from(host)).into(),
    })
}

/// What is remembered of them.
pub fn routes() -> Vec<(IpAddr, Route)> {
    let way = |ifindex, from, vlans, mtu| Route {
        destination: mac_word(CLIENT),
        source: mac_word(from),
        ifindex,
        vlans,
        mtu,
        ..Route::default()
    };
    let ways = [
        way(LOOPBACK, DIRECTOR, 0, 0),
        way(OTHER, OTHER_PORT, 0, 0),
        way(LOOPBACK, DIRECTOR, u32::from(VLAN), 0),
        way(LOOPBACK, DIRECTOR, 0, NARROW_MTU),
    ];
    [key::IPV4, key::IPV6]
        .into_iter()
        .flat_map(|family| clients(family).into_iter().zip(ways))
        .collect()
}
