//! What becomes of a packet.

use lb_common::Reason;

/// What becomes of a packet, as far as the choice of a real server decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to this backend.
    To(u32),
    /// It is dropped.
    Dropped(Reason),
}
