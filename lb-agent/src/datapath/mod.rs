//! The data plane, seen from the deciding side: a whole desired state goes in, and is made true.

pub mod desired;
pub mod fence;
pub mod probe;
pub mod xdp;

pub use desired::{Desired, Device, FlowRules, NextHop, RealServer, Service, TunnelSource};
