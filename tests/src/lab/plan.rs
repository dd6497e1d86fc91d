//! The plan of the network: which nodes there are, and the addresses of their legs.
//!
//! Pure data: [`super::network`] turns it into namespaces, and tests read addresses from it.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The virtual IPv4 address of direct routing.
pub const VIP4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);
/// The virtual IPv6 address of direct routing.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x100);
/// More real servers than this the address plan has no room for.
pub const MAX_REAL_SERVERS: usize = 8;

/// The bridge of the front network, in node `sw`.
pub(super) const FRONT: &str = "front";
/// The bridge of the back network, in node `sw`.
pub(super) const BACK: &str = "back";

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Holds the bridges and the far end of every cable.
    Switch,
    /// Sends requests; on the front network only.
    Client,
    /// Runs the agent; XDP can transmit on both its legs.
    Director,
    /// Runs what is balanced to; has the virtual addresses on `lo`.
    RealServer,
}

/// A network interface of a node, and the switch port that it is plugged into.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    /// Its name in the node.
    pub device: &'static str,
    /// The name of the other end, in node `sw`.
    pub port: String,
    /// The bridge that the port belongs to.
    pub bridge: &'static str,
    /// Its address, of a /24.
    pub ipv4: Ipv4Addr,
    /// Its address, of a /64.
    pub ipv6: Ipv6Addr,
}

impl Leg {
    /// `02:00:AA:BB:CC:DD` for the address A.B.C.D, so that a capture can be read without a table.
    pub fn mac(&self) -> String {
        let [a, b, c, d] = self.ipv4.octets();
        format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }
}

/// One host of the plan.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub name: String,
    pub role: Role,
    pub legs: Vec<Leg>,
}

/// All nodes, the switch first.
pub(super) fn nodes(real_servers: usize) -> Vec<NodePlan> {
    let mut nodes = vec![NodePlan {
        name: "sw".into(),
        role: Role::Switch,
        legs: Vec::new(),
    }];
    for number in 1..=2 {
        let name = format!("cl{number}");
        let legs = vec![leg("eth0", name.clone(), FRONT, 100 + number)];
        nodes.push(NodePlan {
            name,
            role: Role::Client,
            legs,
        });
    }
    nodes.extend(
        (1..=2).map(|number| two_legged(format!("lb{number}"), Role::Director, 10 + number)),
    );
    nodes.extend(
        (1..)
            .take(real_servers)
            .map(|number| two_legged(format!("rs{number}"), Role::RealServer, 20 + number)),
    );
    nodes
}

fn two_legged(name: String, role: Role, host: u8) -> NodePlan {
    let legs = vec![
        leg("eth0", format!("{name}f"), FRONT, host),
        leg("eth1", format!("{name}b"), BACK, host),
    ];
    NodePlan { name, role, legs }
}

/// `host` is the last number of both addresses as they are written: 21 gives 10.1.0.21 and fd00:1::21.
fn leg(device: &'static str, port: String, bridge: &'static str, host: u8) -> Leg {
    let network = if bridge == FRONT { 1 } else { 2 };
    let as_written =
        u16::from_str_radix(&host.to_string(), 16).expect("decimal digits are hexadecimal ones");
    Leg {
        device,
        port,
        bridge,
        ipv4: Ipv4Addr::new(10, network, 0, host),
        ipv6: Ipv6Addr::new(0xfd00, network.into(), 0, 0, 0, 0, 0, as_written),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_follow_the_number_of_the_node() {
        let plan = nodes(MAX_REAL_SERVERS);
        let names: Vec<_> = plan.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "sw", "cl1", "cl2", "lb1", "lb2", "rs1", "rs2", "rs3", "rs4", "rs5", "rs6", "rs7",
                "rs8"
            ]
        );
        let last = &plan.last().unwrap().legs[1];
        assert_eq!(last.ipv4, Ipv4Addr::new(10, 2, 0, 28));
        assert_eq!(last.ipv6, "fd00:2::28".parse::<Ipv6Addr>().unwrap());
        assert_eq!(last.mac(), "02:00:0a:02:00:1c");
        assert_eq!(
            plan[1].legs[0].ipv6,
            "fd00:1::101".parse::<Ipv6Addr>().unwrap()
        );
    }

    #[test]
    fn no_two_legs_share_an_address_or_a_port() {
        let plan = nodes(MAX_REAL_SERVERS);
        let legs: Vec<_> = plan.iter().flat_map(|node| &node.legs).collect();
        for (index, leg) in legs.iter().enumerate() {
            for other in &legs[index + 1..] {
                assert_ne!(leg.ipv4, other.ipv4);
                assert_ne!(leg.ipv6, other.ipv6);
                assert_ne!(leg.port, other.port);
            }
            assert_ne!(leg.ipv4, VIP4);
            assert_ne!(leg.ipv6, VIP6);
        }
    }
}
