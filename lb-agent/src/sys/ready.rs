//! Sockets of other makes under tokio's eye.

#![expect(
    unsafe_code,
    reason = "tokio cannot see that a descriptor stays the same"
)]

use socket2::Socket;
use std::io;
use tokio::io::unix::AsyncFd;

/// Has the current runtime watch `socket`, which does not block.
///
/// # Errors
/// The kernel's answer.
pub fn watched(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor and has the same one for all its life; `AsyncFd` hands it out by shared reference
    // alone where it is used, and ends the watch before it drops it.
    let watched = unsafe { AsyncFd::register(socket) };
    Ok(watched?)
}
