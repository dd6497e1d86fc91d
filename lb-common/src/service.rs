//! One listen address of a service, as an entry of the open-addressed service table.

use crate::key::{Address, ServiceKey};
use bytemuck::{Pod, Zeroable};

/// How many entries a look-up tries, beginning with the key's home position. The agent places every key within it.
pub const MAX_PROBES: u32 = 8;

/// An entry of the service table. A service with several listen addresses has one entry for each; they share
/// `id` and slots. All zero: a free entry, where a look-up ends. One cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Service {
    /// Destination address, wire order.
    pub address: Address,
    /// See [`crate::key::tuple`]. 0: free entry.
    pub tuple: u32,
    /// First slot of the service's table.
    pub slots_start: u32,
    /// Slots in the table; 0: no live real server.
    pub slots_len: u32,
    /// The service's number: its row of reasons. 0 is kept for packets that belong to no service.
    pub id: u16,
    /// Index of the ownership word; [`crate::control::ALWAYS_OWNED`] where no virtual router decides.
    pub owner: u16,
    /// Bits of `FLAG_*`.
    pub flags: u32,
    /// A [`crate::Scheduling`]: how new flows are given to real servers.
    pub scheduling: u32,
    /// With [`FLAG_REPLY`]: the virtual address that replies are to come from, wire order.
    pub reply_address: Address,
    /// With [`FLAG_REPLY`]: the port that replies are to come from, network order.
    pub reply_port_be: u16,
    /// Zero.
    pub pad: [u16; 3],
}

/// The entry stands for an address alone: it has no slots and forwards nothing.
pub const FLAG_ADDRESS_ONLY: u32 = 1;

/// The entry is found by the source of a NAT real server's reply, see [`crate::key::reply`].
pub const FLAG_REPLY: u32 = 2;
/// The entry stands for an address of the host itself, see [`crate::key::local`].
pub const FLAG_LOCAL: u32 = 4;

impl Service {
    /// Whether the entry is a listen address of a service.
    pub const fn listens(&self) -> bool {
        self.tuple != 0 && self.flags == 0
    }

    /// The key this entry is found by.
    pub const fn key(&self) -> ServiceKey {
        ServiceKey {
            address: self.address,
            tuple: self.tuple,
        }
    }
}

const _: () = assert!(size_of::<Service>() == 64 && align_of::<Service>() == 4);

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
unsafe impl aya::Pod for Service {}
