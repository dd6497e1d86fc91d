//! Against real servers on loopback, in real time with short intervals.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroU32;

use tokio::time::timeout;

use super::*;
use crate::health::Kind;
use crate::health::Origin;

/// How long a condition is waited for before a test fails.
const PATIENCE: Duration = Duration::from_secs(10);

fn spec(to: SocketAddr) -> Spec {
    Spec {
        probe: Probe {
            address: to.ip(),
            port: to.port(),
            origin: Origin::default(),
            kinds: [Kind::Tcp].into(),
        },
        timing: Timing {
            interval: Duration::from_millis(40),
            timeout: Duration::from_secs(5),
            fall: NonZeroU32::new(2).expect("above zero"),
            rise: NonZeroU32::new(2).expect("above zero"),
            retry_interval: Duration::from_millis(20),
        },
    }
}

fn target(id: u32, to: SocketAddr, initial: State) -> Target {
    Target {
        id: TargetId(id),
        spec: spec(to),
        initial,
    }
}

/// A server of a test's own address, so that its port is nobody else's when it goes away and returns.
fn listen(last: u8) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 41, last), 0)).expect("listen");
    let to = listener.local_addr().expect("its address");
    (listener, to)
}

struct Lab {
    driver: Driver,
    events: mpsc::Receiver<Event>,
    cancel: CancellationToken,
}

impl Lab {
    fn new(targets: Vec<Target>) -> Self {
        Self::with_depth(targets, EVENTS)
    }

    fn with_depth(targets: Vec<Target>, depth: usize) -> Self {
        let (tx, events) = mpsc::channel(depth);
        let cancel = CancellationToken::new();
        let driver = Driver::spawn(targets, tx, cancel.clone());
        Self {
            driver,
            events,
            cancel,
        }
    }

    async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("a driver that is alive")
    }

    /// Waits until the status of a target fulfils `condition`.
    async fn status(&self, id: u32, condition: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.driver.checks[&TargetId(id)].status.clone();
        let met = timeout(PATIENCE, status.wait_for(|s| condition(s))).await;
        match met {
            Ok(Ok(status)) => status.clone(),
            Ok(Err(_)) => panic!("the task has ended"),
            Err(_) => panic!("still {:?}", self.driver.status(TargetId(id))),
        }
    }

    /// Waits until so many more runs of a target have ended.
    async fn runs(&self, id: u32, runs: usize) {
        for _ in 0..runs {
            let before = self.driver.status(TargetId(id)).expect("a target");
            self.status(id, |now| now.last != before.last).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_goes_away_and_returns_is_down_and_up_again() {
    let (listener, to) = listen(1);
    let mut lab = Lab::new(vec![target(7, to, State::Up)]);
    lab.status(7, |s| {
        s.last
            .as_ref()
            .is_some_and(|run| run.outcome == Outcome::Passed)
    })
    .await;

    drop(listener);
    let down = lab.event().await;
    assert_eq!((down.target, down.state), (TargetId(7), State::Down));
    assert_eq!(
        down.reason,
        format!("connect to {to}: connection refused (2 in a row)")
    );
    let status = lab.status(7, |s| s.state == State::Down).await;
    assert!(matches!(
        status.last.expect("a run").outcome,
        Outcome::Failed(_)
    ));

    let _listener = TcpListener::bind(to).expect("listen again");
    let up = lab.event().await;
    assert_eq!((up.target, up.state), (TargetId(7), State::Up));
    assert_eq!(up.reason, "check passed (2 in a row)");
    assert!(up.at > down.at);
}

#[tokio::test]
async fn a_server_that_stops_answering_is_down_within_the_bound_though_runs_take_longer_than_the_interval()
 {
    let (listener, to) = listen(2);
    let mut lab = Lab::new(vec![Target {
        spec: Spec {
            timing: Timing {
                timeout: Duration::from_millis(1_000),
                ..spec(to).timing
            },
            ..spec(to)
        },
        ..target(0, to, State::Up)
    }]);
    lab.runs(0, 2).await;
    // The same port with a queue of one place, which is taken: a SYN is answered no more.
    drop(listener);
    let died = now();
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("reuse the port");
    socket.bind(&to.into()).expect("bind");
    socket.listen(0).expect("listen");
    let _fills_it = std::net::TcpStream::connect(to).expect("the one that fits");

    let down = lab.event().await;
    assert_eq!(down.state, State::Down);
    // One after the other, two runs would take two seconds.
    let bound = lab.driver.checks[&TargetId(0)]
        .spec
        .borrow()
        .timing
        .detection_bound();
    let slack = Duration::from_millis(800);
    assert!(
        down.at - died <= bound + slack,
        "{:?}, bound {bound:?}",
        down.at - died
    );
}

#[tokio::test]
async fn the_first_result_decides_where_nothing_is_presumed() {
    let (_listener, alive) = listen(3);
    let (gone, dead) = listen(4);
    drop(gone);
    let mut lab = Lab::new(vec![
        target(0, alive, State::Unknown),
        target(1, dead, State::Unknown),
    ]);
    let mut events = [lab.event().await, lab.event().await];
    events.sort_by_key(|event| event.target);
    assert_eq!(events.map(|event| event.state), [State::Up, State::Down]);
}

#[tokio::test]
async fn a_target_whose_spec_is_equal_notices_nothing_of_a_reload() {
    let (_listener, to) = listen(5);
    let mut lab = Lab::new(vec![target(0, to, State::Up)]);
    lab.runs(0, 1).await;
    let before = lab.driver.status(TargetId(0));
    let spec = lab.driver.checks[&TargetId(0)].spec.subscribe();
    lab.driver.set_targets([target(0, to, State::Down)]);
    assert!(
        !spec.has_changed().expect("a task"),
        "its task would have been woken"
    );
    assert_eq!(lab.driver.status(TargetId(0)), before);
}

#[tokio::test]
async fn a_reload_stops_what_is_gone_and_starts_what_is_new() {
    let (first_listener, first) = listen(6);
    let (_second_listener, second) = listen(7);
    let mut lab = Lab::new(vec![target(0, first, State::Unknown)]);
    assert_eq!(lab.event().await.target, TargetId(0));
    let mut removed = lab.driver.checks[&TargetId(0)].status.clone();

    lab.driver.set_targets([target(1, second, State::Unknown)]);
    assert_eq!(lab.driver.status(TargetId(0)), None);
    let ended = timeout(PATIENCE, removed.wait_for(|_| false)).await;
    assert!(ended.expect("the removed target's task ends").is_err());
    drop(first_listener);
    let event = lab.event().await;
    assert_eq!((event.target, event.state), (TargetId(1), State::Up));
}

#[tokio::test]
async fn a_server_that_is_down_stays_down_when_its_check_is_changed() {
    let (gone, dead) = listen(8);
    drop(gone);
    let (_listener, alive) = listen(9);
    let mut lab = Lab::new(vec![target(0, dead, State::Up)]);
    assert_eq!(lab.event().await.state, State::Down);

    // Elsewhere, and slower: what is known is not forgotten, and the new place is what decides.
    lab.driver.set_targets([target(0, alive, State::Up)]);
    assert_eq!(
        lab.driver.status(TargetId(0)).map(|s| s.state),
        Some(State::Down)
    );
    let up = lab.event().await;
    assert_eq!(
        (up.state, up.reason.as_str()),
        (State::Up, "check passed (2 in a row)")
    );
}

#[tokio::test]
async fn events_wait_for_a_slow_reader_and_none_is_lost() {
    let dead: Vec<(TcpListener, SocketAddr)> = (10..30).map(listen).collect();
    let targets = (0..)
        .zip(&dead)
        .map(|(id, (_, to))| target(id, *to, State::Up))
        .collect();
    drop(dead);
    let mut lab = Lab::with_depth(targets, 1);
    for id in 0..20 {
        lab.status(id, |s| s.state == State::Down).await;
    }
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let event = lab.event().await;
        assert_eq!(event.state, State::Down);
        seen.insert(event.target);
    }
    assert_eq!(seen.len(), 20);
}

#[tokio::test]
async fn everything_ends_when_it_is_told_to() {
    let (_listener, to) = listen(31);
    let mut lab = Lab::new(vec![target(0, to, State::Up), target(1, to, State::Up)]);
    lab.runs(0, 1).await;
    lab.cancel.cancel();
    timeout(PATIENCE, lab.driver.stop())
        .await
        .expect("all tasks end");
    assert_eq!(lab.events.recv().await, None, "no sender is left");
}

#[tokio::test]
async fn dropping_the_driver_ends_its_tasks() {
    let (_listener, to) = listen(32);
    let Lab {
        driver,
        mut events,
        cancel,
    } = Lab::new(vec![target(0, to, State::Up)]);
    drop(driver);
    let ended = timeout(PATIENCE, events.recv())
        .await
        .expect("its task ends");
    assert_eq!(ended, None);
    assert!(
        !cancel.is_cancelled(),
        "the token of the caller is the caller's"
    );
}

#[test]
fn first_runs_are_soon_and_later_ones_fill_the_interval() {
    let interval = Duration::from_secs(10);
    let tenth_of = |times: Vec<Duration>, whole: Duration| {
        let mut counts = [0_u32; 10];
        for time in times {
            counts[(time.div_duration_f64(whole) * 10.0) as usize % 10] += 1;
        }
        counts
    };
    let all: Vec<(Duration, Duration)> = (0..1_000)
        .map(|id| spread(TargetId(id), interval))
        .collect();
    let first = tenth_of(all.iter().map(|(first, _)| *first).collect(), FIRST_RUNS);
    assert!(first.iter().all(|n| (90..=110).contains(n)), "{first:?}");
    let later = tenth_of(
        all.iter().map(|(first, gap)| *first + *gap).collect(),
        interval,
    );
    assert!(later.iter().all(|n| (50..=150).contains(n)), "{later:?}");
    for (first, gap) in all {
        assert!(
            first < FIRST_RUNS && gap >= FIRST_RUNS && gap <= interval,
            "{first:?} {gap:?}"
        );
    }
}

#[test]
fn an_interval_below_a_second_is_filled_by_the_first_runs() {
    let interval = Duration::from_millis(200);
    for id in 0..1_000 {
        let (first, gap) = spread(TargetId(id), interval);
        assert!(first < interval);
        assert_eq!(gap, interval);
    }
}

#[tokio::test]
async fn a_weight_that_a_check_finds_is_an_event_of_its_own() {
    let status = std::env::temp_dir().join(format!("lb-driver-{}", std::process::id()));
    let say = |code: u8| {
        let new = status.with_extension("new");
        std::fs::write(&new, code.to_string()).expect("a file for the test");
        std::fs::rename(&new, &status).expect("a file for the test");
    };
    let user = nix::unistd::geteuid().as_raw().to_string();
    let settings = crate::config::Scripts {
        user: crate::config::User { user, group: None },
        allow_insecure: false,
    };
    let command = [
        "/bin/sh",
        "-c",
        &format!("exit $(cat {})", status.display()),
    ]
    .map(str::to_owned);
    let runner = crate::script::Runner::default();
    let misc = crate::health::misc::Misc {
        script: crate::script::Script::new(&command, None, &settings, &runner).expect("a command"),
        arguments: ["web", "192.0.2.1", "80", "1"].map(str::to_owned),
        router_id: "edge-1".to_owned(),
        verdict: crate::health::misc::Verdict::Weight,
    };
    let mut target = target(1, SocketAddr::from(([192, 0, 2, 1], 80)), State::Up);
    target.spec.probe.kinds = [Kind::Misc(Box::new(misc))].into();
    say(12);
    let mut lab = Lab::new(vec![target]);
    let mut next = async || {
        let event = lab.event().await;
        (event.state, event.weight, event.reason)
    };
    let found = |weight: u16| {
        (
            State::Up,
            Some(weight),
            format!("the check found the weight {weight}"),
        )
    };
    assert_eq!(next().await, found(10));
    say(2);
    assert_eq!(next().await, found(0));
    say(1);
    let (state, weight, _) = next().await;
    assert_eq!(
        (state, weight),
        (State::Down, Some(0)),
        "what it found last is kept"
    );
    say(22);
    let (state, weight, reason) = next().await;
    assert_eq!((state, weight), (State::Up, Some(20)), "{reason}");
    say(0);
    let configured = "the check left the weight as configured".to_owned();
    assert_eq!(next().await, (State::Up, None, configured));
    std::fs::remove_file(&status).expect("the test's own file");
}
