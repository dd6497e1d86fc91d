//! Against servers on loopback that say what a test has them say.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::StatusRange;
use crate::health::Origin;
use crate::health::{Kind, Outcome, Probe};

const PATIENCE: Duration = Duration::from_secs(10);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
/// `printf 'ok\n' | md5sum`
const OK_MD5: [u8; 16] = [
    0xef, 0xf5, 0xbc, 0x1e, 0xf8, 0xec, 0x9d, 0x03, 0xe6, 0x40, 0xfc, 0x43, 0x70, 0xf5, 0xea, 0xcd,
];

fn wanted() -> HttpRequest {
    HttpRequest {
        path: "/health".to_owned(),
        host: None,
        status: vec![StatusRange {
            first: 200,
            last: 299,
        }],
        digest: None,
        body_regex: None,
    }
}

fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.extend(byte);
    }
    head
}

/// A server that does `serve` with its first connection, and gives what it was asked.
fn server(
    serve: impl FnOnce(TcpStream, Vec<u8>) + Send + 'static,
) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
    let to = listener.local_addr().expect("its address");
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept the check");
        let head = read_head(&mut stream);
        serve(stream, head.clone());
        String::from_utf8(head).expect("a request in ASCII")
    });
    (to, asked)
}

fn says(answer: impl AsRef<[u8]> + Send + 'static) -> (SocketAddr, JoinHandle<String>) {
    server(move |mut stream, _| {
        // The check may have read enough, and be gone.
        let _ = stream.write_all(answer.as_ref());
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

async fn run(to: SocketAddr, requests: &[HttpRequest], timeout: Duration) -> Outcome {
    let requests = requests
        .iter()
        .map(|request| Request::new(request).expect("a good request"));
    let probe = Probe {
        address: to.ip(),
        port: to.port(),
        origin: Origin::default(),
        kinds: [Kind::Http(requests.collect())].into(),
    };
    probe.run(timeout).await
}

/// What a check of a server that says `answer` ends with.
async fn judged(answer: impl AsRef<[u8]> + Send + 'static, request: HttpRequest) -> Outcome {
    let (to, asked) = says(answer);
    let outcome = run(to, &[request], PATIENCE).await;
    asked.join().expect("the server");
    outcome
}

fn failed(words: &str) -> Outcome {
    Outcome::Failed(words.to_owned())
}

#[tokio::test]
async fn a_good_status_passes_and_the_request_is_as_configured() {
    let (to, asked) = says(OK);
    let request = HttpRequest {
        path: "/health?full=1".to_owned(),
        host: Some("www.example.com".to_owned()),
        ..wanted()
    };
    assert_eq!(run(to, &[request], PATIENCE).await, Outcome::Passed);
    let asked = asked.join().expect("the server");
    assert!(
        asked.starts_with("GET /health?full=1 HTTP/1.1\r\n"),
        "{asked}"
    );
    assert!(asked.contains("host: www.example.com\r\n"), "{asked}");
    assert!(asked.contains("user-agent: lb-agent/"), "{asked}");
}

#[tokio::test]
async fn without_a_host_the_address_is_asked_for() {
    let (to, asked) = says(OK);
    assert_eq!(run(to, &[wanted()], PATIENCE).await, Outcome::Passed);
    let asked = asked.join().expect("the server");
    assert!(asked.contains(&format!("host: {to}\r\n")), "{asked}");
    let request = Request::new(&wanted()).expect("a good request");
    let host = |to: &str| request.host(to.parse().expect("an address"), 80);
    assert_eq!(host("192.0.2.1:80"), "192.0.2.1");
    assert_eq!(host("[2001:db8::1]:80"), "[2001:db8::1]");
    assert_eq!(host("[2001:db8::1]:81"), "[2001:db8::1]:81");
}

#[tokio::test]
async fn another_status_is_named_with_those_that_are_good() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let words = failed("HTTP 503 from /health, expected 200-299");
    assert_eq!(judged(answer, wanted()).await, words);
    let status = vec![
        StatusRange {
            first: 200,
            last: 200,
        },
        StatusRange {
            first: 300,
            last: 399,
        },
    ];
    let several = HttpRequest { status, ..wanted() };
    let words = failed("HTTP 503 from /health, expected 200, 300-399");
    assert_eq!(judged(answer, several.clone()).await, words);
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(judged(redirect, several).await, Outcome::Passed);
    let words = failed("HTTP 302 from /health, expected 200-299");
    assert_eq!(judged(redirect, wanted()).await, words);
}

#[tokio::test]
async fn the_digest_is_that_of_the_body() {
    let digest = HttpRequest {
        digest: Some(OK_MD5),
        ..wanted()
    };
    assert_eq!(judged(OK, digest.clone()).await, Outcome::Passed);
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n\n\r\n0\r\n\r\n";
    assert_eq!(judged(chunked, digest.clone()).await, Outcome::Passed);
    let until_closed = "HTTP/1.0 200 OK\r\n\r\nok\n";
    assert_eq!(judged(until_closed, digest.clone()).await, Outcome::Passed);
    let other = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nko";
    let words = "the body of /health has the MD5 ed73f6b46391b95e1d03c6818a73b8b9, expected eff5bc1ef8ec9d03e640fc4370f5eacd";
    assert_eq!(judged(other, digest).await, failed(words));
}

#[tokio::test]
async fn the_body_must_match_its_regular_expression() {
    let regex = HttpRequest {
        body_regex: Some("^o[kK]$".to_owned()),
        ..wanted()
    };
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(judged(ok, regex.clone()).await, Outcome::Passed);
    let words = failed("the body of /health does not match `^o[kK]$`: it begins with \"ok\\n\"");
    assert_eq!(judged(OK, regex).await, words);
}

#[tokio::test]
async fn all_requests_must_be_answered_as_wished() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
    let to = listener.local_addr().expect("its address");
    let server = std::thread::spawn(move || {
        for status in [200, 200, 200, 404] {
            let (mut stream, _) = listener.accept().expect("accept the check");
            read_head(&mut stream);
            let _ = write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let second = HttpRequest {
        path: "/second".to_owned(),
        ..wanted()
    };
    let both = [wanted(), second];
    assert_eq!(run(to, &both, PATIENCE).await, Outcome::Passed);
    let words = failed("HTTP 404 from /second, expected 200-299");
    assert_eq!(run(to, &both, PATIENCE).await, words);
    server.join().expect("the server");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_late() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
    let to = listener.local_addr().expect("its address");
    let outcome = run(to, &[wanted()], Duration::from_millis(200)).await;
    assert_eq!(outcome, failed("ask for /health: no answer within 200ms"));
}

#[tokio::test]
async fn an_answer_byte_by_byte_ends_at_the_deadline() {
    let (to, asked) = server(|mut stream, _| {
        let start = Instant::now();
        for byte in OK.bytes().cycle() {
            if stream.write_all(&[byte]).is_err() || start.elapsed() > PATIENCE {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let start = Instant::now();
    let outcome = run(to, &[wanted()], Duration::from_millis(300)).await;
    assert_eq!(outcome, failed("ask for /health: no answer within 300ms"));
    assert!(start.elapsed() < Duration::from_secs(2));
    asked.join().expect("the server");
}

#[tokio::test]
async fn a_body_without_end_is_given_up_at_its_bound_and_at_the_deadline() {
    let digest = HttpRequest {
        digest: Some(OK_MD5),
        ..wanted()
    };
    let (to, asked) = server(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let block = [b'x'; 16 * 1024];
        while stream.write_all(&block).is_ok() {}
    });
    let outcome = run(to, std::slice::from_ref(&digest), PATIENCE).await;
    assert_eq!(
        outcome,
        failed("the body of /health is longer than 1024 KiB")
    );
    asked.join().expect("the server");

    let (to, asked) = server(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let timeout = Duration::from_millis(200);
    let outcome = run(to, &[digest], timeout).await;
    assert_eq!(
        outcome,
        failed("ask for /health: no end of the body within 200ms")
    );
    asked.join().expect("the server");
    // Nobody judges it: nobody waits for it.
    let endless = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok";
    assert_eq!(judged(endless, wanted()).await, Outcome::Passed);
}

#[tokio::test]
async fn a_head_without_end_is_given_up() {
    let (to, asked) = server(|mut stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        let block = [b'x'; 16 * 1024];
        while stream.write_all(&block).is_ok() {}
    });
    let outcome = run(to, &[wanted()], PATIENCE).await;
    assert_eq!(
        outcome,
        failed("ask for /health: the answer cannot be read as HTTP: message head is too large")
    );
    asked.join().expect("the server");
}

#[tokio::test]
async fn a_connection_that_is_closed_or_reset_is_a_failure_in_words() {
    let closed =
        failed("ask for /health: the connection was closed before the answer was complete");
    assert_eq!(judged("", wanted()).await, closed);
    assert_eq!(judged("HTTP/1.1 200", wanted()).await, closed);
    let (to, asked) = server(|stream, _| {
        let socket = socket2::SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
    });
    let outcome = run(to, &[wanted()], PATIENCE).await;
    asked.join().expect("the server");
    assert_eq!(outcome, failed("ask for /health: connection reset"));
}

#[tokio::test]
async fn what_is_not_http_is_named_so() {
    let Outcome::Failed(words) = judged("220 mail.example ESMTP\r\n\r\n", wanted()).await else {
        panic!("passed")
    };
    assert!(
        words.starts_with("ask for /health: the answer cannot be read as HTTP: "),
        "{words}"
    );
}

#[tokio::test]
async fn the_request_comes_from_the_source_address() {
    let from = Ipv4Addr::new(127, 0, 40, 3);
    let (to, asked) = server(move |mut stream, _| {
        let peer = stream.peer_addr().expect("its peer");
        let status = if peer.ip() == from { 200 } else { 500 };
        let _ = write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
    });
    let probe = Probe {
        address: to.ip(),
        port: to.port(),
        origin: Some(from.into()).into(),
        kinds: [Kind::Http(vec![
            Request::new(&wanted()).expect("a good request"),
        ])]
        .into(),
    };
    assert_eq!(probe.run(PATIENCE).await, Outcome::Passed);
    asked.join().expect("the server");
}

#[test]
fn a_regular_expression_that_is_too_large_is_refused() {
    let huge = HttpRequest {
        body_regex: Some(r"(\w{100}){100}".to_owned()),
        ..wanted()
    };
    assert!(Request::new(&huge).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes at all, and answers that are nearly good.
    #[test]
    fn hostile_answers_end_in_words(
        begin in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n"]),
        noise in prop::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let request = HttpRequest { digest: Some([0; 16]), ..wanted() };
        let answer = [begin.as_bytes(), &noise].concat();
        match runtime.block_on(judged(answer, request)) {
            Outcome::Failed(words) => prop_assert!(!words.is_empty() && words.len() < 1_000, "{}", words),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}
