//! Is a real server alive? Checks, what they find, and the tasks that run them.

pub mod fsm;

pub use fsm::{State, Timing};
