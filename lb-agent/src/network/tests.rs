//! The resolver against the real kernel, in network namespaces of its own.
//!
//! Each test runs on a fresh thread in a fresh namespace; a second namespace is the other end of a
//! veth pair. Both vanish with their last process. Needs root; without it each test prints why it
//! did not run, and adds that line to the file that `LB_SKIP_LOG` names.

mod lab;
mod reachability;
mod upkeep;
