//! A backend: one real server of one service, as the data plane sees it.

use crate::key::Address;
use bytemuck::{Pod, Zeroable};

/// An entry of the backend table; its index is the backend id that slots hold, the same in both banks. One cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Backend {
    /// A [`NextHop`], one aligned word: the agent may change it at any time.
    pub next_hop: u64,
    /// The real server's address, wire order.
    pub address: Address,
    /// The real server's port, network order; 0: the port the client asked for.
    pub port_be: u16,
    /// [`crate::key::IPV4`] or [`crate::key::IPV6`]; 0: a free entry.
    pub family: u8,
    /// A [`Mode`].
    pub mode: u8,
    /// A [`BackendState`]: what health said last. Not looked at by packets; the next start of the agent begins with it.
    pub state: u8,
    /// A [`Tenure`]: what becomes of its flows.
    pub tenure: u8,
    /// Configured weight.
    pub weight: u16,
    /// Counts the lives of this id: it tells a reused id from its former holder.
    pub generation: u16,
    /// The service's `id`.
    pub service: u16,
    /// Largest IP packet on the way to the real server, bytes; 0: any. The agent may change it at any time, with the
    /// word it lies in.
    pub mtu: u32,
    /// [`Mode::Tun`]: source address of the outer header, of the real server's family, wire order. The bits of
    /// `tunnel_vary` are zero in it.
    pub tunnel_source: Address,
    /// [`Mode::Tun`]: the bits of the source's last word (IPv4: the only one) that differ from flow to flow, wire order.
    pub tunnel_vary: u32,
    /// When `tenure` ends, seconds of boot time; 0: never. For the next start of the agent.
    pub until_s: u32,
}

const _: () = assert!(size_of::<Backend>() == 64 && align_of::<Backend>() == 8);

/// Where frames for a backend go: the destination MAC in bits 0..48 (first octet lowest, as a little-endian load of
/// the frame sees it), the egress interface's place in [`crate::Control::interfaces`] in bits 48..64. 0: not resolved.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct NextHop(pub u64);

/// The bits of a word that hold a MAC address.
pub const MAC_MASK: u64 = (1 << 48) - 1;

/// A MAC address as the low 48 bits of a word.
pub const fn mac_word(mac: [u8; 6]) -> u64 {
    u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0])
}

/// The octets of a MAC address kept in the low 48 bits of a word.
pub const fn mac_octets(word: u64) -> [u8; 6] {
    let b = word.to_le_bytes();
    [b[0], b[1], b[2], b[3], b[4], b[5]]
}

impl NextHop {
    /// Not resolved yet: packets are dropped and counted.
    pub const UNRESOLVED: Self = Self(0);

    /// A neighbour's MAC behind the interface at `interface` of the interface table.
    pub const fn new(mac: [u8; 6], interface: u16) -> Self {
        Self(mac_word(mac) | (interface as u64) << 48)
    }

    /// Destination MAC as a word.
    #[inline(always)]
    pub const fn mac(self) -> u64 {
        self.0 & MAC_MASK
    }

    /// Place of the egress interface in the interface table.
    #[inline(always)]
    pub const fn interface(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// How packets reach a backend.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Direct routing: only the MAC addresses and the TTL change.
    Dr = 1,
    /// The real server is this host: its packets are passed up.
    Local = 2,
    /// The packet goes inside another IP packet, addressed to the real server.
    Tun = 3,
    /// Destination address and port become the real server's; its replies pass here again.
    Nat = 4,
}

impl TryFrom<u8> for Mode {
    type Error = u8;

    fn try_from(code: u8) -> Result<Self, u8> {
        match code {
            1 => Ok(Self::Dr),
            2 => Ok(Self::Local),
            3 => Ok(Self::Tun),
            4 => Ok(Self::Nat),
            other => Err(other),
        }
    }
}

/// What health last said of a backend.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// Takes its share of new flows.
    Up = 1,
    /// Out of the table: its check fails.
    Down = 2,
}

impl TryFrom<u8> for BackendState {
    type Error = u8;

    fn try_from(code: u8) -> Result<Self, u8> {
        match code {
            1 => Ok(Self::Up),
            2 => Ok(Self::Down),
            other => Err(other),
        }
    }
}

/// What becomes of the flows that a backend has.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tenure {
    /// It is gone for them: they go to another. What an entry says that is free.
    Released = 0,
    /// They stay, whether it takes new ones or not.
    #[default]
    Keeps = 1,
    /// It was just found dead and may come straight back: TCP connections are held (dropped), datagrams go to another.
    Holds = 2,
}

impl TryFrom<u8> for Tenure {
    type Error = u8;

    fn try_from(code: u8) -> Result<Self, u8> {
        match code {
            0 => Ok(Self::Released),
            1 => Ok(Self::Keeps),
            2 => Ok(Self::Holds),
            other => Err(other),
        }
    }
}

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
unsafe impl aya::Pod for Backend {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_next_hop_is_its_mac_and_its_interface(mac in any::<[u8; 6]>(), interface in any::<u16>()) {
            let next_hop = NextHop::new(mac, interface);
            prop_assert_eq!(mac_octets(next_hop.mac()), mac);
            prop_assert_eq!(mac_octets(next_hop.0), mac);
            prop_assert_eq!(next_hop.interface(), interface);
            prop_assert_eq!(next_hop.mac() & !MAC_MASK, 0);
        }

        #[test]
        fn only_known_codes_are_modes_and_states(code in any::<u8>()) {
            prop_assert_eq!(Mode::try_from(code).map(|mode| mode as u8), if matches!(code, 1..=4) { Ok(code) } else { Err(code) });
            prop_assert_eq!(BackendState::try_from(code).map(|state| state as u8), if matches!(code, 1 | 2) { Ok(code) } else { Err(code) });
        }
    }

    #[test]
    fn a_mac_word_is_a_little_endian_load_of_the_frame() {
        assert_eq!(mac_word([1, 2, 3, 4, 5, 6]), 0x0605_0403_0201);
    }

    #[test]
    fn a_zeroed_backend_is_free_and_unresolved() {
        let backend = Backend::default();
        assert_eq!(
            (backend.family, NextHop(backend.next_hop)),
            (0, NextHop::UNRESOLVED)
        );
        assert!(Mode::try_from(backend.mode).is_err());
    }
}
