//! The whole decision about a flow, in plain Rust: what the XDP program and the agent decide together.
//!
//! No map, no socket, no clock: time comes with each call. It is written from the rules, not from the program, so that the
//! two can be held against each other packet by packet (`tests/tests/packet/model.rs`), and so that the rules themselves
//! can be searched for holes by simulation ([`simulation`]).
//!
//! The rules, for schedulers that compute their choice:
//!
//! 1. Any change of a slot's owner opens a *window*. `previous` is the last settled owner, also when it died.
//! 2. A flow without an entry belongs to `previous`. In a window, flows that go elsewhere are remembered, and so are
//!    flows of `previous` that show themselves.
//! 3. A server is judged when a packet comes, not when it falls: entries stay. TCP connections of a dead one are held,
//!    then released to `current`; datagrams go on to `current` at once, and stay there.
//! 4. Several changes in one window keep `previous` and the window's end. Where `previous` owns the slot again, the window
//!    is over. When it ends otherwise, `current` becomes `previous`; remembered flows live until they end or idle out.
//! 5. A SYN follows its entry, unless that connection is over or its server no longer keeps it.
//!
//! For services that remember every flow, because their scheduler keeps state or their clients persist:
//!
//! 6. A flow is where its entry says, by rules 3 and 5. A segment without an entry belongs to nobody: it is dropped, unless
//!    the service schedules it as if it were a SYN.
//! 7. A new flow goes to its client's server, as long as that takes new ones; else to who the scheduler chooses among
//!    those that are not full. A client is known until it was silent for the persistence's time: its confirmed flows
//!    vouch for it as long as they are used.
//! 8. A server's connections are the entries that there are, active from the SYN to the client's FIN or RST.

mod flow;
mod load;
mod service;
#[cfg(test)]
mod simulation;
mod slot;
mod stateful;
mod verdict;

pub use flow::{Flow, Flows, Idle};
pub use load::{Board, Count, Member};
pub use service::{Backend, Protocol, Rules, Service};
pub use slot::Slot;
pub use stateful::{Client, Memory};
pub use verdict::Verdict;
