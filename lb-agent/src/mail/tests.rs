//! The task with a relay that does what a test wants. Against a real one: `tests/tests/lab_mail.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{Mail, MailAuth, MailTls};

const PATIENCE: Duration = Duration::from_secs(20);
const PACE: Pace = Pace {
    gather: Duration::from_millis(50),
    gap: Duration::from_millis(50),
    retry: Duration::from_millis(20),
    longest_retry: Duration::from_millis(20),
};

fn mail(port: u16, timeout: Duration) -> Mail {
    Mail {
        host: "127.0.0.1".to_owned(),
        port,
        tls: MailTls::None,
        from: "lb@edge-1.example".to_owned(),
        to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
        auth: None,
        timeout,
        on: vec![MailEvent::Service],
    }
}

fn event(number: usize) -> Event {
    Event {
        about: MailEvent::Service,
        at: SystemTime::UNIX_EPOCH,
        what: format!("service number {number} is down"),
        reason: "the test says so".to_owned(),
    }
}

/// What a relay says to the end of the message; `None`: nothing, ever.
type Verdict = Option<&'static str>;

/// A relay that treats its connections in turn as told, the last of these for all that follow, and hands over the
/// messages that it took.
struct FakeRelay {
    port: u16,
    messages: mpsc::Receiver<Vec<String>>,
    connections: Arc<AtomicUsize>,
}

impl FakeRelay {
    async fn start(verdicts: &'static [Verdict]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its port").port();
        let (take, messages) = mpsc::channel(100);
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let verdict = verdicts.get(number).or(verdicts.last()).copied().flatten();
                let take = take.clone();
                tokio::spawn(async move {
                    if let Ok(Some(message)) = converse(stream, verdict).await {
                        let _ = take.send(message).await;
                    }
                });
            }
        });
        Self {
            port,
            messages,
            connections,
        }
    }

    fn mailer(&self, timeout: Duration) -> (Mailer, Mailing) {
        let relay = Relay::new(&mail(self.port, timeout), "edge-1").expect("a relay");
        Mailer::with(relay, vec![MailEvent::Service], PACE)
    }

    async fn message(&mut self) -> Vec<String> {
        tokio::time::timeout(PATIENCE, self.messages.recv())
            .await
            .expect("a message in time")
            .expect("the relay lives")
    }
}

/// One conversation; the message, where it was taken.
async fn converse(mut stream: TcpStream, verdict: Verdict) -> std::io::Result<Option<Vec<String>>> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 relay\r\n").await?;
    let mut message = Vec::new();
    while let Some(line) = lines.next_line().await? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        match verb.as_str() {
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    message.push(line);
                }
                let Some(verdict) = verdict else {
                    std::future::pending::<()>().await;
                    return Ok(None);
                };
                write.write_all(format!("{verdict}\r\n").as_bytes()).await?;
                if !verdict.starts_with('2') {
                    return Ok(None);
                }
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                break;
            }
            _ => write.write_all(b"250 well\r\n").await?,
        }
    }
    Ok((!message.is_empty()).then_some(message))
}

#[tokio::test]
async fn a_storm_becomes_one_mail_to_all_recipients() {
    let mut relay = FakeRelay::start(&[Some("250 taken")]).await;
    let (mailer, mailing) = relay.mailer(PATIENCE);
    for number in 0..500 {
        mailer.tell(event(number));
    }
    mailer.tell(Event {
        about: MailEvent::RealServer,
        ..event(500)
    });
    let message = relay.message().await.join("\n");
    for part in [
        "From: lb@edge-1.example",
        "To: a@example.com, b@example.com",
        "Subject: [edge-1] 500 changes, the last: service number 499 is down",
        "Auto-Submitted: auto-generated",
        "service number 0 is down",
        "service number 499 is down",
        "the test says so",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(!message.contains("number 500"), "nobody wants to know that");
    mailing.finish().await;
    assert_eq!(relay.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_mail_is_tried_again_until_the_relay_takes_it_with_what_came_since() {
    const BUSY: Verdict = Some("451 too busy");
    let mut relay = FakeRelay::start(&[BUSY, BUSY, Some("250 taken")]).await;
    let (mailer, mailing) = relay.mailer(PATIENCE);
    mailer.tell(event(1));
    while relay.connections.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    mailer.tell(event(2));
    let message = relay.message().await.join("\n");
    assert!(
        message.contains("number 1") && message.contains("number 2"),
        "{message}"
    );
    mailing.finish().await;
    assert_eq!(relay.connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_does_not_hold_up_the_next() {
    let mut relay = FakeRelay::start(&[Some("554 never"), Some("250 taken")]).await;
    let (mailer, mailing) = relay.mailer(PATIENCE);
    mailer.tell(event(1));
    while relay.connections.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    mailer.tell(event(2));
    let message = relay.message().await.join("\n");
    assert!(
        message.contains("number 2") && !message.contains("number 1"),
        "{message}"
    );
    mailing.finish().await;
}

#[tokio::test]
async fn a_relay_that_hangs_holds_up_nobody() {
    let mut relay = FakeRelay::start(&[None, Some("250 taken")]).await;
    let (mailer, mailing) = relay.mailer(Duration::from_millis(300));
    mailer.tell(event(1));
    let began = Instant::now();
    for number in 0..3 * WAITING {
        mailer.tell(event(number));
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    let message = relay.message().await.join("\n");
    assert!(message.contains("changes, the last"), "{message}");
    mailing.finish().await;
}

#[tokio::test]
async fn what_waits_at_the_end_is_sent_at_once() {
    let mut relay = FakeRelay::start(&[Some("250 taken")]).await;
    let slow = Pace {
        gather: Duration::from_secs(3600),
        ..PACE
    };
    let made = Relay::new(&mail(relay.port, PATIENCE), "edge-1").expect("a relay");
    let (mailer, mailing) = Mailer::with(made, vec![MailEvent::Service], slow);
    mailer.tell(event(1));
    mailing.finish().await;
    assert!(relay.message().await.join("\n").contains("number 1"));
}

#[test]
fn a_password_that_cannot_be_read_is_found_out_at_the_start() {
    let auth = MailAuth {
        user: "lb".to_owned(),
        password_file: "/nonexistent/lb.secret".into(),
    };
    let mail = Mail {
        auth: Some(auth),
        ..mail(25, PATIENCE)
    };
    let error = Relay::new(&mail, "edge-1").expect_err("no password");
    assert_eq!(
        error.to_string(),
        "read the mail relay's password from /nonexistent/lb.secret"
    );
}
