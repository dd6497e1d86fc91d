//! The sockets of the checks, and what the kernel says about them in words for the operator.
//!
//! Every connection ends by a reset (`SO_LINGER` 0): the answer has been read by then, and an orderly close would leave
//! a TIME_WAIT for a minute per run, in the same port range the host's own connections use.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::deadline::{Deadline, Late};
use super::detour::{Conversation, Detour, Origin, Tunnel};

/// What the network, or this host, has against it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing came in time.
    #[error(transparent)]
    Late(#[from] Late),
    /// RST, or ICMP port unreachable.
    #[error("connection refused")]
    Refused,
    /// RST to what was established.
    #[error("connection reset")]
    Reset,
    /// EHOSTUNREACH.
    #[error(
        "no route to host (it does not answer ARP or neighbour discovery, or a router says so)"
    )]
    NoRoute,
    /// ENETUNREACH.
    #[error("network is unreachable (this host has no route)")]
    NetworkUnreachable,
    /// EPERM, EACCES.
    #[error("not permitted (a firewall of this host?)")]
    Forbidden,
    /// The configured source.
    #[error("source address {from} is not on this host")]
    NotOurs {
        /// That source.
        from: IpAddr,
    },
    /// EADDRNOTAVAIL without a configured source.
    #[error("this host has no address or no free port to connect from")]
    NoLocalAddress,
    /// This host's own want, which says nothing about the server.
    #[error("could not be tried: {source}")]
    Shortage {
        /// Of what.
        source: io::Error,
    },
    /// Anything else.
    #[error(transparent)]
    Other(io::Error),
}

impl Error {
    /// Whether this host alone is to blame: nothing is said about the server.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Shortage { .. } => true,
            Self::Late(_)
            | Self::Refused
            | Self::Reset
            | Self::NoRoute
            | Self::NetworkUnreachable
            | Self::Forbidden
            | Self::NotOurs { .. }
            | Self::NoLocalAddress
            | Self::Other(_) => false,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED) => Self::Refused,
            Some(libc::ECONNRESET) => Self::Reset,
            Some(libc::EHOSTUNREACH) => Self::NoRoute,
            Some(libc::ENETUNREACH) => Self::NetworkUnreachable,
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden,
            Some(libc::EADDRNOTAVAIL) => Self::NoLocalAddress,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                Self::Shortage { source: error }
            }
            Some(_) | None => Self::Other(error),
        }
    }
}

/// The kernel's answer to a use of a connection, or what a library says in its place.
pub(super) fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => Error::from(io::Error::from_raw_os_error(errno)).to_string(),
        None => error.to_string(),
    }
}

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("connect to {to}: {source}")]
pub struct ConnectError {
    /// With whom.
    pub to: SocketAddr,
    /// Why.
    #[source]
    pub source: Error,
}

/// What is done with a connection once there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is spoken over.
    Talk,
    /// It is given up at once: the last segment of the handshake is held back, see [`tcp`](super::tcp).
    GiveUp,
}

/// A TCP connection to `to`, from `from` where given.
///
/// # Errors
/// In words for the operator.
pub async fn connect(
    to: SocketAddr,
    from: &Origin,
    purpose: Purpose,
    deadline: &Deadline,
) -> Result<TcpStream, ConnectError> {
    let connected = async {
        let socket = stream_socket(to, from, purpose, deadline)?;
        let connecting = TcpSocket::from_std_stream(socket.into()).connect(to);
        let stream = deadline.limit("answer", connecting).await??;
        deadline.note(|| match stream.local_addr() {
            Ok(from) => format!("connected to {to} from {from}"),
            Err(_) => format!("connected to {to}"),
        });
        Ok(stream)
    };
    connected
        .await
        .map_err(|source| ConnectError { to, source })
}

fn stream_socket(
    to: SocketAddr,
    from: &Origin,
    purpose: Purpose,
    deadline: &Deadline,
) -> Result<Socket, Error> {
    let socket = Socket::new(
        Domain::for_address(to),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    match purpose {
        Purpose::Talk => socket.set_tcp_nodelay(true)?,
        Purpose::GiveUp => socket.set_tcp_quickack(false)?,
    }
    socket.set_linger(Some(Duration::ZERO))?;
    if let Some(detour) = &from.detour {
        bind(&socket, local_address(to, from.address)?)?;
        steer(&socket, to, detour, Protocol::TCP, deadline)?;
    } else if let Some(from) = from.address {
        // The port is chosen at connect: free for this destination, not free on the whole host.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).map_err(io::Error::from)?;
        bind(&socket, from)?;
    }
    Ok(socket)
}

/// A socket that sends datagrams to `to` and hears its answers alone, and what routers say about it.
///
/// # Errors
/// In words for the operator.
pub(super) fn datagrams(
    to: SocketAddr,
    from: &Origin,
    kind: Type,
    protocol: Protocol,
    deadline: &Deadline,
) -> Result<UdpSocket, Error> {
    let socket = Socket::new(Domain::for_address(to), kind.nonblocking(), Some(protocol)).map_err(
        |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::Shortage { source },
            _ => source.into(),
        },
    )?;
    if let Some(detour) = &from.detour {
        bind(&socket, local_address(to, from.address)?)?;
        steer(&socket, to, detour, protocol, deadline)?;
    } else if let Some(from) = from.address {
        bind(&socket, from)?;
    }
    match to {
        SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvErr, &true),
    }
    .map_err(io::Error::from)?;
    socket.connect(&to.into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

/// The address to speak from, which the kernel would choose at connect: too late to say whose packets they are.
fn local_address(to: SocketAddr, configured: Option<IpAddr>) -> Result<IpAddr, Error> {
    if let Some(address) = configured {
        return Ok(address);
    }
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    // Nothing is sent by it.
    socket.connect(&to.into())?;
    match socket.local_addr()?.as_socket() {
        Some(local) => Ok(local.ip()),
        None => Err(Error::NoLocalAddress),
    }
}

/// Has the packets of a socket, bound already, take their way by the virtual address.
fn steer(
    socket: &Socket,
    to: SocketAddr,
    detour: &Detour,
    protocol: Protocol,
    deadline: &Deadline,
) -> Result<(), Error> {
    let local = socket.local_addr()?.as_socket();
    let local = local.ok_or(Error::NoLocalAddress)?;
    let conversation = Conversation {
        local,
        peer: to,
        protocol: u8::try_from(i32::from(protocol)).unwrap_or_default(),
        address: detour.address,
        tunnel: match detour.tunnel {
            Tunnel::None => None,
            Tunnel::From(source) => Some(source.unwrap_or(local.ip())),
        },
        within: deadline.left(),
    };
    let steered = detour.steerer.steer(&conversation);
    // A want of this host's, whatever it is: nothing is said about the server.
    steered.map_err(|source| Error::Shortage { source })?;
    deadline.note(|| format!("by way of {}", detour.address));
    Ok(())
}

/// A number that others cannot guess, to know an answer by.
pub(super) fn token() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(())
}

/// Has `socket` send from `from`, any port.
pub(super) fn bind(socket: &Socket, from: IpAddr) -> Result<(), Error> {
    socket
        .bind(&SocketAddr::new(from, 0).into())
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EADDRNOTAVAIL) => Error::NotOurs { from },
            Some(_) | None => error.into(),
        })
}
