//! The agent's `unsafe`: memory shared with the kernel, and system calls that no library wraps.

pub mod bpf;
pub mod frames;
pub mod grace;
pub mod mapped;
pub mod ready;
pub mod realtime;
