//! Who owns the virtual addresses: VRRP version 2 (RFC 3768) and 3 (RFC 5798, RFC 9568), over IPv4 and IPv6.
//!
//! All but [`shell`] decides, and does no IO: [`packet`] is the wire format, [`receive`] says which adverts concern an
//! instance, [`fsm`] is the election, [`timers`] its formulas, [`tracking`] what priorities depend on, [`streak`] how tracked scripts are, [`node`] all
//! instances of a host and the groups they move in, [`counters`] what is counted, [`announcement`] what neighbours are told. All of it is told the time;
//! [`shell`] has the clock, the threads and the sockets.

pub mod announcement;
pub mod counters;
pub mod fsm;
pub mod node;
pub mod packet;
pub mod receive;
pub mod shell;
pub mod streak;
pub mod timers;
pub mod tracking;
