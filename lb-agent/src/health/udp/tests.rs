//! Against sockets on loopback.

use std::net::{Ipv4Addr, UdpSocket as Server};
use std::time::Instant;

use super::*;
use crate::health::{Kind, Outcome, Probe};
use std::net::IpAddr;

const PATIENCE: Duration = Duration::from_secs(10);

fn server() -> (Server, SocketAddr) {
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on loopback");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let to = server.local_addr().expect("its address");
    (server, to)
}

/// A server that answers its first datagram with `answer`, and says what that was and who sent it.
fn answering(
    answer: &'static [u8],
) -> (SocketAddr, std::thread::JoinHandle<(Vec<u8>, SocketAddr)>) {
    let (server, to) = server();
    let asked = std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        let (read, from) = server.recv_from(&mut buffer).expect("a datagram");
        server.send_to(answer, from).expect("answer");
        (buffer[..read].to_vec(), from)
    });
    (to, asked)
}

async fn run(
    to: SocketAddr,
    from: Option<IpAddr>,
    send: &[u8],
    expect: &[u8],
    timeout: Duration,
) -> Outcome {
    let exchange = Exchange {
        send: send.to_vec(),
        expect: expect.to_vec(),
    };
    let kinds = [Kind::Udp(exchange)].into();
    Probe {
        address: to.ip(),
        port: to.port(),
        origin: from.into(),
        kinds,
    }
    .run(timeout)
    .await
}

#[tokio::test]
async fn an_answer_that_begins_as_expected_passes() {
    let (to, asked) = answering(b"\x00\x01pong");
    let from = IpAddr::from([127, 0, 40, 5]);
    assert_eq!(
        run(to, Some(from), b"\xffping", b"\x00\x01", PATIENCE).await,
        Outcome::Passed
    );
    let (sent, sender) = asked.join().expect("the server");
    assert_eq!((sent.as_slice(), sender.ip()), (&b"\xffping"[..], from));
}

#[tokio::test]
async fn another_answer_is_shown_beside_what_was_expected() {
    let (to, asked) = answering(b"\x00\x02pong");
    let words = format!("{to} answers 0002706f6e67, expected 0001");
    assert_eq!(
        run(to, None, b"ping", b"\x00\x01", PATIENCE).await,
        Outcome::Failed(words)
    );
    asked.join().expect("the server");
    let (to, asked) = answering(b"");
    let words = format!("{to} answers nothing, expected 0001");
    assert_eq!(
        run(to, None, b"ping", b"\x00\x01", PATIENCE).await,
        Outcome::Failed(words)
    );
    asked.join().expect("the server");
    assert_eq!(shown(&[7; 33]), format!("{}… (33 bytes)", "07".repeat(32)));
}

#[tokio::test]
async fn silence_fails_only_where_something_is_expected() {
    let (_server, to) = server();
    let timeout = Duration::from_millis(200);
    let words = format!("send a datagram to {to}: no answer within 200ms");
    assert_eq!(
        run(to, None, b"ping", b"x", timeout).await,
        Outcome::Failed(words)
    );
    let start = Instant::now();
    assert_eq!(run(to, None, b"ping", b"", PATIENCE).await, Outcome::Passed);
    assert!(
        start.elapsed() < PATIENCE / 2,
        "half of what is left, and no more than a second"
    );
    assert_eq!(run(to, None, b"", b"", timeout).await, Outcome::Passed);
}

#[tokio::test]
async fn a_closed_port_fails_at_once() {
    let (closed, to) = server();
    drop(closed);
    for expect in ["", "x"] {
        let start = Instant::now();
        let words = format!("send a datagram to {to}: connection refused");
        assert_eq!(
            run(to, None, b"ping", expect.as_bytes(), PATIENCE).await,
            Outcome::Failed(words)
        );
        assert!(start.elapsed() < PATIENCE / 2);
    }
}
