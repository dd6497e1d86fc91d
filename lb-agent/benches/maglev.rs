//! How long a Maglev table takes to build: `cargo bench --package lb-agent --bench maglev`.
//!
//! Prints the median, least and most of 200 builds for each case, in microseconds. Writes nothing.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use lb_agent::balance::maglev::table;
use lb_agent::balance::{Member, TableSize};

const ROUNDS: usize = 200;

fn main() {
    let one_heavy = |i: u32| if i == 0 { u16::MAX } else { 1 };
    case("100 members, equal weights", 100, |_| 1);
    case("10 members, equal weights", 10, |_| 1);
    case("1000 members, equal weights", 1000, |_| 1);
    case("100 members, 100 weights", 100, |i| i as u16 + 1);
    case("100 members, one of 65535", 100, one_heavy);
    case("1000 members, 1000 weights", 1000, |i| i as u16 + 1);
    case("1000 members, one of 65535", 1000, one_heavy);
}

fn case(name: &str, count: u32, weight: impl Fn(u32) -> u16) {
    let members: Vec<Member> = (0..count)
        .map(|i| Member {
            address: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + i)),
            port: 80,
            weight: weight(i),
            backend: i,
        })
        .collect();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            black_box(table(black_box(&members), TableSize::DEFAULT));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let us = |index: usize| times.get(index).map_or(0, Duration::as_micros);
    println!(
        "{name:28}  median {:6} us  min {:6}  max {:6}",
        us(ROUNDS / 2),
        us(0),
        us(ROUNDS - 1)
    );
}
