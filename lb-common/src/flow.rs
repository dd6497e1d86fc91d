//! The flow table: which backend a flow was given to, where that cannot be computed.
//!
//! A set-associative table in an array: a bucket is one element, an entry two words of it. A flow has two buckets, the
//! second for when the first is full. There is no chain, no list and no lock: the program finds, makes and changes entries
//! by aligned words, and the agent ends idle ones in the same way through its mapping. A kernel hash would cost 27 to 36 ns
//! to find and 144 to 613 ns to insert (measured, kernel 6.18), and has no notion of entries that must not be evicted.

use bytemuck::{Pod, Zeroable};

/// Entries of a bucket.
pub const WAYS: usize = 8;

/// One element of the flow table. Tags and words lie apart, so that a look for a tag touches one cache line. Persistent
/// services keep their clients in it as well ([`FlowState::Regular`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Bucket {
    /// [`Tag`]s; of an entry that is not live it means nothing, but that 0 most likely is a free one's.
    pub tags: [u64; WAYS],
    /// [`Flow`] words.
    pub flows: [u64; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 128);

/// What tells a flow from all others: the hash that picks its slot in the low half, by which the agent finds the slot, and
/// one under a secret key in the high half, so that nobody can make two flows collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// From the slot's hash and the keyed one.
    #[inline(always)]
    pub const fn new(flow: u32, keyed: u32) -> Self {
        Self(flow as u64 | (keyed as u64) << 32)
    }

    /// The hash that picks the slot.
    #[inline(always)]
    pub const fn flow(self) -> u32 {
        self.0 as u32
    }

    /// The flow's two buckets, before masking. Both depend on the secret key alone, the second on all of its bits.
    #[inline(always)]
    pub const fn buckets(self) -> [u32; 2] {
        let keyed = self.0 >> 32;
        [
            keyed as u32,
            (keyed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32,
        ]
    }
}

/// An entry's second word: the backend's id in bits 0..24, its generation's low bits in 24..32, the state in 32..36, when
/// it was last used in 36..64 (ticks of [`crate::Control::clock`]). Id 0: not live. 0: free.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Flow(pub u64);

/// How far a flow has come.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// TCP: SYNs only.
    Opening = 1,
    /// TCP: one packet of a connection that was there before.
    Glimpsed = 2,
    /// TCP: confirmed by a packet that is no SYN.
    Established = 3,
    /// TCP: the client has sent a FIN.
    Closing = 4,
    /// TCP: the client's last packet was a RST.
    Reset = 5,
    /// UDP: one datagram.
    Datagram = 6,
    /// UDP: more than one.
    Stream = 7,
    /// No flow but a client of a persistent service, none of whose flows was confirmed.
    Visitor = 8,
    /// A client of a persistent service.
    Regular = 9,
}

/// What a packet is to its flow.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// TCP: opens a connection.
    Syn = 0,
    /// TCP: neither of the others.
    Data = 1,
    /// TCP: the client has no more to say.
    Fin = 2,
    /// TCP: the client gives up.
    Rst = 3,
    /// UDP.
    Datagram = 4,
    /// Speaks of the flow, but is no part of it (an ICMP error, a later fragment): changes nothing, is not remembered.
    Related = 5,
}

impl Segment {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// A TCP segment by its flags (RFC 9293 §3.1), the fourteenth byte of its header.
    #[inline(always)]
    pub const fn tcp(flags: u8) -> Self {
        if flags & Self::RST != 0 {
            Self::Rst
        } else if flags & (Self::SYN | Self::ACK) == Self::SYN {
            Self::Syn
        } else if flags & Self::FIN != 0 {
            Self::Fin
        } else {
            Self::Data
        }
    }
}

impl FlowState {
    /// The state of a flow whose first packet here this is.
    #[inline(always)]
    pub const fn first(segment: Segment) -> Self {
        match segment {
            Segment::Syn => Self::Opening,
            Segment::Data | Segment::Related => Self::Glimpsed,
            Segment::Fin => Self::Closing,
            Segment::Rst => Self::Reset,
            Segment::Datagram => Self::Datagram,
        }
    }

    /// The state after one more packet.
    #[inline(always)]
    pub const fn after(self, segment: Segment) -> Self {
        match segment {
            Segment::Fin => Self::Closing,
            Segment::Rst => Self::Reset,
            Segment::Datagram => Self::Stream,
            // A packet after a reset: nobody's reset, or one that did not count.
            Segment::Data => match self {
                Self::Closing => Self::Closing,
                _ => Self::Established,
            },
            Segment::Syn | Segment::Related => self,
        }
    }

    /// A SYN is a new connection's, not one that is repeated.
    #[inline(always)]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closing | Self::Reset)
    }

    /// Whether a new flow may take its place where a bucket is full, the lower the sooner; `None`: never. What a flood of
    /// single packets can make is on probation and goes first.
    #[inline(always)]
    pub const fn eviction(self) -> Option<u32> {
        match self {
            Self::Opening | Self::Glimpsed | Self::Datagram | Self::Visitor => Some(0),
            Self::Closing | Self::Reset => Some(1),
            Self::Established | Self::Stream | Self::Regular => None,
        }
    }

    /// The states, a bit each, whose entry may ever be evicted.
    pub const EVICTABLE: u64 = 1 << Self::Opening as u8
        | 1 << Self::Glimpsed as u8
        | 1 << Self::Datagram as u8
        | 1 << Self::Visitor as u8
        | Self::OVER;
    /// Those of them that go last.
    pub const OVER: u64 = 1 << Self::Closing as u8 | 1 << Self::Reset as u8;

    /// Whether IPVS would count the connection as active, see [`crate::load::Connections`].
    #[inline(always)]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Opening | Self::Glimpsed | Self::Established)
    }

    /// Whether it is a client's entry, no flow's.
    #[inline(always)]
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Visitor | Self::Regular)
    }

    #[inline(always)]
    const fn from_bits(bits: u64) -> Self {
        match bits & 0xf {
            1 => Self::Opening,
            2 => Self::Glimpsed,
            3 => Self::Established,
            4 => Self::Closing,
            5 => Self::Reset,
            6 => Self::Datagram,
            7 => Self::Stream,
            8 => Self::Visitor,
            _ => Self::Regular,
        }
    }
}

impl Flow {
    /// An entry that is being changed: nobody else may touch it. Its id is 0, so that it is no flow to anybody.
    pub const BUSY: Self = Self(1 << 32);
    /// Bits of a time.
    pub const SEEN_BITS: u32 = 28;

    /// A live entry.
    #[inline(always)]
    pub const fn new(backend: u32, generation: u16, state: FlowState, seen: u32) -> Self {
        Self(
            (backend & crate::slot::MAX_BACKEND) as u64
                | (generation as u64 & 0xff) << 24
                | (state as u64) << 32
                | (seen as u64) << 36,
        )
    }

    /// The backend's id; 0: not live.
    #[inline(always)]
    pub const fn backend(self) -> u32 {
        self.0 as u32 & crate::slot::MAX_BACKEND
    }

    /// True for an entry that says something.
    #[inline(always)]
    pub const fn is_live(self) -> bool {
        self.backend() != 0
    }

    /// True where the backend's id still stands for the same backend.
    #[inline(always)]
    pub const fn is_of(self, generation: u16) -> bool {
        (self.0 >> 24) as u8 == generation as u8
    }

    /// Whether a new flow may take its place: it is free, or of a state that may be evicted.
    #[inline(always)]
    pub const fn may_be_evicted(self) -> bool {
        self.0 == 0 || self.is_live() && FlowState::EVICTABLE >> (self.0 >> 32 & 0xf) & 1 == 1
    }

    /// How far it has come; means nothing where it is not live.
    #[inline(always)]
    pub const fn state(self) -> FlowState {
        FlowState::from_bits(self.0 >> 32)
    }

    /// When it was last used.
    #[inline(always)]
    pub const fn seen(self) -> u32 {
        (self.0 >> 36) as u32
    }

    /// Ticks since it was last used, at `now`.
    #[inline(always)]
    pub const fn idle(self, now: u32) -> u32 {
        now.wrapping_sub(self.seen()) & ((1 << Self::SEEN_BITS) - 1)
    }

    /// The same flow after one more packet.
    #[inline(always)]
    pub const fn after(self, segment: Segment, now: u32) -> Self {
        let identity = self.0 & 0xffff_ffff;
        Self(identity | (self.state().after(segment) as u64) << 32 | (now as u64) << 36)
    }
}

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "aya's marker trait, beside bytemuck's checked one"
)]
// SAFETY: `Pod` by bytemuck: no padding, every bit pattern valid.
unsafe impl aya::Pod for Bucket {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATES: [FlowState; 9] = [
        FlowState::Opening,
        FlowState::Glimpsed,
        FlowState::Established,
        FlowState::Closing,
        FlowState::Reset,
        FlowState::Datagram,
        FlowState::Stream,
        FlowState::Visitor,
        FlowState::Regular,
    ];

    proptest! {
        #[test]
        fn the_parts_of_a_flow_do_not_touch(backend in 1..=crate::slot::MAX_BACKEND, generation in any::<u16>(), state in 0..9_usize, seen in 0..1_u32 << Flow::SEEN_BITS) {
            let flow = Flow::new(backend, generation, STATES[state], seen);
            prop_assert!(flow.is_live() && flow.is_of(generation) && !flow.is_of(generation.wrapping_add(1)));
            prop_assert_eq!((flow.backend(), flow.state(), flow.seen()), (backend, STATES[state], seen));
        }

        #[test]
        fn idle_time_goes_on_over_the_end_of_the_clock(seen in 0..1_u32 << Flow::SEEN_BITS, idle in 0..1_u32 << Flow::SEEN_BITS) {
            let now = seen.wrapping_add(idle) & ((1 << Flow::SEEN_BITS) - 1);
            prop_assert_eq!(Flow::new(1, 0, FlowState::Opening, seen).idle(now), idle);
        }

        #[test]
        fn a_packet_changes_neither_backend_nor_generation(word in any::<u64>(), now in 0..1_u32 << Flow::SEEN_BITS) {
            let flow = Flow(word).after(Segment::Data, now);
            prop_assert_eq!((flow.0 as u32, flow.seen()), (word as u32, now));
        }
    }

    #[test]
    fn the_sets_of_states_are_what_each_says() {
        for state in STATES {
            let (evictable, over) = (
                FlowState::EVICTABLE >> state as u8,
                FlowState::OVER >> state as u8,
            );
            assert_eq!(evictable & 1 == 1, state.eviction().is_some(), "{state:?}");
            assert_eq!(over & 1 == 1, state.eviction() == Some(1), "{state:?}");
            assert_eq!(
                Flow::new(1, 0, state, 0).may_be_evicted(),
                state.eviction().is_some()
            );
        }
        assert!(Flow(0).may_be_evicted() && !Flow::BUSY.may_be_evicted());
    }

    #[test]
    fn neither_a_free_entry_nor_a_busy_one_is_a_flow() {
        assert!(!Flow::default().is_live() && !Flow::BUSY.is_live());
    }

    #[test]
    fn segments_are_told_by_their_flags() {
        for (flags, segment) in [
            (0x02, Segment::Syn),
            (0xc2, Segment::Syn),
            (0x12, Segment::Data),
            (0x10, Segment::Data),
            (0x18, Segment::Data),
            (0x11, Segment::Fin),
            (0x03, Segment::Syn),
            (0x04, Segment::Rst),
            (0x16, Segment::Rst),
        ] {
            assert_eq!(Segment::tcp(flags), segment, "{flags:#x}");
        }
    }

    #[test]
    fn one_packet_leaves_a_flow_on_probation_and_a_second_confirms_it() {
        for segment in [Segment::Syn, Segment::Data, Segment::Datagram] {
            assert_eq!(FlowState::first(segment).eviction(), Some(0));
        }
        for (first, then) in [
            (Segment::Syn, Segment::Data),
            (Segment::Data, Segment::Data),
            (Segment::Datagram, Segment::Datagram),
        ] {
            assert_eq!(FlowState::first(first).after(then).eviction(), None);
        }
        let repeated = FlowState::first(Segment::Syn).after(Segment::Syn);
        assert_eq!(repeated.eviction(), Some(0));
    }

    #[test]
    fn a_closed_connection_is_over_until_it_proves_not_to_be() {
        let established = FlowState::Established;
        assert!(established.after(Segment::Fin).is_over());
        assert!(
            established
                .after(Segment::Fin)
                .after(Segment::Data)
                .is_over()
        );
        assert!(established.after(Segment::Rst).is_over());
        assert!(
            !established
                .after(Segment::Rst)
                .after(Segment::Data)
                .is_over()
        );
    }
}
