//! Is a real server alive? Checks, what they find, and the tasks that run them.
//!
//! [`fsm`] decides, [`probe`] makes the checks of one target, one kind a file, [`driver`] runs them all and reports
//! changes.

pub mod deadline;
pub mod detour;
pub mod dns;
pub mod driver;
pub mod fsm;
pub mod http;
pub mod https;
pub mod kind;
pub mod misc;
pub mod net;
pub mod ping;
pub mod probe;
pub mod smtp;
pub mod tcp;
pub mod tls;
pub mod udp;

pub use detour::Origin;
pub use driver::{Driver, Event, Run, Spec, Status, Target, TargetId};
pub use fsm::{Outcome, State, Timing};
pub use kind::{Kind, KindError, Maker, Whose};
pub use probe::Probe;
