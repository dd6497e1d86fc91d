//! Sending whole Ethernet frames: what ARP and neighbour advertisements from an address that is just being set take.

#![expect(
    unsafe_code,
    reason = "neither std nor socket2 makes addresses of AF_PACKET"
)]

use std::{io, mem};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// A packet socket that only sends.
#[derive(Debug)]
pub struct FrameSocket(Socket);

impl FrameSocket {
    /// Opens it. It takes CAP_NET_RAW.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn open() -> io::Result<Self> {
        // Protocol 0: nothing is ever received.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        Ok(Self(socket))
    }

    /// Sends one frame, Ethernet header included, by the interface with this index.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn send(&self, interface: u32, frame: &[u8]) -> io::Result<()> {
        let interface = i32::try_from(interface).map_err(io::Error::other)?;
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: a sockaddr_ll is one of the kinds that fit into the storage.
        let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        address.sll_family = libc::AF_PACKET as libc::sa_family_t;
        address.sll_ifindex = interface;
        let length = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the storage was zeroed and then made a sockaddr_ll of this length.
        let address = unsafe { SockAddr::new(storage, length) };
        self.0.send_to(frame, &address).map(drop)
    }
}
