//! bpf(2) where aya has no call for it.

#![expect(unsafe_code, reason = "a raw system call")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

/// `BPF_MAP_CREATE`, `BPF_MAP_UPDATE_ELEM` (include/uapi/linux/bpf.h).
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
/// `BPF_MAP_TYPE_ARRAY`, `BPF_MAP_TYPE_ARRAY_OF_MAPS`.
const ARRAY: u32 = 2;
const ARRAY_OF_MAPS: u32 = 12;

/// The beginning of `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// The beginning of `union bpf_attr` for `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// An array of one map, used for nothing but its update: the kernel returns from it only when no CPU runs a program
/// that began before (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c).
#[derive(Debug)]
pub struct MapOfMaps {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl MapOfMaps {
    /// Makes both maps.
    ///
    /// # Errors
    /// What bpf(2) answers.
    pub fn new() -> io::Result<Self> {
        let inner = create(ARRAY, 0)?;
        let outer = create(ARRAY_OF_MAPS, inner.as_raw_fd() as u32)?;
        Ok(Self { outer, inner })
    }

    /// Replaces the slot, and so waits for a grace period.
    ///
    /// # Errors
    /// What bpf(2) answers.
    pub fn replace(&self) -> io::Result<()> {
        let key = 0_u32;
        let value = self.inner.as_fd().as_raw_fd() as u32;
        let attr = MapUpdate {
            map_fd: self.outer.as_raw_fd() as u32,
            pad: 0,
            key: (&raw const key) as u64,
            value: (&raw const value) as u64,
            flags: 0,
        };
        call(MAP_UPDATE_ELEM, &attr).map(drop)
    }
}

fn create(map_type: u32, inner_map_fd: u32) -> io::Result<OwnedFd> {
    let fd = call(
        MAP_CREATE,
        &MapCreate {
            map_type,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            map_flags: 0,
            inner_map_fd,
        },
    )?;
    // SAFETY: a file descriptor that the kernel has just given us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: libc::c_int, attr: &T) -> io::Result<i32> {
    // SAFETY: `attr` is a prefix of `union bpf_attr` of the size given; pointers in it outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}
