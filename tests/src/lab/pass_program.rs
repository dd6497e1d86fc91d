//! The XDP program of the switch ports: two instructions, `return XDP_PASS`.
//!
//! A veth device takes what its peer sends by XDP_TX or redirect only while it has an XDP program itself (Linux
//! `drivers/net/veth.c`, `veth_xdp_xmit`: without one there is no NAPI to hand the frame to). A real network card
//! has no such rule, so this belongs to the lab and not to the agent. Assembled by hand, because a lab should need
//! neither a compiler for BPF nor the project's own object.

use std::ffi::CString;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Linux `include/uapi/linux/bpf.h`, `enum bpf_cmd`.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_OBJ_PIN: libc::c_int = 6;
/// Linux `include/uapi/linux/bpf.h`, `enum bpf_prog_type`.
const BPF_PROG_TYPE_XDP: u32 = 6;
/// Linux `include/uapi/linux/bpf.h`, `enum xdp_action`.
const XDP_PASS: u64 = 2;

/// `r0 = XDP_PASS; exit`. Linux `Documentation/bpf/standardization/instruction-set.rst`: the opcode in the lowest
/// byte, the immediate in the upper half.
const PROGRAM: [u64; 2] = [0xb7 | XDP_PASS << 32, 0x95];

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`; what follows them is zero for the kernel.
#[repr(C)]
struct LoadProgram {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// The first fields of `union bpf_attr` for `BPF_OBJ_PIN`.
#[repr(C)]
struct PinObject {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Loads the program and pins it at `path`, which must be in a bpf file system.
///
/// # Errors
/// What the kernel answers: EPERM without CAP_BPF and CAP_NET_ADMIN, ENOSYS without BPF, EEXIST where `path` is taken.
pub(super) fn pin(path: &Path) -> Result<()> {
    let license = c"GPL";
    let program = bpf(
        BPF_PROG_LOAD,
        &LoadProgram {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: PROGRAM.len() as u32,
            insns: PROGRAM.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
        },
    )
    .context("load the XDP program of the lab's switch ports")?;
    let program = own(program);
    let pathname =
        CString::new(path.as_os_str().as_bytes()).context("the path of a pin has a zero byte")?;
    bpf(
        BPF_OBJ_PIN,
        &PinObject {
            pathname: pathname.as_ptr() as u64,
            bpf_fd: program.as_raw_fd() as u32,
            file_flags: 0,
        },
    )
    .with_context(|| {
        format!(
            "pin the XDP program of the lab's switch ports at {}",
            path.display()
        )
    })?;
    Ok(())
}

#[expect(unsafe_code, reason = "libc has no wrapper of bpf(2)")]
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` is a #[repr(C)] prefix of `union bpf_attr` without padding, the kernel reads exactly the size
    // given, and every address in it is of a value that the caller keeps alive over this call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of_val(attributes)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as libc::c_int)
}

#[expect(unsafe_code, reason = "the kernel hands out a bare descriptor")]
fn own(descriptor: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor to us, and nothing else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
