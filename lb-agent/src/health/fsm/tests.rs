//! Every state met by every event, and how soon a server's death and return are seen.

use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn timing(fall: u32, rise: u32) -> Timing {
    Timing {
        interval: ms(10_000),
        timeout: ms(5_000),
        fall: NonZeroU32::new(fall).expect("above zero"),
        rise: NonZeroU32::new(rise).expect("above zero"),
        retry_interval: ms(1_000),
    }
}

fn failed() -> Outcome {
    Outcome::Failed("connection refused".to_owned())
}

fn inconclusive() -> Outcome {
    Outcome::Inconclusive("no file descriptor left".to_owned())
}

/// With `fall` 3 and `rise` 2, the run having started at 0 and ended at 200 ms.
#[test]
fn every_standing_answers_every_outcome() {
    use Standing::{Down, Unknown, Up};
    // When the next run is due, in milliseconds: the interval from the start, or a retry from the failure.
    const INTERVAL: u64 = 10_000;
    const RETRY: u64 = 1_200;
    let refused = "connection refused";
    let table = [
        (
            Unknown,
            Outcome::Passed,
            Up { failures: 0 },
            Some((State::Up, "first check passed")),
            INTERVAL,
        ),
        (
            Unknown,
            failed(),
            Down { passes: 0 },
            Some((State::Down, refused)),
            RETRY,
        ),
        (Unknown, inconclusive(), Unknown, None, RETRY),
        (
            Up { failures: 0 },
            Outcome::Passed,
            Up { failures: 0 },
            None,
            INTERVAL,
        ),
        (
            Up { failures: 0 },
            failed(),
            Up { failures: 1 },
            None,
            RETRY,
        ),
        (
            Up { failures: 0 },
            inconclusive(),
            Up { failures: 0 },
            None,
            RETRY,
        ),
        (
            Up { failures: 1 },
            Outcome::Passed,
            Up { failures: 0 },
            None,
            INTERVAL,
        ),
        (
            Up { failures: 1 },
            failed(),
            Up { failures: 2 },
            None,
            RETRY,
        ),
        (
            Up { failures: 1 },
            inconclusive(),
            Up { failures: 1 },
            None,
            RETRY,
        ),
        (
            Up { failures: 2 },
            Outcome::Passed,
            Up { failures: 0 },
            None,
            INTERVAL,
        ),
        (
            Up { failures: 2 },
            failed(),
            Down { passes: 0 },
            Some((State::Down, "connection refused (3 in a row)")),
            RETRY,
        ),
        (
            Up { failures: 2 },
            inconclusive(),
            Up { failures: 2 },
            None,
            RETRY,
        ),
        (
            Down { passes: 0 },
            Outcome::Passed,
            Down { passes: 1 },
            None,
            INTERVAL,
        ),
        (
            Down { passes: 0 },
            failed(),
            Down { passes: 0 },
            None,
            RETRY,
        ),
        (
            Down { passes: 0 },
            inconclusive(),
            Down { passes: 0 },
            None,
            RETRY,
        ),
        (
            Down { passes: 1 },
            Outcome::Passed,
            Up { failures: 0 },
            Some((State::Up, "check passed (2 in a row)")),
            INTERVAL,
        ),
        (
            Down { passes: 1 },
            failed(),
            Down { passes: 0 },
            None,
            RETRY,
        ),
        (
            Down { passes: 1 },
            inconclusive(),
            Down { passes: 1 },
            None,
            RETRY,
        ),
    ];
    let start = Instant::now();
    for (standing, outcome, then, transition, due) in table {
        let mut check = Check::new(timing(3, 2), State::Unknown, start, ms(10_000));
        check.standing = standing;
        let from = check.state();
        check.on_start(start);
        let row = format!("{standing:?} on {outcome:?}");
        let seen = check.on_result(outcome, start + ms(200));
        let expected = transition.map(|(to, reason)| Transition {
            from,
            to,
            reason: reason.to_owned(),
        });
        assert_eq!(seen, expected, "{row}");
        assert_eq!(check.standing, then, "{row}");
        assert_eq!(check.next_run(), Some(start + ms(due)), "{row}");
    }
}

#[test]
fn single_results_decide_where_fall_and_rise_are_one() {
    let start = Instant::now();
    let mut check = Check::new(timing(1, 1), State::Up, start, ms(10_000));
    for (outcome, to) in [(failed(), State::Down), (Outcome::Passed, State::Up)] {
        check.on_start(start);
        let seen = check.on_result(outcome, start).map(|t| t.to);
        assert_eq!(seen, Some(to));
    }
}

#[test]
fn the_first_run_and_the_second_come_when_the_caller_says() {
    let start = Instant::now();
    let mut check = Check::new(timing(2, 1), State::Up, start + ms(700), ms(3_000));
    assert_eq!(check.next_run(), Some(start + ms(700)));
    for (now, next) in [(700, 3_700), (3_700, 13_700), (13_700, 23_700)] {
        check.on_start(start + ms(now));
        check.on_result(Outcome::Passed, start + ms(now + 1));
        assert_eq!(check.next_run(), Some(start + ms(next)));
    }
}

#[test]
fn a_server_that_is_up_has_at_most_as_many_runs_under_way_as_would_condemn_it() {
    let start = Instant::now();
    let mut check = Check::new(timing(3, 1), State::Up, start, ms(10_000));
    let mut started = 0;
    while let Some(due) = check.next_run() {
        check.on_start(due);
        started += 1;
    }
    assert_eq!(started, 3);
    check.on_result(failed(), start);
    assert_eq!(
        check.next_run(),
        None,
        "one failure and two runs under way are enough"
    );
    check.on_result(Outcome::Passed, start);
    assert!(check.next_run().is_some(), "a pass clears the failure");
}

#[test]
fn a_server_that_is_not_up_is_tried_by_one_run_at_a_time() {
    let start = Instant::now();
    for state in [State::Unknown, State::Down] {
        let mut check = Check::new(timing(3, 1), state, start, ms(10_000));
        check.on_start(start);
        assert_eq!(check.next_run(), None, "{state:?}");
    }
}

#[test]
fn absurdly_long_times_do_no_harm() {
    let start = Instant::now();
    let forever = Timing {
        interval: Duration::MAX,
        timeout: Duration::MAX,
        retry_interval: Duration::MAX,
        ..timing(u32::MAX, 1)
    };
    let mut check = Check::new(forever, State::Up, start, Duration::MAX);
    check.on_start(start);
    check.on_result(failed(), start);
    check.set_timing(forever, start);
    assert!(check.next_run().is_some_and(|due| due > start));
    assert_eq!(forever.detection_bound(), Duration::MAX);
}

#[test]
fn new_timing_keeps_what_is_known() {
    let start = Instant::now();
    let mut check = Check::new(timing(5, 1), State::Up, start, ms(10_000));
    for _ in 0..4 {
        check.on_start(start);
        assert_eq!(check.on_result(failed(), start), None);
    }
    let faster = Timing {
        interval: ms(500),
        ..timing(2, 1)
    };
    check.set_timing(faster, start);
    assert_eq!(check.state(), State::Up);
    assert_eq!(check.next_run(), Some(start + ms(500)));
    check.on_start(start);
    let seen = check.on_result(failed(), start).map(|t| t.to);
    assert_eq!(
        seen,
        Some(State::Down),
        "the failures so far still count, as far as the new limit goes"
    );
}

/// A check, its runs and the time since its start; nothing sleeps.
struct Simulation {
    start: Instant,
    now: Duration,
    check: Check,
    /// When each run that is under way ends, and how.
    runs: Vec<(Duration, Outcome)>,
}

impl Simulation {
    fn new(timing: Timing, initial: State, first_run: Duration, first_interval: Duration) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: Duration::ZERO,
            check: Check::new(timing, initial, start + first_run, first_interval),
            runs: Vec::new(),
        }
    }

    /// Goes on until the server is found to be in the state `to` no earlier than `since`; says when that was. What a
    /// run started at a given time comes to, and how long it takes, is what `run` answers.
    fn transition(
        &mut self,
        to: State,
        since: Duration,
        mut run: impl FnMut(Duration) -> (Duration, Outcome),
    ) -> Option<Duration> {
        for _ in 0..10_000 {
            let due = self.check.next_run();
            // An overdue run starts now.
            let due = due.map(|due| due.duration_since(self.start).max(self.now));
            let next_end = (0..self.runs.len()).min_by_key(|&i| self.runs[i].0);
            match (next_end, due) {
                (Some(i), due) if due.is_none_or(|due| self.runs[i].0 <= due) => {
                    let (end, outcome) = self.runs.swap_remove(i);
                    self.now = end;
                    let seen = self.check.on_result(outcome, self.start + end);
                    if seen.is_some_and(|t| t.to == to) && end >= since {
                        return Some(end);
                    }
                }
                (_, Some(due)) => {
                    self.now = due;
                    self.check.on_start(self.start + due);
                    let (takes, outcome) = run(due);
                    self.runs.push((due + takes, outcome));
                }
                (_, None) => return None,
            }
        }
        None
    }
}

prop_compose! {
    fn any_timing()(
        interval in 1..20_000_u64,
        timeout in 1..20_000_u64,
        retry_interval in 1..40_000_u64,
        fall in 1..6_u32,
        rise in 1..6_u32,
    ) -> Timing {
        Timing {
            interval: ms(interval),
            timeout: ms(timeout),
            retry_interval: ms(retry_interval),
            ..timing(fall, rise)
        }
    }
}

/// How long each run takes, in thousandths of the timeout; used over and over.
fn any_latencies() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(prop_oneof![Just(0), 0..1_000_u32, Just(1_000)], 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_dead_server_is_down_within_the_bound(
        timing in any_timing(),
        // In thousandths of an interval.
        lives in 0..30_000_u32,
        first_run in 0..1_000_u64,
        first_interval in 0..20_000_u64,
        latencies in any_latencies(),
    ) {
        let dies = (timing.interval * lives / 1_000).max(ms(first_run));
        let mut simulation = Simulation::new(timing, State::Up, ms(first_run), ms(first_interval));
        let mut latencies = latencies.into_iter().cycle();
        let down = simulation.transition(State::Down, dies, |started| {
            let takes = timing.timeout * latencies.next().expect("endless") / 1_000;
            // Seen alive only if it answered before it died; the dead may refuse at once or not answer at all.
            if started + takes < dies {
                (takes, Outcome::Passed)
            } else {
                (takes.max(dies.saturating_sub(started)).min(timing.timeout), failed())
            }
        });
        let after = down.expect("it is found to be down") - dies;
        prop_assert!(after <= timing.detection_bound(), "down {:?} after death, bound {:?}", after, timing.detection_bound());
        if timing.retry_interval <= timing.interval {
            prop_assert_eq!(timing.detection_bound(), timing.interval * timing.fall.get() + timing.timeout);
        }
    }

    #[test]
    fn a_server_that_returned_is_up_as_soon_as_its_passes_allow(
        timing in any_timing(),
        // In thousandths of a retry interval.
        dead in 0..30_000_u32,
        latencies in any_latencies(),
    ) {
        let returns = timing.retry_interval * dead / 1_000;
        let mut simulation = Simulation::new(timing, State::Down, Duration::ZERO, timing.interval);
        let mut latencies = latencies.into_iter().cycle();
        let up = simulation.transition(State::Up, returns, |started| {
            let takes = timing.timeout * latencies.next().expect("endless") / 1_000;
            if started < returns { (takes, failed()) } else { (takes, Outcome::Passed) }
        });
        let after = up.expect("it is found to be up") - returns;
        let each = timing.interval.max(timing.timeout);
        let bound = timing.timeout + timing.retry_interval + each * timing.rise.get();
        prop_assert!(after <= bound, "up {:?} after its return, bound {:?}", after, bound);
    }

    #[test]
    fn a_server_that_always_answers_stays_up_and_is_asked_once_an_interval(timing in any_timing(), latencies in any_latencies()) {
        let mut simulation = Simulation::new(timing, State::Up, Duration::ZERO, timing.interval);
        let mut latencies = latencies.into_iter().cycle();
        let mut starts = Vec::new();
        let down = simulation.transition(State::Down, Duration::ZERO, |started| {
            starts.push(started);
            (timing.timeout * latencies.next().expect("endless") / 1_000, Outcome::Passed)
        });
        prop_assert_eq!(down, None);
        for pair in starts.windows(2) {
            prop_assert!(pair[1] - pair[0] >= timing.interval);
        }
    }

    #[test]
    fn runs_that_could_not_be_carried_out_change_nothing(timing in any_timing(), state in prop::sample::select(vec![State::Unknown, State::Up, State::Down])) {
        let mut simulation = Simulation::new(timing, state, Duration::ZERO, timing.interval);
        let transition = simulation.transition(State::Down, Duration::ZERO, |_| (ms(0), inconclusive()));
        prop_assert_eq!(transition, None);
        prop_assert_eq!(simulation.check.state(), state);
    }
}
