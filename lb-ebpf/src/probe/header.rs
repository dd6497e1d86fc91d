//! The headers of a check's packet, as this host's own sockets make them: no IP options, no extension headers, no fragments.

use aya_ebpf::{
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    programs::TcContext,
};
use lb_common::probe::{Address, Conversation, mapped};

/// Types of frames, as the kernel keeps them: in network order.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;
/// Length of the Ethernet header, bytes. Tags are not in the frame here, but beside it.
pub const LINK: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Version 4, five words. RFC 791 §3.1.
const PLAIN: u8 = 0x45;
/// The bits of a fragment, RFC 791 §3.1.
const MORE_OR_OFFSET: u16 = 0x3fff;
/// Where an IPv4 header has its checksum.
const CHECKSUM_V4: usize = LINK + 10;

/// What a packet is.
pub struct Header {
    /// Whose it is.
    pub conversation: Conversation,
    /// Over IPv6.
    pub is_ipv6: bool,
}

impl Header {
    /// Reads a packet of TCP or UDP. `None`: it is none, or not as this host's sockets make them.
    #[inline(always)]
    pub fn parse(ctx: &TcContext) -> Option<Self> {
        match ctx.skb.protocol() {
            IPV4 => Self::parse_ipv4(ctx),
            IPV6 => Self::parse_ipv6(ctx),
            _ => None,
        }
    }

    #[inline(always)]
    fn parse_ipv4(ctx: &TcContext) -> Option<Self> {
        let fragment = u16::from_be(read(ctx, LINK + 6)?) & MORE_OR_OFFSET;
        if read::<u8>(ctx, LINK)? != PLAIN || fragment != 0 {
            return None;
        }
        let (source, destination) = (read(ctx, LINK + 12)?, read(ctx, LINK + 16)?);
        let protocol = read(ctx, LINK + 9)?;
        Self::of(ctx, mapped(source), mapped(destination), protocol, false)
    }

    #[inline(always)]
    fn parse_ipv6(ctx: &TcContext) -> Option<Self> {
        let (source, destination) = (read(ctx, LINK + 8)?, read(ctx, LINK + 24)?);
        let protocol = read(ctx, LINK + 6)?;
        Self::of(ctx, source, destination, protocol, true)
    }

    #[inline(always)]
    fn of(
        ctx: &TcContext,
        source: Address,
        destination: Address,
        protocol: u8,
        is_ipv6: bool,
    ) -> Option<Self> {
        if protocol != TCP && protocol != UDP {
            return None;
        }
        let transport = transport(is_ipv6);
        let conversation = Conversation {
            source,
            destination,
            source_port_be: read(ctx, transport)?,
            destination_port_be: read(ctx, transport + 2)?,
            protocol,
            pad: [0; 3],
        };
        Some(Self {
            conversation,
            is_ipv6,
        })
    }

    /// Has the packet go to `address`.
    #[inline(always)]
    pub fn set_destination(&self, ctx: &TcContext, address: &Address) -> Option<()> {
        let at = LINK + if self.is_ipv6 { 24 } else { 16 };
        self.replace(ctx, at, &self.conversation.destination, address)
    }

    /// Has the packet come from `address`.
    #[inline(always)]
    pub fn set_source(&self, ctx: &TcContext, address: &Address) -> Option<()> {
        let at = LINK + if self.is_ipv6 { 8 } else { 12 };
        self.replace(ctx, at, &self.conversation.source, address)
    }

    /// Checksums first: they are of the old address until it is replaced.
    #[inline(always)]
    fn replace(&self, ctx: &TcContext, at: usize, old: &Address, new: &Address) -> Option<()> {
        let (field, udp) = match self.conversation.protocol {
            TCP => (16, 0),
            _ => (6, BPF_F_MARK_MANGLED_0 as u64),
        };
        let checksum = transport(self.is_ipv6) + field;
        let flags = BPF_F_PSEUDO_HDR as u64 | udp | size_of::<u32>() as u64;
        if !self.is_ipv6 {
            let (old, new) = (old[3], new[3]);
            ctx.l4_csum_replace(checksum, u64::from(old), u64::from(new), flags)
                .ok()?;
            ctx.l3_csum_replace(
                CHECKSUM_V4,
                u64::from(old),
                u64::from(new),
                size_of::<u32>() as u64,
            )
            .ok()?;
            return ctx.store(at, &new, 0).ok();
        }
        for word in 0..4 {
            ctx.l4_csum_replace(checksum, u64::from(old[word]), u64::from(new[word]), flags)
                .ok()?;
        }
        ctx.store(at, new, 0).ok()
    }
}

/// Where the transport header begins.
#[inline(always)]
fn transport(is_ipv6: bool) -> usize {
    LINK + if is_ipv6 { 40 } else { 20 }
}

/// A field of the packet.
#[inline(always)]
pub fn read<T>(ctx: &TcContext, at: usize) -> Option<T> {
    ctx.load(at).ok()
}
