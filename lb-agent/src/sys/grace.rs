//! Waiting until no packet can still be reading what was just replaced.
//!
//! A BPF program runs inside an RCU read section, so one RCU grace period after a store every CPU has left whatever it
//! replaced. `membarrier(MEMBARRIER_CMD_GLOBAL)` waits for one (kernel/sched/membarrier.c: `synchronize_rcu`); kernels
//! with `nohz_full` CPUs do not offer it, and there the update of a map-in-map does the same. The expedited commands
//! only reach CPUs that run registered tasks, and are no substitute.

#![expect(unsafe_code, reason = "a raw system call")]

use super::bpf::MapOfMaps;
use std::{io, sync::Arc};

/// `MEMBARRIER_CMD_QUERY`, `MEMBARRIER_CMD_GLOBAL` (include/uapi/linux/membarrier.h).
const QUERY: libc::c_int = 0;
const GLOBAL: libc::c_int = 1;

/// A way to wait for a grace period.
#[derive(Clone, Debug)]
pub enum Grace {
    /// By membarrier(2).
    Membarrier,
    /// By updating a map-in-map.
    MapOfMaps(Arc<MapOfMaps>),
}

impl Grace {
    /// The way this kernel offers.
    ///
    /// # Errors
    /// Where neither works: what bpf(2) answers.
    pub fn find() -> io::Result<Self> {
        if matches!(membarrier(QUERY), Ok(commands) if commands & GLOBAL != 0) {
            return Ok(Self::Membarrier);
        }
        Self::by_map_of_maps()
    }

    /// The way of kernels without `MEMBARRIER_CMD_GLOBAL`.
    ///
    /// # Errors
    /// What bpf(2) answers.
    pub fn by_map_of_maps() -> io::Result<Self> {
        Ok(Self::MapOfMaps(Arc::new(MapOfMaps::new()?)))
    }

    /// Blocks for one grace period: measured 8 ms in the median on kernel 6.18, at most 30.
    ///
    /// # Errors
    /// What the kernel answers: then nothing was waited for.
    pub fn wait(&self) -> io::Result<()> {
        match self {
            Self::Membarrier => membarrier(GLOBAL).map(drop),
            Self::MapOfMaps(map) => map.replace(),
        }
    }
}

fn membarrier(command: libc::c_int) -> io::Result<i32> {
    // SAFETY: numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}
