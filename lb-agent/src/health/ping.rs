//! ICMP echo, RFC 792 and RFC 4443 §4: is the host there?
//!
//! One request a run. The answer is known by a number that nobody else can guess, so that other programs' pings of the
//! same host are not taken for ours. Raw sockets, which need `CAP_NET_RAW`: the unprivileged ones work only for the
//! groups in `net.ipv4.ping_group_range`, and that is nobody by the kernel's default.

use std::net::{IpAddr, SocketAddr};

use lb_common::checksum;
use socket2::{Protocol, Type};

use super::deadline::Deadline;
use super::net;
use super::probe::Fault;

/// ICMP type of an echo request and of its reply.
const V4: (u8, u8) = (8, 0);
/// The same in ICMPv6.
const V6: (u8, u8) = (128, 129);
/// Type, code, checksum, identifier, sequence number, and the number that the answer is known by.
const LEN: usize = 16;

/// No echo.
#[derive(Debug, thiserror::Error)]
#[error("ping {to}: {source}")]
pub struct Error {
    to: IpAddr,
    #[source]
    source: net::Error,
}

impl Fault for Error {
    fn is_ours(&self) -> bool {
        self.source.is_ours()
    }
}

/// Sends one request from `from`, where given, and waits for its reply.
///
/// # Errors
/// Where none comes.
pub async fn check(to: IpAddr, from: Option<IpAddr>, deadline: &Deadline) -> Result<(), Error> {
    echo(to, from, deadline)
        .await
        .map_err(|source| Error { to, source })
}

async fn echo(to: IpAddr, from: Option<IpAddr>, deadline: &Deadline) -> Result<(), net::Error> {
    let ((request, reply), protocol) = match to {
        IpAddr::V4(_) => (V4, Protocol::ICMPV4),
        IpAddr::V6(_) => (V6, Protocol::ICMPV6),
    };
    let socket = net::datagrams(
        SocketAddr::new(to, 0),
        &from.into(),
        Type::RAW,
        protocol,
        deadline,
    )?;
    let token = net::token().to_be_bytes();
    socket.send(&message(request, token)).await?;
    let replied = async {
        // An IPv4 header with all options, and what we sent.
        let mut buffer = [0; 60 + LEN];
        loop {
            let read = socket.recv(&mut buffer).await?;
            let received = buffer.get(..read).unwrap_or_default();
            if is_reply(to, received, reply, token) {
                return Ok::<(), net::Error>(());
            }
        }
    };
    deadline.limit("answer", replied).await??;
    deadline.note(|| format!("echo from {to}"));
    Ok(())
}

fn message(kind: u8, token: [u8; 8]) -> [u8; LEN] {
    let mut message = [0; LEN];
    message[0] = kind;
    message[4..6].copy_from_slice(&token[..2]);
    message[8..].copy_from_slice(&token);
    // Over IPv6 the kernel writes it, RFC 3542 §3.1.
    let sum = sum(&message).to_ne_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// The checksum, as it lies in memory.
fn sum(message: &[u8; LEN]) -> u16 {
    checksum::of(
        message
            .chunks_exact(2)
            .map(|word| u16::from_ne_bytes([word[0], word[1]])),
    )
}

fn is_reply(from: IpAddr, received: &[u8], kind: u8, token: [u8; 8]) -> bool {
    // Raw IPv4 sockets show the IP header, raw IPv6 sockets do not.
    let header = match (from, received) {
        (IpAddr::V4(_), [first, ..]) => usize::from(first & 0xf) * 4,
        (IpAddr::V4(_), []) => return false,
        (IpAddr::V6(_), _) => 0,
    };
    let mut sent = message(kind, token);
    // Written by the other side, and verified by the kernel.
    let Some(answer) = received.get(header..header + LEN) else {
        return false;
    };
    sent[2..4].copy_from_slice(&answer[2..4]);
    answer == sent
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Whether this process may open raw sockets.
    fn allowed() -> bool {
        let allowed =
            socket2::Socket::new(socket2::Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4));
        if let Err(error) = &allowed {
            println!("skipped: open a raw socket: {error}");
        }
        allowed.is_ok()
    }

    #[tokio::test]
    async fn loopback_answers_on_both_families_from_a_source_too() {
        if !allowed() {
            return;
        }
        let deadline = Deadline::after(Duration::from_secs(10));
        for to in ["127.0.0.1", "127.0.40.9", "::1"] {
            let to: IpAddr = to.parse().expect("an address");
            if std::net::UdpSocket::bind((to, 0)).is_err() {
                println!("skipped for {to}: it is not on this host");
                continue;
            }
            check(to, None, &deadline).await.expect("an echo");
            check(to, Some(to), &deadline).await.expect("an echo");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_on_this_host_is_no_source() {
        if !allowed() {
            return;
        }
        let deadline = Deadline::after(Duration::from_secs(10));
        let to = IpAddr::from([127, 0, 0, 1]);
        let error = check(to, Some(IpAddr::from([192, 0, 2, 77])), &deadline).await;
        let words = error.expect_err("no such source").to_string();
        assert_eq!(
            words,
            "ping 127.0.0.1: source address 192.0.2.77 is not on this host"
        );
    }

    #[test]
    fn the_checksum_of_a_request_is_right() {
        let sent = message(8, *b"abcdefgh");
        assert_eq!(sum(&sent), 0, "a sum over a right one is 0");
    }

    #[test]
    fn only_the_own_reply_is_one() {
        let token = *b"abcdefgh";
        let reply = message(V4.1, token);
        let v4 = IpAddr::from([192, 0, 2, 1]);
        let with_header = |first: u8, len: usize, reply: &[u8]| {
            let mut packet = vec![0; len];
            packet[0] = first;
            packet.extend(reply);
            packet
        };
        let good = with_header(0x45, 20, &reply);
        assert!(is_reply(v4, &good, V4.1, token));
        assert!(
            is_reply(v4, &with_header(0x4f, 60, &reply), V4.1, token),
            "with IP options"
        );
        assert!(
            !is_reply(
                v4,
                &with_header(0x45, 20, &message(V4.0, token)),
                V4.1,
                token
            ),
            "a request"
        );
        assert!(!is_reply(
            v4,
            &with_header(0x45, 20, &message(V4.1, *b"abcdefgx")),
            V4.1,
            token
        ));
        for len in 0..good.len() {
            assert!(!is_reply(v4, &good[..len], V4.1, token), "cut to {len}");
        }
        let v6 = "2001:db8::1".parse().expect("an address");
        assert!(is_reply(v6, &message(V6.1, token), V6.1, token));
    }
}
