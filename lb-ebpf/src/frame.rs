//! The frame's bytes, behind bounds checks: all `unsafe` that touches a packet is here.

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
    programs::XdpContext,
};

/// The received frame. With jumbo frames only its first part is directly readable; headers lie there.
#[derive(Clone, Copy)]
pub struct Frame {
    ctx: *mut xdp_md,
}

impl Frame {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { ctx: ctx.ctx }
    }

    /// The frame of this context, as functions get it that the verifier looks at by themselves.
    #[inline(always)]
    pub fn of(context: *mut xdp_md) -> Self {
        Self { ctx: context }
    }

    /// `N` bytes at `offset`, or `None` where the frame ends before.
    #[inline(always)]
    pub fn bytes<const N: usize>(self, offset: usize) -> Option<Bytes<N>> {
        let start = self.start() + offset;
        if start + N > self.end() {
            return None;
        }
        Some(Bytes { start })
    }

    /// Length in bytes of the directly readable part, from the Ethernet header on.
    #[inline(always)]
    pub fn len(self) -> usize {
        self.end() - self.start()
    }

    /// Length of the whole frame, with the parts that are not directly readable. A helper call: not on the hit path.
    #[inline(always)]
    pub fn whole_len(self) -> usize {
        // SAFETY: the context is the one the kernel gave this program.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    /// Makes room for `bytes` bytes before the frame's first. False where there is none. What was read with
    /// [`Self::bytes`] before is of no use after.
    #[inline(always)]
    #[must_use]
    pub fn grow_head(self, bytes: usize) -> bool {
        // SAFETY: as in `whole_len`.
        unsafe { bpf_xdp_adjust_head(self.ctx, -(bytes as i32)) == 0 }
    }

    /// Cuts the frame after its first `len` bytes, where it is longer. False where that cannot be. What was read with
    /// [`Self::bytes`] before is of no use after.
    #[inline(always)]
    #[must_use]
    pub fn cut(self, len: usize) -> bool {
        let excess = self.whole_len() as i32 - len as i32;
        // SAFETY: as in `whole_len`.
        excess <= 0 || unsafe { bpf_xdp_adjust_tail(self.ctx, -excess) == 0 }
    }

    /// The kernel's index of the interface the frame came from.
    #[inline(always)]
    pub fn ingress_ifindex(self) -> u32 {
        // SAFETY: the context is the one the kernel gave this program.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    /// What helpers are called with.
    #[inline(always)]
    pub fn context(self) -> *mut xdp_md {
        self.ctx
    }

    #[inline(always)]
    fn start(self) -> usize {
        // SAFETY: as above; the verifier knows the field as a packet pointer.
        unsafe { (*self.ctx).data as usize }
    }

    #[inline(always)]
    fn end(self) -> usize {
        // SAFETY: as above.
        unsafe { (*self.ctx).data_end as usize }
    }
}

/// `N` bytes of the frame that were found to be there. Holds until the frame's head is moved.
/// Multi-byte values are loaded as they lie, in wire order.
#[derive(Clone, Copy)]
pub struct Bytes<const N: usize> {
    start: usize,
}

/// Eight bytes at any place.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Unaligned(u64);

impl<const N: usize> Bytes<N> {
    #[inline(always)]
    pub fn u8<const AT: usize>(self) -> u8 {
        const { assert!(AT < N) };
        // SAFETY: AT is below N, and N bytes were checked against the frame's end.
        unsafe { *((self.start + AT) as *const u8) }
    }

    #[inline(always)]
    pub fn u16<const AT: usize>(self) -> u16 {
        const { assert!(AT + 2 <= N) };
        // SAFETY: as in `u8`; unaligned on purpose.
        unsafe { ((self.start + AT) as *const u16).read_unaligned() }
    }

    #[inline(always)]
    pub fn u32<const AT: usize>(self) -> u32 {
        const { assert!(AT + 4 <= N) };
        // SAFETY: as in `u16`.
        unsafe { ((self.start + AT) as *const u32).read_unaligned() }
    }

    /// Loaded anew each time: what is easily had again is not to be kept on the stack.
    #[inline(always)]
    pub fn u64<const AT: usize>(self) -> u64 {
        const { assert!(AT + 8 <= N) };
        let place = (self.start + AT) as *const Unaligned;
        // SAFETY: as in `u16`; the type is packed, so that any place will do.
        unsafe { place.read_volatile().0 }
    }

    #[inline(always)]
    pub fn set_u8<const AT: usize>(self, value: u8) {
        const { assert!(AT < N) };
        // SAFETY: as in `u8`; XDP may write to the packet.
        unsafe { *((self.start + AT) as *mut u8) = value }
    }

    #[inline(always)]
    pub fn set_u16<const AT: usize>(self, value: u16) {
        const { assert!(AT + 2 <= N) };
        // SAFETY: as in `set_u8`; unaligned on purpose.
        unsafe { ((self.start + AT) as *mut u16).write_unaligned(value) }
    }

    #[inline(always)]
    pub fn set_u32<const AT: usize>(self, value: u32) {
        const { assert!(AT + 4 <= N) };
        // SAFETY: as in `set_u16`.
        unsafe { ((self.start + AT) as *mut u32).write_unaligned(value) }
    }
}
