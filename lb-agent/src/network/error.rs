//! What can go wrong between the agent and the kernel's routing tables.

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::ErrorMessage;

/// A netlink operation that failed. The text says what was attempted; the kernel's answer is the
/// source.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No netlink socket.
    #[error("open a rtnetlink socket for {purpose}")]
    Open {
        /// What the socket was for.
        purpose: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A dump of a kernel table failed.
    #[error("list the host's {what}")]
    List {
        /// The table.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The route lookup itself failed (an answer such as "no route" is no error, see
    /// [`Route`](super::Route)).
    #[error("look up the route to {destination}")]
    RouteLookup {
        /// The address looked up.
        destination: IpAddr,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel did not take a neighbour entry, or did not give one up.
    #[error("{action} the neighbour entry {address} on {interface}{}", cure(.source))]
    Neighbour {
        /// "keep" or "remove".
        action: &'static str,
        /// The neighbour.
        address: IpAddr,
        /// Name of the interface, or its number where it has no name any more.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The resolver's thread could not be started.
    #[error("start the network thread")]
    Thread {
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The resolver's thread ended before it answered.
    #[error("the network thread has ended before it answered: see the log")]
    Ended,
}

impl NetworkError {
    /// The whole story on one line: what was attempted, then why it failed.
    pub fn with_cause(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// What an operator can do about a refused neighbour entry.
fn cure(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM) => " (the agent needs CAP_NET_ADMIN)",
        Some(libc::ENOBUFS) => {
            " (the kernel's neighbour table is full: raise net.ipv4.neigh.default.gc_thresh3 or net.ipv6.neigh.default.gc_thresh3)"
        }
        _ => "",
    }
}

/// The error inside a netlink reply as the errno it is.
pub(super) fn io_error(error: &rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => io_error_of(message),
        other => io::Error::other(other.to_string()),
    }
}

/// A netlink NACK as the errno it carries.
pub(super) fn io_error_of(message: &ErrorMessage) -> io::Error {
    io::Error::from_raw_os_error(message.raw_code().saturating_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_neighbour_the_interface_the_cause_and_the_cure() {
        let error = |errno| {
            NetworkError::Neighbour {
                action: "keep",
                address: "192.0.2.21".parse().unwrap(),
                interface: "eth0".into(),
                source: io::Error::from_raw_os_error(errno),
            }
            .with_cause()
        };
        assert_eq!(
            error(libc::EPERM),
            "keep the neighbour entry 192.0.2.21 on eth0 (the agent needs CAP_NET_ADMIN): Operation not permitted (os error 1)"
        );
        assert!(error(libc::ENOBUFS).contains("gc_thresh3"));
        assert!(
            !error(libc::EINVAL).contains('('.to_string().as_str())
                || error(libc::EINVAL).contains("os error")
        );
    }
}
