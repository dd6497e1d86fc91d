//! How a service's real servers are chosen, where that is not the slot of the flow's hash alone.

/// A service's word. 0: its table and the flow's hash say it all, which is the way of most packets.
///
/// The method in bits 0..4, [`Self::PERSISTENT`], [`Self::ONE_PACKET`] and [`Self::SLOPPY`] above, the length of clients'
/// prefixes in bits 8..16.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduling(pub u32);

/// Where a new flow goes.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `mh`: to the owner of the slot that the flow's hash picks.
    #[default]
    BySlot = 0,
    /// `sh`: to the owner of the slot that the hash of its source address picks.
    BySource = 1,
    /// `dh`: to the owner of the slot that the hash of its destination address picks.
    ByDestination = 2,
    /// `rr`, `wrr`: to the next of the table, which is a sequence of turns.
    InTurn = 3,
    /// `lc`: to who has fewest connections. This and the next three: the table lists the real servers.
    Least = 4,
    /// `wlc`: to who has fewest for its weight.
    LeastByWeight = 5,
    /// `sed`: to who would have fewest active ones for its weight, were it chosen.
    ShortestDelay = 6,
    /// `nq`: to one without an active one, else as `sed`.
    NeverQueue = 7,
}

/// Bits of a slot's hash that flows of the same address differ in where the address picks the slot, so that the agent
/// finds the slot by the tag and flows are told apart all the same. Tables have at most 2^17 slots.
pub const FLOW_BITS: u32 = 0x3fff;

/// Real servers that are looked at for a new flow: how long a list of them may be, and how many turns are tried where
/// some have as many connections as they may.
pub const CANDIDATES: u32 = 128;

impl Scheduling {
    /// A client's connections go to one real server.
    pub const PERSISTENT: u32 = 1 << 4;
    /// Datagrams are no flow: each goes by itself.
    pub const ONE_PACKET: u32 = 1 << 5;
    /// A segment of a connection that is not known opens one.
    pub const SLOPPY: u32 = 1 << 6;

    /// A method and nothing else.
    pub const fn new(method: Method) -> Self {
        Self(method as u32)
    }

    /// The same with these flags.
    pub const fn with(self, flags: u32) -> Self {
        Self(self.0 | flags)
    }

    /// The same for clients of a prefix of this length.
    pub const fn persistent(self, prefix: u8) -> Self {
        Self(self.0 & !0xff00 | Self::PERSISTENT | (prefix as u32) << 8)
    }

    /// How new flows are given to real servers.
    #[inline(always)]
    pub const fn method(self) -> Method {
        match self.0 & 0xf {
            0 => Method::BySlot,
            1 => Method::BySource,
            2 => Method::ByDestination,
            3 => Method::InTurn,
            4 => Method::Least,
            5 => Method::LeastByWeight,
            6 => Method::ShortestDelay,
            _ => Method::NeverQueue,
        }
    }

    /// True where every flow is remembered, because nobody could work out again where it went.
    #[inline(always)]
    pub const fn is_stateful(self) -> bool {
        self.0 & 0xf >= Method::InTurn as u32 || self.is_persistent()
    }

    /// True where a client's connections go to one real server.
    #[inline(always)]
    pub const fn is_persistent(self) -> bool {
        self.0 & Self::PERSISTENT != 0
    }

    /// True where datagrams are no flow.
    #[inline(always)]
    pub const fn is_one_packet(self) -> bool {
        self.0 & Self::ONE_PACKET != 0
    }

    /// True where a segment of an unknown connection opens one.
    #[inline(always)]
    pub const fn is_sloppy(self) -> bool {
        self.0 & Self::SLOPPY != 0
    }

    /// Bits of a client's address that count.
    #[inline(always)]
    pub const fn prefix(self) -> u32 {
        self.0 >> 8 & 0xff
    }

    /// The part of [`crate::Tag::flow`] that picks the slot.
    #[inline(always)]
    pub const fn slot_hash(self, flow: u32) -> u32 {
        match self.method() {
            Method::BySource | Method::ByDestination => flow & !FLOW_BITS,
            _ => flow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METHODS: [Method; 8] = [
        Method::BySlot,
        Method::BySource,
        Method::ByDestination,
        Method::InTurn,
        Method::Least,
        Method::LeastByWeight,
        Method::ShortestDelay,
        Method::NeverQueue,
    ];

    proptest! {
        #[test]
        fn the_parts_of_the_word_do_not_touch(method in 0..8_usize, prefix in any::<u8>(), one_packet in any::<bool>(), sloppy in any::<bool>()) {
            let flags = (u32::from(one_packet) * Scheduling::ONE_PACKET)
                | (u32::from(sloppy) * Scheduling::SLOPPY);
            let plain = Scheduling::new(METHODS[method]).with(flags);
            prop_assert!(!plain.is_persistent());
            let word = plain.persistent(prefix);
            prop_assert_eq!((word.method(), word.prefix()), (METHODS[method], u32::from(prefix)));
            prop_assert_eq!((word.is_persistent(), word.is_one_packet(), word.is_sloppy()), (true, one_packet, sloppy));
        }

        #[test]
        fn flows_of_an_address_have_one_slot_and_tags_of_their_own(address in any::<u32>(), flow in any::<u32>()) {
            let tag = address & !FLOW_BITS | flow & FLOW_BITS;
            prop_assert_eq!(Scheduling::new(Method::BySource).slot_hash(tag), address & !FLOW_BITS);
            prop_assert_eq!(Scheduling::new(Method::BySlot).slot_hash(flow), flow);
        }
    }

    #[test]
    fn the_usual_service_has_the_word_0() {
        assert_eq!(Scheduling::new(Method::BySlot), Scheduling(0));
        assert!(!Scheduling(0).is_stateful());
    }

    #[test]
    fn schedulers_that_compute_their_choice_remember_nothing_unless_clients_persist() {
        for method in METHODS {
            let computes = matches!(
                method,
                Method::BySlot | Method::BySource | Method::ByDestination
            );
            assert_eq!(
                Scheduling::new(method).is_stateful(),
                !computes,
                "{method:?}"
            );
            assert!(Scheduling::new(method).persistent(32).is_stateful());
        }
    }
}
