//! The grace period before a bank is written again, by each of the ways that kernels offer.

use lb_agent::sys::grace::Grace;
use std::{
    thread::available_parallelism,
    time::{Duration, Instant},
};

/// What no system call takes that waits for nothing, and any grace period does that other CPUs must take part in.
const SHORTEST: Duration = Duration::from_micros(100);

/// With one CPU the caller's own sleep is the grace period; where grace periods are hurried there is no shortest.
fn has_a_shortest() -> bool {
    let hurried = std::fs::read_to_string("/sys/kernel/rcu_expedited");
    available_parallelism().is_ok_and(|cpus| cpus.get() > 1)
        && hurried.is_ok_and(|text| text.trim() == "0")
}

fn check(way: &Grace) {
    for _ in 0..5 {
        let begin = Instant::now();
        way.wait().expect("the kernel waits");
        let took = begin.elapsed();
        assert!(
            !has_a_shortest() || took >= SHORTEST,
            "{way:?} waited for nothing: {took:?}"
        );
    }
}

#[test]
fn the_way_that_this_kernel_offers_waits() {
    check(&Grace::find().expect("one of the ways works"));
}

#[test]
fn the_way_of_kernels_without_a_global_barrier_waits() {
    let way = Grace::by_map_of_maps().expect("a map of maps can be made");
    assert!(matches!(way, Grace::MapOfMaps(_)));
    check(&way);
}
