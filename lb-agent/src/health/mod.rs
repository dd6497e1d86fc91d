//! Is a real server alive? Checks, what they find, and the tasks that run them.
//!
//! [`fsm`] decides, [`tcp`] does one kind of check, [`driver`] runs them all and reports changes.

pub mod driver;
pub mod fsm;
pub mod tcp;

pub use driver::{Driver, Event, Run, Spec, Status, Target, TargetId};
pub use fsm::{Outcome, State, Timing};
