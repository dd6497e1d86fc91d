//! What a packet costs: nanoseconds above a bare `return XDP_TX`, by `BPF_PROG_TEST_RUN`.
//!
//! Each case is run in turn with its twin, which puts back what the program changed and does nothing else; the figure is
//! the median of the differences in thread CPU time. Absolute times drift on a shared machine, differences hardly.

use anyhow::{Context as _, ensure};
use aya::{
    maps::{PerCpuArray, PerCpuValues},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use lb_agent::{
    balance::term::Term,
    datapath::{
        Desired, Device, FlowRules, NextHop, RealServer, Service, TunnelSource,
        xdp::{Capacity, Datapath, load_program},
    },
};
use lb_common::{BackendState, Mode, Route, ServiceKey, backend::mac_word, hash, key, route};
use lb_tests::figures::{self, Figure, workspace};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use std::{sync::Arc, time::Duration};

/// Rounds, each of both programs.
const ROUNDS: usize = 9;
/// Runs of a program in a round.
const REPEAT: u32 = 1_000_000;
/// A packet and the programs that price it.
struct Case {
    name: &'static str,
    packet: Vec<u8>,
    program: &'static str,
    twin: &'static str,
    verdict: u32,
    /// Whether the program's output must be the input again.
    restored: bool,
}

/// `enum xdp_action` (include/uapi/linux/bpf.h).
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

fn main() -> anyhow::Result<()> {
    let mut cpu = CpuSet::new();
    cpu.set(1).or_else(|_| cpu.set(0))?;
    let _ = sched_setaffinity(Pid::from_raw(0), &cpu);

    let mut datapath = Datapath::unpinned(Capacity::SMALLEST)?;
    datapath.writer().grace_passed();
    // The second commit gives every slot of one service to another real server.
    for shift in [0, 1] {
        datapath.writer().commit(&desired(shift), 0)?;
        datapath.writer().grace_passed();
    }
    for program in [
        "bare",
        "forward",
        "forward_twin",
        "flows",
        "flows_twin",
        "tunnel",
        "tunnel_twin",
        "translate",
        "translate_twin",
    ] {
        load_program(datapath.object(), program)?;
    }
    remember_client(&mut datapath)?;
    let mut figures = Vec::new();
    for case in cases() {
        check(&mut datapath, &case)?;
        let mut differences = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let twin = run(&mut datapath, case.twin, &case.packet, REPEAT)?.1;
            let full = run(&mut datapath, case.program, &case.packet, REPEAT)?.1;
            differences.push((full.as_nanos() as f64 - twin.as_nanos() as f64) / f64::from(REPEAT));
        }
        let figure = Figure::of_rounds(case.name, "ns", &differences);
        println!("{}", figure.line());
        figures.push(figure);
    }
    figures::write(&workspace(), "packet", &figures)
}

/// Runs the case once: verdict and bytes must be what its name says.
fn check(datapath: &mut Datapath, case: &Case) -> anyhow::Result<()> {
    let (verdict, _, output) = run_once(datapath, case.program, &case.packet)?;
    ensure!(
        verdict == case.verdict,
        "{}: verdict {verdict}, not {}",
        case.name,
        case.verdict
    );
    if case.restored {
        ensure!(
            output == case.packet,
            "{}: the wrapper does not restore the packet",
            case.name
        );
    }
    if case.verdict != XDP_PASS {
        let (_, _, output) = run_once(datapath, "lb", &case.packet)?;
        ensure!(
            output[..6] == REAL_SERVER_MAC,
            "{}: the packet is not for the real server",
            case.name
        );
    }
    Ok(())
}

fn run_once(
    datapath: &mut Datapath,
    program: &str,
    packet: &[u8],
) -> anyhow::Result<(u32, Duration, Vec<u8>)> {
    let mut output = vec![0; packet.len() + 64];
    let program: &mut Xdp = datapath
        .object()
        .program_mut(program)
        .context("no such program")?
        .try_into()?;
    let result = program.test_run(TestRunOptions {
        data_in: Some(packet),
        data_out: Some(&mut output),
        repeat: 1,
        ..Default::default()
    })?;
    output.truncate(result.data_size_out as usize);
    Ok((result.return_value, Duration::ZERO, output))
}

fn run(
    datapath: &mut Datapath,
    program: &str,
    packet: &[u8],
    repeat: u32,
) -> anyhow::Result<(u32, Duration)> {
    let program: &mut Xdp = datapath
        .object()
        .program_mut(program)
        .context("no such program")?
        .try_into()?;
    let mut output = vec![0; packet.len() + 64];
    let start = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    let result = program.test_run(TestRunOptions {
        data_in: Some(packet),
        data_out: Some(&mut output),
        repeat,
        ..Default::default()
    })?;
    let end = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok((result.return_value, Duration::from(end - start)))
}

const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const REAL_SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const CLIENT4: [u8; 4] = [10, 0, 0, 2];
/// The NAT real server.
const NAT4: [u8; 4] = [10, 0, 1, 2];
const VIP4: [u8; 4] = [10, 0, 0, 1];
const VIP6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The loopback interface, which the test run takes for the one a packet came from.
const LOOPBACK: u32 = 1;
/// An interface that need not exist: the program only names its index.
const OTHER: u32 = 2;

/// A hundred real servers behind three services, among three hundred others.
fn desired(shift: u32) -> Desired {
    let real_servers: Vec<RealServer> = (0..100)
        .map(|number| RealServer {
            address: [10, 0, 1, number].into(),
            port: 0,
            mode: Mode::Dr,
            tunnel_source: None,
            weight: 1,
            state: BackendState::Up,
            term: Term::default(),
            next_hop: NextHop::Via {
                mac: REAL_SERVER_MAC,
                device: LOOPBACK,
                mtu: 1500,
            },
        })
        .collect();
    let table: Arc<[u32]> = (0..65_537).map(|slot| slot % 100).collect();
    let moved: Arc<[u32]> = (0..65_537).map(|slot| (slot + shift) % 100).collect();
    let service = |name: &str, keys: Vec<ServiceKey>| Service {
        name: name.to_owned(),
        keys,
        owners: Vec::new(),
        table: Arc::clone(&table),
        real_servers: real_servers.clone(),
        flows: FlowRules::default(),
        shares: Vec::new(),
    };
    let tunnelled = |address: &str, source: &str| {
        let address = address.parse().expect("an address");
        let source = source.parse().expect("an address");
        let to = |real_server: &RealServer| RealServer {
            address,
            mode: Mode::Tun,
            tunnel_source: Some(TunnelSource::fixed(source)),
            ..real_server.clone()
        };
        vec![to(&real_servers[0])]
    };
    let one_server = |name: &str, key: ServiceKey| Service {
        table: vec![0; 251].into(),
        ..service(name, vec![key])
    };
    let translated = |address| {
        vec![RealServer {
            address,
            port: 8080,
            mode: Mode::Nat,
            ..real_servers[0].clone()
        }]
    };
    let redirected = vec![RealServer {
        next_hop: NextHop::Via {
            mac: REAL_SERVER_MAC,
            device: OTHER,
            mtu: 1500,
        },
        ..real_servers[0].clone()
    }];
    let others = (0..30)
        .map(|number| ServiceKey::v4([10, 0, 2, number], 8000, key::TCP))
        .collect();
    Desired {
        local: Default::default(),
        services: vec![
            service(
                "tcp",
                vec![
                    ServiceKey::v4(VIP4, 80, key::TCP),
                    ServiceKey::v6(VIP6, 80, key::TCP),
                ],
            ),
            Service {
                real_servers: tunnelled("10.0.1.1", "10.0.0.3"),
                ..one_server("tun4", ServiceKey::v4(VIP4, 8081, key::TCP))
            },
            Service {
                real_servers: tunnelled("2001:db8::1:1", "2001:db8::3"),
                ..one_server("tun6", ServiceKey::v6(VIP6, 8081, key::TCP))
            },
            Service {
                real_servers: translated(NAT4.into()),
                ..one_server("nat4", ServiceKey::v4(VIP4, 8082, key::TCP))
            },
            Service {
                real_servers: translated("2001:db8::1:2".parse().expect("an address")),
                ..one_server("nat6", ServiceKey::v6(VIP6, 8082, key::TCP))
            },
            Service {
                real_servers: redirected,
                ..one_server("redirected", ServiceKey::v4(VIP4, 8083, key::TCP))
            },
            service("udp", vec![ServiceKey::v4(VIP4, 53, key::UDP)]),
            service("others", others),
            Service {
                table: moved,
                ..service("moved", vec![ServiceKey::v4(VIP4, 81, key::TCP)])
            },
        ],
        devices: [LOOPBACK, OTHER].map(device).into(),
    }
}

fn device(index: u32) -> Device {
    Device {
        index,
        frames: index,
        vlans: 0,
        mac: DIRECTOR_MAC,
        transmits: true,
    }
}

/// Has every CPU remember the way to the client for ever: what is priced is a packet of an established connection.
fn remember_client(datapath: &mut Datapath) -> anyhow::Result<()> {
    let client = [u32::from_ne_bytes(CLIENT4), 0, 0, 0];
    let route = Route {
        client,
        until: u64::MAX,
        destination: mac_word(REAL_SERVER_MAC),
        source: mac_word(DIRECTOR_MAC),
        family: key::IPV4.into(),
        ifindex: LOOPBACK,
        ..Route::default()
    };
    let map = datapath.object().map_mut("ROUTES").context("no such map")?;
    let mut routes: PerCpuArray<_, Route> = PerCpuArray::try_from(map)?;
    let place = route::place(hash::fold(&client));
    let cpus = routes.get(&place, 0)?.len();
    routes.set(place, PerCpuValues::try_from(vec![route; cpus])?, 0)?;
    Ok(())
}

fn cases() -> Vec<Case> {
    let forward = |name, packet| Case {
        name,
        packet,
        program: "forward",
        twin: "forward_twin",
        verdict: XDP_TX,
        restored: true,
    };
    let flows = |name, packet| Case {
        name,
        packet,
        program: "flows",
        twin: "flows_twin",
        verdict: XDP_TX,
        restored: false,
    };
    let tunnel = |name, packet| Case {
        program: "tunnel",
        twin: "tunnel_twin",
        ..forward(name, packet)
    };
    let nat = |name, packet| Case {
        program: "translate",
        twin: "translate_twin",
        ..forward(name, packet)
    };
    let pass = |name, packet| Case {
        name,
        packet,
        program: "lb",
        twin: "bare",
        verdict: XDP_PASS,
        restored: true,
    };
    let ack = 0x10;
    let syn = 0x02;
    vec![
        forward("dr4_tcp_established", ipv4(VIP4, key::TCP, &tcp(80, ack))),
        flows("dr4_tcp_1m_flows", ipv4(VIP4, key::TCP, &tcp(80, ack))),
        forward("dr4_syn", ipv4(VIP4, key::TCP, &tcp(80, syn))),
        forward("dr4_in_window", ipv4(VIP4, key::TCP, &tcp(81, ack))),
        flows("dr4_in_window_1m_new", ipv4(VIP4, key::TCP, &tcp(81, syn))),
        forward("dr4_udp", ipv4(VIP4, key::UDP, &udp(53))),
        forward("dr6_tcp_established", ipv6(VIP6, key::TCP, &tcp(80, ack))),
        tunnel("tun4", ipv4(VIP4, key::TCP, &tcp(8081, ack))),
        tunnel("tun6", ipv6(VIP6, key::TCP, &tcp(8081, ack))),
        nat(
            "nat4_forward",
            ipv4_from(CLIENT4, VIP4, key::TCP, &tcp(8082, ack)),
        ),
        nat(
            "nat4_reply",
            ipv4_from(NAT4, CLIENT4, key::TCP, &tcp_from(8080, 12_345, ack)),
        ),
        nat("nat6_forward", ipv6(VIP6, key::TCP, &tcp(8082, ack))),
        Case {
            verdict: XDP_REDIRECT,
            ..forward("dr4_redirect", ipv4(VIP4, key::TCP, &tcp(8083, ack)))
        },
        pass(
            "pass_non_vip4",
            ipv4([10, 0, 0, 9], key::TCP, &tcp(22, ack)),
        ),
        pass(
            "pass_non_vip6",
            ipv6(
                [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
                key::TCP,
                &tcp(22, ack),
            ),
        ),
        pass("pass_arp", {
            let mut arp = ethernet(0x0806);
            arp.resize(60, 0);
            arp
        }),
    ]
}

fn ethernet(ether_type: u16) -> Vec<u8> {
    [&DIRECTOR_MAC[..], &CLIENT_MAC, &ether_type.to_be_bytes()].concat()
}

/// Checksum and TTL are those that the wrapper restores; the program changes a checksum and never verifies one.
fn ipv4(destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_from(CLIENT4, destination, protocol, payload)
}

fn ipv4_from(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut packet = ethernet(0x0800);
    packet.extend([0x45, 0]);
    packet.extend(len.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, protocol, 0x34, 0x12]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(payload);
    packet
}

fn ipv6(destination: [u8; 16], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = ethernet(0x86dd);
    packet.extend([0x60, 0, 0, 0]);
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([
        protocol, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
    ]);
    packet.extend(destination);
    packet.extend(payload);
    packet
}

fn tcp(port: u16, flags: u8) -> Vec<u8> {
    tcp_from(12_345, port, flags)
}

fn tcp_from(source: u16, port: u16, flags: u8) -> Vec<u8> {
    let mut segment = source.to_be_bytes().to_vec();
    segment.extend(port.to_be_bytes());
    segment.extend([
        0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    segment
}

fn udp(port: u16) -> Vec<u8> {
    let mut datagram = 12_345_u16.to_be_bytes().to_vec();
    datagram.extend(port.to_be_bytes());
    datagram.extend([0, 26, 0, 0]);
    datagram.extend([0; 18]);
    datagram
}
