//! The control block: the single element of the map every packet reads first.
//!
//! One array look-up brings the live word, the address filter, the interfaces and the ownership words, where four maps
//! would cost four.

use crate::filter;
use bytemuck::{Pod, Zeroable};

/// Places in the interface table; a power of two.
pub const INTERFACES: usize = 256;
/// How many places a look-up by ifindex tries.
pub const INTERFACE_PROBES: usize = 4;
/// Ownership words; a power of two.
pub const OWNERS: usize = 512;
/// The ownership word of services that no virtual router governs.
pub const ALWAYS_OWNED: u16 = 0;

/// What every packet reads first.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Control {
    /// A [`Live`] word: which bank is live. Its store is the commit.
    pub live: u64,
    /// Seed of the service table's hash, one for each bank.
    pub service_seed: [u32; 2],
    /// Ticks (seconds) that an agent has lived to count: what flows are dated by. Stands still while none runs, so that no
    /// flow grows old unobserved. 28 bits count, see [`crate::Flow`].
    pub clock: u64,
    /// The secret key of [`crate::Tag`]s, drawn when the map is made.
    pub flow_key: u64,
    /// The address filter, see [`crate::filter`].
    pub filter: [u64; filter::WORDS],
    /// [`Owner`] words.
    pub owners: [u64; OWNERS],
    /// Interfaces by ifindex, open addressing from `ifindex & (INTERFACES - 1)`.
    pub interfaces: [Interface; INTERFACES],
}

const _: () = assert!(size_of::<Control>().is_multiple_of(8) && align_of::<Control>() == 8);

/// The live word: the bank in bit 0, the generation (number of commits) above it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Live(pub u64);

impl Live {
    /// The bank packets read: 0 or 1.
    #[inline(always)]
    pub const fn bank(self) -> u32 {
        self.0 as u32 & 1
    }

    /// Where the live bank keeps entry `number` of a table that has two banks, see [`banked`].
    #[inline(always)]
    pub const fn place(self, number: u32) -> u32 {
        banked(self.bank(), number)
    }

    /// How many commits there were.
    pub const fn generation(self) -> u64 {
        self.0 >> 1
    }

    /// The word that makes the other bank live, one generation on.
    pub const fn flipped(self) -> Self {
        Self((self.generation() + 1) << 1 | (self.bank() ^ 1) as u64)
    }
}

/// Where bank `bank` keeps entry `number`: the banks lie side by side, so that no packet needs to know their length.
#[inline(always)]
pub const fn banked(bank: u32, number: u32) -> u32 {
    number << 1 | bank
}

/// Who owns a virtual router's addresses, in one word: its store moves all of them at once.
/// Bits 0..48: the virtual MAC that packets may be addressed to (0: none); flags above, the first asked in the sign bit,
/// which is tested without a constant.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Owner(pub u64);

impl Owner {
    /// This host forwards for the addresses.
    pub const FORWARDS: u64 = 1 << 63;
    /// This host does not forward, but the addresses are still on it: its own stack would answer with a reset, so
    /// packets are dropped.
    pub const STILL_LOCAL: u64 = 1 << 62;

    /// The virtual MAC as a word; 0: none.
    #[inline(always)]
    pub const fn virtual_mac(self) -> u64 {
        self.0 & crate::backend::MAC_MASK
    }

    /// True where packets are to be forwarded.
    #[inline(always)]
    pub const fn forwards(self) -> bool {
        self.0 & Self::FORWARDS != 0
    }

    /// True where packets must not reach the host's stack.
    #[inline(always)]
    pub const fn still_local(self) -> bool {
        self.0 & Self::STILL_LOCAL != 0
    }
}

/// An interface that packets come from or go to. Two words: a place is found by a shift, and is read by two loads.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Interface {
    /// Its address and what it can do.
    pub station: Station,
    /// The kernel's index of the device that frames enter and leave by; 0: a free place.
    pub ifindex: u32,
    /// VLAN ids that frames carry there: outer in the low 16 bits, inner in the high ones; 0: none.
    pub vlans: u32,
}

const _: () = assert!(size_of::<Interface>() == 16);

/// An interface's MAC address in bits 0..48, what packets must be addressed to and the source of what is sent; flags
/// above, as in [`Owner`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Station(pub u64);

impl Station {
    /// Frames may leave by this interface.
    pub const TRANSMITS: u64 = 1 << 63;

    /// The MAC address as a word.
    #[inline(always)]
    pub const fn mac(self) -> u64 {
        self.0 & crate::backend::MAC_MASK
    }

    /// True where frames may leave.
    #[inline(always)]
    pub const fn transmits(self) -> bool {
        self.0 & Self::TRANSMITS != 0
    }
}

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
unsafe impl aya::Pod for Control {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::mac_word;
    use core::mem::offset_of;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_flip_changes_the_bank_and_adds_a_generation(word in 0..u64::MAX - 2) {
            let live = Live(word);
            let flipped = live.flipped();
            prop_assert_eq!(flipped.bank(), 1 - live.bank());
            prop_assert_eq!(flipped.generation(), live.generation() + 1);
        }

        #[test]
        fn an_owner_is_its_mac_and_its_flags(mac in any::<[u8; 6]>(), forwards in any::<bool>(), still_local in any::<bool>()) {
            let flags = if forwards { Owner::FORWARDS } else { 0 } | if still_local { Owner::STILL_LOCAL } else { 0 };
            let owner = Owner(mac_word(mac) | flags);
            prop_assert_eq!(owner.virtual_mac(), mac_word(mac));
            prop_assert_eq!((owner.forwards(), owner.still_local()), (forwards, still_local));
        }
    }

    #[test]
    fn a_zeroed_control_block_owns_and_forwards_nothing() {
        assert!(!Owner::default().forwards() && !Owner::default().still_local());
        assert_eq!(
            (Live::default().bank(), Live::default().generation()),
            (0, 0)
        );
    }

    /// What is stored while packets pass is whole words; a table is masked, not compared.
    #[test]
    fn words_are_aligned_and_tables_are_powers_of_two() {
        for offset in [
            offset_of!(Control, live),
            offset_of!(Control, service_seed),
            offset_of!(Control, clock),
            offset_of!(Control, flow_key),
            offset_of!(Control, filter),
            offset_of!(Control, owners),
            offset_of!(Control, interfaces),
        ] {
            assert_eq!(offset % 8, 0);
        }
        assert_eq!(size_of::<Interface>() % 8, 0);
        assert!(
            INTERFACES.is_power_of_two()
                && OWNERS.is_power_of_two()
                && filter::WORDS.is_power_of_two()
        );
        assert_eq!(
            (offset_of!(Interface, ifindex), offset_of!(Interface, vlans)),
            (8, 12)
        );
    }

    /// Sizes of the maps' values that [`crate::LAYOUT_VERSION`] stands for.
    #[test]
    fn the_layout_of_version_4() {
        assert_eq!(crate::LAYOUT_VERSION, 4);
        assert_eq!(
            size_of::<Control>(),
            8 + 8 + 16 + 8 * filter::WORDS + 8 * OWNERS + 16 * INTERFACES
        );
        assert_eq!(
            (
                size_of::<crate::Service>(),
                size_of::<crate::Backend>(),
                size_of::<crate::Slot>(),
                size_of::<crate::Counter>(),
                size_of::<crate::Load>(),
            ),
            (64, 64, 8, 16, 32)
        );
        assert_eq!(offset_of!(crate::Backend, next_hop), 0);
    }
}
