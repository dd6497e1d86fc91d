//! Against a server on loopback that says what a test has it say.

use std::io::{BufRead as _, BufReader as Lines, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::health::Origin;
use crate::health::{Kind, Outcome, Probe};

const PATIENCE: Duration = Duration::from_secs(10);

/// Says the first of `replies` at once, each other after a line from the client; then closes. Gives those lines.
fn server<T: AsRef<[u8]> + Send + 'static>(
    replies: Vec<T>,
) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
    let to = listener.local_addr().expect("its address");
    let heard = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("accept the check");
        let mut write = stream.try_clone().expect("the stream twice");
        let mut lines = Lines::new(stream);
        let mut heard = Vec::new();
        for (number, reply) in replies.iter().enumerate() {
            if number > 0 {
                let mut line = String::new();
                let _ = lines.read_line(&mut line);
                heard.push(line);
            }
            // The check may have read enough, and be gone.
            let _ = write.write_all(reply.as_ref());
        }
        let _ = write.shutdown(Shutdown::Write);
        let _ = lines.read_to_end(&mut Vec::new());
        heard
    });
    (to, heard)
}

async fn run(to: SocketAddr, timeout: Duration) -> Outcome {
    let kinds = [Kind::Smtp {
        helo: "edge-1.example".to_owned(),
    }]
    .into();
    Probe {
        address: to.ip(),
        port: to.port(),
        origin: Origin::default(),
        kinds,
    }
    .run(timeout)
    .await
}

async fn fault<T: AsRef<[u8]> + Send + 'static>(replies: Vec<T>) -> String {
    let (to, heard) = server(replies);
    let outcome = run(to, PATIENCE).await;
    heard.join().expect("the server");
    match outcome {
        Outcome::Failed(words) => words,
        other => panic!("not a failure: {other:?}"),
    }
}

#[tokio::test]
async fn greeting_helo_and_quit_pass() {
    let (to, heard) = server(vec![
        "220 mail.example ESMTP\r\n",
        "250 mail.example\r\n",
        "221 bye\r\n",
    ]);
    assert_eq!(run(to, PATIENCE).await, Outcome::Passed);
    assert_eq!(
        heard.join().expect("the server"),
        ["HELO edge-1.example\r\n", "QUIT\r\n"]
    );
}

#[tokio::test]
async fn replies_of_several_lines_are_read_whole() {
    let (to, heard) = server(vec![
        "220-mail.example\r\n220-be nice\r\n220 ESMTP\r\n",
        "250\r\n",
        "221-a\r\n221\n",
    ]);
    assert_eq!(run(to, PATIENCE).await, Outcome::Passed);
    assert_eq!(heard.join().expect("the server").len(), 2);
}

#[tokio::test]
async fn each_step_that_goes_wrong_is_named() {
    let refused = fault(vec!["554 no service\r\n"]).await;
    assert_eq!(
        refused,
        "the greeting: the server answers \"554 no service\", expected 220"
    );
    let helo = fault(vec!["220 hi\r\n", "501 bad name\r\n"]).await;
    assert_eq!(
        helo,
        "HELO: the server answers \"501 bad name\", expected 250"
    );
    let quit = fault(vec!["220 hi\r\n", "250 ok\r\n", "421 later\r\n"]).await;
    assert_eq!(quit, "QUIT: the server answers \"421 later\", expected 221");
    assert_eq!(
        fault(vec!["220 hi\r\n"]).await,
        "HELO: the server closed the connection"
    );
    assert_eq!(
        fault(vec!["220 hi"]).await,
        "the greeting: the server closed the connection"
    );
    let other = fault(vec!["SSH-2.0-OpenSSH\r\n"]).await;
    assert_eq!(
        other,
        "the greeting: the server answers \"SSH-2.0-OpenSSH\", expected 220"
    );
}

#[tokio::test]
async fn what_is_too_long_is_given_up() {
    let line = fault(vec!["220 ".to_owned() + &"x".repeat(1 << 20)]).await;
    assert_eq!(
        line,
        "the greeting: the answer is longer than 1024 bytes a line"
    );
    let lines = fault(vec!["220-x\r\n".repeat(10_000)]).await;
    assert_eq!(lines, "the greeting: the answer is longer than 100 lines");
}

#[tokio::test]
async fn a_server_that_never_greets_is_late() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen on loopback");
    let to = listener.local_addr().expect("its address");
    let words = "the greeting: no answer within 200ms".to_owned();
    assert_eq!(
        run(to, Duration::from_millis(200)).await,
        Outcome::Failed(words)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_answers_end_in_words(
        begin in prop::sample::select(vec!["", "220", "220-", "220 \r\n"]),
        noise in prop::collection::vec(any::<u8>(), 0..2_000),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let words = runtime.block_on(fault(vec![[begin.as_bytes(), &noise].concat()]));
        prop_assert!(!words.is_empty() && words.len() < 1_000, "{}", words);
    }
}
