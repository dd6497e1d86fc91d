//! The network lab as a library: whole networks of namespaces on one machine, with real daemons in them.
//!
//! Called by the integration tests in `tests/tests` and by `cargo xtask lab` and `cargo xtask run`. Synchronous
//! throughout: a lab starts processes and waits for them, and tests read best as a list of steps.

pub mod crowd;
pub mod decapsulator;
pub mod director;
pub mod echo;
pub mod figures;
pub mod interrupt;
pub mod lab;
pub mod traffic;
