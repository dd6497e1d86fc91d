//! Against real sockets on loopback.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::health::net::Error;
use crate::health::{Outcome, Probe};
use std::net::IpAddr;

const PATIENCE: Duration = Duration::from_secs(5);

fn listener(address: impl Into<IpAddr>) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((address.into(), 0)).expect("listen on loopback");
    let to = listener.local_addr().expect("its address");
    (listener, to)
}

/// The check as the driver makes it.
async fn check(to: SocketAddr, from: Option<IpAddr>, timeout: Duration) -> Outcome {
    let probe = Probe {
        address: to.ip(),
        port: to.port(),
        origin: from.into(),
        kinds: [crate::health::Kind::Tcp].into(),
    };
    probe.run(timeout).await
}

fn words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(words) => words,
        other @ (Outcome::Passed | Outcome::Weighed(_) | Outcome::Inconclusive(_)) => {
            panic!("not a failure: {other:?}")
        }
    }
}

#[tokio::test]
async fn a_listening_server_passes_on_both_families() {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        if let Err(error) = TcpListener::bind((address, 0)) {
            println!("skipped for {address}: {error}");
            continue;
        }
        let (_listener, to) = listener(address);
        assert_eq!(check(to, None, PATIENCE).await, Outcome::Passed);
        assert_eq!(check(to, Some(address), PATIENCE).await, Outcome::Passed);
    }
}

#[tokio::test]
async fn the_application_of_the_server_does_not_see_the_check() {
    let (listener, to) = listener(Ipv4Addr::LOCALHOST);
    for _ in 0..10 {
        assert_eq!(check(to, None, PATIENCE).await, Outcome::Passed);
    }
    // Connections are accepted in the order they came: those of the checks would be first.
    let client = std::net::TcpStream::connect(to).expect("connect as a client");
    let (_, first) = listener.accept().expect("accept the client");
    assert_eq!(first, client.local_addr().expect("its address"));
}

#[tokio::test]
async fn a_check_leaves_no_time_wait_behind() {
    let (_listener, to) = listener(Ipv4Addr::new(127, 0, 40, 1));
    for _ in 0..10 {
        assert_eq!(check(to, None, PATIENCE).await, Outcome::Passed);
    }
    // Its own row is the listener's; anything else that names the server's end is a leftover. Address and port as the
    // kernel prints them: host byte order words of a network byte order address.
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of sockets");
    let IpAddr::V4(v4) = to.ip() else {
        panic!("an IPv4 listener")
    };
    let end = format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.octets()), to.port());
    let rows: Vec<&str> = table.lines().filter(|row| row.contains(&end)).collect();
    assert_eq!(rows.len(), 1, "{rows:#?}");
}

#[tokio::test]
async fn the_connection_comes_from_the_source_address() {
    let (listener, to) = listener(Ipv4Addr::LOCALHOST);
    let from = Ipv4Addr::new(127, 0, 40, 2);
    let connected = connect(
        to,
        &Some(from.into()).into(),
        Purpose::GiveUp,
        &Deadline::after(PATIENCE),
    )
    .await
    .expect("connect");
    let local = connected.local_addr().expect("its address");
    assert_eq!(local.ip(), IpAddr::from(from));
    assert_ne!(local.port(), 0);
    drop((connected, listener));
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let (listener, to) = listener(Ipv4Addr::new(127, 0, 40, 3));
    drop(listener);
    let words = words(check(to, None, PATIENCE).await);
    assert_eq!(words, format!("connect to {to}: connection refused"));
}

#[tokio::test]
async fn a_server_whose_queue_is_full_does_not_answer() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0).into())
        .expect("bind");
    socket.listen(0).expect("listen");
    let listener = TcpListener::from(socket);
    let to = listener.local_addr().expect("its address");
    // A backlog of 0 holds one connection; the kernel ignores the SYN of the next.
    let _fills_it = std::net::TcpStream::connect(to).expect("the one that fits");
    let words = words(check(to, None, Duration::from_millis(200)).await);
    assert_eq!(words, format!("connect to {to}: no answer within 200ms"));
}

#[tokio::test]
async fn a_source_address_of_another_host_is_named() {
    let (_listener, to) = listener(Ipv4Addr::LOCALHOST);
    let from = Ipv4Addr::new(192, 0, 2, 77).into();
    let words = words(check(to, Some(from), PATIENCE).await);
    assert_eq!(
        words,
        format!("connect to {to}: source address 192.0.2.77 is not on this host")
    );
}

#[tokio::test]
async fn a_source_of_the_other_family_is_a_failure_in_words() {
    let (_listener, to) = listener(Ipv4Addr::LOCALHOST);
    let words = words(check(to, Some(Ipv6Addr::LOCALHOST.into()), PATIENCE).await);
    assert!(words.starts_with(&format!("connect to {to}: ")), "{words}");
}

#[test]
fn what_the_kernel_says_is_told_in_words() {
    let table = [
        (libc::ECONNREFUSED, "connection refused"),
        (libc::ECONNRESET, "connection reset"),
        (libc::EHOSTUNREACH, "no route to host"),
        (libc::ENETUNREACH, "network is unreachable"),
        (libc::EPERM, "not permitted"),
        (libc::EACCES, "not permitted"),
        (libc::EADDRNOTAVAIL, "this host has no address"),
        (libc::EMFILE, "could not be tried: Too many open files"),
        (
            libc::ENOBUFS,
            "could not be tried: No buffer space available",
        ),
        (libc::ETIMEDOUT, "Connection timed out"),
    ];
    for (errno, words) in table {
        let error = Error::from(io::Error::from_raw_os_error(errno));
        assert!(error.to_string().starts_with(words), "{error}");
    }
    let other = Error::from(io::Error::other("something else"));
    assert_eq!(other.to_string(), "something else");
}
