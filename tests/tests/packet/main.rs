//! Packets through the real program, loaded into the kernel and configured by the real writer.
//!
//! Tables of description, frame, verdict, counter and output bytes; each runs by `BPF_PROG_TEST_RUN`, so nothing is
//! attached and no network is touched. Needs root, and nothing else of the host: the same binary runs in a guest.

mod budget;
mod case;
mod commits;
mod coverage;
mod fence;
mod filter;
mod flows;
mod fragments;
mod grace;
mod icmp;
mod inconsistent;
mod ipv4;
mod ipv6;
mod jumbo;
mod nat;
mod packets;
mod refusals;
mod rig;
mod routes;
mod truncation;
mod tunnels;
mod verdicts;
mod vlan;
mod windows;
mod world;
