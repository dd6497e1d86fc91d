//! Frames over a veth cable, all of it on one core: made, received, forwarded, and dropped where they came from.
//!
//! ```text
//!  gen ═══════════ dut      gen: makes frames (BPF_PROG_TEST_RUN, live), counts and drops what comes back
//!                           dut: one forwarder at a time: a bare MAC swap, lb, or the kernel with nftables DNAT
//! ```
//!
//! The figure of a round is frames that came back per second of CPU time, of which the maker and the counter take their
//! share in every case. The forwarders take turns in every round, and ratios are of one round.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::maps::Array;
use aya::programs::{ProgramError, TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use lb_agent::balance::term::Term;
use lb_agent::datapath::xdp::{Capacity, Datapath, load_program};
use lb_agent::datapath::{Desired, Device, FlowRules, NextHop, RealServer, Service, TunnelSource};
use lb_common::{BackendState, Mode, ServiceKey, checksum, key};
use lb_tests::figures::{self, Figure, workspace};
use lb_tests::lab::{Lab, Node, Options, check_requirements};
use nix::net::if_::if_nametoindex;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Rounds, each of every forwarder.
const ROUNDS: usize = 9;
/// Frames that are made in a forwarder's turn.
const FRAMES: u32 = 2_000_000;
/// The same for the kernel's forwarding, which takes many times longer.
const FRAMES_BY_KERNEL: u32 = 400_000;
/// Frames that are made at once. The veth's ring has room for 256.
const BATCH: u32 = 64;

const GENERATOR_MAC: [u8; 6] = [2, 0, 0, 0, 9, 1];
const FORWARDER_MAC: [u8; 6] = [2, 0, 0, 0, 9, 2];
const FORWARDER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const REAL_SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 3);
/// A virtual address for each forwarder.
const VIP_DR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const VIP_TUN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 101);
const VIP_NAT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 102);
const VIP_NFT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 103);
const PORT: u16 = 53;

/// What forwards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Forwarder {
    MacSwap,
    Dr,
    Tun,
    Nat,
    Nft,
}

impl Forwarder {
    const ALL: [Self; 5] = [Self::MacSwap, Self::Dr, Self::Tun, Self::Nat, Self::Nft];

    /// The program on its interface; none for the kernel's own forwarding.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::MacSwap => Some("macswap"),
            Self::Dr | Self::Tun | Self::Nat => Some("lb"),
            Self::Nft => None,
        }
    }

    fn destination(self) -> Ipv4Addr {
        match self {
            Self::MacSwap | Self::Dr => VIP_DR,
            Self::Tun => VIP_TUN,
            Self::Nat => VIP_NAT,
            Self::Nft => VIP_NFT,
        }
    }

    fn frames(self) -> u32 {
        match self {
            Self::Nft => FRAMES_BY_KERNEL,
            _ => FRAMES,
        }
    }

    fn case(self) -> &'static str {
        match self {
            Self::MacSwap => "macswap",
            Self::Dr => "dr",
            Self::Tun => "tun",
            Self::Nat => "nat",
            Self::Nft => "nft_dnat",
        }
    }
}

fn main() -> Result<()> {
    check_requirements()?;
    let mut cpu = CpuSet::new();
    let number = cpu.set(1).map(|()| 1).or_else(|_| cpu.set(0).map(|()| 0))?;
    sched_setaffinity(Pid::from_raw(0), &cpu).context("stay on one CPU")?;

    let lab = Lab::up(&Options { real_servers: 1 })?;
    let node = lab.find_node("lb1")?;
    lay_cable(node)?;
    // On a thread of the node's network, where the interfaces' numbers mean what they mean here.
    let rates = node.enter(|| measure(number))??;
    let mut figures: Vec<Figure> = Vec::new();
    for (forwarder, rounds) in Forwarder::ALL.iter().zip(&rates) {
        figures.push(Figure::of_rounds(forwarder.case(), "per_second", rounds));
    }
    let [macswap, dr, tun, nat, nft] = &rates;
    for (case, ours, other) in [
        ("dr_vs_macswap", dr, macswap),
        ("tun_vs_macswap", tun, macswap),
        ("dr_vs_nft", dr, nft),
        ("nat_vs_nft", nat, nft),
    ] {
        let ratios: Vec<f64> = ours
            .iter()
            .zip(other)
            .map(|(ours, other)| ours / other)
            .collect();
        figures.push(Figure::of_rounds(case, "ratio", &ratios));
    }
    for figure in &figures {
        println!("{}", figure.line());
    }
    figures::write(&workspace(), "frames", &figures)?;
    lab.down()
}

/// The cable, the kernel's rules for its own forwarding, and the neighbours that nobody is there to answer for.
fn lay_cable(node: &Node) -> Result<()> {
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    let script = format!(
        "set -e
        ip link add gen address {generator} numrxqueues 1 numtxqueues 1 type veth \
            peer name dut address {forwarder} numrxqueues 1 numtxqueues 1
        ip link set gen up
        ip link set dut up
        ip address add {FORWARDER}/24 dev dut
        ip neighbour replace {CLIENT} lladdr {generator} dev dut nud permanent
        ip neighbour replace {REAL_SERVER} lladdr {generator} dev dut nud permanent
        # Without an XDP program a veth takes frames from its peer's only while it has GRO.
        ethtool -K dut gro on
        sysctl -qw net.ipv4.conf.dut.send_redirects=0 net.ipv4.conf.dut.rp_filter=0
        nft -f - <<END
        table ip bench {{
            chain before {{
                type nat hook prerouting priority dstnat
                ip daddr {VIP_NFT} udp dport {PORT} dnat to {REAL_SERVER}:{PORT}
            }}
        }}
END
        ",
        generator = mac(GENERATOR_MAC),
        forwarder = mac(FORWARDER_MAC),
    );
    node.run("sh", &["-c", &script]).map(drop)
}

/// Frames per second of CPU time, by forwarder and round.
fn measure(cpu: usize) -> Result<[Vec<f64>; 5]> {
    let [generator, forwarder] =
        ["gen", "dut"].map(|name| if_nametoindex(name).context("find an interface"));
    let (generator, forwarder) = (generator?, forwarder?);
    let mut datapath = Datapath::unpinned(Capacity::SMALLEST)?;
    datapath.writer().grace_passed();
    datapath.writer().commit(&desired(forwarder), 0)?;
    for program in ["generate", "macswap", "sink"] {
        load_program(datapath.object(), program)?;
    }
    program(&mut datapath, "sink")?.attach_to_if_index(generator, XdpMode::Driver)?;

    let clock = Clock::of_cpu(cpu)?;
    let mut rates: [Vec<f64>; 5] = Default::default();
    // The first round warms up and is not counted.
    for round in 0..=ROUNDS {
        for (forwarder_kind, rates) in Forwarder::ALL.into_iter().zip(&mut rates) {
            let rate = turn(&mut datapath, forwarder_kind, generator, forwarder, &clock)
                .with_context(|| format!("frames by {}", forwarder_kind.case()))?;
            if round > 0 {
                rates.push(rate);
            }
        }
        println!("round {round} of {ROUNDS}");
    }
    Ok(rates)
}

/// One forwarder's turn: how many frames came back per second of CPU time.
fn turn(
    datapath: &mut Datapath,
    forwarder: Forwarder,
    generator_index: u32,
    forwarder_index: u32,
    clock: &Clock,
) -> Result<f64> {
    let link = match forwarder.program() {
        Some(name) => Some((
            name,
            program(datapath, name)?.attach_to_if_index(forwarder_index, XdpMode::Driver)?,
        )),
        None => None,
    };
    let frame = frame(forwarder.destination());
    let mut words = [0_u32; 15];
    bytemuck::bytes_of_mut(&mut words).copy_from_slice(&frame);
    Array::<_, [u32; 15]>::try_from(
        datapath
            .object()
            .map_mut("TEMPLATE")
            .context("no template")?,
    )?
    .set(0, words, 0)?;
    let before = came_back(datapath)?;
    let start = clock.now()?;
    generate(
        program(datapath, "generate")?,
        &frame,
        generator_index,
        forwarder.frames(),
    )?;
    let took = clock.now()? - start;
    let frames = came_back(datapath)? - before;
    ensure!(
        frames > u64::from(forwarder.frames()) / 10 * 9,
        "of {} frames only {frames} came back",
        forwarder.frames()
    );
    if let Some((name, link)) = link {
        program(datapath, name)?.detach(link)?;
    }
    Ok(frames as f64 / took.as_secs_f64())
}

fn generate(
    generate: &mut Xdp,
    frame: &[u8],
    interface: u32,
    frames: u32,
) -> Result<(), ProgramError> {
    // struct xdp_md (include/uapi/linux/bpf.h): data_end and ingress_ifindex say what frame it is and where from.
    let mut context = [0_u32; 6];
    context[1] = frame.len() as u32;
    context[3] = interface;
    generate
        .test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..Default::default()
        })
        .map(drop)
}

fn program<'a>(datapath: &'a mut Datapath, name: &str) -> Result<&'a mut Xdp> {
    let program = datapath.object().program_mut(name);
    Ok(program
        .with_context(|| format!("no program {name}"))?
        .try_into()?)
}

/// How many frames have come back so far.
fn came_back(datapath: &mut Datapath) -> Result<u64> {
    let map = datapath.object().map_mut("FRAMES").context("no counters")?;
    Ok(Array::<_, u64>::try_from(map)?.get(&1, 0)?)
}

/// The CPU time that forwarding can hide in: this thread's, with the soft interrupts that it is burdened with, and that
/// of its CPU's ksoftirqd.
struct Clock {
    softirqd: String,
}

impl Clock {
    fn of_cpu(cpu: usize) -> Result<Self> {
        let name = format!("ksoftirqd/{cpu}\n");
        for entry in fs::read_dir("/proc").context("read /proc")?.flatten() {
            let is_it =
                fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm == name);
            if is_it {
                let softirqd = entry.path().join("schedstat").display().to_string();
                return Ok(Self { softirqd });
            }
        }
        anyhow::bail!("there is no thread {name:?}: run it outside a container's pid namespace")
    }

    fn now(&self) -> Result<Duration> {
        let thread = Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?);
        // Documentation/scheduler/sched-stats.rst: time on the CPU in ns, time waited, number of times.
        let text = fs::read_to_string(&self.softirqd)?;
        let ns = text
            .split(' ')
            .next()
            .context("an empty schedstat")?
            .parse()?;
        Ok(thread + Duration::from_nanos(ns))
    }
}

/// One real server behind a virtual address of direct routing and one of tunnels.
fn desired(interface: u32) -> Desired {
    let real_server = |mode, tunnel_source| RealServer {
        address: REAL_SERVER.into(),
        port: 0,
        mode,
        tunnel_source,
        weight: 1,
        state: BackendState::Up,
        term: Term::default(),
        next_hop: NextHop::Via {
            mac: GENERATOR_MAC,
            device: interface,
            mtu: 1500,
        },
    };
    let service = |name: &str, vip: Ipv4Addr, real_server| Service {
        name: name.to_owned(),
        keys: vec![ServiceKey::v4(vip.octets(), PORT, key::UDP)],
        owners: Vec::new(),
        table: vec![0; 65_537].into(),
        real_servers: vec![real_server],
        flows: FlowRules::default(),
        shares: Vec::new(),
    };
    let translated = RealServer {
        port: PORT,
        ..real_server(Mode::Nat, None)
    };
    let tunnel = Some(TunnelSource::fixed(FORWARDER.into()));
    Desired {
        local: Default::default(),
        services: vec![
            service("dr", VIP_DR, real_server(Mode::Dr, None)),
            service("nat", VIP_NAT, translated),
            service("tun", VIP_TUN, real_server(Mode::Tun, tunnel)),
        ],
        devices: vec![Device {
            index: interface,
            frames: interface,
            vlans: 0,
            mac: FORWARDER_MAC,
            transmits: true,
        }],
    }
}

/// A UDP datagram without checksum, 60 bytes with its Ethernet header.
fn frame(destination: Ipv4Addr) -> Vec<u8> {
    let mut frame = [&FORWARDER_MAC[..], &GENERATOR_MAC, &[0x08, 0]].concat();
    let mut header = vec![0x45, 0, 0, 46, 0, 1, 0, 0, 64, key::UDP, 0, 0];
    header.extend(CLIENT.octets());
    header.extend(destination.octets());
    let words = header.as_chunks().0.iter().copied().map(u16::from_be_bytes);
    let sum = checksum::of(words).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    frame.extend(header);
    frame.extend(1024_u16.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    frame.extend([0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}
