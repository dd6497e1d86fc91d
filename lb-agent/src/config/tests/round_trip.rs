//! What is written is what is read: any configuration of what is built, as TOML and back.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

prop_compose! {
    fn duration()(millis in 10..100_000_000_u64) -> Duration {
        Duration::from_millis(millis)
    }
}

/// Addresses of hosts: no IPv4 in IPv6, nothing unspecified, loopback, multicast or broadcast.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (prop_oneof![1..127_u8, 128..224_u8], any::<[u8; 3]>())
        .prop_map(|(a, [b, c, d])| IpAddr::from([a, b, c, d]));
    let v6 = any::<[u16; 7]>()
        .prop_map(|[b, c, d, e, f, g, h]| IpAddr::from([0x2001, b, c, d, e, f, g, h]));
    prop_oneof![v4, v6]
}

prop_compose! {
    fn check(address: IpAddr)(
        kinds in select(vec![vec![], vec![CheckKind::Tcp]]),
        times in prop::array::uniform3(duration()),
        counts in prop::array::uniform2(1..=1000_u32),
        port in 1..=u16::MAX,
        source in any::<bool>(),
    ) -> Check {
        let [interval, timeout, retry_interval] = times;
        let [fall, rise] = counts;
        let source_address = source.then_some(address);
        Check { kinds, via: Via::Direct, interval, timeout, fall, rise, retry_interval, address, port, source_address }
    }
}

fn real_server(port: u16) -> impl Strategy<Value = RealServer> {
    let check = address().prop_flat_map(check);
    (address(), any::<bool>(), any::<u16>(), check).prop_map(
        move |(address, with_port, weight, check)| RealServer {
            address,
            port: (with_port && port != 0).then_some(port),
            weight,
            on_failure: OnFailure::Remove,
            check,
            max_connections: 0,
            min_connections: 0,
            notify: RealServerNotify::default(),
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    any::<u16>().prop_flat_map(|port| {
        (
            prop::collection::hash_set(address(), 1..4),
            select(&[Protocol::Tcp, Protocol::Udp][..]),
            select(&[Datapath::Auto, Datapath::Xdp, Datapath::XdpNative][..]),
            select(&[251_u32, 1009, 65_537, 131_071][..]),
            prop::collection::vec(real_server(port), 0..4),
        )
            .prop_map(
                move |(addresses, protocol, datapath, table_size, mut real_servers)| {
                    let mut seen = Vec::new();
                    real_servers.retain(|rs| {
                        let new = !seen.contains(&rs.address);
                        seen.push(rs.address);
                        new
                    });
                    let sockets = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
                    Service {
                        listen: Listen::Addresses(sockets.collect()),
                        protocol,
                        datapath,
                        table_size,
                        real_servers,
                        ..with_defaults()
                    }
                },
            )
    })
}

/// A service as it is with required keys alone.
fn with_defaults() -> Service {
    let text = "[[service]]\nname = \"s\"\nlisten = [\"192.0.2.1:1\"]\nmode = \"dr\"\n";
    let mut services = config(text).services;
    services.pop().expect("one service")
}

prop_compose! {
    fn any_config()(
        router_id in "[a-z][a-z0-9.-]{0,20}",
        datapath in select(&[Datapath::Auto, Datapath::Xdp, Datapath::XdpNative][..]),
        interfaces in prop::collection::hash_set("[a-z]{3,12}[0-9.]{1,3}", 0..4),
        log in (select(<LogLevel as Choice>::WORDS), select(<LogFormat as Choice>::WORDS)),
        services in prop::collection::vec(service(), 0..5),
    ) -> Config {
        let mut listened = std::collections::HashSet::new();
        let services = services.into_iter().enumerate().map(|(index, service)| Service { name: format!("s{index}"), ..service });
        let fresh = |service: &Service| {
            let new = |socket: &SocketAddr| listened.insert((*socket, service.protocol));
            service.listen.addresses().iter().all(new)
        };
        let services = services.filter(fresh).collect();
        let interfaces = interfaces.into_iter().collect();
        let log = Log { level: log.0.1, format: log.1.1 };
        Config { router_id, datapath, interfaces, log, services, ..config("") }
    }
}

/// Writes what is built of a configuration, every key of it.
fn written(config: &Config) -> String {
    let mut text = String::new();
    let t = &mut text;
    let mut line = |line: String| writeln!(t, "{line}").expect("a string takes all");
    line(format!("router_id = {:?}", config.router_id));
    line(format!("datapath = \"{}\"", config.datapath));
    line(format!("interfaces = {:?}", config.interfaces));
    line(format!(
        "[log]\nlevel = \"{}\"\nformat = \"{}\"",
        config.log.level, config.log.format
    ));
    for service in &config.services {
        let listen: Vec<String> = service
            .listen
            .addresses()
            .iter()
            .map(SocketAddr::to_string)
            .collect();
        line(format!(
            "[[service]]\nname = {:?}\nlisten = {listen:?}",
            service.name
        ));
        line(format!(
            "protocol = \"{}\"\nmode = \"{}\"",
            service.protocol, service.mode
        ));
        line(format!(
            "datapath = \"{}\"\ntable_size = {}",
            service.datapath, service.table_size
        ));
        for real_server in &service.real_servers {
            let check = &real_server.check;
            line(format!(
                "[[service.real_server]]\naddress = \"{}\"",
                real_server.endpoint()
            ));
            line(format!(
                "weight = {}\n[service.real_server.check]",
                real_server.weight
            ));
            if check.kinds.contains(&CheckKind::Tcp) {
                line("tcp = {}".to_owned());
            }
            for (key, time) in [
                ("interval", check.interval),
                ("timeout", check.timeout),
                ("retry_interval", check.retry_interval),
            ] {
                line(format!("{key} = \"{}\"", format_duration(time)));
            }
            line(format!(
                "fall = {}\nrise = {}\nport = {}",
                check.fall, check.rise, check.port
            ));
            line(format!("address = \"{}\"", check.address));
            if let Some(source) = check.source_address {
                line(format!("source_address = \"{source}\""));
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn written_configurations_are_read_back(config in any_config()) {
        let text = written(&config);
        match load(&Folder::new().write("lb.toml", &text)) {
            Ok(loaded) => prop_assert_eq!(loaded.config, config),
            Err(report) => prop_assert!(false, "{}\n{}", report, text),
        }
    }
}
