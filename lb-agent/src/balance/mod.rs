//! From real servers and their weights to the tables the data plane looks flows up in.
//!
//! Everything here is pure: no clock, no socket, no map. What is computed depends on nothing but its arguments, so
//! that the two directors of a pair, given the same configuration and the same view of health, agree on every slot.

pub mod maglev;
pub mod quorum;
pub mod ramp;
mod size;
pub mod table;
pub mod term;
mod turns;

pub use maglev::Member;
pub use quorum::Quorum;
pub use ramp::Ramp;
pub use size::{TableSize, TableSizeError};
