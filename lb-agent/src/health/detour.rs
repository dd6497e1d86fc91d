//! Checks that take the way of balanced traffic: addressed to the virtual address, delivered to one real server.
//!
//! The socket speaks with the real server's own address; what is on the wire is changed below it, conversation by
//! conversation, by whoever was [`Steerer::set`].

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Where checks come from, and which way they take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The local address to speak from; `None`: the kernel's choice.
    pub address: Option<IpAddr>,
    /// `None`: addressed to the real server.
    pub detour: Option<Detour>,
}

impl From<Option<IpAddr>> for Origin {
    fn from(address: Option<IpAddr>) -> Self {
        Self {
            address,
            detour: None,
        }
    }
}

/// The way by a virtual address.
#[derive(Clone, Debug)]
pub struct Detour {
    /// That address, of the real server's family.
    pub address: IpAddr,
    /// What the packets are put into on the way there.
    pub tunnel: Tunnel,
    /// Who sees to it.
    pub steerer: Steerer,
}

/// What is around packets on their way to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Nothing: it is on the same network.
    None,
    /// A header from here; `None`: from the address that the check comes from.
    From(Option<IpAddr>),
}

/// Equal where the same is on the wire.
impl PartialEq for Detour {
    fn eq(&self, other: &Self) -> bool {
        (self.address, self.tunnel) == (other.address, other.tunnel)
    }
}

impl Eq for Detour {}

/// Packets between two sockets, one of them here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Ours.
    pub local: SocketAddr,
    /// The real server's.
    pub peer: SocketAddr,
    /// TCP or UDP, as IP numbers them.
    pub protocol: u8,
    /// What the real server is to be called by.
    pub address: IpAddr,
    /// Source of the header around the packets; `None`: there is none.
    pub tunnel: Option<IpAddr>,
    /// As long it lasts.
    pub within: Duration,
}

/// Changes what is on the wire.
pub trait Steering: Debug + Send + Sync {
    /// From now on, packets of this conversation are addressed to, and answered by, the virtual address.
    ///
    /// # Errors
    /// Where the kernel refuses.
    fn steer(&self, conversation: &Conversation) -> io::Result<()>;
}

/// Whoever does so, once there is somebody.
#[derive(Clone, Debug, Default)]
pub struct Steerer(Arc<OnceLock<Arc<dyn Steering>>>);

impl Steerer {
    /// From now on, this one does. Only the first call counts.
    pub fn set(&self, steering: Arc<dyn Steering>) {
        // The first one is as good.
        let _ = self.0.set(steering);
    }

    /// Has a conversation steered.
    ///
    /// # Errors
    /// Where nobody does so here, or the kernel refuses.
    pub fn steer(&self, conversation: &Conversation) -> io::Result<()> {
        match self.0.get() {
            Some(steering) => steering.steer(conversation),
            None => Err(io::Error::other(
                "checks by way of the virtual address are made by the running agent alone",
            )),
        }
    }
}
