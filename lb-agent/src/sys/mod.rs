//! The agent's `unsafe`: memory shared with the kernel, and system calls that no library wraps.

pub mod bpf;
pub mod grace;
pub mod mapped;
