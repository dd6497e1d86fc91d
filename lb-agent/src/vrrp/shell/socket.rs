//! Raw sockets: adverts in and out of one interface.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recvmsg, sendmsg,
    setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::sys::ready::watched;
use crate::vrrp::packet::{Endpoints, Family, GROUP_V4, GROUP_V6, HOP_LIMIT, PROTOCOL};

/// Type of service of adverts: internetwork control, RFC 791. keepalived has the same.
const INTERNETWORK_CONTROL: u32 = 0xc0;
/// For some thousand adverts: what comes in while the thread does not run must not push out what came before.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Longer than the longest advert with the longest IPv4 header: 60 + 8 + 255 * 16.
const DATAGRAM_BYTES: usize = 8192;
/// The shortest IPv4 header, RFC 791.
const IPV4_HEADER_BYTES: usize = 20;

/// One interface's socket for one family. Every datagram of the protocol that comes in there is read, whoever it is for.
#[derive(Debug)]
pub struct AdvertSocket {
    socket: AsyncFd<Socket>,
    interface: u32,
    family: Family,
    buffer: Vec<u8>,
}

/// What was received.
#[derive(Debug)]
pub struct Received<'a> {
    /// From and to.
    pub endpoints: Endpoints,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// What follows the IP header.
    pub payload: &'a [u8],
}

impl AdvertSocket {
    /// Opens it and joins the group of VRRP routers. Needs a runtime with its IO driver, and CAP_NET_RAW.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn open(name: &str, interface: u32, family: Family) -> io::Result<Self> {
        let protocol = Some(Protocol::from(i32::from(PROTOCOL)));
        let socket = match family {
            Family::V4 => Socket::new(Domain::IPV4, Type::RAW, protocol)?,
            Family::V6 => Socket::new(Domain::IPV6, Type::RAW, protocol)?,
        };
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        match family {
            Family::V4 => {
                let index = InterfaceIndexOrAddress::Index(interface);
                socket.join_multicast_v4_n(&GROUP_V4, &index)?;
                socket.set_multicast_all_v4(false)?;
                socket.set_multicast_loop_v4(false)?;
                socket.set_multicast_ttl_v4(HOP_LIMIT.into())?;
                socket.set_ttl_v4(HOP_LIMIT.into())?;
                socket.set_tos_v4(INTERNETWORK_CONTROL)?;
            }
            Family::V6 => {
                socket.join_multicast_v6(&GROUP_V6, interface)?;
                socket.set_multicast_all_v6(false)?;
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
                socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
                socket.set_tclass_v6(INTERNETWORK_CONTROL)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            }
        }
        Ok(Self {
            socket: watched(socket)?,
            interface,
            family,
            buffer: vec![0; DATAGRAM_BYTES],
        })
    }

    /// Opens one that only sends, and joins nothing: of whom nobody is to hear but adverts.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn open_to_send(name: &str, interface: u32, family: Family) -> io::Result<Self> {
        let protocol = Some(Protocol::from(i32::from(PROTOCOL)));
        let socket = match family {
            Family::V4 => Socket::new(Domain::IPV4, Type::RAW, protocol)?,
            Family::V6 => Socket::new(Domain::IPV6, Type::RAW, protocol)?,
        };
        // What comes in is read by another: here it is discarded, once a little of it waits.
        socket.set_recv_buffer_size(0)?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        match family {
            Family::V4 => {
                socket.set_multicast_loop_v4(false)?;
                socket.set_multicast_ttl_v4(HOP_LIMIT.into())?;
                socket.set_ttl_v4(HOP_LIMIT.into())?;
                socket.set_tos_v4(INTERNETWORK_CONTROL)?;
            }
            Family::V6 => {
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_hops_v6(HOP_LIMIT.into())?;
                socket.set_unicast_hops_v6(HOP_LIMIT.into())?;
                socket.set_tclass_v6(INTERNETWORK_CONTROL)?;
            }
        }
        Ok(Self {
            socket: watched(socket)?,
            interface,
            family,
            buffer: Vec::new(),
        })
    }

    /// Ready when something may have come in since [`receive`](Self::receive) last said that there is nothing.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.socket.poll_read_ready(context) {
            Poll::Ready(Ok(mut guard)) => {
                guard.clear_ready();
                Poll::Ready(())
            }
            // Only while the runtime shuts down.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// The next datagram that waits; `None`: there is none. One that is not as the kernel hands them out is skipped.
    ///
    /// # Errors
    /// The kernel's answer, such as that the interface is down.
    pub fn receive(&mut self) -> io::Result<Option<Received<'_>>> {
        match self.family {
            Family::V4 => self.receive_v4(),
            Family::V6 => self.receive_v6(),
        }
    }

    /// Sends one advert.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn send(&self, endpoints: &Endpoints, payload: &[u8]) -> io::Result<()> {
        let fd = self.socket.get_ref().as_raw_fd();
        let message = [IoSlice::new(payload)];
        let index = self.interface;
        match *endpoints {
            Endpoints::V4 {
                source,
                destination,
            } => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: i32::try_from(index).map_err(io::Error::other)?,
                    ipi_spec_dst: in_addr(source),
                    ipi_addr: in_addr(Ipv4Addr::UNSPECIFIED),
                };
                let to = SockaddrIn::from(std::net::SocketAddrV4::new(destination, 0));
                let control = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(fd, &message, &control, MsgFlags::empty(), Some(&to))?;
            }
            Endpoints::V6 {
                source,
                destination,
            } => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr {
                        s6_addr: source.octets(),
                    },
                    ipi6_ifindex: index,
                };
                let to = std::net::SocketAddrV6::new(destination, 0, 0, index);
                let to = SockaddrIn6::from(to);
                let control = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmsg(fd, &message, &control, MsgFlags::empty(), Some(&to))?;
            }
        }
        Ok(())
    }

    fn receive_v4(&mut self) -> io::Result<Option<Received<'_>>> {
        let fd = self.socket.get_ref().as_raw_fd();
        let mut vectors = [IoSliceMut::new(&mut self.buffer)];
        let length = match recvmsg::<()>(fd, &mut vectors, None, MsgFlags::empty()) {
            Ok(message) => message.bytes,
            Err(nix::Error::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let datagram = self.buffer.get(..length).unwrap_or_default();
        Ok(Some(read_v4(datagram).unwrap_or(Received {
            endpoints: Endpoints::V4 {
                source: Ipv4Addr::UNSPECIFIED,
                destination: Ipv4Addr::UNSPECIFIED,
            },
            hop_limit: 0,
            payload: &[],
        })))
    }

    fn receive_v6(&mut self) -> io::Result<Option<Received<'_>>> {
        let fd = self.socket.get_ref().as_raw_fd();
        let mut space = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut vectors = [IoSliceMut::new(&mut self.buffer)];
        let flags = MsgFlags::empty();
        let received = recvmsg::<SockaddrIn6>(fd, &mut vectors, Some(&mut space), flags);
        let message = match received {
            Ok(message) => message,
            Err(nix::Error::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let source = message
            .address
            .map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
        let (mut destination, mut hop_limit) = (Ipv6Addr::UNSPECIFIED, 0);
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                }
                ControlMessageOwned::Ipv6HopLimit(value) => {
                    hop_limit = u8::try_from(value).unwrap_or_default();
                }
                _ => {}
            }
        }
        let length = message.bytes;
        Ok(Some(Received {
            endpoints: Endpoints::V6 {
                source,
                destination,
            },
            hop_limit,
            payload: self.buffer.get(..length).unwrap_or_default(),
        }))
    }
}

/// Takes the IPv4 header off, which a raw socket gets too. RFC 791 §3.1.
fn read_v4(datagram: &[u8]) -> Option<Received<'_>> {
    let header = datagram.first_chunk::<IPV4_HEADER_BYTES>()?;
    let words = usize::from(header[0] & 0x0f);
    let payload = datagram.get((words * 4).max(IPV4_HEADER_BYTES)..)?;
    let address = |at: usize| {
        let octets: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    Some(Received {
        endpoints: Endpoints::V4 {
            source: address(12)?,
            destination: address(16)?,
        },
        hop_limit: header[8],
        payload,
    })
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(address.octets()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn an_ipv4_header_is_taken_off_with_its_options() {
        let mut datagram = vec![0x46, 0xc0, 0, 28, 0, 0, 0, 0, 254, 112, 0, 0];
        datagram.extend([192, 0, 2, 1, 224, 0, 0, 18]);
        datagram.extend([0x94, 4, 0, 0]);
        datagram.extend([1, 2, 3, 4]);
        let read = read_v4(&datagram).unwrap();
        assert_eq!(read.hop_limit, 254);
        assert_eq!(read.payload, [1, 2, 3, 4]);
        assert_eq!(read.endpoints.source(), IpAddr::from([192, 0, 2, 1]));
        assert!(read.endpoints.is_multicast());
    }

    #[test]
    fn a_header_cut_anywhere_is_no_datagram() {
        let datagram = [0x4f; 60];
        for length in 0..60 {
            assert!(read_v4(&datagram[..length]).is_none(), "{length}");
        }
        assert_eq!(read_v4(&datagram).map(|read| read.payload.len()), Some(0));
    }
}
