//! Health checks that take the way of balanced traffic: what the agent tells the TC programs of one conversation.

use bytemuck::{Pod, Zeroable};

/// An address in wire order, four bytes to a word; IPv4 mapped into IPv6 (RFC 4291 §2.5.5.2).
pub type Address = [u32; 4];

/// The packets of a conversation in one direction, as they are before anything is done to them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Conversation {
    /// Where they come from.
    pub source: Address,
    /// Where they go.
    pub destination: Address,
    /// Network order.
    pub source_port_be: u16,
    /// Network order.
    pub destination_port_be: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

const _: () = assert!(size_of::<Conversation>() == 40);

/// What becomes of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Detour {
    /// Going out: put in the place of the destination. Coming in: in that of the source.
    pub address: Address,
    /// Source of the header around it; zero: there is none.
    pub outer_source: Address,
    /// Destination of that.
    pub outer_destination: Address,
    /// Until when, nanoseconds of boot time: afterwards the same ports may be somebody else's.
    pub until_ns: u64,
}

const _: () = assert!(size_of::<Detour>() == 56);

/// Conversations that are known at a time, per direction; the oldest go first.
pub const CONVERSATIONS: u32 = 16384;

/// Names of the programs.
pub mod program {
    /// What goes out.
    pub const OUT: &str = "probe_out";
    /// What comes in.
    pub const IN: &str = "probe_in";
}

/// Names of the maps.
pub mod map {
    /// [`Conversation`](super::Conversation)s that go out, by the packets' own addresses. The agent writes, the program reads.
    pub const OUT: &str = "PROBES_OUT";
    /// Those that come in.
    pub const IN: &str = "PROBES_IN";
}

/// An IPv4 address, mapped.
pub const fn mapped(address: u32) -> Address {
    [0, 0, 0xffff_u32.to_be(), address]
}

#[cfg(feature = "user")]
mod user {
    use super::{Conversation, Detour};

    #[expect(
        unsafe_code,
        reason = "aya's marker trait, beside bytemuck's checked one"
    )]
    // SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
    unsafe impl aya::Pod for Conversation {}

    #[expect(
        unsafe_code,
        reason = "aya's marker trait, beside bytemuck's checked one"
    )]
    // SAFETY: as above.
    unsafe impl aya::Pod for Detour {}
}
