//! What the agent knows of the host's network, and the one place that speaks rtnetlink.
//!
//! The data plane forwards a packet by writing a destination MAC address and naming an egress
//! interface. [`Resolver`] finds both for every real server, keeps the kernel's neighbour entries
//! alive (while only XDP forwards, the kernel sees no traffic and would let them rot) and publishes
//! what is true now. [`Netlink`] answers single questions: which links, which addresses, which
//! route. No other module of the agent may use `rtnetlink`: its API breaks with each minor version.
//!
//! What is deliberately absent: nothing here adds routes or links, or changes a sysctl. All that is
//! ever written to the host are neighbour entries and virtual addresses. Both carry
//! [`OWNER_PROTOCOL`], so that `ip neigh` and `ip address` list them as `proto 208` and a later start
//! can adopt or remove them.

mod addresses;
mod engine;
mod error;
mod links;
mod macvlan;
mod monitor;
mod neighbours;
mod netlink;
mod next_hop;
mod own_addresses;
mod own_routes;
mod resolver;
mod routes;
mod upkeep;
mod view;

#[cfg(test)]
mod tests;

pub use addresses::{HostAddress, HostAddresses};
pub use error::NetworkError;
pub use links::{Link, Links, Vlan, XdpAttachment, XdpMode};
pub use neighbours::OWNER_PROTOCOL;
pub use netlink::Netlink;
pub use next_hop::NextHop;
pub use own_addresses::{OwnAddress, PresentAddress, SetAddress};
pub use own_routes::{OwnRoute, RouteKey};
pub use resolver::{NextHops, Resolver, ResolverOptions};
pub use routes::Route;
pub use upkeep::Keeping;
