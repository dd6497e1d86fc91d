//! The Ethernet header and up to two VLAN tags.

use crate::frame::{Bytes, Frame};

/// IPv4, as a little-endian load of the wire's bytes sees it.
pub const IPV4: u16 = 0x0800_u16.to_be();
/// IPv6, likewise.
pub const IPV6: u16 = 0x86dd_u16.to_be();
/// IEEE 802.1Q customer tag.
const VLAN: u16 = 0x8100_u16.to_be();
/// IEEE 802.1ad service tag.
const SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
/// The VLAN id's bits of a tag (IEEE 802.1Q §9.6).
const VLAN_ID: u16 = 0x0fff;

/// Length of the header without tags, bytes.
pub const HEADER: usize = 14;
/// Where the payload may begin at the latest, behind two tags, bytes.
pub const MAX_PAYLOAD: usize = HEADER + 2 * TAG;
/// Length of a tag, bytes.
const TAG: usize = 4;

/// A frame's link layer.
#[derive(Clone, Copy)]
pub struct Ethernet {
    /// The two addresses and the type.
    pub header: Bytes<HEADER>,
    /// Type of the payload, wire order.
    pub ether_type: u16,
    /// Offset of the payload, bytes.
    pub payload: usize,
    /// VLAN ids: outer in the low half, inner in the high half, 0: none.
    pub vlans: u32,
}

impl Ethernet {
    #[inline(always)]
    pub fn parse(frame: Frame) -> Option<Self> {
        let header = frame.bytes::<HEADER>(0)?;
        let mut ethernet = Self {
            header,
            ether_type: header.u16::<12>(),
            payload: HEADER,
            vlans: 0,
        };
        if is_tag(ethernet.ether_type) {
            let tag = frame.bytes::<TAG>(HEADER)?;
            ethernet.vlans = vlan_id(tag);
            ethernet.ether_type = tag.u16::<2>();
            ethernet.payload = HEADER + TAG;
            if is_tag(ethernet.ether_type) {
                let tag = frame.bytes::<TAG>(HEADER + TAG)?;
                ethernet.vlans |= vlan_id(tag) << 16;
                ethernet.ether_type = tag.u16::<2>();
                ethernet.payload = HEADER + 2 * TAG;
            }
        }
        Some(ethernet)
    }

    /// Destination MAC as a word, see [`lb_common::backend::mac_word`].
    #[inline(always)]
    pub fn destination(&self) -> u64 {
        self.header.u32::<0>() as u64 | (self.header.u16::<4>() as u64) << 32
    }

    /// Source MAC as a word, likewise.
    #[inline(always)]
    pub fn source(&self) -> u64 {
        self.header.u16::<6>() as u64 | (self.header.u32::<8>() as u64) << 16
    }

    /// Writes both addresses, given as words.
    #[inline(always)]
    pub fn readdress(&self, destination: u64, source: u64) {
        self.header.set_u32::<0>(destination as u32);
        self.header.set_u16::<4>((destination >> 32) as u16);
        self.header.set_u32::<6>(source as u32);
        self.header.set_u16::<10>((source >> 32) as u16);
    }
}

/// The link layer of a frame whose head is moved: what is in front of the type, to be written again.
#[derive(Clone, Copy)]
pub struct Envelope {
    destination: u64,
    source: u64,
    /// Two tags as they lie in the frame; meaningless beyond `payload`.
    tags: [u32; 2],
    /// Offset of the payload, bytes.
    payload: usize,
}

impl Envelope {
    /// The envelope of a frame whose payload begins at `payload`.
    #[inline(always)]
    pub fn of(frame: Frame, payload: usize) -> Option<Self> {
        let header = frame.bytes::<MAX_PAYLOAD>(0)?;
        Some(Self {
            destination: header.u32::<0>() as u64 | (header.u16::<4>() as u64) << 32,
            source: header.u32::<6>() as u64 | (header.u16::<10>() as u64) << 32,
            tags: [header.u32::<12>(), header.u32::<16>()],
            payload,
        })
    }

    /// The same for other stations, given as words.
    #[inline(always)]
    pub fn readdressed(self, destination: u64, source: u64) -> Self {
        Self {
            destination,
            source,
            ..self
        }
    }

    /// The same on its way back.
    #[inline(always)]
    pub fn returned(self) -> Self {
        self.readdressed(self.source, self.destination)
    }

    /// Writes it at the frame's beginning, with the payload's type. `None` where the frame ends before.
    #[inline(always)]
    pub fn write(self, frame: Frame, ether_type: u16) -> Option<()> {
        let header = frame.bytes::<HEADER>(0)?;
        header.set_u32::<0>(self.destination as u32);
        header.set_u16::<4>((self.destination >> 32) as u16);
        header.set_u32::<6>(self.source as u32);
        header.set_u16::<10>((self.source >> 32) as u16);
        if self.payload == HEADER {
            header.set_u16::<12>(ether_type);
        } else {
            let header = frame.bytes::<{ HEADER + TAG }>(0)?;
            header.set_u32::<12>(self.tags[0]);
            if self.payload == HEADER + TAG {
                header.set_u16::<16>(ether_type);
            } else {
                let header = frame.bytes::<MAX_PAYLOAD>(0)?;
                header.set_u32::<16>(self.tags[1]);
                header.set_u16::<20>(ether_type);
            }
        }
        Some(())
    }
}

#[inline(always)]
fn is_tag(ether_type: u16) -> bool {
    ether_type == VLAN || ether_type == SERVICE_VLAN
}

#[inline(always)]
fn vlan_id(tag: Bytes<TAG>) -> u32 {
    (u16::from_be(tag.u16::<0>()) & VLAN_ID) as u32
}
