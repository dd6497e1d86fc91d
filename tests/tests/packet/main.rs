//! Packets through the real program, loaded into the kernel and configured by the real writer.
//!
//! Tables of description, frame, verdict, counter and output bytes; each runs by `BPF_PROG_TEST_RUN`, so nothing is
//! attached and no network is touched. Needs root, and nothing else of the host: the same binary runs in a guest.

mod case;
mod packets;
mod rig;
mod world;

mod fragments;
mod ipv4;
mod ipv6;
mod verdicts;
mod vlan;

/// Every table, for what is asked of all of them together.
fn tables() -> Vec<case::Case> {
    [
        ipv4::cases(),
        ipv6::cases(),
        vlan::cases(),
        fragments::cases(),
        verdicts::cases(),
    ]
    .concat()
}
