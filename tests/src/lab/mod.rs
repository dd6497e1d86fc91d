//! A network of namespaces with clients, directors and real servers, as it would be cabled in a rack.
//!
//! ```text
//!          cl1   cl2                       clients       10.1.0.101 .102   fd00:1::101 ::102
//!           |     |
//!   front --+--+--+--+-----+-----+---      10.1.0.0/24, fd00:1::/64   (bridge "front" in node sw)
//!              |     |     |     |
//!             lb1   lb2   rs1   rs2 ...    directors     .11 .12           ::11 ::12
//!              |     |     |     |         real servers  .21 .22 ...       ::21 ::22 ...
//!   back  -----+-----+-----+-----+---      10.2.0.0/24, fd00:2::/64   (bridge "back" in node sw)
//! ```
//!
//! Every director and real server has a front leg `eth0` and a back leg `eth1`, clients have `eth0` alone. The virtual
//! addresses [`VIP4`] and [`VIP6`] are on `eth0` of lb1 and on `lo` of every real server, which is what direct
//! routing asks for. Nothing outside these namespaces sees a packet of them.
//!
//! A [`Lab`] goes away when it is dropped. One whose process was killed is removed by the next [`Lab::up`], or by
//! [`remove_left_overs`].

mod agent;
mod daemon;
mod keepalived;
mod listing;
mod namespace;
mod network;
mod nginx;
mod node;
mod pass_program;
mod plan;
mod registry;
mod removal;
mod requirements;
mod session;
mod wait;

pub use agent::{Agent, StatusReader};
pub use daemon::{Daemon, Ended};
pub use keepalived::Keepalived;
pub use listing::{Listed, all_labs};
pub use nginx::{AccessLog, Nginx, Request};
pub use node::Node;
pub use plan::{MAX_REAL_SERVERS, Role, VIP4, VIP6};
pub use registry::{ROOT, State, remove_left_overs};
pub use requirements::{check as check_requirements, check_root};
pub use session::{Lab, Options};
pub use wait::wait_until;
