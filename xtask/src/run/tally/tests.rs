use super::*;

const BOUND: Duration = Duration::from_secs(1);

/// A request that began at `start` + `began_ms`, and took 1 ms.
fn request(start: Instant, began_ms: u64, answer: Result<&str, &str>) -> Outcome {
    Outcome {
        began: start + Duration::from_millis(began_ms),
        took: Duration::from_millis(1),
        target: "192.0.2.1:80".parse().unwrap(),
        answer: answer.map(str::to_owned).map_err(str::to_owned),
    }
}

fn tally() -> (Tally, Instant) {
    (
        Tally::new(["rs1".to_owned(), "rs2".to_owned()], BOUND),
        Instant::now(),
    )
}

#[test]
fn a_run_in_which_every_server_served_and_nothing_failed_passes() {
    let (mut tally, start) = tally();
    tally.add(&request(start, 0, Ok("rs1")));
    tally.add(&request(start, 1, Ok("rs2")));
    assert_eq!(tally.faults(), Vec::<String>::new());
}

#[test]
fn a_server_that_served_nothing_is_a_fault() {
    let (mut tally, start) = tally();
    tally.add(&request(start, 0, Ok("rs1")));
    assert_eq!(tally.faults(), ["rs2 has served no request"]);
}

#[test]
fn failures_are_forgiven_from_the_kill_until_the_bound_and_no_longer() {
    // Began at, in ms after the start, with the kill at 1000; then: before, within, after.
    for (began_ms, expected) in [
        (0, (1, 0, 0)),
        (998, (1, 0, 0)),
        (999, (0, 1, 0)),
        (1999, (0, 1, 0)),
        (2000, (0, 0, 1)),
    ] {
        let (mut tally, start) = tally();
        tally.add(&request(start, 0, Ok("rs1")));
        tally.add(&request(start, 0, Ok("rs2")));
        tally.kill("rs1", start + Duration::from_secs(1));
        tally.add(&request(start, began_ms, Err("refused")));
        let drill = tally.drill.as_ref().unwrap();
        let found = (
            tally.failed_before_kill,
            drill.failed_within_bound,
            drill.failed_after_bound,
        );
        assert_eq!(found, expected, "a failure {began_ms} ms after the start");
        assert_eq!(
            tally.faults().is_empty(),
            expected.1 == 1,
            "{:?}",
            tally.faults()
        );
        assert_eq!(
            tally.reasons.is_empty(),
            expected.1 == 1,
            "{:?}",
            tally.reasons
        );
    }
}

#[test]
fn a_request_that_began_before_the_bound_and_timed_out_after_it_is_a_fault() {
    let (mut tally, start) = tally();
    tally.kill("rs1", start);
    let mut late = request(start, 900, Err("timeout"));
    late.took = Duration::from_secs(1);
    tally.add(&late);
    assert_eq!(tally.drill.as_ref().unwrap().failed_after_bound, 1);
}

#[test]
fn a_server_that_was_put_back_has_to_serve_again() {
    let (mut tally, start) = tally();
    tally.add(&request(start, 0, Ok("rs1")));
    tally.add(&request(start, 0, Ok("rs2")));
    tally.kill("rs1", start + Duration::from_secs(1));
    tally.drill.as_mut().unwrap().restored = Some(start + Duration::from_secs(3));
    // An answer that it gave before its death, but that is counted only now.
    tally.add(&request(start, 900, Ok("rs1")));
    assert_eq!(
        tally.faults(),
        ["rs1 has served no request since it was put back"]
    );
    tally.add(&request(start, 3200, Ok("rs1")));
    assert_eq!(tally.faults(), Vec::<String>::new());
    let summary = serde_json::to_value(tally.summary(
        Duration::from_secs(4),
        Some(3),
        Some("xdp_native".into()),
        true,
    ))
    .unwrap();
    assert_eq!(summary["served_again_after_ms"], 201.0);
    assert_eq!(summary["requests"], 4);
    assert_eq!(summary["per_real_server"]["rs1"], 3);
    assert_eq!(summary["datapath"], "xdp_native");
}

#[test]
fn a_killed_master_is_forgiven_until_its_backup_takes_over_and_no_longer() {
    let (mut tally, start) = tally();
    tally.add(&request(start, 0, Ok("rs1")));
    tally.add(&request(start, 990, Ok("rs2")));
    let killed = start + Duration::from_secs(1);
    tally.fail_over(killed);
    tally.add(&request(start, 1100, Err("timeout")));
    tally.add(&request(start, 1290, Ok("rs1")));
    let missing = "the backup has not taken over from the killed master";
    assert_eq!(tally.faults(), [missing]);
    if let Some(failover) = &mut tally.failover {
        failover.taken_over = Some(start + Duration::from_millis(1400));
    }
    assert_eq!(tally.faults(), Vec::<String>::new());
    let summary = |tally: &Tally| {
        let summary = tally.summary(Duration::from_secs(4), None, None, true);
        serde_json::to_value(summary).unwrap()
    };
    assert_eq!(summary(&tally)["failover_gap_ms"], 300.0);
    assert_eq!(summary(&tally)["failed_in_failover"], 1);
    tally.add(&request(start, 4000, Err("refused")));
    assert_eq!(tally.faults().len(), 1, "{:?}", tally.faults());
    assert_eq!(summary(&tally)["failed_after_failover"], 1);
}
