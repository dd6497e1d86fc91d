//! From real servers and their weights to the tables the data plane looks flows up in.
//!
//! Everything here is pure: no clock, no socket, no map. What is computed depends on nothing but its arguments, so
//! that the two directors of a pair, given the same configuration and the same view of health, agree on every slot.

pub mod maglev;
mod size;
pub mod term;
mod turns;

pub use maglev::Member;
pub use size::{TableSize, TableSizeError};
