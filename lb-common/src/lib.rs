//! What the XDP program and the agent share: the maps' types, the hash, and the layout version.
//!
//! Everything here is plain data in the host's byte order unless a name ends in `_be`. IP addresses are kept as they
//! are on the wire, four bytes to a `u32`, so that neither side converts anything on the packet's way.
//! The program is built for little-endian BPF; [`key`] says where that shows.

#![no_std]

pub mod backend;
pub mod checksum;
pub mod control;
pub mod counter;
pub mod fence;
pub mod filter;
pub mod flow;
pub mod fragment;
pub mod hash;
pub mod key;
pub mod layout;
pub mod probe;
pub mod reason;
pub mod route;
pub mod service;
pub mod slot;

pub use backend::{Backend, BackendState, Mode, NextHop, Tenure};
pub use control::{Control, Interface, Live, Owner, Station};
pub use counter::Counter;
pub use flow::{Flow, FlowState, Segment, Tag};
pub use key::{Address, ServiceKey};
pub use layout::LAYOUT_VERSION;
pub use reason::Reason;
pub use route::Route;
pub use service::Service;
pub use slot::{Deadline, Slot};

const _: () = assert!(
    cfg!(target_endian = "little"),
    "the map layouts assume a little-endian host"
);

#[cfg(test)]
extern crate std;
