//! Making the network of the plan: namespaces, cables, addresses, and what XDP needs of a veth.
//!
//! Few processes and many lines for each (`ip -batch`), because a lab is made for nearly every test. Each setting that
//! is not plain says which trap it avoids.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use super::node::Node;
use super::plan::{BACK, FRONT, NodePlan, Role, VIP4, VIP6};
use super::{pass_program, registry, requirements};

/// Makes all nodes of `plan` and everything between them. The switch is the first of the returned nodes.
pub(super) fn build(lab: &str, plan: &[NodePlan]) -> Result<Vec<Node>> {
    make_namespaces(lab, plan)?;
    let mut nodes = Vec::new();
    for planned in plan {
        make_directories(lab, planned)?;
        let node = Node::open(lab, planned)?;
        node.enter(|| set_sysctls(planned.role))??;
        nodes.push(node);
    }
    let (switch, hosts) = nodes.split_first().context("a plan has a switch")?;
    ip(switch, &cabling(lab, plan))?.finish()?;
    // All at once: most of the time passes waiting.
    let configured: Vec<_> = hosts
        .iter()
        .zip(plan.iter().skip(1))
        .map(|(node, planned)| ip(node, &addressing(planned)))
        .collect();
    configured
        .into_iter()
        .try_for_each(|batch| batch?.finish())?;
    prepare_for_xdp(switch, plan)?;
    Ok(nodes)
}

fn make_namespaces(lab: &str, plan: &[NodePlan]) -> Result<()> {
    let lines: String = plan
        .iter()
        .map(|node| format!("netns add {}\n", registry::namespace(lab, &node.name)))
        .collect();
    let mut command = Command::new("ip");
    command.env("PATH", requirements::search_path());
    Batch::start(command, &lines, "make network namespaces")?
        .finish()
        .context("the lab needs CAP_SYS_ADMIN and CAP_NET_ADMIN")
}

/// The node's directory, with a bpf file system of its own.
fn make_directories(lab: &str, planned: &NodePlan) -> Result<()> {
    let directory = registry::directory(lab).join(&planned.name);
    for name in ["bpf", "run"] {
        let path = directory.join(name);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    let bpf = directory.join("bpf");
    mount(
        Some("lb-lab"),
        &bpf,
        Some("bpf"),
        MsFlags::empty(),
        None::<&str>,
    )
    .with_context(|| {
        format!(
            "mount a bpf file system at {} (does this kernel have BPF?)",
            bpf.display()
        )
    })
}

/// Runs inside the node. Before the cables: a new device takes what `default` says at that moment.
fn set_sysctls(role: Role) -> Result<()> {
    for (key, value) in [
        // An address can be used at once instead of after a second of duplicate address detection.
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/router_solicitations", "0"),
        // A request that comes in by the back leg is answered by the front one.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ] {
        set_sysctl(key, value)?;
    }
    let own: &[(&str, &str)] = match role {
        Role::Switch => &[("ipv6/conf/default/disable_ipv6", "1")],
        Role::Client => &[
            ("ipv4/ip_local_port_range", "1024 65535"),
            ("ipv4/tcp_tw_reuse", "1"),
        ],
        Role::Director => &[
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/default/send_redirects", "0"),
        ],
        // The virtual address is on `lo`, and only the director may answer ARP for it. IPv6 needs no such setting: a
        // neighbour solicitation is answered only by the interface that has the address.
        Role::RealServer => &[
            ("ipv4/conf/all/arp_ignore", "1"),
            ("ipv4/conf/all/arp_announce", "2"),
        ],
    };
    for (key, value) in own {
        set_sysctl(key, value)?;
    }
    if role == Role::Switch {
        // Bridged frames are nobody's business but the bridge's. Absent where br_netfilter is not loaded.
        for key in [
            "bridge-nf-call-iptables",
            "bridge-nf-call-ip6tables",
            "bridge-nf-call-arptables",
        ] {
            let _ = set_sysctl(&format!("bridge/{key}"), "0");
        }
    }
    Ok(())
}

fn set_sysctl(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{key}");
    fs::write(&path, value).with_context(|| format!("write {value} to {path}"))
}

/// The bridges and every cable, from the switch's side.
fn cabling(lab: &str, plan: &[NodePlan]) -> String {
    let mut lines = String::from("link set lo up\n");
    for bridge in [FRONT, BACK] {
        // Without snooping, neighbour solicitations reach everybody from the first one on.
        lines += &format!(
            "link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set {bridge} up\n"
        );
    }
    for node in plan {
        let namespace = registry::namespace(lab, &node.name);
        for leg in &node.legs {
            let (port, device, mac, bridge) = (&leg.port, leg.device, leg.mac(), leg.bridge);
            lines += &format!(
                "link add {port} type veth peer name {device} address {mac} netns {namespace}\n"
            );
            lines += &format!("link set {port} master {bridge} up\n");
        }
    }
    lines
}

/// The addresses of one host.
fn addressing(node: &NodePlan) -> String {
    let mut lines = String::from("link set lo up\n");
    for leg in &node.legs {
        let device = leg.device;
        lines += &format!(
            "link set {device} up\naddress add {}/24 dev {device}\n",
            leg.ipv4
        );
        lines += &format!("address add {}/64 dev {device} nodad\n", leg.ipv6);
    }
    let holder = match node.role {
        Role::RealServer => Some("lo"),
        Role::Director if node.name == "lb1" => Some("eth0"),
        Role::Director | Role::Client | Role::Switch => None,
    };
    if let Some(device) = holder {
        // Deprecated, or the kernel would take it as the source of the host's own connections (RFC 6724 §5, rule 8: a
        // /128 shares more with any neighbour than the address of the /64), whose answers go to whoever else has it.
        lines += &format!(
            "address add {VIP4}/32 dev {device}\naddress add {VIP6}/128 dev {device} nodad preferred_lft 0\n"
        );
    }
    lines
}

/// What a real switch does by itself, on the ports of the directors:
/// * take frames that were sent by XDP_TX or redirect: an XDP program, see [`pass_program`];
/// * full checksums: a local socket leaves them to a card that is not there, and XDP would send them on unfinished;
/// * VLAN tags in the frame: veth carries them beside it, where XDP does not look.
fn prepare_for_xdp(switch: &Node, plan: &[NodePlan]) -> Result<()> {
    let pinned = switch.directory().join("bpf/pass");
    pass_program::pin(&pinned)?;
    let directors = plan.iter().filter(|node| node.role == Role::Director);
    let ports: Vec<&str> = directors
        .flat_map(|node| &node.legs)
        .map(|leg| leg.port.as_str())
        .collect();
    let attach: String = ports
        .iter()
        .map(|port| format!("link set {port} xdpdrv pinned {}\n", pinned.display()))
        .collect();
    let mut running = vec![ip(switch, &attach)];
    for port in ports {
        let mut command = switch.command("ethtool");
        command.args(["-K", port, "tx", "off", "txvlan", "off"]);
        running.push(Batch::start(
            command,
            "",
            &format!("set the offloads of the switch port {port}"),
        ));
    }
    running.into_iter().try_for_each(|batch| batch?.finish())
}

fn ip(node: &Node, lines: &str) -> Result<Batch> {
    Batch::start(
        node.command("ip"),
        lines,
        &format!("configure the network of {}", node.name()),
    )
}

/// A command that works in the background.
struct Batch {
    what: String,
    child: Child,
}

impl Batch {
    /// `lines` are for `ip -batch`; a command without any is run as it is.
    fn start(mut command: Command, lines: &str, what: &str) -> Result<Self> {
        if !lines.is_empty() {
            command.args(["-batch", "-"]);
        }
        // Its own process group: a Ctrl-C is for us, and must not leave one node half made.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().with_context(|| what.to_owned())?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that has ended already does not read: its own message says why.
            let _ = stdin.write_all(lines.as_bytes());
        }
        Ok(Self {
            what: what.to_owned(),
            child,
        })
    }

    fn finish(self) -> Result<()> {
        let output = self
            .child
            .wait_with_output()
            .with_context(|| self.what.clone())?;
        if !output.status.success() {
            bail!(
                "{}: {}\n{}",
                self.what,
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}
