//! Against TLS servers on loopback. The certificates beside this file are issued by `ca.pem`, whose key nobody has, for
//! `www.example.com` and `127.0.0.1`: `server.pem` until 2120, `expired.pem` until 2021.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::{HttpRequest, StatusRange};
use crate::health::Origin;
use crate::health::tls::Trust;
use crate::health::{Kind, Outcome, Probe};

const PATIENCE: Duration = Duration::from_secs(10);
const CA: &[u8] = include_bytes!("tests/ca.pem");
const GOOD: &[u8] = include_bytes!("tests/server.pem");
const EXPIRED: &[u8] = include_bytes!("tests/expired.pem");
const KEY: &[u8] = include_bytes!("tests/server.key");
/// `printf ok | md5sum`
const OK_MD5: [u8; 16] = [
    0x44, 0x4b, 0xcb, 0x3a, 0x3f, 0xcf, 0x83, 0x89, 0x29, 0x6c, 0x49, 0x46, 0x7f, 0x27, 0xe1, 0xd6,
];

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).expect("a certificate")
}

fn own_ca() -> Verify {
    Verify::By(Trust::of([certificate(CA)]).expect("an authority"))
}

/// What a server was asked.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    name: Option<String>,
    host: String,
    path: String,
}

/// A TLS server for one connection, that offers `protocols`, and answers 200 with the body `ok` in the one agreed on.
fn server(
    pem: &'static [u8],
    protocols: &'static [&'static str],
) -> (SocketAddr, JoinHandle<Option<Asked>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
    let to = listener.local_addr().expect("its address");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate(pem)],
            PrivateKeyDer::from_pem_slice(KEY).expect("a key"),
        )
        .expect("a certificate with its key");
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let asked = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accept the check");
        stream.set_nonblocking(true).expect("nonblocking");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let stream = TcpStream::from_std(stream).expect("a stream");
            let mut stream = TlsAcceptor::from(Arc::new(config))
                .accept(stream)
                .await
                .ok()?;
            let connection = stream.get_ref().1;
            let name = connection.server_name().map(str::to_owned);
            let is_http2 = connection.alpn_protocol() == Some(b"h2");
            Some(match is_http2 {
                true => Asked {
                    name,
                    ..answer_http2(stream).await
                },
                false => Asked {
                    name,
                    ..answer_http1(&mut stream).await
                },
            })
        })
    });
    (to, asked)
}

async fn answer_http1(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Asked {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    stream.write_all(answer).await.expect("answer");
    // Until the check has gone.
    let _ = stream.read_u8().await;
    let head = String::from_utf8(head).expect("a request in ASCII");
    let path = head.split(' ').nth(1).expect("a path").to_owned();
    let host = head
        .split("host: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    Asked {
        name: None,
        host: host.expect("a host").to_owned(),
        path,
    }
}

async fn answer_http2(stream: impl AsyncRead + AsyncWrite + Unpin) -> Asked {
    let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
    let mut asked = Asked::default();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let uri = request.uri();
        asked.host = uri.authority().expect("an authority").to_string();
        asked.path = uri.path_and_query().expect("a path").to_string();
        let mut body = respond
            .send_response(hyper::Response::new(()), false)
            .expect("answer");
        body.send_data("ok".into(), true).expect("answer");
    }
    asked
}

fn wanted(path: &str, host: Option<&str>) -> HttpRequest {
    HttpRequest {
        path: path.to_owned(),
        host: host.map(str::to_owned),
        status: vec![StatusRange {
            first: 200,
            last: 299,
        }],
        digest: Some(OK_MD5),
        body_regex: None,
    }
}

fn request(host: Option<&str>, sni: Option<&str>, verify: Verify, protocol: Protocol) -> Request {
    let http = http::Request::new(&wanted("/health?full=1", host)).expect("a good request");
    Request::new(http, sni, verify, protocol).expect("a good name")
}

async fn run(to: SocketAddr, request: Request) -> Outcome {
    let kinds = [Kind::Https(vec![request])].into();
    let probe = Probe {
        address: to.ip(),
        port: to.port(),
        origin: Origin::default(),
        kinds,
    };
    probe.run(PATIENCE).await
}

/// Why the check failed, without the address.
async fn fault(to: SocketAddr, request: Request) -> String {
    match run(to, request).await {
        Outcome::Failed(words) => words.replace(&to.to_string(), "it"),
        other => panic!("not a failure: {other:?}"),
    }
}

#[tokio::test]
async fn without_verification_any_certificate_is_good_in_either_protocol() {
    for (protocol, offered) in [
        (Protocol::Http1, &["h2", "http/1.1"][..]),
        (Protocol::Http2, &["h2"]),
    ] {
        let (to, asked) = server(EXPIRED, offered);
        let sent = request(
            Some("virtual.example:8443"),
            Some("b.example"),
            Verify::Nothing,
            protocol,
        );
        assert_eq!(run(to, sent).await, Outcome::Passed, "{protocol:?}");
        let expected = Asked {
            name: Some("b.example".to_owned()),
            host: "virtual.example:8443".to_owned(),
            path: "/health?full=1".to_owned(),
        };
        assert_eq!(
            asked.join().expect("the server"),
            Some(expected),
            "{protocol:?}"
        );
    }
}

#[tokio::test]
async fn the_host_is_asked_for_where_no_name_is_configured() {
    let (to, asked) = server(GOOD, &[]);
    let sent = request(
        Some("www.example.com:8443"),
        None,
        own_ca(),
        Protocol::Http1,
    );
    assert_eq!(run(to, sent).await, Outcome::Passed);
    let name = asked.join().expect("the server").expect("a request").name;
    assert_eq!(name.as_deref(), Some("www.example.com"));
}

#[tokio::test]
async fn without_any_name_the_certificate_must_be_for_the_address() {
    let (to, asked) = server(GOOD, &[]);
    assert_eq!(
        run(to, request(None, None, own_ca(), Protocol::Http1)).await,
        Outcome::Passed
    );
    let asked = asked.join().expect("the server").expect("a request");
    assert_eq!((asked.name, asked.host), (None, to.to_string()));
}

#[tokio::test]
async fn a_certificate_of_another_name_is_not_accepted() {
    let (to, _server) = server(GOOD, &[]);
    let words = fault(
        to,
        request(None, Some("api.example.com"), own_ca(), Protocol::Http1),
    )
    .await;
    assert!(
        words.starts_with("TLS with it as api.example.com: the certificate is not accepted: "),
        "{words}"
    );
    assert!(words.contains("www.example.com"), "{words}");
}

#[tokio::test]
async fn an_expired_certificate_is_not_accepted() {
    let (to, _server) = server(EXPIRED, &[]);
    let words = fault(
        to,
        request(None, Some("www.example.com"), own_ca(), Protocol::Http1),
    )
    .await;
    assert!(
        words.contains("the certificate is not accepted: certificate expired"),
        "{words}"
    );
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_not_accepted() {
    let (to, _server) = server(GOOD, &[]);
    let others = Verify::By(Trust::of([certificate(GOOD)]).expect("an authority"));
    let stranger = request(None, Some("www.example.com"), others, Protocol::Http1);
    assert_ne!(run(to, stranger).await, Outcome::Passed);
    let (to, _server) = server(GOOD, &[]);
    // The operating system's authorities know nothing of this one.
    let Ok(trust) = Trust::of_this_host() else {
        return;
    };
    let sent = request(
        None,
        Some("www.example.com"),
        Verify::By(trust),
        Protocol::Http1,
    );
    let reason = "the certificate is issued by nobody whom this host trusts";
    assert_eq!(
        fault(to, sent).await,
        format!("TLS with it as www.example.com: {reason}")
    );
}

#[tokio::test]
async fn a_server_that_does_not_agree_to_http2_fails() {
    let (to, _server) = server(GOOD, &[]);
    let words = fault(to, request(None, None, Verify::Nothing, Protocol::Http2)).await;
    assert_eq!(
        words,
        "TLS with it: the server did not agree to HTTP/2 (ALPN)"
    );
    let (to, _server) = server(GOOD, &["http/1.1"]);
    let words = fault(to, request(None, None, Verify::Nothing, Protocol::Http2)).await;
    assert_eq!(
        words,
        "TLS with it: the server did not agree to HTTP/2 (ALPN)"
    );
}

#[tokio::test]
async fn what_is_not_tls_is_named_so() {
    for (answer, words) in [
        (
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "TLS with it: the answer is not TLS",
        ),
        ("", "TLS with it: the server closed the connection"),
    ] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
        let to = listener.local_addr().expect("its address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept the check");
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        });
        let found = fault(to, request(None, None, Verify::Nothing, Protocol::Http1)).await;
        assert_eq!(found, words);
        server.join().expect("the server");
    }
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_is_late() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
    let to = listener.local_addr().expect("its address");
    let kinds = [Kind::Https(vec![request(
        None,
        None,
        Verify::Nothing,
        Protocol::Http1,
    )])]
    .into();
    let probe = Probe {
        address: to.ip(),
        port: to.port(),
        origin: Origin::default(),
        kinds,
    };
    let words = format!("TLS with {to}: no answer within 200ms");
    assert_eq!(
        probe.run(Duration::from_millis(200)).await,
        Outcome::Failed(words)
    );
}

/// What an HTTP/2 server may send that no client expects: the check ends in words.
#[tokio::test]
async fn another_digest_or_status_is_found_over_http2_too() {
    let (to, _server) = server(GOOD, &["h2"]);
    let mut wrong = wanted("/", None);
    wrong.digest = Some([0; 16]);
    let http = http::Request::new(&wrong).expect("a good request");
    let sent = Request::new(http, None, Verify::Nothing, Protocol::Http2).expect("a good name");
    let words = fault(to, sent).await;
    assert!(
        words.starts_with("the body of / has the MD5 444bcb3a3fcf8389296c49467f27e1d6, "),
        "{words}"
    );
    let (to, _server) = server(GOOD, &["h2"]);
    let mut wrong = wanted("/", None);
    wrong.status = vec![StatusRange {
        first: 204,
        last: 204,
    }];
    let http = http::Request::new(&wrong).expect("a good request");
    let sent = Request::new(http, None, Verify::Nothing, Protocol::Http2).expect("a good name");
    assert_eq!(fault(to, sent).await, "HTTP 200 from /, expected 204");
}

#[tokio::test]
async fn noise_instead_of_http2_ends_in_words() {
    let (client, mut server) = tokio::io::duplex(4096);
    let noise = tokio::spawn(async move {
        let _ = server.write_all(&[0xa5; 2048]).await;
        let _ = server.read_to_end(&mut Vec::new()).await;
    });
    let asked = http::Request::new(&wanted("/", None)).expect("a good request");
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
    let deadline = Deadline::after(PATIENCE);
    let asked = asked.ask(client, to, 443, Protocol::Http2, &deadline).await;
    let words = asked.expect_err("noise").to_string();
    assert!(
        words.starts_with("ask for /: the answer cannot be read as HTTP/2: "),
        "{words}"
    );
    noise.await.expect("the server");
}
