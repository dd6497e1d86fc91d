//! Against a socket on loopback that says what a test has it say.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::health::Origin;
use crate::health::{Kind, Outcome, Probe};

const PATIENCE: Duration = Duration::from_secs(10);

fn query() -> Query {
    Query::new("www.Example.com", DnsType::A)
}

/// An answer to `query` with these flags and nothing but the question.
fn answer(query: &[u8], flags: u16) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2..4].copy_from_slice(&flags.to_be_bytes());
    answer
}

/// What a check ends with whose query is answered by all that `answers` makes of it.
async fn judged(
    answers: impl FnOnce(Vec<u8>) -> Vec<Vec<u8>> + Send + 'static,
    timeout: Duration,
) -> (SocketAddr, Outcome) {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on loopback");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let to = server.local_addr().expect("its address");
    let serving = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (read, from) = server.recv_from(&mut buffer).expect("a query");
        for answer in answers(buffer[..read].to_vec()) {
            server.send_to(&answer, from).expect("answer");
        }
        server
    });
    let kinds = [Kind::Dns(query())].into();
    let outcome = Probe {
        address: to.ip(),
        port: to.port(),
        origin: Origin::default(),
        kinds,
    }
    .run(timeout)
    .await;
    serving.join().expect("the server");
    (to, outcome)
}

#[test]
fn a_query_is_as_rfc_1035_has_it() {
    let name = |text: &str, record| Query::new(text, record).message(0x1234);
    let expected = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07Example\x03com\x00\x00\x01\x00\x01";
    assert_eq!(name("www.Example.com", DnsType::A), expected);
    assert_eq!(name("www.Example.com.", DnsType::A), expected);
    let root = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x01";
    assert_eq!(name(".", DnsType::Soa), root);
    for (record, code) in [
        (DnsType::Ns, 2),
        (DnsType::Cname, 5),
        (DnsType::Mx, 15),
        (DnsType::Txt, 16),
        (DnsType::Aaaa, 28),
    ] {
        assert_eq!(name(".", record)[13..15], [0, code]);
    }
}

#[tokio::test]
async fn an_answer_without_an_error_passes() {
    let (_, outcome) = judged(|query| vec![answer(&query, 0x8180)], PATIENCE).await;
    assert_eq!(outcome, Outcome::Passed);
    // In whatever case the server repeats the name.
    let lower = |query: Vec<u8>| vec![answer(&query, 0x8180).to_ascii_lowercase()];
    assert!(
        query()
            .answer(0x6162, &lower(query().message(0x6162))[0])
            .is_some()
    );
}

#[tokio::test]
async fn an_error_is_named() {
    for (code, name) in [
        (2, "SERVFAIL (it cannot find out)"),
        (3, "NXDOMAIN (there is no such name)"),
        (9, "RCODE 9"),
    ] {
        let (to, outcome) =
            judged(move |query| vec![answer(&query, 0x8180 | code)], PATIENCE).await;
        let words = format!("{to} answers {name} when asked for A of www.Example.com");
        assert_eq!(outcome, Outcome::Failed(words));
    }
}

#[tokio::test]
async fn an_error_without_the_question_counts_too() {
    let (_, outcome) = judged(
        |query| {
            let mut header = answer(&query, 0x8181)[..HEADER_BYTES].to_vec();
            header[4..6].copy_from_slice(&[0, 0]);
            vec![header]
        },
        PATIENCE,
    )
    .await;
    assert!(matches!(outcome, Outcome::Failed(words) if words.contains("FORMERR")));
}

#[tokio::test]
async fn answers_to_other_queries_are_passed_over() {
    let others = |query: Vec<u8>| {
        let mut id = answer(&query, 0x8182);
        id[0] ^= 1;
        let mut name = answer(&query, 0x8182);
        name[HEADER_BYTES + 1] = b'x';
        vec![id, name, query.clone(), Vec::new(), query[..7].to_vec()]
    };
    let (to, outcome) = judged(others, Duration::from_millis(300)).await;
    let words = format!("ask {to} for A of www.Example.com: no answer within 300ms");
    assert_eq!(outcome, Outcome::Failed(words));
    let then = move |query: Vec<u8>| {
        let mut all = others(query.clone());
        all.push(answer(&query, 0x8180));
        all
    };
    assert_eq!(judged(then, PATIENCE).await.1, Outcome::Passed);
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on loopback");
    let to = closed.local_addr().expect("its address");
    drop(closed);
    let kinds = [Kind::Dns(query())].into();
    let outcome = Probe {
        address: to.ip(),
        port: to.port(),
        origin: Origin::default(),
        kinds,
    }
    .run(PATIENCE)
    .await;
    let words = format!("ask {to} for A of www.Example.com: connection refused");
    assert_eq!(outcome, Outcome::Failed(words));
}

proptest! {
    #[test]
    fn no_bytes_are_taken_for_an_answer_by_chance_nor_end_the_agent(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        let query = query();
        if let Some(code) = query.answer(0x1234, &noise) {
            prop_assert!(noise.starts_with(&[0x12, 0x34]) && code < 16);
        }
        let mut nearly = answer(&query.message(0x1234), 0x8180);
        nearly.extend(&noise);
        prop_assert_eq!(query.answer(0x1234, &nearly), Some(0));
        for len in 0..nearly.len().min(HEADER_BYTES + query.question.len()) {
            prop_assert_eq!(query.answer(0x1234, &nearly[..len]), None);
        }
    }
}
